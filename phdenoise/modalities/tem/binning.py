"""Counts binned by sums, and back: nothing that the network needs is lost, and means are kept.

    N_b = Σ_{p in b} n_p,        f_p = S(right edge of p) − S(left edge of p),        S interpolates Σ_{b' ≤ b} f_b'

Sums of counts are counts. The way back interpolates the cumulative sums along each axis by a spline of degree five, so the
sum over every bin is what it was. At 0.4 angstrom a bin, nothing of a lattice image is lost: its finest spacing is two bins.
"""

import numpy as np
from jaxtyping import Float
from scipy.interpolate import make_interp_spline
from scipy.ndimage import uniform_filter

from phdenoise.types import InputError

# Size of a bin that networks are trained around [angstrom]: pictures on 0.049 angstrom lose nothing in sums of eight (52.9 dB).
BIN = 0.4
# Coarsest pixel that atomic columns survive [angstrom]: two pixels in the closest spacing of interest, 1.4 angstrom.
COARSEST = 0.7
# Windows that measure the vacuum [angstrom]: a few lattice spacings, so that a lattice shows as excess variance.
_FLAT_WINDOW = 6.0
# Excess variance that counts as flat, in standard deviations of the variance of Poisson counts; and the share of the
# image that must be flat before its level is believed.
_FLAT_DEVIATIONS, _FLAT_SHARE = 1.5, 0.01
# Degree of the spline that interpolates the cumulative sums.
_DEGREE = 5


def bin_factor(pixel_size: float) -> int:
    """Raw pixels along the edge of a bin.

    Args:
        pixel_size: of the raw pixels [angstrom].

    Returns:
        At least 1.

    Raises:
        InputError: pixels that are too coarse for atomic columns, or no length.
    """
    if not 0 < pixel_size <= COARSEST:
        raise InputError(
            f"A pixel of {pixel_size} angstrom cannot show atomic columns: up to {COARSEST} angstrom is"
            " supported. Check the unit of pixel_size (angstrom, not nanometres)."
        )
    return max(1, round(BIN / pixel_size))


def bin_sums(
    counts: Float[np.ndarray, "t y x"], factor: int, offset: tuple[int, int], stride: int
) -> Float[np.ndarray, "t y2 x2"]:
    """Sums over bins of a frame that is mirrored at its edges until it fills whole strides of bins.

    Args:
        counts: of raw pixels.
        factor: raw pixels along the edge of a bin.
        offset: raw pixels of mirror before the first row and column.
        stride: sides are multiples of this [bins].

    Returns:
        Counts of bins.
    """
    pads = [(0, 0)]
    for n, o in zip(counts.shape[1:], offset, strict=True):
        bins = -(-(n + o) // (factor * stride)) * stride
        pads.append((o, bins * factor - n - o))
    padded = np.pad(counts, pads, mode="symmetric")
    t, ny, nx = padded.shape
    return padded.reshape(t, ny // factor, factor, nx // factor, factor).sum((2, 4))


def spread_back(
    bins: Float[np.ndarray, "t y2 x2"],
    factor: int,
    offset: tuple[int, int],
    shape: tuple[int, int],
) -> Float[np.ndarray, "t y x"]:
    """Raw pixels whose sums over bins are given: the way back of `bin_sums`.

    Args:
        bins: sums.
        factor: raw pixels along the edge of a bin.
        offset: raw pixels of mirror before the first row and column.
        shape: rows and columns of the raw frame.

    Returns:
        Values of raw pixels.
    """
    if factor == 1:
        (top, left), (ny, nx) = offset, shape
        return bins[:, top : top + ny, left : left + nx]
    rows, columns = (
        _spline(m, factor)[o : o + n] for m, o, n in zip(bins.shape[1:], offset, shape, strict=True)
    )
    return np.einsum("pb,tbc,qc->tpq", rows, bins, columns, optimize=True)


def measure_vacuum(counts: Float[np.ndarray, "t y x"], pixel_size: float) -> float:
    """Mean counts of a raw pixel in vacuum: the level of the regions without structure.

    A window is flat if the variance of its sums over about 0.8 angstrom is that of Poisson counts. Of the flat windows the
    brighter half counts: matter without order is flat too, and lets fewer electrons through.

    Args:
        counts: of raw pixels, gain 1.
        pixel_size: [angstrom].

    Returns:
        Electrons per raw pixel; the mean of the image where no region is flat.
    """
    factor = max(1, round(2 * BIN / pixel_size))
    t, ny, nx = counts.shape
    cut = counts[:, : ny // factor * factor, : nx // factor * factor]
    sums = cut.reshape(t, ny // factor, factor, nx // factor, factor).sum((2, 4)).mean(0)
    side = max(3, round(_FLAT_WINDOW / (factor * pixel_size)))
    if min(sums.shape) < side:
        return float(counts.mean())
    mean = uniform_filter(sums, side)
    variance = (uniform_filter(sums**2, side) - mean**2) * side**2 / (side**2 - 1)
    # The mean over frames has a t-th of the variance of one frame.
    expected = np.maximum(mean, 1e-12) / t
    deviation = (variance / expected - 1) / np.sqrt(2 / (side**2 - 1))
    inner = (slice(side // 2, -(side // 2) or None),) * 2
    flat = np.abs(deviation[inner]) < _FLAT_DEVIATIONS
    if flat.mean() < _FLAT_SHARE:
        return float(counts.mean())
    levels = mean[inner][flat]
    return float(np.median(levels[levels >= np.median(levels)])) / factor**2


def _spline(bins: int, factor: int) -> Float[np.ndarray, "p b"]:
    """Matrix from sums over bins to values of raw pixels."""
    edges = np.arange(bins + 1.0)
    cumulative = np.vstack([np.zeros(bins), np.tril(np.ones((bins, bins)))])
    fine = np.arange(bins * factor + 1) / factor
    degree = min(_DEGREE, 2 * ((bins + 1) // 2) - 1)
    return np.diff(make_interp_spline(edges, cumulative, k=degree)(fine), axis=0)
