"""X-ray scans of a particle at work: counts -> lithium fraction -> denoised -> the law of the reaction. No files here.

    counts -> I₀ and flicker -> one place -> OD − background -> c ± sd -> denoised c -> μ_h, j₀, k(x,y)

The law is fitted jointly: to c as measured, whose errors are known, with stretches that start from the denoised frames. What it
predicts is an estimate of c of its own. Where a study asks, it is fitted to c as measured and to the denoised c alone, too.
"""

from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np

from phdenoise.denoising import denoise
from phdenoise.learn.particle_fit import ParticleFit, fit_particle
from phdenoise.learn.particle_summary import uniformity
from phdenoise.modalities.plausibility import Limits, impossible
from phdenoise.modalities.stxm.config import Scans, StxmConfig, check_config
from phdenoise.modalities.stxm.counts import Beam
from phdenoise.modalities.stxm.lithium import FRAMES_TO_DENOISE, Fraction, Lithium, lithium
from phdenoise.movie import Estimate, Movie
from phdenoise.noise.estimate import NoiseEstimate, estimate_noise
from phdenoise.noise.models import Gaussian
from phdenoise.types import InputError, Progress, stage, within

# Fewest frames to which a law is fitted: fewer make stretches of two or three frames only.
_FITTED = 8
# End members and I₀ are known to some percent, which shifts c and the thickness by as much of their range.
_FRACTION = Limits("The lithium fraction", 0.0, 1.0, 0.15)
_THICKNESS = Limits(
    "The thickness of the particle at a time, over its mean,", 1.0, 1.0, 0.3, why="iron neither comes nor goes; are the frames "
    "energies, or I0 and background wrong?",
)  # fmt: skip
# Scatter over the error bars from which on a warning is given; chosen, only the warning depends on it.
_NOTICED_SCATTER = 1.3


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
        fits: by version: "joint", and "measured" and "denoised" where they were asked for.
        skipped: why a fit is absent.
        uniformity: uniformity coefficient by version.
        warnings, sentences: for a reader.
        impossible: what no particle can be; then there are no fits, and no uniformity.
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
    impossible: tuple[str, ...] = ()


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

    Returns:
        Lithium and laws, as measured, denoised and jointly.

    Raises:
        InputError: settings that do not fit the scans, or no particle.
    """
    above = check_config(scans, config)
    warnings: list[str] = list(scans.notes)
    found = lithium(scans, config, above, warnings)
    by_frame, at_mean, mask = found.by_frame, found.at_mean_thickness, found.mask
    noise, denoised = None, _as_measured(at_mean.movie, at_mean.sd)
    if len(scans.times) >= FRAMES_TO_DENOISE:
        noise = estimate_noise(at_mean.movie.frames, at_mean.movie.valid())
        denoised = estimate or denoise(
            at_mean.movie, config.denoise, progress=within(progress, "denoise")
        )
        _compare_noise(noise, found.beam, at_mean.sd, warnings)
    else:
        warnings.append(
            f"{len(scans.times)} frame(s): too few to denoise, lithium is given as measured."
        )
    estimate, movie = denoised, by_frame.movie
    wrong = _impossible(found, config)
    fits, skipped = _fits(by_frame, at_mean, estimate, mask, config, wrong, progress)
    versions = {} if wrong else {"measured": movie.frames, "denoised": estimate.mean}
    if "joint" in fits:
        versions["law"] = np.where(
            np.isfinite(fits["joint"].frames), fits["joint"].frames, estimate.mean
        )
    uniform = {k: _uniformity(v.astype(float), mask) for k, v in versions.items()}
    result = StxmResult(
        movie, by_frame.sd, found.common_sd, estimate, mask, found.thickness, found.box, found.beam, found.displacement,
        noise, fits, skipped, uniform, tuple(warnings), (), wrong,
    )  # fmt: skip
    return _with_sentences(result)


def _uniformity(frames: np.ndarray, mask: np.ndarray) -> float:
    """Uniformity over the frames that were measured, and the pixels that were in all of them."""
    measured = frames[np.isfinite(frames[:, mask]).any(axis=1)]
    return uniformity(measured, mask & np.isfinite(measured).all(axis=0))


def _impossible(found: Lithium, config: StxmConfig) -> tuple[str, ...]:
    """Sentences on lithium and thickness that no particle can have."""
    values, common = found.at_mean_thickness, np.nan_to_num(found.common_sd)
    wrong = impossible(values.movie.frames, np.hypot(values.sd, common), _FRACTION)
    if config.constant_thickness:
        ratio, sd = found.thickness_of_frames
        wrong += impossible(ratio, sd, _THICKNESS)
    return wrong


def _as_measured(movie: Movie, sd: np.ndarray) -> Estimate:
    """What stands for a denoised movie where there are too few frames for one."""
    typical = float(np.nanmedian(sd))
    return Estimate(
        movie,
        np.nan_to_num(movie.frames, nan=0.5),
        np.where(np.isfinite(sd), sd**2, 1.0).astype(np.float32),
        Gaussian(jnp.float32(typical)),
    )


def _compare_noise(noise: NoiseEstimate, beam: Beam, sd: np.ndarray, warnings: list[str]) -> None:
    """Warn where lithium scatters between frames by more than its error bars say."""
    found = float(np.sqrt(np.mean(np.asarray(noise.model.variance(jnp.full(1, 0.5))))))
    expected = float(np.nanmedian(sd))
    if found > _NOTICED_SCATTER * expected:
        why = (
            ""
            if beam.flicker.any()
            else " (without an I0 region the flicker of the beam is not known)"
        )
        warnings.append(
            f"Lithium scatters by {found:.2g} between frames, its error bars say {expected:.2g}{why}."
        )


def _fits(
    by_frame: Fraction,
    at_mean: Fraction,
    estimate: Estimate,
    mask: np.ndarray,
    config: StxmConfig,
    wrong: tuple[str, ...],
    progress: Progress | None,
) -> tuple[dict[str, ParticleFit], dict[str, str]]:
    if not config.law:
        return {}, {}
    if wrong:
        return {}, {"any version": "the result is impossible."}
    times = by_frame.movie.times
    if len(times) < _FITTED:
        return {}, {"any version": f"{_FITTED} frames or more are needed."}
    measured, better = (v.movie.frames.astype(float) for v in (by_frame, at_mean))
    clean = estimate.mean.astype(float)
    clean_sd = np.where(mask, np.sqrt(estimate.variance.astype(float)), np.nan)
    runs = {"joint": (better, at_mean.sd, clean, clean_sd)}
    if config.compare_laws:
        # A stretch starts from a whole field.
        filled = np.where(np.isfinite(measured), measured, clean)
        runs = {
            "measured": (measured, by_frame.sd, filled, by_frame.sd),
            "denoised": (clean, clean_sd, clean, clean_sd),
        } | runs
    fits, skipped = {}, {}
    for name, (frames, errors, starts, start_sd) in runs.items():
        try:
            fit = fit_particle(
                frames, errors, mask, times, config.fit, starts=(starts, start_sd),
                time_unit=by_frame.movie.time_unit, progress=stage(progress, f"law, {name}"),
            )  # fmt: skip
            fits[name] = with_length(fit, by_frame.movie)
        except InputError as error:
            skipped[name] = str(error)
    return fits, skipped


def with_length(fit: ParticleFit, movie: Movie) -> ParticleFit:
    """The fit with the gradient coefficient in the movie's unit of length; its raw vector stays in pixels.

    Args:
        fit: κ in kT px².
        movie: with the pixel size; the law takes pixels as square, of the area that these have.

    Returns:
        The fit, κ in kT and the square of the length unit.
    """
    area = float(np.prod(movie.pixel_size))
    parameters = tuple(
        replace(p, value=p.value * area, sd=p.sd * area, unit=f"kT {movie.length_unit}^2")
        if p.name == "kappa"
        else p
        for p in fit.parameters
    )
    return replace(fit, parameters=parameters)


def _with_sentences(result: StxmResult) -> StxmResult:
    out = [
        f"Lithium fraction of {int(result.mask.sum())} pixels; sd of one pixel {np.nanmedian(result.sd):.3g} as measured, "
        f"{np.median(np.sqrt(result.estimate.variance[:, result.mask])):.3g} denoised (medians); background and thickness add "
        f"{np.nanmedian(result.common_sd):.2g}, the same at all times.",
    ]
    if result.beam.flicker.any():
        along = result.beam.along
        out.append(
            f"Beam: flicker of {100 * result.beam.flicker.mean():.2g} % beyond counting; noise correlation of neighbours where "
            f"nothing covers the beam {along[1]:.2f} (x), {along[0]:.2f} (y)."
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
