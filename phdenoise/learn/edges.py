"""What holds at the faces of a frame, as it is asked for, and the law on a box with such faces.

    periodic   opposite faces are one           no-flux    nothing crosses (closed)
    held       c is given on the face           fed        the inflow is given
    open       the measured rim drives the inside and carries no weight

A held value and a fed inflow are known numbers, or constants that are fitted with the law.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from phdenoise.grid import Condition, Fixed, Flux, NoFlux, Periodic
from phdenoise.physics.domain import smooth_inside
from phdenoise.physics.equations.base import Law
from phdenoise.physics.equations.edged import SIDES, Edge, Fed, Held, OpenRim, Polyline, WithEdges
from phdenoise.types import InputError

# Noise of a measured concentration [share of the movie's range] above which the rim that drives the inside is smoothed in time and along the rim, by kernels of
# this standard deviation [frames, cells]. Below, the rim is as good as the solver's steps.
CLEAN_RIM, RIM_SMOOTHING = 0.005, 1.0
# Fewest cells of a domain along a face of the frame at which anything but a closed face is considered.
FEWEST_AT_FACE = 6
_ALIASES = {"closed": "no-flux", "none": "no-flux"}


class Face(NamedTuple):
    """What holds at a face.

    Attributes:
        kind: auto, periodic, no-flux, held, fed or open.
        value: concentration or inflow [length/time of the movie] where it is known; None where it is fitted.
    """

    kind: str
    value: float | None = None


Faces = Mapping[str, Face]
# What a grid is told of a face; values come with the law.
_CONDITIONS: dict[str, Callable[[], Condition]] = {
    "auto": NoFlux,
    "periodic": Periodic,
    "no-flux": NoFlux,
    "held": lambda: Fixed(jnp.zeros(())),
    "fed": lambda: Flux(jnp.zeros(())),
    "open": NoFlux,
}


def parse_faces(text: str) -> dict[str, Face]:
    """The faces that a setting names.

    Args:
        text: one kind for all faces, such as "auto" or "no-flux"; or a kind for each of some, such as
            "left=held:0.9,right=open": the others are auto. A number after a colon is known, else it is fitted.

    Returns:
        A face for each of top, bottom, left and right.

    Raises:
        InputError: an unknown kind or face, or a periodic face without its partner.
    """
    faces = dict.fromkeys(SIDES, Face("auto"))
    for item in text.replace(" ", "").split(","):
        sides, _, kind = item.rpartition("=")
        face = _face(kind, text)
        if sides and sides not in SIDES:
            raise InputError(
                f"--boundary {text}: no face '{sides}', use one of {', '.join(SIDES)}."
            )
        faces |= dict.fromkeys([sides] if sides else SIDES, face)
    for one, other in (("top", "bottom"), ("left", "right")):
        if (faces[one].kind == "periodic") != (faces[other].kind == "periodic"):
            raise InputError(f"--boundary {text}: {one} and {other} are periodic together or not.")
    return faces


def _face(text: str, whole: str) -> Face:
    kind, _, number = text.partition(":")
    kind = _ALIASES.get(kind, kind)
    if kind not in _CONDITIONS:
        known = ", ".join(_CONDITIONS)
        raise InputError(f"--boundary {whole}: unknown '{kind}', use one of {known}.")
    if not number:
        return Face(kind)
    try:
        return Face(kind, float(number))
    except ValueError:
        raise InputError(f"--boundary {whole}: '{number}' is no number.") from None


def described(faces: Faces) -> str:
    """The faces in the words of the setting."""
    kinds = {
        side: f.kind + ("" if f.value is None else f":{f.value:g}") for side, f in faces.items()
    }
    if len(set(kinds.values())) == 1:
        return next(iter(kinds.values()))
    return ",".join(f"{side}={kind}" for side, kind in kinds.items())


def conditions(faces: Faces) -> tuple[tuple[Condition, Condition], tuple[Condition, Condition]]:
    """Conditions of a grid with these faces, without values.

    Args:
        faces: what holds.

    Returns:
        (lower, upper) for y and x.
    """
    top, bottom, left, right = (
        _CONDITIONS[faces[s].kind]() for s in ("top", "bottom", "left", "right")
    )
    return (top, bottom), (left, right)


def at_face(frames: np.ndarray, side: str, depth: int) -> np.ndarray:
    """The cells at a depth from a face.

    Args:
        frames: values [..., y, x].
        side: name of the face.
        depth: 0 for the outermost cells.

    Returns:
        Values [..., cells of the face].
    """
    axis, end = SIDES[side]
    return np.take(frames, -1 - depth if end else depth, axis - 2)


def reached(inside: np.ndarray | None, faces: Faces) -> dict[str, Face]:
    """The faces, where a domain does not reach the frame's edge closed.

    Args:
        inside: True in the domain [y, x]; None for everywhere.
        faces: as asked for.

    Returns:
        Faces of which those that are auto have cells.
    """
    if inside is None:
        return dict(faces)
    few = {side for side in SIDES if at_face(inside, side, 0).sum() < FEWEST_AT_FACE}
    return {
        side: Face("no-flux") if face.kind == "auto" and side in few else face
        for side, face in faces.items()
    }


def rim(shape: tuple[int, ...], faces: Faces, width: int) -> Bool[np.ndarray, "y x"]:
    """The cells along open faces.

    Args:
        shape: cells (ny, nx).
        faces: what holds.
        width: cells across.

    Returns:
        True in these cells.
    """
    where = np.zeros(shape, bool)
    for side, face in faces.items():
        axis, end = SIDES[side]
        if face.kind == "open":
            part = slice(-width, None) if end else slice(width)
            where[(slice(None), part) if axis else part] = True
    return where


def rim_width(law: Law) -> int:
    """Cells of a rim that determine what enters: one for diffusion, two where the flux has a third derivative."""
    return 1 + int(law.conserved and law.own_width)


class EdgeData(NamedTuple):
    """What a law with edges takes from a movie, in cells and frame intervals.

    Attributes:
        faces: what holds; known inflows in cells and frame intervals.
        times: of the frames [t].
        believed: denoised concentration [t, y, x].
        noise: standard deviation of the believed concentration [share of the movie's range]; 0 for a denoised movie.
        inside: True in the domain [y, x]; None for everywhere.
    """

    faces: Faces
    times: np.ndarray
    believed: np.ndarray
    noise: float
    inside: np.ndarray | None

    def rim_of(self, faces: Faces) -> Float[np.ndarray, "t y x"]:
        """The movie whose rim drives the inside: believed, and smoothed along the rim and in time where it is noisy.

        Args:
            faces: which are open.

        Returns:
            Frames [t, y, x].
        """
        if self.noise <= CLEAN_RIM:
            return self.believed
        wide = RIM_SMOOTHING
        values = smooth_inside(self.believed, self.inside, (wide, 0.0, wide))
        along = smooth_inside(self.believed, self.inside, (wide, wide, 0.0))
        for side, columns in (("left", slice(2)), ("right", slice(-2, None))):
            if faces.get(side, Face("auto")).kind == "open":
                values[..., columns] = along[..., columns]
        return values

    def around(self, law: Law, dtype: np.dtype) -> Law:
        """The law with these faces; itself where all are closed or periodic.

        Args:
            law: in cells and frame intervals.
            dtype: of the arrays.

        Returns:
            The law.
        """
        edges = {
            f"edge_{s}": _EDGES[f.kind](self, s) for s, f in self.faces.items() if f.kind in _EDGES
        }
        where = rim(self.believed.shape[1:], self.faces, rim_width(law))
        if self.inside is not None:
            where &= self.inside
        if not (edges or where.any()):
            return law
        known = tuple(
            f"edge_{s}_{_NUMBERS[f.kind]}" for s, f in self.faces.items() if f.value is not None
        )
        given = None
        if where.any():
            knots, values = (jnp.asarray(a, dtype) for a in (self.times, self.rim_of(self.faces)))
            given = OpenRim(jnp.asarray(where), Polyline(knots, values))
        edges = {name: replace_dtype(edge, dtype) for name, edge in edges.items()}
        return WithEdges(law, **edges, rim=given, fixed=known)


def replace_dtype(edge: Edge, dtype: np.dtype) -> Edge:
    """The edge with its numbers in a dtype."""
    return replace(edge, **{k: jnp.asarray(v, dtype) for k, v in vars(edge).items()})


def _held(data: EdgeData, side: str) -> Edge:
    """The known concentration, or the mean of that extrapolated to the face."""
    value = data.faces[side].value
    if value is None:
        # A parabola through the three cells next to the face.
        near = [at_face(data.believed, side, d) for d in range(3)]
        value = float(np.median((15 * near[0] - 10 * near[1] + 3 * near[2]) / 8))
    return Held(jnp.asarray(value))


def _fed(data: EdgeData, side: str) -> Edge:
    return Fed(jnp.asarray(data.faces[side].value or 0.0))


_EDGES: dict[str, Callable[[EdgeData, str], Edge]] = {"held": _held, "fed": _fed}
# Names of the numbers of an edge.
_NUMBERS = {"held": "value", "fed": "flux"}
