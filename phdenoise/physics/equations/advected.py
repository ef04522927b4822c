"""A law in a medium that moves as a whole.

    ∂c/∂t = F(c) − ∇·( v c ),   v = (v_y, v_x) constant

Central differences of second order: the flux through a face is v times the mean of its two cells. Nothing crosses a closed
edge or the rim of a mask. Where h|v| > 2D (cell Péclet number above 2) steep fronts oscillate from cell to cell: LeVeque,
Finite Volume Methods for Hyperbolic Problems (2002), section 4.8, doi:10.1017/CBO9780511791253.
"""

from typing import TypeVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.grid import Grid
from phdenoise.physics.boundary_conditions import edge_advection
from phdenoise.physics.equations.extended import Extended
from phdenoise.physics.equations.regression import weak_form
from phdenoise.physics.law_parameters import REAL, Dimension, parameter
from phdenoise.physics.operators import advection
from phdenoise.types import Field, InputError, Scalar

VELOCITY = Dimension(length=1, time=-1)
Kind = TypeVar("Kind", bound="Moving")


class Moving(Extended):
    """A law with a velocity.

    Args:
        model: the law.
        velocity: (v_y, v_x) [length/time].
    """

    # A standard deviation of one cell a frame interval: what moves faster is no movie of diffusion, or is registered before.
    velocity: Float[Array, " 2"] = parameter(
        REAL, sd=1.0, mean=0.0, dimension=VELOCITY, default=(0.0, 0.0)
    )

    def guess(
        self: Kind, frames: Float[np.ndarray, "t y x"], times: Float[np.ndarray, " t"], grid: Grid
    ) -> Kind:
        """The velocity of ∂c/∂t = D ∇²c − v·∇c in the smoothed movie, by least squares; zero where there is none."""
        found = weak_form(frames, times, grid)
        spacing = np.asarray(grid.spacing, float)
        slopes = [-np.gradient(found.middle, h, axis=1 + i) for i, h in enumerate(spacing)]
        value = found.regress(found.curvature, *slopes)[1:]
        # Within the standard deviation of the prior, a cell a frame interval.
        value = np.clip(value, -1.0, 1.0) if np.isfinite(value).all() else np.zeros(2)
        return eqx.tree_at(lambda law: law.velocity, self, jnp.asarray(value, self.velocity.dtype))


class Advected(Moving):
    """A law plus −∇·( v c ).

    Args:
        model: the law.
        velocity: (v_y, v_x) of the medium [length/time].
    """

    effect = "advected"
    phrase = "with advection"

    def rhs(self, t: Scalar, c: Field, grid: Grid) -> Field:
        """F(c) − ∇·( v c ) [1/time]."""
        if grid.ndim != 2:
            raise InputError(f"A velocity (v_y, v_x) needs a grid of 2 axes, not {grid.ndim}.")
        change = self.model.rhs(t, c, grid) + advection(self.velocity, c, grid)
        return change + edge_advection(self.velocity, c, grid) if grid.open else change

    def spectral_radius(self, c: Field, grid: Grid) -> Scalar:
        """That of the law, plus Σ |v|/h: the largest imaginary part of an eigenvalue."""
        rates = jnp.abs(self.velocity) / grid.spacing.astype(c.dtype)
        return self.model.spectral_radius(c, grid) + jnp.sum(rates)
