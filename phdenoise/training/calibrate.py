"""How wrong the blind prediction is, without truth: its mean squared error, which scales its variance.

    ⟨(μ − x)²⟩ = V + B − G,    V = E[(f(y + n') − f(y))²],    B(d) = E[r_p r_{p+d}] − V(d) + … → B(0),    G = ⟨(y − f)² − (y − μ)²⟩

f is the network that training began with, which has not learned this movie's noise by heart. V, the noise that it lets
through, is measured by adding noise of the estimated model once more. B, its squared bias, is smooth over pixels because the
scene is, while the noise of different pixels is independent: what residuals share at a distance, less what V does, tells of it
(`phdenoise.training.bias`). Mean squares alone could not: where an estimate is good, its error is lost in the scatter of the
noise power. They tell by how much the trained network is better, G, on pixels that it did not learn: the noise cancels in the
difference. Networks that hide the pixel in every frame are calibrated by the held-out likelihood instead.
"""

from dataclasses import replace
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
from phdenoise.noise import Correlated
from phdenoise.training.bias import squared_bias
from phdenoise.types import Moments, NoiseModel, Progress, stage

# Belief in the variance as trained, where only the held-out likelihood speaks: sd of the log of its error.
SCALE_PRIOR = 0.3
# Symmetries that the network at the start is averaged over; another number changes its error, and G as much.
SYMMETRIES = 4
# By how much of the start's error training is usually better, sd; and the most that it is taken for.
BETTER, MOST = 0.3, 0.9


class Calibration(NamedTuple):
    """Factor for the predicted variance, how it was found, and what makes the variance where more than that is known.

    `variance` is what `doubt` makes of the prediction that was calibrated [t, y, x].
    """

    scale: float
    sentence: str
    doubt: Doubt | None = None
    variance: jax.Array | None = None


def by_error(
    start: Denoiser,
    arrays: MovieArrays,
    blind: Moments,
    frames: np.ndarray,
    valid: np.ndarray,
    seen: np.ndarray,
    test: np.ndarray,
    judged: np.ndarray,
    noise: NoiseModel,
    field: Correlated,
    key: jax.Array,
    *,
    progress: Progress | None = None,
) -> Calibration:
    """Scale of the variance by the mean squared error.

    Args:
        start: the network that training began with.
        arrays, blind: the movie as the trained network sees it, and its blind prediction.
        frames, valid: measured movie [t, y, x], and where it was learned.
        seen: where it is an input of the network.
        test: where it was not learned.
        judged: those of them whose noise no learned pixel shares.
        noise: its noise model.
        field: the noise's autocorrelation.
        key: of the added noise.
        progress: called with (stage, step, steps, nan).
    """
    temporal, shape = replace(start, region=FRAME), frames.shape

    def predicted(network: Denoiser, arrays: MovieArrays, said: str) -> np.ndarray:
        step = stage(progress, said)
        found = predict_arrays(network, arrays, shape, symmetries=SYMMETRIES, progress=step)
        return np.asarray(found.mean, np.float64)

    base = predicted(temporal, arrays, "prediction from other frames")
    level = np.asarray(noise.variance(blind.mean))
    added = np.sqrt(level) * np.asarray(field.field(key, jnp.zeros(shape, jnp.float32)))
    louder, weights = np.where(seen, frames, 0) + added, np.asarray(arrays.weights)
    moved, again = (
        predicted(
            temporal,
            prepare(temporal, louder, seen, valid & ~test, coefficients, weights),
            "with noise added once more",
        )
        for coefficients in (arrays.coefficients, None)
    )
    passed, learned = moved - base, (np.where(valid & ~test, added, 0.0), again - moved)
    rho = np.asarray(field.autocorrelation, np.float64)
    residual = np.where(valid, frames - base, 0.0)
    mean_level, through = float(np.mean(level[valid])), float(np.mean(passed[valid] ** 2))
    bias = squared_bias(residual, passed, valid, rho, mean_level, learned)
    error, own = through + bias, np.where(valid, frames - np.asarray(blind.mean), 0.0)
    if not start.region.whole_frame:
        # What the centre frame's other pixels add is known from all pixels: nothing of it was learned.
        nearer = np.where(valid, frames - predicted(start, arrays, "at the start"), 0.0)
        error = max(error - _mean_gain(residual, nearer, valid), (1 - MOST) * error)
        residual = nearer
    chosen = judged if judged.any() else valid
    gained = _mean_gain(residual, own, chosen)
    # Of so many values with independent noise.
    count = chosen.sum() / np.sum(np.maximum(rho, 0))
    chance = float(np.var((residual**2 - own**2)[chosen])) / count
    gained /= 1 + chance / (BETTER * error) ** 2
    found = error - min(max(gained, -BETTER * error), MOST * error)
    before = float(np.mean(np.asarray(blind.var, np.float64)[valid]))
    doubt = Doubt(
        1.0,
        before,
        frame_errors(start, _fit(start, arrays, frames, valid & ~test), weights, noise, rho),
    )
    whole = doubt(arrays, blind, (slice(shape[1]), slice(shape[2])))
    scale = found / float(np.mean(np.asarray(whole.var, np.float64)[valid]))
    return Calibration(
        found / before,
        f"Error of the blind prediction: sd {np.sqrt(found):.3g}; of the network at the start {np.sqrt(through + bias):.3g} "
        f"without the frame itself, {100 * through / (through + bias):.0f} % of its variance noise let through.",
        doubt._replace(scale=scale),
        jnp.float32(scale) * whole.var,
    )


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
    scales = np.geomspace(0.1, 10.0, 61)
    # A log-normal prior about one: where noise hides the error, a few held-out pixels must not rule.
    scores = [
        float(jnp.sum(blind_nll(Moments(mean, var * s), noisy, noise)))
        + 0.5 * float(np.log(s) / SCALE_PRIOR) ** 2
        for s in scales
    ]
    scale = float(scales[int(np.argmin(scores))])
    return Calibration(scale, f"Predicted variance scaled by {scale:.2f} on held-out pixels.")
