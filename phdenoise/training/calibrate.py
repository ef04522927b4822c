"""How wrong the blind prediction is, without truth: its mean squared error, which scales its variance.

    ⟨(μ − x)²⟩ = V + B − G,    V = E[(f(y + n') − f(y))²],    B(d) = E[r_p r_{p+d}] − V(d) + … → B(0),    G = ⟨(y − f)² − (y − μ)²⟩

f is the network that training began with, which has not learned this movie's noise by heart. V, the noise that it lets
through, is measured by adding noise of the estimated model once more. B, its squared bias, is smooth over pixels because the
scene is, while the noise of different pixels is independent: what residuals share at a distance, less what V does, tells of it
(`phdenoise.training.bias`). Mean squares alone could not: where an estimate is good, its error is lost in the scatter of the
noise power. They tell by how much the trained network is better, G, on pixels that it did not learn: the noise cancels in the
difference. What the trained network loses of the denoised movie, noised and denoised once more, and of that one in turn, is
the second witness, and the only one of where errors are (`phdenoise.training.again`). And mean squares tell where the error is
large, or the noise smaller than it seemed in the differences of frames, which motion raises: S = ⟨(y − μ)²⟩ is noise and error
together, and the two are taken apart by how well each is known. Of noise that lasts, the prediction knows some of the pixel's own:
residuals hide twice the covariance, which added noise shows as well. Networks that hide the pixel in every frame are calibrated by
the held-out likelihood instead.
"""

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from phdenoise.denoisers import (
    FRAME,
    Denoiser,
    MovieArrays,
    blind_nll,
    predict_arrays,
    prepare,
)
from phdenoise.denoisers.doubt import Doubt, frame_errors
from phdenoise.denoisers.linear import Fit, fitted_window
from phdenoise.noise import NoiseEstimate
from phdenoise.noise.models import scaled
from phdenoise.training.again import Losses, drawn, losses, once_more, pattern_of
from phdenoise.training.bias import squared_bias
from phdenoise.types import Moments, NoiseModel, Progress, stage

# Belief in the variance as trained, where only the held-out likelihood speaks: sd of the log of its error.
SCALE_PRIOR = 0.3
# Symmetries that the network at the start is averaged over; another number changes its error, and G as much.
SYMMETRIES = 4
# Residuals that show less than so many times the error that a second denoising makes do not contradict it.
SURPRISE = 1.35
# So much of what noise in the denoised movie loses counts: the rest makes up for what the double bootstrap leaves out (random
# scenes, `benchmarks/denoise_intervals.py`).
LENT = 0.4
# How well error and noise are known on their own: scale of the log of the error, a Student's t of so many degrees; sd of
# the log of the noise variance, beside chance, where it was estimated too low, and, as of a Cauchy distribution, too high: that,
# and so many times what the order of the differences changed, in which motion shows (random scenes,
# `benchmarks/denoise_intervals.py`).
ERROR_SD, DEGREES, NOISE_SD, UNSETTLED = 0.2, 4, 0.004, 2.0
# How well the variance of a frame is known where its power is, sd of the log; and the power itself, below one.
FRAME_SD, POWER_SD = 0.3, 0.5
# A noise variance found to be smaller by less than this share is not worth a word.
WORTH = 0.03
# By how much of the start's error training is usually better, sd; and the most that it is taken for.
BETTER, MOST = 0.3, 0.9


class Calibration(NamedTuple):
    """Factor for the predicted variance, how it was found, and what makes the variance where more than that is known.

    `variance` is what `doubt` makes of the prediction that was calibrated [t, y, x]; `noise` times the noise's variance
    is what it turned out to be. `told` is the covariance of the prediction's error with the pixel's own noise, over the
    noise's variance.
    """

    scale: float
    sentence: str
    doubt: Doubt | None = None
    variance: jax.Array | None = None
    noise: float = 1.0
    told: float = 0.0


@dataclass(frozen=True)
class Evidence:
    """A movie and what is known of its noise before it is predicted.

    Attributes:
        frames, valid: measured movie [t, y, x], and where it counts.
        seen: where it is an input of the network.
        test: where it was not learned.
        judged: those of them whose noise no learned pixel shares.
        noise: its noise model; where it is the one of `found`, it may turn out to be quieter.
        found: from the movie, with the noise's autocorrelation.
    """

    frames: np.ndarray
    valid: np.ndarray
    seen: np.ndarray
    test: np.ndarray
    judged: np.ndarray
    noise: NoiseModel
    found: NoiseEstimate

    @property
    def learned(self) -> np.ndarray:
        """Pixels that linear predictions were fitted to [t, y, x]."""
        return self.valid & ~self.test

    @cached_property
    def correlation(self) -> np.ndarray:
        """Autocorrelation of the noise [lag_y, lag_x]."""
        return np.asarray(self.found.correlated().autocorrelation, np.float64)

    @property
    def shared(self) -> float:
        """So many pixels share a value of the noise."""
        frames = 1 + 2 * float(np.sum(np.maximum(self.found.lasting, 0)))
        return frames * float(np.sum(np.maximum(self.correlation, 0)))

    def residual(self, mean: np.ndarray) -> np.ndarray:
        """Measured less predicted where it counts, elsewhere nothing [t, y, x]."""
        return np.where(self.valid, self.frames - mean, 0.0)


