"""Noise that lasts for several frames: whether it is noise, and what a network that may not learn it begins with.

What seems to last (`phdenoise.noise.lasting`) may be the scene. It cannot be noise where a prediction of the frames, told of it,
leaves less than that noise,

    E = S − v + 2 C,      S = ⟨(y − L)²⟩,   C = ⟨n L⟩

and where C, which the linear prediction's weights give, hardly adds to the error E of one that was not told, nothing need be done.
Otherwise linear predictions are told (`phdenoise.denoisers.linear`), and a network that learned them would learn the noise of
other frames: it stays as scenes taught it, where that errs less than the linear prediction does.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from phdenoise.denoisers import Denoiser, MovieArrays, from_prior, predict_arrays, prepare
from phdenoise.denoisers.context import context_weights
from phdenoise.denoisers.linear import NONE, Sharing, fit_whole, sharing
from phdenoise.denoisers.predict import fill
from phdenoise.noise import NoiseEstimate
from phdenoise.training.again import drawn
from phdenoise.types import NoiseModel

# Error of the prediction that was not told over that of the one that was, from which on the noise is worth telling; errors of
# less than this share of the noise's variance count as that.
WORTH, LEAST = 1.3, 2e-3
# By this share of the noise's variance it may be stated too large.
DOUBT = 0.1
# Frames of a stretch from which on it is asked.
FRAMES = 4


def settled(
    frames: Float[np.ndarray, "t y x"],
    seen: Bool[np.ndarray, "t y x"],
    good: Bool[np.ndarray, "t y x"],
    found: NoiseEstimate,
    *,
    stretches: int = 1,
) -> tuple[NoiseEstimate, list[str]]:
    """The noise with what is decided of its correlation in time, and what to say of it.

    Args:
        frames: measured movie.
        seen, good: pixels that are inputs, and those that count.
        found: what was estimated.
        stretches: equally long movies, one after the other, of which it consists.
    """
    lasting = found.correlation["t"][1:]
    present = np.split(seen.any(axis=(1, 2)), stretches)
    if not np.any(lasting) or min(p.sum() for p in present) < FRAMES:
        return found, []
    noisy = found.that_lasts(lasting)
    values = frames[good].astype(np.float64)
    centre = float(values.mean())
    spread = max(float(values.std()), float(np.finfo(np.float32).tiny))
    told = sharing_of(noisy, noisy.model, spread)
    scaled = ((fill(frames, seen, centre) - centre) / spread).astype(np.float32)
    weights = np.concatenate([context_weights(p) for p in present])
    level = _variance(noisy.model, noisy) / spread**2
    errors = []
    for shared in (told._replace(told=NONE.told), told):
        fit = fit_whole(scaled, weights, good, shared)
        own = told.known(fit.coefficients[-1], weights)
        left = np.average(fit.residual + 2 * own, weights=np.maximum(fit.pixels, 1e-9))
        errors.append(float(left) / level - 1)
    if errors[1] < -DOUBT or errors[0] < WORTH * max(errors[1], LEAST):
        return found.that_lasts(np.zeros(0)), []
    hidden = float(found.transfer[:, 1].mean() / noisy.transfer[:, 1].mean())
    listed = ", ".join(f"{rho:.2f}" for rho in lasting[:4]) + (", ..." if len(lasting) > 4 else "")
    return noisy, [
        f"Noise lasts: its correlation with that of the frames that follow is {listed}; differences of frames hold "
        f"{100 * hidden:.0f} % of its variance."
    ]


def sharing_of(found: NoiseEstimate, noise: NoiseModel, spread: float) -> Sharing:
    """How noise is shared, in units of a network.

    Args:
        found: its correlations.
        noise: its variance.
        spread: intensity of the network's unit.
    """
    variance = _variance(noise, found) / spread**2 if len(found.lasting) else 0.0
    rho = np.asarray(found.correlated().autocorrelation, np.float64)
    return sharing(rho, found.lasting, variance, found.reach())


def nearest(
    linear: Denoiser,
    arrays: MovieArrays,
    frames: Float[np.ndarray, "t y x"],
    seen: Bool[np.ndarray, "t y x"],
    fitted: Bool[np.ndarray, "t y x"],
    noise: NoiseModel,
    found: NoiseEstimate,
) -> tuple[Denoiser, str]:
    """The network that scenes taught, or the linear prediction where that errs less; and what to say of it.

    Args:
        linear: untrained.
        arrays: the movie as it sees it.
        frames, seen, fitted: measured movie, pixels that are inputs, and those that the linear prediction was fitted to.
        noise, found: its variance, and how it is shared.
    """
    prior = from_prior(linear)
    said = "Linear predictions are told of the noise, and no network is trained on this movie, whose noise it would learn"
    if prior is None:
        return linear, f"{said}: the best of them is used."
    level = np.asarray(noise.variance(jnp.asarray(frames, jnp.float32)))
    added = np.where(seen, drawn(level, found.correlated(), jax.random.key(0)), 0.0)
    louder = prepare(
        linear, frames + added, seen, fitted, arrays.coefficients, np.asarray(arrays.weights)
    )
    own, known = (_error(d, arrays, louder, frames, added, fitted) for d in (linear, prior))
    if not known < own:
        return (
            linear,
            f"{said}: the best of them errs less than the network that has seen simulated scenes.",
        )
    return prior, f"{said}: the one that has seen simulated scenes is used."


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
