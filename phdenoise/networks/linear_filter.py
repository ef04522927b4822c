"""The best blind linear filter of a movie, in closed form, from the movie itself.

    L_t = Σ_{k,s} w_{t,k,s} G_s ∗ context_{t,k} + w_{t,0},      w_t = argmin Σ_{t'} e^{−|t−t'|/τ_t} ‖y_{t'} − L_{t'}‖²

The context never holds the centre frame, whose noise is then independent of L: least squares against the noisy
frame is least squares against the clean one plus a constant. Weights follow the dynamics along the movie; the
memory τ_t over which they are pooled, and a ridge, are chosen by two-fold cross-validation over blocks of pixels. For slow
movies the filter is an average over many frames, more than a short window holds.

Where the noise of successive frames is correlated, so are context and centre noise: E[x g] = E[y g] − E[n g] for every feature g, with the
noise's covariance known (`Sharing.told`), and the weights are again those of least squares against the clean frame.

The same least squares over parts of the context (past, future, near or far frames, one width of blur) gives
candidates that a network may weigh pixel by pixel: the wide blur in flat regions, the near frames at a
moving front.

Everything is a sum over frames near t, so a movie may pass in pieces: frames come with `reach` more before and after,
zero beyond the ends of the movie. Memories pool over at most a `SEGMENT` of frames and its surroundings.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float
from numpy.typing import DTypeLike
from scipy import linalg, ndimage, signal

from phdenoise.networks.context import REACH

# Widths of the Gaussians that blur each context channel [px]: none, and about twice as wide each time, up to the size of the
# smallest features that a flat region should keep.
SCALES = (0.0, 0.7, 1.3, 2.5, 5.0)
# Candidate memories [frames], from one frame to the whole movie; cross-validation chooses.
MEMORIES = (0.4, 1.0, 2.0, 4.0, 8.0, 1e6)
# Candidate ridges, as a share of the features' mean square; cross-validation chooses.
RIDGES = (1e-8, 1e-4, 1e-2, 1.0)
# Side of the blocks that the two folds alternate in, at least [px]; wider where noise correlates farther.
FOLD = 8
# Side of a block that never ends, where noise correlates as far as it was estimated [px]; larger than any frame.
ENDLESS = 10**6
# Pixels of a frame that the weights are fitted on, at most: some 160 a weight, and a second a frame.
FITTED_PIXELS = 65536
# Frames whose weights are found together, and how many more on each side are pooled with them; bounds for the memory that the normal
# equations take.
SEGMENT, POOLED_AROUND = 512, 64
# Distance at which the widest Gaussian ends, four of its widths [px].
BLUR_RADIUS = int(4 * SCALES[-1] + 0.5)
# Context channels that count as near: past and future at distances 1 and 2.
NEAR_CHANNELS = 4


class Sharing(NamedTuple):
    """How pixels and frames share noise, as far as least squares depends on it.

    Attributes:
        told: covariance of the centre's noise with that of a frame at each distance in time, blurred by each of `SCALES`, in the
            network's units; zero where noise is independent in time [2 · 16 + 1, scales].
        folds: sides (y, x) of the blocks that folds alternate in [px].
    """

    told: Float[Array, "r s"] | Float[np.ndarray, "r s"]
    folds: Float[Array, " 2"] | Float[np.ndarray, " 2"]

    @property
    def lasts(self) -> bool:
        """Whether the noise of successive frames is correlated."""
        return bool(np.any(self.told))

    def features(self, weights: Float[np.ndarray, "t k r"]) -> Float[np.ndarray, "t f"]:
        """Covariance of the centre's noise with each feature, the constant last."""
        told = np.einsum("tkr,rs->tsk", weights.astype(np.float64), np.asarray(self.told))
        return np.pad(told.reshape(len(weights), -1), ((0, 0), (0, 1)))

    def known(
        self, coefficients: Float[np.ndarray, "t f"], weights: Float[np.ndarray, "t k r"]
    ) -> Float[np.ndarray, " t"]:
        """Covariance of the centre's noise with a prediction of each frame.

        Args:
            coefficients: of the prediction.
            weights: of the context channels.

        Returns:
            Covariance for each frame [network's unit squared].
        """
        covariance: np.ndarray = np.einsum("tf,tf->t", coefficients, self.features(weights))
        return covariance


