"""Damped Gauss-Newton (Levenberg-Marquardt) on dense normal equations, and the intervals they give.

Least squares ½|r(x)|² + ½|(x − x₀)/s|² is minimised with the step (H + λD) δ = −g, H = JᵀJ + prior. x is a law's
dozen parameters, or those and the few hundred coefficients of an initial field; JᵀJ comes from forward mode in
batches whose tangents share one primal solve. Where a gradient by reverse mode is far cheaper, it corrects JᵀJ from step to
step. At the optimum H⁻¹ is the covariance of x (Laplace approximation;
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

# Tangents pushed through the solver at once: they share one primal solve. Chosen for memory; results do not
# depend on it.
TANGENT_BATCH = 16
# Residuals summed at once in double precision: their rows take a few MB.
RESIDUAL_CHUNK = 16384
# Steps in a row that together lower the cost by less than what is worth a step and so end the descent: a curved valley promises
# more than it gives.
STALLED_STEPS = 5
# Steps in a row from one Gauss-Newton matrix and its updates at most: an update corrects one direction, and what the solve has
# become along the others is not known.
STEPS_OF_A_MATRIX = 20
# Share of the curvature that an update leaves along a step at least (Powell's damping; Nocedal & Wright 2006, procedure 18.2).
LEAST_CURVATURE = 0.2


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


class Stopping(NamedTuple):
    """When a descent stops.

    Attributes:
        iterations: at most so many Jacobians; a rejected step costs one solve and is not counted.
        tolerance: relative decrease of an accepted step below which it stops.
        resolution: decrease of the cost below which it stops, promised by an undamped step or had by the last few. That is
            half the square of the step in posterior standard deviations: at 0.02 no number is off by more than 0.2 sd.
        precision: relative change of the cost that is round-off, or does not matter.
    """

    iterations: int
    tolerance: float = 1e-4
    resolution: float = 0.0
    precision: float = 1e-6


def jacobian(
    residual: Callable[[Array], Array], x: Float[Array, " p"]
) -> tuple[Array, Float[Array, "p n"]]:
    """Residual and its Jacobian, a row per parameter, by forward mode in batches.

    Args:
        residual: x -> residual of any shape.
        x: where to differentiate [p].

    Returns:
        The residual, and its derivative [p, n].
    """
    push = jax.vmap(lambda v: jax.jvp(residual, (x,), (v,)), out_axes=(None, 0))
    eye = jnp.eye(x.shape[0], dtype=x.dtype)
    if x.shape[0] <= TANGENT_BATCH:
        value, columns = push(eye)
        return value, columns.reshape(x.shape[0], -1)
    padded = jnp.pad(eye, ((0, -x.shape[0] % TANGENT_BATCH), (0, 0)))
    value, columns = jax.lax.map(push, padded.reshape(-1, TANGENT_BATCH, x.shape[0]))
    return value[0], columns.reshape(padded.shape[0], -1)[: x.shape[0]]


def normal_equations(residual: Array | np.ndarray, rows: Array | np.ndarray) -> Normal:
    """Cost, gradient and JᵀJ of a residual and its `jacobian`, summed in double precision.

    The parameters of a law trade off over many orders of magnitude: sums in single precision would bury the
    directions that the data hardly feel, and with them the prior.

    Args:
        residual: of any shape with n values.
        rows: derivative by each parameter [p, n].

    Returns:
        Cost, gradient and Gauss-Newton matrix.
    """
    value = np.asarray(residual).reshape(-1)
    rows = np.asarray(rows)
    cost, gradient = 0.0, np.zeros(rows.shape[0])
    hessian = np.zeros((rows.shape[0],) * 2)
    # Of a solve that diverged they are not finite, and are asked for that.
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, value.size, RESIDUAL_CHUNK):
            r, j = (a[..., start : start + RESIDUAL_CHUNK].astype(float) for a in (value, rows))
            cost += 0.5 * float(r @ r)
            gradient += j @ r
            hessian += j @ j.T
    return Normal(cost, gradient, hessian)


def gradient(residual: Array | np.ndarray, rows: Array | np.ndarray) -> Float[np.ndarray, " p"]:
    """Gradient of ½|residual|², summed in double precision; see `normal_equations`.

    Args:
        residual: of any shape with n values.
        rows: derivative by each parameter [p, n].

    Returns:
        Σ rows · residual [p].
    """
    value, rows = np.asarray(residual).reshape(-1), np.asarray(rows)
    parts = (slice(k, k + RESIDUAL_CHUNK) for k in range(0, value.size, RESIDUAL_CHUNK))
    found = np.zeros(rows.shape[0])
    for part in parts:
        found += rows[:, part].astype(float) @ value[part].astype(float)
    return found


def half_square(residual: Array | np.ndarray) -> float:
    """½|r|² summed in double precision, inf where r is not finite or a diverged solve overflows it."""
    with np.errstate(over="ignore", invalid="ignore"):
        value = 0.5 * float(np.sum(np.asarray(residual, float) ** 2))
    return value if np.isfinite(value) else np.inf


def with_prior(normal: Normal, theta: np.ndarray, start: np.ndarray, sd: np.ndarray) -> Normal:
    """The same with the Gaussian prior of θ added.

    Args:
        normal: of the data.
        theta: where the normal equations were taken [p].
        start: prior's centre [p].
        sd: prior's standard deviations [p].

    Returns:
        The sum.
    """
    pull = (theta - start) / sd
    return Normal(
        normal.cost + 0.5 * float(np.sum(pull**2)),
        normal.gradient + pull / sd,
        normal.hessian + np.diag(1.0 / sd**2),
    )


def newton_decrement(normal: Normal) -> float:
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
    """The same with the numbers that are not `free` held where they are: their step is zero.

    Args:
        normal: of all numbers.
        free: which numbers move [p]; None for all.

    Returns:
        Normal equations whose step leaves the others where they are.
    """
    if free is None or free.all():
        return normal
    both = free[:, None] & free[None]
    hessian = np.where(both, normal.hessian, np.diag(np.ones(free.size)))
    return Normal(normal.cost, np.where(free, normal.gradient, 0.0), hessian)


class Objective(NamedTuple):
    """What a descent lowers.

    Attributes:
        normal: x -> normal equations with the prior in them.
        cost: x -> cost, inf or nan where the solve diverged.
        slope: x -> gradient of the cost [p], where that is far cheaper than `normal`; None where it is not.
    """

    normal: Callable[[np.ndarray], Normal]
    cost: Callable[[np.ndarray], float]
    slope: Callable[[np.ndarray], np.ndarray] | None = None


class _Trial(NamedTuple):
    """A step: where it ends, the cost there, the decrease promised, and the damping it took."""

    x: np.ndarray
    cost: float
    promised: float
    damping: float


def descend(
    objective: Objective,
    move: Callable[[np.ndarray, np.ndarray], np.ndarray],
    x: np.ndarray,
    stop: Stopping,
    *,
    damping: float = 1e-3,
    metric: np.ndarray | None = None,
    progress: Steps | None = None,
) -> Minimum:
    """Levenberg-Marquardt from x.

    With a `slope`, a Gauss-Newton matrix serves many steps: each updates it by what the gradient changed along the step (BFGS), so
    that it also learns the curvature that Gauss-Newton leaves out. A descent ends on a matrix of its own, not on an updated one,
    which may promise too little.

    Args:
        objective: what is lowered.
        move: (x, step) -> x after the step; x + step to first order.
        x: where to start [p].
        stop: when to stop.
        damping: λ to begin with.
        metric: see `dense_step`.
        progress: called with (iteration, iterations, cost).

    Returns:
        Where the descent ended, and why.
    """
    iterations, tolerance, resolution, precision = stop
    current = objective.cost(x)
    history = [current]
    if not np.isfinite(current):
        return Minimum(x, current, False, "the starting law diverges", tuple(history))
    idle = matrices = steps = 0
    here: Normal | None = None
    while here is not None or matrices < iterations:
        if here is None:
            here, steps, matrices = objective.normal(x), 0, matrices + 1
        if not (np.isfinite(here.gradient).all() and np.isfinite(here.hessian).all()):
            message = "stopped where the solve's derivative diverges"
            return Minimum(x, current, False, message, tuple(history))
        last, floor = matrices == iterations, precision * abs(current)
        _, newton = dense_step(here, 0.0)
        ended = newton <= max(resolution, floor)
        if ended and (last or not steps):
            return Minimum(x, current, True, "converged", tuple(history))
        if ended:
            here = None
            continue
        trial = _lower(here, objective.cost, move, x, current, damping, metric, floor)
        if not trial.cost < current and not steps:
            found = newton <= tolerance * abs(current)
            message = "converged" if found else "stopped where no step lowers the cost"
            return Minimum(x, current, found, message, tuple(history))
        if not trial.cost < current:
            here = None
            continue
        drop = current - trial.cost
        gain, small = drop / trial.promised, drop <= tolerance * abs(current)
        damping = trial.damping * (0.2 if gain > 0.5 else 1.0 if gain > 0.1 else 4.0)
        steps += 1
        before, x, current = x, trial.x, trial.cost
        history.append(current)
        if progress:
            progress(matrices, iterations, current)
        # One tiny decrease under heavy damping may be a small step; several are a minimum.
        idle = idle + 1 if small else 0
        whole = len(history) > STALLED_STEPS
        stalled = whole and history[-1 - STALLED_STEPS] - current < resolution
        done = stalled or (small and (damping < 1.0 or idle >= 3))
        if done and (last or steps == 1):
            return Minimum(x, current, True, "converged", tuple(history))
        if done or objective.slope is None or steps == STEPS_OF_A_MATRIX:
            here = None
        else:
            here = updated(here, x - before, objective.slope(x), current)
    return Minimum(x, current, False, f"stopped after {iterations} iterations", tuple(history))


def _lower(
    here: Normal,
    cost: Callable[[np.ndarray], float],
    move: Callable[[np.ndarray, np.ndarray], np.ndarray],
    x: np.ndarray,
    current: float,
    damping: float,
    metric: np.ndarray | None,
    floor: float,
) -> _Trial:
    """The first step from x that lowers the cost, under more and more damping; the last one where none promises more than `floor`."""
    while True:
        step, promised = dense_step(here, damping, metric)
        end = move(x, step)
        value = cost(end)
        if (np.isfinite(value) and value < current) or promised <= floor:
            return _Trial(end, value, promised, damping)
        damping = max(damping, 1e-4) * 8.0


def updated(normal: Normal, step: np.ndarray, gradient: np.ndarray, cost: float) -> Normal:
    """Normal equations after a step, the matrix corrected along it (damped BFGS; Nocedal & Wright 2006, procedure 18.2).

    Args:
        normal: before the step.
        step: that was taken [p].
        gradient: after it [p].
        cost: after it.

    Returns:
        Normal equations after it, the matrix positive definite if it was.
    """
    along = normal.hessian @ step
    curvature, change = float(step @ along), gradient - normal.gradient
    seen = float(step @ change)
    if not (np.isfinite(change).all() and curvature > 0):
        return Normal(cost, gradient, normal.hessian)
    if seen < LEAST_CURVATURE * curvature:
        share = (1 - LEAST_CURVATURE) * curvature / (curvature - seen)
        change = share * change + (1 - share) * along
        seen = float(step @ change)
    hessian = normal.hessian + np.outer(change, change) / seen - np.outer(along, along) / curvature
    return Normal(cost, gradient, hessian)


def dense_step(
    normal: Normal, damping: float, metric: np.ndarray | None = None
) -> tuple[np.ndarray, float]:
    """Step of x from the damped normal equations, and the decrease they promise.

    Args:
        normal: with its prior.
        damping: λ.
        metric: diagonal D; by default Marquardt's, that of H. Where parameters trade off, that freezes
            combinations the data hardly feel though they feel each part: give the prior's precision.

    Returns:
        The step [p], and the promised decrease.
    """
    hessian, gradient = normal.hessian, normal.gradient
    diagonal = np.diag(hessian) + 1e-12 if metric is None else metric
    damped = hessian + damping * np.diag(diagonal)
    try:
        step = -np.linalg.solve(damped, gradient)
    except np.linalg.LinAlgError:
        step = -inverse(damped) @ gradient
    return step, float(-gradient @ step - 0.5 * step @ hessian @ step)
