"""Fitting a law to a movie taken at face value: multiple shooting from the movie's own frames.

The movie is cut into windows; each starts from its first frame as it stands and is compared with the
frames that follow. Right for clean movies. Noise in the starting frames enters the solve and biases the
law, which is why the joint fit (`phdenoise.learn.joint`) estimates the initial field instead.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.grid import Grid
from phdenoise.learn.evidence import strength, strengthen
from phdenoise.learn.gauss_newton import (
    Minimum,
    Normal,
    descend,
    freeze,
    half_square,
    jacobian,
    normal_equations,
    with_prior,
)
from phdenoise.learn.laws import LawPrior, LawSpace
from phdenoise.learn.objective import predict, squash

BLOCK = 16
# How often the prior's strength is chosen, and the relative change that ends it.
ROUNDS, SETTLED = 4, 1.1
# Promised decrease of the cost at which a fit whose weights are in units of the noise has converged.
RESOLUTION = 0.02


class Windows(eqx.Module):
    """Stretches of a movie to shoot over.

    Attributes:
        frames: concentration [window, 1 + length, y, x]; the first frame of each is the start.
        weights: inverse variance of the frames after the first [window, length, y, x].
        times: [window, 1 + length] in (median) frame intervals.
        grid: spacing in pixels.
        uniform: whether all intervals are one.
    """

    frames: Float[Array, "w n y x"]
    weights: Float[Array, "w m y x"]
    times: Float[Array, "w n"]
    grid: Grid
    uniform: bool = eqx.field(static=True, default=True)


class WindowFit(NamedTuple):
    """Optimum of `fit_windows`.

    Attributes:
        minimum: of the cost.
        covariance: of θ [p, p].
        data, normal: normal equations there, of the data and with the prior.
        prior: as strong as the evidence says.
        windows: with the weights that the residuals deserve.
        excess: by which those of the stated noise were divided.
        chi2: mean squared residual in units of the noise that was stated.
        solver_bias: by how many standard deviations θ would move if the solver took half its steps.
        solver_share: rms of what that changes in the prediction, as a share of the residuals'.
    """

    minimum: Minimum
    covariance: np.ndarray
    data: Normal
    normal: Normal
    prior: LawPrior
    windows: Windows
    excess: float
    chi2: float
    solver_bias: float
    solver_share: float


def cut_windows(
    frames: np.ndarray,
    weights: np.ndarray,
    times: np.ndarray,
    grid: Grid,
    *,
    windows: int,
    length: int,
) -> Windows:
    """Windows of 1 + length frames, spread evenly over the movie [t, y, x] with its times [t]."""
    length = min(length, frames.shape[0] - 1)
    last = frames.shape[0] - 1 - length
    starts = np.unique(np.linspace(0, last, min(windows, last + 1)).round().astype(int))
    take = starts[:, None] + np.arange(length + 1)
    return Windows(
        frames=jnp.asarray(frames[take]),
        weights=jnp.asarray(weights[take[:, 1:]]),
        times=jnp.asarray(times[take], frames.dtype),
        grid=grid,
        uniform=is_uniform(times),
    )


def is_uniform(times: np.ndarray) -> bool:
    """Whether times [t] in frame intervals advance by one, but for the jitter of a clock."""
    return bool(np.ptp(np.diff(times)) < 0.01)


def window_residual(
    space: LawSpace, theta: Float[Array, " p"], windows: Windows, *, substeps: int
) -> Float[Array, "w m y x"]:
    """√w (prediction − frames) of every window."""

    def shoot(start: Array, times: Array) -> Array:
        return predict(
            space,
            theta,
            squash(start),
            times,
            windows.grid,
            substeps=substeps,
            checkpoint=False,
            uniform=windows.uniform,
        )[1:]

    frames = jax.vmap(shoot)(windows.frames[:, 0], windows.times)
    return jnp.sqrt(windows.weights) * (frames - windows.frames[:, 1:])


@partial(jax.jit, static_argnames=("space", "substeps"))
def _misfit(space: LawSpace, theta: Array, windows: Windows, substeps: int) -> Array:
    return window_residual(space, theta, windows, substeps=substeps)


@partial(jax.jit, static_argnames=("space", "substeps"))
def _jacobian(
    space: LawSpace, theta: Array, windows: Windows, substeps: int
) -> tuple[Array, Array]:
    return jacobian(lambda th: window_residual(space, th, windows, substeps=substeps), theta)


def still(windows: Windows) -> float:
    """Cost of "nothing moves"."""
    change = windows.frames[:, :1] - windows.frames[:, 1:]
    return 0.5 * float(jnp.sum(windows.weights * change**2))


def misfit_cost(space: LawSpace, theta: np.ndarray, windows: Windows, substeps: int) -> float:
    """½ Σ of squared residuals, inf where the law diverges."""
    point = jnp.asarray(theta, windows.frames.dtype)
    value = half_square(_misfit(space, point, windows, substeps))
    # An unstable solve may stay finite for a few frames; no law is that wrong.
    return value if value < 2e3 * still(windows) + 1.0 else np.inf


def _scores(residual: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Gradient of the cost, block by block: [p, blocks] with blocks of BLOCK × BLOCK pixels."""
    w, _, ny, nx = residual.shape
    pad = ((0, 0), (0, -ny % BLOCK), (0, -nx % BLOCK))
    scores = []
    for row in rows.reshape(-1, *residual.shape):
        score = np.pad(np.sum(row.astype(float) * residual, axis=1), pad)
        _, py, px = score.shape
        blocks = score.reshape(w, py // BLOCK, BLOCK, px // BLOCK, BLOCK)
        scores.append(blocks.sum((2, 4)).reshape(-1))
    return np.stack(scores)


def pick_start(
    space: LawSpace, candidates: np.ndarray, windows: Windows, *, substeps: int
) -> tuple[np.ndarray, float]:
    """The candidate θ (rows of [k, p]) whose windows fit best, and its cost as a share of "nothing moves"."""
    costs = [misfit_cost(space, theta, windows, substeps) for theta in candidates]
    best = int(np.argmin(costs))
    return candidates[best], costs[best] / max(still(windows), 1e-30)


def explained(space: LawSpace, theta: np.ndarray, windows: Windows, *, substeps: int) -> float:
    """1 − |prediction − frames|² / |start − frames|²: what the law adds to "nothing moves"."""
    return 1.0 - misfit_cost(space, theta, windows, substeps) / max(still(windows), 1e-30)


def descend_windows(
    space: LawSpace,
    prior: LawPrior,
    windows: Windows,
    *,
    substeps: int,
    iterations: int,
    tolerance: float,
    free: np.ndarray | None = None,
    begin: np.ndarray | None = None,
    resolution: float = 0.0,
    progress: Callable[[int, int, float], None] | None = None,
) -> Minimum:
    """Maximum a-posteriori θ of the windows.

    Args:
        prior: of θ.
        free: which numbers of θ move; None for all.
        begin: where to start, the prior's centre by default.
        resolution: decrease of the cost that is not worth a step, where the weights are in units of the noise.
    """
    dtype = windows.frames.dtype
    start, sd = prior

    def cost(theta: np.ndarray) -> float:
        pull = (theta - start) / sd
        return misfit_cost(space, theta, windows, substeps) + 0.5 * float(np.sum(pull**2))

    def normal(theta: np.ndarray) -> Normal:
        found = normal_equations(*linearise(space, theta, windows, substeps=substeps))
        return freeze(with_prior(found, theta, start, sd), free)

    def move(theta: np.ndarray, step: np.ndarray) -> np.ndarray:
        moved = space.move(theta, step)
        return moved if free is None else np.where(free, moved, theta)

    used = max(int(np.sum(np.asarray(windows.weights) > 0)) - space.size, 1)
    return descend(
        normal,
        cost,
        move,
        start if begin is None else begin,
        iterations=iterations,
        tolerance=tolerance,
        resolution=resolution,
        # 0.02 in units of the misfit per datum as found: 0.2 posterior standard deviations.
        precision=max(float(jnp.finfo(dtype).eps), 0.04 / used),
        progress=progress,
    )


def linearise(
    space: LawSpace, theta: np.ndarray, windows: Windows, *, substeps: int
) -> tuple[np.ndarray, np.ndarray]:
    """√w (prediction − frames) [w, m, y, x] at θ and its Jacobian [p, ...]."""
    found = _jacobian(space, jnp.asarray(theta, windows.frames.dtype), windows, substeps)
    return np.asarray(found[0]), np.asarray(found[1])


def fit_windows(
    space: LawSpace,
    prior: LawPrior,
    windows: Windows,
    *,
    substeps: int,
    iterations: int,
    tolerance: float,
    evidence: bool = True,
    begin: np.ndarray | None = None,
    excess: float = 1.0,
    progress: Callable[[int, int, float], None] | None = None,
) -> WindowFit:
    """Maximum a-posteriori θ of the windows and its covariance.

    The covariance is the block-robust sandwich H⁻¹ (Σ_b s_b s_bᵀ) H⁻¹: residuals of a movie's own start
    frames are correlated over neighbouring pixels and frames, which H⁻¹ alone would ignore
    (White, Econometrica 48, 817 (1980); Cameron & Miller, J. Hum. Resour. 50, 317 (2015)). So many times as they
    are correlated the weights are too large, and are divided by it before the evidence chooses the prior's strength.

    Args:
        space, windows, substeps, iterations, tolerance, begin, progress: see `descend_windows`.
        prior: the weakest.
        evidence: whether it is strengthened as the evidence says.
        excess: what is known of that factor.
    """

    def fitted(windows: Windows, begin: np.ndarray | None, resolution: float) -> Minimum:
        return descend_windows(
            space,
            prior,
            windows,
            substeps=substeps,
            iterations=iterations,
            tolerance=tolerance,
            begin=begin,
            resolution=resolution,
            progress=progress,
        )

    stated, windows = windows, _divided(windows, excess)
    minimum = fitted(windows, begin, 0.0 if begin is None else RESOLUTION)
    used = max(int(np.sum(np.asarray(windows.weights) > 0)) - space.size, 1)
    for round_ in range(ROUNDS if evidence else 0):
        residual, rows = linearise(space, minimum.point, windows, substeps=substeps)
        data = normal_equations(residual, rows)
        if not (np.isfinite(minimum.cost) and np.isfinite(data.hessian).all()):
            break
        if round_ == 0:
            more = _excess(space, prior, windows, data, _scores(residual, rows), minimum)
            # Residuals below the stated noise do not make it smaller.
            more = max(more, 1 / excess)
            excess *= more
            windows = _divided(stated, excess)
            data = Normal(data.cost / more, data.gradient / more, data.hessian / more)
        stronger = strengthen(space, prior, data, minimum.point)
        before, now = (list(strength(space, p).values()) for p in (prior, stronger))
        prior = stronger
        found = fitted(windows, minimum.point, RESOLUTION)
        minimum = found._replace(history=(*minimum.history, *found.history))
        if np.allclose(before, now, rtol=SETTLED - 1):
            break
    chi2 = 2 * misfit_cost(space, minimum.point, stated, substeps) / used
    sd = prior.sd
    residual, rows = linearise(space, minimum.point, windows, substeps=substeps)
    data = normal_equations(residual, rows)
    normal = with_prior(data, minimum.point, *prior)
    if not np.isfinite(normal.hessian).all():
        unknown = np.full((space.size, space.size), np.nan)
        return WindowFit(
            minimum, unknown, data, normal, prior, windows, excess, chi2, np.nan, np.nan
        )
    bread = np.linalg.pinv(normal.hessian)
    scores = _scores(residual, rows)
    if (blocks := _blocks(scores)) > 2 * space.size:
        meat = scores @ scores.T * blocks / (blocks - space.size) + np.diag(1 / sd**2)
        covariance = bread @ meat @ bread
    else:
        covariance = bread * max(1.0, 2 * minimum.cost / used)
    finer = _misfit(space, jnp.asarray(minimum.point, windows.frames.dtype), windows, 2 * substeps)
    moved = (np.asarray(finer, float) - residual).reshape(-1)
    share = float(np.sqrt(np.sum(moved**2) / max(np.sum(residual.astype(float) ** 2), 1e-30)))
    change = rows.astype(float) @ moved
    bias = float(np.sqrt(max(change @ bread @ change, 0.0)))
    return WindowFit(minimum, covariance, data, normal, prior, windows, excess, chi2, bias, share)


def _divided(windows: Windows, excess: float) -> Windows:
    weights = windows.weights / jnp.asarray(excess, windows.frames.dtype)
    return eqx.tree_at(lambda w: w.weights, windows, weights)


def _blocks(scores: np.ndarray) -> int:
    """How many blocks have pixels that count."""
    return int(np.sum(np.any(scores != 0, axis=0)))


def _excess(
    space: LawSpace,
    prior: LawPrior,
    windows: Windows,
    data: Normal,
    scores: np.ndarray,
    minimum: Minimum,
) -> float:
    """How many times the gradient's variance, by its spread over blocks, is what white residuals of unit variance would give."""
    if _blocks(scores) <= 2 * space.size:
        used = max(int(np.sum(np.asarray(windows.weights) > 0)) - space.size, 1)
        return 2 * minimum.cost / used
    inverse = np.linalg.inv(data.hessian + np.diag(prior.sd**-2.0))
    found = np.trace(inverse @ scores @ scores.T) / np.trace(inverse @ data.hessian)
    return float(found)
