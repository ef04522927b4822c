"""X-ray scans of a particle at work: counts -> lithium fraction -> denoised -> the law of the reaction. No files here.

    counts -> I₀ and flicker -> one place -> OD − background -> c ± sd -> denoised c -> μ_h, j₀, k(x,y)

The law is fitted three times: to c as measured, to the denoised c, and jointly: to c as measured, whose errors are known, with
stretches that start from the denoised frames. What the last one predicts is an estimate of c of its own.
"""

from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np

from phdenoise.chains.stxm_config import Scans, StxmConfig, check_stxm
from phdenoise.chains.stxm_lithium import DENOISED, Fraction, lithium
from phdenoise.learn.particle_fit import ParticleFit, fit_particle
from phdenoise.learn.particle_summary import uniformity
from phdenoise.modalities.stxm_counts import Beam
from phdenoise.movie import Estimate, Movie
from phdenoise.noise import Gaussian, NoiseEstimate, estimate_noise
from phdenoise.training import denoise
from phdenoise.types import InputError, Progress, stage, within

# Fewest frames to which a law is fitted.
_FITTED = 8


@dataclass(frozen=True)
class StxmResult:
    """What the scans say.

    Attributes:
        movie: c as measured, each frame by itself, in a box around the particle and nan outside it.
        sd: of it, independent from frame to frame [t, y, x].
        common_sd: of an error of the denoised c that all frames share, by background and thickness [y, x].
        estimate: denoised c; its `movie` is c at the thickness that all frames together give.
        mask: the particle [y, x].
        thickness: in units of the end members [y, x], mean over time.
        box: rows and columns of the scans that all this shows.
        beam: I₀ and flicker.
        displacement: of the scans (dy, dx) [e, t, 2] [px].
        noise: of c; None for a single frame.
        fits: by version: "measured", "denoised", "joint".
        skipped: why a fit is absent.
        uniformity: uniformity coefficient by version.
    """

    movie: Movie
    sd: np.ndarray
    common_sd: np.ndarray
    estimate: Estimate
    mask: np.ndarray
    thickness: np.ndarray
    box: tuple[slice, slice]
    beam: Beam
    displacement: np.ndarray
    noise: NoiseEstimate | None
    fits: dict[str, ParticleFit]
    skipped: dict[str, str]
    uniformity: dict[str, float]
    warnings: tuple[str, ...]
    sentences: tuple[str, ...]


def analyse_scans(
    scans: Scans,
    config: StxmConfig,
    *,
    estimate: Estimate | None = None,
    progress: Progress | None = None,
) -> StxmResult:
    """The chain.

    Args:
        scans: see `Scans`.
        config: see `StxmConfig`.
        estimate: of c, where it was denoised before.
        progress: called with (stage, step, steps, value).

    Raises:
        InputError: settings that do not fit the scans, or no particle.
    """
    above = check_stxm(scans, config)
    warnings: list[str] = []
    found = lithium(scans, config, above, warnings)
    each, steady, mask = found.each, found.steady, found.mask
    noise, denoised = None, as_measured(steady.movie, steady.sd)
    if len(scans.times) >= DENOISED:
        noise = estimate_noise(steady.movie.frames, steady.movie.valid())
        denoised = estimate or denoise(
            steady.movie, config.denoise, progress=within(progress, "denoise")
        )
        _judge(noise, found.beam, steady.sd, warnings)
    else:
        warnings.append(
            f"{len(scans.times)} frame(s): too few to denoise, lithium is given as measured."
        )
    estimate, movie = denoised, each.movie
    fits, skipped = _fits(each, steady, estimate, mask, config, progress)
    versions = {"measured": movie.frames, "denoised": estimate.mean}
    if "joint" in fits:
        versions["law"] = np.where(
            np.isfinite(fits["joint"].frames), fits["joint"].frames, estimate.mean
        )
    uniform = {k: uniformity(v.astype(float), mask & np.isfinite(v).all(0)) for k, v in versions.items()}  # fmt: skip
    result = StxmResult(
        movie, each.sd, found.common_sd, estimate, mask, found.thickness, found.box, found.beam, found.displacement,
        noise, fits, skipped, uniform, tuple(warnings), (),
    )  # fmt: skip
    return _said(result)


