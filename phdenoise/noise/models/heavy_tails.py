"""The posterior of a blind prediction whose error has heavy tails, and a measurement with Gaussian noise.

    x ~ ∫ p(τ) N(μ, τ Σ) dτ  (Student's t),   y ~ N(x, v)
    of one τ:   N( ((τΣ)⁻¹ μ + v⁻¹ y) / ((τΣ)⁻¹ + v⁻¹),  ((τΣ)⁻¹ + v⁻¹)⁻¹ )

Prediction errors have heavy tails, so a measurement far from its prediction is trusted more. Where noise is correlated
in time, the prediction's error has a covariance C with the measurement's noise: then the measurement counts as one of
(y − κμ)/(1 − κ), κ = C/Σ, whose noise is independent of the prediction's error. The scale mixture: Andrews and
Mallows, J. R. Stat. Soc. B 36, 99 (1974), doi:10.1111/j.2517-6161.1974.tb00989.x.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.movie import ERROR_DEGREES_OF_FREEDOM
from phdenoise.types import Moments

# Largest share of the prediction's error that may be the measurement's own noise. Above it the measurement says nearly
# nothing new, and the division by one minus the share would amplify rounding.
LARGEST_SHARED_ERROR = 0.95


class _Sums(NamedTuple):
    """Sums over the widths, each times exp(−largest): of the weights, and of their products with the prediction's share."""

    largest: Array
    total: Array
    weight: Array
    square: Array
    within: Array


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

    # A loop over the widths, which compiles in a fraction of the time of their sum written out.
    def add(sums: _Sums, width: tuple[Array, Array]) -> tuple[_Sums, None]:
        tau, log_share = width
        v = tau * blind.var
        log_weight = log_share - 0.5 * (jnp.log(v + widest) + away**2 / (v + widest))
        largest = jnp.maximum(sums.largest, log_weight)
        before, share = jnp.exp(sums.largest - largest), jnp.exp(log_weight - largest)
        own_share = v / (v + own)
        return _Sums(
            largest,
            before * sums.total + share,
            before * sums.weight + share * own_share,
            before * sums.square + share * own_share**2,
            before * sums.within + share * own_share * own,
        ), None

    zero = jnp.zeros_like(away + blind.var + own)
    nothing = _Sums(jnp.full_like(zero, -jnp.inf), zero, zero, zero, zero)
    widths = jnp.asarray(_WIDTHS, zero.dtype), jnp.asarray(_LOG_SHARES, zero.dtype)
    (_, total, weight, square, within), _ = jax.lax.scan(add, nothing, widths)
    weight = weight / total
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
_LOG_SHARES = np.log(_SHARES)
