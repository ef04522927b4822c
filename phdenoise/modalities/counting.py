"""Logarithms of counts: what absorption and transmission have in common.

    ln I  for I >= floor,   ln floor + (I − floor)/floor  below

The tangent below the floor keeps the value and its gradient finite where a pixel counted nothing.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Counts = Float[Array | np.ndarray, "..."]


def safe_log(counts: Counts, floor: float = 1.0) -> Array:
    """ln(counts), continued by its tangent below `floor` [counts]."""
    counts = jnp.asarray(counts)
    above = jnp.maximum(counts, floor)
    return jnp.log(above) + jnp.minimum(counts - floor, 0) / floor


def log_sd(counts: Counts, variance: Counts | None, floor: float = 1.0) -> Array:
    """Standard deviation of `safe_log`: sd(I)/I; Poisson (variance = counts) if none is given."""
    counts = jnp.asarray(counts)
    above = jnp.maximum(counts, floor)
    var = above if variance is None else jnp.broadcast_to(jnp.asarray(variance), counts.shape)
    return jnp.sqrt(var) / above
