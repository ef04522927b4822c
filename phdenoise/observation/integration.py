"""What a detector adds up: light over the area of a pixel, and over the time of an exposure.

    I(Y, X) = mean or sum of f over the cells (y, x) of a pixel,   I(T) = mean of f over the times t of an exposure

`observe` is exact. `quantify` gives every cell or time the mean of its pixel or exposure. That mean is a right
inverse, observe(quantify(I)) = I, and what varies within a pixel or an exposure is not resolved. The errors are those
of the mean, and are common to all cells or times of one pixel or exposure.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.observation.base import Observation, Values
from phdenoise.types import InputError, Moments


class PixelIntegration(Observation):
    """Pixels that each cover `factor` x `factor` cells of the field.

    Attributes:
        factor: cells along each side of a pixel.
        summed: True: a pixel holds the sum of its cells (particles); False: their mean (intensity).

    Raises:
        InputError: (`observe`) where pixels do not fill the field.
    """

    factor: int = eqx.field(static=True)
    summed: bool = eqx.field(static=True, default=False)
    unit = "counts"
    invertible = False

    def observe(self, field: Values) -> Array:
        """Pixels [..., y/factor, x/factor] of a field [..., y, x]."""
        field, n = jnp.asarray(field), self.factor
        *lead, ny, nx = field.shape
        if ny % n or nx % n:
            raise InputError(f"A field of {ny} x {nx} cells is not made of pixels of {n} x {n}.")
        cells = field.reshape(*lead, ny // n, n, nx // n, n)
        return self._cells_in_value() * jnp.mean(cells, axis=(-3, -1))

    def quantify(self, counts: Values, variance: Values) -> Moments:
        """Mean of the cells of each pixel, at each of the cells [..., y·factor, x·factor]. See the head of this file.

        Args:
            counts: pixels [..., y, x].
            variance: of the pixels, of the same shape [counts²].

        Returns:
            Mean and variance of the mean of a pixel's cells.
        """
        counts, share = jnp.asarray(counts), 1 / self._cells_in_value()
        variance = jnp.broadcast_to(jnp.asarray(variance), counts.shape)
        return Moments(self._repeated(share * counts), self._repeated(share**2 * variance))

    def _cells_in_value(self) -> int:
        return self.factor**2 if self.summed else 1

    def _repeated(self, values: Array) -> Array:
        return jnp.repeat(jnp.repeat(values, self.factor, axis=-2), self.factor, axis=-1)


class ExposureIntegration(Observation):
    """Frames that each average the field over an exposure; the field is given at `steps` times in a frame interval.

    Attributes:
        steps: times of the field in a frame interval.
        exposed: first of these times during which the shutter is open; all if 0.

    Raises:
        InputError: (`observe`) where the times do not fill frame intervals.
    """

    steps: int = eqx.field(static=True)
    exposed: int = eqx.field(static=True, default=0)
    unit = "counts"
    invertible = False

    def observe(self, field: Float[Array | np.ndarray, "s y x"]) -> Float[Array, "t y x"]:
        """Frames [s/steps, y, x] of a field at s times [s, y, x]."""
        times, *shape = field.shape
        if times % self.steps:
            raise InputError(f"{times} times do not fill intervals of {self.steps}.")
        intervals = jnp.reshape(field, (times // self.steps, self.steps, *shape))
        return jnp.mean(intervals[:, : self.exposed or self.steps], axis=1)

    def quantify(self, counts: Float[Array | np.ndarray, "t y x"], variance: Values) -> Moments:
        """The frame at each of the times of its interval [t·steps, y, x]. See the head of this file.

        Args:
            counts: frames.
            variance: of the frames, of the same shape [counts²].

        Returns:
            Mean and variance of the mean over the exposure.
        """
        counts = jnp.asarray(counts)
        variance = jnp.broadcast_to(jnp.asarray(variance), counts.shape)
        return Moments(*(jnp.repeat(a, self.steps, axis=0) for a in (counts, variance)))
