"""Damped Gauss-Newton (Levenberg-Marquardt) on dense normal equations, and the intervals they give.

Least squares ½|r(x)|² + ½|(x − x₀)/s|² is minimised with the step (H + λD) δ = −g, H = JᵀJ + prior. x is a law's
dozen parameters, or those and the few hundred coefficients of an initial field; JᵀJ comes from forward mode in
batches whose tangents share one primal solve. At the optimum H⁻¹ is the covariance of x (Laplace approximation;
Rasmussen & Williams 2006, section 3.4), and its block for the law has the field marginalised.
Nocedal & Wright, Numerical Optimization, 2006, ch. 10.

Written here rather than taken from a library because a diverged solve must be an ordinary rejected step, and a
rejected step must cost one solve and not a new Jacobian.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# Tangents pushed through the solver at once.
BATCH = 16


class Normal(NamedTuple):
    """Cost ½|r|², gradient [p] and Gauss-Newton matrix [p, p] with respect to θ."""

    cost: Array | np.ndarray | np.floating
    gradient: Array | np.ndarray | np.floating
    hessian: Array | np.ndarray | np.floating


class Minimum(NamedTuple):
    """Where an optimisation ended: the point, its cost, whether it converged, and costs on the way."""

    point: Any
    cost: float
    converged: bool
    message: str
    history: tuple[float, ...]


def jacobian(
    residual: Callable[[Array], Array], x: Float[Array, " p"]
) -> tuple[Array, Float[Array, "p n"]]:
    """Residual and its Jacobian, a row per parameter, by forward mode in batches."""
    push = jax.vmap(lambda v: jax.jvp(residual, (x,), (v,)), out_axes=(None, 0))
    eye = jnp.eye(x.shape[0], dtype=x.dtype)
    if x.shape[0] <= BATCH:
        value, columns = push(eye)
        return value, columns.reshape(x.shape[0], -1)
    padded = jnp.pad(eye, ((0, -x.shape[0] % BATCH), (0, 0)))
    value, columns = jax.lax.map(push, padded.reshape(-1, BATCH, x.shape[0]))
    return value[0], columns.reshape(padded.shape[0], -1)[: x.shape[0]]


def normal_equations(residual: Callable[[Array], Array], x: Float[Array, " p"]) -> Normal:
    """Cost, gradient and JᵀJ of `residual(x)`."""
    value, rows = jacobian(residual, x)
    return Normal(0.5 * jnp.sum(value**2), rows @ value.reshape(-1), rows @ rows.T)


def with_prior(normal: Normal, theta: np.ndarray, start: np.ndarray, sd: np.ndarray) -> Normal:
    """The same with the Gaussian prior of θ added."""
    pull = (theta - start) / sd
    cost, gradient, hessian = (np.asarray(a, float) for a in normal)
    return Normal(
        cost + 0.5 * np.sum(pull**2),
        gradient + pull / sd,
        hessian + np.diag(1.0 / sd**2),
    )


def descend(
    solve: Callable[[Any, float], tuple[Any, float, float]],
    cost: Callable[[Any], float],
    point: Any,
    *,
    iterations: int,
    tolerance: float = 1e-4,
    resolution: float = 0.0,
    damping: float = 1e-3,
    progress: Callable[[int, int, float], None] | None = None,
) -> Minimum:
    """Levenberg-Marquardt's outer loop, for any way of solving the damped equations.

    Args:
        solve: (point, damping) -> (trial point, cost at point, promised decrease of the quadratic model).
        cost: point -> cost, inf or nan where the solve diverged.
        point: where to start.
        iterations: at most so many accepted or rejected steps.
        tolerance: stop when the relative decrease of an accepted step falls below it.
        resolution: stop when the quadratic model promises less than this; for a likelihood, 0.05 is a
            tenth of what one standard deviation of one parameter changes.
        progress: called with (iteration, iterations, cost).
    """
    current = cost(point)
    history = [current]
    idle = 0
    if not np.isfinite(current):
        return Minimum(point, current, False, "the starting law diverges", tuple(history))
    for iteration in range(1, iterations + 1):
        trial, _, promised = solve(point, damping)
        if promised < resolution and damping < 1.0:
            return Minimum(point, current, True, "converged", tuple(history))
        value = cost(trial)
        gain = (current - value) / promised if promised > 0 else -1.0
        if np.isfinite(value) and value < current:
            small = (current - value) <= tolerance * abs(current)
            point, current = trial, value
            damping = damping * (0.2 if gain > 0.5 else 1.0 if gain > 0.1 else 4.0)
            history.append(current)
            if progress:
                progress(iteration, iterations, current)
            # One tiny decrease under heavy damping may be a small step; several are a minimum.
            idle = idle + 1 if small else 0
            if small and (damping < 1.0 or idle >= 3):
                return Minimum(point, current, True, "converged", tuple(history))
        else:
            # A promise below round-off of the cost cannot be kept: this is the minimum.
            if promised <= 1e-6 * abs(current) or damping > 1e8:
                return Minimum(point, current, True, "converged", tuple(history))
            damping = max(damping, 1e-4) * 8.0
            if progress:
                progress(iteration, iterations, current)
    return Minimum(point, current, False, f"stopped after {iterations} iterations", tuple(history))


def dense_step(
    normal: Normal, damping: float, metric: np.ndarray | None = None
) -> tuple[np.ndarray, float]:
    """Step of x from the damped normal equations, and the decrease they promise.

    Args:
        normal: with its prior.
        damping: λ.
        metric: diagonal D; by default Marquardt's, that of H. Where parameters trade off, that freezes
            combinations the data hardly feel though they feel each part: give the prior's precision.
    """
    hessian = np.asarray(normal.hessian, float)
    gradient = np.asarray(normal.gradient, float)
    diagonal = np.diag(hessian) + 1e-12 if metric is None else metric
    step = -np.linalg.solve(hessian + damping * np.diag(diagonal), gradient)
    return step, float(-gradient @ step - 0.5 * step @ hessian @ step)
