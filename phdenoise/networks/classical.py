"""Classical denoisers behind one contract: temporal mean, Gaussian, non-local means, BM4D, singular values.

    f = Σ_q w_pq m_q y_q / Σ_q w_pq m_q                            m: 1 where a pixel is valid
    risk(w) = mean[(f − y)² − v + 2 cov(f_p, y_p)]                 unbiased for the squared error, without truth
    cov(f_p, y_p) = Σ_q w_pq ρ_pq √(v_p v_q)                       in closed form for a linear filter

The widths of the Gaussian are those of least risk (Stein, Ann. Stat. 9, 1135 (1981), doi:10.1214/aos/1176345632),
with the variance v and spatial autocorrelation ρ of the noise. The variance returned is the propagated noise plus
the squared bias that the local risk shows beyond it, so its mean is the estimated squared error; that is known
only to v √(2 Σρ²/pixels), which on short movies exceeds the bias of a good filter.
"""

from dataclasses import dataclass
from itertools import product
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from phdenoise.networks.classical_volume import bm4d, local_risk, nlm, singular_values
from phdenoise.types import InputError, Moments, NoiseModel

Method = Literal["mean", "gaussian", "nlm", "bm4d", "svd"]
# Candidate widths in time [frames] and space [px], about 1.4 times as wide each time; the risk chooses.
TIMES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 9.0)
SPACES = (0.0, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 5.0)
# Values that the widths are chosen on, at most: the risk's standard error is then 0.4 % of the noise variance.
CHOSEN_ON = 2**17
# Correlations of noise below this are taken for estimation error, dimensionless.
NEGLIGIBLE_CORRELATION = 0.05
# Least weight of valid pixels under a kernel for a pixel to be filled from them, dimensionless; a Gaussian's tail at five widths.
LEAST_WEIGHT = 1e-6


