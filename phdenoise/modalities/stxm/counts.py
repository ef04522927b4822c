"""From counts of a scanning X-ray microscope to corrected counts: I₀, flicker of the beam, background before the edge.

    OD = ln(I₀/I),   var OD = g/I + f²,   OD_e ← OD_e − B(E_e)

I₀ is measured where nothing absorbs, given as an image, or a number. f is what the beam flickers from pixel to pixel beyond
counting, measured in the same place; along a scan line it is correlated. B is what absorbs without the edge: its mean below the
edge or, from two energies there, the line through them. Corrected counts I exp(B) at one I₀ go to
`phdenoise.observation.lithium_fraction`. Cowley, NeXus NXstxm; Lim et al., Science 353, 566 (2016), doi:10.1126/science.aaf4914.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from phdenoise.modalities.stxm.beam_level import smooth_level
from phdenoise.types import InputError

# Largest correlation of neighbours that is used: 0.95 leaves one independent value in 39 pixels.
_HIGHEST_CORRELATION = 0.95
# Fewest pixels that a beam is measured in: its level is then known four times better than a pixel.
_LEAST_BEAM_PIXELS = 16

Counts = Float[np.ndarray, "e t y x"]


class Beam(NamedTuple):
    """The beam of each scan.

    Attributes:
        incident: I₀ [e, t] [counts], or [e, t, y, x] where it was measured as an image.
        relative_sd: sd(I₀)/I₀, common to a scan [e, t].
        flicker: sd of the beam between pixels beyond counting, relative [e].
        along: correlation of the noise with the next pixel along y and along x [2], nan where it is not known.
    """

    incident: np.ndarray
    relative_sd: Float[np.ndarray, "e t"]
    flicker: Float[np.ndarray, " e"]
    along: Float[np.ndarray, "2"]


class Background(NamedTuple):
    """What absorbs without the edge, at each energy [e, y, x], and its sd."""

    od: Float[np.ndarray, "e y x"]
    sd: Float[np.ndarray, "e y x"]


def beam_in_region(counts: Counts, region: Bool[np.ndarray, "y x"], *, gain: float = 1.0) -> Beam:
    """I₀ of every scan from pixels that nothing covers, steadied by the other scans as far as flicker explains its scatter.

    Args:
        counts: [counts].
        region: True where the beam is free.
        gain: counts per photon.

    Returns:
        Level of each scan, its error, flicker and correlation.

    Raises:
        InputError: fewer than 16 pixels, or no light in them.
    """
    if region.shape != counts.shape[2:] or region.sum() < _LEAST_BEAM_PIXELS:
        raise InputError(
            f"The I0 region holds {int(region.sum())} pixels of {counts.shape[2:]}: give 16 or more that nothing covers."
        )
    inside = counts[..., region].astype(float)
    level = np.nanmean(inside, axis=-1)
    if not (level > 0).all():
        raise InputError("The I0 region has no counts in some scan: it must be free of the sample.")
    # Sums, since one scan may have few pixels.
    left = inside / level[..., None] - 1
    total = np.nanmean(left**2, axis=(1, 2)) * region.sum() / (region.sum() - 1)
    counting = gain * np.nanmean(1 / level, axis=1)
    flicker = np.sqrt(np.maximum(total - counting, 0))
    field = np.where(region, np.nan_to_num(counts / level[..., None, None] - 1), 0.0)
    along = np.array([_lag(field, region, axis) for axis in (-2, -1)])
    alone = np.sqrt(total / max(region.sum() * independent_share(along), 1))
    smooth = [smooth_level(v, float(s)) for v, s in zip(level, alone, strict=True)]
    value, sd = (np.stack(a) for a in zip(*smooth, strict=True))
    return Beam(value, sd, flicker, along)


def beam_given(
    counts: Counts,
    incident: Float[np.ndarray, "..."],
    *,
    relative_sd: float = 0.0,
) -> Beam:
    """I₀ that is known: a number, one for each energy [e], or an image at each energy [e, y, x].

    Args:
        counts: of the scans [counts].
        incident: I₀ [counts].
        relative_sd: sd(I₀)/I₀.

    Returns:
        The beam, without flicker.

    Raises:
        InputError: another shape, or values that are not positive.
    """
    given = np.asarray(incident, float)
    e, t, ny, nx = counts.shape
    shapes = {(): (1, 1), (e,): (e, 1), (e, ny, nx): (e, 1, ny, nx), (ny, nx): (1, 1, ny, nx)}
    if given.shape not in shapes or not (np.isfinite(given).all() and (given > 0).all()):
        raise InputError(
            f"I0 of shape {given.shape} does not fit counts of {e} energies and {ny} x {nx} pixels, or is not positive: give "
            "a number, one for each energy, or an image for each."
        )
    shaped = given.reshape(shapes[given.shape])
    full = np.broadcast_to(shaped, (e, t, *shaped.shape[2:]))
    return Beam(full, np.full((e, t), relative_sd), np.zeros(e), np.full(2, np.nan))


def normalise_beam(counts: Counts, beam: Beam, *, gain: float = 1.0) -> tuple[Counts, Counts]:
    """Counts at one I₀ for each energy, and their variance: counting, flicker, and the error of I₀ itself.

    Args:
        counts: of the scans [counts].
        beam: of each scan.
        gain: counts per photon.

    Returns:
        counts I Ī₀/I₀ with Ī₀ the mean over frames (and pixels) of an energy, variance; [counts], [counts²].
    """
    level = beam.incident if beam.incident.ndim == 4 else beam.incident[..., None, None]
    ratio = mean_incident(beam)[:, None, None, None] / level
    same = counts * ratio
    variance = gain * np.maximum(counts, gain) * ratio**2
    relative = beam.flicker[:, None] ** 2 + beam.relative_sd**2
    return same, variance + relative[..., None, None] * same**2


def independent_share(along: Float[np.ndarray, "2"]) -> float:
    """Independent values in a pixel of noise with correlation ρ to the next pixel along y and x: Π (1 − ρ)/(1 + ρ).

    That is what the variance of a mean over many pixels of an autoregressive process says.
    """
    rho = np.clip(np.nan_to_num(along), 0, _HIGHEST_CORRELATION)
    return float(np.prod((1 - rho) / (1 + rho)))


def mean_incident(beam: Beam) -> Float[np.ndarray, " e"]:
    """Ī₀ [e] [counts]."""
    return beam.incident.reshape(len(beam.incident), -1).mean(axis=1)


def background(
    od: Float[np.ndarray, "n y x"],
    variance: Float[np.ndarray, "n y x"],
    energies: Float[np.ndarray, " n"],
    at: Float[np.ndarray, " e"],
) -> Background:
    """What absorbs before the edge, carried on to the energies `at`.

    Args:
        od, variance: optical density of scans before the edge.
        energies: of them [eV]; where they differ a line is fitted, else their weighted mean is taken.
        at: energies above the edge [eV].

    Returns:
        Optical density at `at` [e, y, x], and its sd.

    Raises:
        InputError: no scan, or as many energies as scans are not given.
    """
    if len(od) == 0 or len(energies) != len(od):
        raise InputError(
            f"{len(od)} scans before the edge need as many energies, not {len(energies)}."
        )
    weight = 1 / variance
    x = np.asarray(energies, float)
    if np.ptp(x) == 0:
        total = weight.sum(0)
        mean, sd = (weight * od).sum(0) / total, 1 / np.sqrt(total)
        return Background(*(np.broadcast_to(a, (len(at), *a.shape)).copy() for a in (mean, sd)))
    s0, s1, s2 = (np.tensordot(x**n, weight, axes=1) for n in range(3))
    t0, t1 = (np.tensordot(x**n, weight * od, axes=1) for n in range(2))
    det = s0 * s2 - s1**2
    slope, level = (s0 * t1 - s1 * t0) / det, (s2 * t0 - s1 * t1) / det
    e = np.asarray(at, float)[:, None, None]
    return Background(level + slope * e, np.sqrt((s2 - 2 * e * s1 + e**2 * s0) / det))


def _lag(field: np.ndarray, region: np.ndarray, axis: int) -> float:
    """Correlation with the next pixel along an axis, inside the region."""
    n = field.shape[axis]
    first, second = (np.take(field, np.arange(s, s + n - 1), axis) for s in (0, 1))
    both = np.take(region, np.arange(n - 1), axis) & np.take(region, np.arange(1, n), axis)
    if not both.any():
        return float("nan")
    power = float(np.mean(field[..., region] ** 2))
    return float(np.mean((first * second)[..., both]) / power) if power > 0 else float("nan")
