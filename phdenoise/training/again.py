"""A prediction put to the proof: the denoised movie is noised and denoised once more, and its truth is known.

    d = f(μ + n*) − μ,     n* ~ noise(μ)

What of the noise gets through and what of the scene is lost are in d as they are in the error, but for what the denoised movie has
lost already. Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 6.5 (the parametric bootstrap). On the other
hand, the denoised movie holds noise that got through, which the scene does not, and which is lost in part:

    f(μ + e + n*) − f(μ + n*) − e,     e = (f(μ + n') − f(μ + n'')) / √2
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from phdenoise.denoisers import Denoiser, MovieArrays, predict_arrays, prepare
from phdenoise.denoisers.doubt import Doubt
from phdenoise.denoisers.pattern import FLAT, Pattern, fit_pattern, sharing
from phdenoise.noise import Correlated
from phdenoise.types import Moments, NoiseModel, Steps

# Pixels that a pattern is fitted to, at most.
ENOUGH = 100_000
# An error of less of a movie's spread is single precision's.
LEAST = 1e-6


def once_more(
    denoiser: Denoiser,
    arrays: MovieArrays,
    mean: Float[np.ndarray, "t y x"],
    seen: Bool[np.ndarray, "t y x"],
    learned: Bool[np.ndarray, "t y x"],
    noise: NoiseModel,
    field: Correlated,
    key: Array,
    *,
    symmetries: int,
    progress: Steps | None = None,
) -> tuple[MovieArrays, Moments]:
    """The denoised movie with new noise as the network sees it, and its blind prediction.

    Args:
        denoiser: trained.
        arrays: the movie that was measured.
        mean: its blind prediction.
        seen, learned: pixels that are inputs, and those that linear predictions are fitted to.
        noise, field: its variance, and its correlation in space.
        key: of the noise.
        symmetries: averaged by the prediction.
        progress: called with (step, steps, nan).
    """
    level = np.asarray(noise.variance(jnp.asarray(mean, jnp.float32)))
    noisy = np.where(seen, mean + drawn(level, field, key), 0).astype(np.float32)
    again = prepare(denoiser, noisy, seen, learned, weights=np.asarray(arrays.weights))
    return again, predict_arrays(
        denoiser, again, mean.shape, symmetries=symmetries, progress=progress
    )


def drawn(
    level: Float[np.ndarray, "t y x"], field: Correlated, key: Array
) -> Float[np.ndarray, "t y x"]:
    """New noise of a variance that is known everywhere, with the correlation of a field."""
    unit = np.asarray(field.field(key, jnp.zeros(level.shape, jnp.float32)))
    noise: np.ndarray = np.sqrt(level) * unit
    return noise


class Losses(NamedTuple):
    """Mean squares by which movies that are noised and denoised differ from what they were [intensity²].

    Attributes:
        once: of the denoised movie, in three trials.
        again: of the movie that was denoised twice, in two.
        passed: of the noise in the denoised movie alone.
    """

    once: float
    again: float
    passed: float


def losses(
    denoise_again: Callable[[Float[np.ndarray, "t y x"], Array], Moments],
    mean: Float[np.ndarray, "t y x"],
    first: Float[np.ndarray, "t y x"],
    valid: Bool[np.ndarray, "t y x"],
    key: Array,
) -> Losses:
    """What is lost of a denoised movie, and of one that was denoised twice.

    Args:
        denoise_again: `once_more`, of a movie and the key of its noise.
        mean: the denoised movie.
        first: what one trial made of it, with another key.
        valid: pixels that count.
        key: of the noise.
    """

    def trial(movie: np.ndarray, n: int) -> np.ndarray:
        return np.asarray(denoise_again(movie, jax.random.fold_in(key, n)).mean)

    def square(difference: np.ndarray) -> float:
        return float(np.mean(difference[valid].astype(float) ** 2))

    trials = [first, trial(mean, 0), trial(mean, 1)]
    through = (trials[0] - trials[1]) / np.sqrt(2)
    return Losses(
        float(np.mean([square(late - mean) for late in trials])),
        float(np.mean([square(trial(movie, 2 + n) - movie) for n, movie in enumerate(trials[:2])])),
        square(trial(mean + through, 1) - trials[2] - through),
    )


def pattern_of(
    doubt: Doubt,
    arrays: MovieArrays,
    raw: Moments,
    truth: Float[np.ndarray, "t y x"],
    valid: Bool[np.ndarray, "t y x"],
    spread: float,
) -> Pattern:
    """Where a prediction is wrong whose truth is known.

    Args:
        doubt: what is believed of it.
        arrays, raw: what was predicted, and the network's prediction.
        truth: of it [intensity].
        valid: pixels that count.
        spread: intensity of the network's unit.
    """
    error = np.where(valid, np.asarray(raw.mean) - truth, 0.0).astype(np.float32)
    floor = FLAT * max(float(np.sqrt(np.mean(error[valid] ** 2))) / spread, LEAST)
    whole = (slice(truth.shape[1]), slice(truth.shape[2]))
    believed = np.asarray(doubt(arrays, raw, whole).var)
    share = min(ENOUGH / valid.sum(), 1.0)
    chosen = valid & (np.random.default_rng(0).random(valid.shape) < share)
    shown = [
        doubt.seen(arrays, raw, t, whole, whole, (0, 0), floor)[:, chosen[t]]
        for t in range(len(truth))
    ]
    return fit_pattern(
        np.concatenate(shown, axis=1).T,
        error[chosen].astype(float) ** 2,
        believed[chosen].astype(float),
        floor,
        max(share * sharing(error), 1.0),
    )
