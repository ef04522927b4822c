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
    coarse: gn.Directions,
    space: LawSpace,
    substeps: int,
    burn_in: int,
    cg_steps: int,
) -> gn.JointStep:
    grid = problem.observation.grid
    at = _linearise(problem, theta, z, space, substeps, burn_in)
    return gn.joint_step(
        at, theta, z, problem.theta_start, damping, coarse, grid, cg_steps=cg_steps
    )


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
    coarse: gn.Directions,
    key: Array,
    space: LawSpace,
    substeps: int,
    burn_in: int,
    samples: int,
    cg_steps: int,
) -> gn.Laplace:
    at = _linearise(problem, theta, z, space, substeps, burn_in)
    grid = problem.observation.grid
    return gn.laplace(at, coarse, grid, key, samples=samples, cg_steps=cg_steps)


@partial(jax.jit, static_argnames=_STATIC)
def _path(
    problem: _Problem, theta: Array, z: Array, space: LawSpace, substeps: int, burn_in: int
) -> Array:
    observation = problem.observation
    residual = _residual(problem, space, substeps, burn_in)(theta, z)
    return observation.frames + residual / jnp.sqrt(observation.weights)


class Descent(NamedTuple):
    """Where law and field ended, and the coarse directions of the last linearisation."""

    minimum: gn.Minimum
    coarse: gn.Directions


def fit_law_and_field(
    space: LawSpace,
    point: tuple[np.ndarray, np.ndarray],
    observation: Observation,
    prior: FieldPrior,
    theta_start: np.ndarray,
    *,
    substeps: int,
    burn_in: int,
    iterations: int,
    cg_steps: int,
    coarse: gn.Directions | None = None,
    progress: Progress | None = None,
) -> Descent:
    """Descend in θ [p] and z [y, x].

    From a cold start (no `coarse`): a few steps on the first third of the frames, which keeps the rest
    in reach, a few on all of them, then the directions along which law and field trade off are found,
    and steps that know them finish the descent.
    """
    whole = make_problem(space, observation, prior, theta_start)
    static = {"space": space, "substeps": substeps, "burn_in": burn_in}
    history: list[float] = []

    def descend(
        problem: _Problem,
        point: Any,
        coarse: gn.Directions,
        count: int,
        resolution: float,
        damping: float,
    ) -> gn.Minimum:
        def solve(point: Any, damping: float) -> tuple[Any, float, float]:
            theta, z = _arrays(problem, point)
            level = jnp.asarray(damping, z.dtype)
            step = _step(problem, theta, z, level, coarse, cg_steps=cg_steps, **static)
            trial = (point[0] + np.asarray(step.theta), point[1] + np.asarray(step.z))
            return trial, float(step.cost), float(step.promised)

        minimum = gn.descend(
            solve,
            lambda point: float(_cost(problem, *_arrays(problem, point), **static)),
            point,
            iterations=count,
            tolerance=0.0,
            resolution=resolution,
            damping=damping,
            progress=progress,
        )
        history.extend(minimum.history)
        return minimum

    # A warm start has only the network's small change to follow.
    count = iterations if coarse is None else min(3, iterations)
    if coarse is None:
        coarse = gn.no_directions(*_arrays(whole, point))
        steps = observation.frames.shape[0]
        seen = (jnp.arange(steps) < max(2, steps // 3))[:, None, None]
        early = eqx.tree_at(lambda o: o.weights, observation, observation.weights * seen)
        short = make_problem(space, early, prior, theta_start)
        point = descend(short, point, coarse, min(4, iterations), 20.0, 1.0).point
        minimum = descend(whole, point, coarse, min(4, iterations), 2.0, 0.1)
        point = minimum.point
        if not np.isfinite(minimum.cost):
            return Descent(minimum, coarse)
        found = _laplace(
            whole,
            *_arrays(whole, point),
            coarse,
            jax.random.key(0),
            samples=0,
            cg_steps=cg_steps,
            **static,
        )
        coarse = found.directions
    minimum = descend(whole, point, coarse, count, 0.05, 0.1)
    return Descent(minimum._replace(history=tuple(history)), coarse)


def _arrays(problem: _Problem, point: tuple[np.ndarray, np.ndarray]) -> tuple[Array, Array]:
    dtype = problem.observation.frames.dtype
    return jnp.asarray(point[0], dtype), jnp.asarray(point[1], dtype)


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
    coarse: gn.Directions,
    key: Array,
    *,
    space: LawSpace,
    substeps: int,
    burn_in: int,
    cg_steps: int,
    samples: int,
) -> Posterior:
    """Laplace approximation at an optimum: covariance of θ, and the trajectory with its sd."""
    static = {"space": space, "substeps": substeps, "burn_in": burn_in}
    theta, z = _arrays(problem, point)
    found = _laplace(problem, theta, z, coarse, key, samples=samples, cg_steps=cg_steps, **static)
    # A few draws give a rough variance; neighbours share theirs.
    variance = np.mean(np.asarray(found.draws, float) ** 2, axis=0)
    variance = variance / np.asarray(problem.observation.weights)
    smooth = ndimage.gaussian_filter(variance, (1.0, 1.5, 1.5))
    path = _path(problem, theta, z, **static)
    return Posterior(np.asarray(found.covariance, float), np.asarray(path), np.sqrt(smooth))
