"""The lithium fraction of a particle from X-ray scans, each frame by itself and at one thickness.

counts -> I₀ and flicker -> one place -> OD − background -> (c, d) ± sd -> particle -> c ± sd at the mean of d
"""

from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool
from scipy import ndimage

from phdenoise.modalities.stxm.config import Scans, StxmConfig
from phdenoise.modalities.stxm.corrections import background_of, correct_scans, thickness_weights
from phdenoise.modalities.stxm.counts import Beam, mean_incident
from phdenoise.movie import Movie
from phdenoise.observation.lithium_fraction import LithiumFraction
from phdenoise.types import InputError

# Fewest frames that are denoised, and whose thickness is averaged: the network sees two frames before and two after.
FRAMES_TO_DENOISE = 5
# Pixels kept around the particle.
_MARGIN = 2
# Least thickness that lithium is divided by [thickness of the end members]; far below that of any particle.
_LEAST_THICKNESS = 1e-3
# Area of a piece, as a share of the largest one, below which a piece is taken for noise.
_LEAST_PIECE = 0.02


class Fraction(NamedTuple):
    """c and its sd, nan where it was not measured."""

    movie: Movie
    sd: np.ndarray


@dataclass(frozen=True)
class Lithium:
    """c of the particle in the box around it.

    Attributes:
        by_frame: c with each frame's own thickness.
        at_mean_thickness: c with the thickness that all frames together give, where that was asked for.
        common_sd: of an error of `at_mean_thickness` that all frames share, by background and thickness [y, x].
        mask: the particle [y, x].
        thickness: mean over time [y, x] [end members].
        thickness_of_frames: that of each frame over the mean of all, mean over the particle, and its sd [2, t].
        box: rows and columns of the scans.
        beam: I₀ and flicker.
        displacement: taken out of the scans (dy, dx) [e, t, 2] [px].
    """

    by_frame: Fraction
    at_mean_thickness: Fraction
    common_sd: np.ndarray
    mask: np.ndarray
    thickness: np.ndarray
    thickness_of_frames: np.ndarray
    box: tuple[slice, slice]
    beam: Beam
    displacement: np.ndarray


def lithium(
    scans: Scans, config: StxmConfig, above: Bool[np.ndarray, " e"], warnings: list[str]
) -> Lithium:
    """From counts to c.

    Args:
        scans: see `Scans`.
        config: see `StxmConfig`.
        above: True for the energies above the edge.
        warnings: what should be known is added.

    Returns:
        c, the particle and its thickness.

    Raises:
        InputError: no beam, or no particle.
    """
    corrected = correct_scans(scans, config, above, warnings)
    level = mean_incident(corrected.beam)[above]
    bare = background_of(scans, corrected, above, config, warnings)
    lift = np.exp(bare.od)[:, None]
    seen = np.isfinite(corrected.counts[above]).all(axis=0)
    # Where nothing was measured any number serves, it is left out at the end.
    light = np.nan_to_num(corrected.counts[above] * lift, nan=1.0)
    own, jitter = (
        np.nan_to_num(a[above] * lift**2, nan=1.0)
        for a in (corrected.variance, corrected.displacement_variance)
    )
    spread = own + jitter
    thick = np.where(seen, _thickness(light, level, config), np.nan)
    whole, box = _particle(thick, config)
    light, own, spread, thick = (a[(..., *box)] for a in (light, own, spread, thick))
    mask = whole[box]
    good = seen[(..., *box)] & mask
    instrument = _instrument(level, config, None)
    by_frame = _fraction(instrument, light, spread, good, scans)
    thickness, thickness_sd = _over_time(thick)
    # Errors common to all frames: of the background and of the thickness.
    shared = np.stack([bare.sd[(..., *box)].mean(axis=0), np.zeros(mask.shape)])
    at_mean = by_frame
    if config.constant_thickness and len(scans.times) >= FRAMES_TO_DENOISE:
        known = np.where(mask, np.maximum(thickness, _LEAST_THICKNESS), 1.0)
        instrument = _instrument(level, config, jnp.asarray(known))
        at_mean = _fraction(instrument, light, spread, good, scans)
        shared[1] = thickness_sd
    slopes = np.abs([np.asarray(a, float).mean(axis=0) for a in _slopes(instrument, light, spread)])
    # What is left of the displacements is no noise that a denoiser takes away: fronts are slow.
    moved_sd = np.zeros(mask.shape)
    if config.drift:
        still = _fraction(instrument, light, own, good, scans).sd
        moved_sd = np.sqrt(np.maximum(_over_time(at_mean.sd**2 - still**2)[0], 0.0))
    common = np.sqrt(np.sum((slopes * shared) ** 2, axis=0) + moved_sd**2)
    common = np.where(mask, common, np.nan)
    thickness = np.where(mask, thickness, 0.0)
    return Lithium(
        by_frame, at_mean, common, mask, thickness, _of_frames(thick[:, mask], thickness[mask]), box, corrected.beam,
        corrected.displacement,
    )  # fmt: skip