def by_error(
    start: Denoiser,
    trained: Denoiser,
    arrays: MovieArrays,
    blind: Moments,
    movie: Evidence,
    key: jax.Array,
    *,
    progress: Progress | None = None,
) -> Calibration:
    """Scale of the variance by the mean squared error.

    Args:
        start, trained: the network that training began with, and the trained one.
        arrays, blind: the movie as the trained network sees it, and its blind prediction.
        movie: what it is held against.
        key: of the noise that is added.
        progress: called with (stage, step, steps, nan).
    """
    found, valid, noise = movie.found, movie.valid, movie.noise
    free = noise is found.model
    mean = np.asarray(blind.mean)
    base = _predicted(replace(start, region=FRAME), arrays, mean.shape, progress)
    residual = nearer = movie.residual(base)
    if not start.region.whole_frame:
        nearer = movie.residual(_predicted(start, arrays, mean.shape, progress, "at the start"))
    own = movie.residual(mean)
    power = max(float(np.mean(nearer[valid] ** 2)), float(np.finfo(np.float32).tiny))
    seeming = _level(noise, blind, valid)
    lasts = start.sharing.lasts
    if free and not lasts:
        # No more than a blind prediction leaves.
        noise = scaled(found.model, min(power / seeming, 1.0))

    through, bias, fitted, told = _of_the_start(
        start, arrays, base, movie, noise, mean, key, progress
    )
    error = through + bias
    if not start.region.whole_frame:
        # What the centre frame's other pixels add is known from all pixels: nothing of it was learned.
        error = max(error - _mean_gain(residual, nearer, valid), (1 - MOST) * error)
    error = min(max(error, 1e-9 * power), power)
    lower, chance = _gain_of_training(
        nearer, own, movie.judged if movie.judged.any() else valid, error, movie.shared
    )
    left = power + fitted - lower
    # The error at the start is not known so well that what training leaves of it would be known as well.
    seen = max(error - (SURPRISE if lower > 0 else 1.0) * max(lower, -BETTER * error), 0.0)
    denoise_again = partial(
        once_more, trained, arrays, seen=movie.seen, learned=movie.learned, noise=noise,
        field=found.correlated(), symmetries=SYMMETRIES,
        progress=stage(progress, "denoised once more"),
    )  # fmt: skip
    twice, second = denoise_again(mean=mean, key=jax.random.fold_in(key, 1))
    lost = losses(
        lambda scene, key: denoise_again(mean=scene, key=key)[1],
        mean,
        np.asarray(second.mean),
        valid,
        jax.random.fold_in(key, 2),
    )
    # As much more noise as was taken for motion or left out by the model is possible, and as much less as motion may have left
    # in the differences.
    restored = found.shortfall - float(np.log1p(-min(found.motion, 0.99))) if free else 0.0
    doubtful = UNSETTLED * found.excess if free else 0.0
    scatter = float(np.var(nearer[valid] ** 2)) * movie.shared / valid.sum() + chance
    mse = apportion(
        left,
        seeming,
        believed(seen, lost),
        float(np.sqrt(scatter)) / left,
        NOISE_SD + restored,
        NOISE_SD + doubtful,
    )
    factor = min((left - mse) / seeming, float(np.exp(restored))) if free else 1.0
    noise = scaled(found.model, factor) if free else noise

    before = float(np.mean(np.asarray(blind.var, np.float64)[valid]))
    fit = _fit(start, arrays, movie.frames, movie.learned)
    errors = frame_errors(
        start, fit, np.asarray(arrays.weights), noise, movie.correlation, found.lasting
    )
    doubt = Doubt(1.0, before, errors)
    pattern = pattern_of(doubt, twice, second, mean, valid, float(trained.spread))
    doubt = doubt._replace(pattern=pattern)
    whole = np.asarray(doubt(arrays, blind, (slice(mean.shape[1]), slice(mean.shape[2]))).var)
    exponent = _power_of_frames(own, noise, blind, valid, whole, errors, mse, movie.shared)
    tempered = whole * (errors ** (exponent - 1))[:, None, None]
    scale = mse / float(np.mean(tempered[valid]))
    said = (
        f"Error of the blind prediction: sd {np.sqrt(mse):.3g}; of the network at the start {np.sqrt(through + bias):.3g} "
        f"without the frame itself, {100 * through / (through + bias):.0f} % of its variance noise let through."
    )
    if factor < 1 - WORTH:
        said += (
            f" The noise has {100 * factor:.0f} % of the variance that differences of frames, which hold motion, "
            "gave it: the prediction leaves no more."
        )
    return Calibration(
        mse / before,
        said,
        doubt._replace(scale=scale, power=exponent),
        jnp.asarray(scale * tempered, jnp.float32),
        factor,
        told,
    )


