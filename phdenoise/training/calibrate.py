"""How wrong the blind prediction is, without truth: its variance, in parts (`phdenoise.denoisers.doubt`).

    Σ = V + B,        V = E[(f(y + n') − f(y))²],    B(d) = E[r_p r_{p+d}] − V(d) → B(0)

V, the noise that the estimate lets through, is measured by adding noise of the estimated model once more. B,
the squared bias, is smooth over pixels because the scene is, while the noise of different pixels is independent:
the residual's covariance at the smallest distances where the noise is independent, less that of V, is extrapolated
to zero. Mean squares alone could not tell: where an estimate is good, its error is lost in the scatter of the noise
power. Networks that hide the pixel in every frame are calibrated by the held-out likelihood instead.
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
from phdenoise.types import Moments, NoiseModel, Progress, stage

# Belief in the variance as trained, where only the held-out likelihood speaks: sd of the log of its error.
SCALE_PRIOR = 0.3
# A correlation of the bias falls off between neighbours by no more than this factor.
STEEPEST = 1.4
# Pixels between residuals whose product tells of the scene.
FARTHEST = 4


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
    apart = _apart(rho)
    near, far = (
        _covariance(residual, valid, d) - _covariance(passed, np.ones_like(valid), d)
        for d in (apart, {axis: 2 * d for axis, d in apart.items()})
    )
    # A Gaussian through the covariances at distances d and 2 d: B(0) = B(d) (B(d)/B(2 d))^(1/3).
    steep = float(np.clip(near / far, 1.0, STEEPEST**3)) ** (1 / 3) if 0 < far < near else STEEPEST
    # A square that is measured as nothing may still be as large as its scatter, which comes on top.
    scatter = float(np.mean(level[valid])) * np.sqrt(np.sum(rho**2) / (2 * valid.sum()))
    bias = steep * max(near, 0.0) + STEEPEST * scatter
    # What the centre frame's other pixels add is the difference of mean squares: the noise cancels.
    gained = float(np.mean((residual**2 - own**2)[valid]))
    found = max(variance + bias - max(gained, 0.0), 0.25 * variance)
    predicted = float(np.mean(np.asarray(blind.var, np.float64)[valid]))
    weights = _weights(denoiser, arrays, blind, level, valid, passed, residual, apart, steep)
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
    apart: dict[int, int],
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
        for axis, distance in apart.items():
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


def _apart(rho: np.ndarray) -> dict[int, int]:
    """Along y (1) and x (2), the smallest distance from which on the noise is independent.

    An axis along which it is not within 4 px is left out: the scene's own correlation would be lost by then.
    """
    y, x = (n // 2 for n in rho.shape)
    found = {}
    for axis, line in ((1, rho[y:, x]), (2, rho[y, x:])):
        far = np.flatnonzero(np.abs(line) >= 0.05)
        found[axis] = max(int(far[-1]) + 1 if far.size else 1, 1)
    near = {axis: d for axis, d in found.items() if d <= FARTHEST}
    return near or {min(found, key=found.__getitem__): FARTHEST}


def _covariance(values: np.ndarray, valid: np.ndarray, distances: dict[int, int]) -> float:
    """Mean product of pixels so far apart along each axis."""
    total = count = 0.0
    for axis, distance in distances.items():
        size = values.shape[axis]
        if size <= distance:
            continue
        a, b = (np.take(values, range(*r), axis) for r in ((0, size - distance), (distance, size)))
        u, v = (np.take(valid, range(*r), axis) for r in ((0, size - distance), (distance, size)))
        total += float(np.sum(np.where(u & v, a * b, 0.0)))
        count += float(np.sum(u & v))
    return total / max(count, 1.0)
