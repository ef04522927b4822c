"""Noise models: how a detector turns the clean movie into the measured one.

    Gaussian           y = x + σ n
    Poisson            y = offset + gain · Poisson((x − offset)/gain)
    Poisson-Gaussian   the same plus read noise,   var y = gain · max(x − offset, 0) + σ_read²

Foi et al., IEEE Trans. Image Process. 17, 1737 (2008), doi:10.1109/TIP.2008.2001399.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

# Variance floor relative to the gain: a pixel that expects no counts still has some doubt.
_FLOOR = 1e-3


class Gaussian(eqx.Module):
    """Additive white Gaussian noise of one standard deviation [intensity unit]."""

    sigma: Float[Array, ""] = eqx.field(converter=jnp.asarray)

    def sample(self, key: PRNGKeyArray, clean: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """One noisy movie of the shape of `clean`."""
        return clean + self.sigma.astype(clean.dtype) * jax.random.normal(
            key, clean.shape, clean.dtype
        )

    def log_prob(self, noisy: Float[Array, "*s"], clean: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """Elementwise log-density."""
        return normal_log_prob(noisy, clean, self.variance(clean))

    def variance(self, clean: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """σ² everywhere."""
        return jnp.broadcast_to(self.sigma.astype(clean.dtype) ** 2, clean.shape)


class Poisson(eqx.Module):
    """Counting noise: gain [intensity unit per count] and offset [intensity unit]."""

    gain: Float[Array, ""] = eqx.field(converter=jnp.asarray, default=1.0)
    offset: Float[Array, ""] = eqx.field(converter=jnp.asarray, default=0.0)

    def sample(self, key: PRNGKeyArray, clean: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """One noisy movie of the shape of `clean`."""
        return _sample_counts(key, clean, self.gain, self.offset)

    def log_prob(self, noisy: Float[Array, "*s"], clean: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """Elementwise log-mass of the counts (continuous in between, by the gamma function)."""
        gain, offset = self.gain.astype(clean.dtype), self.offset.astype(clean.dtype)
        rate = jnp.maximum((clean - offset) / gain, _FLOOR)
        counts = jnp.maximum((noisy - offset) / gain, 0)
        return counts * jnp.log(rate) - rate - jax.lax.lgamma(counts + 1) - jnp.log(gain)

    def variance(self, clean: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """gain · (clean − offset)."""
        return _count_variance(clean, self.gain, self.offset)


class PoissonGaussian(eqx.Module):
    """Counting noise of a gain and offset, plus read noise [intensity unit]."""

    gain: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    offset: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    read_sigma: Float[Array, ""] = eqx.field(converter=jnp.asarray)

    def sample(self, key: PRNGKeyArray, clean: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """One noisy movie of the shape of `clean`."""
        k1, k2 = jax.random.split(key)
        read = self.read_sigma.astype(clean.dtype)
        noise = read * jax.random.normal(k2, clean.shape, clean.dtype)
        return _sample_counts(k1, clean, self.gain, self.offset) + noise

    def log_prob(self, noisy: Float[Array, "*s"], clean: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """Elementwise log-density in the Gaussian approximation of equal variance."""
        return normal_log_prob(noisy, clean, self.variance(clean))

    def variance(self, clean: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """gain · (clean − offset) + read_sigma²."""
        read = self.read_sigma.astype(clean.dtype)
        return _count_variance(clean, self.gain, self.offset) + read**2


def scaled(
    model: Gaussian | Poisson | PoissonGaussian, factor: float
) -> Gaussian | Poisson | PoissonGaussian:
    """The model with its variance times a factor; counts of unit gain have no other variance and stay."""
    if isinstance(model, Gaussian):
        return Gaussian(model.sigma * factor**0.5)
    if isinstance(model, Poisson):
        return model if float(model.gain) == 1 else Poisson(model.gain * factor, model.offset)
    read = model.read_sigma * factor**0.5
    return PoissonGaussian(model.gain * factor, model.offset, read)


def normal_log_prob(
    noisy: Float[Array, "*s"], clean: Float[Array, "*s"], variance: Float[Array, "*s"]
) -> Float[Array, "*s"]:
    """Elementwise log-density of a normal distribution."""
    return -0.5 * ((noisy - clean) ** 2 / variance + jnp.log(2 * jnp.pi * variance))


def _count_variance(clean: Array, gain: Array, offset: Array) -> Array:
    gain, offset = gain.astype(clean.dtype), offset.astype(clean.dtype)
    return gain * jnp.maximum(clean - offset, _FLOOR * gain)


def _sample_counts(key: Array, clean: Array, gain: Array, offset: Array) -> Array:
    gain, offset = gain.astype(clean.dtype), offset.astype(clean.dtype)
    rate = jnp.maximum((clean - offset) / gain, 0)
    return offset + gain * jax.random.poisson(key, rate).astype(clean.dtype)
