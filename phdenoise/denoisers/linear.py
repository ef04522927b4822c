"""The best blind linear filter of a movie, in closed form, from the movie itself.

    L_t = Σ_{k,s} w_{t,k,s} G_s ∗ context_{t,k} + w_{t,0},      w_t = argmin Σ_{t'} e^{−|t−t'|/τ_t} ‖y_{t'} − L_{t'}‖²

The context never holds the centre frame, whose noise is then independent of L: least squares against the noisy
frame is least squares against the clean one plus a constant. Weights follow the dynamics along the movie; the
memory τ_t over which they are pooled, and a ridge, are chosen by two-fold cross-validation over blocks of pixels. On slow
movies this alone is an average over many frames that no short window reaches.

The same least squares over parts of the context (past, future, near or far frames, one width of blur) gives
candidates that a network may prefer where they are better: the wide blur in flat regions, the near frames at a
moving front.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

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


class _Normal(NamedTuple):
    """Normal equations of every frame, for each fold: A [t, 2, f, f], b [t, 2, f], c [t, 2]."""

    a: np.ndarray
    b: np.ndarray
    c: np.ndarray


def blind_linear(
    frames: Float[np.ndarray, "t y x"],
    weights: Float[np.ndarray, "t k r"],
    target: Bool[np.ndarray, "t y x"],
) -> Float[np.ndarray, "t m y x"]:
    """Blind linear predictions [t, LINEAR, y, x] of every frame: `fit_linear`, then `apply_linear`."""
    return apply_linear(frames, weights, fit_linear(frames, weights, target))


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
    return np.stack([_solve(normal, used) for used in _parts(weights.shape[1])])


def apply_linear(
    frames: Float[np.ndarray, "t y x"],
    weights: Float[np.ndarray, "t k r"],
    coefficients: Float[np.ndarray, "m t f"],
) -> Float[np.ndarray, "t m y x"]:
    """The linear predictions that coefficients give."""
    channels = weights.shape[1]
    out = np.empty((frames.shape[0], len(coefficients), *frames.shape[1:]), np.float32)
    for t in range(frames.shape[0]):
        near, mix = _window(frames, weights, t)
        for k, w in enumerate(c[t] for c in coefficients):
            # Mixing frames first and blurring then costs one blur a scale.
            mixed = np.tensordot(w[:-1].reshape(len(SCALES), channels) @ mix, near, axes=1)
            used = [(m, s) for m, s in zip(mixed, SCALES, strict=True) if np.any(m)]
            out[t, k] = w[-1] + sum(_blur(m, s) for m, s in used)
    return out


def _parts(channels: int) -> list[np.ndarray]:
    """Features that each prediction uses; the constant, the last feature, belongs to all."""
    scale, channel = (a.ravel() for a in np.indices((len(SCALES), channels)))
    near = channel < 4
    chosen = [channel % 2 == 0, channel % 2 == 1, near, ~near]
    chosen += [scale == s for s in range(len(SCALES))]
    chosen.append(np.ones(scale.size, bool))
    return [np.append(np.flatnonzero(c), scale.size) for c in chosen]


def _window(frames: np.ndarray, weights: np.ndarray, t: int) -> tuple[np.ndarray, np.ndarray]:
    """The frames in reach of t, and the weights [k, those frames]."""
    reach = weights.shape[2] // 2
    low, high = max(t - reach, 0), min(t + reach + 1, frames.shape[0])
    return frames[low:high], weights[t, :, low - t + reach : high - t + reach].astype(np.float64)


def _blur(image: np.ndarray, scale: float) -> np.ndarray:
    return ndimage.gaussian_filter(image, scale, mode="reflect") if scale else image


def _normal_equations(frames: np.ndarray, weights: np.ndarray, target: np.ndarray) -> _Normal:
    t, ny, nx = frames.shape
    size = weights.shape[1] * len(SCALES) + 1
    normal = _Normal(np.zeros((t, 2, size, size)), np.zeros((t, 2, size)), np.zeros((t, 2)))
    rows, columns = _part(ny, nx)
    fold = (np.add.outer(np.arange(ny) // FOLD, np.arange(nx) // FOLD) % 2)[rows, columns]
    for i in range(t):
        near, mix = _window(frames[:, rows, columns], weights, i)
        context = np.tensordot(mix, near, axes=1)
        blurred = [
            ndimage.gaussian_filter(context, (0, s, s), mode="reflect") if s else context
            for s in SCALES
        ]
        features = np.concatenate([*blurred, np.ones((1, *fold.shape))])
        wanted, values = target[i, rows, columns], frames[i, rows, columns].astype(np.float64)
        for k in range(2):
            chosen = wanted & (fold == k)
            f, y = features[:, chosen], values[chosen]
            normal.a[i, k], normal.b[i, k], normal.c[i, k] = f @ f.T, f @ y, y @ y
    return normal


def _part(ny: int, nx: int) -> tuple[slice, slice]:
    """A central window of at most `ENOUGH` pixels."""
    side = int(np.sqrt(ENOUGH))
    height = min(ny, max(side, ENOUGH // max(nx, 1)))
    width = min(nx, max(ENOUGH // height, 1))
    top, left = (ny - height) // 2, (nx - width) // 2
    return slice(top, top + height), slice(left, left + width)


def _solve(normal: _Normal, used: np.ndarray) -> np.ndarray:
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
    memory, ridge = np.asarray(choices)[np.argmin(scores, axis=0)].T
    pool = np.exp(-distance / memory[:, None])
    out = np.zeros((frames, size))
    a, b = (np.tensordot(pool, part.sum(1), axes=1) for part in (a, b))
    out[:, used] = _ridge(a, b, ridge[:, None, None])
    return out


def _ridge(a: np.ndarray, b: np.ndarray, ridge: float | np.ndarray) -> np.ndarray:
    size = a.shape[-1]
    level = ridge * np.trace(a, axis1=1, axis2=2)[:, None, None] / size + 1e-12
    return np.linalg.solve(a + level * np.eye(size), b[..., None])[..., 0]
