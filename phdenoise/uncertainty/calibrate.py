"""Calibration of the predicted variance without truth: the mean squared error of the blind prediction is estimated.

    ⟨(μ − x)²⟩ = V + B − G,    V = E[(f(y + n') − f(y))²],    B(d) = E[r_p r_{p+d}] − V(d) + … → B(0),    G = ⟨(y − f)² − (y − μ)²⟩

f is the network at the start of training, which has not fitted the noise of this movie. V is the noise that passes f,
measured by adding noise of the estimated model. B is the squared bias of f: the scene, and so the bias, is smooth over
pixels, while the noise of different pixels is independent, so the covariance of residuals at a distance gives B
(`phdenoise.uncertainty.mean_squared_error`). G is the gain of training on pixels that were not learned; the noise cancels in it.

The parametric bootstrap of the trained network is a second estimate, and the only one of where errors are
(`phdenoise.uncertainty.parametric_bootstrap`). The power of the residuals S = ⟨(y − μ)²⟩ is noise plus error;
`phdenoise.uncertainty.mean_squared_error` divides S by how well each is known. So the noise variance is corrected where motion in
the differences of frames has raised it. Of noise that is correlated in time, the prediction contains a part of the pixel's own:
residuals then lack twice the covariance, which added noise measures as well. Networks that hide the pixel in every frame are
calibrated by the held-out likelihood instead.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from phdenoise.networks.base import Denoiser
from phdenoise.networks.context import MovieArrays
from phdenoise.types import Moments, NoiseModel, Progress, stage
from phdenoise.uncertainty.error_correlation import error_autocorrelation
from phdenoise.uncertainty.evidence import (
    SYMMETRIES,
    Evidence,
    Noise,
    StartError,
    linear_fit,
    start_error,
)
from phdenoise.uncertainty.mean_squared_error import (
    RESIDUAL_TOLERANCE,
    TRAINING_GAIN_SD,
    decompose_error,
    extrapolate_bootstrap,
    frame_power,
    gain_of_training,
)
from phdenoise.uncertainty.parametric_bootstrap import (
    Bootstrap,
    Renoised,
    bootstrap_errors,
    denoise_again,
    fit_bootstrap_variance,
    renoise_and_denoise,
)
from phdenoise.uncertainty.predictive_variance import (
    EVEN_SHARE,
    PredictiveVariance,
    frame_errors,
)
from phdenoise.uncertainty.residual_variance import Residuals, fit_residual_variance

# Prior sd of the log of the variance's factor, where only the held-out likelihood speaks: few pixels must not rule.
SCALE_PRIOR = 0.3
# Factors of the variance that the held-out likelihood is asked for: two decades each way, in steps of 4 %.
_SCALES = np.geomspace(0.01, 100.0, 121)
# Held-out pixels below which the variance is not calibrated on them: its relative error would exceed a fifth.
_PIXELS_TO_CALIBRATE = 64
# Sd of the log of the noise variance, beside chance; and so many times what the order of the differences changed in it, in
# which motion shows (random scenes, `benchmarks/denoise_intervals.py`).
NOISE_SD, MOTION_FACTOR = 0.004, 2.0
# A noise variance that is corrected by less than this share is not reported: the scatter of small movies' estimates.
_REPORTED_CORRECTION = 0.03
# Share of a linear filter's error that is taken for passed noise at most: there is some bias.
_MOST_EVEN = 0.95
# Share of motion in the differences of frames that is believed at most, so that the log of the rest exists.
_MOST_MOTION = 0.99


class Calibration(NamedTuple):
    """What calibration finds of a prediction.

    Attributes:
        scale: factor of the predicted variance.
        sentence: how it was found.
        predictive_variance: what makes the variance, where more than a factor is known.
        variance: what `predictive_variance` makes of the prediction that was calibrated [t, y, x].
        noise: factor of the noise variance.
        error_noise_covariance: of the prediction's error with the pixel's own noise, over the noise's variance.
        error_autocorrelation: of the errors of the denoised movie, `phdenoise.uncertainty.error_correlation`; None where no
            bootstrap tells it.
    """

    scale: float
    sentence: str
    predictive_variance: PredictiveVariance | None = None
    variance: jax.Array | None = None
    noise: float = 1.0
    error_noise_covariance: float = 0.0
    error_autocorrelation: np.ndarray | None = None


def calibrate_by_error(
    start: Denoiser,
    trained: Denoiser,
    arrays: MovieArrays,
    blind: Moments,
    movie: Evidence,
    key: jax.Array,
    *,
    progress: Progress | None = None,
) -> Calibration:
    """Calibrate the variance by the mean squared error.

    Args:
        start, trained: the network that training began with, and the trained one.
        arrays, blind: input of the trained network, and its blind prediction [t, y, x].
        movie: measured movie and noise.
        key: of the noise that is added.
        progress: called with (stage, step, steps, nan).

    Returns:
        The variance as a function of the input, and the corrected noise variance.
    """
    valid, mean = movie.valid, np.asarray(blind.mean)
    at_start = start_error(start, arrays, movie, blind.mean, key, progress)
    error, power, nearer, own = (
        at_start.error,
        at_start.power,
        at_start.residual,
        movie.residual(mean),
    )
    unlearned = movie.judged if movie.judged.any() else valid
    lower, chance = gain_of_training(nearer, own, unlearned, error, movie.shared)
    left = power + at_start.fitted - lower
    # The error at the start is not known so well that what training leaves of it would be known as well.
    tolerance = RESIDUAL_TOLERANCE if lower > 0 else 1.0
    seen = max(error - tolerance * max(lower, -TRAINING_GAIN_SD * error), 0.0)
    bootstrap = Bootstrap(
        trained, arrays, movie.seen, movie.learned, at_start.noise, movie.correlated, SYMMETRIES
    )
    step = stage(progress, "parametric bootstrap")
    twice = renoise_and_denoise(bootstrap, mean, jax.random.fold_in(key, 1), step)
    lost = bootstrap_errors(
        partial(denoise_again, bootstrap, progress=step),
        mean,
        np.asarray(twice.blind.mean),
        valid,
        jax.random.fold_in(key, 2),
    )
    scatter = float(np.var(nearer[valid] ** 2)) * movie.shared / valid.sum() + chance
    mse, factor = _error_and_noise(
        movie.noise,
        left,
        at_start.seeming,
        extrapolate_bootstrap(seen, lost),
        float(np.sqrt(scatter)) / left,
    )
    made, variance = _predictive_variance(
        start, trained, arrays, blind, movie, movie.noise.scaled(factor).model, twice, mse
    )
    said, covariance = _sentence(mse, at_start, factor), at_start.error_noise_covariance
    noise = movie.noise.scaled(factor).model
    correlation = _error_correlation(twice, mean, Moments(blind.mean, variance), noise, movie.seen)
    return Calibration(mse / made.typical, said, made, variance, factor, covariance, correlation)


def calibrate_linear(
    denoiser: Denoiser,
    arrays: MovieArrays,
    blind: Moments,
    movie: Evidence,
    key: jax.Array,
    *,
    progress: Progress | None = None,
) -> Calibration:
    """Calibrate the variance of the best linear filter: its error is that of a network at the start of training.

    Where in a frame the error is larger is fitted to the squared residuals, which hold noise and error.

    Args:
        denoiser: the filter.
        arrays, blind: its input, and its prediction [t, y, x].
        movie: measured movie and noise.
        key: of the noise that is added.
        progress: called with (stage, step, steps, nan).

    Returns:
        The variance as a function of the input, and the corrected noise variance.
    """
    valid, spread = movie.valid, float(denoiser.spread)
    found = start_error(denoiser, arrays, movie, blind.mean, key, progress)
    squares = found.residual[valid] ** 2
    left = found.power + found.fitted
    scatter = float(np.sqrt(np.var(squares) * movie.shared / valid.sum())) / left
    mse, factor = _error_and_noise(movie.noise, left, found.seeming, found.error, scatter)
    noise, weights = movie.noise.scaled(factor), np.asarray(arrays.weights)
    lasting = noise.estimate.temporal_correlation
    fit = linear_fit(denoiser, arrays, movie.frames, movie.learned)
    errors = frame_errors(denoiser, fit, weights, noise.model, movie.autocorrelation, lasting)
    typical = float(np.mean(np.asarray(blind.var)))
    usual = mse / (float(np.mean(errors)) * (1 + EVEN_SHARE) * typical)
    made = PredictiveVariance(usual, typical, errors)
    # What is left of the noise by the fit to it is in no pixel.
    level = np.asarray(noise.model.variance(blind.mean), np.float64) - found.fitted
    even = float(np.clip(found.passed / mse, 0.0, _MOST_EVEN))
    left_over = Residuals(found.residual, level, valid)
    model = fit_residual_variance(made, arrays, blind, left_over, spread, even)
    made, variance = _tempered(
        made._replace(model=model), (arrays, blind), movie, noise.model, found.residual, mse
    )
    said = f"Error of the linear filter: sd {np.sqrt(mse):.3g}." + _corrected(factor)
    return Calibration(mse / typical, said, made, variance, factor, found.error_noise_covariance)


def calibrate_by_likelihood(
    blind: Moments, frames: np.ndarray, test: np.ndarray, noise: NoiseModel
) -> Calibration:
    """The factor of the variance that makes the held-out pixels most likely.

    Args:
        blind: prediction [t, y, x].
        frames: measured movie [t, y, x].
        test: held-out pixels.
        noise: of the movie.

    Returns:
        The factor, and the sentence on it.
    """
    if test.sum() < _PIXELS_TO_CALIBRATE:
        return Calibration(1.0, "Too few pixels to calibrate the predicted variance on.")
    noisy = jnp.asarray(frames[test], jnp.float32)
    mean, var = (jnp.asarray(np.asarray(a)[test], jnp.float32) for a in blind)
    # A log-normal prior about one: where noise hides the error, a few held-out pixels must not rule.
    scores = [
        float(jnp.sum(noise.blind_nll(Moments(mean, var * s), noisy)))
        + 0.5 * float(np.log(s) / SCALE_PRIOR) ** 2
        for s in _SCALES
    ]
    scale = float(_SCALES[int(np.argmin(scores))])
    return Calibration(scale, f"Predicted variance scaled by {scale:.2f} on held-out pixels.")


def _error_and_noise(
    noise: Noise, left: float, seeming: float, error: float, scatter: float
) -> tuple[float, float]:
    """Mean squared error, and the factor of the noise variance; arguments as in `decompose_error`."""
    if not noise.estimated:
        return decompose_error(left, seeming, error, scatter, NOISE_SD, NOISE_SD), 1.0
    # As much more noise as was taken for motion or left out by the model is possible, and as much less as motion may have left
    # in the differences.
    found = noise.estimate
    low = found.unmodelled_log_variance - float(np.log1p(-min(found.motion_share, _MOST_MOTION)))
    high = MOTION_FACTOR * found.motion_log_variance
    mse = decompose_error(left, seeming, error, scatter, NOISE_SD + low, NOISE_SD + high)
    return mse, min((left - mse) / seeming, float(np.exp(low)))


def _predictive_variance(
    start: Denoiser,
    trained: Denoiser,
    arrays: MovieArrays,
    blind: Moments,
    movie: Evidence,
    noise: NoiseModel,
    twice: Renoised,
    mse: float,
) -> tuple[PredictiveVariance, Array]:
    """What makes the variance, its mean over the valid pixels `mse`; and the variance of the prediction [t, y, x]."""
    valid, mean = movie.valid, np.asarray(blind.mean)
    residual = movie.residual(mean)
    typical = float(np.mean(np.asarray(blind.var, np.float64)[valid]))
    fit = linear_fit(start, arrays, movie.frames, movie.learned)
    lasting = movie.noise.estimate.temporal_correlation
    errors = frame_errors(
        start, fit, np.asarray(arrays.weights), noise, movie.autocorrelation, lasting
    )
    made = PredictiveVariance(1 / float(np.mean(errors)), typical, errors)
    model = fit_bootstrap_variance(
        made, twice.arrays, twice.blind, mean, valid, float(trained.spread)
    )
    made = made._replace(model=model)
    return _tempered(made, (arrays, blind), movie, noise, residual, mse)


def _tempered(
    made: PredictiveVariance,
    predicted: tuple[MovieArrays, Moments],
    movie: Evidence,
    noise: NoiseModel,
    residual: np.ndarray,
    mse: float,
) -> tuple[PredictiveVariance, Array]:
    """The variance with as much of the frames' errors in it as the residuals show, its mean over the valid pixels `mse`."""
    blind, errors = predicted[1], made.errors
    rows, columns = (slice(n) for n in residual.shape[1:])
    whole = np.asarray(made(*predicted, (rows, columns)).var, np.float64)
    counts = movie.valid.sum(axis=(1, 2))
    used = counts > 0
    left, level, stated = (
        np.sum(np.where(movie.valid, a, 0.0), axis=(1, 2))[used] / counts[used]
        for a in (residual**2, np.asarray(noise.variance(blind.mean), float), whole)
    )
    scatter = np.sqrt(2 * movie.shared / counts[used])
    power = frame_power(left, level, stated, errors[used], mse, scatter)
    tempered = whole * (errors ** (power - 1))[:, None, None]
    scale = mse / float(np.mean(tempered[movie.valid]))
    variance = jnp.asarray(scale * tempered, jnp.float32)
    return made._replace(scale=scale * made.scale, power=power), variance


