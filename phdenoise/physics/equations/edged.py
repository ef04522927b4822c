"""A law on a box whose faces are held, fed, or open, with values that may be free numbers or change with time.

    held   c = g(t) on the face            fed    inflow through the face = j(t)
    open   c = g(t, y, x) in the outermost cells, as it was measured; what lies beyond need not be known

The faces are evaluated at the time of each evaluation of the right-hand side, so that no stepper knows of them. Values of
open cells are linear between their times, and the cells inside follow the law.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from phdenoise.grid import Condition, Fixed, Flux, Grid
from phdenoise.physics.equations.extended import Extended
from phdenoise.physics.law_parameters import (
    FLUX,
    REAL,
    TIME,
    data,
    flat_part,
    parameter,
)
from phdenoise.types import Field, Scalar

# Faces by name: axis, and end of it.
SIDES: dict[str, tuple[int, int]] = {
    "top": (0, 0),
    "bottom": (0, 1),
    "left": (1, 0),
    "right": (1, 1),
}
# Standard deviations of the priors of a fitted concentration and of a fitted inflow [cells/frame interval times it]: wider than any of
# a movie in mol/m3, whose salts dissolve up to 3e4. A movie knows either far better.
VALUE_SD, FLUX_SD = 1e5, 1e5


class Edge(eqx.Module):
    """What holds on a face."""

    def condition(self, t: Scalar) -> Condition:
        """The condition at a time.

        Args:
            t: time.

        Returns:
            The condition.
        """
        raise NotImplementedError


class Held(Edge):
    """c = value on the face.

    Attributes:
        value: one number, or one for each cell of the face.
    """

    value: Float[Array, "..."] = parameter(REAL, sd=VALUE_SD)

    def condition(self, t: Scalar) -> Condition:
        """The concentration on the face."""
        return Fixed(self.value)


class Fed(Edge):
    """A constant inflow.

    Attributes:
        flux: inflow through the face, one number or one for each of its cells [length/time].
    """

    flux: Float[Array, "..."] = parameter(REAL, sd=FLUX_SD, dimension=FLUX)

    def condition(self, t: Scalar) -> Condition:
        """The inflow through the face."""
        return Flux(self.flux)


class Polyline(eqx.Module):
    """Values in time, linear between knots and constant before and after them.

    Attributes:
        knots: increasing times [n].
        values: at these times [n, ...].
    """

    knots: Float[Array, " n"] = data(TIME)
    values: Float[Array, "n ..."] = data()

    def at(self, t: Scalar) -> tuple[Array, Array]:
        """Value and rate of change at a time.

        Args:
            t: time.

        Returns:
            Value, and rate [1/time].
        """
        knots, values = self.knots, self.values
        i = jnp.clip(jnp.searchsorted(knots, t, side="right") - 1, 0, knots.shape[0] - 2)
        width = knots[i + 1] - knots[i]
        rate = (values[i + 1] - values[i]) / width
        within = (t >= knots[0]) & (t <= knots[-1])
        elapsed = jnp.clip(t - knots[i], 0, width)
        return values[i] + elapsed * rate, jnp.where(within, rate, 0)


class HeldInTime(Edge):
    """c on the face as it is known in time.

    Attributes:
        values: one number or one for each cell of the face, at each time.
    """

    values: Polyline

    def condition(self, t: Scalar) -> Condition:
        """The concentration on the face at a time."""
        return Fixed(self.values.at(t)[0])


class OpenRim(eqx.Module):
    """Cells whose concentration is given in time.

    Attributes:
        where: True in these cells [y, x].
        values: of all cells, of which these are read [n, y, x].
    """

    where: Bool[Array, "*cells"]
    values: Polyline


class WithEdges(Extended):
    """A law with conditions on the faces of the box; faces without one are as the grid says.

    Args:
        model: the law inside.
        edge_top, edge_bottom, edge_left, edge_right: conditions at the first and last row, and the first and last column.
        rim: cells whose values are given.
    """

    edge_top: Edge | None = flat_part(default=None)
    edge_bottom: Edge | None = flat_part(default=None)
    edge_left: Edge | None = flat_part(default=None)
    edge_right: Edge | None = flat_part(default=None)
    rim: OpenRim | None = None

    @property
    def label(self) -> str:  # type: ignore[override]
        """That of the law inside."""
        return self.model.label or type(self.model).__name__

    @property
    def title(self) -> str:  # type: ignore[override]
        """That of the law inside."""
        return self.model.title

    @property
    def prescribes(self) -> bool:
        """Whether some cells have values given in time."""
        return self.rim is not None or self.model.prescribes

    def domain(self, grid: Grid, t: Scalar | float = 0.0) -> Grid:
        """The grid with the faces of this law, as steppers need it.

        Args:
            grid: domain.
            t: time.

        Returns:
            The grid at that time.
        """
        faces = [list(pair) for pair in grid.faces]
        for side, (axis, end) in SIDES.items():
            edge = getattr(self, f"edge_{side}")
            if edge is not None:
                faces[axis][end] = edge.condition(jnp.asarray(t))
        return grid.with_faces(tuple((low, high) for low, high in faces))

    def rhs(self, t: Scalar, c: Field, grid: Grid) -> Field:
        """dc/dt [1/time]; that of given cells is the rate of their values."""
        grid = self.domain(grid, t)
        if self.rim is None:
            return self.model.rhs(t, c, grid)
        value, rate = self.rim.values.at(t)
        value, rate = value.astype(c.dtype), rate.astype(c.dtype)
        inside = self.model.rhs(t, jnp.where(self.rim.where, value, c), grid)
        return jnp.where(self.rim.where, rate, inside)
