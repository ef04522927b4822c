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
from phdenoise.learn.laws import LawSpace
from phdenoise.learn.objective import predict, squash

BLOCK = 16


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
    """Optimum of `fit_windows`, covariance of θ, and normal equations there, of the data and with the prior."""

    minimum: Minimum
    covariance: np.ndarray
    data: Normal
    normal: Normal


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
    start: np.ndarray,
    windows: Windows,
    *,
    substeps: int,
    iterations: int,
    tolerance: float,
    free: np.ndarray | None = None,
    begin: np.ndarray | None = None,
    progress: Callable[[int, int, float], None] | None = None,
) -> Minimum:
    """Maximum a-posteriori θ of the windows.

    Args:
        start: centre of the prior [p].
        free: which numbers of θ move; None for all.
        begin: where to start, the prior's centre by default.
    """
    dtype = windows.frames.dtype
    sd = space.prior_sd()

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
    start: np.ndarray,
    windows: Windows,
    *,
    substeps: int,
    iterations: int,
    tolerance: float,
    progress: Callable[[int, int, float], None] | None = None,
) -> WindowFit:
    """Maximum a-posteriori θ of the windows and its covariance.

    The covariance is the block-robust sandwich H⁻¹ (Σ_b s_b s_bᵀ) H⁻¹: residuals of a movie's own start
    frames are correlated over neighbouring pixels and frames, which H⁻¹ alone would ignore
    (White, Econometrica 48, 817 (1980); Cameron & Miller, J. Hum. Resour. 50, 317 (2015)).
    """
    sd = space.prior_sd()
    minimum = descend_windows(
        space,
        start,
        windows,
        substeps=substeps,
        iterations=iterations,
        tolerance=tolerance,
        progress=progress,
    )
    used = max(int(np.sum(np.asarray(windows.weights) > 0)) - space.size, 1)
    residual, rows = linearise(space, minimum.point, windows, substeps=substeps)
    data = normal_equations(residual, rows)
    normal = with_prior(data, minimum.point, start, sd)
    if not np.isfinite(normal.hessian).all():
        return WindowFit(minimum, np.full((space.size, space.size), np.nan), data, normal)
    bread = np.linalg.pinv(normal.hessian)
    scores = _scores(residual, rows)
    blocks = int(np.sum(np.any(scores != 0, axis=0)))
    if blocks > 2 * space.size:
        meat = scores @ scores.T * blocks / (blocks - space.size) + np.diag(1 / sd**2)
        return WindowFit(minimum, bread @ meat @ bread, data, normal)
    return WindowFit(minimum, bread * max(1.0, 2 * minimum.cost / used), data, normal)
