"""Blur by a Gaussian point spread: b = PSF ∗ f.

`observe` is exact. A blur cannot be undone where noise is: the inverse multiplies the noise of a wave q by exp(σ²q²/2).
So `quantify` returns the counts as they are, as an estimate of the blurred field, with the errors of the blurred
field. A fit that compares the counts with `observe(field)` needs no inverse and resolves what the data allow.
"""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from phdenoise.observation.base import Observation, Values
from phdenoise.types import InputError, Moments

Edges = Literal["reflecting", "periodic"]
# How frames continue beyond their edges, in the words of `jnp.pad`.
_PADDING = {"reflecting": "symmetric", "periodic": "wrap"}
# Width that is added in quadrature [px²]: a hundredth of a pixel keeps sd = 0 an identity with a finite gradient.
_LEAST_VARIANCE = 1e-4


class Blur(Observation):
    """A Gaussian point spread; both edges keep the sum of counts.

    Attributes:
        sd: standard deviation of the point spread [px]; differentiable.
        edges: "reflecting", or "periodic" for periodic fields.
        reach: half-width of the kernel [px], 3 sd or more (99.7 % of a Gaussian).

    Raises:
        InputError: an sd beyond a third of the reach.
    """

    sd: Array | float
    edges: Edges = eqx.field(static=True, default="reflecting")
    reach: int = eqx.field(static=True, default=6)
    unit = "counts"
    invertible = False

    def __check_init__(self) -> None:
        # An sd that is fitted is an array, whose value is not known here.
        if isinstance(self.sd, float | int) and not 0 <= 3 * self.sd <= self.reach:
            raise InputError(
                f"A blur of {self.sd:g} px does not fit a kernel of {self.reach} px: give a reach of three times as many."
            )

    def observe(self, field: Values) -> Array:
        """Blurred frames, of the shape of the field [..., y, x]."""
        frames = jnp.asarray(field)
        offsets = jnp.arange(-self.reach, self.reach + 1)
        kernel = jax.nn.softmax(-(offsets**2) / (2 * (jnp.asarray(self.sd) ** 2 + _LEAST_VARIANCE)))
        for axis in (frames.ndim - 2, frames.ndim - 1):
            pads = [(0, 0)] * frames.ndim
            pads[axis] = (self.reach, self.reach)
            padded = jnp.pad(frames, pads, mode=_PADDING[self.edges])
            size = frames.shape[axis]
            frames = sum(  # type: ignore[assignment]
                kernel[k] * jax.lax.slice_in_dim(padded, k, k + size, axis=axis)
                for k in range(2 * self.reach + 1)
            )
        return frames

    def quantify(self, counts: Values, variance: Values) -> Moments:
        """The blurred field: the counts as they are. See the head of this file.

        Args:
            counts: blurred frames [..., y, x].
            variance: of the counts, of the same shape [counts²].

        Returns:
            Mean and variance of the blurred field.
        """
        counts = jnp.asarray(counts)
        return Moments(counts, jnp.broadcast_to(jnp.asarray(variance), counts.shape))
