"""A law whose sample drifts under the camera.

    image(t, x) = c(t, x − v (t − t₀)),   v = (v_y, v_x) constant

The field moves as the law says, within its own edges; its images are displaced. So the drift is a number of a joint fit or of
a comparison of noisy movies, which compare images. In a periodic box a drift is an advection. Displaced images are
interpolated by cubic convolution (Keys, IEEE Trans. Acoust. 29, 1153 (1981), doi:10.1109/TASSP.1981.1163711).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from phdenoise.grid import Grid
from phdenoise.physics.equations.advected import Moving
from phdenoise.types import Field, InputError, Scalar


class Drifting(Moving):
    """A law whose images drift.

    Args:
        model: the law.
        velocity: (v_y, v_x) of the sample in the frame [length/time].
    """

    effect = "drifting"
    phrase = "in a drifting sample"

    def rhs(self, t: Scalar, c: Field, grid: Grid) -> Field:
        """That of the law [1/time]."""
        return self.model.rhs(t, c, grid)

    def seen(
        self, frames: Float[Array, "t *cells"], times: Float[Array, " t"], grid: Grid
    ) -> Float[Array, "t *cells"]:
        """The frames, displaced since the first; beyond an edge that is not periodic the field is that of the edge."""
        if grid.ndim != 2:
            raise InputError(f"A drift (v_y, v_x) needs a grid of 2 axes, not {grid.ndim}.")
        images = self.model.seen(frames, times, grid)
        elapsed = (times - times[0]).astype(frames.dtype)
        for axis in range(2):
            cells = self.velocity[axis] / grid.spacing[axis].astype(frames.dtype) * elapsed
            images = _displaced(images, cells, axis, grid.periodic(axis))
        return images


def _displaced(frames: Array, cells: Float[Array, " t"], axis: int, wraps: bool) -> Array:
    """Each frame moved up an axis by so many cells."""
    size = frames.shape[axis + 1]
    place = jnp.arange(size)[None] - cells[:, None]
    whole = jnp.floor(place)
    part = place - whole
    moved = jnp.zeros_like(frames)
    for tap in range(-1, 3):
        index = whole.astype(int) + tap
        index = index % size if wraps else jnp.clip(index, 0, size - 1)
        weight = jnp.expand_dims(_cubic(part - tap), 2 - axis)
        moved = moved + weight * jax.vmap(lambda f, i: jnp.take(f, i, axis=axis))(frames, index)
    return moved


def _cubic(distance: Array) -> Array:
    """Keys' kernel, a = −1/2, within two cells."""
    d = jnp.abs(distance)
    near = 1 + d**2 * (1.5 * d - 2.5)
    far = 2 - d * (4 - d * (2.5 - 0.5 * d))
    return jnp.where(d <= 1, near, jnp.where(d < 2, far, 0))
