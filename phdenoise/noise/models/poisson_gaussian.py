"""Counting noise plus Gaussian read noise.

y = offset + gain · Poisson((x − offset)/gain) + σ_read n,    n ~ N(0, 1)
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from phdenoise.noise.models.counting import CountingNoise


class PoissonGaussian(CountingNoise):
    """Counting noise of a gain and offset, plus read noise [intensity unit]."""

    gain: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    offset: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    read_sigma: Float[Array, ""] = eqx.field(converter=jnp.asarray)

    @property
    def read_noise(self) -> Float[Array, ""]:
        """`read_sigma`."""
        return self.read_sigma

    def sample(self, key: PRNGKeyArray, clean: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """Counts and read noise; see the module's text."""
        of_counts, of_reading = jax.random.split(key)
        read = self.read_sigma.astype(clean.dtype)
        noise = read * jax.random.normal(of_reading, clean.shape, clean.dtype)
        return self.sample_counts(of_counts, clean) + noise

    def with_read_noise(self, variance: float) -> "PoissonGaussian":
        """The same with more read noise."""
        read = jnp.sqrt(self.read_sigma**2 + variance)
        return PoissonGaussian(self.gain, self.offset, read)

    def scaled(self, factor: float) -> "PoissonGaussian":
        """Noise of `factor` times the gain and `factor` times the variance of the read noise."""
        read = self.read_sigma * factor**0.5
        return PoissonGaussian(self.gain * factor, self.offset, read)
