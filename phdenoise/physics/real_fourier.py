"""The real Fourier transform of the last two axes and its inverse, each the other's transpose.

    X = F x,   Fᵀ ξ = F⁻¹( N ξ̄ / m ),   (F⁻¹)ᵀ r = conj( m F r ) / N,   m = 1 on k_x = 0 and N_x/2, else 2

JAX transposes rfft through a complex transform of twice the size; in the reverse of a time step, which is
mostly transforms, that is what costs. As primitives the two are linear in both modes and batched over leading
axes.
"""

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Complex, Float


def forward(x: Float[Array, "*b y x"]) -> Complex[Array, "*b y k"]:
    """Spectrum [ky, kx/2+1] of real fields."""
    return _forward.bind(x, width=x.shape[-1])


def inverse(spectrum: Complex[Array, "*b y k"], width: int) -> Float[Array, "*b y x"]:
    """Real fields from their spectra.

    Args:
        spectrum: [*b, ky, kx/2+1].
        width: columns of the fields.

    Returns:
        Fields [*b, y, x].
    """
    return _inverse.bind(spectrum, width=width)


def _evaluate_forward(x: Array, *, width: int) -> Array:
    return jnp.fft.rfft2(x)


def _evaluate_inverse(spectrum: Array, *, width: int) -> Array:
    return jnp.fft.irfft2(spectrum, s=(spectrum.shape[-2], width))


def _forward_shape(aval: Any, *, width: int) -> Any:
    dtype = np.dtype(np.complex64 if aval.dtype == np.float32 else np.complex128)
    return aval.update(shape=(*aval.shape[:-1], width // 2 + 1), dtype=dtype)


def _inverse_shape(aval: Any, *, width: int) -> Any:
    dtype = np.dtype(np.float32 if aval.dtype == np.complex64 else np.float64)
    return aval.update(shape=(*aval.shape[:-1], width), dtype=dtype)


def _transpose_forward(cotangent: Array, x: Any, *, width: int) -> list[Array]:
    cells = x.aval.shape[-2] * width
    weight = cells / _multiplicity(cotangent, width)
    return [_inverse.bind(jnp.conj(cotangent) * weight, width=width)]


def _transpose_inverse(cotangent: Array, spectrum: Any, *, width: int) -> list[Array]:
    image = _forward.bind(cotangent, width=width)
    cells = cotangent.shape[-2] * width
    return [jnp.conj(image) * (_multiplicity(image, width) / cells)]


def _multiplicity(spectrum: Array, width: int) -> Array:
    """How many columns of the full spectrum each of the half stands for."""
    count = np.full(width // 2 + 1, 2.0)
    count[0] = 1
    if width % 2 == 0:
        count[-1] = 1
    shape = (1,) * (spectrum.ndim - 1) + (-1,)
    return jnp.asarray(count.reshape(shape), spectrum.real.dtype)


def _primitive(name: str, evaluate: Any, shape: Any) -> Primitive:
    primitive = Primitive(f"phdenoise_fourier_{name}")

    @cache
    def compiled(width: int) -> Any:
        return jax.jit(partial(evaluate, width=width))

    def batch(args: tuple[Array], dims: tuple[int], *, width: int) -> tuple[Array, int]:
        return primitive.bind(jnp.moveaxis(args[0], dims[0], 0), width=width), 0

    primitive.def_impl(lambda x, *, width: compiled(width)(x))
    primitive.def_abstract_eval(shape)
    mlir.register_lowering(primitive, mlir.lower_fun(evaluate, multiple_results=False))
    batching.primitive_batchers[primitive] = batch
    return primitive


_forward = _primitive("forward", _evaluate_forward, _forward_shape)
_inverse = _primitive("inverse", _evaluate_inverse, _inverse_shape)
ad.deflinear2(_forward, _transpose_forward)
ad.deflinear2(_inverse, _transpose_inverse)