# Independent noise.
NONE = Sharing(np.zeros((2 * REACH[-1] + 1, len(SCALES)), np.float32), np.full(2, FOLD, np.float32))


def sharing(
    autocorrelation: Float[np.ndarray, "ky kx"],
    lasting: Float[np.ndarray, " l"],
    variance: float,
    reach: tuple[int, int],
) -> Sharing:
    """How pixels and frames share noise.

    Args:
        autocorrelation: in space, 1 at its centre.
        lasting: correlation with the noise of the next frame, the one after, and so on.
        variance: of the noise, in the network's units.
        reach: farthest lags (y, x) at which it correlates [px].

    Returns:
        The covariances, and the sides of folds that noise does not cross.
    """
    _, shared = _blurred(autocorrelation)
    told = np.zeros_like(NONE.told)
    for lag, rho in enumerate(lasting[: REACH[-1]], start=1):
        told[[REACH[-1] - lag, REACH[-1] + lag]] = (
            rho * variance * shared[:, BLUR_RADIUS, BLUR_RADIUS]
        )
    folds, end = [max(FOLD, 2 * r) for r in reach], len(autocorrelation) // 2
    if min(reach) < end:
        folds = [ENDLESS if r >= end else f for f, r in zip(folds, reach, strict=True)]
    return Sharing(told, np.array(folds, np.float32))


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


def fit_linear(
    frames: Float[np.ndarray, "t y x"],
    weights: Float[np.ndarray, "t k r"],
    target: Bool[np.ndarray, "t y x"],
    sharing: Sharing = NONE,
) -> Float[np.ndarray, "m t f"]:
    """Coefficients of the predictions from the past, from the future, from near frames, from far frames,
    through each of `SCALES` alone, and from all together.

    Args:
        frames: scaled and filled movie, finite everywhere.
        weights: of the context channels, past ones even and future ones odd, zero at the centre; see
            `phdenoise.networks.context`.
        target: True for the pixels to fit on.
        sharing: of the noise.

    Returns:
        Coefficients by prediction and frame; see `apply_linear`.
    """
    return fit_whole(frames, weights, target, sharing).coefficients


def fit_whole(
    frames: Float[np.ndarray, "t y x"],
    weights: Float[np.ndarray, "t k r"],
    target: Bool[np.ndarray, "t y x"],
    sharing: Sharing = NONE,
) -> Fit:
    """`fit_linear`, with the residual of the best prediction.

    Args:
        frames, weights, target, sharing: see `fit_linear`.

    Returns:
        Coefficients and residuals.
    """
    normal = whole_normal_equations(frames, weights, target, sharing)
    return solve(lambda a, b: Normal(*(part[a:b] for part in normal)), weights, sharing)


