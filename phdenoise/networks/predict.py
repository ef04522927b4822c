"""Blind prediction of a whole movie: frame by frame, tile by tile, averaged over symmetries.

Averaging the prediction over reflections, quarter turns and time reversal keeps it blind and removes part
of the network's own variance. Frames larger than `TILE` are cut into overlapping tiles whose overlap
exceeds the network's radius, so tiles and whole frames agree.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache, partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from scipy import ndimage

from phdenoise.networks.architecture import Architecture
from phdenoise.networks.base import Denoiser
from phdenoise.networks.context import LINEAR, REACH, BlindRegion, MovieArrays, View
from phdenoise.networks.linear_filter import SCALES, apply_linear, fit_linear
from phdenoise.types import Moments, Steps

# Largest side predicted at once, overlaps included [px]; the activations of the widest network then take less than 10 GB.
TILE = 576
# Widths of the surroundings that gaps are filled from, each three times the one before [px], and where the widest ends.
FILL_SCALES = (1.0, 3.0, 9.0)
FILL_RADIUS = int(4 * FILL_SCALES[-1] + 0.5)
# Share of valid weight in a surrounding from which on a gap is filled from it; less is the Gaussian's far tail.
FILL_SHARE = 0.02
# Memory that the activations of the symmetries that pass the network together may take [bytes]; larger groups are no faster on a CPU.
AT_ONCE = 1e9
# Averaging over symmetries lowers the predicted variance at most by this factor: members that agree may share an error.
LEAST_AVERAGED_VARIANCE = 0.5


def prepare(
    denoiser: Denoiser,
    frames: np.ndarray,
    valid: np.ndarray,
    target: np.ndarray | None = None,
    coefficients: np.ndarray | None = None,
    weights: np.ndarray | None = None,
) -> MovieArrays:
    """Scale, fill and pad a movie [t, y, x] for a network, with its blind linear predictions.

    Args:
        denoiser: its scale and region are used.
        frames: measured movie; NaN allowed where not valid.
        valid: True where measured.
        target: True for the pixels that the linear prediction is fitted on; default all valid ones.
        coefficients: of the linear predictions, fitted here where None.
        weights: of the context; default those of one movie without a break.

    Returns:
        What the network is shown of every frame.
    """
    ny, nx = frames.shape[1:]
    scaled = scale(denoiser, frames, valid)
    if weights is None:
        weights = denoiser.context_weights(np.any(valid, axis=(1, 2)))
    if denoiser.architecture.linear:
        if not weights.any():
            # A frame alone: nothing to predict it from but the movie's mean.
            coefficients = np.zeros((LINEAR, len(frames), weights.shape[1] * len(SCALES) + 1))
        if coefficients is None:
            fitted = valid if target is None else target
            coefficients = fit_linear(scaled, weights, fitted, denoiser.sharing)
    reach = REACH[-1]
    padded = np.pad(scaled, ((reach, reach), (0, 0), (0, 0)))
    whole = (slice(0, ny), slice(0, nx))
    side = denoiser.architecture.padded_shape((ny, nx))
    arrays = assemble(denoiser, padded, valid, weights, coefficients, whole, side)
    return replace(arrays, absent=~np.any(valid, axis=(1, 2)))


def scale(denoiser: Denoiser, frames: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Frames in the network's units, gaps filled.

    Args:
        denoiser: its scale is used.
        frames: measured movie [t, y, x].
        valid: True where measured.

    Returns:
        Finite frames [t, y, x] float32.
    """
    centre = float(denoiser.centre)
    # Where the centre frame is among the context, an average around a gap could contain the hidden pixel.
    if denoiser.architecture.centre_in_context:
        filled = np.where(valid, frames, centre).astype(np.float64)
    else:
        filled = fill(frames, valid, centre)
    return ((filled - centre) / float(denoiser.spread)).astype(np.float32)


