"""Cellwise functions whose derivatives cost one product per tangent.

    d f(c) = f'(c) dc,   d Σₙ pₙPₙ(x) = Σₙ Pₙ(x) dpₙ + (Σₙ pₙPₙ'(x)) dx

A batch of a dozen tangents shares f' and the Pₙ, which belong to the field, and the sums over n
are matrix products in both modes; left to itself JAX differentiates every operation inside f per
tangent.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from phdenoise.physics.stencil import once

Values = Float[Array, "*s"]


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def pointwise(function: Callable[[Array], Array], c: Values) -> Values:
    """function(c), its derivative one product per tangent.

    Args:
        function: cellwise; closes over no differentiated array.
        c: values of any shape.

    Returns:
        Values of the shape of c.
    """
    return function(c)


@pointwise.defjvp
def _pointwise_jvp(function, primals, tangents):
    (c,), (dc,) = primals, tangents
    value, slope = jax.jvp(function, (c,), (jnp.ones_like(c),))
    return value, once(slope) * dc


def legendre_sum(coefficients: Float[Array, " n"], x: Values) -> Values:
    """Σ pₙ Pₙ(x), n = 0 … N.

    Args:
        coefficients: pₙ [n].
        x: values of any shape.

    Returns:
        Values of the shape of x.
    """
    if coefficients.shape[0] == 1:
        # Where nothing depends on x, JAX 0.10.1 loses the batch of x in the custom rule below.
        return coefficients[0] + 0 * x
    return _legendre_sum(coefficients, x)


@jax.custom_jvp
def _legendre_sum(coefficients: Array, x: Array) -> Array:
    return sum(
        (p * basis for p, basis in zip(coefficients, _columns(x, len(coefficients)), strict=True)),
        start=jnp.zeros_like(x),
    )


@_legendre_sum.defjvp
def _legendre_sum_jvp(primals, tangents):
    (p, x), (dp, dx) = primals, tangents
    value, slope = jax.jvp(partial(_legendre_sum.fun, p), (x,), (jnp.ones_like(x),))
    # Cells on one axis: the transpose is then a matrix times a vector, five times faster.
    basis = jnp.stack(_columns(x.reshape(-1), p.shape[0]))
    shift = jnp.matmul(dp, basis, precision=jax.lax.Precision.HIGHEST).reshape(x.shape)
    return value, shift + once(slope) * dx


def legendre(x: Values, degree: int) -> Float[Array, "*s n"]:
    """P₀(x) … P_degree(x).

    Args:
        x: values [*s].
        degree: of the last polynomial.

    Returns:
        Polynomials [*s, degree + 1].
    """
    return jnp.stack(_columns(x, degree + 1), axis=-1)


def _columns(x: Values, count: int) -> list[Array]:
    """P₀ … P_{count−1} by (n+1) P_{n+1} = (2n+1) x P_n − n P_{n−1}."""
    columns = [jnp.ones_like(x), x]
    for n in range(1, count - 1):
        columns.append((2 * n + 1) / (n + 1) * x * columns[n] - n / (n + 1) * columns[n - 1])
    return columns[:count]
