"""Noise that is correlated in time: whether it is noise, and which network starts on it.

What looks like temporal correlation of the noise (`phdenoise.noise.correlation`) may be the scene. It cannot be noise of
variance v where the best linear prediction, corrected for it, leaves less than v. Its error is

    E = S − v + 2 C,      S = ⟨(y − L)²⟩,   C = ⟨n L⟩

where the weights of the linear prediction L give C. If the correction hardly lowers E, it is left out. Otherwise the linear
predictions are corrected (`phdenoise.networks.linear_filter`). A network trained on the movie would learn the noise of other
frames, so none is: a network from simulated scenes is used as it is, or the linear prediction where that errs less.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from phdenoise.networks.base import Denoiser, from_prior
from phdenoise.networks.context import MovieArrays, context_weights
from phdenoise.networks.linear_filter import NONE, Sharing, fit_whole, sharing
from phdenoise.networks.predict import fill, predict_arrays, prepare
from phdenoise.noise.estimate import NoiseEstimate
from phdenoise.summary import first_few
from phdenoise.types import NoiseModel
from phdenoise.uncertainty.parametric_bootstrap import draw_noise

# The correction is made where it lowers the error of the linear prediction by this factor; smaller gains do not outweigh that the
# network is then not trained. Errors below this share of the noise variance count as that share: their ratio is chance.
_GAIN_OF_CORRECTION, _SMALLEST_ERROR = 1.3, 2e-3
# The estimated variance of correlated noise may be too large by this share, its scatter in movies of a few frames.
_VARIANCE_TOLERANCE = 0.1
# Frames that each stretch needs: two lags, each seen twice.
_FRAMES_NEEDED = 4
# Correlations that the log lists.
_LISTED = 4


def decide_temporal_correlation(
    frames: Float[np.ndarray, "t y x"],
    seen: Bool[np.ndarray, "t y x"],
    good: Bool[np.ndarray, "t y x"],
    found: NoiseEstimate,
    *,
    stretches: int = 1,
) -> tuple[NoiseEstimate, list[str]]:
    """Decide whether the noise is correlated in time.

    Args:
        frames: measured movie [intensity].
        seen, good: pixels that are inputs, and those that count.
        found: noise, with the temporal correlation that it seems to have.
        stretches: number of equally long movies, one after the other, of which this one consists.

    Returns:
        The noise with the decision, and a sentence where the noise is correlated.
    """
    seeming = found.correlation["t"][1:]
    present = np.split(seen.any(axis=(1, 2)), stretches)
    if not np.any(seeming) or min(p.sum() for p in present) < _FRAMES_NEEDED:
        return found, []
    noisy = found.with_temporal_correlation(seeming)
    values = frames[good].astype(np.float64)
    centre = float(values.mean())
    spread = max(float(values.std()), float(np.finfo(np.float32).tiny))
    corrected = noise_sharing(noisy, noisy.model, spread)
    scaled = ((fill(frames, seen, centre) - centre) / spread).astype(np.float32)
    weights = np.concatenate([context_weights(p) for p in present])
    level = _variance(noisy.model, noisy) / spread**2
    errors = []
    for shared in (corrected._replace(told=NONE.told), corrected):
        fit = fit_whole(scaled, weights, good, shared)
        own = corrected.known(fit.coefficients[-1], weights)
        left = np.average(fit.residual + 2 * own, weights=np.maximum(fit.pixels, 1e-9))
        errors.append(float(left) / level - 1)
    not_noise = errors[1] < -_VARIANCE_TOLERANCE
    if not_noise or errors[0] < _GAIN_OF_CORRECTION * max(errors[1], _SMALLEST_ERROR):
        return found.with_temporal_correlation(np.zeros(0)), []
    hidden = float(found.transfer[:, 1].mean() / noisy.transfer[:, 1].mean())
    listed = first_few((f"{rho:.2f}" for rho in seeming), _LISTED)
    return noisy, [
        f"Temporal correlation of the noise with the following frames: {listed}; differences of frames show "
        f"{100 * hidden:.0f} % of its variance."
    ]


def noise_sharing(found: NoiseEstimate, noise: NoiseModel, spread: float) -> Sharing:
    """How pixels and frames share noise, in units of a network.

    Args:
        found: correlations of the noise.
        noise: its variance.
        spread: intensity of the network's unit.

    Returns:
        The covariances.
    """
    variance = _variance(noise, found) / spread**2 if len(found.temporal_correlation) else 0.0
    rho = found.significant_autocorrelation().astype(np.float64)
    return sharing(rho, found.temporal_correlation, variance, found.reach())


def choose_untrained_network(
    linear: Denoiser,
    arrays: MovieArrays,
    frames: Float[np.ndarray, "t y x"],
    seen: Bool[np.ndarray, "t y x"],
    fitted: Bool[np.ndarray, "t y x"],
    noise: NoiseModel,
    found: NoiseEstimate,
) -> tuple[Denoiser, str]:
    """The network from simulated scenes, or the linear prediction where that errs less.

    Args:
        linear: untrained network, which predicts as the linear prediction does.
        arrays: its input.
        frames: measured movie [intensity].
        seen, fitted: pixels that are inputs, and those that the linear prediction was fitted to.
        noise, found: variance and correlations of the noise.

    Returns:
        The better network, and the sentence on it.
    """
    prior = from_prior(linear)
    said = (
        "Linear predictions are corrected for the temporal correlation of the noise, and no network is trained on this movie, "
        "whose noise it would learn"
    )
    if prior is None:
        return linear, f"{said}: the best linear prediction is used."
    level = np.asarray(noise.variance(jnp.asarray(frames, jnp.float32)))
    added = np.where(seen, draw_noise(level, found.correlated(), jax.random.key(0)), 0.0)
    louder = prepare(
        linear, frames + added, seen, fitted, arrays.coefficients, np.asarray(arrays.weights)
    )
    own, known = (_error(d, arrays, louder, frames, added, fitted) for d in (linear, prior))
    if not known < own:
        return (
            linear,
            f"{said}: the best linear prediction errs less than the network that has seen simulated scenes.",
        )
    return prior, f"{said}: the network that has seen simulated scenes is used."


def _error(
    denoiser: Denoiser,
    arrays: MovieArrays,
    louder: MovieArrays,
    frames: np.ndarray,
    added: np.ndarray,
    where: np.ndarray,
) -> float:
    """Its mean squared error, but for the noise's variance."""
    plain, moved = (
        np.asarray(predict_arrays(denoiser, a, frames.shape, symmetries=1).mean, np.float64)
        for a in (arrays, louder)
    )
    return float(np.mean(((frames - plain) ** 2 + 2 * added * (moved - plain))[where]))


def _variance(noise: NoiseModel, found: NoiseEstimate) -> float:
    """Mean variance of the noise, at the mean intensities of the photon-transfer points: single values scatter below zero."""
    mean: Array = noise.variance(jnp.asarray(found.transfer[:, 0], jnp.float32))
    return float(np.mean(np.asarray(mean, np.float64)))
