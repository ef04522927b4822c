"""Fitting a law to a movie taken at face value: multiple shooting from the movie's own frames.

The movie is cut into windows; each starts from its first frame as it stands and is compared with the
frames that follow. Right for clean movies. Noise in the starting frames enters the solve and biases the
law, which is why the joint fit (`phdenoise.learn.joint`) estimates the initial field instead.
"""

from collections.abc import Callable
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.grid import Grid
from phdenoise.learn.gauss_newton import (
    Minimum,
    Normal,
    dense_step,
    descend,
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
        times: [1 + length] in frame intervals.
        grid: spacing in pixels.
    """

    frames: Float[Array, "w n y x"]
    weights: Float[Array, "w m y x"]
    times: Float[Array, " n"]
    grid: Grid


def cut_windows(
    frames: np.ndarray, weights: np.ndarray, grid: Grid, *, windows: int, length: int
) -> Windows:
    """Windows of 1 + length frames, spread evenly over the movie [t, y, x]."""
    length = min(length, frames.shape[0] - 1)
    last = frames.shape[0] - 1 - length
    starts = np.unique(np.linspace(0, last, min(windows, last + 1)).round().astype(int))
    take = starts[:, None] + np.arange(length + 1)
    return Windows(
        frames=jnp.asarray(frames[take]),
        weights=jnp.asarray(weights[take[:, 1:]]),
        times=jnp.arange(length + 1, dtype=frames.dtype),
        grid=grid,
    )


def window_residual(
    space: LawSpace, theta: Float[Array, " p"], windows: Windows, *, substeps: int
) -> Float[Array, "w m y x"]:
    """√w (prediction − frames) of every window."""

    def shoot(start: Array) -> Array:
        return predict(
            space,
            theta,
            squash(start),
            windows.times,
            windows.grid,
            substeps=substeps,
            checkpoint=False,
        )[1:]

    frames = jax.vmap(shoot)(windows.frames[:, 0])
    return jnp.sqrt(windows.weights) * (frames - windows.frames[:, 1:])


@partial(jax.jit, static_argnames=("space", "substeps"))
def _normal(space: LawSpace, theta: Array, windows: Windows, substeps: int) -> Normal:
    return normal_equations(
        lambda th: window_residual(space, th, windows, substeps=substeps), theta
    )


@partial(jax.jit, static_argnames=("space", "substeps"))
def _costs(space: LawSpace, thetas: Array, windows: Windows, substeps: int) -> Array:
    def cost(theta: Array) -> Array:
        return 0.5 * jnp.sum(window_residual(space, theta, windows, substeps=substeps) ** 2)

    # An unstable solve may stay finite for a few frames; no law is that wrong.
    still = jnp.sum(windows.weights * (windows.frames[:, :1] - windows.frames[:, 1:]) ** 2)
    costs = jax.lax.map(cost, thetas)
    return jnp.where(costs < 1e3 * still + 1.0, costs, jnp.inf)


@partial(jax.jit, static_argnames=("space", "substeps"))
def _scores(space: LawSpace, theta: Array, windows: Windows, substeps: int) -> Array:
    """Gradient of the cost, block by block: [p, blocks] with blocks of BLOCK × BLOCK pixels."""
    residual, push = jax.linearize(
        lambda th: window_residual(space, th, windows, substeps=substeps), theta
    )

    def blocks(tangent: Array) -> Array:
        score = jnp.sum(push(tangent) * residual, axis=1)
        ny, nx = score.shape[-2:]
        pad = ((0, 0), (0, -ny % BLOCK), (0, -nx % BLOCK))
        score = jnp.pad(score, pad)
        w, py, px = score.shape
        return score.reshape(w, py // BLOCK, BLOCK, px // BLOCK, BLOCK).sum((2, 4)).reshape(-1)

    return jax.lax.map(blocks, jnp.eye(theta.size, dtype=theta.dtype))


def pick_start(
    space: LawSpace, candidates: np.ndarray, windows: Windows, *, substeps: int
) -> tuple[np.ndarray, float]:
    """The candidate θ (rows of [k, p]) whose windows fit best, and its cost (inf if all diverge)."""
    dtype = windows.frames.dtype
    costs = np.asarray(_costs(space, jnp.asarray(candidates, dtype), windows, substeps), float)
    costs = np.where(np.isfinite(costs), costs, np.inf)
    best = int(np.argmin(costs))
    return candidates[best], float(costs[best])


def fit_windows(
    space: LawSpace,
    start: np.ndarray,
    windows: Windows,
    *,
    substeps: int,
    iterations: int,
    tolerance: float,
    progress: Callable[[int, int, float], None] | None = None,
) -> tuple[Minimum, np.ndarray]:
    """Maximum a-posteriori θ of the windows and its covariance.

    The covariance is the block-robust sandwich H⁻¹ (Σ_b s_b s_bᵀ) H⁻¹: residuals of a movie's own start
    frames are correlated over neighbouring pixels and frames, which H⁻¹ alone would ignore
    (White, Econometrica 48, 817 (1980); Cameron & Miller, J. Hum. Resour. 50, 317 (2015)).
    """
    dtype = windows.frames.dtype
    sd = space.prior_sd()

    def normal(theta: np.ndarray) -> Normal:
        return with_prior(
            jax.tree.map(
                lambda a: np.asarray(a, float),
                _normal(space, jnp.asarray(theta, dtype), windows, substeps),
            ),
            theta,
            start,
            sd,
        )

    def solve(theta: np.ndarray, damping: float) -> tuple[np.ndarray, float, float]:
        here = normal(theta) if not _same(cache, theta) else cache["normal"]
        cache.update(theta=theta, normal=here)
        step, promised = dense_step(here, damping)
        return theta + step, float(here.cost), promised

    def cost(theta: np.ndarray) -> float:
        value = float(_costs(space, jnp.asarray(theta[None], dtype), windows, substeps)[0])
        return value + 0.5 * float(np.sum(((theta - start) / sd) ** 2))

    cache: dict = {}
    minimum = descend(
        solve, cost, start, iterations=iterations, tolerance=tolerance, progress=progress
    )
    bread = np.linalg.pinv(np.asarray(normal(minimum.point).hessian))
    scores = np.asarray(_scores(space, jnp.asarray(minimum.point, dtype), windows, substeps), float)
    blocks = int(np.sum(np.any(scores != 0, axis=0)))
    if blocks > 2 * space.size:
        meat = scores @ scores.T * blocks / (blocks - space.size) + np.diag(1 / sd**2)
        return minimum, bread @ meat @ bread
    used = max(int(np.sum(np.asarray(windows.weights) > 0)) - space.size, 1)
    return minimum, bread * max(1.0, 2 * minimum.cost / used)


def _same(cache: dict, theta: np.ndarray) -> bool:
    return "theta" in cache and np.array_equal(cache["theta"], theta)
