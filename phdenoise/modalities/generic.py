"""Intensity proportional to concentration: c = (I − I₀)/(I₁ − I₀)."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from phdenoise.modalities.counting import Counts


class AffineConcentration(eqx.Module):
    """Intensity <-> concentration by two intensities, those of c = 0 and c = 1.

    `phdenoise.modalities.choose_concentration` finds them where no calibration is known.
    """

    low: float | Array
    high: float | Array

    def quantify(self, counts: Counts, variance: Counts | None = None) -> tuple[Array, Array]:
        """Concentration and its sd; zero sd where no variance is given."""
        x, span = jnp.asarray(counts), self.high - self.low
        c = (x - self.low) / span
        if variance is None:
            return c, jnp.zeros_like(c)
        return c, jnp.sqrt(jnp.broadcast_to(jnp.asarray(variance), x.shape)) / jnp.abs(span)

    def observe(self, c: Counts) -> Array:
        """Expected intensity."""
        return self.low + (self.high - self.low) * jnp.asarray(c)
