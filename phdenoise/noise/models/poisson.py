"""Counting noise, with the blind likelihood and the posterior of a Gamma prior.

    y = offset + gain · n,    n | λ ~ Poisson(λ),    λ = (x − offset)/gain
    λ ~ Gamma(a, b),   mean a/b = m, variance a/b² = s²          the blind prediction, in counts
    p(n)     = Γ(a + n)/(Γ(a) n!) · (b/(b + 1))^a · (1/(b + 1))^n                     negative binomial
    λ | n    ~ Gamma(a + n, b + 1):    mean (a + n)/(b + 1),   variance (a + n)/(b + 1)²

At high dose both become the Gaussian ones; at a few counts the Gaussian gives negative counts a probability.
Gelman et al., Bayesian Data Analysis, 3rd ed., section 2.6.
"""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from phdenoise.noise.models.base import where_measured
from phdenoise.noise.models.counting import SMALLEST_RATE, CountingNoise
from phdenoise.noise.models.poisson_gaussian import PoissonGaussian
from phdenoise.types import Moments

# Expected counts [counts] below which a predicted rate bends towards zero and stays positive.
SMOOTH_ZERO_RATE = 0.02
# Smallest variance of the predicted rate, as a share of its square: Gamma's shape a = m²/s² stays finite.
SMALLEST_RELATIVE_VARIANCE = 1e-8


class Poisson(CountingNoise):
    """Counting noise: gain [intensity unit per count] and offset [intensity unit]."""

    gain: Float[Array, ""] = eqx.field(converter=jnp.asarray, default=1.0)
    offset: Float[Array, ""] = eqx.field(converter=jnp.asarray, default=0.0)

    has_conjugate: ClassVar[bool] = True

    def sample(self, key: PRNGKeyArray, clean: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """offset + gain · Poisson((x − offset)/gain)."""
        return self.sample_counts(key, clean)

    def log_prob(self, noisy: Float[Array, "*s"], clean: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """Elementwise log-mass of the counts (continuous in between, by the gamma function)."""
        gain, offset = self._scale(clean)
        rate = jnp.maximum((clean - offset) / gain, SMALLEST_RATE)
        counts = self._counts(noisy)
        return counts * jnp.log(rate) - rate - jax.lax.lgamma(counts + 1) - jnp.log(gain)

    def scaled(self, factor: float) -> "Poisson":
        """Counts of `factor` times the gain; counts of unit gain have no other variance and stay."""
        return self if float(self.gain) == 1 else Poisson(self.gain * factor, self.offset)

    def with_read_noise(self, variance: float) -> PoissonGaussian:
        """Counting noise of the same gain, with read noise."""
        return PoissonGaussian(self.gain, self.offset, jnp.sqrt(jnp.asarray(variance)))

    def blind_nll(
        self, blind: Moments, noisy: Float[Array, "*s"], *, conjugate: bool = False
    ) -> Float[Array, "*s"]:
        """−log p(y); of the negative binomial if `conjugate`, continuous between whole counts."""
        if not conjugate:
            return super().blind_nll(blind, noisy)
        mean, var = self._rate(blind)
        counts = self._counts(noisy)
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
        return jnp.log(self.gain.astype(noisy.dtype)) - log_mass

    def posterior(
        self,
        blind: Moments,
        noisy: Float[Array, "*s"],
        *,
        conjugate: bool = False,
        error_noise_covariance: Array | float = 0.0,
    ) -> Moments:
        """Mean and variance of the clean intensity; of the Gamma posterior if `conjugate`."""
        if not conjugate:
            return super().posterior(blind, noisy, error_noise_covariance=error_noise_covariance)
        mean, var = self._rate(blind)
        gain, offset = self._scale(noisy)
        counts = self._counts(jnp.where(jnp.isnan(noisy), blind.mean, noisy))
        share = var / (var + mean)  # 1/(b + 1)
        after = mean + share * (counts - mean)
        return where_measured(noisy, Moments(offset + gain * after, gain**2 * after * share), blind)

    def _counts(self, noisy: Array) -> Array:
        """Measured counts, never negative."""
        gain, offset = self._scale(noisy)
        return jnp.maximum((noisy - offset) / gain, 0)

    def _rate(self, blind: Moments) -> tuple[Array, Array]:
        """Mean and variance of the rate, both positive."""
        gain, offset = self._scale(blind.mean)
        rate = (blind.mean - offset) / gain
        # A smooth maximum: its slope never vanishes, so that a pixel predicted too dark can come back.
        rate = 0.5 * (rate + jnp.sqrt(rate**2 + 4 * SMOOTH_ZERO_RATE**2))
        return rate, jnp.maximum(blind.var / gain**2, SMALLEST_RELATIVE_VARIANCE * rate**2)


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
