"""The grid of a field: cells, spacing, boundary conditions and particle mask.

Cell-centred finite volumes in one, two or three dimensions: cell (i, j) is centred at
((i + 1/2) dy, (j + 1/2) dx). A condition on a face of the box is a value:

    Periodic()      the lower and the upper face of the axis are one
    NoFlux()        no flux through the face
    Fixed(value)    c = value on the face; with Cahn-Hilliard a reservoir, μ = μ_h(value)
    Flux(value)     inflow per area and time, positive inwards

Faces between a particle and its outside are closed.
"""

from collections.abc import Sequence
from typing import TypeAlias

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from phdenoise.types import InputError


class Periodic(eqx.Module):
    """Both faces of an axis are one."""


class NoFlux(eqx.Module):
    """A closed face."""


class Fixed(eqx.Module):
    """Concentration on the face: a number, or an array over the cells of the face."""

    value: Float[Array, "..."] = eqx.field(converter=jnp.asarray)


class Flux(eqx.Module):
    """Inflow through the face [length · concentration / time]: a number, or an array over it."""

    value: Float[Array, "..."] = eqx.field(converter=jnp.asarray)


Condition: TypeAlias = Periodic | NoFlux | Fixed | Flux
Axis: TypeAlias = str | Condition | tuple[str | Condition, ...]
Boundary: TypeAlias = str | Condition | Sequence[Axis]

_NAMES: dict[str, Condition] = {"periodic": Periodic(), "no-flux": NoFlux()}


class Grid(eqx.Module):
    """A box of cells, ny x nx in a movie; (nx,) and (nz, ny, nx) serve as well.

    Spacing, values on faces and mask are array leaves, shape and kinds of faces are static: a solve compiles once for each
    structure, and spacing and values can be differentiated.
    """

    spacing: Float[Array, " d"]
    faces: tuple[tuple[Condition, Condition], ...]
    mask: Bool[Array, "*cells"] | None
    shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        shape: tuple[int, ...],
        spacing: float | Sequence[float] = 1.0,
        boundary: Boundary = "periodic",
        mask: np.ndarray | Array | None = None,
    ):
        """A grid.

        Args:
            shape: cells per axis, e.g. (ny, nx).
            spacing: one for all axes or one each, e.g. (dy, dx) [length].
            boundary: "periodic", "no-flux" or a condition, for all faces; or one per axis, each of
                them a condition for both faces or a pair (lower, upper), e.g.
                [(Fixed(1.0), Flux(0.1)), "periodic"] for (y, x).
            mask: True inside [*cells].
        """
        rank = len(shape)
        steps = [spacing] * rank if isinstance(spacing, int | float) else list(spacing)
        if rank not in (1, 2, 3) or len(steps) != rank:
            raise InputError(
                f"A grid has 1 to 3 axes with one spacing each, got shape {tuple(shape)} and "
                f"{len(steps)} spacings."
            )
        if not all(h > 0 for h in steps):
            raise InputError(f"Grid spacing must be positive, got {tuple(steps)}.")
        if mask is not None and tuple(mask.shape) != tuple(shape):
            raise InputError(f"The mask has shape {mask.shape}, the grid {tuple(shape)}.")
        self.shape = tuple(int(n) for n in shape)
        self.spacing = jnp.asarray(steps, dtype=jnp.result_type(float))
        self.faces = _faces(boundary, self.shape)
        self.mask = None if mask is None else jnp.asarray(mask, bool)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def boundary(self) -> str:
        """ "periodic" or "no-flux" where all faces are, else "mixed"."""
        for name, condition in _NAMES.items():
            if all(isinstance(face, type(condition)) for pair in self.faces for face in pair):
                return name
        return "mixed"

    @property
    def open(self) -> bool:
        """Whether anything but a closed or periodic face exists."""
        return any(isinstance(face, Fixed | Flux) for pair in self.faces for face in pair)

    def with_faces(self, faces: tuple[tuple[Condition, Condition], ...]) -> "Grid":
        """The same cells with other conditions on the faces, one pair (lower, upper) for each axis."""
        return eqx.tree_at(lambda grid: grid.faces, self, faces, is_leaf=lambda x: x is self.faces)

    def periodic(self, axis: int) -> bool:
        """Whether the two faces of an axis are one."""
        return isinstance(self.faces[axis][0], Periodic)


def _faces(boundary: Boundary, shape: tuple[int, ...]) -> tuple[tuple[Condition, Condition], ...]:
    if isinstance(boundary, str) or not isinstance(boundary, Sequence):
        boundary = [boundary] * len(shape)
    if len(boundary) != len(shape):
        raise InputError(
            f"The boundary names {len(boundary)} axes, the grid has {len(shape)}: give one "
            "condition or pair of conditions per axis."
        )
    return tuple(_pair(axis, across, shape) for across, axis in enumerate(boundary))


def _pair(axis: Axis, across: int, shape: tuple[int, ...]) -> tuple[Condition, Condition]:
    ends = axis if isinstance(axis, tuple | list) else (axis, axis)
    if len(ends) != 2:
        raise InputError(f"An axis has a lower and an upper face, got {len(ends)} conditions.")
    lower, upper = (_condition(end) for end in ends)
    if isinstance(lower, Periodic) != isinstance(upper, Periodic):
        raise InputError("A periodic face needs a periodic partner on the same axis.")
    face = shape[:across] + shape[across + 1 :]
    for end in (lower, upper):
        if isinstance(end, Fixed | Flux) and end.value.shape not in ((), face):
            raise InputError(
                f"The value on a face of axis {across} has shape {end.value.shape}: give a number "
                f"or an array of shape {face}."
            )
    return lower, upper


def _condition(given: str | Condition) -> Condition:
    if isinstance(given, Periodic | NoFlux | Fixed | Flux):
        return given
    if given not in _NAMES:
        raise InputError(
            f"Unknown boundary '{given}': use 'periodic', 'no-flux', Fixed(value) or Flux(value)."
        )
    return _NAMES[given]
