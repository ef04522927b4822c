"""The root of a decreasing scalar function, differentiated implicitly.

    g(V*, θ) = 0,   dV*/dθ = −(∂g/∂θ) / (∂g/∂V)

Newton's steps, kept inside a bracket by bisection, so that the search ends for any decreasing g; the
search is never differentiated. Blondel et al., NeurIPS 35 (2022), arXiv:2105.15183.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Scalar = Float[Array, ""]
Search = tuple[Array, Array, Array, Array, Array]
# Bound on the steps of a search that does not converge: each halves the bracket or better, and 64 halvings
# exhaust float64.
MOST_STEPS = 200


def decreasing_root(
    function: Callable[[Scalar], Scalar], guess: Scalar, low: Scalar, high: Scalar
) -> Scalar:
    """V in [low, high] with function(V) = 0; the nearer end where there is none.

    Args:
        function: decreasing, differentiable; may close over differentiated arrays.
        guess: where to begin.
        low, high: bracket, searched but not differentiated.

    Returns:
        V, a number.
    """
    guess, low, high = jax.lax.stop_gradient((guess, low, high))

    def solve(g: Callable[[Scalar], Scalar], start: Scalar) -> Scalar:
        return _bracketed_newton(g, jnp.clip(start, low, high), low, high)

    return jax.lax.custom_root(function, guess, solve, lambda slope, y: y / slope(jnp.ones_like(y)))


def _bracketed_newton(
    g: Callable[[Scalar], Scalar], start: Scalar, low: Scalar, high: Scalar
) -> Scalar:
    smallest = 2 * jnp.finfo(start.dtype).eps
    one = jnp.ones_like(start)

    def going(state: Search) -> Array:
        v, _, _, change, count = state
        return (change > smallest * (1 + jnp.abs(v))) & (count < MOST_STEPS)

    def narrow(state: Search) -> Search:
        v, low, high, before, count = state
        value, slope = jax.jvp(g, (v,), (one,))
        low, high = jnp.where(value > 0, v, low), jnp.where(value < 0, v, high)
        newton = v - value / slope
        # A step that leaves the bracket, is not a number, or shrinks too slowly is halved instead.
        trusted = (newton >= low) & (newton <= high) & (2 * jnp.abs(newton - v) <= before)
        after = jnp.where(value == 0, v, jnp.where(trusted, newton, 0.5 * (low + high)))
        return after, low, high, jnp.abs(after - v), count + 1

    state = (start, low, high, 2 * (high - low), jnp.zeros((), jnp.int32))
    return jax.lax.while_loop(going, narrow, state)[0]
