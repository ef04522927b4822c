"""The blind likelihood and the posterior of counts: negative binomial, and Gamma.

    n | λ ~ Poisson(λ),   λ ~ Gamma(a, b),   mean a/b = m, variance a/b² = s²        λ, n in counts: (x − offset)/gain
    p(n)     = Γ(a + n)/(Γ(a) n!) · (b/(b + 1))^a · (1/(b + 1))^n                     negative binomial
    λ | n    ~ Gamma(a + n, b + 1):    mean (a + n)/(b + 1),   variance (a + n)/(b + 1)²

The blind prediction gives m and s². At high dose both become the Gaussian ones; at a few counts the Gaussian takes
the chance of nothing for that of a negative count. Gelman et al., Bayesian Data Analysis, 3rd ed., section 2.6.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from phdenoise.noise import Poisson
from phdenoise.types import Moments

# Expected counts below which a prediction is bent towards zero instead of going through it.
_DARK = 0.02


def counts_nll(blind: Moments, noisy: Float[Array, "*s"], noise: Poisson) -> Float[Array, "*s"]:
    """−log p(y) per pixel of measured values under the negative binomial; continuous between whole counts.

    Args:
        blind: mean and variance of the clean intensity, without the pixel's own measurement.
        noisy: measured values [intensity].
        noise: gain and offset.
    """
    mean, var = _in_counts(blind, noise)
    gain, offset = noise.gain.astype(noisy.dtype), noise.offset.astype(noisy.dtype)
    counts = jnp.maximum((noisy - offset) / gain, 0)
    # With a held, the slope in m is (m − n)/(m + s²): the mean cannot buy likelihood by moving its own variance.
    shape = jax.lax.stop_gradient(mean) ** 2 / var
    odds = mean / shape  # 1/b
    lgamma = jax.lax.lgamma
    log_mass = (
        _log_rising(shape, counts)
        - lgamma(counts + 1)
        - shape * jnp.log1p(odds)
        + counts * (jnp.log(odds) - jnp.log1p(odds))
    )
    return jnp.log(gain) - log_mass


def counts_posterior(
    blind: Moments, noisy: Float[Array, "*s"], noise: Poisson
) -> tuple[Float[Array, "*s"], Float[Array, "*s"]]:
    """Mean and variance of the clean intensity after the pixel's own count; `noisy` finite.

    Args:
        blind, noisy, noise: see `counts_nll`.
    """
    mean, var = _in_counts(blind, noise)
    gain, offset = noise.gain.astype(noisy.dtype), noise.offset.astype(noisy.dtype)
    counts = jnp.maximum((noisy - offset) / gain, 0)
    share = var / (var + mean)  # 1/(b + 1)
    after = mean + share * (counts - mean)
    return offset + gain * after, gain**2 * after * share


def _in_counts(blind: Moments, noise: Poisson) -> tuple[Array, Array]:
    """Mean and variance of the rate, both positive."""
    gain, offset = noise.gain.astype(blind.mean.dtype), noise.offset.astype(blind.mean.dtype)
    rate = (blind.mean - offset) / gain
    # A smooth maximum: its slope never vanishes, so that a pixel predicted too dark can come back.
    rate = 0.5 * (rate + jnp.sqrt(rate**2 + 4 * _DARK**2))
    return rate, jnp.maximum(blind.var / gain**2, 1e-8 * rate**2)


def _log_rising(a: Array, n: Array) -> Array:
    """log Γ(a + n) − log Γ(a), from Stirling's series shifted by 4, so that large terms cancel by hand."""
    # Γ(z) = Γ(z + 4) / (z (z + 1)(z + 2)(z + 3))
    shift = sum(jnp.log1p(n / (a + k)) for k in range(4))
    z, w = a + 4, a + 4 + n
    # (w − ½) log w − (z − ½) log z − n  =  n log w + (z − ½) log(1 + n/z) − n
    stirling = n * jnp.log(w) + (z - 0.5) * jnp.log1p(n / z) - n

    def tail(v: Array) -> Array:
        return (1 / 12 - (1 / 360 - 1 / 1260 / v**2) / v**2) / v

    return stirling + tail(w) - tail(z) - shift
