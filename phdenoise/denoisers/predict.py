"""Blind prediction of a whole movie: frame by frame, tile by tile, averaged over symmetries.

Averaging the prediction over reflections, quarter turns and time reversal keeps it blind and removes part
of the network's own variance. Frames larger than `TILE` are cut into overlapping tiles whose overlap
exceeds the network's radius, so tiles and whole frames agree.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from scipy import ndimage

from phdenoise.denoisers.centre_blind import AROUND
from phdenoise.denoisers.context import LINEAR, REACH, MovieArrays, View
from phdenoise.denoisers.core import Denoiser
from phdenoise.denoisers.design import Design
from phdenoise.denoisers.linear import SCALES, apply_linear, fit_linear
from phdenoise.denoisers.region import PIXEL, BlindRegion
from phdenoise.types import Moments, Steps

# Largest side predicted at once [px], overlaps included.
TILE = 576
# UDVD's two half-plane networks together look this far beyond the hidden square.
UDVD_RADIUS = 144
# Widths of the surroundings that gaps are filled from [px], and where the widest ends.
FILL_SCALES = (1.0, 3.0, 9.0)
FILL_RADIUS = int(4 * FILL_SCALES[-1] + 0.5)
# Activations of the networks in prediction [bytes/px, and for UDVD each channel], measured, those of the part that looks around the
# pixel apart; and at once [bytes].
CENTRE_BLIND_BYTES, AROUND_BYTES, UDVD_BYTES = 400.0, 200.0, 210.0
AT_ONCE = 1e9
# Averaging over symmetries is not trusted to lower the variance beyond this share.
LEAST = 0.5
# The network that streaming and tiles are made for unless said otherwise.
BLIND = Design()


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
    """
    ny, nx = frames.shape[1:]
    scaled = scale(denoiser, frames, valid)
    if weights is None:
        weights = denoiser.context_weights(np.any(valid, axis=(1, 2)))
    if not denoiser.everywhen and denoiser.design.linear:
        if not weights.any():
            # A frame alone: nothing to predict it from but the movie's mean.
            coefficients = np.zeros((LINEAR, len(frames), weights.shape[1] * len(SCALES) + 1))
        if coefficients is None:
            fitted = valid if target is None else target
            coefficients = fit_linear(scaled, weights, fitted, denoiser.sharing)
    reach = REACH[-1]
    padded = np.pad(scaled, ((reach, reach), (0, 0), (0, 0)))
    whole = (slice(0, ny), slice(0, nx))
    side = padded_side((ny, nx), denoiser.everywhen, denoiser.design.stride)
    arrays = assemble(denoiser, padded, valid, weights, coefficients, whole, side)
    return replace(arrays, absent=~np.any(valid, axis=(1, 2)))


