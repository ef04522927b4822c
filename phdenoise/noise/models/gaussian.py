"""Additive Gaussian noise: white, or correlated between neighbouring pixels by detector blur, binning, interpolation, scan lines, compression.

    y = x + σ n,            n ~ N(0, 1)
    y = x + √v(x) ∘ u,      u ~ N(0, R),     R(Δ) = autocorrelation at lag Δ = (Δy, Δx),  R(0) = 1
    v(x) = gain · max(x − offset, 0) + σ_read²

u may also be correlated in time. It is drawn by circulant embedding: white noise is filtered by the square root of the
spectrum of R on a torus larger than the frame. Negative parts of the spectrum, from errors of R, are set to zero.
Dietrich and Newsam, SIAM J. Sci. Comput. 18, 1088 (1997), doi:10.1137/S1064827592240555.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from scipy.linalg import solve

from phdenoise.noise.models.base import NoiseModel
from phdenoise.noise.models.risk_terms import sure_terms
from phdenoise.types import InputError

# Smallest power [noise variance] of a spectrum by which pixels predict each other: below it there are only errors of R.
SMALLEST_SPECTRUM = 1e-2
# Largest deviation of an autocorrelation's centre from 1.
LARGEST_CENTRE_ERROR = 1e-3


class Gaussian(NoiseModel):
    """Additive white Gaussian noise of one standard deviation [intensity unit]."""

    sigma: Float[Array, ""] = eqx.field(converter=jnp.asarray)

    def sample(self, key: PRNGKeyArray, clean: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """x + σ n."""
        sigma = self.sigma.astype(clean.dtype)
        return clean + sigma * jax.random.normal(key, clean.shape, clean.dtype)

    def variance(self, clean: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """σ² everywhere."""
        return jnp.broadcast_to(self.sigma.astype(clean.dtype) ** 2, clean.shape)

    def correlated(
        self,
        autocorrelation: Float[np.ndarray, "ky kx"],
        temporal_correlation: Float[np.ndarray, " l"] | tuple[()] = (),
    ) -> "Correlated":
        """Gaussian noise of the same variance with a correlation."""
        zero = jnp.float32(0)
        return Correlated.of(zero, zero, self.sigma, autocorrelation, temporal_correlation)

    def with_read_noise(self, variance: float) -> "Gaussian":
        """Gaussian noise of the sum of both variances."""
        return Gaussian(jnp.sqrt(self.sigma**2 + variance))

    def scaled(self, factor: float) -> "Gaussian":
        """Gaussian noise of `factor` times the variance."""
        return Gaussian(self.sigma * factor**0.5)


class Correlated(NoiseModel):
    """Gaussian noise correlated in space, of constant or counting variance.

    Attributes:
        autocorrelation: correlation of the noise [lags y, lags x], odd sides, 1 at the centre.
        gain: variance per intensity above the offset [intensity unit]; 0 for constant variance.
        offset: intensity at which the counting variance is zero.
        read_sigma: standard deviation of what does not depend on the intensity.
        temporal_correlation: correlation with the noise of the next frame, the one after, and so on; empty: frames are independent.
    """

    autocorrelation: Float[Array, "ky kx"] = eqx.field(converter=jnp.asarray)
    gain: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    offset: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    read_sigma: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    temporal_correlation: Float[Array, " l"] = eqx.field(converter=jnp.asarray, default=())

    @classmethod
    def of(
        cls,
        gain: Float[Array, ""],
        offset: Float[Array, ""],
        read_sigma: Float[Array, ""],
        autocorrelation: Float[np.ndarray, "ky kx"],
        temporal_correlation: Float[np.ndarray, " l"] | tuple[()],
    ) -> "Correlated":
        """Noise of a measured autocorrelation, whose two halves are two estimates of one value.

        Args:
            gain, offset, read_sigma: of its variance.
            autocorrelation: correlation at lags (y, x), 1 at the centre.
            temporal_correlation: correlation with the noise of the next frames.

        Returns:
            The noise model.

        Raises:
            InputError: even sides, a value that is not finite, or a centre that is not 1.
        """
        rho = np.asarray(autocorrelation)
        ky, kx = rho.shape
        centred = (
            ky % 2 == 1 and kx % 2 == 1 and abs(rho[ky // 2, kx // 2] - 1) < LARGEST_CENTRE_ERROR
        )
        if not (centred and np.isfinite(rho).all()):
            raise InputError(
                f"The noise autocorrelation {rho.shape} needs odd sides, finite values and 1 at its centre."
            )
        even = jnp.asarray((rho + rho[::-1, ::-1]) / 2, jnp.float32)
        return cls(even, gain, offset, read_sigma, jnp.asarray(temporal_correlation, jnp.float32))

    def sample(self, key: PRNGKeyArray, clean: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """One noisy movie of the shape of `clean`, [..., y, x]."""
        return clean + jnp.sqrt(self.variance(clean)) * self.unit_field(key, clean)

    def unit_field(self, key: PRNGKeyArray, like: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """Noise of variance one with this correlation."""
        *frames, ny, nx = like.shape
        lags = self.temporal_correlation.shape[0]
        if lags and frames:
            frames[-1] += lags
        ky, kx = self.autocorrelation.shape
        torus = (ny + ky - 1, nx + kx - 1)
        ring = (
            jnp.zeros(torus, like.dtype).at[:ky, :kx].set(self.autocorrelation.astype(like.dtype))
        )
        ring = jnp.roll(ring, (-(ky // 2), -(kx // 2)), (0, 1))
        power = jnp.maximum(jnp.fft.rfft2(ring).real, 0)
        # The projection adds variance; R(0) = 1 is kept exactly.
        power = power / jnp.fft.irfft2(power, torus)[0, 0]
        white = jax.random.normal(key, (*frames, *torus), like.dtype)
        amplitude = jnp.expand_dims(jnp.sqrt(power), tuple(range(len(frames))))
        coloured = jnp.fft.irfft2(jnp.fft.rfft2(white) * amplitude, torus)
        coloured = coloured[..., :ny, :nx]
        if lags and frames:
            coloured = correlate_in_time(coloured, self.temporal_correlation)[
                ..., : frames[-1] - lags, :, :
            ]
        return coloured.astype(like.dtype)

    def variance(self, clean: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """gain · (clean − offset) + read_sigma²."""
        gain, offset, read = (
            value.astype(clean.dtype) for value in (self.gain, self.offset, self.read_sigma)
        )
        return gain * jnp.maximum(clean - offset, 0) + read**2

    def risk_terms(
        self,
        denoise: Callable[[Array], Array],
        noisy: Float[Array, "t y x"],
        key: PRNGKeyArray,
        *,
        step: float | None = None,
        curvature: bool = True,
    ) -> Float[Array, "t y x"]:
        """SURE with probes of this correlation."""
        return sure_terms(denoise, noisy, self.variance(noisy), self.unit_field(key, noisy), step)

    def quantile_excess(self, deviations: float) -> float:
        """As of counts of this gain; see `CountingNoise.quantile_excess`."""
        return float(self.gain) * (deviations**2 - 1) / 6


def correlate_in_time(
    frames: Float[Array, "*s t y x"], temporal_correlation: Float[Array, " l"]
) -> Float[Array, "*s t y x"]:
    """Noise of independent frames, filtered on a ring in time so that frames are correlated.

    Args:
        frames: noise that is independent between frames.
        temporal_correlation: wanted correlation with the next frame, the one after, and so on.

    Returns:
        Noise of the same variance.
    """
    t, lags = frames.shape[-3], temporal_correlation.shape[0]
    ring = jnp.zeros(t, frames.dtype).at[0].set(1.0)
    ring = (
        ring.at[1 : lags + 1]
        .set(temporal_correlation)
        .at[t - lags :]
        .set(temporal_correlation[::-1])
    )
    power = jnp.maximum(jnp.fft.rfft(ring).real, 0)
    power = power / jnp.fft.irfft(power, t)[0]
    found: Array = jnp.fft.irfft(
        jnp.fft.rfft(frames, axis=-3) * jnp.sqrt(power)[:, None, None], t, axis=-3
    )
    return found


def predictable_share(autocorrelation: Float[np.ndarray, "k k"], hidden: tuple[int, int]) -> float:
    """Share of a pixel's noise variance that can be predicted from pixels farther away than `hidden` (y, x) [px].

        cᵀ C⁻¹ c,    c = R(q),  C = R(q − q′)    over the pixels q outside of the hidden rectangle

    Args:
        autocorrelation: R at lags up to r [2 r + 1, 2 r + 1], 1 at its centre; taken for zero beyond.
        hidden: half sides of the hidden rectangle around the pixel.

    Returns:
        The share, between 0 and 1.
    """
    r = len(autocorrelation) // 2
    side = 4 * r + 1
    ring = np.zeros((side, side))
    ring[: 2 * r + 1, : 2 * r + 1] = (autocorrelation + autocorrelation[::-1, ::-1]) / 2
    power = np.fft.fft2(np.roll(ring, (-r, -r), (0, 1))).real
    # Errors of R make it indefinite.
    known = np.fft.ifft2(np.maximum(power, SMALLEST_SPECTRUM)).real
    y, x = (a.ravel() for a in np.mgrid[-r : r + 1, -r : r + 1])
    outside = (np.abs(y) > hidden[0]) | (np.abs(x) > hidden[1])
    y, x = y[outside], x[outside]
    shared = known[y, x]
    among = known[np.subtract.outer(y, y), np.subtract.outer(x, x)]
    return float(shared @ solve(among, shared, assume_a="pos") / known[0, 0])
