"""One family of laws set up so that any of its members can be fitted to early frames and judged on later ones.

The members differ in how many of their Legendre terms move; the others stay at zero. One family is compiled once.

A clean or denoised movie is taken at face value (`at_face_value`): stretches of the early frames for the fit, of the
later ones for the judgement, each started from a frame as it stands. A noisy one is compared with the raw measurement
(`from_field`): the initial field is estimated with the law, and the solution simply runs on into the later frames.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from phdenoise.learn import joint as joint_fit
from phdenoise.learn.config import FitConfig
from phdenoise.learn.criteria import Criteria, by_block, criteria, independent
from phdenoise.learn.fit_problem import FitProblem, Starts
from phdenoise.learn.gauss_newton import Minimum, Normal, normal_equations
from phdenoise.learn.joint_loss import measured_concentration
from phdenoise.learn.laws import weak_prior
from phdenoise.learn.objective import FieldPrior
from phdenoise.learn.shooting import (
    Descent,
    Windows,
    begin_at,
    count_data,
    cut_windows,
    descend_windows,
    linearise,
    still,
    windows_of,
)
from phdenoise.physics.law_parameters import Parameters

# Misfit [share of the change over time] below which two predictions are equally good: the square of 0.3 %, which is
# the default `FitConfig.solver_tolerance` summed over the ten frames of a stretch.
EQUAL_MISFIT = 1e-5


class Fitted(NamedTuple):
    """A member of a family after its fits.

    Attributes:
        early: optimum on the early frames, x = θ or (θ, z).
        held_out: mean squared residual of the later frames in blocks, a share of that of "nothing moves", or χ² per datum.
        whole: optimum on all frames.
        misfit: Σ of squared residuals there, in the same unit.
        residual: of all frames, weighted.
        normal: normal equations of the data alone there.
    """

    early: Minimum
    held_out: np.ndarray
    whole: Minimum
    misfit: float
    residual: np.ndarray
    normal: Normal


class CandidateFits(NamedTuple):
    """Fits of any member of one family.

    Attributes:
        family: with its largest degrees.
        start, sd: prior of x.
        known_noise: whether residuals are in units of the noise.
        fit: (which θ move, x to begin with or None) -> `Fitted`.
        data: number of residuals.
        floor: Σ of squared residuals below which fits are equally good.
    """

    family: Parameters
    start: np.ndarray
    sd: np.ndarray
    known_noise: bool
    fit: Callable[[np.ndarray, np.ndarray | None], Fitted]
    data: int
    floor: float

    def criteria(self, fitted: Fitted, free: np.ndarray, data: float, unit: float) -> Criteria:
        """Information criteria of a member.

        Args:
            fitted: of `fit`.
            free: which θ move.
            data: number of independent residuals.
            unit: χ² per datum of the best law, where noise is known and no law reaches 1.

        Returns:
            The criteria, smaller is better.
        """
        moving = np.concatenate([free, np.ones(self.start.size - free.size, bool)])
        if self.known_noise:
            deviance, scale = fitted.misfit / unit, unit
        else:
            scale = (fitted.misfit + self.floor) / self.data
            deviance = data * np.log(scale)
            scale *= self.data / data
        hessian = fitted.normal.hessian[np.ix_(moving, moving)] / scale
        pull = ((fitted.whole.point - self.start) / self.sd)[moving]
        return criteria(deviance, data, hessian, pull, self.sd[moving], int(free.sum()))


def at_face_value(
    family: Parameters, starts: Starts, fit_problem: FitProblem, config: FitConfig, held_out: int
) -> CandidateFits:
    """The movie as it stands, its last `held_out` frames for the judgement.

    Args:
        family: what the components of θ are.
        starts: where fits begin.
        fit_problem: the movie as concentration.
        config: settings.
        held_out: number of last frames for the judgement.

    Returns:
        Fits of the members of the family.
    """
    dtype = np.dtype(config.precision)
    frames = fit_problem.believed.astype(dtype)
    inside = np.ones(frames.shape[1:]) if fit_problem.inside is None else fit_problem.inside
    weights = (np.where(fit_problem.valid, 1.0, 1e-9) * inside).astype(dtype)
    count = frames.shape[0]
    cut = count - held_out
    length = max(1, min(config.window_frames, cut - 1, held_out // 2))
    # As many stretches of either: what is compiled for one serves the other.
    stretches = max(1, min(config.windows, held_out - length + 1, cut - length))

    def windows(part: slice) -> Windows:
        return cut_windows(
            frames[part],
            weights[part],
            fit_problem.times[part],
            fit_problem.grid,
            windows=stretches,
            length=length,
        )

    early, late, whole = windows(slice(cut)), windows(slice(cut - 1, None)), windows(slice(None))
    start, substeps = begin_at(family, starts, fit_problem, early, config)
    prior = weak_prior(family, start)
    per_still = 1 / max(2 * still(late) / count_data(late), 1e-30)
    floor = EQUAL_MISFIT * 2 * still(whole)
    how = Descent(substeps, config.iterations, config.tolerance)

    def fit(free: np.ndarray, begin: np.ndarray | None) -> Fitted:
        def descend(windows: Windows, begin: np.ndarray | None) -> Minimum:
            # Weights in units of the misfit that is worth seeing, which the prior is weighed against.
            scaled = eqx.tree_at(lambda w: w.weights, windows, windows.weights * weight)
            return descend_windows(family, prior, scaled, how, free=free, begin=begin)

        weight = count_data(whole) / floor if floor > 0 else 1.0
        first = descend(early, begin)
        residual, _ = linearise(family, first.point, late, substeps=substeps)
        square = residual.reshape(-1, *residual.shape[2:]).astype(float) ** 2 * per_still
        last = descend(whole, first.point)
        residual, rows = linearise(family, last.point, whole, substeps=substeps)
        misfit = float(np.sum(residual.astype(float) ** 2))
        return Fitted(
            first,
            by_block(square, fit_problem.inside),
            last,
            misfit,
            residual,
            normal_equations(residual, rows),
        )

    return CandidateFits(family, *prior, False, fit, count_data(whole), floor)


def from_field(
    family: Parameters,
    starts: Starts,
    fit_problem: FitProblem,
    config: FitConfig,
    held_out: int,
    prior: FieldPrior,
    burn_in: int,
) -> CandidateFits:
    """The raw measurement against a law and an initial field, the last `held_out` frames for the judgement.

    Args:
        family: what the components of θ are.
        starts: where fits begin.
        fit_problem: the movie as concentration.
        config: settings.
        held_out: number of last frames for the judgement.
        prior: of the initial field.
        burn_in: frame intervals from the field to the first frame.

    Returns:
        Fits of the members of the family.
    """
    dtype = np.dtype(config.precision)
    weights = fit_problem.weights
    cut = fit_problem.observed.shape[0] - held_out
    hidden = weights.copy()
    hidden[cut:] = 0.0
    whole = measured_concentration(fit_problem, dtype)
    early = eqx.tree_at(lambda o: o.weights, whole, jnp.asarray(hidden, dtype))
    windows = windows_of(fit_problem, config, fit_problem.believed[:cut], weights[:cut])
    theta, substeps = begin_at(family, starts, fit_problem, windows, config)
    base = joint_fit.Problem(family, whole, prior, weak_prior(family, theta), substeps, burn_in)
    laws = [theta, *starts.around]

    def fit(free: np.ndarray, begin: np.ndarray | None) -> Fitted:
        problem = base._replace(free=free)
        shown = problem._replace(observation=early)
        if begin is None:
            first = joint_fit.fit_law_and_field(
                shown, laws, iterations=config.iterations, expected=fit_problem.expected(slice(cut))
            )
        else:
            first = joint_fit.refine(shown, begin, iterations=config.iterations)
        square = joint_fit.residual_at(problem, first.point)[cut:].astype(float) ** 2
        last = joint_fit.refine(problem, first.point, iterations=config.iterations)
        normal, residual = joint_fit.normal_at(problem, last.point)
        misfit = float(np.sum(residual.astype(float) ** 2))
        held_out = by_block(square, fit_problem.inside)
        return Fitted(first, held_out, last, misfit, residual[None], normal)

    return CandidateFits(family, base.start, base.sd, True, fit, int(fit_problem.valid.sum()), 0.0)


def independent_data(families: list[CandidateFits], best: Fitted) -> float:
    """How many independent residuals the criteria count: those of the law that fits best tell.

    Args:
        families: fits of every kind of law.
        best: the fit of the lowest misfit.

    Returns:
        Number of independent residuals.
    """
    return float(families[0].data) if families[0].known_noise else independent(best.residual)