def _error_correlation(
    twice: Renoised, truth: np.ndarray, blind: Moments, noise: NoiseModel, seen: np.ndarray
) -> np.ndarray:
    """Autocorrelation of the error of the bootstrap, prediction and measurement combined as in the result."""
    level = np.asarray(noise.variance(blind.mean), np.float64)
    variance = np.asarray(blind.var, np.float64)
    own = np.where(seen, variance / (variance + level), 0.0)
    error = (1 - own) * (np.asarray(twice.blind.mean, np.float64) - truth)
    error += own * np.where(seen, twice.noisy - truth, 0.0)
    return error_autocorrelation(error, np.sqrt((1 - own) * variance), seen)


def _sentence(mse: float, start: StartError, factor: float) -> str:
    """What was found."""
    total = start.passed + start.bias
    said = (
        f"Error of the blind prediction: sd {np.sqrt(mse):.3g}; of the network at the start {np.sqrt(total):.3g} "
        f"without the frame itself, {100 * start.passed / total:.0f} % of its variance noise that passes."
    )
    return said + _corrected(factor)


def _corrected(factor: float) -> str:
    """That the noise variance was corrected by a factor, where that is worth saying."""
    if factor >= 1 - _REPORTED_CORRECTION:
        return ""
    return (
        f" The noise has {100 * factor:.0f} % of the variance that differences of frames, which contain motion, "
        "gave it: the residuals of the prediction are no larger."
    )