def as_measured(movie: Movie, sd: np.ndarray) -> Estimate:
    """What stands for a denoised movie where there are too few frames for one."""
    typical = float(np.nanmedian(sd))
    return Estimate(
        movie,
        np.nan_to_num(movie.frames, nan=0.5),
        np.where(np.isfinite(sd), sd**2, 1.0).astype(np.float32),
        Gaussian(jnp.float32(typical)),
    )


def _judge(noise: NoiseEstimate, beam: Beam, sd: np.ndarray, warnings: list[str]) -> None:
    found = float(np.sqrt(np.mean(np.asarray(noise.model.variance(jnp.full(1, 0.5))))))
    told = float(np.nanmedian(sd))
    if found > 1.3 * told:
        why = (
            ""
            if beam.flicker.any()
            else " (without an I0 region the flicker of the beam is not known)"
        )
        warnings.append(
            f"Lithium scatters by {found:.2g} between frames, its error bars say {told:.2g}{why}."
        )


def _fits(
    each: Fraction,
    steady: Fraction,
    estimate: Estimate,
    mask: np.ndarray,
    config: StxmConfig,
    progress: Progress | None,
) -> tuple[dict[str, ParticleFit], dict[str, str]]:
    if not config.law:
        return {}, {}
    times = each.movie.times
    if len(times) < _FITTED:
        return {}, {"any version": f"{_FITTED} frames or more are needed."}
    measured, better = (v.movie.frames.astype(float) for v in (each, steady))
    clean = estimate.mean.astype(float)
    clean_sd = np.where(mask, np.sqrt(estimate.variance.astype(float)), np.nan)
    # A stretch starts from a whole field.
    filled = np.where(np.isfinite(measured), measured, clean)
    runs = {
        "measured": (measured, each.sd, filled, each.sd),
        "denoised": (clean, clean_sd, clean, clean_sd),
        "joint": (better, steady.sd, clean, clean_sd),
    }
    fits, skipped = {}, {}
    for name, (frames, errors, starts, start_sd) in runs.items():
        try:
            fits[name] = fit_particle(
                frames, errors, mask, times, config.fit, starts=starts, start_sd=start_sd,
                time_unit=each.movie.time_unit, progress=stage(progress, f"law, {name}"),
            )  # fmt: skip
        except InputError as error:
            skipped[name] = str(error)
    return fits, skipped


def _said(result: StxmResult) -> StxmResult:
    out = [
        f"Lithium fraction of {int(result.mask.sum())} pixels; sd of one pixel {np.nanmedian(result.sd):.3g} as measured, "
        f"{np.median(np.sqrt(result.estimate.variance[:, result.mask])):.3g} denoised (medians); background and thickness add "
        f"{np.nanmedian(result.common_sd):.2g}, the same at all times.",
    ]
    if result.beam.flicker.any():
        along = result.beam.along
        out.append(
            f"Beam: flicker of {100 * result.beam.flicker.mean():.2g} % beyond counting, correlated with the next pixel by "
            f"{along[1]:.2f} along x and {along[0]:.2f} along y."
        )
    if result.noise is not None:
        out += list(result.noise.sentences[1:2])
    if result.displacement.any():
        out.append(
            f"Drift of {np.sqrt(np.mean(result.displacement**2)):.2g} px (rms) was taken out."
        )
    for name, value in result.uniformity.items():
        out.append(f"Uniformity coefficient, {name}: {value:.3f}.")
    for name, fit in result.fits.items():
        out.append(f"Law from {name}: {fit.outcome}")
    for name, why in result.skipped.items():
        out.append(f"No law from {name}: {why}")
    return replace(result, sentences=tuple(out))