def _predicted(
    network: Denoiser,
    arrays: MovieArrays,
    shape: tuple[int, ...],
    progress: Progress | None,
    said: str = "prediction from other frames",
) -> np.ndarray:
    """Its blind prediction [t, y, x]."""
    step = stage(progress, said)
    found = predict_arrays(network, arrays, shape, symmetries=SYMMETRIES, progress=step)
    return np.asarray(found.mean, np.float64)


def _of_the_start(
    start: Denoiser,
    arrays: MovieArrays,
    base: np.ndarray,
    movie: Evidence,
    noise: NoiseModel,
    mean: np.ndarray,
    key: jax.Array,
    progress: Progress | None,
) -> tuple[float, float, float, float]:
    """V and B of the network that training began with, from other frames alone; by how much too little its residuals show; and
    the share of the pixel's own noise that other frames tell it.

    Where linear predictions were fitted to a pixel's noise, or other frames hold it too, its residual is lower, on average by twice
    the covariance of noise and prediction (Efron, 1986, doi:10.1080/01621459.1986.10478291).

    Args:
        start, arrays, movie, key, progress: as in `by_error`.
        base: its prediction.
        noise, mean: noise of what variance to add.
    """
    temporal, seen, weights = replace(start, region=FRAME), movie.seen, np.asarray(arrays.weights)
    level = np.asarray(noise.variance(jnp.asarray(mean)))
    added = drawn(level, movie.found.correlated(), key)
    louder = np.where(seen, movie.frames, 0) + added
    # There is twice the noise to tell a fit of.
    shared = start.sharing._replace(told=2 * np.asarray(start.sharing.told))
    fitting = replace(temporal, sharing=shared)
    shifted, again = (
        _predicted(
            temporal,
            prepare(fitting, louder, seen, movie.learned, coefficients, weights),
            mean.shape,
            progress,
            "with noise added once more",
        )
        for coefficients in (arrays.coefficients, None)
    )
    passed, learned = shifted - base, (np.where(movie.learned, added, 0.0), again - shifted)
    told = 0.0
    if start.sharing.lasts:
        told = float(np.mean((added * passed)[movie.valid]))
        learned = (added, np.where(movie.learned, again - shifted, 0.0) + passed)
    tail = movie.found.tail() if movie.found.blind == "frame" else None
    typical = float(np.mean(level[movie.valid]))
    bias = squared_bias(
        movie.residual(base), passed, movie.valid, movie.correlation, typical, learned, tail
    )
    fitted = 2 * float(np.mean((learned[0] * learned[1])[movie.valid]))
    power = float(np.mean(passed[movie.valid] ** 2))
    return power, bias, max(fitted, 0.0), max(told, 0.0) / typical


def believed(seen: float, lost: Losses) -> float:
    """Mean squared error of a prediction, of what its residuals show of it and what it loses of itself.

    Each time a movie is denoised there is less left to lose: as much less as the second time was of the first, the first was of
    the error (the double bootstrap: Davison and Hinkley, 1997, doi:10.1017/CBO9780511802843, section 3.9). Noise that got
    through the first time, and is lost in part the second, is more to lose than the scene has.

    Args:
        seen: by the noise that gets through, and by the bias in the residuals.
        lost: by movies that are noised and denoised once more.
    """
    tiny = 1e-30
    growth = max(lost.once / max(lost.again, tiny), 1.0)
    first = max(lost.once - LENT * lost.passed, (1 - MOST) * lost.once) * growth
    return first * max(seen / max(SURPRISE * lost.once, tiny), 1.0)


def _gain_of_training(
    before: np.ndarray, after: np.ndarray, where: np.ndarray, error: float, shared: float
) -> tuple[float, float]:
    """G, believed as far as chance allows, and the variance of what is believed.

    Args:
        before, after: residuals of the network at the start, and trained.
        where: pixels that it did not learn.
        error: mean squared error at the start.
        shared: pixels that share a value of the noise.
    """
    chance = float(np.var((before**2 - after**2)[where])) * shared / where.sum()
    sure = 1 / (1 + chance / (BETTER * error) ** 2)
    return sure * _mean_gain(before, after, where), sure**2 * chance


