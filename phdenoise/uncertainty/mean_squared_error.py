"""The mean squared error of a blind prediction from its residuals: its squared bias, and all of it.

    C(d) = E[r_p r_{p+d}] − E[p_p p_{p+d}] + 2 E[n_p l_{p+d}] = B(d) + e(d),     B(d) = B exp(−d²/2w²) or B exp(−d/w)
    Cov(e(d), e(d')) = v²/N Σ_k ρ(k) [ρ(k + d − d') + ρ(k + d + d')]

r is the residual, p the noise that passes the prediction, l the part of the noise n that the prediction was fitted to, v and ρ
variance and autocorrelation of the noise, N the number of pixels, d the distances at which ρ is zero. B is the posterior mean
over height and width; where noise hides the bias, its prior remains.

    S = ⟨(y − μ)²⟩ = v + ⟨(μ − x)²⟩          power of the residuals: noise and error, of which each is known only roughly

Pure functions; `phdenoise.uncertainty.calibrate` measures what goes in.
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import fft, signal

from phdenoise.uncertainty.parametric_bootstrap import BootstrapErrors
from phdenoise.uncertainty.predictive_variance import BIAS_TO_VARIANCE

# Correlation below which noise counts as independent: the scatter of an autocorrelation in a small movie.
INDEPENDENT = 0.05
# Pixels between residuals whose covariance still is that of the scene.
FARTHEST = 4
# In units of the smallest distance where the noise is independent: how far products are taken, and the widths of the bias's
# correlation that are considered, by the power of the distance in the exponent (2: a blurred scene's, 1: a front's).
_LAGS, WIDTHS = 5, {2: (0.7, 5.0), 1: (0.7, 12.0)}
# Narrowest correlation of the bias [px]: optics that sample well blur a point to a Gaussian of about one pixel.
_NARROWEST = 1.2
# How much another shape than these may differ at the smallest distance, as a share; it grows with the distance.
_SHAPE_TOLERANCE = 0.1
# Squared bias over passed noise variance: values that are considered, and the prior sd of its log about the usual one
# (Silverman, Density Estimation, 1986, section 3.3). Networks on random scenes had 1.7, and on slow ones less
# (`benchmarks/denoise_intervals.py`).
RATIOS, USUAL_SD = np.geomspace(1e-2, 1e3, 121), 0.8
# Residuals that show an error of less than so many times that of the bootstrap do not contradict the bootstrap: the scatter
# of their ratio over random scenes (`benchmarks/denoise_intervals.py`).
RESIDUAL_TOLERANCE = 1.35
# Share of the error from noise in the denoised movie that is taken away from the bootstrap's error. The rest stands for what
# the double bootstrap leaves out; fitted to random scenes (`benchmarks/denoise_intervals.py`).
PASSED_NOISE_SHARE = 0.4
# Scale of the log of the error, known to so much before the residuals, and degrees of freedom of its Student's t
# (random scenes, `benchmarks/denoise_intervals.py`).
ERROR_SD, ERROR_DEGREES = 0.2, 4
# Standard deviation of the share of the starting network's error that training usually removes, and the largest share that
# is believed: beyond that, the two large numbers of the difference would have to be known better than they are.
TRAINING_GAIN_SD, MAX_GAIN_SHARE = 0.3, 0.9
# How well the variance of a frame's error is known where its power is (sd of the log), and the prior sd of that power below
# one (random scenes, `benchmarks/denoise_intervals.py`).
FRAME_SD, POWER_SD = 0.3, 0.5
# Mean squares below this are zero: the unit of the intensity may be any [intensity²].
_TINY = float(np.finfo(float).tiny)


def squared_bias(
    residual: Float[np.ndarray, "t y x"],
    passed: Float[np.ndarray, "t y x"],
    valid: Bool[np.ndarray, "t y x"],
    rho: Float[np.ndarray, "ky kx"],
    variance: float,
    learned: tuple[Float[np.ndarray, "t y x"], Float[np.ndarray, "t y x"]] | None = None,
    tail: Float[np.ndarray, "ky kx"] | None = None,
) -> float:
    """Mean square of the bias: posterior mean.

    Args:
        residual: measured less predicted value, where `valid` [intensity].
        passed: noise that passes the prediction, measured by adding noise [intensity].
        valid: where the movie was measured.
        rho: autocorrelation of the noise, 1 at its centre, odd sides.
        variance: of the noise [intensity²].
        learned: noise that was added where the prediction was fitted, and the change of the prediction by that fit [intensity].
        tail: of correlated noise, what its autocorrelation may be where `rho` is zero.

    Returns:
        The mean [intensity²].
    """
    nearest = min(_independent_distance(rho).values())
    passed_power = float(np.mean(passed**2))
    lags = np.array(independent_lags(rho, _LAGS * nearest), int).reshape(-1, 2)
    counts = _products(valid, valid, lags)
    lags = lags[counts > 0.5]
    if not len(lags):
        return BIAS_TO_VARIANCE * passed_power
    counts = np.round(counts[counts > 0.5])
    shared = _products(residual, residual, lags) / counts
    if learned is not None:
        noise, change = (np.where(valid, a, 0.0) for a in learned)
        shared += (_products(noise, change, lags) + _products(change, noise, lags)) / counts
    everywhere = np.ones_like(valid)
    covariance = shared - _products(passed, passed, lags) / _products(everywhere, everywhere, lags)
    unsure = np.zeros(len(lags))
    if tail is not None:
        # What little the noise itself may share there hides a bias that is small beside the noise. Motion looks like it.
        y, x = (n // 2 for n in rho.shape)
        within = (np.abs(lags[:, 0]) <= y) & (np.abs(lags[:, 1]) <= x)
        unsure[within] = variance * (tail + rho / 2)[lags[within, 0] + y, lags[within, 1] + x]
    distance = np.hypot(*lags.T)
    near = max(float(covariance[distance == distance.min()].mean()), 0.0)
    if passed_power == 0:
        return near
    scatter = variance**2 * _shared(lags, rho) / np.sqrt(np.outer(counts, counts))
    other = (_SHAPE_TOLERANCE * near * distance / nearest) ** 2 + unsure**2 + 1e-6 * passed_power**2
    scatter[np.diag_indices_from(scatter)] += other + 1e-3 * np.diag(scatter)
    # An autocorrelation that was measured has a spectrum that is not quite positive.
    size, axes = np.linalg.eigh(scatter)
    kept = size > 1e-9 * size[-1]
    white = (axes[:, kept] / np.sqrt(size[kept])).T
    heights, found = passed_power * RATIOS, []
    for power, ends in WIDTHS.items():
        low, high = (max(w * nearest, _NARROWEST) for w in ends)
        widths = np.geomspace(low, high, 25)
        shape = np.exp(-((distance / widths[:, None]) ** power) / power) @ white.T
        along, square = shape @ (white @ covariance), np.sum(shape**2, axis=1)
        found.append(heights * along[:, None] - 0.5 * heights**2 * square[:, None])
    likely = np.concatenate(found) - 0.5 * (np.log(RATIOS / BIAS_TO_VARIANCE) / USUAL_SD) ** 2
    share = np.exp(likely - likely.max())
    return float(share.sum(0) @ heights / share.sum())


def independent_lags(rho: Float[np.ndarray, "ky kx"], reach: int) -> list[tuple[int, int]]:
    """Lags at which the noise is independent, one of each opposite pair.

    Noise counts as correlated at every lag that is nearer along both axes than one where it is seen to be.

    Args:
        rho: autocorrelation of the noise, 1 at its centre.
        reach: largest distance [px].

    Returns:
        The lags (y, x) [px].
    """
    y, x = (n // 2 for n in rho.shape)
    folded = np.maximum.reduce([np.abs(rho[::a, ::b])[y:, x:] for a in (1, -1) for b in (1, -1)])
    for axis in (0, 1):
        folded = np.flip(np.maximum.accumulate(np.flip(folded, axis), axis), axis)
    return [
        (dy, dx)
        for dy in range(reach + 1)
        for dx in range(-reach, reach + 1)
        if (dy > 0 or dx > 0)
        and np.hypot(dy, dx) <= reach
        and (dy > y or abs(dx) > x or folded[dy, abs(dx)] < INDEPENDENT)
    ]


def gain_of_training(
    before: Float[np.ndarray, "t y x"],
    after: Float[np.ndarray, "t y x"],
    where: Bool[np.ndarray, "t y x"],
    error: float,
    shared: float,
) -> tuple[float, float]:
    """By how much training has lowered the mean squared error, believed as far as chance allows.

        G = ⟨(y − f)² − (y − μ)²⟩,          in which the noise cancels

    Args:
        before, after: residuals of the network at the start, and trained [intensity].
        where: pixels that were not learned.
        error: mean squared error at the start [intensity²].
        shared: number of pixels that share a value of the noise.

    Returns:
        The gain, and the variance of what is believed of it.
    """
    chance = float(np.var((before**2 - after**2)[where])) * shared / where.sum()
    sure = 1 / (1 + chance / (TRAINING_GAIN_SD * error) ** 2)
    return sure * mean_gain(before, after, where), sure**2 * chance


def mean_gain(
    before: Float[np.ndarray, "t y x"],
    after: Float[np.ndarray, "t y x"],
    where: Bool[np.ndarray, "t y x"],
) -> float:
    """Mean difference of squared residuals over some pixels.

    Args:
        before, after: residuals [intensity].
        where: pixels that count.

    Returns:
        The mean [intensity²].
    """
    return float(np.mean((before**2 - after**2)[where]))


def extrapolate_bootstrap(seen: float, lost: BootstrapErrors) -> float:
    """Mean squared error of a prediction, from what its residuals show and from its own parametric bootstrap.

    To estimate its own error, the denoiser adds noise to its result, denoises again and compares with the known input. A
    further pass extrapolates the detail that the first pass lost: the error of the first pass relates to the true error as
    that of the second pass to that of the first (the double bootstrap: Davison and Hinkley, 1997,
    doi:10.1017/CBO9780511802843, section 3.9). Noise that passed into the result counts as detail there, and does not exist
    in the scene.

    Args:
        seen: error by the noise that passes, and by the bias in the residuals [intensity²].
        lost: errors of the bootstrap [intensity²].

    Returns:
        The error [intensity²].
    """
    growth = max(lost.once / max(lost.again, _TINY), 1.0)
    first = max(lost.once - PASSED_NOISE_SHARE * lost.passed, (1 - MAX_GAIN_SHARE) * lost.once)
    return first * growth * max(seen / max(RESIDUAL_TOLERANCE * lost.once, _TINY), 1.0)


def decompose_error(
    left: float, noise: float, error: float, scatter: float, low: float, high: float
) -> float:
    """How much of the residuals' power is the prediction's error: posterior mean of its log.

    The prior of the error is a Student's t of its log; the noise variance is a Gaussian of its log where it was estimated too
    low, and a Cauchy distribution where too high, since motion in the differences of frames makes it so.

    Args:
        left: mean square of measured less predicted values, noise and error together [intensity²].
        noise, error: mean variances of both, as estimated each for itself [intensity²].
        scatter: relative sd of `left`.
        low, high: sd of the log of a noise variance that was estimated too low, and too high.

    Returns:
        The mean squared error [intensity²].
    """
    values = np.concatenate(
        [error * np.geomspace(1e-3, 1e3, 601), left * -np.expm1(-np.geomspace(1e-4, 10.0, 600))]
    )
    values = np.unique(values[values < left])
    logs = np.log(values)
    above = np.log(noise) - np.log(left - values)
    off = (logs - np.log(error)) / ERROR_SD
    likely = -0.5 * (ERROR_DEGREES + 1) * np.log1p(off**2 / ERROR_DEGREES) + np.where(
        above > 0,
        -np.log1p((above / np.hypot(high, scatter)) ** 2),
        -0.5 * (above / np.hypot(low, scatter)) ** 2,
    )
    share = np.exp(likely - likely.max()) * np.gradient(logs)
    return float(np.exp(share @ logs / share.sum()))


def frame_power(
    left: Float[np.ndarray, " t"],
    level: Float[np.ndarray, " t"],
    var: Float[np.ndarray, " t"],
    errors: Float[np.ndarray, " t"],
    mse: float,
    scatter: Float[np.ndarray, " t"],
) -> float:
    """Power of the frames' errors in the variance, 0 to 1: posterior mean, one where noise hides the frames' differences.

    Args:
        left: mean square of measured less predicted values, of each frame [intensity²].
        level: noise variance of each frame [intensity²].
        var: what the variance is in proportion to if the power is one [intensity²].
        errors: error of the linear prediction of each frame [intensity²].
        mse: mean squared error of the movie [intensity²].
        scatter: relative sd of `left`.

    Returns:
        The power.
    """
    excess = left - level
    excess = excess - excess.mean() + mse
    powers = np.linspace(0.0, 1.0, 41)
    shape = var * errors ** (powers[:, None] - 1)
    shape *= mse / shape.mean(axis=1, keepdims=True)
    variance = (scatter * (level + shape)) ** 2 + (FRAME_SD * shape) ** 2
    likely = -0.5 * np.sum((excess - shape) ** 2 / variance + np.log(variance), axis=1)
    likely -= 0.5 * ((1 - powers) / POWER_SD) ** 2
    share = np.exp(likely - likely.max())
    return float(share @ powers / share.sum())


def _independent_distance(rho: Float[np.ndarray, "ky kx"]) -> dict[int, int]:
    """Along y (1) and x (2), the smallest distance from which on the noise is independent [px].

    An axis is left out where that is beyond `FARTHEST`: the scene's own correlation would be lost by then.
    """
    y, x = (n // 2 for n in rho.shape)
    found = {}
    for axis, line in ((1, rho[y:, x]), (2, rho[y, x:])):
        far = np.flatnonzero(np.abs(line) >= INDEPENDENT)
        found[axis] = max(int(far[-1]) + 1 if far.size else 1, 1)
    near = {axis: d for axis, d in found.items() if d <= FARTHEST}
    return near or {min(found, key=found.__getitem__): FARTHEST}


def _shared(lags: Int[np.ndarray, "n 2"], rho: Float[np.ndarray, "ky kx"]) -> np.ndarray:
    """Σ_k ρ(k) [ρ(k + d − d') + ρ(k + d + d')] for every two lags [n, n]."""
    of_rho = signal.correlate(rho, rho)
    y, x = (n // 2 for n in of_rho.shape)
    padded = np.pad(of_rho, 1)

    def at(lag: np.ndarray) -> np.ndarray:
        value: np.ndarray = padded[
            np.clip(lag[..., 0] + y + 1, 0, 2 * y + 2), np.clip(lag[..., 1] + x + 1, 0, 2 * x + 2)
        ]
        return value

    return at(lags[:, None] - lags) + at(lags[:, None] + lags)


def _products(
    one: np.ndarray, other: np.ndarray, lags: Int[np.ndarray, "n 2"]
) -> Float[np.ndarray, " n"]:
    """Sum over frames and pixels of `one` at a pixel times `other` so far from it [n]."""
    reach = np.abs(lags).max(axis=0, initial=0)
    shape = tuple(
        fft.next_fast_len(int(n + r), real=True) for n, r in zip(one.shape[1:], reach, strict=True)
    )
    total = np.zeros((shape[0], shape[1] // 2 + 1), complex)
    for a, b in zip(one, other, strict=True):
        total += np.conj(fft.rfft2(a.astype(float), shape)) * fft.rfft2(b.astype(float), shape)
    products: np.ndarray = fft.irfft2(total, shape)[lags[:, 0], lags[:, 1]]
    return products