def normal_equations(
    padded: Float[np.ndarray, "r y x"],
    weights: Float[np.ndarray, "t k r2"],
    target: Bool[np.ndarray, "t y x"],
    corner: tuple[int, int] = (0, 0),
    sharing: Sharing = NONE,
) -> Normal:
    """Normal equations of the frames t.

    Args:
        padded: those frames of `fitted_window`, and as many before and after as `weights` reach.
        weights: of the context channels of those frames.
        target: True for the pixels to fit on.
        corner: of the window in the frame; the folds are blocks of the frame.
        sharing: of the noise.

    Returns:
        The normal equations of each fold.
    """
    (frames, ny, nx), size = target.shape, weights.shape[1] * len(SCALES) + 1
    normal = Normal(
        np.zeros((frames, 2, size, size)), np.zeros((frames, 2, size)), np.zeros((frames, 2))
    )
    # With noise that both folds share, too short a memory would look as good as the right one.
    sides = np.asarray(sharing.folds).astype(int)
    blocks = [(c + np.arange(n)) // s for c, n, s in zip(corner, (ny, nx), sides, strict=True)]
    fold = (np.add.outer(*blocks) % 2).ravel()
    # Fold by fold, so that a fold is a slice of the features.
    order: np.ndarray = np.argsort(fold, kind="stable")
    first = int(np.sum(fold == 0))
    folds = slice(0, first), slice(first, None)
    values = padded.reshape(len(padded), -1)[:, order]
    chosen = target.reshape(frames, -1)[:, order]
    features = np.ones((size, fold.size))
    # Features in single precision lie far below the least ridge; their products are summed in double precision.
    windows = _blurred_windows(padded, weights.shape[2], order, np.float32)
    for i, (near, slots) in enumerate(windows):
        mix = np.empty(weights.shape[1:], np.float32)
        mix[:, slots] = weights[i]
        features[:-1] = np.matmul(mix, near).reshape(size - 1, -1)
        y = values[i + weights.shape[2] // 2].astype(np.float64)
        for k, part in enumerate(folds):
            a, b, c = _products(features[:, part], y[part], chosen[i, part])
            normal.a[i, k], normal.b[i, k], normal.c[i, k] = a, b, c
    return normal


def _products(
    f: np.ndarray, y: np.ndarray, chosen: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """f fᵀ, f y and y y of the chosen pixels: their own products, or those of all less the others', what takes less."""
    most = 2 * chosen.sum() > chosen.size
    some = np.flatnonzero(chosen != most)
    g, z = f[:, some], y[some]
    found = g @ g.T, g @ z, float(z @ z)
    if not most:
        return found
    return f @ f.T - found[0], f @ y - found[1], float(y @ y) - found[2]


def _blurred_windows(
    padded: np.ndarray, span: int, order: np.ndarray, dtype: DTypeLike = np.float64
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each `span` of successive frames their blurred pixels [scales, span, order], and where each frame stands in them.

    A frame is blurred once: its place is that of the frame which is no longer needed.
    """
    window = np.zeros((len(SCALES), span, order.size), dtype)
    for i, frame in enumerate(padded):
        window[:, i % span] = 0
        # Beyond the ends of the movie frames are zero, and so is their blur.
        for k, s in enumerate(SCALES if frame.any() else ()):
            window[k, i % span] = _blur(frame.astype(np.float64), s).ravel()[order]
        if i >= span - 1:
            yield window, np.arange(i - span + 1, i + 1) % span


def solve(
    normal: Callable[[int, int], Normal],
    weights: Float[np.ndarray, "t k r"],
    sharing: Sharing = NONE,
) -> Fit:
    """All predictions from normal equations.

    Args:
        normal: gives those of frames a to b; asked for one segment at a time.
        weights: of the context channels of the movie.
        sharing: of the noise.

    Returns:
        Coefficients and residuals.
    """
    frames, channels = weights.shape[:2]
    parts, pieces, known = _parts(channels), [], []
    told = sharing.features(weights) if sharing.lasts else None
    for first in range(0, frames, SEGMENT):
        last = min(first + SEGMENT, frames)
        low = max(first - POOLED_AROUND, 0)
        high = min(last + POOLED_AROUND, frames)
        near = normal(low, high)
        here = slice(first - low, last - low)
        clean = near if told is None else _remove_noise_covariance(near, told[low:high])
        pieces.append(np.stack([_solve(clean, used)[here] for used in parts]))
        a, b, c = (part[here].sum(axis=1) for part in near)
        best, count = pieces[-1][-1], a[:, -1, -1]
        left = c - 2 * np.einsum("tf,tf->t", best, b) + np.einsum("tf,tfg,tg->t", best, a, best)
        known.append(np.stack([left, b[:, -1], count]))
    left, total, count = np.concatenate(known, axis=1)
    pixels = np.maximum(count, 1)
    return Fit(np.concatenate(pieces, axis=1), left / pixels, total / pixels, count)


def _remove_noise_covariance(normal: Normal, told: Float[np.ndarray, "t f"]) -> Normal:
    """Normal equations against the clean frames."""
    return normal._replace(b=normal.b - normal.a[:, :, -1, -1, None] * told[:, None])


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

    Returns:
        The predictions of each frame.
    """
    span, rows = weights.shape[2], range(padded.shape[1])[inside[0]]
    columns = len(range(padded.shape[2])[inside[1]])
    out = np.empty((len(weights), coefficients.shape[0], len(rows), columns), np.float32)
    kernels = coefficients[..., :-1].reshape(*coefficients.shape[:2], len(SCALES), -1)
    step = max(FITTED_PIXELS // padded.shape[2], 1)
    for first in range(rows.start, rows.stop, step):
        last = min(first + step, rows.stop)
        low, high = max(first - BLUR_RADIUS, 0), last + BLUR_RADIUS
        places = np.arange(padded[0, low:high].size).reshape(-1, padded.shape[2])
        wanted = places[first - low : last - low, inside[1]].ravel()
        for t, (near, slots) in enumerate(_blurred_windows(padded[:, low:high], span, wanted)):
            mix = np.empty((len(coefficients), len(SCALES), span))
            mix[..., slots] = kernels[:, t] @ weights[t].astype(np.float64)
            found = mix.reshape(len(mix), -1) @ near.reshape(-1, wanted.size)
            found += coefficients[:, t, -1:]
            out[t, :, first - rows.start : last - rows.start] = found.reshape(len(mix), -1, columns)
    return out


def noise_gain(
    coefficients: Float[np.ndarray, "t f"],
    weights: Float[np.ndarray, "t k r"],
    autocorrelation: Float[np.ndarray, "ky kx"],
    lasting: Float[np.ndarray, " l"] | None = None,
) -> Float[np.ndarray, " t"]:
    """Share of the noise variance that remains in a linear prediction of each frame.

    Args:
        coefficients: of one of the predictions of `fit_linear`.
        weights: of the context channels.
        autocorrelation: of the noise in space, 1 at its centre.
        lasting: correlation with the noise of the next frame, the one after, and so on; None: frames are independent.

    Returns:
        Variance of the prediction's noise over that of the movie's.
    """
    # Covariance of the noise under two blurs.
    blurs, shared = _blurred(autocorrelation)
    overlap = np.einsum("ayx,byx->ab", blurs, shared)
    kernels = coefficients[:, :-1].reshape(len(weights), len(SCALES), -1) @ weights
    seen = kernels
    if lasting is not None and len(lasting):
        row = np.zeros(kernels.shape[-1])
        row[: len(lasting) + 1] = np.append(1.0, lasting)[: len(row)]
        seen = kernels @ linalg.toeplitz(row)
    return np.maximum(np.einsum("tar,ab,tbr->t", seen, overlap, kernels), 0.0)


def _blurred(autocorrelation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The blurs, and the covariance of noise with its own blurred version, for each of them [scales, y, x]."""
    point = np.zeros((2 * BLUR_RADIUS + 1,) * 2)
    point[BLUR_RADIUS, BLUR_RADIUS] = 1
    blurs = np.stack([ndimage.gaussian_filter(point, s) if s else point for s in SCALES])
    return blurs, np.stack([signal.fftconvolve(b, autocorrelation, mode="same") for b in blurs])


def fitted_window(ny: int, nx: int) -> tuple[slice, slice]:
    """Rows and columns that the weights are fitted on: a central window of at most `FITTED_PIXELS` pixels.

    Args:
        ny, nx: sides of the frame [px].

    Returns:
        Slices of rows and columns.
    """
    side = int(np.sqrt(FITTED_PIXELS))
    height = min(ny, max(side, FITTED_PIXELS // max(nx, 1)))
    width = min(nx, max(FITTED_PIXELS // height, 1))
    top, left = (ny - height) // 2, (nx - width) // 2
    return slice(top, top + height), slice(left, left + width)


def _parts(channels: int) -> list[np.ndarray]:
    """Features that each prediction uses; the constant, the last feature, belongs to all."""
    scale, channel = (a.ravel() for a in np.indices((len(SCALES), channels)))
    near = channel < NEAR_CHANNELS
    chosen = [channel % 2 == 0, channel % 2 == 1, near, ~near]
    chosen += [scale == s for s in range(len(SCALES))]
    chosen.append(np.ones(scale.size, bool))
    return [np.append(np.flatnonzero(c), scale.size) for c in chosen]


def _blur(image: np.ndarray, scale: float) -> np.ndarray:
    return ndimage.gaussian_filter(image, scale, mode="reflect") if scale else image


def whole_normal_equations(
    frames: np.ndarray, weights: np.ndarray, target: np.ndarray, sharing: Sharing = NONE
) -> Normal:
    """Normal equations of a whole movie.

    Args:
        frames, weights, target, sharing: see `fit_linear`.

    Returns:
        The normal equations of each fold.
    """
    rows, columns = fitted_window(*frames.shape[1:])
    reach = weights.shape[2] // 2
    padded = np.pad(frames[:, rows, columns], ((reach, reach), (0, 0), (0, 0)))
    corner = (rows.start, columns.start)
    return normal_equations(padded, weights, target[:, rows, columns], corner, sharing)


def _solve(normal: Normal, used: np.ndarray) -> np.ndarray:
    """Coefficients of every frame [t, f], each with the memory that predicts the other fold best.

    Only the features `used` may be other than zero.
    """
    frames, size = normal.b.shape[0], normal.b.shape[2]
    a, b, c = normal.a[..., used, :][..., used], normal.b[..., used], normal.c
    distance = np.abs(np.subtract.outer(np.arange(frames), np.arange(frames)))
    scores = np.zeros((len(MEMORIES), len(RIDGES), frames))
    for m, memory in enumerate(MEMORIES):
        pool = np.exp(-distance / memory)
        for k in range(2):
            pooled_a, pooled_b = (np.tensordot(pool, e[:, k], axes=1) for e in (a, b))
            for r, ridge in enumerate(RIDGES):
                w = _ridge(pooled_a, pooled_b, ridge)
                other = np.matmul(a[:, 1 - k], w[..., None])[..., 0] - 2 * b[:, 1 - k]
                scores[m, r] += c[:, 1 - k] + np.einsum("ti,ti->t", w, other)
    # Neighbouring frames share the choice: that of a single frame is noisy.
    scores = ndimage.uniform_filter1d(scores, min(3, frames), axis=-1, mode="nearest")
    # A frame without values takes the choice of the nearest frame that has some.
    known = np.flatnonzero(normal.a[:, :, -1, -1].sum(axis=1))
    nearest = known[np.argmin(distance[:, known], axis=1)] if known.size else np.arange(frames)
    best = np.argmin(scores.reshape(-1, frames), axis=0)[nearest]
    memory, ridge = (
        np.asarray(values)[i]
        for values, i in zip((MEMORIES, RIDGES), np.divmod(best, len(RIDGES)), strict=True)
    )
    pool = np.exp(-distance / memory[:, None])
    out = np.zeros((frames, size))
    a, b = (np.tensordot(pool, part.sum(1), axes=1) for part in (a, b))
    out[:, used] = _ridge(a, b, ridge[:, None, None])
    return out


def _ridge(a: np.ndarray, b: np.ndarray, ridge: float | np.ndarray) -> np.ndarray:
    size = a.shape[-1]
    level = ridge * np.trace(a, axis1=1, axis2=2)[:, None, None] / size + 1e-12
    return np.linalg.solve(a + level * np.eye(size), b[..., None])[..., 0]