def classical(
    name: Method,
    frames: Float[np.ndarray, "t y x"],
    valid: Bool[np.ndarray, "t y x"],
    noise: NoiseModel,
    correlation: Float[np.ndarray, "ky kx"] | None = None,
    seed: int = 0,
) -> Moments:
    """Denoise a movie by a classical method whose settings are chosen without truth.

    Args:
        name: mean (over time), gaussian, nlm (extra seg or bench), bm4d (extra bench) or svd.
        frames: intensities; anything where not valid, which is filled in.
        valid: True where a pixel may be used.
        noise: variance of the noise as a function of the clean intensity; independent in time.
        correlation: spatial autocorrelation of the noise with odd sides and 1 at its centre
            (see `autocorrelation`); None for white noise.
        seed: of the random probe that measures the risk of nlm, bm4d and svd.

    Returns:
        Mean, and variance as the squared error to expect: finite and positive everywhere.

    Raises:
        InputError: an unknown name, no valid pixel, a bad correlation, or a missing optional package.
    """
    if name not in ("mean", "gaussian", "nlm", "bm4d", "svd"):
        raise InputError(
            f"Unknown classical denoiser '{name}': use mean, gaussian, nlm, bm4d, svd."
        )
    rho = np.ones((1, 1)) if correlation is None else np.asarray(correlation, np.float64)
    if not all(n % 2 for n in rho.shape) or rho[rho.shape[0] // 2, rho.shape[1] // 2] != 1:
        raise InputError("The noise autocorrelation needs odd sides and 1 at its centre.")
    good = valid & np.isfinite(frames)
    if not good.any():
        raise InputError("The movie has no valid pixel: every value is NaN or masked.")
    data = filled(frames, good)
    if name in ("mean", "gaussian"):
        mean, var = _linear(name, data, good, noise, rho)
    else:
        call = {"nlm": nlm, "bm4d": bm4d, "svd": singular_values}[name]
        mean, var = call(data, good, noise, rho, seed)
    dtype = frames.dtype
    var = np.maximum(var, np.finfo(np.float32).tiny)
    return Moments(jnp.asarray(mean, dtype), jnp.asarray(var, dtype))


def autocorrelation(
    along_x: Float[np.ndarray, " kx"], along_y: Float[np.ndarray, " ky"]
) -> Float[np.ndarray, "ky2 kx2"]:
    """Separable autocorrelation from lags 0, 1, 2... along x and y; negligible or unknown lags are 0.

    Args:
        along_x, along_y: `NoiseEstimate.correlation["x"]` and `["y"]`.

    Returns:
        Autocorrelation with odd sides, 1 at its centre.
    """

    def both(lags: np.ndarray) -> np.ndarray:
        kept = np.where(np.isfinite(lags) & (np.abs(lags) > NEGLIGIBLE_CORRELATION), lags, 0.0)
        return np.concatenate([kept[:0:-1], [1.0], kept[1:]])

    return np.outer(both(along_y), both(along_x))


def filled(
    frames: Float[np.ndarray, "t y x"], valid: Bool[np.ndarray, "t y x"]
) -> Float[np.ndarray, "t y x"]:
    """Frames with invalid pixels filled from the nearest valid ones, by averages of growing width.

    Args:
        frames: measured movie.
        valid: True where measured; at least one pixel is.

    Returns:
        Finite frames, float64.
    """
    data, seen, width = np.where(valid, frames, 0.0).astype(np.float64), valid, 1.0
    out = data.copy()
    while not seen.all():
        kernel = _Kernel.of(width, width)
        weight = kernel.apply(valid.astype(np.float64))
        new = ~seen & (weight > LEAST_WEIGHT)
        out[new] = (kernel.apply(data) / np.maximum(weight, 1e-30))[new]
        seen, width = seen | new, 2 * width
    return out


@dataclass(frozen=True)
class _Kernel:
    """A separable kernel, along time and along each direction of space, reflected at the edges."""

    time: np.ndarray
    space: np.ndarray

    @classmethod
    def of(cls, time: float, space: float) -> "_Kernel":
        """Gaussian kernel.

        Args:
            time: its width [frames].
            space: its width [px].

        Returns:
            The kernel.
        """
        return cls(_gauss(time), _gauss(space))

    def apply(self, a: np.ndarray) -> np.ndarray:
        """Sum of neighbours weighted by the kernel."""
        return _along_space(_along(a, self.time, 0), self.space)

    def variance(self, v: np.ndarray, rho: np.ndarray) -> np.ndarray:
        """Variance of `apply` on noise; correlation counts as away from edges.

        Args:
            v: variance of the noise [t, y, x].
            rho: its autocorrelation in space.

        Returns:
            Variance [t, y, x].
        """
        squares = np.tensordot(self._matrix(v.shape[0]) ** 2, v, axes=1)
        pairs = np.outer(*(np.convolve(self.space, self.space),) * 2)
        excess = np.sum(_centred(pairs, rho.shape) * rho) / np.sum(self.space**2) ** 2
        return excess * _along_space(squares, self.space**2)

    def covariance(self, root: np.ndarray, rho: np.ndarray) -> np.ndarray:
        """Covariance of `apply` with the noise of the pixel itself, over the standard deviation of that.

        Args:
            root: standard deviation of the noise [t, y, x].
            rho: its autocorrelation in space.

        Returns:
            Covariance over standard deviation [t, y, x].
        """
        own = np.diagonal(self._matrix(root.shape[0]))
        shared = _centred(np.outer(self.space, self.space), rho.shape) * rho
        return own[:, None, None] * ndimage.correlate(root, shared[None], mode="reflect")

    def _matrix(self, frames: int) -> np.ndarray:
        """Weights of the frames [out, in], with what the ends reflect."""
        return _along(np.eye(frames), self.time, 0)


def _linear(
    name: str, data: np.ndarray, good: np.ndarray, noise: NoiseModel, rho: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    smooth = _Kernel.of(1.0, 1.5)
    level = smooth.apply(good * data) / np.maximum(smooth.apply(1.0 * good), 1e-30)
    level = np.where(good, level, data)
    v = np.asarray(noise.variance(jnp.asarray(level, jnp.float32)), np.float64)
    if name == "mean":
        # Reflected frames repeat after 2 T, so that a flat kernel of this length weighs all alike.
        flat = np.ones(2 * data.shape[0] + 1)
        flat[[0, -1]] = 0.5
        best = _Kernel(flat / flat.sum(), np.ones(1))
    else:
        part = tuple(_middle(n, data.shape, axis) for axis, n in enumerate(data.shape))
        a, m, u = data[part], good[part], v[part]
        kernels = [_Kernel.of(t, s) for t, s in product(TIMES, SPACES) if t < 2 * data.shape[0]]
        best = min(kernels, key=lambda k: float(np.mean(_risk(k, a, m, u, rho)[1][m])))
    mean, risk, var = _risk(best, data, good, v, rho)
    bias = np.maximum(local_risk(risk, good) - var, 0.0)
    # Clipping at zero makes the bias too large on average; the mean risk is unbiased.
    excess = max(float(np.mean((risk - var)[good])), 0.0)
    bias *= excess / max(float(bias[good].mean()), np.finfo(float).tiny)
    return mean, var + bias


def _risk(
    kernel: _Kernel, data: np.ndarray, good: np.ndarray, v: np.ndarray, rho: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Estimate, unbiased squared error of every pixel, propagated variance."""
    m = good.astype(np.float64)
    weight = kernel.apply(m)
    far = weight < LEAST_WEIGHT
    weight = np.where(far, 1.0, weight)
    mean = np.where(far, data, kernel.apply(m * data) / weight)
    root = np.sqrt(v)
    risk = (mean - data) ** 2 - v + 2 * root * kernel.covariance(m * root, rho) / weight
    return mean, risk, np.where(far, v, kernel.variance(m * v, rho) / weight**2)


def _along(a: np.ndarray, kernel: np.ndarray, axis: int) -> np.ndarray:
    return (
        ndimage.correlate1d(a, kernel, axis, mode="reflect") if kernel.size > 1 else a * kernel[0]
    )


def _along_space(a: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    return _along(_along(a, kernel, 1), kernel, 2)


def _gauss(width: float) -> np.ndarray:
    radius = int(4 * width + 0.5)
    x = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * (x / width) ** 2) if radius else np.ones(1)
    return kernel / kernel.sum()


def _centred(a: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The middle of a, cut or padded with zeros to an odd shape."""
    out = np.zeros(shape)
    take = [min(n, k) // 2 for n, k in zip(a.shape, shape, strict=True)]
    inner = tuple(slice(k // 2 - r, k // 2 + r + 1) for k, r in zip(shape, take, strict=True))
    outer = tuple(slice(n // 2 - r, n // 2 + r + 1) for n, r in zip(a.shape, take, strict=True))
    out[inner] = a[outer]
    return out


def _middle(n: int, shape: tuple[int, ...], axis: int) -> slice:
    """Central part along one axis, so that all of them hold about `CHOSEN_ON` values."""
    side = n if axis == 0 else max(32, int(np.sqrt(CHOSEN_ON / shape[0])))
    start = max((n - side) // 2, 0)
    return slice(start, start + side)
