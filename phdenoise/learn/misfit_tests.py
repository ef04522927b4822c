"""The misfit tests of both kinds of fit, and what they do to its intervals."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from phdenoise.grid import Grid
from phdenoise.learn import joint
from phdenoise.learn.edge_evidence import STRIP
from phdenoise.learn.edges import rim
from phdenoise.learn.fit_problem import FitProblem
from phdenoise.learn.gauss_newton import inverse
from phdenoise.learn.misfit import (
    Fit,
    Misfit,
    NearbyLaws,
    additions_of,
    change_over_time,
    directions,
    judge_misfit,
)
from phdenoise.learn.objective import misfit_residual
from phdenoise.learn.prior_influence import wide_prior
from phdenoise.learn.shooting import law_residual, linearise
from phdenoise.learn.window_fit import WindowFit
from phdenoise.physics.law_parameters import Parameters


def joint_misfit(
    problem: joint.Problem, found: joint.Posterior, fit_problem: FitProblem
) -> Misfit | None:
    """Test a law that was fitted with its initial field.

    Args:
        problem: the joint problem.
        found: its posterior.
        fit_problem: the movie.

    Returns:
        The tests; None where the solve diverged.
    """
    residual, rows = found.residual, found.rows
    curvature = found.data.hessian
    if not np.isfinite(curvature).all():
        return None
    wide = wide_prior(problem.sd, problem.family.size)
    theta, z = problem.split(found.x)
    near = _near(problem.family, theta, fit_problem.grid, fit_problem.times)
    dtype = problem.observation.frames.dtype
    field, data = jnp.asarray(z, dtype), (problem.observation, problem.prior)
    extra = directions(
        lambda a: _joint_residual(a, near, field, data, problem.substeps, problem.burn_in),
        near.zero,
    )
    weights = fit_problem.weights
    fit = Fit(
        residual,
        fit_problem.valid,
        _tested(fit_problem),
        rows,
        inverse(curvature + np.diag(problem.sd**-2.0)),
        inverse(curvature + np.diag(wide**-2.0)),
        problem.family.size,
        # Outside the domain the law predicts nothing.
        np.where(np.isfinite(found.trajectory), found.trajectory, fit_problem.observed),
        weights,
        fit_problem.power,
        change_over_time(fit_problem.observed, weights, fit_problem.valid, fit_problem.power),
        True,
    )
    return judge_misfit(fit, extra, near.columns())


def windows_misfit(
    family: Parameters, found: WindowFit, substeps: int, fit_problem: FitProblem
) -> Misfit | None:
    """Test a law that was fitted to stretches of a movie at face value.

    Args:
        family: what the components of θ are.
        found: the fit.
        substeps: solver steps a frame interval.
        fit_problem: the movie.

    Returns:
        The tests; None where the solve diverged.
    """
    if not np.isfinite(found.normal.hessian).all():
        return None
    windows, point = found.windows, found.minimum.point
    residual, rows = linearise(family, point, windows, substeps=substeps)
    near = _near(family, point, windows.grid, np.asarray(windows.times))
    extra = directions(lambda a: _window_residual(a, near, windows, substeps), near.zero)
    weights = np.asarray(windows.weights, float)
    measured = np.asarray(windows.frames, float)
    moved = np.sum(weights * (measured[:, 1:] - measured[:, :1]) ** 2)
    predicted = measured[:, 1:] + residual / np.sqrt(np.where(weights > 0, weights, 1.0))
    valid = weights > 1e-6 * weights.mean()
    covariance = inverse(found.normal.hessian)
    fit = Fit(
        residual,
        valid,
        _tested(fit_problem),
        rows.reshape(len(rows), -1),
        covariance,
        covariance,
        family.size,
        predicted,
        weights,
        1.0,
        float(moved),
        False,
    )
    return judge_misfit(fit, extra, near.columns())


def _tested(fit_problem: FitProblem) -> np.ndarray:
    """Cells that tests count [y, x]: not those near open faces, which the measured rim drives with its errors."""
    shape = fit_problem.grid.shape
    return ~rim(shape, fit_problem.faces, min(STRIP, min(shape) // 3))


def widened(covariance: np.ndarray, misfit: Misfit | None) -> np.ndarray:
    """Covariance of a law with what each missing addition would move it by.

    Args:
        covariance: of θ where the law holds [p, p].
        misfit: the tests.

    Returns:
        Covariance [p, p].
    """
    for finding in misfit.findings if misfit else ():
        covariance = covariance + np.outer(finding.shift, finding.shift)
    return covariance


def _near(family: Parameters, theta: np.ndarray, grid: Grid, times: np.ndarray) -> NearbyLaws:
    """The laws near θ on a grid, over the span of these times."""
    dtype = jnp.result_type(family.start)
    additions, shapes = additions_of(family.law, grid, float(np.ptp(times)), dtype)
    return NearbyLaws(family, jnp.asarray(theta, dtype), additions, shapes)


@eqx.filter_jit
def _joint_residual(
    amounts: Array, near: NearbyLaws, z: Array, data: Any, substeps: int, burn_in: int
) -> Array:
    observation, prior = data
    law = near.build(amounts)
    return misfit_residual(law, prior.field(z), observation, substeps=substeps, burn_in=burn_in)


@eqx.filter_jit
def _window_residual(amounts: Array, near: NearbyLaws, windows: Any, substeps: int) -> Array:
    return law_residual(near.build(amounts), windows, substeps)
