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
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.types import Steps

# Tangents pushed through the solver at once.
BATCH = 16
# Residuals summed at once in double precision.
CHUNK = 16384
# Steps that together lower the cost by less than what is worth a step: a curved valley promises more than it gives.
STALLED = 5


class Normal(NamedTuple):
    """Cost ½|r|², gradient [p] and Gauss-Newton matrix [p, p] with respect to θ."""

    cost: float
    gradient: Float[np.ndarray, " p"]
    hessian: Float[np.ndarray, "p p"]


class Minimum(NamedTuple):
    """Where an optimisation ended: the point, its cost, whether it converged, and costs on the way."""

    point: np.ndarray
    cost: float
    converged: bool
    message: str
    history: tuple[float, ...]

    @classmethod
    def start(cls, point: np.ndarray) -> "Minimum":
        """A point from which nothing was descended yet."""
        return cls(point, np.inf, False, "not begun", ())

    def after(self, earlier: "Minimum") -> "Minimum":
        """The same with the costs on the way to an earlier one before its own."""
        return self._replace(history=(*earlier.history, *self.history))


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


def normal_equations(residual: Array | np.ndarray, rows: Array | np.ndarray) -> Normal:
    """Cost, gradient and JᵀJ of a residual and its `jacobian`, summed in double precision.

    The parameters of a law trade off over many orders of magnitude: sums in single precision would bury the
    directions that the data hardly feel, and with them the prior.
    """
    value = np.asarray(residual).reshape(-1)
    rows = np.asarray(rows)
    cost, gradient = 0.0, np.zeros(rows.shape[0])
    hessian = np.zeros((rows.shape[0],) * 2)
    # Of a solve that diverged they are not finite, and are asked for that.
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, value.size, CHUNK):
            r, j = (a[..., start : start + CHUNK].astype(float) for a in (value, rows))
            cost += 0.5 * float(r @ r)
            gradient += j @ r
            hessian += j @ j.T
    return Normal(cost, gradient, hessian)


def half_square(residual: Array | np.ndarray) -> float:
    """½|r|² summed in double precision, inf where r is not finite or a diverged solve overflows it."""
    with np.errstate(over="ignore", invalid="ignore"):
        value = 0.5 * float(np.sum(np.asarray(residual, float) ** 2))
    return value if np.isfinite(value) else np.inf


def with_prior(normal: Normal, theta: np.ndarray, start: np.ndarray, sd: np.ndarray) -> Normal:
    """The same with the Gaussian prior of θ added."""
    pull = (theta - start) / sd
    return Normal(
        normal.cost + 0.5 * float(np.sum(pull**2)),
        normal.gradient + pull / sd,
        normal.hessian + np.diag(1.0 / sd**2),
    )


def away(normal: Normal) -> float:
    """How far an undamped step would go, in posterior standard deviations: √(gᵀH⁻¹g); nan where it is not finite."""
    if not (np.isfinite(normal.hessian).all() and np.isfinite(normal.gradient).all()):
        return float("nan")
    _, promised = dense_step(normal, 0.0)
    return float(np.sqrt(max(2 * promised, 0.0)))


def inverse(hessian: np.ndarray) -> np.ndarray:
    """H⁻¹ of a symmetric H that is positive definite but for rounding [p, p], positive definite itself; nan where H is not finite.

    A law far off can be felt 10¹⁶ times as much along one direction as along another; rounding then makes H singular.
    """
    if not np.isfinite(hessian).all():
        return np.full(hessian.shape, np.nan)
    root = np.sqrt(np.diag(hessian))
    values, vectors = np.linalg.eigh(0.5 * (hessian + hessian.T) / np.outer(root, root))
    vectors /= root[:, None]
    return (vectors / np.maximum(values, np.finfo(float).eps * values[-1])) @ vectors.T


def freeze(normal: Normal, free: np.ndarray | None) -> Normal:
    """The same with the numbers that are not `free` held where they are: their step is zero."""
    if free is None or free.all():
        return normal
    both = free[:, None] & free[None]
    hessian = np.where(both, normal.hessian, np.diag(np.ones(free.size)))
    return Normal(normal.cost, np.where(free, normal.gradient, 0.0), hessian)


def descend(
    normal: Callable[[np.ndarray], Normal],
    cost: Callable[[np.ndarray], float],
    move: Callable[[np.ndarray, np.ndarray], np.ndarray],
    x: np.ndarray,
    *,
    iterations: int,
    tolerance: float = 1e-4,
    resolution: float = 0.0,
    precision: float = 1e-6,
    damping: float = 1e-3,
    metric: np.ndarray | None = None,
    progress: Steps | None = None,
) -> Minimum:
    """Levenberg-Marquardt from x.

    Args:
        normal: x -> normal equations with the prior in them.
        cost: x -> cost, inf or nan where the solve diverged.
        move: (x, step) -> x after the step; x + step to first order.
        x: where to start [p].
        iterations: at most so many Jacobians; a rejected step costs one solve and is not counted.
        tolerance: stop when the relative decrease of an accepted step falls below it.
        resolution: stop when an undamped step would lower the cost by less than this, or the last few steps did. That
            is half the square of the step in posterior standard deviations: at 0.02 no number is off by more than 0.2 sd.
        precision: relative change of the cost that is round-off, or does not matter.
        damping: λ to begin with.
        metric: see `dense_step`.
        progress: called with (iteration, iterations, cost).
    """
    current = cost(x)
    history = [current]
    if not np.isfinite(current):
        return Minimum(x, current, False, "the starting law diverges", tuple(history))
    idle = 0
    for iteration in range(1, iterations + 1):
        here = normal(x)
        if not (np.isfinite(here.gradient).all() and np.isfinite(here.hessian).all()):
            message = "stopped where the solve's derivative diverges"
            return Minimum(x, current, False, message, tuple(history))
        floor = precision * abs(current)
        _, newton = dense_step(here, 0.0)
        if newton <= max(resolution, floor):
            return Minimum(x, current, True, "converged", tuple(history))
        while True:
            step, promised = dense_step(here, damping, metric)
            trial = move(x, step)
            value = cost(trial)
            if np.isfinite(value) and value < current:
                break
            if promised <= floor:
                found = newton <= tolerance * abs(current)
                message = "converged" if found else "stopped where no step lowers the cost"
                return Minimum(x, current, found, message, tuple(history))
            damping = max(damping, 1e-4) * 8.0
        gain, small = (current - value) / promised, current - value <= tolerance * abs(current)
        damping *= 0.2 if gain > 0.5 else 1.0 if gain > 0.1 else 4.0
        x, current = trial, value
        history.append(current)
        if progress:
            progress(iteration, iterations, current)
        # One tiny decrease under heavy damping may be a small step; several are a minimum.
        idle = idle + 1 if small else 0
        stalled = len(history) > STALLED and history[-1 - STALLED] - current < resolution
        if stalled or (small and (damping < 1.0 or idle >= 3)):
            return Minimum(x, current, True, "converged", tuple(history))
    return Minimum(x, current, False, f"stopped after {iterations} iterations", tuple(history))


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
    hessian, gradient = normal.hessian, normal.gradient
    diagonal = np.diag(hessian) + 1e-12 if metric is None else metric
    damped = hessian + damping * np.diag(diagonal)
    try:
        step = -np.linalg.solve(damped, gradient)
    except np.linalg.LinAlgError:
        step = -inverse(damped) @ gradient
    return step, float(-gradient @ step - 0.5 * step @ hessian @ step)
