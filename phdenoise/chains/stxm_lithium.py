"""The lithium fraction of a particle from X-ray scans, each frame by itself and at one thickness.

counts -> I₀ and flicker -> one place -> OD − background -> (c, d) ± sd -> particle -> c ± sd at the mean of d
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from phdenoise.chains.stxm_config import Scans, StxmConfig
from phdenoise.modalities.stxm import LithiumFraction
from phdenoise.modalities.stxm_counts import (
    Background,
    Beam,
    background,
    beam_given,
    beam_in_region,
    even,
    mean_incident,
)
from phdenoise.modalities.stxm_drift import (
    Aligned,
    aligned,
    by_thickness,
    displacement_sd,
    displacements,
)
from phdenoise.movie import Movie
from phdenoise.types import InputError

# Fewest frames that are denoised, and whose thickness is averaged.
DENOISED = 5
# Pixels kept around the particle.
_MARGIN = 2


class Fraction(NamedTuple):
    """c and its sd, nan where it was not measured."""

    movie: Movie
    sd: np.ndarray


@dataclass(frozen=True)
class Lithium:
    """c of the particle in the box around it.

    Attributes:
        each, steady: c with each frame's own thickness, and with the mean thickness where that was asked for.
        common_sd: of an error of `steady` that all frames share, by background and thickness [y, x].
        mask: the particle [y, x].
        thickness: mean over time [y, x] [end members].
        box: rows and columns of the scans.
        beam: I₀ and flicker.
        displacement: taken out of the scans (dy, dx) [e, t, 2] [px].
    """

    each: Fraction
    steady: Fraction
    common_sd: np.ndarray
    mask: np.ndarray
    thickness: np.ndarray
    box: tuple[slice, slice]
    beam: Beam
    displacement: np.ndarray


def lithium(scans: Scans, config: StxmConfig, above: np.ndarray, warnings: list[str]) -> Lithium:
    """From counts to c; what should be known is added to `warnings`.

    Args:
        scans: see `Scans`.
        config: see `StxmConfig`.
        above: True for the energies above the edge [e].
        warnings: sentences.

    Raises:
        InputError: no beam, or no particle.
    """
    counts = np.asarray(scans.counts, float)
    beam = _beam(scans, config)
    same, variance = even(counts, beam, gain=config.gain)
    where = np.zeros((*counts.shape[:2], 2))
    jitter = np.zeros_like(variance)
    if config.drift:
        moved, unsure = _align(same, variance, beam, above, config)
        variance, where = moved.variance, moved.displacement
        slope = np.gradient(moved.counts, axis=(2, 3))
        jitter = unsure**2 * (slope[0] ** 2 + slope[1] ** 2)
        same = np.where(moved.seen, moved.counts, np.nan)
    elif counts.shape[1] > 1:
        _look_for_drift(same, beam, above, warnings)
    level = mean_incident(beam)[above]
    bare = _before(scans, beam, same, variance, above, config, warnings)
    lift = np.exp(bare.od)[:, None]
    seen = np.isfinite(same[above]).all(axis=0)
    # Where nothing was measured any number serves, it is left out at the end.
    light = np.nan_to_num(same[above] * lift, nan=1.0)
    own, jitter = (np.nan_to_num(a[above] * lift**2, nan=1.0) for a in (variance, jitter))
    spread = own + jitter
    thick = np.where(seen, _thickness(light, level, config), np.nan)
    whole, box = _particle(thick, config)
    light, own, spread, thick = (a[(..., *box)] for a in (light, own, spread, thick))
    mask = whole[box]
    good = seen[(..., *box)] & mask
    modality = _modality(level, config, None)
    each = _fraction(modality, light, spread, good, scans)
    thickness, thickness_sd = _over_time(thick)
    doubt = np.stack([bare.sd[(..., *box)].mean(axis=0), np.zeros(mask.shape)])
    steady = each
    if config.steady and len(scans.times) >= DENOISED:
        known = np.where(mask, np.maximum(thickness, 1e-3), 1.0)
        modality = _modality(level, config, jnp.asarray(known))
        steady = _fraction(modality, light, spread, good, scans)
        doubt[1] = thickness_sd
    slopes = np.abs([np.asarray(a, float).mean(axis=0) for a in _slopes(modality, light, spread)])
    # What is left of the displacements is no noise that a denoiser takes away: fronts are slow.
    moved_sd = np.zeros(mask.shape)
    if config.drift:
        still = _fraction(modality, light, own, good, scans).sd
        moved_sd = np.sqrt(np.maximum(_over_time(steady.sd**2 - still**2)[0], 0.0))
    common = np.sqrt(np.sum((slopes * doubt) ** 2, axis=0) + moved_sd**2)
    common = np.where(mask, common, np.nan)
    thickness = np.where(mask, thickness, 0.0)
    return Lithium(each, steady, common, mask, thickness, box, beam, where)


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


def _density(same: np.ndarray, beam: Beam) -> tuple[np.ndarray, np.ndarray]:
    """Optical density, and the counts it was taken of, not less than one."""
    floor = np.maximum(same, 1.0)
    return np.log(mean_incident(beam)[:, None, None, None] / floor), floor


def _align(
    same: np.ndarray, variance: np.ndarray, beam: Beam, above: np.ndarray, config: StxmConfig
) -> tuple[Aligned, float]:
    """Scans at one place, and what is left of their displacements, rms along an axis [px]."""
    od, weights = np.nan_to_num(_density(same, beam)[0][above]), _weights(config)
    found = by_thickness(od, weights, displacements(od))
    where = np.zeros((*same.shape[:2], 2))
    where[above] = found
    # Before the edge the particle hardly shows: those scans are where the ones above it are at the same time.
    where[~above] = found.mean(axis=0)
    moved = aligned(same, variance, where, beam.along)
    spread = moved.variance[above] / np.maximum(moved.counts[above], 1.0) ** 2
    return moved, displacement_sd(od, spread, weights, found)


def _look_for_drift(same: np.ndarray, beam: Beam, above: np.ndarray, warnings: list[str]) -> None:
    found = displacements(np.nan_to_num(_density(same, beam)[0][above]))
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
) -> Background:
    """Background from the scans before the edge, in the movie or taken once; zero without any."""
    at = scans.energies[above]
    od, spread, energies = [], [], []
    if (~above).any():
        density, floor = _density(same, beam)
        od.append(density[~above].reshape(-1, *same.shape[2:]))
        spread.append((variance / floor**2)[~above].reshape(-1, *same.shape[2:]))
        energies.append(np.repeat(scans.energies[~above], same.shape[1]))
    if scans.before is not None and scans.before_energies is not None:
        once = np.asarray(scans.before, float)[:, None]
        own = _beam_before(once, scans, config)
        corrected, var = even(once, own, gain=config.gain)
        density, floor = _density(corrected, own)
        od.append(density[:, 0])
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


def _beam_before(once: np.ndarray, scans: Scans, config: StxmConfig) -> Beam:
    """The beam of scans taken apart; what is known for the energies of the movie serves at the nearest."""
    if config.incident_region is not None:
        return _beam(replace(scans, counts=once), config)
    if scans.incident is not None:
        return beam_given(once, np.repeat(scans.incident[:1], len(once), axis=0))
    return beam_given(once, np.asarray(config.incident[0], float))


def _thickness(counts: np.ndarray, level: np.ndarray, config: StxmConfig) -> np.ndarray:
    """d by unweighted least squares on the two end members [t, y, x]."""
    od = np.log(level[:, None, None, None] / np.maximum(counts, 1.0))
    return np.tensordot(_weights(config), od, axes=1)


def _weights(config: StxmConfig) -> np.ndarray:
    """Of the energies' optical densities in the thickness [e]."""
    basis = np.stack([config.lithiated, config.delithiated], axis=1)
    weights: np.ndarray = np.linalg.pinv(basis).sum(axis=0)
    return weights


