"""The whole joint fit: law and initial field, then the network, the strength of the priors, and the solver's steps.

The misfit is that of `phdenoise.learn.joint`; the network's part is `phdenoise.learn.joint_loss`.
"""

from dataclasses import replace
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from phdenoise.learn import joint
from phdenoise.learn.config import FitConfig
from phdenoise.learn.empirical_bayes import choose_prior_strengths
from phdenoise.learn.evidence import first, sentence
from phdenoise.learn.fit_problem import MOST_SUBSTEPS, FitProblem, Starts, needed_substeps
from phdenoise.learn.gauss_newton import Minimum
from phdenoise.learn.joint_loss import joint_problem, minimise_joint_loss, network_data
from phdenoise.learn.laws import LawPrior, weak_prior
from phdenoise.learn.misfit_tests import joint_misfit, widened
from phdenoise.learn.posterior_form import field_log_posterior
from phdenoise.learn.prior_influence import Influence, without_field_prior
from phdenoise.learn.result import FitResult
from phdenoise.learn.summary import Optimum, summarise
from phdenoise.movie import Estimate, Movie
from phdenoise.networks.table import architecture_of
from phdenoise.noise.defects import isolated
from phdenoise.physics.law_parameters import Parameters
from phdenoise.types import Progress, stage

# Solver steps a frame interval of a joint fit until a law is found: one fitted to a denoised movie in which little moves
# may be wild, and far stiffer.
COARSE_SUBSTEPS = 2
# Posterior standard deviations by which the solver's error may move a law: 0.3 widens an rms error by 4 %.
SOLVER_BIAS = 0.3


class Task(NamedTuple):
    """One fit: the movie, the law's free numbers, settings, and what was found on the way.

    Attributes:
        movie: as measured.
        family: the law and its free numbers.
        config: settings.
        fit_problem: the movie as concentration.
        starts: where the fit begins.
        estimate: the denoised movie of a joint fit; None where there is no network to adjust.
        progress: called with (stage, iteration, iterations, cost).
        tried: none of the laws to begin with came near, see `near_law`.
    """

    movie: Movie
    family: Parameters
    config: FitConfig
    fit_problem: FitProblem
    starts: Starts
    estimate: Estimate | None
    progress: Progress | None
    tried: bool = False


class _State(NamedTuple):
    """Where a joint fit stands."""

    problem: joint.Problem
    minimum: Minimum
    statistics: dict[str, float]


def fit_jointly(task: Task, theta: np.ndarray) -> FitResult:
    """Law, initial field and network together.

    Args:
        task: the fit, with an estimate.
        theta: θ of a law fitted to the denoised movie [p].

    Returns:
        The result, with the movie that the law predicts.
    """
    family, config = task.family, task.config
    state = _law_and_field(task, theta)
    if np.isfinite(state.minimum.cost):
        task, state = _without_outliers(task, state)
        state = _with_network(task, state)
    fit_problem = task.fit_problem
    # The network moves the field's centre a little; what follows takes that in.
    if np.isfinite(state.minimum.cost) and config.prior == "evidence":
        problem, minimum = choose_prior_strengths(
            state.problem,
            state.minimum,
            # Where two curves trade, a field held more tightly was seen to push the law along that valley.
            field=not family.law.product,
            iterations=config.iterations,
            progress=stage(task.progress, "strength of the priors"),
        )
        state = state._replace(problem=problem, minimum=minimum)
    problem, minimum, found = _with_finer_steps(task, state)
    path = found.trajectory
    chi2, numbers = _statistics(fit_problem, np.asarray(problem.observation.weights), path)
    statistics = state.statistics | numbers
    statistics |= {"substeps": float(problem.substeps), "solver_bias_sd": found.solver_bias}
    misfit = joint_misfit(problem, found, fit_problem)
    law = _law(problem, found, config)
    # A law that misses structure leaves chi2 above one; its intervals widen accordingly.
    covariance = widened(law.covariance * max(1.0, chi2), misfit)
    log_posterior = field_log_posterior(problem, found.x, covariance)
    optimum = Optimum(
        minimum,
        law.theta,
        covariance,
        statistics,
        found.information,
        found.newton_decrement,
        log_posterior,
        misfit,
    )
    frames = fit_problem.observed.shape[0]
    said = f"Single shooting: {frames} frames from an initial field that is estimated with the law."
    fit_problem = fit_problem.saying(said, *law.sentences, *held_by(family, problem.law, config))
    result = summarise(task.movie, family, config, fit_problem, optimum, task.progress)
    return replace(result, trajectory=path, trajectory_sd=found.trajectory_sd)


