"""Checks of a denoised movie without truth: bias, calibration, noise that leaks, signal that is lost.

    e = (y − b)/√v            blind residual over the noise's standard deviation
    bias     z_p = Σ_t e_tp / (s √n_p)                          s: its own spread over the image
    leak     1 − Σ_d ρ(d) C_e(d) / Σ_d ρ(d)²                     ρ: correlation of the detector's noise
    signal   max_d C_e(d) − ρ(d)                                 error of the blind prediction that is structure

The blind prediction b is independent of the noise in its hidden pixels. C_e(d) = ⟨e_p e_{p+d}⟩ is then the noise's
own correlation plus the covariance of b's error: less means that the noise was predicted, more that signal is missing.
Predictive coverage: Gneiting et al., J. R. Stat. Soc. B 69, 243 (2007), doi:10.1111/j.1467-9868.2007.00587.x.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage, special

from phdenoise.movie import half_width

# Distance of the pixels whose difference tells the spread of a map [px]: one more than the largest lag at which noise is taken to
# be correlated (`phdenoise.noise.correlation`).
_INDEPENDENT_DISTANCE = 9
# Correlation of the noise [1] below which it counts as white; as `phdenoise.noise.estimate.LARGEST_WHITE_CORRELATION`.
LARGEST_WHITE_CORRELATION = 0.08
# Probability that a map of pure noise holds a significant blob.
_FALSE_ALARM = 1e-3
# Side of the blocks whose scatter tells the error of a frame's mean [px].
_BLOCK_SIDE = 8
# Standard deviation of the 3x3 mean of independent values of variance one, and the smallest share of it that a map is stretched from.
_WINDOW_SD, _SMALLEST_SPREAD = 1 / 3, 0.5
# Standard deviation of a normal variable over its median absolute deviation.
_MAD_TO_SD = 1.4826
# A frame's mean square stands out if it is this many times the median frame's and this many standard errors above it.
_OUTSTANDING_RATIO, _OUTSTANDING_ERRORS = 1.2, 5
# A frame's mean drifts if it is off by this many standard errors and by this share of the noise sd.
_DRIFT_ERRORS, _SMALLEST_DRIFT = 6, 0.02

Real = Float[np.ndarray, "t y x"]
Ok = Bool[np.ndarray, "t y x"]


class BiasMap(NamedTuple):
    """Mean residual over time.

    `mean`: [noise sd]; `z`: the same over its standard error, averaged over 3 x 3 pixels; both [y, x], zero where
    nothing is valid. `pixels`: of the largest significant blob, 0 if none; `centre`: its (y, x); `level`: its mean
    bias [noise sd]; `threshold`: |z| that noise exceeds anywhere in the map once in a thousand movies.
    """

    mean: np.ndarray
    z: np.ndarray
    pixels: int
    centre: tuple[float, float]
    level: float
    threshold: float


class Predictive(NamedTuple):
    """Share of measured values inside the blind predictive intervals, and variance of their z-scores."""

    nominal: tuple[float, ...]
    observed: tuple[float, ...]
    z_variance: float
    pixels: int


class FrameSeries(NamedTuple):
    """One number a frame [t], its standard error [t], and whether the frame stands out [t]."""

    value: np.ndarray
    error: np.ndarray
    outstanding: np.ndarray


def bias_map(residual: Real, valid: Ok) -> BiasMap:
    """Mean over time of a blind residual, and its largest significant blob.

    The standard error is taken from the map itself, from pixels too far apart to be correlated: residuals of
    neighbouring frames are correlated, so that √n of independent frames would be wrong.

    Args:
        residual: measured minus blind prediction, over the noise sd [1].
        valid: True where pixels count.

    Returns:
        The map, and its largest significant blob.
    """
    count = valid.sum(0)
    total = np.where(valid, residual, 0.0).astype(np.float64).sum(0)
    mean = total / np.maximum(count, 1)
    inside = count > 0
    # Averages of a 3x3 window find weak blobs; a constant bias is not one.
    near = ndimage.uniform_filter(inside.astype(float), 3, mode="constant")
    z = ndimage.uniform_filter(total / np.sqrt(np.maximum(count, 1)), 3, mode="constant")
    z = np.where(inside, z / np.sqrt(np.maximum(near, 1 / 9)), 0.0)
    z = np.where(inside, z - np.median(z[inside]) if inside.any() else z, 0.0)
    # Independent frames give 1/3, correlated ones less; a map of rounding errors must not be stretched.
    z = z / max(_far_spread(z, inside), _SMALLEST_SPREAD * _WINDOW_SD)
    threshold = float(-special.ndtri(_FALSE_ALARM / 2 / max(int(inside.sum()), 1)))
    labels, blobs = ndimage.label(np.abs(z) > threshold, np.ones((3, 3)))
    if not blobs:
        return BiasMap(mean, z, 0, (float("nan"), float("nan")), 0.0, threshold)
    sizes = np.bincount(labels.ravel())[1:]
    largest = labels == int(np.argmax(sizes)) + 1
    y, x = ndimage.center_of_mass(largest)
    return BiasMap(
        mean, z, int(np.max(sizes)), (float(y), float(x)), float(mean[largest].mean()), threshold
    )


def predictive_coverage(
    noisy: Real,
    mean: Real,
    variance: Real,
    valid: Ok,
    nominal: tuple[float, ...] = (0.5, 0.9, 0.99),
) -> Predictive:
    """Whether measured values lie inside their blind predictive intervals as often as promised; needs no truth.

    Args:
        noisy: measured values.
        mean, variance: of the blind prediction *of the noisy value* (blind variance plus noise variance).
        valid: True where pixels count.
        nominal: probabilities.

    Returns:
        Observed shares; NaN where no pixel is valid.
    """
    z = (noisy[valid].astype(np.float64) - mean[valid]) / np.sqrt(variance[valid])
    if not z.size:
        return Predictive(nominal, tuple(float("nan") for _ in nominal), float("nan"), 0)
    observed = tuple(float(np.mean(np.abs(z) <= half_width(p))) for p in nominal)
    return Predictive(nominal, observed, float(np.mean(z**2)), int(z.size))


def variance_gain(noisy: Real, estimate: Real, valid: Ok) -> float:
    """Power of fast changes in time after denoising over before: ⟨d²(estimate)⟩/⟨d²(noisy)⟩.

    d is the second difference in time, the first of two frames. It contains the fast signal as well, so the noise left
    is at most this share.

    Args:
        noisy, estimate: measured and denoised movie.
        valid: True where pixels count.

    Returns:
        The ratio [1]; NaN for one frame.
    """
    order = min(2, noisy.shape[0] - 1)
    if order < 1:
        return float("nan")
    ok = np.all([valid[k : k + noisy.shape[0] - order] for k in range(order + 1)], axis=0)
    before, after = (
        np.mean(np.diff(f.astype(np.float64), order, axis=0)[ok] ** 2) if ok.any() else np.nan
        for f in (noisy, estimate)
    )
    return float(after / before) if before > 0 else float("nan")


def removed(noisy: Real, estimate: Real, noise_variance: Real, valid: Ok) -> float:
    """Root mean square of what was removed, √⟨(y − estimate)²/v⟩.

    Args:
        noisy, estimate: measured and denoised movie.
        noise_variance: v [intensity²].
        valid: True where pixels count.

    Returns:
        The root mean square [noise sd]; 0 if the output is the input.
    """
    return float(np.sqrt(np.mean((noisy[valid] - estimate[valid]) ** 2.0 / noise_variance[valid])))


def leak(
    residual: Real, noise_autocorrelation: Mapping[str, np.ndarray], valid: Ok | None = None
) -> float:
    """How much of the noise's own spatial correlation is missing from a blind residual.

    If it rises during training, the network has started to learn the noise.

    Args:
        residual: measured minus blind prediction, over the noise sd [1].
        noise_autocorrelation: "x" and "y" -> correlation of the noise at lags 0, 1, 2... (`NoiseEstimate.correlation`).
        valid: True where pixels count; None means everywhere.

    Returns:
        0 if the network predicts nothing of the noise, 1 if all that neighbours predict; 0 for white noise.
    """
    ok = np.ones(residual.shape, bool) if valid is None else valid
    found, expected = [], []
    for name, axis in (("x", 2), ("y", 1)):
        for lag, rho in enumerate(np.asarray(noise_autocorrelation[name], float)):
            if (
                lag
                and np.isfinite(rho)
                and rho > LARGEST_WHITE_CORRELATION
                and lag < residual.shape[axis]
            ):
                found.append(_covariance(residual, ok, axis, lag))
                expected.append(rho)
    if not expected:
        return 0.0
    rho = np.asarray(expected)
    return float(1 - rho @ np.asarray(found) / (rho @ rho))


def lost_signal(
    residual: Real, noise_autocorrelation: Mapping[str, np.ndarray], valid: Ok, reach: int = 3
) -> float:
    """Structure in a blind residual beyond the noise's own, in noise variances.

    The largest excess covariance at 1..reach pixels along x and y, or at one frame. The error of an honest blind
    prediction adds at most its own variance; residuals of neighbouring frames are anticorrelated.

    Args:
        residual: measured minus blind prediction, over the noise sd [1].
        noise_autocorrelation: see `leak`; along "t" as well for noise correlated in time.
        valid: True where pixels count.
        reach: largest lag [px].

    Returns:
        The excess covariance [noise variance], never negative.
    """
    excess = [0.0]
    for name, axis in (("x", 2), ("y", 1)):
        rho = np.nan_to_num(np.asarray(noise_autocorrelation[name], float))
        for lag in range(1, min(reach, residual.shape[axis] - 1) + 1):
            own = rho[lag] if lag < rho.size else 0.0
            excess.append(_covariance(residual, valid, axis, lag) - own)
    if residual.shape[0] > 1:
        own = float(noise_autocorrelation["t"][1]) if "t" in noise_autocorrelation else 0.0
        excess.append(_covariance(residual, valid, 0, 1) - own)
    return float(max(excess))


def frame_errors(residual: Real, valid: Ok) -> FrameSeries:
    """Mean square of the blind residual of each frame, and which of the first and last two are worse.

    Worse means by 20 % and by five standard errors than the median frame.

    Args:
        residual: measured minus blind prediction, over the noise sd [1].
        valid: True where pixels count.

    Returns:
        Mean squares [noise variance], their errors, and the frames that stand out.
    """
    count = np.maximum(valid.sum((1, 2)), 1)
    square = np.where(valid, residual, 0.0).astype(np.float64) ** 2
    value = square.sum((1, 2)) / count
    error = _block_error(square, valid)
    middle = float(np.median(value[valid.any((1, 2))])) if valid.any() else 0.0
    spread = _MAD_TO_SD * float(np.median(np.abs(value - middle)))
    worse = (value > _OUTSTANDING_RATIO * middle) & (
        value - middle > _OUTSTANDING_ERRORS * np.maximum(error, spread)
    )
    edge = np.zeros(value.size, bool)
    edge[[0, -1]] = True
    if value.size > 5:
        edge[[1, -2]] = True
    return FrameSeries(value, error, worse & edge)


def drift(noisy: Real, estimate: Real, noise_sd: Real, valid: Ok) -> FrameSeries:
    """Mean of estimate − measured of each frame, in noise sd, and frames where it is beyond its error.

    Beyond means by six standard errors, from blocks of the frame, and by 2 % of the noise's sd.

    Args:
        noisy, estimate: measured and denoised movie.
        noise_sd: of each pixel [intensity].
        valid: True where pixels count.

    Returns:
        Means [noise sd], their errors, and the frames that drift.
    """
    off = np.where(valid, (estimate - noisy) / noise_sd, 0.0).astype(np.float64)
    value = off.sum((1, 2)) / np.maximum(valid.sum((1, 2)), 1)
    error = _block_error(off, valid)
    return FrameSeries(
        value, error, (np.abs(value) > _DRIFT_ERRORS * error) & (np.abs(value) > _SMALLEST_DRIFT)
    )


def transfer_misfit(
    transfer: Float[np.ndarray, "bins three"], expected: Float[np.ndarray, " bins"]
) -> tuple[float, float]:
    """How well a noise model fits photon-transfer points.

    Args:
        transfer: mean intensity, variance and its standard deviation of each bin.
        expected: variance of the model at the mean intensities.

    Returns:
        Reduced χ², and the median relative misfit [1].
    """
    _, variance, sd = transfer.T
    wrong = variance - expected
    free = max(variance.size - 2, 1)
    chi2 = float(np.sum((wrong / np.maximum(sd, np.finfo(float).tiny)) ** 2) / free)
    return chi2, float(np.median(np.abs(wrong) / np.maximum(expected, np.finfo(float).tiny)))


def _covariance(e: np.ndarray, ok: np.ndarray, axis: int, lag: int) -> float:
    n = e.shape[axis]
    a, b = (np.take(e, range(*r), axis) for r in ((0, n - lag), (lag, n)))
    both = np.take(ok, range(n - lag), axis) & np.take(ok, range(lag, n), axis)
    return float(np.mean((a * b)[both], dtype=np.float64)) if both.any() else 0.0


def _far_spread(z: np.ndarray, inside: np.ndarray) -> float:
    """Standard deviation of a map from pixels far apart, whatever stands out in a few of them."""
    steps = []
    for axis in (0, 1):
        lag = min(_INDEPENDENT_DISTANCE, z.shape[axis] // 2)
        if lag:
            n = z.shape[axis]
            a, b = (np.take(z, range(*r), axis) for r in ((0, n - lag), (lag, n)))
            u, v = (np.take(inside, range(*r), axis) for r in ((0, n - lag), (lag, n)))
            steps.append(np.abs(a - b)[u & v])
    found = np.concatenate(steps) if steps else np.zeros(0)
    return _MAD_TO_SD * float(np.median(found)) / np.sqrt(2) if found.size else 1.0


def _block_error(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Standard error of each frame's mean from the spread of its blocks, which noise correlation does not fool."""
    t, ny, nx = values.shape
    side = max(1, min(_BLOCK_SIDE, ny // 4, nx // 4))
    my, mx = ny // side, nx // side
    cut = (slice(None), slice(my * side), slice(mx * side))
    shape = (t, my, side, mx, side)
    count = valid[cut].reshape(shape).sum((2, 4)).reshape(t, -1)
    total = np.where(valid, values, 0.0)[cut].reshape(shape).sum((2, 4)).reshape(t, -1)
    n = np.maximum(count.sum(1), 1)
    mean = total.sum(1) / n
    blocks = np.maximum((count > 0).sum(1), 2)
    spread = np.sum((total - mean[:, None] * count) ** 2, axis=1) * blocks / (blocks - 1)
    return np.sqrt(spread) / n
