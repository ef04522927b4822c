"""Atomic columns by their Laplacian of Gaussian, each with the probability that noise alone made it.

    z(r) = −s² ∇²(G_s * n) / sd(r),    sd² = (λ * (s²∇²G_s)²)(r)           λ a broad mean of the counts
    p = P(height of a local maximum of z > u) for a smooth Gaussian random field with the correlation of the filter

Counts of no structure, or of structure that is straight over some widths, give a field z whose correlation only the
filter sets. The heights of its local maxima have a distribution in closed form (Cheng and Schwartzman, Extremes 18, 213
(2015), doi:10.1007/s10687-014-0211-z), so the threshold comes from the noise, not from the image. The share of false
columns among those found is kept by the step-up rule of Benjamini and Hochberg, J. R. Stat. Soc. B 57, 289 (1995).
"""

from math import comb
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage
from scipy.special import ndtr

# κ² = 2 <k²>²/<k⁴> of white noise behind a Laplacian of Gaussian, whose power is k⁴ exp(−k²s²): <k²> = 3/s², <k⁴> = 12/s⁴.
LOG_KAPPA = float(np.sqrt(1.5))
# Mean of the counts around a pixel, for the noise of its response [widths of the filter].
_AROUND = 3.0
# Heights of maxima tabulated between these [sd], and their number: beyond, the probability is below 1e-20.
_LOWEST, _HIGHEST, _HEIGHTS = -4.0, 12.0, 4001


class Maxima(NamedTuple):
    """Local maxima of the response.

    Attributes:
        position: y, x [maximum, 2] [px], between pixels.
        height: z [maximum] [sd].
        p_value: that noise makes a maximum of this height or more [maximum].
    """

    position: np.ndarray
    height: np.ndarray
    p_value: np.ndarray


def response(
    counts: Float[np.ndarray, "y x"],
    width: float,
    *,
    sign: int = 1,
    seen: Bool[np.ndarray, "y x"] | None = None,
) -> Float[np.ndarray, "y x"]:
    """Laplacian of Gaussian of counts over its standard deviation.

    Args:
        counts: [electrons/px].
        width: s [px].
        sign: 1 for columns brighter than their surroundings, −1 for darker ones.
        seen: False where a pixel is not measured.

    Returns:
        z, of mean 0 and variance 1 where there is no structure [sd].
    """
    counts = np.asarray(counts, float)
    if seen is not None and not seen.all():
        share = ndimage.gaussian_filter(seen.astype(float), _AROUND * width)
        level = ndimage.gaussian_filter(np.where(seen, counts, 0.0), _AROUND * width)
        counts = np.where(seen, counts, level / np.maximum(share, 1e-6))
    sides = [_filters(n, width) for n in counts.shape]
    found = -sign * (
        sides[0].bend @ counts @ sides[1].smooth.T + sides[0].smooth @ counts @ sides[1].bend.T
    )
    level = np.maximum(ndimage.gaussian_filter(counts, _AROUND * width), 1e-12)
    second, third = _sums(sides, 2), -sign * _sums(sides, 3)
    z = found / np.sqrt(level * second)
    # Poisson counts are skew: Cornish and Fisher's first term makes the tail of z that of a Gaussian.
    skewness = third / second**1.5 / np.sqrt(level)
    return z - skewness * (z**2 - 1) / 6


def maxima(
    z: Float[np.ndarray, "y x"],
    *,
    apart: float = 0.0,
    seen: Bool[np.ndarray, "y x"] | None = None,
) -> Maxima:
    """Local maxima of a response; those on the frame's edge, where columns are cut, are left out.

    Args:
        z: of `response` [sd].
        apart: of maxima closer than this, the highest is kept [px].
        seen: False where a pixel is not measured; there are no maxima there.

    Returns:
        Positions, heights and probabilities, the highest first.
    """
    near = ndimage.maximum_filter(z, 3)
    peak = z >= near
    peak[[0, -1]] = peak[:, [0, -1]] = False
    if seen is not None:
        peak &= seen
    at = np.argwhere(peak)
    at = at[np.argsort(-z[peak], kind="stable")]
    if apart > 0:
        at = _spread(at, apart)
    (dy, up), (dx, right) = (_vertex(z, at, axis) for axis in (0, 1))
    position = at + np.stack([dy, dx], axis=1)
    height = z[at[:, 0], at[:, 1]] + up + right
    return Maxima(position, height, height_p_value(height))