def _law(problem: joint.Problem, found: joint.Posterior, config: FitConfig) -> Influence:
    """The law of a posterior; other intervals than Laplace's are those of the posterior as it is."""
    size = problem.family.size
    prior = problem.start, problem.sd
    law = without_field_prior(found.data, found.x, prior, size)
    if config.uncertainty == "laplace" and np.isfinite(law.theta).all():
        return law
    return Influence(found.theta, found.covariance, 0.0, np.zeros(size))


def near_law(task: Task) -> np.ndarray | None:
    """A law from which the joint fit is near its minimum, without a fit to stretches of the movie.

    Args:
        task: the fit.

    Returns:
        θ [p]; None where none of the laws to begin with comes near.
    """
    family, config, fit_problem = task.family, task.config, task.fit_problem
    dtype = np.dtype(config.precision)
    law = choose_prior(family, task.starts.guess, config)
    coarse, _ = _steps(task, task.starts.guess)
    problem = joint_problem(family, fit_problem, law, coarse, config, dtype)
    begin = joint.nearest(problem, list(task.starts.around))
    found = joint.first_descent(problem, begin, stage(task.progress, "law"))
    if not found.cost < joint.NEAR_MISFIT * 0.5 * fit_problem.expected():
        return None
    return problem.split(found.point)[0]


def choose_prior(family: Parameters, theta: np.ndarray, config: FitConfig) -> LawPrior:
    """The prior about a law near the truth.

    Args:
        family: what the components of θ are.
        theta: the law [p].
        config: says what chooses the prior's strength.

    Returns:
        The prior to begin with.
    """
    return first(family, theta) if config.prior == "evidence" else weak_prior(family, theta)


def finer(substeps: int, bias: float) -> int:
    """Substeps at which the solver's error, of second order in the step, moves a law by no more than `SOLVER_BIAS`.

    Args:
        substeps: solver steps a frame interval.
        bias: by how many standard deviations steps of half the length would move the law; nan if unknown.

    Returns:
        Solver steps a frame interval, at least twice as many.
    """
    doublings = np.ceil(np.log2(bias / SOLVER_BIAS) / 2) if np.isfinite(bias) else 1
    return min(2 ** max(1, int(doublings)) * substeps, MOST_SUBSTEPS)


def held_by(family: Parameters, prior: LawPrior, config: FitConfig) -> tuple[str, ...]:
    """What holds the law, in sentences.

    Args:
        family: what the components of θ are.
        prior: as strong as it was chosen.
        config: says whether it was chosen.

    Returns:
        One sentence, or none.
    """
    return (sentence(family, prior),) if config.prior == "evidence" else ()


def _law_and_field(task: Task, theta: np.ndarray) -> _State:
    """The minimum for the network as it was trained."""
    family, config, fit_problem = task.family, task.config, task.fit_problem
    dtype = np.dtype(config.precision)
    coarse, needed = _steps(task, theta)
    law = choose_prior(family, theta, config)

    if config.schedule == "simultaneous":
        # Law, field and network then start together, from the law of the denoised movie.
        problem = joint_problem(family, fit_problem, law, needed, config, dtype)
        x = np.concatenate([theta, np.zeros(int(np.prod(problem.waves)))])
        return _State(problem, Minimum.start(x)._replace(cost=joint.cost(problem, x)), {})

    def descend(substeps: int) -> _State:
        problem = joint_problem(family, fit_problem, law, substeps, config, dtype)
        minimum = joint.fit_law_and_field(
            problem,
            [theta, *task.starts.around],
            iterations=config.iterations,
            expected=fit_problem.expected(),
            tried=task.tried,
            progress=stage(task.progress, "law and field"),
        )
        return _State(problem, minimum, {})

    found = descend(coarse)
    if not np.isfinite(found.minimum.cost) and coarse < needed:
        found = descend(needed)
    return found


