"""Counts of atomic-resolution TEM, denoised by a network that simulations have trained.

    counts -> sums over bins of about 0.4 angstrom -> network -> raw pixels

The network sees each frame in eight orientations and at shifted bins of two sizes; the mean of what it answers is the estimate. The
standard deviation is what the network expects of its error, larger where its answers disagree, and larger throughout where
the unbiased risk of the frame (PURE, from the counts alone) says that the error is larger than expected.
"""

from functools import lru_cache
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.modalities.tem.binning import bin_factor, bin_sums, measure_vacuum, spread_back
from phdenoise.modalities.tem.network import TemUnet, load_network
from phdenoise.types import InputError

# Flips and turns of a frame.
SYMMETRIES = 8
# Frames are seen at a second size of bins, too, where raw pixels allow it [angstrom]: on simulated images of 0.1 angstrom the
# mean of 0.4 and 0.5 is 0.16 dB better than the mean of as many views at 0.4.
WIDER_BIN = 0.5
# Bins along the edge of the tiles that large frames are cut into, without their margins: a tile needs about 200 MB.
TILE = 512


# Step of the finite difference along the random probe [noise standard deviations]; small beside the noise, large beside rounding.
PROBE = 0.1
# Side of the blocks whose scatter gives the standard error of the unbiased risk [bins].
_BLOCK = 8


class DenoisedCounts(NamedTuple):
    """Electrons per raw pixel: `mean` and its standard deviation `sd`, shaped as the counts; `vacuum` level."""

    mean: Float[np.ndarray, "*s"]
    sd: Float[np.ndarray, "*s"]
    vacuum: float


def denoise_counts(
    counts: Float[np.ndarray, "*s"],
    *,
    pixel_size: float,
    vacuum: float | None = None,
    network: TemUnet | None = None,
) -> DenoisedCounts:
    """Denoise a frame or a movie of counts, each frame by itself.

    Args:
        counts: electrons of each detector pixel [y, x] or [t, y, x], Poisson with gain 1.
        pixel_size: of the detector pixels [angstrom].
        vacuum: mean electrons of a pixel in vacuum; measured from the image where None.
        network: another network than the package's.

    Returns:
        Mean and standard deviation of every pixel [electrons], and the vacuum level.

    Raises:
        InputError: counts that are not finite, negative, or of another dimension; a pixel size out of range.
    """
    frames = _checked(counts)
    if vacuum is None:
        vacuum = measure_vacuum(frames, pixel_size)
    network = default_network() if network is None else network
    shape = (frames.shape[1], frames.shape[2])
    mean, square, variance = (np.zeros(frames.shape) for _ in range(3))
    views = _views(pixel_size)
    for k, (factor, offset) in enumerate(views):
        bins = bin_sums(frames, factor, offset, network.config.stride)
        level = np.maximum(frames.mean((1, 2)), 1e-9) * factor**2
        out, sd = denoise_bins(network, bins.astype(np.float32), level)
        fine = spread_back(out, factor, offset, shape)
        mean += fine / len(views)
        square += fine**2 / len(views)
        if k == 0:
            widening = _widening(network, bins, level, out, sd)
        # The error is alike over a bin: its standard deviation is shared out as the counts are.
        variance += np.maximum(spread_back(sd, factor, offset, shape), 0) ** 2 / len(views)
    # Answers at other bins scatter by what the network makes of the grid.
    variance += np.maximum(square - mean**2, 0)
    floor = 1e-4 * max(float(frames.mean()), 1e-9)
    mean, sd = np.maximum(mean, floor), np.sqrt(widening * variance) + floor
    dtype = np.float32
    return DenoisedCounts(
        mean.reshape(counts.shape).astype(dtype), sd.reshape(counts.shape).astype(dtype), vacuum
    )


def denoise_bins(
    network: TemUnet, bins: Float[np.ndarray, "t y x"], level: Float[np.ndarray, " t"]
) -> tuple[Float[np.ndarray, "t y x"], Float[np.ndarray, "t y x"]]:
    """Mean and standard deviation of binned counts.

    Args:
        network: trained.
        bins: counts; sides are multiples of the network's stride.
        level: mean counts of a bin of each frame.

    Returns:
        Both [electrons per bin].
    """
    means, sds = [], []
    for frame, m in zip(bins, level, strict=True):
        z = jnp.asarray((frame - m) / np.sqrt(m), jnp.float32)
        mean, sd = in_tiles(network, z)
        means.append(m + np.sqrt(m) * np.asarray(mean, np.float64))
        sds.append(np.sqrt(m) * np.asarray(sd, np.float64))
    return np.stack(means), np.stack(sds)


