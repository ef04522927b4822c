"""How strongly to hold the terms of a law that bend it: the movie's own evidence says.

    −ln p(θ | s) = Σₙ n(n+1) (θₙ − θ₀ₙ)² / 2s²,     one s for the bends of μ_h (n ≥ 2), one for the shape of ln D (n ≥ 1)

A movie shows D μ_h' and D κ; what is D and what is μ_h rests on the entropy being known and the enthalpy being of low
degree, since D/a, a μ_h and a κ move a field in the same way. Terms that the movie does not ask for leave that split to
chance; with s chosen by the evidence they vanish unless they are seen. The penalty n(n+1) is that of Zhao et al., Phys.
Rev. Lett. 124, 060201 (2020), doi:10.1103/PhysRevLett.124.060201; s by MacKay's fixed point, Neural Computation 4, 415
(1992), doi:10.1162/neco.1992.4.3.415.
"""

import numpy as np
from jaxtyping import Bool, Float

from phdenoise.learn.gauss_newton import Normal, inverse
from phdenoise.learn.laws import LawPrior, LawSpace

# Two more terms of this size [kT; 1], which every group has: a few that happen to be small must not make the split between
# D and μ_h look known.
TYPICAL, MORE = 0.5, 2.0
# Strengths to begin with [kT; 1].
FIRST = {"p": 2.0, "q": 4.0}
# Largest change of s at once: what is linear in θ is so nearby only.
STRETCH = 6.0
SWEEPS = 50


def groups(space: LawSpace) -> dict[str, Bool[np.ndarray, " p"]]:
    """Terms that share one strength: "p", the bends of μ_h, and "q", the shape of ln D."""
    least = {"p": 2, "q": 1}
    masks = {
        kind: np.array([name[0] == kind and int(name[2:]) >= n for name in space.names])
        for kind, n in least.items()
    }
    return {kind: mask for kind, mask in masks.items() if mask.any()}


def first(space: LawSpace, theta: Float[np.ndarray, " p"]) -> LawPrior:
    """The prior to begin with, about a law [p] without its bends."""
    prior, root = space.prior(np.array(theta, float)), np.sqrt(space.penalty())
    for kind, mask in groups(space).items():
        prior.centre[mask] = 0.0
        prior.sd[mask] = FIRST[kind] / root[mask]
    return prior


def strength(space: LawSpace, prior: LawPrior) -> dict[str, float]:
    """s of each group: sd √(n(n+1)) of its terms [kT; 1]."""
    root = np.sqrt(space.penalty())
    return {k: float(np.mean((prior.sd * root)[mask])) for k, mask in groups(space).items()}


def sentence(space: LawSpace, prior: LawPrior) -> str:
    """What holds the law's terms, and what rests on it."""
    words = {
        "p": "bends of mu_h at {:.2g} kT",
        "q": f"shape of ln {space.mobility_letter} at {{:.2g}}",
    }
    held = [words[kind].format(s) for kind, s in strength(space, prior).items()]
    if not held:
        return "No term is held by a prior of chosen strength."
    split = (
        f" The movie shows {space.mobility_letter} mu_h and {space.mobility_letter} kappa; their split rests on the former."
        if "p" in groups(space)
        else ""
    )
    return f"The evidence holds the {' and the '.join(held)} (for degree n, that over sqrt(n(n+1))).{split}"


def marginal(normal: Normal, size: int) -> Normal:
    """Normal equations of the first `size` numbers, the others at their best."""
    h, g = normal.hessian, normal.gradient
    gain = inverse(h[size:, size:]) @ np.column_stack([h[size:, :size], g[size:]])
    return Normal(
        normal.cost - 0.5 * float(g[size:] @ gain[:, -1]),
        g[:size] - h[:size, size:] @ gain[:, -1],
        h[:size, :size] - h[:size, size:] @ gain[:, :-1],
    )


def strengthen(
    space: LawSpace,
    prior: LawPrior,
    normal: Normal,
    theta: Float[np.ndarray, " p"],
) -> LawPrior:
    """The prior with s as the evidence says, for a likelihood that is quadratic about θ.

    MacKay's step, to its fixed point: s² is the mean of n(n+1) θₙ² over as many terms as the movie determines.

    Args:
        space: of the law.
        prior: as it is.
        normal: of the data alone at θ [p], an initial field marginalised (`marginal`).
        theta: near the optimum.
    """
    root = np.sqrt(space.penalty())
    now = strength(space, prior)
    sd = prior.sd.copy()
    for _ in range(SWEEPS):
        hessian = normal.hessian + np.diag(sd**-2.0)
        covariance = inverse(hessian)
        step = -covariance @ (normal.gradient + (theta - prior.centre) / sd**2)
        best = space.move(theta, step)
        unknown = np.diag(covariance)
        before = sd.copy()
        for kind, mask in groups(space).items():
            size = np.sum(((best - prior.centre) * root)[mask] ** 2) + MORE * TYPICAL**2
            determined = np.sum(1 - (unknown / sd**2)[mask]) + MORE
            s = np.clip(np.sqrt(size / determined), now[kind] / STRETCH, now[kind] * STRETCH)
            sd[mask] = s / root[mask]
        if np.allclose(sd, before, rtol=1e-3):
            break
    return LawPrior(prior.centre, sd)
