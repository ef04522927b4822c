"""What a denoiser does to a pixel, as a picture: the equivalent filter, and the motion that it follows.

    w_q = ∂ out_p / ∂ y_q        one row of the Jacobian, over frames and pixels

Locally the network is this linear filter of the movie: Σ w = 1 preserves intensities, (Σ w)²/Σ w² is how many pixels
it averages, and where the weights of a neighbouring frame lie is an estimate of where the pixel came from.
Mohan et al., ICLR 2020, arXiv:1906.05478; for video Sheth et al., ICCV 2021, arXiv:2011.15045.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.networks import linear_filter as linear
from phdenoise.networks.architecture import Architecture
from phdenoise.networks.base import Denoiser
from phdenoise.networks.context import REACH, BlindRegion, MovieArrays
from phdenoise.networks.predict import _members, padding_mode, prepare, symmetry_codes
from phdenoise.types import InputError, Steps

# Margin of a network from which on one symmetry is used unless said otherwise [px]: UDVD takes minutes for eight on a large frame,
# and its filter is alike under each.
WIDE = 64
# Symmetries of other networks unless said otherwise.
SYMMETRIES = 8
# Share of the filter's absolute weight below which a frame has no centroid; chosen so that ringing does not count.
LEAST_SHARE = 0.02


class EquivalentFilter(NamedTuple):
    """The filter of one pixel (t, y, x) of the blind prediction.

    `weights` [f, y, x] over whole frames; `frames` [f]: which frames those are; `total`: Σ w; `effective`: number of
    pixels averaged; `motion` [f, 2]: where the weights lie in each frame, relative to the pixel (dy, dx) [px], nan in
    frames that hardly count; `motion_sd` [f, 2]: its uncertainty from the weights' own extent [px].
    """

    pixel: tuple[int, int, int]
    frames: np.ndarray
    weights: np.ndarray
    total: float
    effective: float
    motion: np.ndarray
    motion_sd: np.ndarray


def equivalent_filters(
    denoiser: Denoiser,
    frames: Float[np.ndarray, "t y x"],
    valid: np.ndarray,
    pixels: Sequence[tuple[int, int, int]],
    *,
    symmetries: int | None = None,
    progress: Steps | None = None,
) -> list[EquivalentFilter]:
    """Equivalent filters of the blind prediction at some pixels, one reverse pass each.

    The coefficients of the linear predictions shown to the network are fitted on the whole movie and taken as
    constant: one pixel hardly moves them. The weight of an invalid pixel is that of the value it was filled with.

    Args:
        denoiser: trained denoiser.
        frames: measured movie; NaN allowed where not valid.
        valid: True where measured.
        pixels: (t, y, x) of each.
        symmetries: as in `predict_blind`; by default 8, or 1 of a network that looks far.
        progress: called with (pixel, pixels, nan).

    Returns:
        One filter a pixel.

    Raises:
        InputError: a pixel outside the movie.
    """
    for pixel in pixels:
        if not all(0 <= i < n for i, n in zip(pixel, frames.shape, strict=True)):
            raise InputError(f"Pixel {pixel} is outside the movie of shape {frames.shape}.")
    arrays = prepare(denoiser, frames, valid)
    if symmetries is None:
        margin = denoiser.architecture.margin(denoiser.region)
        symmetries = 1 if margin > WIDE else SYMMETRIES
    out = []
    for k, pixel in enumerate(pixels):
        out.append(_one(denoiser, arrays, frames.shape, pixel, symmetries))
        if progress:
            progress(k + 1, len(pixels), np.nan)
    return out


def implicit_motion(
    weights: Float[np.ndarray, "f y x"], centre: tuple[int, int]
) -> tuple[Float[np.ndarray, "f two"], Float[np.ndarray, "f two"]]:
    """Centroid of the squared weights of each frame relative to a pixel, and its sd [px].

    Squares, because weights of both signs cancel in a plain centroid. The sd is the extent of the squared weights over
    the root of their effective number; both are nan where a frame holds less than 2 % of the absolute weight.

    Args:
        weights: of each frame.
        centre: row and column of the pixel.

    Returns:
        Centroid and its standard deviation, (dy, dx) for each frame [px].
    """
    mass = np.asarray(weights, np.float64) ** 2
    absolute = np.abs(weights).sum((1, 2))
    enough = absolute > LEAST_SHARE * absolute.sum()
    total = np.where(enough, mass.sum((1, 2)), 1.0)
    places = np.indices(weights.shape[1:]) - np.reshape(centre, (2, 1, 1))
    motion = np.einsum("fyx,ayx->fa", mass, places) / total[:, None]
    extent = np.einsum("fyx,ayx->fa", mass, places.astype(float) ** 2) / total[:, None] - motion**2
    number = np.where(enough, total**2 / np.maximum((mass**2).sum((1, 2)), 1e-300), 1.0)
    sd = np.sqrt(np.maximum(extent, 0.0) / number[:, None])
    undefined = ~enough[:, None]
    return np.where(undefined, np.nan, motion), np.where(undefined, np.nan, sd)


def _one(
    denoiser: Denoiser,
    arrays: MovieArrays,
    shape: tuple[int, ...],
    pixel: tuple[int, int, int],
    symmetries: int,
) -> EquivalentFilter:
    t, y, x = pixel
    corner, side = _window(arrays, (y, x), denoiser.architecture, denoiser.region)
    codes = symmetry_codes(symmetries, turns=denoiser.region.turns(side))
    inside = (y - corner[0], x - corner[1])
    padded, bank = _row(denoiser, arrays, (t, *corner), inside, side=side, codes=codes)
    reach = REACH[-1]
    low, high = max(t - reach, 0), min(t + reach + 1, shape[0])
    # Mirrored padding in space carries the weight of the pixel that it mirrors; zeros carry none.
    mode = padding_mode(denoiser.architecture)
    weights = _unpad(np.asarray(padded, np.float64)[low + reach : high + reach], shape, mode)
    taps = arrays.coefficients
    if taps is not None:
        assert bank is not None
        passed = _unpad(np.asarray(bank[t], np.float64), shape, mode)
        mix = np.asarray(arrays.weights, np.float64)[t, :, low - t + reach : high - t + reach]
        for cotangent, tap in zip(passed, (c[t] for c in taps), strict=True):
            # Gaussian blurs with mirrored edges are their own transposes.
            blurred = np.stack([linear._blur(cotangent, s) for s in linear.SCALES])
            spread = tap[:-1].reshape(len(linear.SCALES), -1) @ mix
            weights += np.einsum("sf,syx->fyx", spread, blurred)
    total, squares = float(weights.sum()), float((weights**2).sum())
    motion, sd = implicit_motion(weights, (y, x))
    effective = total**2 / squares if squares > 0 else 0.0
    return EquivalentFilter(
        pixel, np.arange(low, high), weights.astype(np.float32), total, effective, motion, sd
    )


@partial(jax.jit, static_argnames=("side", "codes"))
def _row(
    denoiser: Denoiser,
    arrays: MovieArrays,
    place: tuple[int | Array, ...],
    pixel: tuple[int | Array, ...],
    side: tuple[int, int],
    codes: tuple[int, ...],
) -> tuple[Array, Array | None]:
    """Gradient of one output pixel, in the network's units, with respect to padded frames and linear predictions.

    `place` is the frame and the corner of the window, `pixel` the row and column in it.
    """
    y, x = pixel

    shown = (arrays.padded, arrays.linear)

    def _output(moved: tuple[Array, Array | None], flip: Array) -> Array:
        seen = MovieArrays(moved[0], arrays.weights, moved[1], arrays.seen)
        out = _members(denoiser, seen, *place, flip[None], side=side)
        return out.mean[0, y, x] / (denoiser.spread * len(codes))

    # One symmetry at a time: the activations of all of them would not fit for large frames.
    def _add(total: tuple[Array, Array | None], flip: Array) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, jax.grad(_output)(shown, flip)), None

    start = jax.tree.map(jnp.zeros_like, shown)
    gradient: tuple[Array, Array | None] = jax.lax.scan(_add, start, jnp.asarray(codes))[0]
    return gradient


def _window(
    arrays: MovieArrays, at: tuple[int, int], architecture: Architecture, region: BlindRegion
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Corner and sides of a window that holds all that the pixel's prediction looks at, on the network's stride."""
    sizes, stride = arrays.seen.shape[1:], architecture.stride
    # A stride more on each side, since the window starts on the stride.
    wanted = 2 * (architecture.margin(region) + stride)
    sides = [min(n, wanted) for n in sizes]
    corners = [
        int(np.clip((p - s // 2) // stride * stride, 0, n - s))
        for p, s, n in zip(at, sides, sizes, strict=True)
    ]
    return (corners[0], corners[1]), (sides[0], sides[1])


def _unpad(padded: np.ndarray, shape: tuple[int, ...], mode: str) -> np.ndarray:
    """Transpose of padding the last two axes at their end to multiples of the stride."""
    ny, nx = shape[1:]
    if mode == "constant":
        return padded[:, :ny, :nx].copy()
    rows, columns = (
        np.pad(np.arange(n), (0, m - n), mode="symmetric")
        for n, m in zip((ny, nx), padded.shape[1:], strict=True)
    )
    out = np.zeros((len(padded), ny, nx))
    for frame, values in zip(out, padded, strict=True):
        np.add.at(frame, np.ix_(rows, columns), values)
    return out