def assemble(
    denoiser: Denoiser,
    padded: np.ndarray,
    valid: np.ndarray,
    weights: np.ndarray,
    coefficients: np.ndarray | None,
    inside: tuple[slice, slice],
    side: tuple[int, int],
) -> MovieArrays:
    """What the network is shown of the frames t in a window.

    Args:
        denoiser: its region is used.
        padded: scaled frames t and those in reach before and after; zero beyond the movie.
        valid: where the frames t are measured.
        weights, coefficients: of the frames t.
        inside: rows and columns of `padded` that make the window, as far as the movie goes.
        side: sides of the window; what is missing lies beyond the lower and right edges of the movie.

    Returns:
        Padded arrays of the window.
    """
    rows, columns = (range(n)[s] for n, s in zip(padded.shape[1:], inside, strict=True))
    space = [(0, side[0] - len(rows)), (0, side[1] - len(columns))]
    # A mirrored edge could show a hidden pixel of the centre frame, where that is among the context: it gets zeros.
    mode = padding_mode(denoiser.architecture)

    def pad(a: np.ndarray) -> np.ndarray:
        return np.pad(a, [(0, 0)] * (a.ndim - 2) + space, mode=mode)

    linear = None
    if coefficients is not None:
        linear = jnp.asarray(pad(apply_linear(padded, weights, coefficients, inside)))
    return MovieArrays(
        padded=jnp.asarray(pad(padded[:, *inside])),
        weights=jnp.asarray(weights),
        linear=linear,
        coefficients=coefficients,
        seen=jnp.asarray(np.pad(valid[:, *inside], [(0, 0), *space]).astype(np.float32)),
    )


def padding_mode(architecture: Architecture) -> Literal["constant", "symmetric"]:
    """How frames are padded in space for a network."""
    return "constant" if architecture.centre_in_context else "symmetric"


def fill(
    frames: Float[np.ndarray, "t y x"], valid: Bool[np.ndarray, "t y x"], otherwise: float
) -> Float[np.ndarray, "t y x"]:
    """Invalid pixels replaced by an average of valid ones nearby in the same frame.

    Never by other frames: those would carry a hidden pixel into its own context. Where nothing is valid
    within reach the value is `otherwise`.

    Args:
        frames: measured movie.
        valid: True where measured.
        otherwise: value far from any valid pixel.

    Returns:
        The movie, finite everywhere.
    """
    out = np.where(valid, frames, otherwise).astype(np.float64)
    for t in np.flatnonzero(~valid.all((1, 2)) & valid.any((1, 2))):
        good, missing = valid[t].astype(float), ~valid[t]
        for sigma in FILL_SCALES:
            share = ndimage.gaussian_filter(good, sigma, mode="constant")
            near = ndimage.gaussian_filter(
                np.where(valid[t], frames[t], 0.0), sigma, mode="constant"
            )
            found = missing & (share > FILL_SHARE)
            out[t][found] = near[found] / share[found]
            missing = missing & ~found
    return out


@partial(jax.jit, static_argnames=("side", "flips"))
def _predict_tile(
    denoiser: Denoiser,
    arrays: MovieArrays,
    t: Array,
    y: Array,
    x: Array,
    side: tuple[int, int],
    flips: tuple[int, ...],
) -> Moments:
    """Blind moments of one frame (or tile), averaged over the given symmetries."""
    return _averaged(_members(denoiser, arrays, t, y, x, jnp.asarray(flips), side=side))


def predict_view(denoiser: Denoiser, view: View, flips: tuple[int, ...]) -> Moments:
    """Prediction of a frame, averaged over symmetries.

    Args:
        denoiser: trained.
        view: what the network is shown of the frame.
        flips: codes of the symmetries; see `symmetry_codes`.

    Returns:
        Moments [y, x].
    """
    return _averaged(_through(denoiser, view, jnp.asarray(flips)))


@partial(jax.jit, static_argnames=("side",))
def _members(
    denoiser: Denoiser,
    arrays: MovieArrays,
    t: Array,
    y: Array,
    x: Array,
    flips: Array,
    side: tuple[int, int],
) -> Moments:
    """Blind moments [n, y, x] of one frame (or tile) under each of n symmetries, and turned back."""
    return _through(denoiser, arrays.view(t, y, x, side), flips)


