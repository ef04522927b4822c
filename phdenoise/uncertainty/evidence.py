"""A movie and its noise as evidence against which a prediction is judged, and the error of the network at the start.

    ⟨(f − x)²⟩ = V + B,      V = E[(f(y + n') − f(y))²]           noise that passes, and squared bias (`phdenoise.uncertainty.mean_squared_error`)

f is the network at the start of training, which has not fitted the noise of this movie.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from phdenoise.networks.base import Denoiser
from phdenoise.networks.context import FRAME, MovieArrays
from phdenoise.networks.linear_filter import Fit, fitted_window
from phdenoise.networks.predict import predict_arrays, prepare
from phdenoise.noise.estimate import NoiseEstimate
from phdenoise.types import NoiseModel, Progress, stage
from phdenoise.uncertainty.mean_squared_error import MAX_GAIN_SHARE, mean_gain, squared_bias
from phdenoise.uncertainty.parametric_bootstrap import draw_noise

# Symmetries that the network at the start is averaged over. The error at the start and the gain of training change with their
# number alike, so that it does not matter to their sum.
SYMMETRIES = 4
# The error is taken as no less than this share of the residuals' power, so that its log exists.
_SMALLEST_ERROR_SHARE = 1e-9


@dataclass(frozen=True)
class Noise:
    """The noise of a movie.

    Attributes:
        estimate: from the movie, with correlation in space and time.
        model: that is used, the estimated one or one that the user or the file states.
        estimated: whether `model` is the estimated one, which may turn out to have a smaller variance.
    """

    estimate: NoiseEstimate
    model: NoiseModel
    estimated: bool = False

    @classmethod
    def of(cls, estimate: NoiseEstimate) -> "Noise":
        """Noise as estimated."""
        return cls(estimate, estimate.model, estimated=True)

    @property
    def field(self) -> NoiseModel:
        """The model that is used, with its correlation in space where that asks to hide the frame."""
        if self.estimate.blind != "frame":
            return self.model
        found = self.estimate
        return self.model.correlated(
            found.significant_autocorrelation(), found.temporal_correlation
        )

    def scaled(self, factor: float) -> "Noise":
        """The same with an estimated variance times a factor; a given model stays."""
        return Noise.of(self.estimate.scaled(factor)) if self.estimated else self


@dataclass(frozen=True)
class Evidence:
    """A movie and its noise, against which a prediction is judged.

    Attributes:
        frames, valid: measured movie [t, y, x], and where it counts.
        seen: where it is an input of the network.
        test: where it was not learned.
        judged: those of them whose noise no learned pixel shares.
        noise: of the movie.
    """

    frames: np.ndarray
    valid: np.ndarray
    seen: np.ndarray
    test: np.ndarray
    judged: np.ndarray
    noise: Noise

    @cached_property
    def learned(self) -> np.ndarray:
        """Pixels that linear predictions were fitted to [t, y, x]."""
        return self.valid & ~self.test

    @cached_property
    def correlated(self) -> NoiseModel:
        """The estimated noise with its correlation."""
        return self.noise.estimate.correlated()

    @cached_property
    def autocorrelation(self) -> np.ndarray:
        """Autocorrelation of the noise [lag_y, lag_x]."""
        return self.noise.estimate.significant_autocorrelation().astype(np.float64)

    @cached_property
    def shared(self) -> float:
        """Number of pixels that share a value of the noise."""
        frames = 1 + 2 * float(np.sum(np.maximum(self.noise.estimate.temporal_correlation, 0)))
        return frames * float(np.sum(np.maximum(self.autocorrelation, 0)))

    def residual(self, mean: np.ndarray) -> np.ndarray:
        """Measured less predicted value where it counts, elsewhere zero [t, y, x]."""
        return np.where(self.valid, self.frames - mean, 0.0)

    def level(self, noise: NoiseModel, mean: Array) -> float:
        """Mean variance of some noise over the valid pixels.

        Args:
            noise: pointwise noise model.
            mean: intensity [t, y, x].

        Returns:
            The variance [intensity²].
        """
        return float(np.mean(np.asarray(noise.variance(mean), np.float64)[self.valid]))


class StartError(NamedTuple):
    """Error of the network at the start of training.

    Attributes:
        error: mean squared error [intensity²].
        passed, bias: V and B of its prediction from other frames alone [intensity²].
        fitted: by how much the residuals of that are too small [intensity²].
        error_noise_covariance: over the noise's variance.
        residual, power: measured less predicted values [t, y, x] [intensity], and their mean square [intensity²].
        seeming: mean noise variance as estimated [intensity²].
        noise: no louder than what the prediction leaves.
    """

    error: float
    passed: float
    bias: float
    fitted: float
    error_noise_covariance: float
    residual: np.ndarray
    power: float
    seeming: float
    noise: NoiseModel


def _predict(
    network: Denoiser,
    arrays: MovieArrays,
    shape: tuple[int, ...],
    progress: Progress | None,
    name: str = "prediction from other frames",
) -> np.ndarray:
    """Blind prediction of a network, averaged over few symmetries [t, y, x] [intensity]."""
    step = stage(progress, name)
    found = predict_arrays(network, arrays, shape, symmetries=SYMMETRIES, progress=step)
    return np.asarray(found.mean, np.float64)


def start_error(
    start: Denoiser,
    arrays: MovieArrays,
    movie: Evidence,
    mean: Array,
    key: Array,
    progress: Progress | None,
) -> StartError:
    """Error of the network that training began with: V + B from other frames, less what the rest of the centre frame gains.

    Args:
        start: the network that training began with.
        arrays: its input.
        movie: measured movie and noise.
        mean: intensity at which noise is added [t, y, x].
        key: of the noise.
        progress: called with (stage, step, steps, nan).

    Returns:
        The error, and what it was found from.
    """
    valid, noise, shape = movie.valid, movie.noise, mean.shape
    whole_frame = start.region.whole_frame
    base = _predict(replace(start, region=FRAME), arrays, shape, progress)
    residual = nearer = movie.residual(base)
    if not whole_frame:
        nearer = movie.residual(_predict(start, arrays, shape, progress, "at the start"))
    power = max(float(np.mean(nearer[valid] ** 2)), float(np.finfo(np.float32).tiny))
    seeming = movie.level(noise.model, mean)
    if not start.sharing.lasts:
        # The noise is no more than what a blind prediction leaves.
        noise = noise.scaled(min(power / seeming, 1.0))
    passed, bias, fitted, covariance = _from_other_frames(
        start, arrays, base, movie, noise.model, np.asarray(mean), key, progress
    )
    error = passed + bias
    if not whole_frame:
        # What the centre frame's other pixels add is known from all pixels: nothing of it was learned.
        error = max(error - mean_gain(residual, nearer, valid), (1 - MAX_GAIN_SHARE) * error)
    error = min(max(error, _SMALLEST_ERROR_SHARE * power), power)
    return StartError(error, passed, bias, fitted, covariance, nearer, power, seeming, noise.model)


def _from_other_frames(
    start: Denoiser,
    arrays: MovieArrays,
    base: np.ndarray,
    movie: Evidence,
    noise: NoiseModel,
    mean: np.ndarray,
    key: Array,
    progress: Progress | None,
) -> tuple[float, float, float, float]:
    """V, B, by how much the residuals are too small, and the covariance of error and noise, of `base`, predicted from other frames.

    Where linear predictions were fitted to a pixel's noise, or other frames share it, its residual is smaller, on average by twice
    the covariance of noise and prediction (Efron, 1986, doi:10.1080/01621459.1986.10478291).
    """
    temporal, seen, weights = replace(start, region=FRAME), movie.seen, np.asarray(arrays.weights)
    estimate, valid = movie.noise.estimate, movie.valid
    level = np.asarray(noise.variance(jnp.asarray(mean)))
    added = draw_noise(level, movie.correlated, key)
    louder = np.where(seen, movie.frames, 0) + added
    # The movie with added noise has twice the noise.
    shared = start.sharing._replace(told=2 * np.asarray(start.sharing.told))
    fitting = replace(temporal, sharing=shared)
    shifted, again = (
        _predict(
            temporal,
            prepare(fitting, louder, seen, movie.learned, coefficients, weights),
            mean.shape,
            progress,
            "with noise added",
        )
        for coefficients in (arrays.coefficients, None)
    )
    passed, learned = shifted - base, (np.where(movie.learned, added, 0.0), again - shifted)
    covariance = 0.0
    if start.sharing.lasts:
        covariance = float(np.mean((added * passed)[valid]))
        learned = (added, np.where(movie.learned, again - shifted, 0.0) + passed)
    tail = estimate.tail() if estimate.blind == "frame" else None
    typical = float(np.mean(level[valid]))
    bias = squared_bias(
        movie.residual(base), passed, valid, movie.autocorrelation, typical, learned, tail
    )
    fitted = 2 * float(np.mean((learned[0] * learned[1])[valid]))
    power = float(np.mean(passed[valid] ** 2))
    return power, bias, max(fitted, 0.0), max(covariance, 0.0) / typical


def linear_fit(
    denoiser: Denoiser, arrays: MovieArrays, frames: np.ndarray, fitted: np.ndarray
) -> Fit:
    """The linear predictions of a movie, with the residuals of the best one.

    Args:
        denoiser: its scale is used.
        arrays: has the predictions and their coefficients.
        frames: measured movie [t, y, x] [intensity].
        fitted: pixels that the predictions were fitted to.

    Returns:
        Coefficients, and of each frame the mean squared residual, mean value and number of pixels.
    """
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