def _without_outliers(task: Task, state: _State) -> tuple[Task, _State]:
    """No weight on values that lie far from the law's movie and from what is left around them, and the minimum without them.

    Beside a law's movie outliers show that the structure of the measured frames hides.
    """
    problem, minimum, fit_problem = state.problem, state.minimum, task.fit_problem
    left = joint.residual_at(problem, minimum.point)
    odd = isolated(np.asarray(left, float), fit_problem.valid, residual=True)
    if not odd.any():
        return task, state
    said = f"{int(odd.sum())} values lie far from the law's movie and from those around them and were left out."
    fit_problem = replace(fit_problem, valid=fit_problem.valid & ~odd).saying(said)
    weights = jnp.where(odd, 0, problem.observation.weights)
    observation = eqx.tree_at(lambda o: o.weights, problem.observation, weights)
    problem = problem._replace(observation=observation)
    again = joint.refine(
        problem,
        minimum.point,
        iterations=task.config.iterations,
        progress=stage(task.progress, "without outliers"),
    )
    task = task._replace(fit_problem=fit_problem)
    return task, state._replace(problem=problem, minimum=again.after(minimum))


def _steps(task: Task, theta: np.ndarray) -> tuple[int, int]:
    """Solver steps a frame interval to find a law near θ, and those that it needs."""
    config = task.config
    needed = needed_substeps(task.family, theta, task.fit_problem, config, MOST_SUBSTEPS)
    return config.substeps or min(max(needed // 2, 1), COARSE_SUBSTEPS), needed


def _with_network(task: Task, state: _State) -> _State:
    """The network adjusted to the law, which moves the centre of the field's prior."""
    estimate, config = task.estimate, task.config
    if estimate is None:
        return state
    simultaneous = config.schedule == "simultaneous"
    steps = config.simultaneous_steps if simultaneous else config.network_steps
    # The joint steps are those of the blind likelihood; other networks only give the field's start.
    blind = bool(estimate.weights) and architecture_of(estimate.settings).in_parts
    if not (steps and blind):
        return state
    problem, minimum = state.problem, state.minimum
    adapted = minimise_joint_loss(
        network_data(estimate, task.fit_problem, problem),
        problem,
        minimum.point,
        steps=steps,
        seed=config.seed,
        everything=simultaneous,
        progress=stage(task.progress, "network"),
    )
    mean = jnp.asarray(adapted.first, problem.observation.frames.dtype)
    problem = problem._replace(prior=eqx.tree_at(lambda p: p.mean, problem.prior, mean))
    x = np.concatenate([adapted.theta, adapted.field.ravel()])
    minimum = minimum._replace(point=x, cost=joint.cost(problem, x)) if simultaneous else minimum
    return _State(problem, minimum, adapted.statistics)


def _with_finer_steps(task: Task, state: _State) -> tuple[joint.Problem, Minimum, joint.Posterior]:
    """Solver steps short enough for the law, the minimum with them, and the posterior."""
    problem, minimum, config = state.problem, state.minimum, task.config
    found = joint.posterior(problem, minimum.point)
    while (
        np.isfinite(minimum.cost)
        and not found.solver_bias <= SOLVER_BIAS
        and not config.substeps
        and problem.substeps < MOST_SUBSTEPS
    ):
        problem = problem._replace(substeps=finer(problem.substeps, found.solver_bias))
        again = joint.refine(
            problem,
            found.x,
            iterations=config.iterations,
            progress=stage(task.progress, "smaller solver steps"),
        )
        minimum = again.after(minimum)
        found = joint.posterior(problem, minimum.point)
    return problem, minimum, found


def _statistics(
    fit_problem: FitProblem, weights: np.ndarray, path: np.ndarray
) -> tuple[float, dict[str, float]]:
    """χ² per datum of the predicted movie [t, y, x], and the statistics of the misfit."""
    frames, expected = path.shape[0], fit_problem.expected()
    weights = np.where(fit_problem.valid, weights, 0.0)
    missed = np.where(fit_problem.valid, path - fit_problem.observed, 0.0)
    chi2 = float(np.sum(weights * missed**2))
    still = float(np.sum(weights * (fit_problem.observed.mean(0) - fit_problem.observed) ** 2))
    still_dof = expected * (frames - 1) / frames
    return chi2 / expected, {
        "chi2_per_dof": chi2 / expected,
        # Of the change over time beyond noise, the share that the law accounts for.
        "explained_variance": 1.0 - max(chi2 - expected, 0.0) / max(still - still_dof, 1e-12),
    }
