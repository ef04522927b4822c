"""X-ray scans of a particle at work: counts -> lithium fraction -> denoised -> the law of the reaction. No files here.

    counts -> I₀ and flicker -> one place -> OD − background -> c ± sd -> denoised c -> μ_h, j₀, k(x,y)

The law is fitted three times: to c as measured, to the denoised c, and jointly: to c as measured, whose errors are known, with
stretches that start from the denoised frames. What the last one predicts is an estimate of c of its own.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from phdenoise.chains.stxm_config import Scans, StxmConfig, check_stxm
from phdenoise.learn.particle_fit import ParticleFit, fit_particle, uniformity
from phdenoise.modalities.stxm import LithiumFraction
from phdenoise.modalities.stxm_counts import (
    Beam,
    background,
    beam_given,
    beam_in_region,
    even,
    mean_incident,
)
from phdenoise.modalities.stxm_drift import Aligned, aligned, displacements
from phdenoise.movie import Estimate, Movie
from phdenoise.noise import Gaussian, NoiseEstimate, estimate_noise
from phdenoise.training import denoise
from phdenoise.types import InputError, Progress, stage, within

# Fewest frames that are denoised, and to which a law is fitted.
_DENOISED, _FITTED = 5, 8
# Pixels kept around the particle.
_MARGIN = 2


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
    counts = np.asarray(scans.counts, float)
    beam = _beam(scans, config)
    same, variance = even(counts, beam, gain=config.gain)
    where = np.zeros((*counts.shape[:2], 2))
    if config.drift:
        moved = _align(same, variance, beam, above)
        same, variance, where = moved.counts, moved.variance, moved.displacement
        same = np.where(moved.seen, same, np.nan)
    elif counts.shape[1] > 1:
        _look_for_drift(same, beam, above, warnings)
    level = mean_incident(beam)
    bare = _before(scans, beam, same, variance, above, config, warnings)
    lift = np.exp(bare.od)[:, None]
    seen = np.isfinite(same[above]).all(axis=0)
    scaled = np.nan_to_num(same[above] * lift, nan=1.0), np.nan_to_num(variance[above] * lift**2, nan=1.0)
    free = _modality(level[above], config, None)
    thick = _thickness(scaled[0], level[above], config)
    mask, box = _particle(np.where(seen, thick, np.nan), config)
    (one, other), thick, seen, mask = (a[..., *box] for a in scaled), thick[..., *box], seen[..., *box], mask[box]
    each = _fraction(free, one, other, seen & mask, scans)
    doubt = np.stack([bare.sd[(..., *box)].mean(axis=0), np.zeros(mask.shape)])
    steady, kind = each, free
    thickness = np.nanmean(np.where(seen, thick, np.nan), axis=0)
    if config.steady and len(scans.times) >= _DENOISED:
        kind = _modality(level[above], config, jnp.asarray(np.where(mask, np.maximum(thickness, 1e-3), 1.0)))
        steady = _fraction(kind, one, other, seen & mask, scans)
        doubt[1] = np.nanstd(np.where(seen, thick, np.nan), axis=0) / np.sqrt(np.maximum(seen.sum(axis=0), 1))  # fmt: skip
    slopes = np.abs([np.asarray(a, float).mean(axis=0) for a in _slopes(kind, one, other)])
    common = np.sqrt(np.sum((slopes * doubt) ** 2, axis=0))
    noise, denoised = None, as_measured(steady.movie, steady.sd)
    if len(scans.times) >= _DENOISED:
        noise = estimate_noise(steady.movie.frames, steady.movie.valid())
        denoised = estimate or denoise(steady.movie, config.denoise, progress=within(progress, "denoise"))
        _judge(noise, beam, steady.sd, warnings)
    else:
        warnings.append(f"{len(scans.times)} frame(s): too few to denoise, lithium is given as measured.")  # fmt: skip
    estimate, movie, sd = denoised, each.movie, each.sd
    fits, skipped = _fits(each, steady, estimate, mask, config, progress)
    versions = {"measured": movie.frames, "denoised": estimate.mean}
    if "joint" in fits:
        versions["law"] = np.where(np.isfinite(fits["joint"].frames), fits["joint"].frames, estimate.mean)
    even_ = {k: uniformity(v.astype(float), mask & np.isfinite(v).all(0)) for k, v in versions.items()}  # fmt: skip
    result = StxmResult(
        movie, sd, np.where(mask, common, np.nan), estimate, mask, np.where(mask, thickness, 0.0), box,
        beam, where, noise, fits, skipped, even_, tuple(warnings), (),
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


def _beam(scans: Scans, config: StxmConfig) -> Beam:
    if config.incident_region is not None:
        region = np.zeros(scans.counts.shape[2:], bool)
        a, b, c, d = config.incident_region
        region[a:b, c:d] = True
        return beam_in_region(np.asarray(scans.counts, float), region, gain=config.gain)
    if scans.incident is not None:
        return beam_given(scans.counts, scans.incident)
    given = np.asarray(config.incident, float)
    return beam_given(scans.counts, given[0] if given.size == 1 else given)


def _od(same: np.ndarray, beam: Beam) -> np.ndarray:
    return mean_incident(beam)[:, None, None, None], np.maximum(same, 1.0)


def _align(same: np.ndarray, variance: np.ndarray, beam: Beam, above: np.ndarray) -> Aligned:
    level, floor = _od(same, beam)
    od = np.log(level / floor)
    found = displacements(np.nan_to_num(od[above]))
    where = np.zeros((*same.shape[:2], 2))
    where[above] = found
    # Before the edge the particle hardly shows: those scans are where the ones above it are at the same time.
    where[~above] = found.mean(axis=0)
    return aligned(same, variance, where, beam.along)


def _look_for_drift(
    same: np.ndarray, beam: Beam, above: np.ndarray, warnings: list[str]
) -> None:
    level, floor = _od(same, beam)
    found = displacements(np.nan_to_num(np.log(level / floor)[above]))
    spread = float(np.sqrt(np.mean(found**2)))
    if spread > 0.3:
        warnings.append(f"The scans are displaced by {spread:.2g} px (rms): use --drift.")


def _before(
    scans: Scans,
    beam: Beam,
    same: np.ndarray,
    variance: np.ndarray,
    above: np.ndarray,
    config: StxmConfig,
    warnings: list[str],
):
    """Background from the scans before the edge, in the movie or taken once; zero without any."""
    at = scans.energies[above]
    od, spread, energies = [], [], []
    if (~above).any():
        level, floor = _od(same, beam)
        od.append(np.log(level / floor)[~above].reshape(-1, *same.shape[2:]))
        spread.append((variance / floor**2)[~above].reshape(-1, *same.shape[2:]))
        energies.append(np.repeat(scans.energies[~above], same.shape[1]))
    if scans.before is not None and scans.before_energies is not None:
        once = np.asarray(scans.before, float)[:, None]
        own = _beam(
            Scans(once, scans.before_energies, np.zeros(1), incident=_incident_before(scans)), config
        )
        corrected, var = even(once, own, gain=config.gain)
        floor = np.maximum(corrected, 1.0)
        od.append(np.log(mean_incident(own)[:, None, None, None] / floor)[:, 0])
        spread.append((var / floor**2)[:, 0])
        energies.append(scans.before_energies)
    if not od:
        warnings.append(
            "No scan before the edge: whatever else absorbs is taken for iron, and shifts the lithium fraction."
        )
        zero = np.zeros((len(at), *same.shape[2:]))
        return background(zero, zero + 1e-12, np.zeros(len(at)), at)
    values, var = np.concatenate(od), np.concatenate(spread)
    known = np.isfinite(values)
    return background(
        np.where(known, values, 0.0), np.where(known, var, 1e6), np.concatenate(energies), at
    )


def _incident_before(scans: Scans) -> np.ndarray | None:
    """Images of I₀ belong to energies above the edge; the nearest serves before it."""
    if scans.incident is None or scans.before_energies is None:
        return None
    return np.repeat(scans.incident[:1], len(scans.before_energies), axis=0)


def _thickness(counts: np.ndarray, level: np.ndarray, config: StxmConfig) -> np.ndarray:
    """d by unweighted least squares on the two end members [t, y, x]."""
    od = np.log(level[:, None, None, None] / np.maximum(counts, 1.0))
    basis = np.stack([config.lithiated, config.delithiated], axis=1)
    return np.tensordot(np.linalg.pinv(basis).sum(axis=0), od, axes=1)


def _particle(
    thickness: np.ndarray, config: StxmConfig
) -> tuple[np.ndarray, tuple[slice, slice]]:
    """Where the mean thickness exceeds a share of the largest, holes filled and specks left out; and the box around it."""
    mean = ndimage.median_filter(np.nan_to_num(np.nanmean(thickness, axis=0)), 3)
    top = float(np.quantile(mean, 0.95))
    label, count = ndimage.label(mean > config.min_thickness * top)
    if count == 0 or not top > 0:
        raise InputError("No particle is found: the scans show no absorption of the end members.")
    sizes = np.bincount(label.ravel())[1:]
    # Pieces smaller than a fiftieth of the largest are noise.
    kept = np.isin(label, 1 + np.nonzero(sizes >= 0.02 * sizes.max())[0])
    mask = ndimage.binary_fill_holes(kept)
    rows, columns = (np.nonzero(mask.any(axis=a))[0] for a in (1, 0))
    box = tuple(
        slice(max(int(i[0]) - _MARGIN, 0), min(int(i[-1]) + 1 + _MARGIN, n))
        for i, n in zip((rows, columns), mask.shape, strict=True)
    )
    return mask, (box[0], box[1])


class Fraction(NamedTuple):
    """c and its sd, nan where it was not measured."""

    movie: Movie
    sd: np.ndarray


def _modality(
    level: np.ndarray, config: StxmConfig, thickness: jax.Array | None
) -> LithiumFraction:
    given = jnp.asarray(1.0) if thickness is None else thickness
    return LithiumFraction(
        jnp.asarray(level), jnp.asarray(config.lithiated), jnp.asarray(config.delithiated), given, thickness is not None
    )  # fmt: skip


def _fraction(
    modality: LithiumFraction, counts: np.ndarray, variance: np.ndarray, good: np.ndarray, scans: Scans
) -> Fraction:
    c, sd = (np.asarray(a, float) for a in modality.quantify(counts, variance))
    good = good & np.isfinite(sd)
    movie = Movie.from_array(
        np.where(good, c, np.nan).astype(np.float32), times=scans.times, pixel_size=scans.pixel_size,
        time_unit=scans.time_unit, length_unit=scans.length_unit, intensity_unit="lithium fraction", name=scans.name,
    )  # fmt: skip
    return Fraction(movie, np.where(good, sd, np.nan))


@jax.jit
def _slopes(
    modality: LithiumFraction, counts: np.ndarray, variance: np.ndarray
) -> tuple[jax.Array, jax.Array]:
    """dc/dB and dc/dd, the change of c with a background added to all optical densities and with the thickness [t, y, x]."""

    def fraction(shift: jax.Array, more: jax.Array) -> jax.Array:
        thicker = eqx.tree_at(lambda m: m.thickness, modality, modality.thickness + more)
        return thicker.quantify(counts * jnp.exp(-shift), variance)[0]

    zero, one = jnp.zeros(()), jnp.ones(())
    by_background = jax.jvp(lambda b: fraction(b, zero), (zero,), (one,))[1]
    return by_background, jax.jvp(lambda d: fraction(zero, d), (zero,), (one,))[1]


def _judge(noise: NoiseEstimate, beam: Beam, sd: np.ndarray, warnings: list[str]) -> None:
    found = float(np.sqrt(np.mean(np.asarray(noise.model.variance(jnp.full(1, 0.5))))))
    told = float(np.nanmedian(sd))
    if found > 1.3 * told:
        why = "" if beam.flicker.any() else " (without an I0 region the flicker of the beam is not known)"
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
        out.append(f"Drift of {np.sqrt(np.mean(result.displacement**2)):.2g} px (rms) was taken out.")
    for name, value in result.uniformity.items():
        out.append(f"Uniformity coefficient, {name}: {value:.3f}.")
    for name, fit in result.fits.items():
        out.append(f"Law from {name}: {fit.outcome}")
    for name, why in result.skipped.items():
        out.append(f"No law from {name}: {why}")
    return replace(result, sentences=tuple(out))
