"""How strongly a joint fit holds the law's terms and the initial field: the evidence says.

The law's terms have one strength for the bends of μ_h and one for the shape of ln D (`phdenoise.learn.evidence`); how far
a wave of the field may be from the denoiser's is chosen in bands of wave number: a denoiser errs in long waves, and a prior
as wide in all of them would let the field explain what the law must.
MacKay, Neural Computation 4, 415 (1992), doi:10.1162/neco.1992.4.3.415.
"""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from phdenoise.learn import gauss_newton as gn
from phdenoise.learn.evidence import marginal, strength, strengthen
from phdenoise.learn.joint import WORTHWHILE_DECREASE, Linearised, Problem, descend, linearise
from phdenoise.types import Steps

# Edges of the bands of waves that share a prior [periods, half periods in a closed box], about half an octave wide so that each
# has enough coefficients; and the factor by which the strength of a band changes at most in one round.
WAVE_BANDS = (1.5, 3.0, 5.0, 8.0, 12.0)
BAND_STEP = 3.0
# Rounds of choosing strengths, Jacobians of the descent after each, and the change that ends the rounds [factor]. The fixed
# point converges linearly, and what a strength changes by less than a third moves no law by a standard deviation.
STRENGTH_ROUNDS, ROUND_JACOBIANS, STRENGTH_CHANGE = 4, 3, 1.3


class ChosenPriors(NamedTuple):
    """A problem with priors as strong as the evidence says, and the minimum of its cost."""

    problem: Problem
    minimum: gn.Minimum


def choose_prior_strengths(
    problem: Problem,
    minimum: gn.Minimum,
    *,
    field: bool,
    iterations: int,
    progress: Steps | None = None,
) -> ChosenPriors:
    """Let the evidence choose the priors of the law's terms and of the field's bands of waves, and fit again with each choice.

    Args:
        problem: see `Problem`.
        minimum: of its cost, at (θ, z).
        field: whether the field's bands are chosen, too.
        iterations: at most so many Jacobians for the last choice.
        progress: called with (iteration, iterations, cost).

    Returns:
        The problem with the priors chosen, and its minimum.
    """
    size, dtype = problem.family.size, problem.observation.frames.dtype
    here = None
    for _ in range(STRENGTH_ROUNDS):
        x = minimum.point
        here = linearise(problem, x, here)
        data = here.normal
        if not np.isfinite(data.hessian).all():
            break
        spread = np.append(np.full(size, np.inf), problem.sd[size:])
        shown = marginal(gn.with_prior(data, x, problem.start, spread), size)
        if not np.isfinite(shown.hessian).all():
            break
        law = strengthen(problem.family, problem.law, shown, x[:size])
        change = [
            abs(np.log(a / b))
            for a, b in zip(
                strength(problem.family, law).values(),
                strength(problem.family, problem.law).values(),
                strict=True,
            )
        ]
        if field:
            hessian = gn.with_prior(data, x, problem.start, problem.sd).hessian
            unknown = np.diag(gn.inverse(hessian))[size:].reshape(problem.waves)
            factor = _strength(problem, x[size:].reshape(problem.waves), unknown)
            spectrum = problem.prior.spectrum * jnp.asarray(factor, dtype)
            wider = eqx.tree_at(lambda p: p.spectrum, problem.prior, spectrum)
            scale = np.append(np.ones(size), factor.ravel())
            problem, x = problem._replace(prior=wider), x / scale
            scaled = data.gradient * scale, data.hessian * np.outer(scale, scale)
            here = Linearised(x, gn.Normal(data.cost, *scaled))
            change += list(np.abs(np.log(factor.ravel())))
        problem = problem._replace(law=law)
        found, here = descend(problem, x, ROUND_JACOBIANS, WORTHWHILE_DECREASE, progress, here=here)
        minimum = found.after(minimum)
        if max(change, default=0.0) < np.log(STRENGTH_CHANGE):
            break
    if not minimum.converged and np.isfinite(minimum.cost):
        found, _ = descend(
            problem, minimum.point, iterations, WORTHWHILE_DECREASE, progress, here=here
        )
        minimum = found.after(minimum)
    return ChosenPriors(problem, minimum)


def _strength(problem: Problem, z: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """Factors for the prior's standard deviation of the coefficients z, whose posterior variance is `unknown` [*k]."""
    band, factor = np.digitize(problem.prior.waves.number, WAVE_BANDS), np.ones(z.shape)
    for b in np.unique(band):
        here = band == b
        # Two more that are as the prior says: few coefficients must not decide.
        found = (np.sum(z[here] ** 2) + 2.0) / (np.sum(1 - unknown[here]) + 2.0)
        factor[here] = np.clip(np.sqrt(found), 1 / BAND_STEP, BAND_STEP)
    return factor
