"""A law with a source, or a sink.

    ∂c/∂t = F(c) + s₀ + s₁ c

s₀ > 0 feeds every cell alike; s₁ < 0 is decay, s₁ > 0 growth.
"""

import jax.numpy as jnp

from phdenoise.grid import Grid
from phdenoise.physics.equations.extended import Extended
from phdenoise.physics.law_parameters import RATE, REAL, parameter
from phdenoise.types import Field, Scalar


class Sourced(Extended):
    """A law plus s₀ + s₁ c.

    Args:
        model: the law.
        constant: s₀ [1/time]; hold it with fixed=("constant",).
        linear: s₁ [1/time]; hold it with fixed=("linear",).
    """

    # A standard deviation of 0.3 a frame interval: a faster source empties or fills a field between a few frames.
    constant: Scalar = parameter(REAL, sd=0.3, mean=0.0, dimension=RATE, default=0.0)
    linear: Scalar = parameter(REAL, sd=0.3, mean=0.0, dimension=RATE, default=0.0)

    effect = "sourced"
    phrase = "with a source"

    @property
    def conserved(self) -> bool:  # type: ignore[override]
        """A source does not conserve."""
        return False

    def rhs(self, t: Scalar, c: Field, grid: Grid) -> Field:
        """F(c) + s₀ + s₁ c [1/time]; no source outside a mask."""
        source = self.constant + self.linear * c
        if grid.mask is not None:
            source = jnp.where(jnp.broadcast_to(grid.mask, c.shape), source, 0)
        return self.model.rhs(t, c, grid) + source

    def spectral_radius(self, c: Field, grid: Grid) -> Scalar:
        """That of the law, plus |s₁|."""
        return self.model.spectral_radius(c, grid) + jnp.abs(self.linear)

    def energy(self, c: Field, grid: Grid) -> Scalar:
        """nan: a source may raise the energy of the law."""
        return jnp.full((), jnp.nan, c.dtype)