def height_p_value(
    height: Float[np.ndarray, " n"], kappa: float = LOG_KAPPA
) -> Float[np.ndarray, " n"]:
    """Probability that a local maximum of a smooth isotropic Gaussian random field is at least so high.

        f(u) = √3 κ² (u² − 1) φ(u) Φ(κu/√(2 − κ²)) + κ u √(3(2 − κ²))/2π exp(−u²/(2 − κ²))
               + √6/√(π(3 − κ²)) exp(−3u²/2(3 − κ²)) Φ(κu/√((3 − κ²)(2 − κ²)))

    Args:
        height: u [sd].
        kappa: of the field, 0 < κ <= √2.

    Returns:
        Probabilities.
    """
    u = np.linspace(_LOWEST, _HIGHEST, _HEIGHTS)
    k2 = min(kappa**2, 2 - 1e-9)
    normal = np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi)
    density = np.sqrt(3) * k2 * (u**2 - 1) * normal * ndtr(kappa * u / np.sqrt(2 - k2))
    density += kappa * u * np.sqrt(3 * (2 - k2)) / (2 * np.pi) * np.exp(-(u**2) / (2 - k2))
    density += (
        np.sqrt(6 / (np.pi * (3 - k2)))
        * np.exp(-3 * u**2 / (2 * (3 - k2)))
        * ndtr(kappa * u / np.sqrt((3 - k2) * (2 - k2)))
    )
    above = np.cumsum(np.maximum(density, 0)[::-1])[::-1]
    above = np.maximum(above / above[0], 1e-300)
    return np.exp(np.interp(height, u, np.log(above)))


def kept_by_false_share(
    p_value: Float[np.ndarray, " n"], share: float, tests: int | None = None
) -> Bool[np.ndarray, " n"]:
    """The step-up rule of Benjamini and Hochberg.

    Args:
        p_value: of the tests; of those that are left out, all are larger.
        share: expected share of false ones among those kept, and the probability of any where all are false.
        tests: their number; by default that of the probabilities.

    Returns:
        True for those kept.
    """
    order = np.argsort(p_value)
    tests = max(len(p_value), tests or 1)
    below = p_value[order] <= share * np.arange(1, len(p_value) + 1) / tests
    kept = np.zeros(len(p_value), bool)
    if below.any():
        kept[order[: np.nonzero(below)[0][-1] + 1]] = True
    return kept


class _Filters(NamedTuple):
    """Gaussian and its second derivative along one axis, as matrices; the frame is reflected at its ends."""

    smooth: np.ndarray
    bend: np.ndarray


def _filters(size: int, width: float) -> _Filters:
    one = np.eye(size)
    smooth, bend = (ndimage.gaussian_filter1d(one, width, axis=0, order=k) for k in (0, 2))
    # A uniform image gives exactly nothing.
    return _Filters(smooth, bend - smooth * bend.sum(axis=1, keepdims=True))


def _sums(sides: list[_Filters], power: int) -> np.ndarray:
    """Sum over the image of a power of the weights with which each pixel of the response sees it [y, x]."""
    (sy, by), (sx, bx) = sides
    terms = [
        comb(power, k)
        * np.outer(np.sum(by**k * sy ** (power - k), axis=1), np.sum(sx**k * bx ** (power - k), axis=1))
        for k in range(power + 1)
    ]  # fmt: skip
    return np.sum(terms, axis=0)


def _spread(at: np.ndarray, apart: float) -> np.ndarray:
    """Points in their order without those that are close to an earlier one."""
    kept: list[np.ndarray] = []
    for point in at:
        if all(np.hypot(*(point - other)) >= apart for other in kept):
            kept.append(point)
    return np.asarray(kept, int).reshape(-1, 2)


def _vertex(z: np.ndarray, at: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Offset of the parabola's top through three pixels [px], and its height above the middle one."""
    step = np.eye(2, dtype=int)[axis]
    left, centre, right = (z[tuple((at + k * step).T)] for k in (-1, 0, 1))
    bend = np.minimum(left - 2 * centre + right, -1e-12)
    offset = np.clip(0.5 * (left - right) / bend, -0.5, 0.5)
    return offset, 0.25 * (right - left) * offset
