"""The best blind linear filter of a movie, in closed form, from the movie itself.

    L_t = Σ_{k,s} w_{t,k,s} G_s ∗ context_{t,k} + w_{t,0},      w_t = argmin Σ_{t'} e^{−|t−t'|/τ_t} ‖y_{t'} − L_{t'}‖²

The context never holds the centre frame, whose noise is then independent of L: least squares against the noisy
frame is least squares against the clean one plus a constant. Weights follow the dynamics along the movie; the
memory τ_t over which they are pooled, and a ridge, are chosen by two-fold cross-validation over blocks of pixels. On slow
movies this alone is an average over many frames that no short window reaches.

The same least squares over parts of the context (past, future, near or far frames, one width of blur) gives
candidates that a network may prefer where they are better: the wide blur in flat regions, the near frames at a
moving front.

Everything is a sum over frames near t, so a movie may pass in pieces: frames come with `reach` more before and after,
zero beyond the ends of the movie. Memories pool over at most a `SEGMENT` of frames and its surroundings.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage, signal

# Widths of the Gaussians that each context channel is seen through [px].
SCALES = (0.0, 0.7, 1.3, 2.5, 5.0)
# Candidate memories [frames].
MEMORIES = (0.4, 1.0, 2.0, 4.0, 8.0, 1e6)
# Candidate ridges, as a share of the features' mean square.
RIDGES = (1e-8, 1e-4, 1e-2, 1.0)
# Side of the blocks that the two folds alternate in [px]: wider than noise correlates.
FOLD = 8
# Pixels of a frame that the weights are fitted on, at most.
ENOUGH = 65536
# Frames whose weights are found together, and how many more on each side are pooled with them.
SEGMENT, AROUND = 512, 64
# The widest Gaussian ends after so many pixels.
BLUR_RADIUS = int(4 * SCALES[-1] + 0.5)


class Normal(NamedTuple):
    """Normal equations of every frame, for each fold: A [t, 2, f, f], b [t, 2, f], c [t, 2]."""

    a: np.ndarray
    b: np.ndarray
    c: np.ndarray


class Fit(NamedTuple):
    """Coefficients of all predictions [m, t, f]; of the best one's frames mean squared residual, mean value and number of pixels [t]."""

    coefficients: np.ndarray
    residual: np.ndarray
    mean: np.ndarray
    pixels: np.ndarray


def blind_linear(
    frames: Float[np.ndarray, "t y x"],
    weights: Float[np.ndarray, "t k r"],
    target: Bool[np.ndarray, "t y x"],
) -> Float[np.ndarray, "t m y x"]:
    """Blind linear predictions [t, LINEAR, y, x] of every frame: `fit_linear`, then `apply_linear`."""
    reach = weights.shape[2] // 2
    padded = np.pad(frames, ((reach, reach), (0, 0), (0, 0)))
    return apply_linear(padded, weights, fit_linear(frames, weights, target))


def fit_linear(
    frames: Float[np.ndarray, "t y x"],
    weights: Float[np.ndarray, "t k r"],
    target: Bool[np.ndarray, "t y x"],
) -> Float[np.ndarray, "m t f"]:
    """Coefficients of the predictions from the past, from the future, from near frames, from far frames,
    through each of `SCALES` alone, and from all together.

    Args:
        frames: scaled and filled movie, finite everywhere.
        weights: of the context channels, past ones even and future ones odd, zero at the centre; see
            `phdenoise.denoisers.context`.
        target: True for the pixels to fit on.
    """
    normal = _normal_equations(frames, weights, target)
    return solve(
        lambda a, b: Normal(*(part[a:b] for part in normal)), frames.shape[0], weights.shape[1]
    ).coefficients


