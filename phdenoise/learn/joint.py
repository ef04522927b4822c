"""The joint fit: law and initial field from the noisy movie, the denoiser giving the field's start.

Gauss-Newton moves the law θ and the coefficients z of the initial field together. The law is compared with the
raw measurement, never with a smoothed one, so that the misfit is a likelihood and its curvature gives honest
intervals: the covariance of θ has the field marginalised. `phdenoise.learn.joint_loss` adds the network's part.

How strongly both are held is the matter of `phdenoise.learn.empirical_bayes`.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from phdenoise.learn import gauss_newton as gn
from phdenoise.learn.laws import LawPrior
from phdenoise.learn.objective import FieldPrior, MeasuredConcentration, misfit_residual
from phdenoise.physics.law_parameters import Parameters
from phdenoise.types import Steps

# Promised decrease of the cost [½ χ²] at which the fit has converged: √(2 · 0.2) = 0.6 posterior standard deviations, which the
# posterior's last step takes.
WORTHWHILE_DECREASE = 0.2
# Misfit [that of noise alone] below which a first descent has found the law; above, frames are taken in by and by.
NEAR_MISFIT = 1.03
# Shares of the frames that are taken in, and how many laws are tried on each: pattern formation forgets its start, so that from
# far away a law of all frames has many minima.
HORIZONS = ((0.2, 4), (0.5, 2))
# Jacobians on each horizon at most: only a start for the next is asked for.
HORIZON_JACOBIANS = 2
# What jitted functions take as arrays.
_Data = tuple[MeasuredConcentration, FieldPrior]


class _Static(NamedTuple):
    """What is fixed when they are compiled, but for the arrays of the family."""

    family: Parameters
    substeps: int
    burn_in: int


class Problem(NamedTuple):
    """One joint problem: arrays that jitted functions take, and what is static.

    Attributes:
        family: the law and its free numbers.
        observation, prior: data, and the field's prior.
        law: prior of θ.
        substeps, burn_in: solver steps per frame, and frames before the first.
        free: which numbers of θ move [p]; None for all.
        centre: of the prior of x; None for (law.centre, 0).
    """

    family: Parameters
    observation: MeasuredConcentration
    prior: FieldPrior
    law: LawPrior
    substeps: int
    burn_in: int
    free: np.ndarray | None = None
    centre: np.ndarray | None = None

    @property
    def waves(self) -> tuple[int, ...]:
        """Shape of the field's coefficients z."""
        return self.prior.waves.shape

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
        """θ [p] and z [*k] of x."""
        return x[: self.family.size], x[self.family.size :].reshape(self.waves)


class Linearised(NamedTuple):
    """Normal equations of the data alone at x: a Jacobian that need not be taken twice."""

    x: np.ndarray
    normal: gn.Normal


class Posterior(NamedTuple):
    """x at the optimum, θ [p], its covariance [p, p], and the predicted movie with its standard deviation [t, y, x].

    `information` is JᵀJ of θ with the field marginalised [p, p], `newton_decrement` how far a further step would go in standard
    deviations, `solver_bias` how many of them solver steps of half the length would move θ. `data` are the normal equations of the
    data alone. `residual` [t, y, x] is that at x, `rows` its
    Jacobian [p + m n, t y x] at most a fraction of a standard deviation before.
    """

    x: np.ndarray
    theta: np.ndarray
    covariance: np.ndarray
    trajectory: np.ndarray
    trajectory_sd: np.ndarray
    information: np.ndarray
    newton_decrement: float
    solver_bias: float
    residual: np.ndarray
    rows: np.ndarray
    data: gn.Normal


@eqx.filter_jit
def _misfit(x: Array, data: _Data, static: _Static, reverse: bool = False) -> Array:
    observation, prior = data
    theta, z = x[: static.family.size], x[static.family.size :]
    field = prior.field(z.reshape(prior.waves.shape))
    law = static.family.build(theta.astype(field.dtype))
    return misfit_residual(
        law,
        field,
        observation,
        substeps=static.substeps,
        burn_in=static.burn_in,
        reverse=reverse,
    )