def _through(denoiser: Denoiser, view: View, flips: Array) -> Moments:
    order = jnp.asarray(denoiser.architecture.time_reversed, int)

    def _turned(flip: Array) -> tuple[Array, Array, Array]:
        around = jnp.where(flip & 8, view.context[..., order], view.context)
        return _turn(around, flip), _turn(view.centre, flip), _turn(view.seen, flip)

    out = denoiser(*jax.vmap(_turned)(flips))
    return Moments(*(jax.vmap(_turn_back)(a, flips) for a in out))


def _averaged(members: Moments) -> Moments:
    mean, var = (jnp.mean(a, axis=0) for a in members)
    # The error of an average is exactly the mean error less the spread of its members.
    spread = jnp.mean((members.mean - mean[None]) ** 2, axis=0)
    return Moments(mean, jnp.maximum(var - spread, LEAST_AVERAGED_VARIANCE * var))


def predict_blind(
    denoiser: Denoiser,
    frames: np.ndarray,
    valid: np.ndarray,
    *,
    symmetries: int = 8,
    target: np.ndarray | None = None,
) -> Moments:
    """Blind mean and variance of every frame [t, y, x], in the movie's units.

    Args:
        denoiser: trained denoiser.
        frames: measured movie; NaN allowed where not valid.
        valid: True where measured.
        symmetries: how many of the 16 reflections, turns and time reversals to average.
        target: see `prepare`.

    Returns:
        Moments [t, y, x].
    """
    arrays = prepare(denoiser, frames, valid, target)
    return predict_arrays(denoiser, arrays, frames.shape, symmetries=symmetries)


def predict_arrays(
    denoiser: Denoiser,
    arrays: MovieArrays,
    shape: tuple[int, ...],
    *,
    symmetries: int = 8,
    progress: Steps | None = None,
) -> Moments:
    """Blind mean and variance of a movie that is prepared already.

    Args:
        denoiser: trained denoiser.
        arrays: of `prepare`.
        shape: of the movie [t, y, x].
        symmetries: how many of the 16 reflections, turns and time reversals to average.
        progress: called with (step, steps, nan).

    Returns:
        Moments [t, y, x], in the movie's units.
    """
    t, ny, nx = shape
    mean = np.empty((t, ny, nx), np.float32)
    var = np.empty((t, ny, nx), np.float32)
    cut = tiles((ny, nx), denoiser.region, denoiser.architecture)
    for k, tile in enumerate(cut):
        for i, out in enumerate(predict_tile(denoiser, arrays, tile, range(t), symmetries)):
            mean[i, *tile.kept], var[i, *tile.kept] = out
            if progress:
                progress(k * t + i + 1, len(cut) * t, np.nan)
    return Moments(jnp.asarray(mean), jnp.asarray(var))


def predict_tile(
    denoiser: Denoiser,
    arrays: MovieArrays,
    tile: "Tile",
    frames: range,
    symmetries: int,
    at_once: float = AT_ONCE,
) -> Iterator[Moments]:
    """Blind moments of the kept part of a tile, frame by frame.

    Args:
        denoiser: trained denoiser.
        arrays: of `prepare`, or a part of them.
        tile: window of the arrays.
        frames: to predict.
        symmetries: how many to average.
        at_once: memory that the activations of the symmetries that pass together may take [bytes].

    Yields:
        Moments [y, x] of each frame.

    Returns:
        An iterator.
    """
    side = (tile.rows.stop - tile.rows.start, tile.columns.stop - tile.columns.start)
    widest = max((w.shape[-1] for w in jax.tree.leaves(denoiser.state) if w.ndim), default=1)
    groups = _groups(denoiser.architecture, denoiser.region, widest, side, symmetries, at_once)
    take = tuple(
        slice(kept.start - window.start, kept.stop - window.start)
        for kept, window in zip(tile.kept, (tile.rows, tile.columns), strict=True)
    )
    corner = tile.rows.start, tile.columns.start
    absent, linear = arrays.absent, arrays.linear
    for i in frames:
        if len(groups) == 1:
            out = _predict_tile(denoiser, arrays, i, *corner, side=side, flips=groups[0])
        else:
            pieces = []
            for codes in groups:
                members = _members(denoiser, arrays, i, *corner, jnp.asarray(codes), side=side)
                pieces.append(jax.block_until_ready(members))
            out = _averaged(Moments(*(jnp.concatenate(p) for p in zip(*pieces, strict=True))))
        mean = out.mean[take]
        if (
            absent is not None
            and absent[i]
            and linear is not None
            and not denoiser.region.whole_frame
        ):
            # The network was trained with the other pixels of the frame, and not without them.
            kept = (slice(k.start, k.stop) for k in tile.kept)
            mean = denoiser.centre + denoiser.spread * linear[i, -1, *kept]
        # One at a time: what is dispatched ahead would hold all its activations at once.
        yield jax.block_until_ready(Moments(mean, out.var[take]))


