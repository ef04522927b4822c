"""The whole fit at face value: law, prior as strong as the evidence says, covariance, and whether the solver was fine enough.

Residuals of a movie's own start frames are correlated over neighbouring pixels and frames: weights and intervals go by
how much the gradient of the cost scatters over blocks.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from phdenoise.learn.evidence import strength, strengthen
from phdenoise.learn.gauss_newton import Minimum, Normal, inverse, normal_equations, with_prior
from phdenoise.learn.laws import LawPrior, LawSpace
from phdenoise.learn.shooting import (
    Windows,
    descend_windows,
    linearise,
    misfit_cost,
    weighted_misfit,
)

BLOCK = 16
# How often the prior's strength is chosen, and the relative change that ends it.
ROUNDS, SETTLED = 4, 1.1
# Promised decrease of the cost at which a fit whose weights are in units of the noise has converged.
RESOLUTION = 0.02


class WindowFit(NamedTuple):
    """Optimum of `fit_windows`.

    Attributes:
        minimum: of the cost.
        covariance: of θ [p, p].
        data, normal: normal equations there, of the data and with the prior.
        prior: as strong as the evidence says.
        windows: with the weights that the residuals deserve.
        excess: by which those of the stated noise were divided.
        chi2: mean squared residual in units of the noise that was stated.
        solver_bias: by how many standard deviations θ would move if the solver took half its steps.
        solver_share: rms of what that changes in the prediction, as a share of the residuals'.
    """

    minimum: Minimum
    covariance: np.ndarray
    data: Normal
    normal: Normal
    prior: LawPrior
    windows: Windows
    excess: float
    chi2: float
    solver_bias: float
    solver_share: float


def fit_windows(
    space: LawSpace,
    prior: LawPrior,
    windows: Windows,
    *,
    substeps: int,
    iterations: int,
    tolerance: float,
    evidence: bool = True,
    begin: np.ndarray | None = None,
    excess: float = 1.0,
    progress: Callable[[int, int, float], None] | None = None,
) -> WindowFit:
    """Maximum a-posteriori θ of the windows and its covariance.

    The covariance is the block-robust sandwich H⁻¹ (Σ_b s_b s_bᵀ) H⁻¹: residuals of a movie's own start
    frames are correlated over neighbouring pixels and frames, which H⁻¹ alone would ignore
    (White, Econometrica 48, 817 (1980); Cameron & Miller, J. Hum. Resour. 50, 317 (2015)). So many times as they
    are correlated the weights are too large, and are divided by it before the evidence chooses the prior's strength.

    Args:
        space, windows, substeps, iterations, tolerance, begin, progress: see `descend_windows`.
        prior: the weakest.
        evidence: whether it is strengthened as the evidence says.
        excess: what is known of that factor.
    """
    known: Linearised | None = None

    def here(theta: np.ndarray) -> Linearised:
        nonlocal known
        if known is None or not np.array_equal(known.point, theta):
            residual, rows = linearise(space, theta, windows, substeps=substeps)
            known = Linearised(theta, residual, rows, normal_equations(residual, rows))
        return known

    fitted = partial(
        descend_windows,
        space,
        substeps=substeps,
        iterations=iterations,
        tolerance=tolerance,
        equations=lambda theta: _scaled(here(theta).normal, 1 / excess),
        progress=progress,
    )
    resolution = 0.0 if begin is None else RESOLUTION
    minimum = fitted(prior, _divided(windows, excess), begin=begin, resolution=resolution)
    used = max(int(np.sum(np.asarray(windows.weights) > 0)) - space.size, 1)
    for round_ in range(ROUNDS if evidence else 0):
        found = here(minimum.point)
        if not (np.isfinite(minimum.cost) and np.isfinite(found.normal.hessian).all()):
            break
        if round_ == 0:
            data = _scaled(found.normal, 1 / excess)
            few = 2 * minimum.cost / used
            excess *= _excess(prior, data, _scores(found) / excess, few)
            # Residuals below the stated noise do not make it smaller.
            excess = max(excess, 1.0)
        stronger = strengthen(space, prior, _scaled(found.normal, 1 / excess), minimum.point)
        before, now = (list(strength(space, p).values()) for p in (prior, stronger))
        prior = stronger
        again = fitted(prior, _divided(windows, excess), begin=minimum.point, resolution=RESOLUTION)
        minimum = again.after(minimum)
        if np.allclose(before, now, rtol=SETTLED - 1):
            break
    chi2 = 2 * misfit_cost(space, minimum.point, windows, substeps) / used
    found = here(minimum.point)
    data = _scaled(found.normal, 1 / excess)
    normal = with_prior(data, minimum.point, *prior)
    divided = _divided(windows, excess)
    if not np.isfinite(normal.hessian).all():
        unknown = np.full((space.size, space.size), np.nan)
        return WindowFit(
            minimum, unknown, data, normal, prior, divided, excess, chi2, np.nan, np.nan
        )
    bread = np.linalg.pinv(normal.hessian)
    scores = _scores(found) / excess
    if (blocks := _blocks(scores)) > 2 * space.size:
        meat = scores @ scores.T * blocks / (blocks - space.size) + np.diag(1 / prior.sd**2)
        covariance = bread @ meat @ bread
    else:
        covariance = bread * max(1.0, 2 * minimum.cost / used)
    finer = weighted_misfit(
        space, jnp.asarray(minimum.point, windows.frames.dtype), windows, 2 * substeps
    )
    moved = (np.asarray(finer, float) - found.residual).reshape(-1)
    square = float(np.sum(found.residual.astype(float) ** 2))
    share = float(np.sqrt(np.sum(moved**2) / max(square, 1e-30)))
    change = found.rows.astype(float) @ moved / excess
    bias = float(np.sqrt(max(change @ bread @ change, 0.0)))
    return WindowFit(minimum, covariance, data, normal, prior, divided, excess, chi2, bias, share)


class Linearised(NamedTuple):
    """Residual [w, m, y, x], its Jacobian [p, ...] and their normal equations at a point, by the stated noise."""

    point: np.ndarray
    residual: np.ndarray
    rows: np.ndarray
    normal: Normal


def _scaled(normal: Normal, factor: float) -> Normal:
    return Normal(normal.cost * factor, normal.gradient * factor, normal.hessian * factor)


def _divided(windows: Windows, excess: float) -> Windows:
    weights = windows.weights / jnp.asarray(excess, windows.frames.dtype)
    return eqx.tree_at(lambda w: w.weights, windows, weights)


def _blocks(scores: np.ndarray) -> int:
    """How many blocks have pixels that count."""
    return int(np.sum(np.any(scores != 0, axis=0)))


def _excess(prior: LawPrior, data: Normal, scores: np.ndarray, few: float) -> float:
    """How many times the gradient's variance, by its spread over blocks, is what white residuals of unit variance would give.

    `few` stands for it where there are few blocks.
    """
    if _blocks(scores) <= 2 * len(scores):
        return few
    known = inverse(data.hessian + np.diag(prior.sd**-2.0))
    found = np.trace(known @ scores @ scores.T) / np.trace(known @ data.hessian)
    return float(found)


def _scores(found: Linearised) -> np.ndarray:
    """Gradient of the cost, block by block: [p, blocks] with blocks of BLOCK × BLOCK pixels."""
    residual, rows = found.residual, found.rows
    w, _, ny, nx = residual.shape
    pad = ((0, 0), (0, -ny % BLOCK), (0, -nx % BLOCK))
    scores = []
    for row in rows.reshape(-1, *residual.shape):
        score = np.pad(np.sum(row.astype(float) * residual, axis=1), pad)
        _, py, px = score.shape
        blocks = score.reshape(w, py // BLOCK, BLOCK, px // BLOCK, BLOCK)
        scores.append(blocks.sum((2, 4)).reshape(-1))
    return np.stack(scores)