@eqx.filter_jit
def _jacobian(x: Array, data: _Data, static: _Static) -> tuple[Array, Array]:
    return gn.jacobian(lambda x: _misfit(x, data, static), x)


@eqx.filter_jit
def _slope(x: Array, data: _Data, static: _Static) -> Array:
    return jax.grad(lambda x: 0.5 * jnp.sum(_misfit(x, data, static, True) ** 2))(x)


def fit_law_and_field(
    problem: Problem,
    laws: list[np.ndarray],
    *,
    iterations: int,
    expected: float,
    tried: bool = False,
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
        tried: a descent on all frames from the nearest of the laws after the first has ended far away.
        progress: called with (iteration, iterations, cost).

    Returns:
        The minimum, with the costs on the way.
    """
    begin = nearest(problem, laws)
    if tried and not np.array_equal(begin, _unmoved(problem, laws[0])):
        best = gn.Minimum.start(begin)._replace(cost=cost(problem, begin))
    else:
        best = first_descent(problem, begin, progress)
    if not best.cost < NEAR_MISFIT * 0.5 * expected:
        every = [_unmoved(problem, law) for law in laws]
        finite = [x for x in every if np.isfinite(cost(problem, x))] or every
        rivals = [gn.Minimum.start(x) for x in finite]
        for share, most in HORIZONS:
            # A law that fits few frames a little better may miss all that follow.
            early = _until(problem, share)
            rivals.sort(key=lambda rival: cost(early, rival.point))
            rivals = [
                descend(early, rival.point, HORIZON_JACOBIANS, 5.0, progress)[0].after(rival)
                for rival in rivals[:most]
            ]
        best = min((*rivals, best), key=lambda rival: cost(problem, rival.point))
    return descend(problem, best.point, iterations, WORTHWHILE_DECREASE, progress)[0].after(best)


def first_descent(problem: Problem, x: np.ndarray, progress: Steps | None) -> gn.Minimum:
    """A few steps on all frames.

    Args:
        problem: see `Problem`.
        x: (θ, z) to start from [p + m n].
        progress: called with (iteration, iterations, cost).

    Returns:
        Where they ended.
    """
    return descend(problem, x, HORIZON_JACOBIANS, WORTHWHILE_DECREASE, progress)[0]


def nearest(problem: Problem, laws: list[np.ndarray]) -> np.ndarray:
    """The law of the lowest cost, the field as the prior has it.

    Args:
        problem: see `Problem`.
        laws: θ to choose from [p].

    Returns:
        (θ, z) [p + m n].
    """
    return min((_unmoved(problem, law) for law in laws), key=lambda x: cost(problem, x))


def _unmoved(problem: Problem, law: np.ndarray) -> np.ndarray:
    """x of a law [p] with the field as the prior has it."""
    return np.concatenate([law, np.zeros(int(np.prod(problem.waves)))])


def _until(problem: Problem, share: float) -> Problem:
    """The problem with the early frames alone in its misfit; a law must stay finite on all, and nothing is compiled anew."""
    weights = problem.observation.weights
    count = max(2, round(share * weights.shape[0]))
    early = weights.at[count:].set(0.0)
    return problem._replace(
        observation=eqx.tree_at(lambda o: o.weights, problem.observation, early)
    )


def refine(
    problem: Problem, x: np.ndarray, *, iterations: int, progress: Steps | None = None
) -> gn.Minimum:
    """Descend on all frames from an x that is near.

    Args:
        problem: the joint problem.
        x: (θ, z) [p + m n].
        iterations: at most so many Jacobians.
        progress: called with (iteration, iterations, cost).

    Returns:
        The minimum.
    """
    return descend(problem, x, iterations, WORTHWHILE_DECREASE, progress)[0]


def rows_at(problem: Problem, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The residual √w (prediction − measurement) at x [t, y, x] and its Jacobian [p + m n, t y x].

    Args:
        problem: the joint problem.
        x: (θ, z) [p + m n].

    Returns:
        Residual and Jacobian, a row per number.
    """
    data, static = _arguments(problem)
    dtype = problem.observation.frames.dtype
    residual, rows = _jacobian(jnp.asarray(x, dtype), data, static)
    return np.asarray(residual), np.asarray(rows)


def normal_at(problem: Problem, x: np.ndarray) -> tuple[gn.Normal, np.ndarray]:
    """Normal equations of the data alone at x, and the residual √w (prediction − measurement) [t, y, x].

    Args:
        problem: the joint problem.
        x: (θ, z) [p + m n].

    Returns:
        Normal equations, and the residual [t, y, x].
    """
    residual, rows = rows_at(problem, x)
    return gn.normal_equations(residual, rows), residual


def normal_with_prior(problem: Problem, x: np.ndarray) -> gn.Normal:
    """Normal equations at x with the prior in them.

    Args:
        problem: the joint problem.
        x: (θ, z) [p + m n].

    Returns:
        Normal equations of the posterior.
    """
    return gn.with_prior(normal_at(problem, x)[0], x, problem.start, problem.sd)


def misfit(x: Array, data: _Data, problem: Problem) -> Array:
    """√w (prediction − measurement) [t, y, x] for (observation, prior), to differentiate in reverse mode and sample.

    Args:
        x: (θ, z) [p + m n].
        data: observation and prior of the field.
        problem: what else is fixed.

    Returns:
        Residuals in units of the noise [t, y, x].
    """
    return _misfit(x, data, _arguments(problem)[1], True)


def residual_at(problem: Problem, x: np.ndarray) -> np.ndarray:
    """√w (prediction − measurement) at x [t, y, x].

    Args:
        problem: the joint problem.
        x: (θ, z) [p + m n].

    Returns:
        Residuals in units of the noise [t, y, x].
    """
    data, static = _arguments(problem)
    return np.asarray(_misfit(jnp.asarray(x, problem.observation.frames.dtype), data, static))


def posterior(problem: Problem, x: np.ndarray) -> Posterior:
    """Laplace approximation near an optimum: a last Gauss-Newton step, covariance of θ, trajectory with sd.

    Args:
        problem: the joint problem.
        x: (θ, z) [p + m n].

    Returns:
        The posterior; nan where the solve diverged.
    """
    data, static = _arguments(problem)
    observation, dtype = problem.observation, problem.observation.frames.dtype
    residual, rows = rows_at(problem, x)
    equations = gn.normal_equations(residual, rows)
    normal = gn.with_prior(equations, x, problem.start, problem.sd)
    size = problem.family.size
    weights = np.asarray(observation.weights, float)
    if not np.isfinite(normal.hessian).all():
        path = _predicted(observation, residual)
        unknown = np.full((size, size), np.nan)
        wild = np.full(path.shape, np.nan)
        return Posterior(
            x, x[:size], unknown, path, wild, unknown, np.nan, np.nan, residual, rows, equations
        )
    last = move(problem, x, gn.dense_step(normal, 0.0)[0])
    if cost(problem, last) < normal.cost:
        x = last
        residual = np.asarray(_misfit(jnp.asarray(x, dtype), data, static))
        equations = equations._replace(
            cost=gn.half_square(residual), gradient=gn.gradient(residual, rows)
        )
    pull = (x - problem.start) / problem.sd**2
    left = gn.newton_decrement(normal._replace(gradient=slope_at(problem, x) + pull))
    covariance = gn.inverse(normal.hessian)
    finer = problem._replace(substeps=2 * problem.substeps)
    moved = covariance[:size] @ (rows @ (residual_at(finer, x) - residual).ravel())
    root = np.linalg.cholesky(covariance).T.astype(rows.dtype)
    variance = np.concatenate(
        [np.sum((root @ part) ** 2, axis=0) for part in np.array_split(rows, 32, axis=1)]
    ).reshape(residual.shape)
    path = _predicted(observation, residual)
    law = covariance[:size, :size]
    known = gn.inverse(law)
    information = known - np.diag(problem.law.sd**-2.0)
    path_sd = np.sqrt(variance / np.where(weights > 0, weights, np.nan))
    bias = float(np.sqrt(moved @ known @ moved))
    return Posterior(
        x, x[:size], law, path, path_sd, information, left, bias, residual, rows, equations
    )


def descend(
    problem: Problem,
    x: np.ndarray,
    iterations: int,
    resolution: float,
    progress: Steps | None,
    here: Linearised | None = None,
) -> tuple[gn.Minimum, Linearised | None]:
    """Minimum of a problem, and the last Jacobian.

    Args:
        problem: the joint problem.
        x: (θ, z) [p + m n].
        iterations: at most so many Jacobians.
        resolution: decrease of the cost that is not worth a step.
        progress: called with (iteration, iterations, cost).
        here: normal equations that are known already.

    Returns:
        The minimum, and the normal equations last taken.
    """
    dtype = problem.observation.frames.dtype
    start, sd = problem.start, problem.sd

    def normal(x: np.ndarray) -> gn.Normal:
        nonlocal here
        here = linearise(problem, x, here)
        return gn.freeze(gn.with_prior(here.normal, x, start, sd), problem.moving)

    def slope(x: np.ndarray) -> np.ndarray:
        gradient = slope_at(problem, x) + (x - start) / sd**2
        return gradient if problem.moving is None else np.where(problem.moving, gradient, 0.0)

    found = gn.descend(
        gn.Objective(normal, lambda x: cost(problem, x), slope),
        lambda x, step: move(problem, x, step),
        x,
        gn.Stopping(iterations, 0.0, resolution, float(jnp.finfo(dtype).eps)),
        damping=0.1,
        metric=1.0 / sd**2,
        progress=progress,
    )
    return found, here


def linearise(problem: Problem, x: np.ndarray, known: Linearised | None) -> Linearised:
    """The Jacobian at x, taken if it is not the one known.

    Args:
        problem: the joint problem.
        x: (θ, z) [p + m n].
        known: those last taken.

    Returns:
        Normal equations of the data at x.
    """
    if known is not None and np.array_equal(known.x, x):
        return known
    return Linearised(x, normal_at(problem, x)[0])


def slope_at(problem: Problem, x: np.ndarray) -> np.ndarray:
    """Gradient of ½|residual|² at x.

    Args:
        problem: the joint problem.
        x: (θ, z) [p + m n].

    Returns:
        Gradient of the data's part of the cost [p + m n].
    """
    data, static = _arguments(problem)
    return np.asarray(_slope(jnp.asarray(x, problem.observation.frames.dtype), data, static), float)


def cost(problem: Problem, x: np.ndarray) -> float:
    """Cost of x, summed in double precision: the decreases sought are 1e-7 of it.

    Args:
        problem: the joint problem.
        x: (θ, z) [p + m n].

    Returns:
        ½|residual|² + ½|prior|²; inf where the solve diverged.
    """
    data, static = _arguments(problem)
    with np.errstate(over="ignore"):
        point = x.astype(problem.observation.frames.dtype)
    if not np.isfinite(point).all():
        return np.inf
    misfit = gn.half_square(_misfit(jnp.asarray(point), data, static))
    return misfit + gn.half_square((x - problem.start) / problem.sd)


def move(problem: Problem, x: np.ndarray, step: np.ndarray) -> np.ndarray:
    """x after a step, θ along the law's natural coordinates.

    Args:
        problem: the joint problem.
        x: (θ, z) [p + m n].
        step: of x.

    Returns:
        x after the step; numbers that are not free stay.
    """
    size = problem.family.size
    theta = problem.family.law.long_step(problem.family, x[:size], step[:size])
    if problem.free is not None:
        theta = np.where(problem.free, theta, x[:size])
    return np.concatenate([theta, x[size:] + step[size:]])


def _predicted(observation: MeasuredConcentration, residual: np.ndarray) -> np.ndarray:
    """The law's movie [t, y, x] of a residual; nan outside the domain, where the weights are zero."""
    weights = np.asarray(observation.weights, float)
    return np.asarray(observation.frames) + residual / np.sqrt(
        np.where(weights > 0, weights, np.nan)
    )


def _arguments(problem: Problem) -> tuple[_Data, _Static]:
    static = _Static(problem.family, problem.substeps, problem.burn_in)
    return (problem.observation, problem.prior), static
