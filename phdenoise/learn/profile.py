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

from phdenoise.learn.gauss_newton import away
from phdenoise.learn.target import Target

# 90 % of a normal variable.
Q90 = 1.6448536269514722
# Rounds of re-optimisation at each end, and how near to the threshold is enough.
ROUNDS = 4
NEAR = 0.02
# Longest jump from the optimum in posterior standard deviations; beyond it the law is followed step by step.
LONGEST = 2.5

Scalar = Callable[[np.ndarray], float]


def profile(
    target: Target,
    scalars: dict[str, Scalar],
    progress: Callable[[int, int, float], None] | None = None,
) -> dict[str, tuple[float, float]]:
    """90 % intervals by name; an end is nan where the number, or the law there, does not exist.

    Args:
        target: posterior.
        scalars: by name, functions of θ.
        progress: called with (number, numbers, its lower end).
    """
    target = _polished(target)
    inverse = np.linalg.pinv(target.normal(target.point).hessian)
    best = target.cost(target.point)
    found = {}
    for i, (name, scalar) in enumerate(scalars.items()):
        slope = _slope(target, scalar, target.point)
        low, high = (_edge(target, scalar, slope, inverse, best, sign) for sign in (-1, 1))
        found[name] = (low, high)
        if progress:
            progress(i + 1, len(scalars), low)
    return found


def _polished(target: Target) -> Target:
    """The same at its optimum: a fit may stop half a standard deviation before it, where a profile is lopsided."""
    x, best = target.point, target.cost(target.point)
    for _ in range(ROUNDS):
        here = target.normal(x)
        if not away(here) > NEAR:
            break
        trial = target.move(x, -np.linalg.pinv(here.hessian) @ here.gradient)
        value = target.cost(trial)
        if not value < best:
            break
        x, best = trial, value
    return target._replace(point=x)


def _edge(
    target: Target,
    scalar: Scalar,
    slope: Float[np.ndarray, " x"],
    inverse: Float[np.ndarray, "x x"],
    best: float,
    sign: int,
) -> float:
    """Where the profile of g reaches the threshold, downwards or upwards."""
    size = target.space.size
    variance = float(slope @ inverse @ slope)
    here = scalar(target.law(target.point))
    if not (np.isfinite(variance) and variance > 0 and np.isfinite(here)):
        return float("nan")
    reported = float(slope[:size] @ target.covariance @ slope[:size])
    q = Q90 * np.sqrt(max(reported / variance, 1e-12))
    x, s = target.point, 0.0
    along = inverse @ slope / np.sqrt(variance)
    aim = sign * min(q, LONGEST)
    for _ in range(ROUNDS):
        jumped = _jump(target, x, (aim - s) * along)
        if jumped is None:
            return float("nan")
        x, along, cost = _reoptimise(target, scalar, jumped)
        s = sign * np.sqrt(max(2 * (cost - best), 0.0))
        if abs(abs(s) / q - 1) < NEAR or not np.isfinite(cost):
            break
        aim = s + np.clip(sign * q - s, -LONGEST, LONGEST)
    reached = scalar(target.law(x))
    if not np.isfinite(reached) or s == 0.0:
        return float("nan")
    # The rest along the profile, which is straight in √(2ΔL) to this order.
    return float(here + (reached - here) * q / abs(s))


def _jump(target: Target, x: np.ndarray, step: np.ndarray) -> np.ndarray | None:
    """x after a step, shorter where the law would diverge."""
    for _ in range(6):
        moved = target.move(x, step)
        if np.isfinite(target.cost(moved)):
            return moved
        step = 0.5 * step
    return None


def _reoptimise(
    target: Target, scalar: Scalar, x: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """One Gauss-Newton step on which g keeps its value; x, the direction in which g grows, and the cost."""
    here = target.normal(x)
    inverse = np.linalg.pinv(here.hessian)
    slope = _slope(target, scalar, x)
    variance = float(slope @ inverse @ slope)
    if not np.isfinite(variance) or variance <= 0:
        return x, np.zeros_like(x), target.cost(x)
    along = inverse @ slope / np.sqrt(variance)
    newton = inverse @ here.gradient
    step = -newton + (slope @ newton) / np.sqrt(variance) * along
    held, cost = scalar(target.law(x)), here.cost
    for _ in range(4):
        trial = target.move(x, step)
        drift = held - scalar(target.law(trial))
        if np.isfinite(drift):
            # The law is curved: put g back where it was.
            trial = target.move(trial, drift / np.sqrt(variance) * along)
        value = target.cost(trial)
        if np.isfinite(value) and value <= cost:
            return trial, along, value
        step = 0.5 * step
    return x, along, cost


def _slope(target: Target, scalar: Scalar, x: np.ndarray) -> Float[np.ndarray, " x"]:
    """∇g by central differences; the initial field does not enter it."""
    slope = np.zeros_like(x)
    for i in range(target.space.size):
        h = 1e-5 * max(1.0, abs(x[i]))
        ahead, behind = (target.law(x).copy() for _ in range(2))
        ahead[i] += h
        behind[i] -= h
        slope[i] = (scalar(ahead) - scalar(behind)) / (2 * h)
    return slope
