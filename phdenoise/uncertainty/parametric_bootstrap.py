"""The parametric bootstrap of a denoiser: noise is added to the denoised movie, which is denoised again; its truth is known.

    d = f(μ + n*) − μ,     n* ~ noise(μ)

The error d contains noise that passes and detail that is lost, as the true error does; detail that the denoised movie has lost
before is missing in d. Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 6.5. Also, the denoised movie
contains passed noise e, which the scene does not, and a second denoising loses a part of e as if it were detail:

    f(μ + e + n*) − f(μ + n*) − e,     e = (f(μ + n') − f(μ + n'')) / √2
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from phdenoise.networks.base import Denoiser
from phdenoise.networks.context import MovieArrays
from phdenoise.networks.predict import predict_arrays, prepare
from phdenoise.types import Moments, NoiseModel, Steps
from phdenoise.uncertainty.predictive_variance import PredictiveVariance
from phdenoise.uncertainty.variance_model import (
    SLOPE_FLOOR,
    VarianceModel,
    features_at,
    fit_variance_model,
    pixels_per_error,
)

# Pixels that the variance model is fitted to, at most: thousands for each of its coefficients, in less than a second.
_FITTED_PIXELS = 100_000
# Errors below this share of a movie's spread are the rounding of single precision.
_ROUNDING = 1e-6


class Bootstrap(NamedTuple):
    """A trained denoiser, and the noise that is added to what it has denoised.

    Attributes:
        denoiser: trained.
        arrays: the measured movie as the network's input.
        seen, learned: pixels that are inputs, and those that linear predictions are fitted to [t, y, x].
        noise, field: variance and correlation of the noise.
        symmetries: averaged by the prediction.
    """

    denoiser: Denoiser
    arrays: MovieArrays
    seen: Bool[np.ndarray, "t y x"]
    learned: Bool[np.ndarray, "t y x"]
    noise: NoiseModel
    field: NoiseModel
    symmetries: int


class Renoised(NamedTuple):
    """A denoised movie with new noise, denoised again.

    Attributes:
        noisy: the movie with new noise [t, y, x] [intensity], 0 where nothing was seen.
        arrays: the same as the network's input.
        blind: its blind prediction [t, y, x].
    """

    noisy: np.ndarray
    arrays: MovieArrays
    blind: Moments


def renoise_and_denoise(
    bootstrap: Bootstrap,
    mean: Float[np.ndarray, "t y x"],
    key: Array,
    progress: Steps | None = None,
) -> Renoised:
    """Add new noise to a denoised movie and predict it.

    Args:
        bootstrap: the denoiser and the noise.
        mean: the denoised movie [intensity].
        key: of the noise.
        progress: called with (step, steps, nan).

    Returns:
        The movie with new noise, and its blind prediction.
    """
    denoiser, arrays, seen, learned, noise, field, symmetries = bootstrap
    level = np.asarray(noise.variance(jnp.asarray(mean, jnp.float32)))
    noisy = np.where(seen, mean + draw_noise(level, field, key), 0).astype(np.float32)
    again = prepare(denoiser, noisy, seen, learned, weights=np.asarray(arrays.weights))
    blind = predict_arrays(denoiser, again, mean.shape, symmetries=symmetries, progress=progress)
    return Renoised(noisy, again, blind)


def denoise_again(
    bootstrap: Bootstrap,
    mean: Float[np.ndarray, "t y x"],
    key: Array,
    progress: Steps | None = None,
) -> Moments:
    """The blind prediction of a denoised movie with new noise.

    Args:
        bootstrap, mean, key, progress: see `renoise_and_denoise`.

    Returns:
        Mean and variance [t, y, x].
    """
    return renoise_and_denoise(bootstrap, mean, key, progress).blind


def draw_noise(
    level: Float[np.ndarray, "t y x"], field: NoiseModel, key: Array
) -> Float[np.ndarray, "t y x"]:
    """New noise of a given variance and correlation.

    Args:
        level: variance of each pixel [intensity²].
        field: has the correlation.
        key: of the noise.

    Returns:
        The noise [intensity].
    """
    unit = np.asarray(field.unit_field(key, jnp.zeros(level.shape, jnp.float32)))
    noise: np.ndarray = np.sqrt(level) * unit
    return noise


class BootstrapErrors(NamedTuple):
    """Mean squared errors of movies that are noised and denoised [intensity²].

    Attributes:
        once: of the denoised movie, in three trials.
        again: of the movie that was denoised twice, in two trials.
        passed: of the noise in the denoised movie alone.
    """

    once: float
    again: float
    passed: float


def bootstrap_errors(
    denoise: Callable[[Float[np.ndarray, "t y x"], Array], Moments],
    mean: Float[np.ndarray, "t y x"],
    first: Float[np.ndarray, "t y x"],
    valid: Bool[np.ndarray, "t y x"],
    key: Array,
) -> BootstrapErrors:
    """Errors of the bootstrap of a denoised movie, and of one that was denoised twice.

    Args:
        denoise: `denoise_again`, of a movie and the key of its noise.
        mean: the denoised movie [intensity].
        first: the result of one trial, with another key [intensity].
        valid: pixels that count.
        key: of the noise.

    Returns:
        The mean squares.
    """

    def trial(movie: np.ndarray, n: int) -> np.ndarray:
        return np.asarray(denoise(movie, jax.random.fold_in(key, n)).mean)

    def square(difference: np.ndarray) -> float:
        return float(np.mean(difference[valid].astype(float) ** 2))

    trials = [first, trial(mean, 0), trial(mean, 1)]
    through = (trials[0] - trials[1]) / np.sqrt(2)
    return BootstrapErrors(
        float(np.mean([square(late - mean) for late in trials])),
        float(np.mean([square(trial(movie, 2 + n) - movie) for n, movie in enumerate(trials[:2])])),
        square(trial(mean + through, 1) - trials[2] - through),
    )


def fit_bootstrap_variance(
    variance: PredictiveVariance,
    arrays: MovieArrays,
    raw: Moments,
    truth: Float[np.ndarray, "t y x"],
    valid: Bool[np.ndarray, "t y x"],
    spread: float,
) -> VarianceModel:
    """The variance model of a prediction whose truth is known.

    Args:
        variance: as believed before.
        arrays, raw: input of the network, and its prediction.
        truth: of it [t, y, x] [intensity].
        valid: pixels that count.
        spread: intensity of the network's unit.

    Returns:
        The model.
    """
    assert arrays.linear is not None
    error = np.where(valid, np.asarray(raw.mean) - truth, 0.0).astype(np.float32)
    size = float(np.sqrt(np.mean(error[valid] ** 2))) / spread
    floor = SLOPE_FLOOR * max(size, _ROUNDING)
    rows, columns = (slice(n) for n in truth.shape[1:])
    believed = np.asarray(variance(arrays, raw, (rows, columns)).var)
    share = min(_FITTED_PIXELS / valid.sum(), 1.0)
    chosen = valid & (np.random.default_rng(0).random(valid.shape) < share)
    linear = np.asarray(arrays.linear[: len(truth)])[:, :, rows, columns]
    return fit_variance_model(
        features_at(linear, np.asarray(raw.var), variance.errors[: len(truth)], chosen, floor),
        error[chosen].astype(float) ** 2,
        believed[chosen].astype(float),
        floor,
        max(share * pixels_per_error(error), 1.0),
    )
