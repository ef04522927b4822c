"""What noise of counts has in common, with or without read noise.

    y = offset + gain · Poisson((x − offset)/gain) + read noise,    var y = gain · (x − offset) + σ_read²

Foi et al., IEEE Trans. Image Process. 17, 1737 (2008), doi:10.1109/TIP.2008.2001404.
"""

from collections.abc import Callable
from typing import ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from phdenoise.noise.models.base import NoiseModel
from phdenoise.noise.models.gaussian import Correlated
from phdenoise.noise.models.risk_terms import pure_terms
from phdenoise.noise.stabilise import Anscombe

# Smallest expected count [counts] that variance and likelihood assume: the measurement of a pixel that expects no
# count is never taken as exact.
SMALLEST_RATE = 1e-3


class CountingNoise(NoiseModel):
    """Noise of counts of a gain [intensity unit per count] and offset [intensity unit]."""

    gain: eqx.AbstractVar[Float[Array, ""]]
    offset: eqx.AbstractVar[Float[Array, ""]]

    risk: ClassVar[Literal["sure", "pure"]] = "pure"

    @property
    def read_noise(self) -> Float[Array, ""]:
        """Standard deviation of the read noise [intensity unit]; zero unless a model has it."""
        return jnp.zeros_like(self.gain)

    def sample_counts(self, key: PRNGKeyArray, clean: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """Counts of the expected intensities without read noise, as intensities.

        Args:
            key: of the random numbers.
            clean: expected intensities.

        Returns:
            Intensities, shape and dtype of `clean`.
        """
        gain, offset = self._scale(clean)
        rate = jnp.maximum((clean - offset) / gain, 0)
        return offset + gain * jax.random.poisson(key, rate).astype(clean.dtype)

    def variance(self, clean: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """gain · (clean − offset) + read noise²."""
        gain, offset = self._scale(clean)
        counting = gain * jnp.maximum(clean - offset, SMALLEST_RATE * gain)
        return counting + self.read_noise.astype(clean.dtype) ** 2

    def estimated_variance(self, noisy: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """Unbiased, also where a count is below the offset."""
        gain, offset = self._scale(noisy)
        return gain * (noisy - offset) + self.read_noise.astype(noisy.dtype) ** 2

    def risk_terms(
        self,
        denoise: Callable[[Array], Array],
        noisy: Float[Array, "t y x"],
        key: PRNGKeyArray,
        *,
        step: float | None = None,
        curvature: bool = True,
    ) -> Float[Array, "t y x"]:
        """The estimate PURE, `pure_terms`."""
        gain, offset = self._scale(noisy)
        read = self.read_noise.astype(noisy.dtype)
        counting = gain * (noisy - offset)
        return pure_terms(denoise, noisy, counting, gain, read, key, step=step, curvature=curvature)

    def correlated(
        self,
        autocorrelation: Float[np.ndarray, "ky kx"],
        temporal_correlation: Float[np.ndarray, " l"] | tuple[()] = (),
    ) -> Correlated:
        """Gaussian noise of the same variance with a correlation."""
        return Correlated.of(
            self.gain, self.offset, self.read_noise, autocorrelation, temporal_correlation
        )

    def stabiliser(
        self, data: Float[np.ndarray, "t y x"], good: Bool[np.ndarray, "t y x"]
    ) -> Anscombe:
        """The generalised Anscombe transform."""
        gain = float(self.gain)
        return Anscombe(gain=gain, offset=float(self.offset), read=float(self.read_noise) / gain)

    def quantile_excess(self, deviations: float) -> float:
        """Of a Poisson quantile, by Cornish and Fisher, Rev. Inst. Int. Stat. 5, 307 (1938), doi:10.2307/1400905."""
        return float(self.gain) * (deviations**2 - 1) / 6

    def _scale(self, like: Array) -> tuple[Array, Array]:
        """Gain and offset in the dtype of an array."""
        return self.gain.astype(like.dtype), self.offset.astype(like.dtype)
