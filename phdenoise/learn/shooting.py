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
    descend,
    freeze,
    half_square,
    jacobian,
    normal_equations,
    with_prior,
)
from phdenoise.learn.laws import LawPrior, LawSpace
from phdenoise.learn.objective import predict, squash


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
def weighted_misfit(space: LawSpace, theta: Array, windows: Windows, substeps: int) -> Array:
    """`window_residual`, compiled."""
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
    value = half_square(weighted_misfit(space, point, windows, substeps))
    # An unstable solve may stay finite for a few frames; no law is that wrong.
    return value if value < 2e3 * still(windows) + 1.0 else np.inf


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
    equations: Callable[[np.ndarray], Normal] | None = None,
    progress: Callable[[int, int, float], None] | None = None,
) -> Minimum:
    """Maximum a-posteriori θ of the windows.

    Args:
        prior: of θ.
        free: which numbers of θ move; None for all.
        begin: where to start, the prior's centre by default.
        resolution: decrease of the cost that is not worth a step, where the weights are in units of the noise.
        equations: θ -> normal equations of the data alone, by one that remembers the last.
    """
    dtype = windows.frames.dtype
    start, sd = prior

    def cost(theta: np.ndarray) -> float:
        pull = (theta - start) / sd
        return misfit_cost(space, theta, windows, substeps) + 0.5 * float(np.sum(pull**2))

    def normal(theta: np.ndarray) -> Normal:
        if equations is None:
            found = normal_equations(*linearise(space, theta, windows, substeps=substeps))
        else:
            found = equations(theta)
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
