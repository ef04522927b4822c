"""Noise that neighbouring pixels share: detector blur, binning, interpolation, scan lines, compression.

    y = x + √v(x) ∘ u,     u ~ N(0, R),     R(Δ) = autocorrelation at lag Δ = (Δy, Δx),  R(0) = 1
    v(x) = gain · max(x − offset, 0) + σ_read²

u may last for several frames, with a correlation of its own in time. It is drawn by circulant embedding: white noise through the square root of the spectrum of R on a torus larger than
the frame. Negative parts of the spectrum, from errors of R, are projected away. Dietrich and Newsam, SIAM J. Sci. Comput.
18, 1088 (1997), doi:10.1137/S1064827592240555.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from scipy.linalg import solve

from phdenoise.noise.models import Gaussian, Poisson, PoissonGaussian, normal_log_prob
from phdenoise.types import InputError


class Correlated(eqx.Module):
    """Gaussian noise correlated in space, of constant or counting variance.

    Attributes:
        autocorrelation: correlation of the noise [lags y, lags x], odd sides, 1 at the centre.
        gain: variance per intensity above the offset [intensity unit]; 0 for constant variance.
        offset: intensity at which the counting variance is zero.
        read_sigma: standard deviation of what does not depend on the intensity.
        lasting: correlation with the noise of the next frame, the one after, and so on; empty: frames are independent.
    """

    autocorrelation: Float[Array, "ky kx"] = eqx.field(converter=jnp.asarray)
    gain: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    offset: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    read_sigma: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    lasting: Float[Array, " l"] = eqx.field(converter=jnp.asarray, default=())

    @classmethod
    def of(
        cls,
        model: Gaussian | Poisson | PoissonGaussian,
        autocorrelation: Float[np.ndarray, "ky kx"],
        lasting: Float[np.ndarray, " l"] | tuple[()] = (),
    ) -> "Correlated":
        """The same variance as `model`'s, with an autocorrelation.

        Raises:
            InputError: even sides, a value that is not finite, or a centre that is not 1.
        """
        rho = np.asarray(autocorrelation)
        ky, kx = rho.shape
        centred = ky % 2 == 1 and kx % 2 == 1 and abs(rho[ky // 2, kx // 2] - 1) < 1e-3
        if not (centred and np.isfinite(rho).all()):
            raise InputError(
                f"The noise autocorrelation {rho.shape} needs odd sides, finite values and 1 at its centre."
            )
        # A correlation is even; the two halves are two estimates of one value.
        later = jnp.asarray(lasting, jnp.float32)
        even = jnp.asarray((rho + rho[::-1, ::-1]) / 2, jnp.float32)
        zero = jnp.float32(0)
        if isinstance(model, Gaussian):
            return cls(even, zero, zero, model.sigma, later)
        read = model.read_sigma if isinstance(model, PoissonGaussian) else zero
        return cls(even, model.gain, model.offset, read, later)

    def sample(self, key: PRNGKeyArray, clean: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """One noisy movie of the shape of `clean`, [..., y, x]."""
        return clean + jnp.sqrt(self.variance(clean)) * self.field(key, clean)

    def field(self, key: PRNGKeyArray, like: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """Unit-variance noise of this autocorrelation with the shape and dtype of `like`, [..., (t,) y, x]."""
        *frames, ny, nx = like.shape
        lags = self.lasting.shape[0]
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
            coloured = in_time(coloured, self.lasting)[..., : frames[-1] - lags, :, :]
        return coloured.astype(like.dtype)

    def log_prob(self, noisy: Float[Array, "*s"], clean: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """Elementwise log-density of each pixel alone (the marginal, without its neighbours)."""
        return normal_log_prob(noisy, clean, self.variance(clean))

    def variance(self, clean: Float[Array, "*s"]) -> Float[Array, "*s"]:
        """gain · (clean − offset) + read_sigma²."""
        gain, offset, read = (
            value.astype(clean.dtype) for value in (self.gain, self.offset, self.read_sigma)
        )
        return gain * jnp.maximum(clean - offset, 0) + read**2


def in_time(
    frames: Float[Array, "*s t y x"], lasting: Float[Array, " l"]
) -> Float[Array, "*s t y x"]:
    """Noise of independent frames as noise that lasts, on a ring in time; see `Correlated.lasting`."""
    t, lags = frames.shape[-3], lasting.shape[0]
    ring = jnp.zeros(t, frames.dtype).at[0].set(1.0)
    ring = ring.at[1 : lags + 1].set(lasting).at[t - lags :].set(lasting[::-1])
    power = jnp.maximum(jnp.fft.rfft(ring).real, 0)
    power = power / jnp.fft.irfft(power, t)[0]
    found: Array = jnp.fft.irfft(
        jnp.fft.rfft(frames, axis=-3) * jnp.sqrt(power)[:, None, None], t, axis=-3
    )
    return found


def told_from_outside(autocorrelation: Float[np.ndarray, "k k"], hidden: tuple[int, int]) -> float:
    """Share of a pixel's noise variance that can be told from pixels farther away than `hidden` (y, x) [px].

        cᵀ C⁻¹ c,    c = R(q),  C = R(q − q′)    over the pixels q outside of the hidden rectangle

    Args:
        autocorrelation: R at lags up to r [2 r + 1, 2 r + 1], 1 at its centre; taken for zero beyond.
        hidden: half sides of the hidden rectangle around the pixel.
    """
    r = len(autocorrelation) // 2
    side = 4 * r + 1
    ring = np.zeros((side, side))
    ring[: 2 * r + 1, : 2 * r + 1] = (autocorrelation + autocorrelation[::-1, ::-1]) / 2
    power = np.fft.fft2(np.roll(ring, (-r, -r), (0, 1))).real
    # Errors of R make it indefinite, and what only they tell apart tells nothing.
    known = np.fft.ifft2(np.maximum(power, 1e-2)).real
    y, x = (a.ravel() for a in np.mgrid[-r : r + 1, -r : r + 1])
    outside = (np.abs(y) > hidden[0]) | (np.abs(x) > hidden[1])
    y, x = y[outside], x[outside]
    shared = known[y, x]
    among = known[np.subtract.outer(y, y), np.subtract.outer(x, x)]
    return float(shared @ solve(among, shared, assume_a="pos") / known[0, 0])