def _thickness(counts: np.ndarray, level: np.ndarray, config: StxmConfig) -> np.ndarray:
    """d by unweighted least squares on the two end members [t, y, x]."""
    od = np.log(level[:, None, None, None] / np.maximum(counts, 1.0))
    return np.tensordot(thickness_weights(config), od, axes=1)


def _of_frames(values: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Thickness of each frame over that of all, by pixels [t, n] and their means [n]; and its sd by the scatter of pixels."""
    level = max(float(mean.mean()), np.finfo(float).tiny)
    away = values - mean
    count = np.maximum(np.isfinite(away).sum(axis=1), 1)
    seen = np.where(np.isfinite(away), away, 0.0)
    shift = seen.sum(axis=1) / count
    scatter = np.sqrt(np.where(np.isfinite(away), (seen - shift[:, None]) ** 2, 0.0).sum(axis=1) / count)  # fmt: skip
    return np.stack([1 + shift / level, scatter / np.sqrt(count) / level])


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
    kept = np.isin(label, 1 + np.nonzero(sizes >= _LEAST_PIECE * sizes.max())[0])
    mask = ndimage.binary_fill_holes(kept)
    rows, columns = (np.nonzero(mask.any(axis=a))[0] for a in (1, 0))
    box = tuple(
        slice(max(int(i[0]) - _MARGIN, 0), min(int(i[-1]) + 1 + _MARGIN, n))
        for i, n in zip((rows, columns), mask.shape, strict=True)
    )
    return mask, (box[0], box[1])


def _instrument(
    level: np.ndarray, config: StxmConfig, thickness: jax.Array | None
) -> LithiumFraction:
    given = jnp.asarray(1.0) if thickness is None else thickness
    return LithiumFraction(
        jnp.asarray(level), jnp.asarray(config.lithiated), jnp.asarray(config.delithiated), given, thickness is not None
    )  # fmt: skip


def _fraction(
    instrument: LithiumFraction,
    counts: np.ndarray,
    variance: np.ndarray,
    good: np.ndarray,
    scans: Scans,
) -> Fraction:
    c, var = (np.asarray(a, float) for a in instrument.quantify(counts, variance))
    sd = np.sqrt(var)
    good = good & np.isfinite(sd)
    movie = Movie.from_array(
        np.where(good, c, np.nan).astype(np.float32), times=scans.times, pixel_size=scans.pixel_size,
        time_unit=scans.time_unit, length_unit=scans.length_unit, intensity_unit="lithium fraction", name=scans.name,
    )  # fmt: skip
    return Fraction(movie, np.where(good, sd, np.nan))


@jax.jit
def _slopes(
    instrument: LithiumFraction, counts: np.ndarray | jax.Array, variance: np.ndarray | jax.Array
) -> tuple[jax.Array, jax.Array]:
    """dc/dB and dc/dd, the change of c with a background added to all optical densities and with the thickness [t, y, x]."""

    def fraction(shift: jax.Array, more: jax.Array) -> jax.Array:
        thicker = eqx.tree_at(lambda m: m.thickness, instrument, instrument.thickness + more)
        return thicker.quantify(counts * jnp.exp(-shift), variance).mean

    zero, one = jnp.zeros(()), jnp.ones(())
    by_background = jax.jvp(lambda b: fraction(b, zero), (zero,), (one,))[1]
    return by_background, jax.jvp(lambda d: fraction(zero, d), (zero,), (one,))[1]
