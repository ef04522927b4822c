"""How strongly to hold the terms of a law that bend it: the movie's own evidence says.

    −ln p(θ | s) = Σₙ n(n+1) (θₙ − θ₀ₙ)² / 2s²,     one s for the bends of μ_h (n ≥ 2), one for the shape of ln D (n ≥ 1)

A movie shows D μ_h' and D κ; what is D and what is μ_h rests on the entropy being known and the enthalpy being of low
degree, since D/a, a μ_h and a κ move a field in the same way. Terms that the movie does not ask for leave that split to
chance; with s chosen by the evidence they vanish unless they are seen. The penalty n(n+1) is that of Zhao et al., Phys.
Rev. Lett. 124, 060201 (2020), doi:10.1103/PhysRevLett.124.060201; s by MacKay's fixed point, Neural Computation 4, 415
(1992), doi:10.1162/neco.1992.4.3.415.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from phdenoise.learn.gauss_newton import Normal, inverse
from phdenoise.learn.laws import LawPrior, weak_prior
from phdenoise.physics.law_parameters import Component, Parameters

# Pseudo-observations of the strength: so many terms of this size [kT; 1], which every group has. Few terms that happen to be
# small must not make the split between D and μ_h look known.
PSEUDO_SIZE, PSEUDO_TERMS = 0.5, 2.0
# Largest change of s in one call [factor]: the likelihood is quadratic in θ nearby only. Sweeps of the fixed point at most; it
# stops earlier, at a change of 0.1 %.
STRENGTH_STEP = 6.0
MOST_SWEEPS = 50


class Group(NamedTuple):
    """Terms that share one strength.

    Attributes:
        mask: which they are [p].
        component: one of them.
    """

    mask: Bool[np.ndarray, " p"]
    component: Component


def groups(family: Parameters) -> dict[str, Group]:
    """Terms that share one strength, by the symbol of their series: those that bend its curve."""
    found: dict[str, Group] = {}
    for component in family.components:
        series = component.series
        if series is None or series.symbol in found:
            continue
        same = [c.series == series and c.quantity == component.quantity for c in family.components]
        bends = [c.degree >= series.shape for c in family.components]
        mask = np.array(same) & np.array(bends)
        if mask.any():
            found[series.symbol] = Group(mask, component)
    return found


def first(family: Parameters, theta: Float[np.ndarray, " p"]) -> LawPrior:
    """The prior to begin with, about a law [p] without its bends.

    Args:
        family: what the components of θ are.
        theta: a law near the truth [p].

    Returns:
        The prior.
    """
    prior, root = weak_prior(family, np.array(theta, float)), np.sqrt(family.penalty)
    for group in groups(family).values():
        assert group.component.series is not None
        prior.centre[group.mask] = 0.0
        prior.sd[group.mask] = group.component.series.strength / root[group.mask]
    return prior


def strength(family: Parameters, prior: LawPrior) -> dict[str, float]:
    """s of each group: sd √(n(n+1)) of its terms [kT; 1].

    Args:
        family: what the components of θ are.
        prior: of θ.

    Returns:
        s by the symbol of the series.
    """
    root = np.sqrt(family.penalty)
    return {k: float(np.mean((prior.sd * root)[g.mask])) for k, g in groups(family).items()}


def sentence(family: Parameters, prior: LawPrior) -> str:
    """What holds the law's terms, and what rests on it.

    Args:
        family: what the components of θ are.
        prior: as strong as it was chosen.

    Returns:
        One or two sentences.
    """
    strengths, held = strength(family, prior), []
    for kind, group in groups(family).items():
        series, quantity = group.component.series, group.component.quantity
        assert series is not None
        unit = " kT" * group.component.dimension.energy
        held.append(f"{series.held} of {quantity} at {strengths[kind]:.2g}{unit}")
    if not held:
        return "No term is held by a prior of chosen strength."
    caveat = family.law.caveat(tuple(strengths))
    said = (
        f"The evidence holds the {' and the '.join(held)} (for degree n, that over sqrt(n(n+1)))."
    )
    return f"{said} {caveat}".rstrip()


def marginal(normal: Normal, size: int) -> Normal:
    """Normal equations of the first `size` numbers, the others at their best.

    Args:
        normal: of all numbers.
        size: how many first numbers to keep.

    Returns:
        Normal equations of `size` numbers.
    """
    h, g = normal.hessian, normal.gradient
    gain = inverse(h[size:, size:]) @ np.column_stack([h[size:, :size], g[size:]])
    left = h[:size, :size] - h[:size, size:] @ gain[:, :-1]
    return Normal(
        normal.cost - 0.5 * float(g[size:] @ gain[:, -1]),
        g[:size] - h[:size, size:] @ gain[:, -1],
        _not_negative(left, np.diag(h)[:size]),
    )


def _not_negative(left: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """What is left of an information, which rounding can make less than none where nearly all of the `whole` [p] is gone."""
    if not np.isfinite(left).all():
        return left
    root = np.sqrt(np.where(whole > 0, whole, 1.0))
    values, vectors = np.linalg.eigh(0.5 * (left + left.T) / np.outer(root, root))
    vectors *= root[:, None]
    return (vectors * np.maximum(values, 0.0)) @ vectors.T


def strengthen(
    family: Parameters,
    prior: LawPrior,
    normal: Normal,
    theta: Float[np.ndarray, " p"],
) -> LawPrior:
    """The prior with s as the evidence says, for a likelihood that is quadratic about θ.

    MacKay's step, to its fixed point: s² is the mean of n(n+1) θₙ² over as many terms as the movie determines.

    Args:
        family: of the law.
        prior: as it is.
        normal: of the data alone at θ [p], an initial field marginalised (`marginal`).
        theta: near the optimum.

    Returns:
        The prior of that strength, about the same centre.
    """
    root = np.sqrt(family.penalty)
    now, masks = strength(family, prior), {k: g.mask for k, g in groups(family).items()}
    sd = prior.sd.copy()
    for _ in range(MOST_SWEEPS):
        hessian = normal.hessian + np.diag(sd**-2.0)
        covariance = inverse(hessian)
        step = -covariance @ (normal.gradient + (theta - prior.centre) / sd**2)
        best = family.law.long_step(family, theta, step)
        unknown = np.diag(covariance)
        before = sd.copy()
        for kind, mask in masks.items():
            size = np.sum(((best - prior.centre) * root)[mask] ** 2) + PSEUDO_TERMS * PSEUDO_SIZE**2
            determined = np.sum(1 - (unknown / sd**2)[mask]) + PSEUDO_TERMS
            s = np.clip(
                np.sqrt(size / determined), now[kind] / STRENGTH_STEP, now[kind] * STRENGTH_STEP
            )
            sd[mask] = s / root[mask]
        if np.allclose(sd, before, rtol=1e-3):
            break
    return LawPrior(prior.centre, sd)
