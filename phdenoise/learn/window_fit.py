"""The whole fit at face value: law, prior as strong as the evidence says, covariance, and whether the solver was fine enough.

Residuals of a movie's own start frames are correlated over neighbouring pixels and frames: weights and intervals go by
how much the gradient of the cost scatters over blocks.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from phdenoise.learn.blocks import in_blocks
from phdenoise.learn.evidence import strength, strengthen
from phdenoise.learn.gauss_newton import Minimum, Normal, inverse, normal_equations, with_prior
from phdenoise.learn.laws import LawPrior
from phdenoise.learn.shooting import (
    Descent,
    Windows,
    count_data,
    descend_windows,
    linearise,
    misfit_cost,
    weighted_misfit,
)
from phdenoise.physics.law_parameters import Parameters

# Side of the blocks whose gradients count as independent [px]: longer than the correlation of a movie's structures.
BLOCK_SIDE = 16
# Rounds of choosing the prior's strength at most, and the change that ends the rounds [factor].
STRENGTH_ROUNDS, STRENGTH_CHANGE = 4, 1.1
# Promised decrease of the cost [½ χ²] at which a fit whose weights are in units of the noise has converged: 0.2 posterior standard
# deviations.
WORTHWHILE_DECREASE = 0.02


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
    family: Parameters,
    prior: LawPrior,
    windows: Windows,
    descent: Descent,
    *,
    evidence: bool = True,
    begin: np.ndarray | None = None,
    excess: float = 1.0,
) -> WindowFit:
    """Maximum a-posteriori θ of the windows and its covariance.

    The covariance is the block-robust sandwich H⁻¹ (Σ_b s_b s_bᵀ) H⁻¹: residuals of a movie's own start
    frames are correlated over neighbouring pixels and frames, which H⁻¹ alone would ignore
    (White, Econometrica 48, 817 (1980); Cameron & Miller, J. Hum. Resour. 50, 317 (2015)). So many times as they
    are correlated the weights are too large, and are divided by it before the evidence chooses the prior's strength.

    Args:
        family: what the components of θ are.
        prior: the weakest.
        windows: stretches of the movie.
        descent: how to descend.
        evidence: whether the prior is strengthened as the evidence says.
        begin: where to start, the prior's centre by default [p].
        excess: what is known of that factor.

    Returns:
        The optimum, with covariance and what the solver did to it.
    """
    substeps = descent.substeps
    here = _remembering(family, windows, substeps)

    def fitted(
        prior: LawPrior, excess: float, begin: np.ndarray | None, resolution: float
    ) -> Minimum:
        return descend_windows(
            family,
            prior,
            _divided(windows, excess),
            descent,
            begin=begin,
            resolution=resolution,
            equations=lambda theta: _scaled(here(theta).normal, 1 / excess),
        )

    minimum = fitted(prior, excess, begin, 0.0 if begin is None else WORTHWHILE_DECREASE)
    used = max(count_data(windows) - family.size, 1)
    for round_ in range(STRENGTH_ROUNDS if evidence else 0):
        found = here(minimum.point)
        if not (np.isfinite(minimum.cost) and np.isfinite(found.normal.hessian).all()):
            break
        if round_ == 0:
            data = _scaled(found.normal, 1 / excess)
            few = 2 * minimum.cost / used
            # Residuals below the stated noise do not make it smaller.
            excess = max(excess * _excess(prior, data, _scores(found) / excess, few), 1.0)
        stronger = strengthen(family, prior, _scaled(found.normal, 1 / excess), minimum.point)
        before, now = (list(strength(family, p).values()) for p in (prior, stronger))
        prior = stronger
        minimum = fitted(prior, excess, minimum.point, WORTHWHILE_DECREASE).after(minimum)
        if np.allclose(before, now, rtol=STRENGTH_CHANGE - 1):
            break
    chi2 = 2 * misfit_cost(family, minimum.point, windows, substeps) / used
    found = here(minimum.point)
    data = _scaled(found.normal, 1 / excess)
    normal = with_prior(data, minimum.point, *prior)
    divided = _divided(windows, excess)
    unknown = np.full((family.size, family.size), np.nan)
    whole = WindowFit(minimum, unknown, data, normal, prior, divided, excess, chi2, np.nan, np.nan)
    if not np.isfinite(normal.hessian).all():
        return whole
    bread = np.linalg.pinv(normal.hessian)
    covariance = _sandwich(bread, _scores(found) / excess, prior.sd, 2 * minimum.cost / used)
    finer = weighted_misfit(
        family, jnp.asarray(minimum.point, windows.frames.dtype), windows, 2 * substeps
    )
    bias, share = _solver_error(found, np.asarray(finer, float), bread, excess)
    return whole._replace(covariance=covariance, solver_bias=bias, solver_share=share)


class Linearised(NamedTuple):
    """Residual [w, m, y, x], its Jacobian [p, ...] and their normal equations at a point, by the stated noise."""

    point: np.ndarray
    residual: np.ndarray
    rows: np.ndarray
    normal: Normal


def _remembering(
    family: Parameters, windows: Windows, substeps: int
) -> Callable[[np.ndarray], Linearised]:
    """θ -> normal equations, which are kept until θ changes."""
    known: Linearised | None = None

    def here(theta: np.ndarray) -> Linearised:
        nonlocal known
        if known is None or not np.array_equal(known.point, theta):
            residual, rows = linearise(family, theta, windows, substeps=substeps)
            known = Linearised(theta, residual, rows, normal_equations(residual, rows))
        return known

    return here


def _sandwich(
    bread: np.ndarray, scores: np.ndarray, sd: np.ndarray, per_datum: float
) -> np.ndarray:
    """Block-robust covariance [p, p]; where there are few blocks, the curvature's times the misfit per datum."""
    size, blocks = len(scores), _blocks(scores)
    if blocks <= 2 * size:
        return bread * max(1.0, per_datum)
    meat = scores @ scores.T * blocks / (blocks - size) + np.diag(1 / sd**2)
    return bread @ meat @ bread


def _solver_error(
    found: Linearised, finer: np.ndarray, bread: np.ndarray, excess: float
) -> tuple[float, float]:
    """By how many standard deviations θ, and by which share of the residuals the prediction moves with finer steps."""
    moved = (finer - found.residual).reshape(-1)
    square = float(np.sum(found.residual.astype(float) ** 2))
    share = float(np.sqrt(np.sum(moved**2) / max(square, 1e-30)))
    change = found.rows.astype(float) @ moved / excess
    return float(np.sqrt(max(change @ bread @ change, 0.0))), share


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
    """Gradient of the cost, block by block: [p, blocks] with blocks of BLOCK_SIDE × BLOCK_SIDE pixels."""
    residual, rows = found.residual, found.rows
    ny, nx = residual.shape[-2:]
    pad = ((0, 0), (0, -ny % BLOCK_SIDE), (0, -nx % BLOCK_SIDE))
    scores = []
    for row in rows.reshape(-1, *residual.shape):
        score = np.pad(np.sum(row.astype(float) * residual, axis=1), pad)
        scores.append(in_blocks(score, (BLOCK_SIDE, BLOCK_SIDE)).sum((-3, -1)).reshape(-1))
    return np.stack(scores)