def unbiased_error(
    network: TemUnet,
    bins: Float[np.ndarray, "y x"],
    level: float,
    estimate: Float[np.ndarray, "y x"],
) -> tuple[float, float]:
    """Squared error of an estimate from the counts alone (PURE), and its standard error.

        ⟨(f − n)² − n + 2 n ∂f/∂n⟩

    The derivative is a finite difference along a random probe: Luisier et al. (2011), doi:10.1109/TIP.2010.2073477.

    Args:
        network: whose estimate it is.
        bins: counts.
        level: their mean.
        estimate: of the mean counts.

    Returns:
        Mean squared error and its standard error [electrons² per bin].
    """
    root = np.sqrt(level)
    probe = np.random.default_rng(0).choice([-1.0, 1.0], bins.shape)
    moved, _ = in_tiles(network, jnp.asarray((bins - level) / root + PROBE * probe, jnp.float32))
    slope = probe * (level + root * moved - estimate) / (root * PROBE)
    terms = (estimate - bins) ** 2 + (2 * slope - 1) * bins
    ny, nx = (n // _BLOCK for n in terms.shape)
    blocks = terms[: ny * _BLOCK, : nx * _BLOCK].reshape(ny, _BLOCK, nx, _BLOCK).mean((1, 3))
    scatter = blocks.std(ddof=1) if blocks.size > 1 else np.inf
    return float(terms.mean()), float(scatter / np.sqrt(max(blocks.size, 1)))


def in_tiles(
    network: TemUnet, z: Float[Array, "y x"], tile: int = TILE
) -> tuple[Float[np.ndarray, "y x"], Float[np.ndarray, "y x"]]:
    """`symmetric` of a frame of any size: tiles whose margins hold all that their pixels depend on.

    Args:
        network: trained.
        z: scaled counts; sides are multiples of the network's stride.
        tile: side of the tiles without margins [px], a multiple of the stride.

    Returns:
        Mean and standard deviation, the same as of the whole frame to rounding.

    Raises:
        InputError: a tile that is no multiple of the stride.
    """
    stride = network.config.stride
    if tile % stride:
        raise InputError(f"tile must be a multiple of {stride}, got {tile}.")
    ny, nx = z.shape
    margin = -(-network.config.radius // stride) * stride
    if max(ny, nx) <= tile + 2 * margin:
        mean, sd = symmetric(network, z)
        return np.asarray(mean), np.asarray(sd)
    out = np.zeros((2, ny, nx), np.float32)
    for top in range(0, ny, tile):
        for left in range(0, nx, tile):
            a, b = max(top - margin, 0), min(top + tile + margin, ny)
            c, d = max(left - margin, 0), min(left + tile + margin, nx)
            part = np.stack(symmetric(network, z[a:b, c:d]))
            here = slice(top, min(top + tile, ny)), slice(left, min(left + tile, nx))
            out[:, here[0], here[1]] = part[
                :, here[0].start - a : here[0].stop - a, here[1].start - c : here[1].stop - c
            ]
    return out[0], out[1]


@eqx.filter_jit
def symmetric(
    network: TemUnet, z: Float[Array, "y x"]
) -> tuple[Float[Array, "y x"], Float[Array, "y x"]]:
    """Mean over the eight orientations, and its standard deviation.

    Args:
        network: trained.
        z: scaled counts; sides are multiples of the network's stride.

    Returns:
        Mean and standard deviation in units of z.
    """
    # Flips of a frame share its shape and one pass of the network.
    means, sds = [], []
    for first in (0, SYMMETRIES // 2):
        codes = range(first, first + SYMMETRIES // 2)
        mean, sd = network(jnp.stack([oriented(z, code) for code in codes]))
        means += [restored(mean[k], code) for k, code in enumerate(codes)]
        sds += [restored(sd[k], code) for k, code in enumerate(codes)]
    mean = sum(means[1:], means[0]) / SYMMETRIES
    # The mean over orientations is better than one of them, whose error the network predicts: the scatter is what it wins.
    variance = sum(s**2 for s in sds) / SYMMETRIES
    return mean, jnp.sqrt(variance)


def oriented(frame: Float[Array, "y x"], code: int) -> Float[Array, "a b"]:
    """A frame flipped and turned.

    Args:
        frame: any.
        code: 0 to 7.

    Returns:
        The frame in another orientation.
    """
    turned = frame.T if code & 4 else frame
    turned = turned[::-1] if code & 1 else turned
    return turned[:, ::-1] if code & 2 else turned


def restored(frame: Float[Array, "a b"], code: int) -> Float[Array, "y x"]:
    """The inverse of `oriented`.

    Args:
        frame: flipped and turned.
        code: 0 to 7.

    Returns:
        The frame as it was.
    """
    turned = frame[::-1] if code & 1 else frame
    turned = turned[:, ::-1] if code & 2 else turned
    return turned.T if code & 4 else turned


@lru_cache(maxsize=1)
def default_network() -> TemUnet:
    """The network that the package ships."""
    return load_network()[0]


def _widening(
    network: TemUnet,
    bins: np.ndarray,
    level: np.ndarray,
    mean: np.ndarray,
    sd: np.ndarray,
) -> np.ndarray:
    """Factor on the variance of each frame [t, 1, 1]: at least one, more where counts contradict the network's error."""
    out = []
    for frame, m, estimate, spread in zip(bins, level, mean, sd, strict=True):
        error, uncertain = unbiased_error(network, frame, float(m), estimate)
        expected = float(np.mean(spread**2))
        surely = error - uncertain if np.isfinite(uncertain) else 0.0
        out.append(max(1.0, surely / max(expected, 1e-30)))
    return np.asarray(out)[:, None, None]


def _views(pixel_size: float) -> list[tuple[int, tuple[int, int]]]:
    """Raw pixels along the edge of a bin, and offset of the first bin, of each view of a frame; the first is the main one."""
    main = bin_factor(pixel_size)
    factors = list(dict.fromkeys((main, max(main, round(WIDER_BIN / pixel_size)))))
    if len(factors) == 2:
        return [(f, (o, o)) for f in factors for o in (0, f // 2)]
    steps = sorted({0, main // 2})
    return [(main, (a, b)) for a in steps for b in steps]


def _checked(counts: Float[np.ndarray, "*s"]) -> Float[np.ndarray, "t y x"]:
    frames = np.asarray(counts, np.float64)
    if frames.ndim not in (2, 3) or min(frames.shape) < 1:
        raise InputError(f"Counts must be [y, x] or [t, y, x], got the shape {frames.shape}.")
    if not np.isfinite(frames).all() or (frames < 0).any():
        raise InputError(
            "Counts must be finite and not negative: subtract the camera's offset, divide by its gain."
        )
    return frames if frames.ndim == 3 else frames[None]
