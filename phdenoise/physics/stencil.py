"""The linear and bilinear maps under all spatial operators, with transposes known to JAX.

Along one axis, Δ the difference across a face and k, k+1 the lower and upper face of cell i:

    lower:   (Lc)_i = c_i + s c_{i−1}       cells -> lower faces, transpose `upper`, s = ±1
    second:  Δc_{k+1} − Δc_k                its own transpose
    flux:    F(d, m) = (d̄Δm)_{k+1} − (d̄Δm)_k,   d̄ the mean of the two cells of a face
    cross:   T(a, b) = −½ [ (ΔaΔb)_{k+1} + (ΔaΔb)_k ]

⟨u, F(d, m)⟩ = ⟨m, F(d, u)⟩ = ⟨d, T(m, u)⟩, so these are closed under differentiation in both
modes. They are primitives because the transpose JAX derives for slices is a chain of zero
paddings, six times slower than the stencil, and because one padded pass over the cells, instead
of one per operation, makes a batch of tangents three times faster. Periodic axes wrap; on a
closed axis nothing crosses the ends: `lower` writes zero on face 0 and `upper` does not read it.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float

Cells = Float[Array, "*cells"]


def lower(c: Cells, *, axis: int, sign: int, wrap: bool) -> Cells:
    """cᵢ + sign · cᵢ₋₁.

    Args:
        c: cell values.
        axis: negative.
        sign: 1 or −1.
        wrap: the axis is periodic.

    Returns:
        Values on the lower faces, of the shape of c.
    """
    return _lower.bind(c, axis=axis, sign=sign, wrap=wrap)


def upper(f: Cells, *, axis: int, sign: int, wrap: bool) -> Cells:
    """fᵢ + sign · fᵢ₊₁.

    Args:
        f: values on the lower faces.
        axis, sign, wrap: as in `lower`.

    Returns:
        Cell values, of the shape of f.
    """
    return _upper.bind(f, axis=axis, sign=sign, wrap=wrap)


def second(c: Cells, *, axis: int, wrap: bool) -> Cells:
    """cᵢ₊₁ − 2cᵢ + cᵢ₋₁.

    Args:
        c: cell values.
        axis, wrap: as in `lower`.

    Returns:
        Second differences, of the shape of c.
    """
    return _second.bind(c, axis=axis, wrap=wrap)


def flux(d: Cells, m: Cells, *, axis: int, wrap: bool) -> Cells:
    """Net inflow F(d, m).

    Args:
        d: mobility of the cells.
        m: potential of the cells.
        axis, wrap: as in `lower`.

    Returns:
        Inflow, of the shape that d and m broadcast to.
    """
    return _flux.bind(d, m, axis=axis, wrap=wrap)


def scaled(factor: Float[Array, ""], c: Cells) -> Cells:
    """factor · c, whose derivative by the number is summed as a matrix product.

    Args:
        factor: a number.
        c: cell values.

    Returns:
        Values of the shape of c.
    """
    return _scaled.bind(factor.astype(c.dtype).reshape((1,) * c.ndim), c)


def shared(c: Cells) -> Cells:
    """c itself; a cotangent that comes back is made an array of its own.

    Where several operators use it, XLA would compute it again inside each.
    """
    return _shared.bind(c)


def once(factor: Array) -> Array:
    """The same, kept as an array of its own.

    XLA computes sums and products again wherever they are used, in each tangent of a batch, whatever
    barrier stands between. XLA rates divisions as expensive and keeps their results; this one is by 1, so exact.
    """
    return factor / jax.lax.stop_gradient(jnp.minimum(1 + jnp.abs(factor), 1))


def _evaluate_lower(c: Array, *, axis: int, sign: int, wrap: bool) -> Array:
    # Without wrapping the ghost value makes face 0 vanish: c₀ + s(−s c₀) = 0.
    ghost = _part(c, axis, -1) if wrap else -sign * _part(c, axis, 0)
    before, here = _views(_join([ghost, c], axis), axis, 2)
    return here + before if sign > 0 else here - before


def _evaluate_upper(f: Array, *, axis: int, sign: int, wrap: bool) -> Array:
    n = f.shape[axis]
    zero = jnp.zeros_like(_part(f, axis, 0))
    inner = jax.lax.slice_in_dim(f, 1, n, axis=axis)
    padded = [f, _part(f, axis, 0)] if wrap else [zero, inner, zero]
    here, after = _views(_join(padded, axis), axis, 2)
    return here + after if sign > 0 else here - after


def _evaluate_second(c: Array, *, axis: int, wrap: bool) -> Array:
    before, here, after = _neighbours(c, axis, wrap)
    return (after - here) - (here - before)


def _evaluate_flux(d: Array, m: Array, *, axis: int, wrap: bool) -> Array:
    d0, d1, d2 = _neighbours(d, axis, wrap)
    m0, m1, m2 = _neighbours(m, axis, wrap)
    return 0.5 * ((d1 + d2) * (m2 - m1) - (d0 + d1) * (m1 - m0))


def _evaluate_scaled(factor: Array, c: Array) -> Array:
    return factor * c


def _evaluate_shared(c: Array) -> Array:
    return c


def _evaluate_cross(a: Array, b: Array, *, axis: int, wrap: bool) -> Array:
    a0, a1, a2 = _neighbours(a, axis, wrap)
    b0, b1, b2 = _neighbours(b, axis, wrap)
    return -0.5 * ((a2 - a1) * (b2 - b1) + (a1 - a0) * (b1 - b0))


def _neighbours(c: Array, axis: int, wrap: bool) -> list[Array]:
    first, last = _part(c, axis, 0), _part(c, axis, -1)
    return _views(_join([last, c, first] if wrap else [first, c, last], axis), axis, 3)


def _part(c: Array, axis: int, index: int) -> Array:
    return jax.lax.index_in_dim(c, index, axis=axis, keepdims=True)


def _join(parts: list[Array], axis: int) -> Array:
    # The barrier keeps XLA from recomputing the padding in every consumer it fuses it into.
    return jax.lax.optimization_barrier(jnp.concatenate(parts, axis=axis))


def _views(padded: Array, axis: int, count: int) -> list[Array]:
    n = padded.shape[axis] - count + 1
    return [jax.lax.slice_in_dim(padded, i, i + n, axis=axis) for i in range(count)]


def _primitive(name: str, evaluate: Callable[..., Array]) -> Primitive:
    """A map along one of the last axes that broadcasts over leading axes."""
    primitive = Primitive(f"phdenoise_{name}")

    @cache
    def compiled(settings: tuple[tuple[str, Any], ...]) -> Callable[..., Array]:
        return jax.jit(partial(evaluate, **dict(settings)))

    def impl(*args: Array, **settings: Any) -> Array:
        return compiled(tuple(settings.items()))(*args)

    def abstract(*avals: Any, **settings: Any) -> Any:
        shape = jnp.broadcast_shapes(*(aval.shape for aval in avals))
        return avals[0].update(shape=shape)

    def batch(args: tuple[Array, ...], dims: tuple[Any, ...], **settings: Any) -> tuple[Array, int]:
        rank = max(x.ndim - (d is not None) for x, d in zip(args, dims, strict=True))
        front = [_to_front(x, d, rank) for x, d in zip(args, dims, strict=True)]
        return primitive.bind(*front, **settings), 0

    primitive.def_impl(impl)
    primitive.def_abstract_eval(abstract)
    mlir.register_lowering(primitive, mlir.lower_fun(evaluate, multiple_results=False))
    batching.primitive_batchers[primitive] = batch
    return primitive


def _to_front(x: Array, dim: int | None, rank: int) -> Array:
    """Batch axis first, size one where there is none, so that what is shared is not copied."""
    moved = x[None] if dim is None else jnp.moveaxis(x, dim, 0)
    missing = rank + 1 - moved.ndim
    return moved.reshape(moved.shape[0], *(1,) * missing, *moved.shape[1:])


def _fold(cotangent: Array, like: Any) -> Array:
    """Sum over the leading axes along which `like` was broadcast."""
    extra = cotangent.ndim - like.aval.ndim
    cotangent = jnp.sum(cotangent, axis=tuple(range(extra)))
    axes = tuple(i for i, n in enumerate(like.aval.shape) if n == 1 != cotangent.shape[i])
    if cotangent.ndim - 1 in axes:
        # XLA adds one by one, in a matrix product several at once.
        ones = jnp.ones((cotangent.shape[-1], 1), cotangent.dtype)
        cotangent = jnp.matmul(cotangent, ones, precision=jax.lax.Precision.HIGHEST)
    return jnp.sum(cotangent, axis=axes, keepdims=True)


_lower = _primitive("lower", _evaluate_lower)
_upper = _primitive("upper", _evaluate_upper)
_second = _primitive("second", _evaluate_second)
_flux = _primitive("flux", _evaluate_flux)
_cross = _primitive("cross", _evaluate_cross)
_scaled = _primitive("scaled", _evaluate_scaled)
_shared = _primitive("shared", _evaluate_shared)

ad.deflinear2(_lower, lambda ct, _, **settings: [_upper.bind(ct, **settings)])
ad.deflinear2(_upper, lambda ct, _, **settings: [_lower.bind(ct, **settings)])
ad.deflinear2(_second, lambda ct, _, **settings: [_second.bind(ct, **settings)])
ad.defbilinear(
    _flux,
    lambda ct, d, m, **settings: _fold(_cross.bind(m, ct, **settings), d),
    lambda ct, d, m, **settings: _fold(_flux.bind(d, ct, **settings), m),
)
ad.defbilinear(
    _cross,
    lambda ct, a, b, **settings: _fold(_flux.bind(ct, b, **settings), a),
    lambda ct, a, b, **settings: _fold(_flux.bind(ct, a, **settings), b),
)
ad.defbilinear(
    _scaled,
    lambda ct, k, c: _fold(ct * c, k),
    lambda ct, k, c: _fold(_scaled.bind(k, ct), c),
)
ad.deflinear2(_shared, lambda ct, _: [once(ct)])
