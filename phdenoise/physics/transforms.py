"""Transforms to the eigenvectors of the finite-volume Laplacian, and its eigenvalues.

    −∇² v_k = λ(k) v_k,   λ(k) = (2 − 2cos k_y)/dy² + (2 − 2cos k_x)/dx²

Periodic: k = 2πn/N, real FFT. No-flux: k = πn/N, the cosine transform DCT-II, here from one real
FFT of the same length per axis (even samples, then the odd ones backwards), half the time of an
even extension. Makhoul, IEEE Trans. Acoust. 28, 27 (1980), doi:10.1109/TASSP.1980.1163351.
"""

from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from phdenoise.grid import Grid
from phdenoise.physics import real_fourier

Transform = Callable[[Array], Array]


def transforms(grid: Grid) -> tuple[Transform, Transform]:
    """Forward and inverse transform over the last two axes.

    Returns:
        Functions field -> spectrum and back; complex [ky, kx/2+1] where periodic, real and
        transposed [kx, ky] where no-flux, always the layout of `laplacian_symbol`.
    """
    if grid.boundary == "periodic":
        return real_fourier.forward, partial(real_fourier.inverse, width=grid.shape[-1])
    return (
        lambda c: _cosine(_cosine(c).swapaxes(-1, -2)),
        lambda spectrum: _inverse_cosine(_inverse_cosine(spectrum).swapaxes(-1, -2)),
    )


def laplacian_symbol(grid: Grid, dtype: DTypeLike) -> Float[Array, "k1 k2"]:
    """Eigenvalues λ ≥ 0 of −∇² on the full rectangle, whatever the mask [1/length²]."""
    ny, nx = grid.shape
    dy, dx = grid.spacing[0].astype(dtype), grid.spacing[1].astype(dtype)
    if grid.boundary == "periodic":
        return (
            _second_difference(2 * np.pi / ny, ny, dy)[:, None]
            + _second_difference(2 * np.pi / nx, nx // 2 + 1, dx)[None, :]
        )
    return (
        _second_difference(np.pi / nx, nx, dx)[:, None]
        + _second_difference(np.pi / ny, ny, dy)[None, :]
    )


def _second_difference(unit: float, count: int, spacing: Array) -> Array:
    """2 − 2cos k over h² for k = 0, unit, …; as 4 sin²(k/2), exact for long waves in float32."""
    sine = np.sin(0.5 * unit * np.arange(count))
    return jnp.asarray(4 * sine**2, spacing.dtype) / spacing**2


def _cosine(c: Float[Array, "*b n"]) -> Float[Array, "*b n"]:
    """Σⱼ cⱼ cos(πk(j+½)/n) along the last axis."""
    n = c.shape[-1]
    folded = jnp.concatenate([c[..., ::2], c[..., 1::2][..., ::-1]], axis=-1)
    spectrum = jnp.fft.rfft(folded)
    cos, sin = _quarter_turn(n, c)
    low = spectrum.real * cos + spectrum.imag * sin
    high = spectrum.real * sin - spectrum.imag * cos
    return jnp.concatenate([low, high[..., 1 : (n + 1) // 2][..., ::-1]], axis=-1)


def _inverse_cosine(spectrum: Float[Array, "*b n"]) -> Float[Array, "*b n"]:
    """Inverse of `_cosine`."""
    n = spectrum.shape[-1]
    low = spectrum[..., : n // 2 + 1]
    zero = jnp.zeros_like(spectrum[..., :1])
    high = jnp.concatenate([zero, spectrum[..., (n + 1) // 2 :][..., ::-1]], axis=-1)
    cos, sin = _quarter_turn(n, spectrum)
    folded = jnp.fft.irfft(lax.complex(low * cos + high * sin, low * sin - high * cos), n=n)
    evens, odds = folded[..., : (n + 1) // 2], folded[..., (n + 1) // 2 :][..., ::-1]
    if n % 2:
        odds = jnp.concatenate([odds, zero], axis=-1)
    return jnp.stack([evens, odds], axis=-1).reshape(*spectrum.shape[:-1], -1)[..., :n]


def _quarter_turn(n: int, like: Array) -> tuple[Array, Array]:
    angle = np.pi * np.arange(n // 2 + 1) / (2 * n)
    shape = (1,) * (like.ndim - 1) + (-1,)
    return (
        jnp.asarray(np.cos(angle), like.dtype).reshape(shape),
        jnp.asarray(np.sin(angle), like.dtype).reshape(shape),
    )