@lru_cache(maxsize=64)
def _groups(
    architecture: Architecture,
    region: BlindRegion,
    widest: int,
    side: tuple[int, int],
    symmetries: int,
    at_once: float,
) -> tuple[tuple[int, ...], ...]:
    """Codes of the symmetries of a tile, in groups whose activations fit in the memory."""
    codes = symmetry_codes(symmetries, turns=region.turns(side))
    each = architecture.memory_per_pixel(region, widest / architecture.widest) * side[0] * side[1]
    size = int(np.clip(at_once // each, 1, len(codes)))
    return tuple(codes[k : k + size] for k in range(0, len(codes), size))


def symmetry_codes(count: int, *, turns: bool) -> tuple[int, ...]:
    """Codes of symmetries: bit 1 flips y, 2 flips x, 4 transposes, 8 reverses time.

    Args:
        count: wanted, 1 to 16.
        turns: whether frame and blind region may be transposed.

    Returns:
        The codes, as different from each other as their number allows.
    """
    order = (0, 11, 5, 14, 3, 8, 6, 13, 1, 10, 4, 15, 2, 9, 7, 12)
    codes = [c for c in order if turns or not c & 4]
    return tuple(codes[: max(1, min(count, len(codes)))])


class Tile(NamedTuple):
    """A window that is predicted at once, and the rows and columns of the frame that are kept of it."""

    rows: slice
    columns: slice
    kept: tuple[slice, slice]


@lru_cache(maxsize=64)
def tiles(
    shape: tuple[int, int],
    region: BlindRegion,
    architecture: Architecture,
    side: int = TILE,
) -> tuple[Tile, ...]:
    """Tiles of one size whose kept parts make the frame (or a part of it, padded to what a network takes).

    Args:
        shape: of the frame [px].
        region: that the network hides.
        architecture: of the network; the tiles overlap by its margin.
        side: largest side of a tile, more than twice the overlap [px].

    Returns:
        The tiles, row by row.
    """
    edge, stride = architecture.margin(region), architecture.stride

    def _cut(size: int, padded: int) -> list[tuple[slice, slice]]:
        if padded <= side:
            return [(slice(0, padded), slice(0, size))]
        # Starts on the stride, so that tiles have the same half-resolution cells as the whole frame.
        window = side // stride * stride
        step = window - 2 * edge
        pieces = []
        for first in range(0, size, step):
            start = min(max(first - edge, 0), padded - window)
            pieces.append((slice(start, start + window), slice(first, min(first + step, size))))
        return pieces

    padded = architecture.padded_shape(shape)
    return tuple(
        Tile(rows, columns, (y, x))
        for rows, y in _cut(shape[0], padded[0])
        for columns, x in _cut(shape[1], padded[1])
    )


def _turn(x: Array, code: Array) -> Array:
    """Apply a spatial symmetry to [y, x] or [y, x, k]."""
    x = jnp.where(code & 1, x[::-1], x)
    x = jnp.where(code & 2, x[:, ::-1], x)
    return jnp.where(code & 4, jnp.swapaxes(x, 0, 1), x) if x.shape[0] == x.shape[1] else x


def _turn_back(x: Array, code: Array) -> Array:
    if x.shape[0] == x.shape[1]:
        x = jnp.where(code & 4, jnp.swapaxes(x, 0, 1), x)
    x = jnp.where(code & 2, x[:, ::-1], x)
    return jnp.where(code & 1, x[::-1], x)
