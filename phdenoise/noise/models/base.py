"""What every noise model offers: how a detector turns the clean movie into the measured one, and what follows from that.

    y ~ p(y | x),    E y = x,    var y = v(x)

A model of its own subclasses `NoiseModel` and defines `sample` and `variance`; `log_prob` and everything else has a
default that uses the variance alone, and that a model may replace by its exact form.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import fields
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from phdenoise.noise.models.heavy_tails import heavy_tailed_posterior
from phdenoise.noise.models.risk_terms import sure_terms
from phdenoise.noise.stabilise import Stabiliser
from phdenoise.types import Moments


class NoiseModel(eqx.Module):
    """Noise of a detector; subclasses define `sample` and `variance`, and `log_prob` if it is not nearly normal.

    Attributes:
        risk: which unbiased estimate of the mean squared error `risk_terms` is, Stein's ("sure") or that of counts ("pure").
        has_conjugate: whether `blind_nll` and `posterior` have a form of a conjugate prior (objective "counts").
    """

    risk: ClassVar[Literal["sure", "pure"]] = "sure"
    has_conjugate: ClassVar[bool] = False

    def __repr__(self) -> str:
        """Name and parameters, arrays by their shape."""
        parameters = ", ".join(f"{f.name}={_short(getattr(self, f.name))}" for f in fields(self))
        return f"{type(self).__name__}({parameters})"

    @abstractmethod
    def sample(self, key: PRNGKeyArray, clean: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """One noisy movie.

        Args:
            key: of the random numbers.
            clean: expected intensities.

        Returns:
            Measured intensities, shape and dtype of `clean`.
        """

    @abstractmethod
    def variance(self, clean: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """Variance of the measured value given the clean one [intensity²], elementwise."""

    def log_prob(self, noisy: Float[Array, "*s"], clean: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """Log-density of each value; by default that of a normal distribution of the same variance.

        Args:
            noisy: measured intensities.
            clean: expected intensities.

        Returns:
            log p(noisy | clean) [log of 1/intensity], elementwise.
        """
        return _normal_log_prob(noisy, clean, self.variance(clean))

    def expected_variance(self, blind: Moments) -> Float[Array, "*s"]:
        """E[v(x)] for x ~ N(μ, Σ), by three Gauss-Hermite nodes.

        v(μ) alone would vanish where counting noise expects nothing, and the measurement would count as exact.
        """
        step = jnp.sqrt(3 * blind.var)
        sides = self.variance(blind.mean - step) + self.variance(blind.mean + step)
        return (4 * self.variance(blind.mean) + sides) / 6

    def estimated_variance(self, noisy: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """Estimate of v(x) from the measured value; unbiased where v is a line, by default v(y)."""
        return self.variance(noisy)

    def blind_nll(
        self, blind: Moments, noisy: Float[Array, "*s"], *, conjugate: bool = False
    ) -> Float[Array, "*s"]:
        """−log p(y) per pixel of a measured value that the blind prediction did not see.

            p(y) = N(y; μ, Σ + E v)

        Args:
            blind: mean and variance of the clean intensity, without the pixel's own measurement.
            noisy: measured intensities.
            conjugate: use the exact form of a conjugate prior, if the noise has one.

        Returns:
            Negative log-likelihood [log of intensity], elementwise. Laine et al., NeurIPS 2019, arXiv:1901.10277.
        """
        # The noise level is taken as known: its gradient would let μ buy likelihood by moving v.
        variance = blind.var + jax.lax.stop_gradient(self.expected_variance(blind))
        return 0.5 * ((noisy - blind.mean) ** 2 / variance + jnp.log(2 * jnp.pi * variance))

    def posterior(
        self,
        blind: Moments,
        noisy: Float[Array, "*s"],
        *,
        conjugate: bool = False,
        error_noise_covariance: Array | float = 0.0,
    ) -> Moments:
        """Blind prediction and own measurement combined; where `noisy` is NaN, the blind prediction.

        Each pixel's own noise is independent of its blind prediction, so this is its marginal posterior; for noise
        that is correlated in space the whole centre frame must be hidden.

        Args:
            blind: mean and variance of the clean intensity, without the pixel's own measurement.
            noisy: measured intensities, NaN where there is none.
            conjugate: use the exact form of a conjugate prior, if the noise has one.
            error_noise_covariance: covariance of the prediction's error with the pixel's own noise, over the
                variance of the noise; not zero where noise is correlated in time.

        Returns:
            Mean and variance; see `heavy_tails`.
        """
        filled = jnp.where(jnp.isnan(noisy), blind.mean, noisy)
        own = self.expected_variance(blind)
        # Counts above what is expected scatter more than the expected intensity says.
        widest = jnp.maximum(own, self.variance(filled))
        after = heavy_tailed_posterior(blind, filled, own, widest, error_noise_covariance)
        return where_measured(noisy, after, blind)

    def risk_terms(
        self,
        denoise: Callable[[Array], Array],
        noisy: Float[Array, "t y x"],
        key: PRNGKeyArray,
        *,
        step: float | None = None,
        curvature: bool = True,
    ) -> Float[Array, "t y x"]:
        """Terms whose mean estimates ⟨(denoise(y) − x)²⟩ from the noisy movie alone.

        By default Stein's estimate with the variance taken at the measured value: exact for Gaussian noise of one
        variance, to first order in v′ otherwise.

        Args:
            denoise: movie to movie of the same shape.
            noisy: measured movie, finite.
            key: of the random probe.
            step: None differentiates `denoise`; otherwise central differences of this size [noise sd].
            curvature: include the second derivative, where the estimate has one.

        Returns:
            Each pixel's term [intensity²].

        Raises:
            InputError: an output of another shape.
        """
        probe = jax.random.rademacher(key, noisy.shape, noisy.dtype)
        return sure_terms(denoise, noisy, self.variance(noisy), probe, step)

    def unit_field(self, key: PRNGKeyArray, like: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """Noise of variance one with the correlation of this noise, by default none.

        Args:
            key: of the random numbers.
            like: an array [..., (t,) y, x] of the wanted shape and dtype.

        Returns:
            Noise of the shape of `like`.
        """
        return jax.random.normal(key, like.shape, like.dtype)

    def correlated(
        self,
        autocorrelation: Float[np.ndarray, "ky kx"],
        temporal_correlation: Float[np.ndarray, " l"] | tuple[()] = (),
    ) -> "NoiseModel":
        """The same noise with a correlation; by default the model itself, which has none or its own.

        Args:
            autocorrelation: correlation at lags (y, x), odd sides, 1 at the centre.
            temporal_correlation: correlation with the noise of the next frame, the one after, and so on.

        Returns:
            Noise of the same variance.
        """
        return self

    def with_read_noise(self, variance: float) -> "NoiseModel":
        """The same noise with Gaussian noise added; by default the model itself, whose family may not allow for it.

        Args:
            variance: of what is added [intensity²].

        Returns:
            The noise model.
        """
        return self

    def scaled(self, factor: float) -> "NoiseModel":
        """The same noise with its variance times a factor: x + √factor · (y − x)."""
        return Rescaled(self, jnp.asarray(factor))

    def stabiliser(
        self, data: Float[np.ndarray, "t y x"], good: Bool[np.ndarray, "t y x"]
    ) -> Stabiliser:
        """The way to data whose noise is Gaussian of one standard deviation, and back; by default none is needed.

        Args:
            data: measured movie, finite.
            good: pixels whose variance counts.

        Returns:
            The transform; see `Stabiliser`.
        """
        level = np.asarray(self.variance(jnp.asarray(data, jnp.float32)), np.float64)
        return Stabiliser(float(np.sqrt(level[good].mean())))

    def quantile_excess(self, deviations: float) -> float:
        """How much farther out a quantile lies than the normal one [intensity]; 0 for symmetric noise."""
        return 0.0


class Rescaled(NoiseModel):
    """Noise of any model with its variance times a factor."""

    base: NoiseModel
    factor: Float[Array, ""] = eqx.field(converter=jnp.asarray)

    def sample(self, key: PRNGKeyArray, clean: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """x + √factor · (y − x), y a sample of the base."""
        away = self.base.sample(key, clean) - clean
        return clean + jnp.sqrt(self.factor).astype(clean.dtype) * away

    def variance(self, clean: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """The base's variance times the factor."""
        return self.factor.astype(clean.dtype) * self.base.variance(clean)

    def log_prob(self, noisy: Float[Array, "*s"], clean: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """Elementwise log-density, by change of variables."""
        root = jnp.sqrt(self.factor).astype(clean.dtype)
        return self.base.log_prob(clean + (noisy - clean) / root, clean) - jnp.log(root)


def _short(value: Any) -> str:
    """A number as such, anything else as Equinox prints it."""
    number = isinstance(value, int | float) or (eqx.is_array_like(value) and np.ndim(value) == 0)
    if number and not isinstance(value, jax.core.Tracer):
        return f"{float(value):.4g}"
    return str(eqx.tree_pformat(value))


def _normal_log_prob(
    noisy: Float[Array, "*s"], clean: Float[Array, "*s"], variance: Float[Array, "*s"]
) -> Float[Array, "*s"]:
    """Elementwise log-density of a normal distribution."""
    return -0.5 * ((noisy - clean) ** 2 / variance + jnp.log(2 * jnp.pi * variance))


def where_measured(noisy: Float[Array, "*s"], after: Moments, blind: Moments) -> Moments:
    """The posterior where there is a measurement, the blind prediction where there is none (NaN).

    Args:
        noisy: measured intensities, NaN where there is none.
        after: posterior.
        blind: blind prediction.

    Returns:
        Mean and variance.
    """
    missing = jnp.isnan(noisy)
    return Moments(*(jnp.where(missing, b, a) for b, a in zip(blind, after, strict=True)))