def normal_equations(
    padded: Float[np.ndarray, "r y x"],
    weights: Float[np.ndarray, "t k r2"],
    target: Bool[np.ndarray, "t y x"],
    corner: tuple[int, int] = (0, 0),
) -> Normal:
    """Normal equations of the frames t.

    Args:
        padded: those frames of `fitted_window`, and as many before and after as `weights` reach.
        weights: of the context channels of those frames.
        target: True for the pixels to fit on.
        corner: of the window in the frame; the folds are blocks of the frame.
    """
    reach, (frames, ny, nx) = weights.shape[2] // 2, target.shape
    size = weights.shape[1] * len(SCALES) + 1
    normal = Normal(
        np.zeros((frames, 2, size, size)), np.zeros((frames, 2, size)), np.zeros((frames, 2))
    )
    blocks = [(c + np.arange(n)) // FOLD for c, n in zip(corner, (ny, nx), strict=True)]
    fold = np.add.outer(*blocks) % 2
    for i in range(frames):
        near, mix = _window(padded, weights, i)
        context = np.tensordot(mix, near, axes=1)
        blurred = [
            ndimage.gaussian_filter(context, (0, s, s), mode="reflect") if s else context
            for s in SCALES
        ]
        features = np.concatenate([*blurred, np.ones((1, *fold.shape))])
        values = padded[i + reach].astype(np.float64)
        for k in range(2):
            chosen = target[i] & (fold == k)
            f, y = features[:, chosen], values[chosen]
            normal.a[i, k], normal.b[i, k], normal.c[i, k] = f @ f.T, f @ y, y @ y
    return normal


def solve(normal: Callable[[int, int], Normal], frames: int, channels: int) -> Fit:
    """All predictions from normal equations.

    Args:
        normal: gives those of frames a to b; asked for one segment at a time.
        frames: of the movie.
        channels: of the context.
    """
    parts, pieces, known = _parts(channels), [], []
    for first in range(0, frames, SEGMENT):
        last = min(first + SEGMENT, frames)
        low = max(first - AROUND, 0)
        near = normal(low, min(last + AROUND, frames))
        here = slice(first - low, last - low)
        pieces.append(np.stack([_solve(near, used)[here] for used in parts]))
        a, b, c = (part[here].sum(axis=1) for part in near)
        best, count = pieces[-1][-1], a[:, -1, -1]
        left = c - 2 * np.einsum("tf,tf->t", best, b) + np.einsum("tf,tfg,tg->t", best, a, best)
        known.append(np.stack([left, b[:, -1], count]))
    left, total, count = np.concatenate(known, axis=1)
    pixels = np.maximum(count, 1)
    return Fit(np.concatenate(pieces, axis=1), left / pixels, total / pixels, count)


def apply_linear(
    padded: Float[np.ndarray, "r y x"],
    weights: Float[np.ndarray, "t k r2"],
    coefficients: Float[np.ndarray, "m t f"],
    inside: tuple[slice, slice] = (slice(None), slice(None)),
) -> Float[np.ndarray, "t m y2 x2"]:
    """The linear predictions that coefficients give.

    Args:
        padded: the frames t, and as many before and after as `weights` reach.
        weights: of the context channels of those frames.
        coefficients: of those frames.
        inside: rows and columns that are wanted.
    """
    frames, channels = weights.shape[:2]
    size = padded[0][inside].shape
    out = np.empty((frames, len(coefficients), *size), np.float32)
    for t in range(frames):
        near, mix = _window(padded, weights, t)
        near = near.astype(np.float64)
        for k, w in enumerate(c[t] for c in coefficients):
            # Mixing frames first and blurring then costs one blur a scale.
            mixed = np.tensordot(w[:-1].reshape(len(SCALES), channels) @ mix, near, axes=1)
            used = [(m, s) for m, s in zip(mixed, SCALES, strict=True) if np.any(m)]
            blurred = sum((_blur(m, s) for m, s in used), np.zeros(near.shape[1:]))
            out[t, k] = w[-1] + blurred[inside]
    return out


def let_through(
    coefficients: Float[np.ndarray, "t f"],
    weights: Float[np.ndarray, "t k r"],
    autocorrelation: Float[np.ndarray, "ky kx"],
) -> Float[np.ndarray, " t"]:
    """Share of the noise variance that a linear prediction of each frame lets through.

    Args:
        coefficients: of one of the predictions of `fit_linear`.
        weights: of the context channels.
        autocorrelation: of the noise in space, 1 at its centre; frames are independent.
    """
    point = np.zeros((2 * BLUR_RADIUS + 1,) * 2)
    point[BLUR_RADIUS, BLUR_RADIUS] = 1
    blurs = np.stack([ndimage.gaussian_filter(point, s) if s else point for s in SCALES])
    # Covariance of the noise seen through two blurs.
    shared = np.stack([signal.fftconvolve(b, autocorrelation, mode="same") for b in blurs])
    overlap = np.einsum("ayx,byx->ab", blurs, shared)
    kernels = coefficients[:, :-1].reshape(len(weights), len(SCALES), -1) @ weights
    return np.maximum(np.einsum("tar,ab,tbr->t", kernels, overlap, kernels), 0.0)


def fitted_window(ny: int, nx: int) -> tuple[slice, slice]:
    """Rows and columns that the weights are fitted on: a central window of at most `ENOUGH` pixels."""
    side = int(np.sqrt(ENOUGH))
    height = min(ny, max(side, ENOUGH // max(nx, 1)))
    width = min(nx, max(ENOUGH // height, 1))
    top, left = (ny - height) // 2, (nx - width) // 2
    return slice(top, top + height), slice(left, left + width)


def _parts(channels: int) -> list[np.ndarray]:
    """Features that each prediction uses; the constant, the last feature, belongs to all."""
    scale, channel = (a.ravel() for a in np.indices((len(SCALES), channels)))
    near = channel < 4
    chosen = [channel % 2 == 0, channel % 2 == 1, near, ~near]
    chosen += [scale == s for s in range(len(SCALES))]
    chosen.append(np.ones(scale.size, bool))
    return [np.append(np.flatnonzero(c), scale.size) for c in chosen]


def _window(padded: np.ndarray, weights: np.ndarray, t: int) -> tuple[np.ndarray, np.ndarray]:
    """The frames that the context of t uses, and the weights [k, those frames]."""
    used = np.flatnonzero(weights[t].any(axis=0))
    low, high = (int(used[0]), int(used[-1]) + 1) if used.size else (0, 1)
    return padded[t + low : t + high], weights[t, :, low:high].astype(np.float64)


def _blur(image: np.ndarray, scale: float) -> np.ndarray:
    return ndimage.gaussian_filter(image, scale, mode="reflect") if scale else image


def _normal_equations(frames: np.ndarray, weights: np.ndarray, target: np.ndarray) -> Normal:
    """Normal equations of a whole movie."""
    rows, columns = fitted_window(*frames.shape[1:])
    reach = weights.shape[2] // 2
    padded = np.pad(frames[:, rows, columns], ((reach, reach), (0, 0), (0, 0)))
    return normal_equations(padded, weights, target[:, rows, columns], (rows.start, columns.start))


def _solve(normal: Normal, used: np.ndarray) -> np.ndarray:
    """Coefficients of every frame [t, f], each with the memory that predicts the other fold best.

    Only the features `used` may be other than zero.
    """
    frames, size = normal.b.shape[0], normal.b.shape[2]
    a, b, c = normal.a[..., used, :][..., used], normal.b[..., used], normal.c
    distance = np.abs(np.subtract.outer(np.arange(frames), np.arange(frames)))
    choices = [(memory, ridge) for memory in MEMORIES for ridge in RIDGES]
    scores = np.empty((len(choices), frames))
    for m, (memory, ridge) in enumerate(choices):
        pool = np.exp(-distance / memory)
        error = np.zeros(frames)
        for k in range(2):
            w = _ridge(
                np.tensordot(pool, a[:, k], axes=1), np.tensordot(pool, b[:, k], axes=1), ridge
            )
            error += np.einsum("ti,tij,tj->t", w, a[:, 1 - k], w)
            error += c[:, 1 - k] - 2 * np.einsum("ti,ti->t", b[:, 1 - k], w)
        # Neighbouring frames share the choice, which a single one's noise would scatter.
        scores[m] = ndimage.uniform_filter1d(error, min(3, frames), mode="nearest")
    # A frame without values of its own has nothing to choose by: it goes by the nearest that has some.
    known = np.flatnonzero(normal.a[:, :, -1, -1].sum(axis=1))
    nearest = known[np.argmin(distance[:, known], axis=1)] if known.size else np.arange(frames)
    memory, ridge = np.asarray(choices)[np.argmin(scores, axis=0)[nearest]].T
    pool = np.exp(-distance / memory[:, None])
    out = np.zeros((frames, size))
    a, b = (np.tensordot(pool, part.sum(1), axes=1) for part in (a, b))
    out[:, used] = _ridge(a, b, ridge[:, None, None])
    return out


def _ridge(a: np.ndarray, b: np.ndarray, ridge: float | np.ndarray) -> np.ndarray:
    size = a.shape[-1]
    level = ridge * np.trace(a, axis1=1, axis2=2)[:, None, None] / size + 1e-12
    return np.linalg.solve(a + level * np.eye(size), b[..., None])[..., 0]
