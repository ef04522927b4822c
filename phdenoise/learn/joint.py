"""The joint fit: law, initial field and denoiser from the noisy movie in one objective.

Gauss-Newton moves the law θ and the whitened field z together (thousands of unknowns, each step a few
dozen linearised solves); gradient steps on the whole joint loss move the network. The initial field starts
from the denoised first frame, and the law is compared with the raw measurement, never with a smoothed one,
so that the misfit is a likelihood and its curvature gives honest intervals.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import ndimage

from phdenoise.learn import gauss_newton as gn
from phdenoise.learn.laws import LawSpace
from phdenoise.learn.objective import FieldPrior, Observation, misfit_residual

Progress = Callable[[int, int, float], None]
_STATIC = ("space", "substeps", "burn_in")


class Posterior(NamedTuple):
    """Covariance of θ [p, p], and the predicted movie with its standard deviation [t, y, x]."""

    covariance: np.ndarray
    trajectory: np.ndarray
    trajectory_sd: np.ndarray


class _Problem(eqx.Module):
    """Arrays of one joint problem, passed to every jitted function."""

    observation: Observation
    prior: FieldPrior
    theta_start: Float[Array, " p"]
    theta_sd: Float[Array, " p"]
    probe: Float[Array, "y x"]


def _residual(problem: _Problem, space: LawSpace, substeps: int, burn_in: int) -> gn.Residual:
    grid = problem.observation.grid

    def residual(theta: Array, z: Array) -> Array:
        return misfit_residual(
            space,
            theta,
            problem.prior.field(z, grid),
            problem.observation,
            substeps=substeps,
            burn_in=burn_in,
            checkpoint=False,
        )

    return residual


def _linearise(
    problem: _Problem, theta: Array, z: Array, space: LawSpace, substeps: int, burn_in: int
) -> gn.Linearised:
    residual = _residual(problem, space, substeps, burn_in)
    grid = problem.observation.grid
    return gn.linearise(residual, theta, z, problem.theta_sd, problem.probe, grid)


@partial(jax.jit, static_argnames=(*_STATIC, "cg_steps"))
def _step(
    problem: _Problem,
    theta: Array,
    z: Array,
    damping: Array,
    space: LawSpace,
    substeps: int,
    burn_in: int,
    cg_steps: int,
) -> gn.JointStep:
    grid = problem.observation.grid
    at = _linearise(problem, theta, z, space, substeps, burn_in)
    return gn.joint_step(at, theta, z, problem.theta_start, damping, grid, cg_steps=cg_steps)


@partial(jax.jit, static_argnames=_STATIC)
def _cost(
    problem: _Problem, theta: Array, z: Array, space: LawSpace, substeps: int, burn_in: int
) -> Array:
    residual = _residual(problem, space, substeps, burn_in)
    return gn.joint_cost(residual, theta, z, problem.theta_start, problem.theta_sd)


@partial(jax.jit, static_argnames=(*_STATIC, "samples", "cg_steps"))
def _laplace(
    problem: _Problem,
    theta: Array,
    z: Array,
    key: Array,
    space: LawSpace,
    substeps: int,
    burn_in: int,
    samples: int,
    cg_steps: int,
) -> tuple[Array, Array]:
    at = _linearise(problem, theta, z, space, substeps, burn_in)
    grid = problem.observation.grid
    covariance, draws = gn.laplace(at, grid, key, samples=samples, cg_steps=cg_steps)
    return covariance, jnp.mean(draws**2, axis=0) / problem.observation.weights


@partial(jax.jit, static_argnames=_STATIC)
def _path(
    problem: _Problem, theta: Array, z: Array, space: LawSpace, substeps: int, burn_in: int
) -> Array:
    observation = problem.observation
    residual = _residual(problem, space, substeps, burn_in)(theta, z)
    return observation.frames + residual / jnp.sqrt(observation.weights)


def fit_law_and_field(
    space: LawSpace,
    theta: np.ndarray,
    z: np.ndarray,
    observation: Observation,
    prior: FieldPrior,
    theta_start: np.ndarray,
    *,
    substeps: int,
    burn_in: int,
    iterations: int,
    cg_steps: int,
    horizons: tuple[float, ...] = (0.34, 1.0),
    progress: Progress | None = None,
) -> gn.Minimum:
    """Descend in θ and z over growing horizons; a short one first keeps the long one in reach.

    Returns:
        The minimum; its point is (θ [p], z [y, x]).
    """
    dtype = observation.frames.dtype
    steps = observation.frames.shape[0]
    point: Any = (np.asarray(theta, float), np.asarray(z, float))
    static = {"space": space, "substeps": substeps, "burn_in": burn_in}
    minimum = gn.Minimum(point, np.inf, False, "not started", ())
    for horizon in horizons:
        seen = max(2, round(horizon * steps))
        weights = observation.weights * (jnp.arange(steps) < seen)[:, None, None]
        part = eqx.tree_at(lambda o: o.weights, observation, weights)
        problem = make_problem(space, part, prior, theta_start)

        def solve(
            point: Any, damping: float, problem: _Problem = problem
        ) -> tuple[Any, float, float]:
            step = _step(
                problem,
                jnp.asarray(point[0], dtype),
                jnp.asarray(point[1], dtype),
                jnp.asarray(damping, dtype),
                cg_steps=cg_steps,
                **static,
            )
            trial = (point[0] + np.asarray(step.theta), point[1] + np.asarray(step.z))
            return trial, float(step.cost), float(step.promised)

        def cost(point: Any, problem: _Problem = problem) -> float:
            return float(
                _cost(problem, jnp.asarray(point[0], dtype), jnp.asarray(point[1], dtype), **static)
            )

        minimum = gn.descend(
            solve,
            cost,
            point,
            iterations=iterations,
            tolerance=0.0,
            resolution=0.05 if horizon == 1.0 else 5.0,
            progress=progress,
        )
        point = minimum.point
    return minimum


def make_problem(
    space: LawSpace, observation: Observation, prior: FieldPrior, theta_start: np.ndarray
) -> _Problem:
    """Bundle the arrays of one joint problem in the observation's dtype."""
    dtype = observation.frames.dtype
    # A fixed probe: the preconditioner is the same in every run and never changes the answer.
    probe = np.random.default_rng(0).standard_normal(observation.grid.shape)
    return _Problem(
        observation,
        prior,
        jnp.asarray(theta_start, dtype),
        jnp.asarray(space.prior_sd(), dtype),
        jnp.asarray(probe, dtype),
    )


def posterior(
    problem: _Problem,
    point: tuple[np.ndarray, np.ndarray],
    key: Array,
    *,
    space: LawSpace,
    substeps: int,
    burn_in: int,
    cg_steps: int,
    samples: int,
) -> Posterior:
    """Laplace approximation at an optimum: covariance of θ, and the trajectory with its sd."""
    dtype = problem.observation.frames.dtype
    theta, z = (jnp.asarray(a, dtype) for a in point)
    covariance, variance = _laplace(
        problem, theta, z, key, space, substeps, burn_in, samples, cg_steps
    )
    # A few draws give a rough variance; neighbours share theirs.
    smooth = ndimage.gaussian_filter(np.asarray(variance, float), (1.0, 1.5, 1.5))
    path = _path(problem, theta, z, space, substeps, burn_in)
    return Posterior(np.asarray(covariance, float), np.asarray(path), np.sqrt(smooth))
