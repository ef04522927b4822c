"""Blind prediction of a whole movie: frame by frame, tile by tile, averaged over symmetries.

Averaging the prediction over reflections, quarter turns and time reversal keeps it blind and removes part
of the network's own variance. Frames larger than `TILE` are cut into overlapping tiles whose overlap
exceeds the network's radius, so tiles and whole frames agree.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from scipy import ndimage

from phdenoise.denoisers.context import LINEAR, REACH, MovieArrays, View
from phdenoise.denoisers.core import Denoiser
from phdenoise.denoisers.linear import SCALES, apply_linear, fit_linear
from phdenoise.types import Moments

# Largest side predicted at once [px], overlaps included.
TILE = 576
# UDVD's half planes reach far; beyond this many pixels their influence is negligible.
UDVD_RADIUS = 48
# Averaging over symmetries is not trusted to lower the variance beyond this share.
LEAST = 0.5
# Rows, columns, and the part to keep.
Tile = tuple[slice, slice, tuple[tuple[int, int], tuple[int, int]]]


def prepare(
    denoiser: Denoiser,
    frames: np.ndarray,
    valid: np.ndarray,
    target: np.ndarray | None = None,
    coefficients: np.ndarray | None = None,
) -> MovieArrays:
    """Scale, fill and pad a movie [t, y, x] for a network, with its blind linear predictions.

    Args:
        denoiser: its scale and region are used.
        frames: measured movie; NaN allowed where not valid.
        valid: True where measured.
        target: True for the pixels that the linear prediction is fitted on; default all valid ones.
        coefficients: of the linear predictions, fitted here where None.
    """
    ny, nx = frames.shape[1:]
    centre = float(denoiser.centre)
    everywhen, stride = denoiser.everywhen, denoiser.design.stride
    # For a region hidden in every frame, an average around a gap could contain the hidden pixel.
    filled = (
        np.where(valid, frames, centre).astype(np.float64)
        if everywhen
        else fill(frames, valid, centre)
    )
    py, px = (-ny % stride, -nx % stride)
    if everywhen:
        side = max(ny + py, nx + px)
        py, px = side - ny, side - nx
    scaled = ((filled - centre) / float(denoiser.spread)).astype(np.float32)
    reach = REACH[-1]
    # Mirroring space is safe where the centre frame is not among the context; UDVD gets zeros.
    mode = {"mode": "constant"} if everywhen else {"mode": "symmetric"}

    def pad(a: np.ndarray) -> np.ndarray:
        return np.pad(a, [(0, 0)] * (a.ndim - 2) + [(0, py), (0, px)], **mode)  # type: ignore[call-overload]

    weights = denoiser.context_weights(np.any(valid, axis=(1, 2)))
    linear = None
    if not everywhen and denoiser.design.linear:
        if not weights.any():
            # A frame alone: nothing to predict it from but the movie's mean.
            coefficients = np.zeros((LINEAR, len(frames), weights.shape[1] * len(SCALES) + 1))
        if coefficients is None:
            coefficients = fit_linear(scaled, weights, valid if target is None else target)
        linear = jnp.asarray(pad(apply_linear(scaled, weights, coefficients)))
    return MovieArrays(
        padded=jnp.asarray(np.pad(pad(scaled), ((reach, reach), (0, 0), (0, 0)))),
        weights=jnp.asarray(weights),
        linear=linear,
        coefficients=coefficients,
        seen=jnp.asarray(np.pad(valid, ((0, 0), (0, py), (0, px))).astype(np.float32)),
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
        for sigma in (1.0, 3.0, 9.0):
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
    return predict_view(denoiser, arrays.view(t, y, x, side), flips)


def predict_view(denoiser: Denoiser, view: View, flips: tuple[int, ...]) -> Moments:
    """Moments [y, x] of what a network is shown, averaged over the given symmetries."""
    order = jnp.asarray(denoiser.time_reversed, int)
    contexts, centres, masks = [], [], []
    for flip in flips:
        around = view.context[..., order] if flip & 8 else view.context
        contexts.append(_turn(around, flip))
        centres.append(_turn(view.centre, flip))
        masks.append(_turn(view.seen, flip))
    out = denoiser(jnp.stack(contexts), jnp.stack(centres), jnp.stack(masks))
    back = [jax.tree.map(lambda a, k=k, f=f: _turn_back(a[k], f), out) for k, f in enumerate(flips)]
    mean, var = jax.tree.map(lambda *a: sum(a) / len(a), *back)
    # The error of an average is exactly the mean error less the spread of its members.
    spread = sum((b.mean - mean) ** 2 for b in back) / len(back)
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
    denoiser: Denoiser, arrays: MovieArrays, shape: tuple[int, ...], *, symmetries: int = 8
) -> Moments:
    """Blind mean and variance [t, y, x] of a movie that is prepared already."""
    t, ny, nx = shape
    mean = np.empty((t, ny, nx), np.float32)
    var = np.empty((t, ny, nx), np.float32)
    for rows, cols, inner in tiles(denoiser, arrays.seen.shape[1:]):
        side = (rows.stop - rows.start, cols.stop - cols.start)
        codes = symmetry_codes(symmetries, turns=side[0] == side[1])
        (top, bottom), (left, right) = inner
        to = (slice(rows.start + top, min(bottom, ny)), slice(cols.start + left, min(right, nx)))
        take = tuple(slice(a, a + k.stop - k.start) for a, k in zip((top, left), to, strict=True))
        for i in range(t):
            out = _predict_tile(denoiser, arrays, i, rows.start, cols.start, side=side, flips=codes)
            mean[i][to], var[i][to] = np.asarray(out.mean)[take], np.asarray(out.var)[take]
    return Moments(jnp.asarray(mean), jnp.asarray(var))


def symmetry_codes(count: int, *, turns: bool) -> tuple[int, ...]:
    """Bit codes: 1 flip y, 2 flip x, 4 transpose (square frames only), 8 reverse time."""
    order = (0, 11, 5, 14, 3, 8, 6, 13, 1, 10, 4, 15, 2, 9, 7, 12)
    codes = [c for c in order if turns or not c & 4]
    return tuple(codes[: max(1, min(count, len(codes)))])


def tiles(denoiser: Denoiser, shape: tuple[int, ...]) -> list[Tile]:
    """Tiles (rows, columns, part to keep): offset of the kept part inside, end of it in the frame."""
    stride = denoiser.design.stride
    margin = UDVD_RADIUS if denoiser.everywhen else -(-denoiser.design.radius // stride) * stride

    def cut(size: int) -> list[tuple[slice, tuple[int, int]]]:
        if size <= TILE:
            return [(slice(0, size), (0, size))]
        step = TILE - 2 * margin
        starts = [*range(0, size - TILE, step), size - TILE]
        # Starts on the stride, so that tiles see the same half-resolution cells as the whole frame.
        starts = sorted({s // stride * stride for s in starts})
        pieces = []
        for k, start in enumerate(starts):
            head = 0 if k == 0 else margin
            last = k == len(starts) - 1
            end = size if last else starts[k + 1] + margin
            pieces.append((slice(start, size if last else start + TILE), (head, end)))
        return pieces

    return [(r, c, (a, b)) for r, a in cut(shape[0]) for c, b in cut(shape[1])]


def _turn(x: Array, code: int) -> Array:
    """Apply a spatial symmetry to [y, x] or [y, x, k]."""
    x = x[::-1] if code & 1 else x
    x = x[:, ::-1] if code & 2 else x
    return jnp.swapaxes(x, 0, 1) if code & 4 else x


def _turn_back(x: Array, code: int) -> Array:
    x = jnp.swapaxes(x, 0, 1) if code & 4 else x
    x = x[:, ::-1] if code & 2 else x
    return x[::-1] if code & 1 else x
