"""The joint fit: law and initial field from the noisy movie, the denoiser giving the field's start.

Gauss-Newton moves the law θ and the coefficients z of the initial field together. The law is compared with the
raw measurement, never with a smoothed one, so that the misfit is a likelihood and its curvature gives honest
intervals: the covariance of θ has the field marginalised. `phdenoise.learn.couple` adds the network's part.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from phdenoise.learn import gauss_newton as gn
from phdenoise.learn.laws import LawSpace
from phdenoise.learn.objective import FieldPrior, Observation, misfit_residual

Progress = Callable[[int, int, float], None]
# What jitted functions take as arrays.
_Data = tuple[Observation, FieldPrior]


class _Static(NamedTuple):
    """What is fixed when they are compiled."""

    space: LawSpace
    substeps: int
    burn_in: int


class Problem(NamedTuple):
    """One joint problem: arrays that jitted functions take, and what is static.

    Attributes:
        space: family of laws.
        observation, prior: data, and the field's prior.
        theta_start: centre of the law's prior [p].
        substeps, burn_in: solver steps per frame, and frames before the first.
    """

    space: LawSpace
    observation: Observation
    prior: FieldPrior
    theta_start: np.ndarray
    substeps: int
    burn_in: int

    @property
    def waves(self) -> tuple[int, int]:
        """Shape of the field's coefficients z."""
        return self.prior.waves_y.shape[1], self.prior.waves_x.shape[1]

    @property
    def start(self) -> np.ndarray:
        """Centre of the prior of x = (θ, z)."""
        return np.concatenate([self.theta_start, np.zeros(int(np.prod(self.waves)))])

    @property
    def sd(self) -> np.ndarray:
        """Prior standard deviation of x."""
        return np.concatenate([self.space.prior_sd(), np.ones(int(np.prod(self.waves)))])

    def split(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """θ [p] and z [m, n] of x."""
        return x[: self.space.size], x[self.space.size :].reshape(self.waves)


class Posterior(NamedTuple):
    """Covariance of θ [p, p], and the predicted movie with its standard deviation [t, y, x]."""

    covariance: np.ndarray
    trajectory: np.ndarray
    trajectory_sd: np.ndarray


def _residual(x: Array, data: _Data, static: _Static) -> Array:
    observation, prior = data
    theta, z = x[: static.space.size], x[static.space.size :]
    field = prior.field(z.reshape(prior.waves_y.shape[1], prior.waves_x.shape[1]))
    return misfit_residual(
        static.space,
        theta,
        field,
        observation,
        substeps=static.substeps,
        burn_in=static.burn_in,
    )


@partial(jax.jit, static_argnames="static")
def _normal(x: Array, data: _Data, static: _Static) -> gn.Normal:
    return gn.normal_equations(lambda x: _residual(x, data, static), x)


@partial(jax.jit, static_argnames="static")
def _cost(x: Array, data: _Data, static: _Static) -> Array:
    return 0.5 * jnp.sum(_residual(x, data, static) ** 2)


@partial(jax.jit, static_argnames="static")
def _jacobian(x: Array, data: _Data, static: _Static) -> tuple[Array, Array]:
    return gn.jacobian(lambda x: _residual(x, data, static), x)


def fit_law_and_field(
    problem: Problem,
    x: np.ndarray,
    *,
    iterations: int,
    warm: bool = False,
    progress: Progress | None = None,
) -> gn.Minimum:
    """Descend in x = (θ, z): first on a third of the frames, which keeps the rest in reach, then on all.

    Args:
        problem: see `Problem`.
        x: where to start.
        iterations: at most so many steps on all frames.
        warm: x is already near the optimum; skip the first stage.
        progress: called with (iteration, iterations, cost).
    """
    history: list[float] = []
    if not warm:
        steps = problem.observation.frames.shape[0]
        seen = (jnp.arange(steps) < max(2, steps // 3))[:, None, None]
        weights = problem.observation.weights * seen
        early = eqx.tree_at(lambda o: o.weights, problem.observation, weights)
        first = _descend(problem._replace(observation=early), x, min(6, iterations), 5.0, progress)
        x = first.point
        history.extend(first.history)
    # One standard deviation of one parameter changes the cost by a half.
    minimum = _descend(problem, x, iterations, 0.2, progress)
    return minimum._replace(history=(*history, *minimum.history))


def _descend(
    problem: Problem, x: np.ndarray, iterations: int, resolution: float, progress: Progress | None
) -> gn.Minimum:
    data, static = _arguments(problem)
    dtype = problem.observation.frames.dtype
    start, sd = problem.start, problem.sd
    cache: dict[bytes, gn.Normal] = {}

    def solve(x: np.ndarray, damping: float) -> tuple[np.ndarray, float, float]:
        # A rejected step asks again at the same x with more damping: the Jacobian is still there.
        if x.tobytes() not in cache:
            cache.clear()
            normal = _normal(jnp.asarray(x, dtype), data, static)
            cache[x.tobytes()] = gn.with_prior(normal, x, start, sd)
        here = cache[x.tobytes()]
        step, promised = gn.dense_step(here, damping, 1.0 / sd**2)
        return x + step, float(here.cost), promised

    def cost(x: np.ndarray) -> float:
        misfit = float(_cost(jnp.asarray(x, dtype), data, static))
        return misfit + 0.5 * float(np.sum(((x - start) / sd) ** 2))

    return gn.descend(
        solve,
        cost,
        x,
        iterations=iterations,
        tolerance=0.0,
        resolution=resolution,
        damping=0.1,
        progress=progress,
    )


def posterior(problem: Problem, x: np.ndarray) -> Posterior:
    """Laplace approximation at an optimum: covariance of θ, and the trajectory with its sd."""
    data, static = _arguments(problem)
    observation = problem.observation
    found = _jacobian(jnp.asarray(x, observation.frames.dtype), data, static)
    residual, rows = (np.asarray(a) for a in found)
    # Law and field trade off over many orders of magnitude: the algebra is done in double precision.
    hessian = np.diag(1.0 / problem.sd**2)
    for part in np.array_split(rows, 32, axis=1):
        hessian += part.astype(float) @ part.astype(float).T
    covariance = np.linalg.inv(0.5 * (hessian + hessian.T))
    root = np.linalg.cholesky(0.5 * (covariance + covariance.T)).T.astype(rows.dtype)
    variance = np.concatenate(
        [np.sum((root @ part) ** 2, axis=0) for part in np.array_split(rows, 32, axis=1)]
    ).reshape(residual.shape)
    weights = np.asarray(observation.weights, float)
    path = np.asarray(observation.frames) + residual / np.sqrt(weights)
    size = problem.space.size
    return Posterior(covariance[:size, :size], path, np.sqrt(variance / weights))


def _arguments(problem: Problem) -> tuple[_Data, _Static]:
    static = _Static(problem.space, problem.substeps, problem.burn_in)
    return (problem.observation, problem.prior), static
