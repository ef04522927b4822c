"""Diffusion with a flux through given places that changes with time.

    ∂c/∂t = ∇·( D(c) ∇c ) + Σₖ aₖ(t) sₖ(y, x)

A place is a share of the cells that sums to one over its row of cells times their width (`face` for the
flux through an edge); its amplitude follows a polyline in time, as a battery's current log does. Carslaw and
Jaeger, Conduction of Heat in Solids (1959), section 2.9, gives the constant flux into a half space.
"""

from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.grid import Grid
from phdenoise.physics.equations.base import Law, Reference
from phdenoise.physics.equations.fickian import Fickian
from phdenoise.physics.mobility import Mobility
from phdenoise.types import Field, InputError, Scalar


class DrivenFickian(Law):
    """∂c/∂t = ∇·( D(c) ∇c ) + Σₖ aₖ(t) sₖ.

    Attributes:
        diffusivity: D(c) [length²/time].
        places: sₖ [k, y, x] [1/length]; see `face` and `layer`.
        knots: times of the polylines [n], increasing.
        amplitudes: aₖ at the knots [k, n] [unit of c · length/time]; constant beyond the ends.
    """

    diffusivity: Mobility
    places: Float[Array, "k y x"]
    knots: Float[Array, " n"]
    amplitudes: Float[Array, "k n"]

    def drive(self, t: Scalar) -> Float[Array, " k"]:
        """aₖ(t)."""
        knots = self.knots
        i = jnp.clip(jnp.searchsorted(knots, t) - 1, 0, knots.shape[0] - 2)
        share = jnp.clip((t - knots[i]) / (knots[i + 1] - knots[i]), 0, 1)
        return self.amplitudes[:, i] + share * (self.amplitudes[:, i + 1] - self.amplitudes[:, i])

    def rhs(self, t: Scalar, c: Field, grid: Grid) -> Field:
        """∇·( D(c) ∇c ) + Σₖ aₖ(t) sₖ.

        Args:
            t: time, on the clock of the knots.
            c: field [y, x].
            grid: domain.

        Returns:
            dc/dt [y, x] [1/time].
        """
        source = jnp.tensordot(self.drive(t), self.places, axes=1)
        return Fickian(self.diffusivity, source).rhs(t, c, grid)

    def reference(self, c: Field, grid: Grid) -> Reference:
        """That of the diffusion alone.

        Args:
            c: field [y, x].
            grid: domain.

        Returns:
            Constant coefficients.
        """
        return Fickian(self.diffusivity).reference(c, grid)

    def spectral_radius(self, c: Field, grid: Grid) -> Scalar:
        """That of the diffusion alone.

        Args:
            c: field [y, x].
            grid: domain.

        Returns:
            Largest rate [1/time].
        """
        return Fickian(self.diffusivity).spectral_radius(c, grid)

    def energy(self, c: Field, grid: Grid) -> Scalar:
        """½ ∫c², non-increasing while nothing enters.

        Args:
            c: field [y, x].
            grid: domain.

        Returns:
            Energy [(unit of c)² length²].
        """
        return Fickian(self.diffusivity).energy(c, grid)


def face(
    shape: tuple[int, int], spacing: float, side: Literal["left", "right"]
) -> Float[np.ndarray, "y x"]:
    """The column of cells along an edge: an amplitude there is the inward flux through that edge.

    Args:
        shape: cells (ny, nx).
        spacing: dx [length].
        side: which edge.

    Returns:
        Place [y, x] [1/length].
    """
    place = np.zeros(shape)
    place[:, 0 if side == "left" else -1] = 1 / spacing
    return place


def layer(
    shape: tuple[int, int],
    spacing: float,
    first: int,
    last: int,
    weight: Float[np.ndarray, " cells"] | None = None,
) -> Float[np.ndarray, "y x"]:
    """The columns first to last − 1, evenly or by weight: an amplitude is the flux that they take up together.

    Args:
        shape: cells (ny, nx).
        spacing: dx [length].
        first, last: columns; `last` is not one of them.
        weight: of each column [last − first], not negative.

    Returns:
        Place [y, x] [1/length].

    Raises:
        InputError: no such columns, or weights that do not sum to something.
    """
    if not 0 <= first < last <= shape[1]:
        raise InputError(
            f"A layer of columns {first} to {last} does not lie in {shape[1]} columns."
        )
    share = np.ones(last - first) if weight is None else np.asarray(weight, float)
    if share.shape != (last - first,) or not share.sum() > 0:
        raise InputError("A layer needs one weight a column, with a positive sum.")
    place = np.zeros(shape)
    place[:, first:last] = share / (share.sum() * spacing)
    return place
