"""How wrong the blind prediction is, without truth: its variance, in parts (`phdenoise.denoisers.doubt`).

    Σ = V + B,        V = E[(f(y + n') − f(y))²],    B(d) = E[r_p r_{p+d}] − V(d) → B(0)

V, the noise that the estimate lets through, is measured by adding noise of the estimated model once more. B,
the squared bias, is smooth over pixels because the scene is, while the noise of different pixels is independent:
what residuals share at a distance, less what V does, tells of it (`phdenoise.training.bias`). Mean squares alone could
not: where an estimate is good, its error is lost in the scatter of the noise power. Networks that hide the pixel in
every frame are calibrated by the held-out likelihood instead.
"""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize

from phdenoise.denoisers import (
    FRAME,
    Denoiser,
    MovieArrays,
    blind_nll,
    predict_arrays,
    prepare,
)
from phdenoise.denoisers.doubt import PARTS, Doubt, parts
from phdenoise.noise import Correlated
from phdenoise.training.bias import apart, squared_bias
from phdenoise.types import Moments, NoiseModel, Progress, stage

# Belief in the variance as trained, where only the held-out likelihood speaks: sd of the log of its error.
SCALE_PRIOR = 0.3


class Calibration(NamedTuple):
    """Factor for the predicted variance, how it was found, and the variance in parts where it could be had.

    `variance` is what `doubt` makes of the prediction that was calibrated [t, y, x].
    """

    scale: float
    sentence: str
    doubt: Doubt | None = None
    variance: jax.Array | None = None


def by_injection(
    denoiser: Denoiser,
    arrays: MovieArrays,
    blind: Moments,
    frames: np.ndarray,
    valid: np.ndarray,
    seen: np.ndarray,
    noise: NoiseModel,
    field: Correlated,
    key: jax.Array,
    *,
    symmetries: int,
    progress: Progress | None = None,
) -> Calibration:
    """Scale of the variance by noise injection and residual covariance.

    Args:
        denoiser, arrays, blind: the trained denoiser, the movie as it sees it, and its blind prediction.
        frames, valid: measured movie [t, y, x], and where it was learned.
        seen: where it is an input of the denoiser.
        noise: its noise model.
        field: the noise's autocorrelation.
        key: of the added noise.
        symmetries: averaged by the prediction.
        progress: called with (stage, step, steps, nan).
    """
    temporal = replace(denoiser, region=FRAME)
    shape = frames.shape
    hidden = denoiser.region.whole_frame
    base = blind
    if not hidden:
        step = stage(progress, "prediction from other frames")
        base = predict_arrays(temporal, arrays, shape, symmetries=symmetries, progress=step)
    level = np.asarray(noise.variance(blind.mean))
    added = np.sqrt(level) * np.asarray(field.field(key, jnp.zeros(shape, jnp.float32)))
    again = prepare(
        temporal,
        np.where(seen, frames, 0) + added,
        seen,
        coefficients=arrays.coefficients,
        weights=np.asarray(arrays.weights),
    )
    step = stage(progress, "with noise added once more")
    moved = predict_arrays(temporal, again, shape, symmetries=symmetries, progress=step)
    passed = np.asarray(moved.mean - base.mean, np.float64)
    residual = np.where(valid, frames - np.asarray(base.mean), 0.0)
    own = np.where(valid, frames - np.asarray(blind.mean), 0.0)
    variance = float(np.mean(passed[valid] ** 2))
    rho = np.asarray(field.autocorrelation, np.float64)
    near = apart(rho)
    bias, width = squared_bias(residual, passed, valid, rho, float(np.mean(level[valid])))
    steep = float(np.exp(0.5 * (min(near.values()) / width) ** 2))
    # What the centre frame's other pixels add is the difference of mean squares: the noise cancels.
    gained = float(np.mean((residual**2 - own**2)[valid]))
    found = max(variance + bias - max(gained, 0.0), 0.25 * variance)
    predicted = float(np.mean(np.asarray(blind.var, np.float64)[valid]))
    weights = _weights(denoiser, arrays, blind, level, valid, passed, residual, near, steep)
    doubt = Doubt(weights, noise)
    whole = doubt(denoiser, arrays, blind, (slice(shape[1]), slice(shape[2])))
    even = found / float(np.mean(np.asarray(whole.var, np.float64)[valid]))
    names = ("predicted", "noise", "past against future", "gradient")
    mean = " + ".join(f"{even * w:.2g} {n}" for w, n in zip(weights, names, strict=True) if w > 0)
    return Calibration(
        found / predicted,
        f"Variance of the blind prediction: {mean} (by injecting noise); sd {np.sqrt(found):.3g}, "
        f"{100 * min(variance / found, 1):.0f} % of it noise let through.",
        doubt._replace(weights=tuple(even * w for w in weights)),
        jnp.float32(even) * whole.var,
    )


def _weights(
    denoiser: Denoiser,
    arrays: MovieArrays,
    blind: Moments,
    level: np.ndarray,
    valid: np.ndarray,
    passed: np.ndarray,
    residual: np.ndarray,
    distances: dict[int, int],
    steep: float,
) -> tuple[float, ...]:
    """Shares of the parts of the variance, each at least zero, up to a common factor.

    Two regressions over pixels: of V, from the noise that was let through, and of B, from the products of the
    residuals of neighbours less those of V.
    """
    inside = (slice(valid.shape[1]), slice(valid.shape[2]))
    passed, residual = np.where(valid, passed, 0.0), np.where(valid, residual, 0.0)
    through, bias = (_Regression() for _ in range(2))
    for t in np.flatnonzero(valid.any(axis=(1, 2))):
        found = parts(denoiser, arrays, np.asarray(blind.var[t]), level[t], int(t), inside, inside)
        through.add(found[:, valid[t]], passed[t][valid[t]] ** 2, level[t][valid[t]])
        for axis, distance in distances.items():
            n = valid.shape[axis] - distance
            if n <= 0:
                continue
            a, b = (
                tuple(slice(*r) if k == axis else slice(None) for k in (1, 2))
                for r in ((0, n), (distance, n + distance))
            )
            both = valid[t][a] & valid[t][b]
            product = residual[t][a] * residual[t][b] - passed[t][a] * passed[t][b]
            near = 0.5 * (found[:, *a] + found[:, *b])
            spread = np.sqrt(level[t][a] * level[t][b])
            bias.add(near[:, both], product[both], spread[both])
    total = through.solve() + steep * bias.solve()
    return tuple(float(w) for w in total) if total.any() else (1.0,) + (0.0,) * (PARTS - 1)


class _Regression:
    """Least squares with weights 1/level², none of them below zero."""

    def __init__(self) -> None:
        self.a, self.b = np.zeros((PARTS, PARTS)), np.zeros(PARTS)

    def add(self, x: np.ndarray, y: np.ndarray, level: np.ndarray) -> None:
        x, y = x.astype(np.float64) / level, y / level
        self.a += x @ x.T
        self.b += x @ y

    def solve(self) -> np.ndarray:
        size = np.sqrt(np.maximum(np.diag(self.a), np.finfo(float).tiny))
        scaled = self.a / np.outer(size, size) + 1e-6 * np.eye(PARTS)
        root = np.linalg.cholesky(scaled)
        found, _ = optimize.nnls(root.T, np.linalg.solve(root, self.b / size))
        weights: np.ndarray = found / size
        return weights


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
