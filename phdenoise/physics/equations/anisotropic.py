"""A law in a medium whose axes y and x conduct differently.

    D A ∇p in place of D ∇p,   A = diag(√r, 1/√r),   r = D_y/D_x

A constant A is a stretched space: the law stands on a grid of spacing h_i/√A_i, on which it is isotropic. D is the geometric
mean of D_y and D_x. The gradient energy is stretched alike, ½κ ∇c·A∇c.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from phdenoise.grid import Flux, Grid
from phdenoise.physics.equations.base import Reference
from phdenoise.physics.equations.extended import Extended
from phdenoise.physics.law_parameters import POSITIVE, parameter
from phdenoise.types import Field, InputError, Scalar


class Anisotropic(Extended):
    """A law with D_y = r D_x.

    Args:
        model: the law; its D is √(D_y D_x).
        ratio: r = D_y/D_x.
    """

    # Two standard deviations of the logarithm are a ratio of 20 either way.
    ratio: Scalar = parameter(POSITIVE, sd=1.5, mean=0.0, default=1.0)

    effect = "anisotropic"
    phrase = "with D_y/D_x free"

    def rhs(self, t: Scalar, c: Field, grid: Grid) -> Field:
        """That of the law in the stretched space [1/time]."""
        return self.model.rhs(t, c, self.stretched(grid))

    def reference(self, c: Field, grid: Grid) -> Reference:
        """That of the law in the stretched space."""
        return self.model.reference(c, self.stretched(grid))

    def implicit_symbol(self, grid: Grid, reference: Reference) -> Float[Array, "*k"]:
        """That of the law in the stretched space."""
        return self.model.implicit_symbol(self.stretched(grid), reference)

    def spectral_radius(self, c: Field, grid: Grid) -> Scalar:
        """That of the law in the stretched space."""
        return self.model.spectral_radius(c, self.stretched(grid))

    def energy(self, c: Field, grid: Grid) -> Scalar:
        """That of the law in the stretched space, whose cells are as large."""
        return self.model.energy(c, self.stretched(grid))

    def admissible(self, c: Field, grid: Grid) -> Bool[Array, ""]:
        """That of the law in the stretched space."""
        return self.model.admissible(c, self.stretched(grid))

    def stretched(self, grid: Grid) -> Grid:
        """The grid on which the law is isotropic: cells of h_y r^(−1/4) times h_x r^(1/4).

        Args:
            grid: of the field, of 2 axes.

        Returns:
            The grid, with the inflow through `Flux` faces per length of the stretched faces.
        """
        if grid.ndim != 2:
            raise InputError(f"A ratio D_y/D_x needs a grid of 2 axes, not {grid.ndim}.")
        root = self.ratio**0.25
        scale = jnp.stack([1 / root, root])
        faces = tuple(
            tuple(Flux(face.value * s) if isinstance(face, Flux) else face for face in pair)
            for pair, s in zip(grid.faces, scale, strict=True)
        )
        places = (grid.spacing * scale, faces)
        return eqx.tree_at(lambda g: (g.spacing, g.faces), grid, places)
