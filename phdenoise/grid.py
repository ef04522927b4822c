"""The grid a field lives on: spacing, boundary condition and particle mask.

Cell-centred finite volumes: cell (i, j) is centred at ((i + 1/2) dy, (j + 1/2) dx). Faces on the edge
of a no-flux box, and between a particle and its outside, are closed.
"""

from typing import Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from phdenoise.types import InputError

Boundary = Literal["periodic", "no-flux"]


class Grid(eqx.Module):
    """A rectangle of ny x nx cells.

    Spacing is an array leaf, so that changing the pixel size never recompiles a jitted solve.
    """

    spacing: Float[Array, "2"]
    mask: Bool[Array, "y x"] | None
    shape: tuple[int, int] = eqx.field(static=True)
    boundary: Boundary = eqx.field(static=True)

    def __init__(
        self,
        shape: tuple[int, int],
        spacing: float | tuple[float, float] = 1.0,
        boundary: Boundary = "periodic",
        mask: np.ndarray | Array | None = None,
    ):
        """Args: shape (ny, nx); spacing dx or (dy, dx) [length]; boundary; mask [y, x], True inside."""
        dy, dx = (spacing, spacing) if isinstance(spacing, int | float) else spacing
        if not (dy > 0 and dx > 0):
            raise InputError(f"Grid spacing must be positive, got {(dy, dx)}.")
        if boundary not in ("periodic", "no-flux"):
            raise InputError(f"Unknown boundary '{boundary}': use 'periodic' or 'no-flux'.")
        if mask is not None and tuple(mask.shape) != tuple(shape):
            raise InputError(f"The mask has shape {mask.shape}, the grid {tuple(shape)}.")
        self.shape = (int(shape[0]), int(shape[1]))
        self.spacing = jnp.asarray([dy, dx], dtype=jnp.result_type(float))
        self.boundary = boundary
        self.mask = None if mask is None else jnp.asarray(mask, bool)
