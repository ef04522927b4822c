"""A law whose field is seen through a Gaussian point spread of unknown width.

    image = K c,   K(r) ∝ exp(−r²/2s²)

The field moves as the law says; only its images are blurred. So the width is a number of a joint fit or of a comparison of
noisy movies, which compare images: a fit at face value starts from images as if they were fields and shows nothing of it.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.grid import Grid
from phdenoise.physics.equations.extended import Extended
from phdenoise.physics.law_parameters import LENGTH, POSITIVE, parameter
from phdenoise.types import Field, Scalar

# Half-width of the kernel [cells]: three standard deviations (99.7 % of a Gaussian) of the widest blur that interfaces of a
# few cells survive.
REACH = 8


class Blurred(Extended):
    """A law whose images are blurred.

    Args:
        model: the law.
        width: s, standard deviation of the point spread [length].
    """

    # One cell, two standard deviations of the logarithm a factor of 7 either way.
    width: Scalar = parameter(POSITIVE, sd=1.0, mean=0.0, dimension=LENGTH, default=1.0)

    effect = "blurred"
    phrase = "seen through a point spread"

    def rhs(self, t: Scalar, c: Field, grid: Grid) -> Field:
        """That of the law [1/time]."""
        return self.model.rhs(t, c, grid)

    def seen(
        self, frames: Float[Array, "t *cells"], times: Float[Array, " t"], grid: Grid
    ) -> Float[Array, "t *cells"]:
        """The frames, blurred; of a particle the mean over the cells inside alone."""
        frames = self.model.seen(frames, times, grid)
        if grid.mask is None:
            return self._blur(frames, grid)
        inside = jnp.asarray(grid.mask, frames.dtype)[None]
        share = self._blur(inside, grid)
        mean = self._blur(jnp.where(inside > 0, frames, 0), grid) / jnp.maximum(share, 1e-6)
        return jnp.where(inside > 0, mean, frames)

    def _blur(self, frames: Array, grid: Grid) -> Array:
        """Each axis of the cells in turn; edges that are not periodic mirror the field."""
        offsets = np.arange(-REACH, REACH + 1)
        for axis in range(grid.ndim):
            cells = self.width / grid.spacing[axis].astype(frames.dtype)
            kernel = jax.nn.softmax(-0.5 * (jnp.asarray(offsets, frames.dtype) / cells) ** 2)
            size = frames.shape[axis + 1]
            places = np.arange(size)[:, None] + offsets
            if grid.periodic(axis):
                places = places % size
            else:
                places = places % (2 * size)
                places = np.minimum(places, 2 * size - 1 - places)
            # The kernel as a matrix: one product of matrices for each axis.
            matrix = jnp.zeros((size, size), frames.dtype)
            rows = np.broadcast_to(np.arange(size)[:, None], places.shape)
            weights = jnp.broadcast_to(kernel[None], places.shape)
            matrix = matrix.at[rows, places].add(weights)
            frames = jnp.moveaxis(jnp.tensordot(frames, matrix, axes=(axis + 1, 1)), -1, axis + 1)
        return frames