def _over_time(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the frames where a pixel was seen, 0 where it never was, and its standard error [y, x]."""
    known = np.isfinite(values)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, values, 0).sum(axis=0) / count
    spread = np.where(known, (values - mean) ** 2, 0).sum(axis=0) / np.maximum(count - 1, 1)
    return mean, np.sqrt(spread / count)


def _particle(thickness: np.ndarray, config: StxmConfig) -> tuple[np.ndarray, tuple[slice, slice]]:
    """Where the mean thickness exceeds a share of the largest, holes filled and specks left out; and the box around it."""
    mean = ndimage.median_filter(_over_time(thickness)[0], 3)
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


def _modality(
    level: np.ndarray, config: StxmConfig, thickness: jax.Array | None
) -> LithiumFraction:
    given = jnp.asarray(1.0) if thickness is None else thickness
    return LithiumFraction(
        jnp.asarray(level), jnp.asarray(config.lithiated), jnp.asarray(config.delithiated), given, thickness is not None
    )  # fmt: skip


def _fraction(
    modality: LithiumFraction,
    counts: np.ndarray,
    variance: np.ndarray,
    good: np.ndarray,
    scans: Scans,
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
    modality: LithiumFraction, counts: np.ndarray | jax.Array, variance: np.ndarray | jax.Array
) -> tuple[jax.Array, jax.Array]:
    """dc/dB and dc/dd, the change of c with a background added to all optical densities and with the thickness [t, y, x]."""

    def fraction(shift: jax.Array, more: jax.Array) -> jax.Array:
        thicker = eqx.tree_at(lambda m: m.thickness, modality, modality.thickness + more)
        return thicker.quantify(counts * jnp.exp(-shift), variance)[0]

    zero, one = jnp.zeros(()), jnp.ones(())
    by_background = jax.jvp(lambda b: fraction(b, zero), (zero,), (one,))[1]
    return by_background, jax.jvp(lambda d: fraction(zero, d), (zero,), (one,))[1]
