"""Intensity that grows linearly with the field: concentration by two intensities, transmission by open beam and dark.

c = (I − I₀)/(I₁ − I₀),   T = (I − DF)/(OB − DF)
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from phdenoise.observation.base import Pointwise, Values, leading_axes
from phdenoise.types import InputError


class AffineConcentration(Pointwise):
    """Intensity <-> concentration by two intensities.

    `phdenoise.observation.concentration_scale` finds them where no calibration is known.

    Attributes:
        low: I₀, intensity of c = 0, a number or an image [y, x] [counts].
        high: I₁, intensity of c = 1, a number or an image [y, x] [counts].
    """

    low: float | Array
    high: float | Array
    lower = 0.0
    upper = 1.0

    def observe(self, field: Values) -> Array:
        """Expected intensity of a concentration."""
        field = jnp.asarray(field)
        low, high = (leading_axes(a, field.ndim) for a in (self.low, self.high))
        return low + (high - low) * field

    def invert(self, counts: Values) -> Array:
        """Concentration of an intensity."""
        counts = jnp.asarray(counts)
        low, high = (leading_axes(a, counts.ndim) for a in (self.low, self.high))
        return (counts - low) / (high - low)


class Transmission(Pointwise):
    """Counts <-> transmission, T = (I − DF)/(OB − DF).

    Attributes:
        dark: DF, dark field [y, x] [counts].
        open_beam: OB, counts without a sample [y, x] [counts].

    Raises:
        InputError: if the two images have different shapes.
    """

    dark: Float[Array, "y x"]
    open_beam: Float[Array, "y1 x1"]
    lower = 0.0
    upper = 1.0

    def __check_init__(self) -> None:
        if self.open_beam.shape != self.dark.shape:
            raise InputError(
                f"Open beam {self.open_beam.shape} and dark field {self.dark.shape} must have one "
                "shape, that of the frames."
            )

    def observe(self, field: Values) -> Array:
        """Expected counts of a transmission."""
        return self._affine().observe(field)

    def invert(self, counts: Values) -> Array:
        """Transmission of counts."""
        return self._affine().invert(counts)

    def _affine(self) -> AffineConcentration:
        return AffineConcentration(self.dark, self.open_beam)
