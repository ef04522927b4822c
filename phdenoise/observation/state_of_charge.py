"""Optical microscopy: intensity of one channel to state of charge, by a calibration curve.

c = g(I),   g monotone and piecewise linear through calibration points
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.observation.base import Pointwise, Values
from phdenoise.types import InputError


class StateOfCharge(Pointwise):
    """Intensity of one channel <-> state of charge, by a monotone calibration curve.

    The end segments are continued as straight lines, so both directions are defined, invertible and
    differentiable for every value (noise leaves the calibrated range).

    Attributes:
        intensity: at the calibration points, strictly monotone [n] [counts].
        fraction: state of charge there, strictly increasing [n].
    """

    intensity: Float[Array, " n"]
    fraction: Float[Array, " n"]
    lower = 0.0
    upper = 1.0

    @classmethod
    def from_points(
        cls, intensity: Float[np.ndarray, " n"], fraction: Float[np.ndarray, " m"]
    ) -> "StateOfCharge":
        """A checked calibration; points may come in any order.

        Args:
            intensity: of the calibration points [n] [counts].
            fraction: state of charge there [n].

        Returns:
            The instrument, with its points in the order of the state of charge.

        Raises:
            InputError: fewer than two points, or a curve that is not monotone.
        """
        if intensity.shape != fraction.shape or intensity.size < 2:
            raise InputError("A calibration needs two or more intensities and as many fractions.")
        order = np.argsort(fraction)
        i, c = intensity[order], fraction[order]
        steps = np.diff(i)
        if not (np.all(np.diff(c) > 0) and (np.all(steps > 0) or np.all(steps < 0))):
            raise InputError(
                "The calibration curve is not monotone: one intensity would mean two states of "
                "charge; use another channel or fewer points."
            )
        return cls(jnp.asarray(i), jnp.asarray(c))

    def observe(self, field: Values) -> Array:
        """Expected intensity at a state of charge."""
        return _piecewise_linear(jnp.asarray(field), self.fraction, self.intensity)

    def invert(self, counts: Values) -> Array:
        """State of charge at an intensity."""
        return _piecewise_linear(jnp.asarray(counts), self.intensity, self.fraction)


def _piecewise_linear(x: Array, knots: Array, values: Array) -> Array:
    """Polyline through (knots, values); knots may fall or rise, and the end segments are continued."""
    rising = knots[-1] > knots[0]
    sign = jnp.where(rising, 1, -1).astype(x.dtype)
    i = jnp.clip(jnp.searchsorted(sign * knots, sign * x) - 1, 0, knots.shape[0] - 2)
    slope = jnp.diff(values) / jnp.diff(knots)
    return values[i] + slope[i] * (x - knots[i])
