"""Profile likelihood: how far a number can be pushed while everything else makes the best of it.

    {t : min over x with g(x) = t of L(x) − L(x̂) ≤ ½ q²}

g is a parameter, the curve at a concentration, or what follows from the law. The constrained optimum is followed from
x̂ along H⁻¹∇g and re-optimised by Gauss-Newton steps on which g is constant. Where residuals are not white the
threshold is raised by the variance of g as reported over that of the curvature. Venzon & Moolgavkar, Appl. Stat. 37, 87
(1988), doi:10.2307/2347496; Chandler & Bate, Biometrika 94, 167 (2007), doi:10.1093/biomet/asm015.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from phdenoise.learn.gauss_newton import newton_decrement
from phdenoise.learn.posterior_form import LogPosterior

# Half width of the 90 % interval of a normal variable [standard deviations].
Q90 = 1.6448536269514722
# Re-optimisations at each end at most, and the distance from the threshold that is near enough [share of the half width].
MOST_REOPTIMISATIONS = 4
THRESHOLD_SHARE = 0.02
# Longest jump from the optimum [posterior standard deviations]; beyond, the profile is followed step by step.
LONGEST_JUMP = 2.5

Scalar = Callable[[np.ndarray], float]


def profile(
    log_posterior: LogPosterior,
    scalars: dict[str, Scalar],
    progress: Callable[[int, int, float], None] | None = None,
) -> dict[str, tuple[float, float]]:
    """90 % intervals by name; an end is nan where the number, or the law there, does not exist.

    Args:
        log_posterior: posterior.
        scalars: by name, functions of θ.
        progress: called with (number, numbers, its lower end).

    Returns:
        (low, high) by name.
    """
    log_posterior = _polished(log_posterior)
    inverse = np.linalg.pinv(log_posterior.normal(log_posterior.point).hessian)
    best = log_posterior.cost(log_posterior.point)
    found = {}
    for i, (name, scalar) in enumerate(scalars.items()):
        slope = _slope(log_posterior, scalar, log_posterior.point)
        low, high = (_edge(log_posterior, scalar, slope, inverse, best, sign) for sign in (-1, 1))
        found[name] = (low, high)
        if progress:
            progress(i + 1, len(scalars), low)
    return found


def _polished(log_posterior: LogPosterior) -> LogPosterior:
    """The same at its optimum: a fit may stop half a standard deviation before it, where a profile is lopsided."""
    x, best = log_posterior.point, log_posterior.cost(log_posterior.point)
    for _ in range(MOST_REOPTIMISATIONS):
        here = log_posterior.normal(x)
        if not newton_decrement(here) > THRESHOLD_SHARE:
            break
        trial = log_posterior.move(x, -np.linalg.pinv(here.hessian) @ here.gradient)
        value = log_posterior.cost(trial)
        if not value < best:
            break
        x, best = trial, value
    return log_posterior._replace(point=x)


def _edge(
    log_posterior: LogPosterior,
    scalar: Scalar,
    slope: Float[np.ndarray, " x"],
    inverse: Float[np.ndarray, "x x"],
    best: float,
    sign: int,
) -> float:
    """Where the profile of g reaches the threshold, downwards or upwards."""
    size = log_posterior.family.size
    variance = float(slope @ inverse @ slope)
    here = scalar(log_posterior.law(log_posterior.point))
    if not (np.isfinite(variance) and variance > 0 and np.isfinite(here)):
        return float("nan")
    reported = float(slope[:size] @ log_posterior.covariance @ slope[:size])
    q = Q90 * np.sqrt(max(reported / variance, 1e-12))
    x, s = log_posterior.point, 0.0
    along = inverse @ slope / np.sqrt(variance)
    aim = sign * min(q, LONGEST_JUMP)
    for _ in range(MOST_REOPTIMISATIONS):
        jumped = _jump(log_posterior, x, (aim - s) * along)
        if jumped is None:
            return float("nan")
        x, along, cost = _reoptimise(log_posterior, scalar, jumped)
        s = sign * np.sqrt(max(2 * (cost - best), 0.0))
        if abs(abs(s) / q - 1) < THRESHOLD_SHARE or not np.isfinite(cost):
            break
        aim = s + np.clip(sign * q - s, -LONGEST_JUMP, LONGEST_JUMP)
    reached = scalar(log_posterior.law(x))
    if not np.isfinite(reached) or s == 0.0:
        return float("nan")
    # The rest along the profile, which is straight in √(2ΔL) to this order.
    return float(here + (reached - here) * q / abs(s))


def _jump(log_posterior: LogPosterior, x: np.ndarray, step: np.ndarray) -> np.ndarray | None:
    """x after a step, shorter where the law would diverge."""
    for _ in range(6):
        moved = log_posterior.move(x, step)
        if np.isfinite(log_posterior.cost(moved)):
            return moved
        step = 0.5 * step
    return None


def _reoptimise(
    log_posterior: LogPosterior, scalar: Scalar, x: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """One Gauss-Newton step on which g keeps its value; x, the direction in which g grows, and the cost."""
    here = log_posterior.normal(x)
    inverse = np.linalg.pinv(here.hessian)
    slope = _slope(log_posterior, scalar, x)
    variance = float(slope @ inverse @ slope)
    if not np.isfinite(variance) or variance <= 0:
        return x, np.zeros_like(x), log_posterior.cost(x)
    along = inverse @ slope / np.sqrt(variance)
    newton = inverse @ here.gradient
    step = -newton + (slope @ newton) / np.sqrt(variance) * along
    held, cost = scalar(log_posterior.law(x)), here.cost
    for _ in range(4):
        trial = log_posterior.move(x, step)
        drift = held - scalar(log_posterior.law(trial))
        if np.isfinite(drift):
            # The law is curved: put g back where it was.
            trial = log_posterior.move(trial, drift / np.sqrt(variance) * along)
        value = log_posterior.cost(trial)
        if np.isfinite(value) and value <= cost:
            return trial, along, value
        step = 0.5 * step
    return x, along, cost


def _slope(log_posterior: LogPosterior, scalar: Scalar, x: np.ndarray) -> Float[np.ndarray, " x"]:
    """∇g by central differences; the initial field does not enter it."""
    slope = np.zeros_like(x)
    for i in range(log_posterior.family.size):
        h = 1e-5 * max(1.0, abs(x[i]))
        ahead, behind = (log_posterior.law(x).copy() for _ in range(2))
        ahead[i] += h
        behind[i] -= h
        slope[i] = (scalar(ahead) - scalar(behind)) / (2 * h)
    return slope