def _power_of_frames(
    residual: np.ndarray,
    noise: NoiseModel,
    blind: Moments,
    valid: np.ndarray,
    var: np.ndarray,
    errors: np.ndarray,
    mse: float,
    shared: float,
) -> float:
    """`frame_power` of the frames that were measured."""
    counts = valid.sum(axis=(1, 2))
    used = counts > 0
    left, level, stated = (
        np.sum(np.where(valid, a, 0.0), axis=(1, 2))[used] / counts[used]
        for a in (residual**2, np.asarray(noise.variance(blind.mean), float), var)
    )
    return frame_power(left, level, stated, errors[used], mse, np.sqrt(2 * shared / counts[used]))


def apportion(
    left: float, noise: float, error: float, scatter: float, low: float, high: float
) -> float:
    """How much of the power that a blind prediction leaves is its error: posterior mean of its log.

    Args:
        left: mean square of measured less predicted values, noise and error together.
        noise, error: mean variances of both, as estimated each for itself.
        scatter: relative sd of `left`.
        low, high: sd of the log of a noise variance that was estimated too low, and too high.
    """
    values = np.concatenate(
        [error * np.geomspace(1e-3, 1e3, 601), left * -np.expm1(-np.geomspace(1e-4, 10.0, 600))]
    )
    values = np.unique(values[values < left])
    logs = np.log(values)
    above = np.log(noise) - np.log(left - values)
    off = (logs - np.log(error)) / ERROR_SD
    likely = -0.5 * (DEGREES + 1) * np.log1p(off**2 / DEGREES) + np.where(
        above > 0,
        -np.log1p((above / np.hypot(high, scatter)) ** 2),
        -0.5 * (above / np.hypot(low, scatter)) ** 2,
    )
    share = np.exp(likely - likely.max()) * np.gradient(logs)
    return float(np.exp(share @ logs / share.sum()))


def frame_power(
    left: np.ndarray,
    level: np.ndarray,
    var: np.ndarray,
    errors: np.ndarray,
    mse: float,
    scatter: np.ndarray,
) -> float:
    """Power of the frames' errors in the variance, 0 to 1: posterior mean, one where noise hides the frames' differences.

    Args:
        left: mean square of measured less predicted values, of each frame [t].
        level: of the noise.
        var: what the variance is in proportion to if the power is one.
        errors: the frames' errors.
        mse: mean squared error of the movie.
        scatter: relative sd of `left`.
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


def _level(noise: NoiseModel, blind: Moments, valid: np.ndarray) -> float:
    """Mean variance of the noise."""
    return float(np.mean(np.asarray(noise.variance(blind.mean), np.float64)[valid]))


def _fit(denoiser: Denoiser, arrays: MovieArrays, frames: np.ndarray, fitted: np.ndarray) -> Fit:
    """The linear predictions, and what the best one leaves of the pixels that they were fitted to."""
    assert arrays.linear is not None
    assert arrays.coefficients is not None
    ny, nx = frames.shape[1:]
    window = fitted_window(ny, nx)
    used = fitted[:, *window]
    count = used.sum(axis=(1, 2)).astype(float)
    scaled = (frames - float(denoiser.centre)) / float(denoiser.spread)
    best = np.asarray(arrays.linear[:, -1, :ny, :nx], np.float64)
    mean, residual = (
        np.where(used, a[:, *window], 0.0).sum(axis=(1, 2)) / np.maximum(count, 1)
        for a in (scaled, (scaled - best) ** 2)
    )
    return Fit(arrays.coefficients, residual, mean, count)


def _mean_gain(before: np.ndarray, after: np.ndarray, where: np.ndarray) -> float:
    """Mean difference of squared residuals."""
    return float(np.mean((before**2 - after**2)[where]))


def by_likelihood(
    blind: Moments, frames: np.ndarray, test: np.ndarray, noise: NoiseModel
) -> Calibration:
    """Scale of the variance that makes the held-out pixels most likely."""
    if test.sum() < 64:
        return Calibration(1.0, "Too few pixels to calibrate the predicted variance on.")
    noisy = jnp.asarray(frames[test], jnp.float32)
    mean, var = (jnp.asarray(np.asarray(a)[test], jnp.float32) for a in blind)
    scales = np.geomspace(0.01, 100.0, 121)
    # A log-normal prior about one: where noise hides the error, a few held-out pixels must not rule.
    scores = [
        float(jnp.sum(blind_nll(Moments(mean, var * s), noisy, noise)))
        + 0.5 * float(np.log(s) / SCALE_PRIOR) ** 2
        for s in scales
    ]
    scale = float(scales[int(np.argmin(scores))])
    return Calibration(scale, f"Predicted variance scaled by {scale:.2f} on held-out pixels.")
