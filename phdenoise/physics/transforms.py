"""Transforms to the eigenvectors of the finite-volume Laplacian, and its eigenvalues.

    −∇² v_k = λ(k) v_k,   λ(k) = Σ over axes of (2 − 2cos k)/h²

Along an axis of N cells, by what holds at its lower and upper end (c given, or no gradient):

    periodic             k = 2πn/N       real FFT
    gradient, gradient   k = πn/N        cosines, DCT-II
    given, given         k = π(N−n)/N    sines, DST-II, as the DCT-II of cⱼ(−1)ʲ
    gradient, given      k = π(n+½)/N    DCT-IV, and of the reversed axis for (given, gradient)

The DCT-II is one real FFT of the same length (even samples, then the odd ones backwards), half the
time of an even extension. Makhoul, IEEE Trans. Acoust. 28, 27 (1980),
doi:10.1109/TASSP.1980.1163351.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from phdenoise.grid import Fixed, Grid
from phdenoise.physics import real_fourier

Transform = Callable[[Array], Array]
Kind = Literal["wave", "even", "odd", "even-odd", "odd-even"]


def transforms(grid: Grid) -> tuple[Transform, Transform]:
    """Forward and inverse transform over the axes of the grid, which are the last.

    Returns:
        Functions field -> spectrum and back, always in the layout of `laplacian_symbol`: complex
        with half of the last periodic axis where there is one, else real and the axes rotated, (y, x)
        to (x, y), which saves a transposition.
    """
    kinds = [_kind(grid, axis) for axis in range(grid.ndim)]
    waves = tuple(axis - grid.ndim for axis in range(grid.ndim) if kinds[axis] == "wave")
    if not waves:
        return lambda c: _rotating(c, kinds), lambda spectrum: _rotating_back(spectrum, kinds)
    if len(waves) == grid.ndim == 2:
        return real_fourier.forward, partial(real_fourier.inverse, width=grid.shape[-1])
    lengths = tuple(grid.shape[axis] for axis in waves)
    rest = [axis - grid.ndim for axis in range(grid.ndim) if kinds[axis] != "wave"]

    def forward(c: Array) -> Array:
        for axis in rest:
            c = jnp.moveaxis(_along(jnp.moveaxis(c, axis, -1), kinds[axis]), -1, axis)
        return jnp.fft.rfftn(c, axes=waves)

    def inverse(spectrum: Array) -> Array:
        c = jnp.fft.irfftn(spectrum, s=lengths, axes=waves)
        for axis in rest:
            c = jnp.moveaxis(_back_along(jnp.moveaxis(c, axis, -1), kinds[axis]), -1, axis)
        return c

    return forward, inverse


def laplacian_symbol(grid: Grid, dtype: DTypeLike) -> Float[Array, "*k"]:
    """Eigenvalues λ ≥ 0 of −∇² on the full box, whatever the mask.

    Args:
        grid: domain.
        dtype: of the eigenvalues.

    Returns:
        λ [*k] [1/length²] in the layout of `transforms`.
    """
    kinds = [_kind(grid, axis) for axis in range(grid.ndim)]
    order = list(range(grid.ndim))
    halved = max((axis for axis in order if kinds[axis] == "wave"), default=None)
    if halved is None:
        order = order[1:] + order[:1]
    total = jnp.zeros((1,) * grid.ndim, dtype)
    for place, axis in enumerate(order):
        n = grid.shape[axis]
        count = n // 2 + 1 if axis == halved else n
        # 2 − 2cos k as 4 sin²(k/2), exact for long waves in float32.
        square = 4 * np.sin(0.5 * _wavenumbers(kinds[axis], n)[:count]) ** 2
        shape = [1] * grid.ndim
        shape[place] = count
        eigenvalues = jnp.asarray(square.reshape(shape), dtype)
        total = total + eigenvalues / grid.spacing[axis].astype(dtype) ** 2
    return total


def _kind(grid: Grid, axis: int) -> Kind:
    if grid.periodic(axis):
        return "wave"
    lower, upper = (isinstance(face, Fixed) for face in grid.faces[axis])
    if lower:
        return "odd" if upper else "odd-even"
    return "even-odd" if upper else "even"


def _wavenumbers(kind: Kind, n: int) -> np.ndarray:
    """k times the spacing."""
    index = np.arange(n)
    match kind:
        case "wave":
            return 2 * np.pi * index / n
        case "even":
            return np.pi * index / n
        case "odd":
            return np.pi * (n - index) / n
        case _:
            return np.pi * (index + 0.5) / n


def _rotating(c: Array, kinds: list[Kind]) -> Array:
    for step, kind in enumerate(reversed(kinds)):
        if step:
            c = jnp.moveaxis(c, -1, -len(kinds))
        c = _along(c, kind)
    return c


def _rotating_back(spectrum: Array, kinds: list[Kind]) -> Array:
    for step, kind in enumerate(kinds):
        if step:
            spectrum = jnp.moveaxis(spectrum, -len(kinds), -1)
        spectrum = _back_along(spectrum, kind)
    return spectrum


def _along(c: Array, kind: Kind) -> Array:
    """Transform along the last axis."""
    match kind:
        case "even":
            return _cosine(c)
        case "odd":
            return _cosine(c * _signs(c))
        case "even-odd":
            return _quarter_cosine(c)
        case _:
            return _quarter_cosine(c[..., ::-1])


def _back_along(spectrum: Array, kind: Kind) -> Array:
    """Inverse of `_along`."""
    match kind:
        case "even":
            return _inverse_cosine(spectrum)
        case "odd":
            return _inverse_cosine(spectrum) * _signs(spectrum)
        case "even-odd":
            return _quarter_cosine(spectrum) * (2 / spectrum.shape[-1])
        case _:
            return _quarter_cosine(spectrum)[..., ::-1] * (2 / spectrum.shape[-1])


def _signs(c: Array) -> Array:
    signs = jnp.asarray((-1.0) ** np.arange(c.shape[-1]), c.dtype)
    return signs.reshape((1,) * (c.ndim - 1) + (-1,))


def _quarter_cosine(c: Float[Array, "*b n"]) -> Float[Array, "*b n"]:
    """Σⱼ cⱼ cos(π(k+½)(j+½)/n) along the last axis, its own inverse times n/2."""
    n = c.shape[-1]
    shape = (1,) * (c.ndim - 1) + (-1,)
    place = np.pi * np.arange(n) / (2 * n)
    cos, sin = (jnp.asarray(f(place), c.dtype).reshape(shape) for f in (np.cos, np.sin))
    spectrum = jnp.fft.fft(lax.complex(c * cos, -c * sin), n=2 * n)[..., :n]
    place = place + np.pi / (4 * n)
    cos, sin = (jnp.asarray(f(place), c.dtype).reshape(shape) for f in (np.cos, np.sin))
    return spectrum.real * cos + spectrum.imag * sin


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
