"""The posterior of a blind prediction whose error has heavy tails, and a measurement with Gaussian noise.

    x ~ ∫ p(τ) N(μ, τ Σ) dτ  (Student's t),   y ~ N(x, v)
    of one τ:   N( ((τΣ)⁻¹ μ + v⁻¹ y) / ((τΣ)⁻¹ + v⁻¹),  ((τΣ)⁻¹ + v⁻¹)⁻¹ )

Prediction errors have heavy tails, so a measurement far from its prediction is trusted more. Where noise is correlated
in time, the prediction's error has a covariance C with the measurement's noise: then the measurement counts as one of
(y − κμ)/(1 − κ), κ = C/Σ, whose noise is independent of the prediction's error. The scale mixture: Andrews and
Mallows, J. R. Stat. Soc. B 36, 99 (1974), doi:10.1111/j.2517-6161.1974.tb00989.x.
"""

from functools import reduce

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.movie import ERROR_DEGREES_OF_FREEDOM
from phdenoise.types import Moments

# Largest share of the prediction's error that may be the measurement's own noise. Above it the measurement says nearly
# nothing new, and the division by one minus the share would amplify rounding.
LARGEST_SHARED_ERROR = 0.95


def heavy_tailed_posterior(
    blind: Moments,
    noisy: Float[Array, "*s"],
    own: Float[Array, "*s"],
    widest: Float[Array, "*s"],
    error_noise_covariance: Array | float,
) -> Moments:
    """Mean and variance of the clean intensity.

    Args:
        blind: mean and variance of the clean intensity, without the pixel's own measurement.
        noisy: measured intensities, finite.
        own: variance of the noise where the prediction expects it [intensity²].
        widest: variance that the noise may have, at least `own` [intensity²]: it judges how far the measurement is away.
        error_noise_covariance: covariance of the prediction's error with the noise, over `own`.

    Returns:
        Mean and variance of the posterior.
    """
    away = noisy - blind.mean
    shared = error_noise_covariance * own / jnp.maximum(blind.var, jnp.finfo(away.dtype).tiny)
    shared = jnp.minimum(shared, LARGEST_SHARED_ERROR)
    left = 1 - shared
    away = away / left
    own, widest = ((v - shared * error_noise_covariance * own) / left**2 for v in (own, widest))
    # Sums of elementwise terms, which need no array of all widths at once.
    wide = [tau * blind.var for tau in _WIDTHS]
    log_weights = [
        np.log(share) - 0.5 * (jnp.log(v + widest) + away**2 / (v + widest))
        for share, v in zip(_SHARES, wide, strict=True)
    ]
    largest = reduce(jnp.maximum, log_weights)
    total = weight = square = within = jnp.zeros_like(away)
    for v, log_weight in zip(wide, log_weights, strict=True):
        share, own_share = jnp.exp(log_weight - largest), v / (v + own)
        total += share
        weight += share * own_share
        square += share * own_share**2
        within += share * own_share * own
    weight /= total
    var = within / total + (square / total - weight**2) * away**2
    return Moments(blind.mean + weight * away, var)


def _mixture(degrees: float, count: int) -> tuple[list[float], list[float]]:
    """Variances τ of mean 1, and their shares, of the Gaussians that make up a Student's t."""
    tau = np.geomspace(0.3, 3000.0, count)
    shape, scale = degrees / 2, degrees / 2 - 1
    # Inverse gamma, per unit of log τ.
    share = tau**-shape * np.exp(-scale / tau)
    share /= share.sum()
    return (tau / (share @ tau)).tolist(), share.tolist()


_WIDTHS, _SHARES = _mixture(ERROR_DEGREES_OF_FREEDOM, 18)