def scale(denoiser: Denoiser, frames: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Frames as the network sees them, gaps filled [t, y, x] float32."""
    centre = float(denoiser.centre)
    # For a region hidden in every frame, an average around a gap could contain the hidden pixel.
    if denoiser.everywhen:
        filled = np.where(valid, frames, centre).astype(np.float64)
    else:
        filled = fill(frames, valid, centre)
    return ((filled - centre) / float(denoiser.spread)).astype(np.float32)


def padded_side(
    shape: tuple[int, int], everywhen: bool, stride: int = BLIND.stride
) -> tuple[int, int]:
    """Sides of frames that the network can take: multiples of its stride, a square for UDVD."""
    height, width = (-(-n // stride) * stride for n in shape)
    return (max(height, width),) * 2 if everywhen else (height, width)


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
    """
    everywhen = denoiser.everywhen
    rows, columns = (range(n)[s] for n, s in zip(padded.shape[1:], inside, strict=True))
    space = [(0, side[0] - len(rows)), (0, side[1] - len(columns))]
    # Mirroring space is safe where the centre frame is not among the context; UDVD gets zeros.
    mode = {"mode": "constant"} if everywhen else {"mode": "symmetric"}

    def pad(a: np.ndarray) -> np.ndarray:
        return np.pad(a, [(0, 0)] * (a.ndim - 2) + space, **mode)  # type: ignore[call-overload]

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


def fill(
    frames: Float[np.ndarray, "t y x"], valid: Bool[np.ndarray, "t y x"], otherwise: float
) -> Float[np.ndarray, "t y x"]:
    """Invalid pixels replaced by an average of valid ones nearby in the same frame.

    Never by other frames: those would carry a hidden pixel into its own context. Where nothing is valid
    within reach the value is `otherwise`.
    """
    out = np.where(valid, frames, otherwise).astype(np.float64)
    for t in np.flatnonzero(~valid.all((1, 2)) & valid.any((1, 2))):
        good, missing = valid[t].astype(float), ~valid[t]
        for sigma in FILL_SCALES:
            share = ndimage.gaussian_filter(good, sigma, mode="constant")
            near = ndimage.gaussian_filter(
                np.where(valid[t], frames[t], 0.0), sigma, mode="constant"
            )
            found = missing & (share > 0.02)
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
    """Moments [y, x] of what a network is shown, averaged over the given symmetries."""
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
    """Blind moments [n, y, x] of one frame (or tile) seen through each of n symmetries, and turned back."""
    return _through(denoiser, arrays.view(t, y, x, side), flips)


def _through(denoiser: Denoiser, view: View, flips: Array) -> Moments:
    order = jnp.asarray(denoiser.time_reversed, int)

    def turned(flip: Array) -> tuple[Array, Array, Array]:
        around = jnp.where(flip & 8, view.context[..., order], view.context)
        return _turn(around, flip), _turn(view.centre, flip), _turn(view.seen, flip)

    out = denoiser(*jax.vmap(turned)(flips))
    return Moments(*(jax.vmap(_turn_back)(a, flips) for a in out))


def _averaged(members: Moments) -> Moments:
    mean, var = (jnp.mean(a, axis=0) for a in members)
    # The error of an average is exactly the mean error less the spread of its members.
    spread = jnp.mean((members.mean - mean[None]) ** 2, axis=0)
    return Moments(mean, jnp.maximum(var - spread, LEAST * var))


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
    """Blind mean and variance [t, y, x] of a movie that is prepared already."""
    t, ny, nx = shape
    mean = np.empty((t, ny, nx), np.float32)
    var = np.empty((t, ny, nx), np.float32)
    cut = tiles((ny, nx), denoiser.region, design=denoiser.design)
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
    """Blind moments [y, x] of the kept part of a tile of arrays, frame by frame.

    As many symmetries go through the network together as its activations leave room for in `at_once` [bytes].
    """
    side = (tile.rows.stop - tile.rows.start, tile.columns.stop - tile.columns.start)
    codes = symmetry_codes(symmetries, turns=denoiser.region.turns(side))
    # UDVD's widest layer has eight times its width.
    width = max(w.shape[-1] for w in jax.tree.leaves(denoiser.state) if w.ndim) / 8
    each = activations(denoiser.region, width) * side[0] * side[1]
    group = int(np.clip(at_once // each, 1, len(codes)))
    take = tuple(
        slice(kept.start - window.start, kept.stop - window.start)
        for kept, window in zip(tile.kept, (tile.rows, tile.columns), strict=True)
    )
    corner = tile.rows.start, tile.columns.start
    absent, linear = arrays.absent, None if denoiser.region.whole_frame else arrays.linear
    for i in frames:
        if group == len(codes):
            out = _predict_tile(denoiser, arrays, i, *corner, side=side, flips=codes)
        else:
            pieces = []
            for k in range(0, len(codes), group):
                some = jnp.asarray(codes[k : k + group])
                members = _members(denoiser, arrays, i, *corner, some, side=side)
                pieces.append(jax.block_until_ready(members))
            out = _averaged(Moments(*(jnp.concatenate(p) for p in zip(*pieces, strict=True))))
        mean = out.mean[take]
        if absent is not None and absent[i] and linear is not None:
            # The network has learned to look at the other pixels of a frame, and not what to do without.
            kept = (slice(k.start, k.stop) for k in tile.kept)
            mean = denoiser.centre + denoiser.spread * linear[i, -1, *kept]
        # One at a time: what is dispatched ahead would hold all its activations at once.
        yield jax.block_until_ready(Moments(mean, out.var[take]))


def activations(region: BlindRegion, width: int | float) -> float:
    """Memory that a blind network takes for each pixel [bytes].

    Args:
        region: that it hides.
        width: its channels.
    """
    if region.everywhen:
        return UDVD_BYTES * width
    return CENTRE_BLIND_BYTES + AROUND_BYTES * (region == PIXEL)


def symmetry_codes(count: int, *, turns: bool) -> tuple[int, ...]:
    """Bit codes: 1 flip y, 2 flip x, 4 transpose (square frames and regions only), 8 reverse time."""
    order = (0, 11, 5, 14, 3, 8, 6, 13, 1, 10, 4, 15, 2, 9, 7, 12)
    codes = [c for c in order if turns or not c & 4]
    return tuple(codes[: max(1, min(count, len(codes)))])


class Tile(NamedTuple):
    """A window that is predicted at once, and the rows and columns of the frame that are kept of it."""

    rows: slice
    columns: slice
    kept: tuple[slice, slice]


def tiles(
    shape: tuple[int, int], region: BlindRegion, side: int = TILE, design: Design = BLIND
) -> list[Tile]:
    """Tiles of one size whose kept parts make the frame (or a part of it, padded to what a network takes).

    Args:
        shape: of the frame [px].
        region: that the network hides; the overlap is its reach.
        side: largest side of a tile, more than twice the overlap.
        design: of the network.
    """
    edge, stride = margin(region, design), design.stride

    def cut(size: int, padded: int) -> list[tuple[slice, slice]]:
        if padded <= side:
            return [(slice(0, padded), slice(0, size))]
        # Starts on the stride, so that tiles see the same half-resolution cells as the whole frame.
        window = side // stride * stride
        step = window - 2 * edge
        pieces = []
        for first in range(0, size, step):
            start = min(max(first - edge, 0), padded - window)
            pieces.append((slice(start, start + window), slice(first, min(first + step, size))))
        return pieces

    everywhen = region.everywhen and design.network == "blind"
    padded = padded_side(shape, everywhen, stride)
    return [
        Tile(rows, columns, (y, x))
        for rows, y in cut(shape[0], padded[0])
        for columns, x in cut(shape[1], padded[1])
    ]


def margin(region: BlindRegion, design: Design = BLIND) -> int:
    """How far a prediction looks [px], a multiple of the network's stride."""
    everywhen = region.everywhen and design.network == "blind"
    reach = UDVD_RADIUS if everywhen else design.radius
    # What is seen around a hidden pixel is compared with a prediction of the same radius.
    reach += AROUND if region == PIXEL and design.network == "blind" else max(region.shift)
    return -(-reach // design.stride) * design.stride


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
