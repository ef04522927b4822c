"""Absorption: counts to optical density, OD = −ln(I/I₀) (Beer and Lambert)."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from phdenoise.observation.base import Pointwise, Values, leading_axes


class OpticalDensity(Pointwise):
    """Counts <-> optical density, OD = −ln(I/I₀).

    Attributes:
        incident: I₀, a number or an image [y, x] [counts].
        floor: counts below which the logarithm is continued by its tangent; one particle is the least that is counted.
    """

    incident: Array
    floor: float = eqx.field(static=True, default=1.0)
    lower = 0.0
    upper = np.inf

    def observe(self, field: Values) -> Array:
        """Expected counts I₀ exp(−OD)."""
        field = jnp.asarray(field)
        return leading_axes(self.incident, field.ndim) * jnp.exp(-field)

    def invert(self, counts: Values) -> Array:
        """Optical density of counts."""
        counts = jnp.asarray(counts)
        incident = leading_axes(self.incident, counts.ndim)
        return jnp.log(incident) - safe_log(counts, self.floor)


def safe_log(counts: Values, floor: float = 1.0) -> Array:
    """ln I for I >= floor and its tangent below, ln floor + (I − floor)/floor: finite where nothing was counted.

    Args:
        counts: I, any shape [counts].
        floor: where the tangent begins [counts].

    Returns:
        Logarithm, of the shape of `counts`.
    """
    counts = jnp.asarray(counts)
    return jnp.log(jnp.maximum(counts, floor)) + jnp.minimum(counts - floor, 0) / floor
