"""The one linear map under all spatial operators, with its transpose known to JAX.

    lower:  (Lc)_i = c_i + s c_{i−1}   cells -> the lower face of each cell
    upper:  (Lᵀf)_i = f_i + s f_{i+1}  faces -> cells,   s = ±1 along one axis

Periodic axes wrap around. On a closed axis face 0 is shut: `lower` writes zero there and `upper`
does not read it, so that the two are exact transposes. A primitive of its own because the
transpose JAX derives for slices is a chain of zero paddings, six times slower in reverse mode
than the stencil itself. Rules written: Jacobian product, transpose and batching (JAX
documentation, "custom JAX primitives").
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float


def lower(c: Float[Array, "*b y x"], *, axis: int, sign: int, wrap: bool) -> Float[Array, "*b y x"]:
    """cᵢ + sign · cᵢ₋₁ along a (negative) axis: values on the lower face of each cell."""
    return _pair.bind(c, axis=axis, sign=sign, wrap=wrap, up=False)


def upper(f: Float[Array, "*b y x"], *, axis: int, sign: int, wrap: bool) -> Float[Array, "*b y x"]:
    """fᵢ + sign · fᵢ₊₁ along a (negative) axis, the transpose of `lower`."""
    return _pair.bind(f, axis=axis, sign=sign, wrap=wrap, up=True)


def _evaluate(x: Array, *, axis: int, sign: int, wrap: bool, up: bool) -> Array:
    n = x.shape[axis]
    part = partial(jax.lax.slice_in_dim, x, axis=axis)
    join = partial(jnp.concatenate, axis=axis)
    first, last, zero = part(0, 1), part(n - 1, n), jnp.zeros_like(part(0, 1))
    if up:
        padded = join([x, first] if wrap else [zero, part(1, n), zero])
    else:
        # Without wrapping the ghost value makes face 0 vanish: c₀ + s(−s c₀) = 0.
        padded = join([last if wrap else -sign * first, x])
    # The barrier keeps XLA from recomputing the padding in every consumer it fuses it into.
    padded = jax.lax.optimization_barrier(padded)
    near = jax.lax.slice_in_dim(padded, 0, n, axis=axis)
    far = jax.lax.slice_in_dim(padded, 1, n + 1, axis=axis)
    first_term, second_term = (near, far) if up else (far, near)
    return first_term + second_term if sign > 0 else first_term - second_term


def _transpose(cotangent: Array, x: Any, *, up: bool, **settings: Any) -> list[Array]:
    return [_pair.bind(cotangent, up=not up, **settings)]


def _batch(args: tuple[Array], dims: tuple[int], **settings: Any) -> tuple[Array, int]:
    return _pair.bind(jnp.moveaxis(args[0], dims[0], 0), **settings), 0


_pair = Primitive("phdenoise_pair")
_pair.def_impl(jax.jit(_evaluate, static_argnames=("axis", "sign", "wrap", "up")))
_pair.def_abstract_eval(lambda x, **settings: x)
mlir.register_lowering(_pair, mlir.lower_fun(_evaluate, multiple_results=False))
ad.deflinear2(_pair, _transpose)
batching.primitive_batchers[_pair] = _batch
