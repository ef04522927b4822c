"""The joint fit: law and initial field from the noisy movie, the denoiser giving the field's start.

Gauss-Newton moves the law θ and the coefficients z of the initial field together. The law is compared with the
raw measurement, never with a smoothed one, so that the misfit is a likelihood and its curvature gives honest
intervals: the covariance of θ has the field marginalised. `phdenoise.learn.couple` adds the network's part.

How strongly both are held is the matter of `phdenoise.learn.weigh`.
"""

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from phdenoise.learn import gauss_newton as gn
from phdenoise.learn.laws import LawPrior, LawSpace
from phdenoise.learn.objective import FieldPrior, Observation, misfit_residual
from phdenoise.types import Steps

# Promised decrease of the cost at which the fit has converged; the posterior takes that last step.
RESOLUTION = 0.2
# Misfit, over that of noise alone, below which a law is near; above it the frames are taken in by and by.
NEAR = 1.03
# Shares of the frames, and how many laws are tried on them.
HORIZONS = ((0.2, 4), (0.5, 2))
# Jacobians on each horizon.
APPROACH = 6
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
        law: prior of θ.
        substeps, burn_in: solver steps per frame, and frames before the first.
        free: which numbers of θ move [p]; None for all.
        centre: of the prior of x; None for (law.centre, 0).
    """

    space: LawSpace
    observation: Observation
    prior: FieldPrior
    law: LawPrior
    substeps: int
    burn_in: int
    free: np.ndarray | None = None
    centre: np.ndarray | None = None

    @property
    def waves(self) -> tuple[int, int]:
        """Shape of the field's coefficients z."""
        return self.prior.waves_y.shape[1], self.prior.waves_x.shape[1]

    @property
    def start(self) -> np.ndarray:
        """Centre of the prior of x = (θ, z)."""
        if self.centre is not None:
            return self.centre
        return np.concatenate([self.law.centre, np.zeros(int(np.prod(self.waves)))])

    @property
    def sd(self) -> np.ndarray:
        """Prior standard deviation of x."""
        return np.concatenate([self.law.sd, np.ones(int(np.prod(self.waves)))])

    @property
    def moving(self) -> np.ndarray | None:
        """Which numbers of x move."""
        if self.free is None:
            return None
        return np.concatenate([self.free, np.ones(int(np.prod(self.waves)), bool)])

    def split(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """θ [p] and z [m, n] of x."""
        return x[: self.space.size], x[self.space.size :].reshape(self.waves)


class Linearised(NamedTuple):
    """Normal equations of the data alone at x: a Jacobian that need not be taken twice."""

    x: np.ndarray
    normal: gn.Normal


class Posterior(NamedTuple):
    """x at the optimum, θ [p], its covariance [p, p], and the predicted movie with its standard deviation [t, y, x].

    `information` is JᵀJ of θ with the field marginalised [p, p], `away` the last step in standard deviations,
    `solver_bias` how many of them solver steps of half the length would move θ.
    """

    x: np.ndarray
    theta: np.ndarray
    covariance: np.ndarray
    trajectory: np.ndarray
    trajectory_sd: np.ndarray
    information: np.ndarray
    away: float
    solver_bias: float


@partial(jax.jit, static_argnames="static")
def _misfit(x: Array, data: _Data, static: _Static) -> Array:
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
def _jacobian(x: Array, data: _Data, static: _Static) -> tuple[Array, Array]:
    return gn.jacobian(lambda x: _misfit(x, data, static), x)


def fit_law_and_field(
    problem: Problem,
    laws: list[np.ndarray],
    *,
    iterations: int,
    expected: float,
    progress: Steps | None = None,
) -> gn.Minimum:
    """Descend in x = (θ, z) from the law that fits the early frames best.

    From far away the early frames come first, from several laws, which keeps the later ones in reach: a pattern
    that has grown elsewhere than the measured one is a local minimum.

    Args:
        problem: see `Problem`.
        laws: θ to start from [p]; a law fitted to a denoised movie may be a poor one, since what the denoiser
            smoothed is taken for the law's work.
        iterations: at most so many Jacobians on all frames, for each start.
        expected: sum of the squared residuals where there is nothing but noise.
        progress: called with (iteration, iterations, cost).
    """
    weights = problem.observation.weights

    def until(share: float) -> Problem:
        count = max(2, round(share * weights.shape[0]))
        early = eqx.tree_at(
            lambda o: (o.frames, o.weights, o.times),
            problem.observation,
            replace_fn=lambda a: a[:count],
        )
        return problem._replace(observation=early)

    still = np.zeros(int(np.prod(problem.waves)))
    every = [np.concatenate([law, still]) for law in laws]
    early = until(HORIZONS[0][0])
    best = gn.Minimum.start(min(every, key=lambda x: cost(early, x)))
    if not cost(problem, best.point) < NEAR * 0.5 * expected:
        finite = [x for x in every if np.isfinite(cost(problem, x))] or every
        approach = partial(
            descend, iterations=APPROACH, resolution=5.0, progress=progress, beyond=problem
        )
        rivals = [gn.Minimum.start(x) for x in finite]
        nearest = min(rivals, key=lambda rival: cost(problem, rival.point))
        for share, tried in HORIZONS:
            # A law that fits few frames a little better may miss all that follow.
            stretch = until(share)
            rivals.sort(key=lambda rival: cost(stretch, rival.point))
            rivals = [approach(stretch, rival.point)[0].after(rival) for rival in rivals[:tried]]
        best = min((*rivals, nearest), key=lambda rival: cost(problem, rival.point))
    return descend(problem, best.point, iterations, RESOLUTION, progress)[0].after(best)


def refine(
    problem: Problem, x: np.ndarray, *, iterations: int, progress: Steps | None = None
) -> gn.Minimum:
    """Descend on all frames from an x that is near."""
    return descend(problem, x, iterations, RESOLUTION, progress)[0]


def normal_at(problem: Problem, x: np.ndarray) -> tuple[gn.Normal, np.ndarray]:
    """Normal equations of the data alone at x, and the residual √w (prediction − measurement) [t, y, x]."""
    data, static = _arguments(problem)
    dtype = problem.observation.frames.dtype
    residual, rows = (np.asarray(a) for a in _jacobian(jnp.asarray(x, dtype), data, static))
    return gn.normal_equations(residual, rows), residual


def normal_with_prior(problem: Problem, x: np.ndarray) -> gn.Normal:
    """Normal equations at x with the prior in them."""
    return gn.with_prior(normal_at(problem, x)[0], x, problem.start, problem.sd)


def misfit(x: Array, data: _Data, problem: Problem) -> Array:
    """√w (prediction − measurement) [t, y, x] for (observation, prior), to differentiate and sample."""
    return _misfit(x, data, _arguments(problem)[1])


def residual_at(problem: Problem, x: np.ndarray) -> np.ndarray:
    """√w (prediction − measurement) at x [t, y, x]."""
    data, static = _arguments(problem)
    return np.asarray(_misfit(jnp.asarray(x, problem.observation.frames.dtype), data, static))


def posterior(problem: Problem, x: np.ndarray) -> Posterior:
    """Laplace approximation near an optimum: a last Gauss-Newton step, covariance of θ, trajectory with sd."""
    data, static = _arguments(problem)
    observation, dtype = problem.observation, problem.observation.frames.dtype
    residual, rows = (np.asarray(a) for a in _jacobian(jnp.asarray(x, dtype), data, static))
    normal = gn.with_prior(gn.normal_equations(residual, rows), x, problem.start, problem.sd)
    size = problem.space.size
    weights = np.asarray(observation.weights, float)
    if not np.isfinite(normal.hessian).all():
        path = np.asarray(observation.frames) + residual / np.sqrt(weights)
        unknown = np.full((size, size), np.nan)
        wild = np.full(path.shape, np.nan)
        return Posterior(x, x[:size], unknown, path, wild, unknown, np.nan, np.nan)
    last = move(problem, x, gn.dense_step(normal, 0.0)[0])
    if cost(problem, last) < normal.cost:
        x = last
        residual = np.asarray(_misfit(jnp.asarray(x, dtype), data, static))
    covariance = gn.inverse(normal.hessian)
    finer = problem._replace(substeps=2 * problem.substeps)
    moved = covariance[:size] @ (rows @ (residual_at(finer, x) - residual).ravel())
    root = np.linalg.cholesky(covariance).T.astype(rows.dtype)
    variance = np.concatenate(
        [np.sum((root @ part) ** 2, axis=0) for part in np.array_split(rows, 32, axis=1)]
    ).reshape(residual.shape)
    path = np.asarray(observation.frames) + residual / np.sqrt(weights)
    law = covariance[:size, :size]
    known = gn.inverse(law)
    information = known - np.diag(problem.law.sd**-2.0)
    path_sd = np.sqrt(variance / weights)
    bias = float(np.sqrt(moved @ known @ moved))
    return Posterior(x, x[:size], law, path, path_sd, information, gn.away(normal), bias)


def descend(
    problem: Problem,
    x: np.ndarray,
    iterations: int,
    resolution: float,
    progress: Steps | None,
    beyond: Problem | None = None,
    here: Linearised | None = None,
) -> tuple[gn.Minimum, Linearised | None]:
    """Minimum of a problem among the laws whose solution stays finite `beyond` its frames, and the last Jacobian.

    `here` is one that is known already.
    """
    dtype = problem.observation.frames.dtype
    start, sd = problem.start, problem.sd

    def normal(x: np.ndarray) -> gn.Normal:
        nonlocal here
        here = linearise(problem, x, here)
        return gn.freeze(gn.with_prior(here.normal, x, start, sd), problem.moving)

    def bounded(x: np.ndarray) -> float:
        value = cost(problem, x)
        stays = beyond is None or not np.isfinite(value) or np.isfinite(cost(beyond, x))
        return value if stays else np.inf

    found = gn.descend(
        normal,
        bounded,
        lambda x, step: move(problem, x, step),
        x,
        iterations=iterations,
        tolerance=0.0,
        resolution=resolution,
        precision=float(jnp.finfo(dtype).eps),
        damping=0.1,
        metric=1.0 / sd**2,
        progress=progress,
    )
    return found, here


def linearise(problem: Problem, x: np.ndarray, known: Linearised | None) -> Linearised:
    """The Jacobian at x, taken if it is not the one known."""
    if known is not None and np.array_equal(known.x, x):
        return known
    return Linearised(x, normal_at(problem, x)[0])


def cost(problem: Problem, x: np.ndarray) -> float:
    """Cost of x, summed in double precision: the decreases sought are 1e-7 of it."""
    data, static = _arguments(problem)
    dtype = problem.observation.frames.dtype
    misfit = gn.half_square(_misfit(jnp.asarray(x, dtype), data, static))
    return misfit + gn.half_square((x - problem.start) / problem.sd)


def move(problem: Problem, x: np.ndarray, step: np.ndarray) -> np.ndarray:
    size = problem.space.size
    theta = problem.space.move(x[:size], step[:size])
    if problem.free is not None:
        theta = np.where(problem.free, theta, x[:size])
    return np.concatenate([theta, x[size:] + step[size:]])


def _arguments(problem: Problem) -> tuple[_Data, _Static]:
    static = _Static(problem.space, problem.substeps, problem.burn_in)
    return (problem.observation, problem.prior), static
