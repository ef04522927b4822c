"""The posterior of a fit near its optimum, in the one form that every method of uncertainty takes.

x is the law θ, or the law and the coefficients of the initial field (θ, z). Both fits have the form
½|r(x)|² + ½|(x − x₀)/s|²; what differs is what new data would look like (`refit`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.learn import gauss_newton as gn
from phdenoise.learn import joint
from phdenoise.learn.laws import LawPrior
from phdenoise.learn.shooting import (
    Descent,
    Windows,
    descend_windows,
    linearise,
    misfit_cost,
    window_residual,
)
from phdenoise.learn.window_fit import BLOCK_SIDE, WindowFit
from phdenoise.physics.law_parameters import Parameters

# Jacobians of a resampled fit at most: the optimum, from which it starts, is near.
REFIT_JACOBIANS = 4


class LogPosterior(NamedTuple):
    """A posterior about its maximum.

    Attributes:
        family: of the law.
        point: maximum, x = θ or (θ, z).
        normal, cost: of x, with the prior.
        move: (x, step) -> x.
        covariance: of θ as the fit reports it, wider than the curvature where residuals are not white.
        refit: maximum for resampled data and a prior centre drawn from the prior.
        density: (x, data) -> cost, differentiable; `data` are the arrays it needs.
        data: see `density`.
    """

    family: Parameters
    point: np.ndarray
    normal: Callable[[np.ndarray], gn.Normal]
    cost: Callable[[np.ndarray], float]
    move: Callable[[np.ndarray, np.ndarray], np.ndarray]
    covariance: np.ndarray
    refit: Callable[[np.random.Generator], np.ndarray]
    density: Callable[[Array, Any], Array]
    data: Any

    def law(self, x: np.ndarray) -> np.ndarray:
        """θ of x."""
        return x[: self.family.size]


def windows_log_posterior(family: Parameters, found: WindowFit, *, substeps: int) -> LogPosterior:
    """Of a fit at face value; resampling draws blocks of stretches and pixels with replacement.

    Args:
        family: what the components of θ are.
        found: the fit.
        substeps: solver steps a frame interval.

    Returns:
        The posterior.
    """
    (start, sd), windows, point = found.prior, found.windows, found.minimum.point
    dtype = windows.frames.dtype
    centre, width = jnp.asarray(start, dtype), jnp.asarray(sd, dtype)

    def density(theta: Array, data: Windows) -> Array:
        residual = window_residual(family, theta, data, substeps=substeps)
        return 0.5 * jnp.sum(residual**2) + 0.5 * jnp.sum(((theta - centre) / width) ** 2)

    def normal(theta: np.ndarray) -> gn.Normal:
        shown = gn.normal_equations(*linearise(family, theta, windows, substeps=substeps))
        return gn.with_prior(shown, theta, start, sd)

    def cost(theta: np.ndarray) -> float:
        misfit = misfit_cost(family, theta, windows, substeps)
        return misfit + gn.half_square((theta - start) / sd)

    def refit(rng: np.random.Generator) -> np.ndarray:
        weights = np.asarray(windows.weights) * _multiplicities(rng, windows.weights.shape)
        drawn = eqx.tree_at(lambda w: w.weights, windows, jnp.asarray(weights, dtype))
        refit = descend_windows(
            family,
            LawPrior(start + sd * rng.standard_normal(sd.size), sd),
            drawn,
            Descent(substeps, REFIT_JACOBIANS, 1e-4),
            begin=point,
        )
        return refit.point

    def move(theta: np.ndarray, step: np.ndarray) -> np.ndarray:
        return family.law.long_step(family, theta, step)

    return LogPosterior(
        family, point, normal, cost, move, found.covariance, refit, density, windows
    )


def field_log_posterior(
    problem: joint.Problem, x: np.ndarray, covariance: np.ndarray
) -> LogPosterior:
    """Of the joint fit; resampling draws the residuals of whole stretches of time about the prediction.

    Args:
        problem: the joint problem.
        x: its maximum.
        covariance: of θ as reported [p, p].

    Returns:
        The posterior.
    """
    observation = problem.observation
    dtype = observation.frames.dtype
    start, sd = (jnp.asarray(a, dtype) for a in (problem.start, problem.sd))
    residual = joint.residual_at(problem, x)
    weights = np.asarray(observation.weights)
    # Outside the domain both residual and weight are zero.
    root = np.sqrt(np.where(weights > 0, weights, 1.0))
    prediction = np.asarray(observation.frames) + residual / root

    def density(x: Array, data: Any) -> Array:
        misfit = joint.misfit(x, data, problem)
        return 0.5 * jnp.sum(misfit**2) + 0.5 * jnp.sum(((x - start) / sd) ** 2)

    def refit(rng: np.random.Generator) -> np.ndarray:
        frames, signs = _stretches(rng, residual.shape[0])
        # With signs, errors that a law leaves in every frame have no mean in the draws either (wild bootstrap).
        drawn = residual[frames] * signs[:, None, None]
        shown = jnp.asarray(prediction - drawn / root, dtype)
        moved = eqx.tree_at(lambda o: o.frames, observation, shown)
        centre = problem.start + problem.sd * rng.standard_normal(problem.sd.size)
        shaken = problem._replace(observation=moved, centre=centre)
        return joint.refine(shaken, x, iterations=REFIT_JACOBIANS).point

    def move(x: np.ndarray, step: np.ndarray) -> np.ndarray:
        return joint.move(problem, x, step)

    return LogPosterior(
        problem.family,
        x,
        lambda x: joint.normal_with_prior(problem, x),
        lambda x: joint.cost(problem, x),
        move,
        covariance,
        refit,
        density,
        (observation, problem.prior),
    )


def _multiplicities(
    rng: np.random.Generator, shape: tuple[int, ...]
) -> Float[np.ndarray, "w 1 y x"]:
    """How often each block of a stretch is drawn, [window, 1, y, x]."""
    w, _, ny, nx = shape
    # Small frames have fewer pixels a block rather than fewer than four blocks.
    side = max(2, min(BLOCK_SIDE, ny // 2, nx // 2))
    by, bx = -(-ny // side), -(-nx // side)
    count = w * by * bx
    drawn = np.bincount(rng.integers(0, count, count), minlength=count).reshape(w, by, bx)
    pixels = np.repeat(np.repeat(drawn, side, axis=1), side, axis=2)[:, None, :ny, :nx]
    return pixels.astype(float)


def _stretches(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Frame indices of resampled stretches of about count^(1/3) frames, wrapped around the end, and a sign of each."""
    length = max(1, round(count ** (1 / 3)))
    starts = rng.integers(0, count, -(-count // length))
    signs = np.repeat(rng.choice((-1.0, 1.0), starts.size), length)[:count]
    return ((starts[:, None] + np.arange(length)) % count).reshape(-1)[:count], signs
