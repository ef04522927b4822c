"""What the prior of the initial field does to a law, and as much of that taken back as the data contradict.

    δ = θ_wide − θ,   V = C_wide − C,   Q = δᵀ V⁻¹ δ,   w = max(0, 1 − p/Q)
    θ → θ + w δ,      C → C + w V + w (1 − w) δ δᵀ

θ and C are law and covariance with the prior of the field as chosen, θ_wide and C_wide by one Gauss-Newton step with a far wider one.
If the prior is right, V is the covariance of δ (Hausman, Econometrica 46, 1251 (1978), doi:10.2307/1913827), and Q is p on
average. The prior is that of a random field with a spectrum; a field that is not of that kind is pulled away from what the data
say, and the law makes up for it. The weight is that of James & Stein (Proc. 4th Berkeley Symp. 1, 361 (1961)).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from phdenoise.learn.gauss_newton import Normal, inverse, with_prior

# Factor by which the wide prior of the field is wider: what the prior holds back by three of its standard deviations is then free
# but for a hundredth.
WIDER = 10.0
# Weight from which on it is said: less is chance.
_SAID = 0.5
# Relative size of eigenvalues of V below which a direction of the law does not feel the prior.
_UNFELT = 1e-6


class Influence(NamedTuple):
    """A law with part of the field's prior taken back.

    Attributes:
        theta, covariance: of the law [p], [p, p].
        weight: w.
        shift: δ [p].
    """

    theta: Float[np.ndarray, " p"]
    covariance: Float[np.ndarray, "p p"]
    weight: float
    shift: Float[np.ndarray, " p"]

    @property
    def sentences(self) -> tuple[str, ...]:
        """That the prior was taken back, where it was."""
        if self.weight < _SAID:
            return ()
        return (
            f"The initial field is not of the kind that its prior expects: {100 * self.weight:.0f} % of what the prior did to the law "
            "was taken back.",
        )


def wide_prior(sd: Float[np.ndarray, " q"], size: int) -> Float[np.ndarray, " q"]:
    """The prior with that of the field `WIDER` times as wide. That of the law stays: along its weak directions a fit is not linear.

    Args:
        sd: standard deviations of law and field.
        size: how many of them are the law's.

    Returns:
        Standard deviations.
    """
    return np.where(np.arange(sd.size) < size, sd, WIDER * sd)


def without_field_prior(
    data: Normal,
    x: Float[np.ndarray, " q"],
    prior: tuple[Float[np.ndarray, " q"], Float[np.ndarray, " q"]],
    size: int,
) -> Influence:
    """The law with as much of the field's prior taken back as the data contradict.

    Args:
        data: normal equations of the data alone at x.
        x: law and field at the optimum.
        prior: centre and standard deviations of x.
        size: how many numbers of x are the law's.

    Returns:
        Law and covariance, as they were where a solve diverged.
    """
    start, sd = prior
    wide = wide_prior(sd, size)
    (step, own), (free, loose) = (_step(with_prior(data, x, start, s), size) for s in (sd, wide))
    theta, nothing = x[:size], np.zeros(size)
    if not (np.isfinite(own).all() and np.isfinite(loose).all() and np.isfinite(free).all()):
        return Influence(theta, own, 0.0, nothing)
    shift = free - step
    root = np.sqrt(np.diag(own))
    values, vectors = np.linalg.eigh((loose - own) / np.outer(root, root))
    felt = values > max(_UNFELT, _UNFELT * float(values[-1]))
    if not felt.any():
        return Influence(theta, own, 0.0, nothing)
    along = vectors[:, felt].T @ (shift / root)
    shift = root * (vectors[:, felt] @ along)
    weight = max(0.0, 1 - felt.sum() / max(float(np.sum(along**2 / values[felt])), 1e-300))
    covariance = own + weight * (loose - own) + weight * (1 - weight) * np.outer(shift, shift)
    return Influence(theta + weight * shift, covariance, weight, shift)


def _step(normal: Normal, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Newton step of the law, and its covariance."""
    covariance = inverse(normal.hessian)
    return -(covariance @ normal.gradient)[:size], covariance[:size, :size]
