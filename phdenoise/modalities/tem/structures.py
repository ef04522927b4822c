"""Atoms of a nanoparticle on a support: crystals, facets, orientation, surface defects, amorphous layers.

A crystal fills the region where a few inequalities hold: a support y > surface(x) of some thickness, a particle n_i·r < d_i
for the facets {111}, {100}, {110} (Wulff), cut by the support. Coordinates are z (along the beam), y (down, into the
support), x, in angstrom. Lattice parameters: room temperature, Wyckoff, Crystal Structures (1963).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import permutations, product

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree

from phdenoise.types import InputError

# Fractional places of atoms in a cell.
Places = tuple[tuple[float | int, float | int, float | int], ...]

_FCC = ((0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0))
_QUARTER = tuple((x, y, z) for x in (0.25, 0.75) for y in (0.25, 0.75) for z in (0.25, 0.75))
# Half of the tetrahedral sites, for the diamond lattice.
_TETRAHEDRAL = ((0.25, 0.25, 0.25), (0.25, 0.75, 0.75), (0.75, 0.25, 0.75), (0.75, 0.75, 0.25))
_OCTAHEDRAL = ((0.5, 0.5, 0.5), (0.5, 0, 0), (0, 0.5, 0), (0, 0, 0.5))
_ANATASE_METAL = ((0, 0, 0), (0, 0.5, 0.25), (0.5, 0.5, 0.5), (0.5, 0, 0.75))
# Place of the oxygen along c, in units of c.
_ANATASE_OXYGEN = 0.208
# Place of the oxygen of rutile, in units of a.
_U = 0.305
# Neighbours of an atom inside a face-centred crystal.
_BULK_NEIGHBOURS = 12


@dataclass(frozen=True)
class Crystal:
    """Edges of the cell [angstrom] and the fractional places of each element."""

    cell: tuple[float, float, float]
    basis: Mapping[str, Places]


def _cubic(a: float, **basis: Places) -> Crystal:
    return Crystal((a, a, a), basis)


CRYSTALS: Mapping[str, Crystal] = {
    "Pt": _cubic(3.924, Pt=_FCC),
    "Au": _cubic(4.078, Au=_FCC),
    "Pd": _cubic(3.891, Pd=_FCC),
    "Ag": _cubic(4.086, Ag=_FCC),
    "Cu": _cubic(3.615, Cu=_FCC),
    "Ni": _cubic(3.524, Ni=_FCC),
    "CeO2": _cubic(5.411, Ce=_FCC, O=_QUARTER),
    "ZrO2": _cubic(5.09, Zr=_FCC, O=_QUARTER),
    "MgO": _cubic(4.212, Mg=_FCC, O=_OCTAHEDRAL),
    "Si": _cubic(5.431, Si=(*_FCC, *_TETRAHEDRAL)),
    "Fe": _cubic(2.866, Fe=((0, 0, 0), (0.5, 0.5, 0.5))),
    "SiC": _cubic(4.36, Si=_FCC, C=_TETRAHEDRAL),
    "TiN": _cubic(4.242, Ti=_FCC, N=_OCTAHEDRAL),
    "rutile": Crystal(
        (4.594, 4.594, 2.959),
        {
            "Ti": ((0, 0, 0), (0.5, 0.5, 0.5)),
            "O": (
                (_U, _U, 0),
                (1 - _U, 1 - _U, 0),
                (0.5 + _U, 0.5 - _U, 0.5),
                (0.5 - _U, 0.5 + _U, 0.5),
            ),
        },
    ),
    "TiO2": Crystal(
        (3.785, 3.785, 9.514),
        {
            "Ti": _ANATASE_METAL,
            "O": tuple(
                (x, y, (z + s * _ANATASE_OXYGEN) % 1) for x, y, z in _ANATASE_METAL for s in (1, -1)
            ),
        },
    ),
}
# Atoms per cubic angstrom of layers without order.
AMORPHOUS: Mapping[str, Mapping[str, float]] = {
    "C": {"C": 0.1},
    "SiO2": {"Si": 0.022, "O": 0.044},
}
# Facets of each family, by their Miller indices.
_FAMILIES = ((1, 1, 1), (1, 0, 0), (1, 1, 0))


@dataclass(frozen=True)
class Orientation:
    """How a crystal lies: the zone along the beam, the direction that points out of the support, small tilts."""

    zone: tuple[int, int, int] = (1, 1, 0)
    """Crystal direction along the beam."""
    normal: tuple[int, int, int] = (1, -1, 1)
    """Crystal direction that points up; what lies along the zone is taken off."""
    tilt: tuple[float, float] = (0.0, 0.0)
    """Rotations about x and about y, away from the zone [degrees]."""
    in_plane: float = 0.0
    """Rotation about the beam [degrees]."""

    def matrix(self) -> Float[np.ndarray, "3 3"]:
        """Rotation from crystal coordinates to (z, y, x)."""
        z = np.asarray(self.zone, float)
        z /= np.linalg.norm(z)
        up = np.asarray(self.normal, float)
        up -= (up @ z) * z
        if np.linalg.norm(up) < 1e-6:
            raise InputError(
                f"normal {self.normal} is along the zone {self.zone}: choose another direction."
            )
        y = -up / np.linalg.norm(up)
        frame = np.stack([z, y, np.cross(z, y)])
        a, b = np.deg2rad(self.tilt)
        c = np.deg2rad(self.in_plane)
        about_x = _turn(0, 1, a)
        about_y = _turn(0, 2, b)
        return _turn(1, 2, c) @ about_x @ about_y @ frame


@dataclass(frozen=True)
class Particle:
    """A crystal bounded by facets."""

    crystal: str = "Pt"
    """Name in `CRYSTALS`."""
    orientation: Orientation = field(default_factory=Orientation)
    """How the crystal lies."""
    radius: float = 14.0
    """Distance of the {111} facets from the centre [angstrom]."""
    facets: tuple[float, float] = (1.15, 1.25)
    """Distances of {100} and {110} in units of that of {111}; large leaves a facet out."""
    centre: tuple[float, float, float] = (20.0, 22.0, 25.0)
    """Place of the centre: z, y, x [angstrom]."""
    strain: float = 0.0
    """Relative change of the lattice."""


@dataclass(frozen=True)
class Support:
    """A crystal or a layer without order that fills everything below a line."""

    material: str = "CeO2"
    """Name in `CRYSTALS` or `AMORPHOUS`."""
    orientation: Orientation = field(default_factory=Orientation)
    """How the crystal lies; not used without order."""
    surface: float = 30.0
    """y of the surface [angstrom]."""
    slope: float = 0.0
    """Slope of the surface, dy/dx."""
    steps: tuple[tuple[float, float], ...] = ()
    """Steps of the surface: x and height of each [angstrom]."""
    thickness: float = 40.0
    """Along the beam [angstrom]."""


@dataclass(frozen=True)
class Defects:
    """What the surface of the particle lacks or has more, as shares of the places that there are."""

    vacancies: float = 0.0
    """Share of the surface columns that lack some or all atoms."""
    adatoms: float = 0.0
    """Share of the places beside the surface that are taken."""
    step: bool = False
    """Whether half a terrace is missing."""


@dataclass(frozen=True)
class Atoms:
    """Atoms of a structure, and which of them come and go together.

    Attributes:
        symbols: element of each.
        positions: z, y, x of each [angstrom].
        site: number of the surface column that an atom belongs to, -1 for the others.
    """

    symbols: tuple[str, ...]
    positions: Float[np.ndarray, "a 3"]
    site: Float[np.ndarray, " a"] | np.ndarray

    def __add__(self, other: "Atoms") -> "Atoms":
        first = self.site.max(initial=-1) + 1
        moved = np.where(other.site >= 0, other.site + first, -1)
        return Atoms(
            self.symbols + other.symbols,
            np.concatenate([self.positions, other.positions]),
            np.concatenate([self.site, moved]),
        )

    def keep(self, mask: np.ndarray) -> "Atoms":
        """Some of the atoms.

        Args:
            mask: True for those that stay.

        Returns:
            The atoms that stay.
        """
        return Atoms(
            tuple(s for s, m in zip(self.symbols, mask, strict=True) if m),
            self.positions[mask],
            self.site[mask],
        )


def support_atoms(support: Support, box: tuple[float, float], rng: np.random.Generator) -> Atoms:
    """Atoms below the surface line.

    Args:
        support: its material and shape.
        box: extent along y and x [angstrom].
        rng: of the places of atoms without order.

    Returns:
        The atoms.

    Raises:
        InputError: an unknown material.
    """
    low, high = np.zeros(3), np.array([support.thickness, *box])
    if support.material in AMORPHOUS:
        atoms = amorphous_atoms(support.material, low, high, rng)
    else:
        atoms = _filled(support.material, support.orientation, low, high)
    line = support.surface + support.slope * (atoms.positions[:, 2] - box[1] / 2)
    for x, height in support.steps:
        line = line + np.where(atoms.positions[:, 2] > x, height, 0.0)
    return atoms.keep(atoms.positions[:, 1] >= line)


def amorphous_atoms(
    material: str, low: np.ndarray, high: np.ndarray, rng: np.random.Generator
) -> Atoms:
    """Atoms at random places of a box.

    Args:
        material: name in `AMORPHOUS`.
        low, high: corners of the box: z, y, x [angstrom].
        rng: of the places.

    Returns:
        The atoms.
    """
    symbols: list[str] = []
    for element, density in AMORPHOUS[material].items():
        symbols += [element] * rng.poisson(density * float(np.prod(high - low)))
    places = rng.uniform(low, high, (len(symbols), 3))
    return Atoms(tuple(symbols), places, np.full(len(symbols), -1))


def particle_atoms(particle: Particle, defects: Defects, rng: np.random.Generator) -> Atoms:
    """Atoms of a faceted crystal with surface defects; its surface columns are numbered as sites.

    Args:
        particle: crystal, size and place.
        defects: of its surface.
        rng: of what is missing or more.

    Returns:
        The atoms.

    Raises:
        InputError: an unknown crystal.
    """
    centre = np.asarray(particle.centre)
    reach = 1.9 * particle.radius
    crystal = _filled(
        particle.crystal, particle.orientation, centre - reach, centre + reach, particle.strain, rng
    )
    level = _facet_level(particle, (crystal.positions - centre) @ particle.orientation.matrix())
    inside = level <= 1
    if defects.step:
        inside &= ~_terrace(particle, crystal.positions - centre, rng)
    cation = np.asarray([s != "O" for s in crystal.symbols])
    inside = _with_defects(crystal.positions, inside, cation, defects, rng)
    atoms = crystal.keep(inside)
    return replace(atoms, site=_surface_columns(atoms, particle))


def _turn(i: int, j: int, angle: float) -> np.ndarray:
    out = np.eye(3)
    out[i, i] = out[j, j] = np.cos(angle)
    out[i, j], out[j, i] = -np.sin(angle), np.sin(angle)
    return out


def _filled(
    name: str,
    orientation: Orientation,
    low: np.ndarray,
    high: np.ndarray,
    strain: float = 0.0,
    rng: np.random.Generator | None = None,
) -> Atoms:
    """A crystal in a box; its origin is at the box's centre, or at random about it."""
    if name not in CRYSTALS:
        raise InputError(f"Unknown crystal '{name}': use one of {', '.join(CRYSTALS)}.")
    crystal, turn = CRYSTALS[name], orientation.matrix()
    cell = np.asarray(crystal.cell) * (1 + strain)
    centre, half = (low + high) / 2, (high - low) / 2
    # Corners of the box in units of the cell bound the cells that are needed.
    corners = np.array([(np.asarray(s) * half) @ turn for s in product((-1, 1), repeat=3)]) / cell
    ranges = [
        np.arange(np.floor(a) - 1, np.ceil(b) + 2)
        for a, b in zip(corners.min(0), corners.max(0), strict=True)
    ]
    cells = np.stack(np.meshgrid(*ranges, indexing="ij"), -1).reshape(-1, 3)
    origin = 0.0 if rng is None else rng.uniform(-0.5, 0.5, 3)
    symbols: list[str] = []
    places = []
    for element, basis in crystal.basis.items():
        fractional = (cells[:, None] + np.asarray(basis)[None] + origin).reshape(-1, 3)
        here = (fractional * cell) @ turn.T + centre
        here = here[np.all((here >= low) & (here < high), axis=1)]
        symbols += [element] * len(here)
        places.append(here)
    return Atoms(tuple(symbols), np.concatenate(places), np.full(len(symbols), -1))


def _normals(family: tuple[int, int, int]) -> np.ndarray:
    signed = {
        tuple(s * i for s, i in zip(signs, order, strict=True))
        for order in permutations(family)
        for signs in product((1, -1), repeat=3)
    }
    out = np.asarray(sorted(signed), float)
    return out / np.linalg.norm(out, axis=1, keepdims=True)


def _facet_level(particle: Particle, places: np.ndarray) -> np.ndarray:
    """Largest of n·r over the distance of its facet; 1 on the surface. Places in crystal coordinates."""
    distances = particle.radius * np.asarray([1.0, *particle.facets])
    levels = [
        (places @ _normals(f).T).max(1) / d for f, d in zip(_FAMILIES, distances, strict=True)
    ]
    return np.max(levels, axis=0)


def _terrace(particle: Particle, places: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Atoms of half of the outermost layer of one facet."""
    turn = particle.orientation.matrix()
    normals = _normals(_FAMILIES[0]) @ turn.T
    # A facet that is seen from the side shows its step.
    side = normals[np.argsort(np.abs(normals[:, 0]))[:4]]
    normal = side[rng.integers(len(side))]
    spacing = CRYSTALS[particle.crystal].cell[0] / np.sqrt(3)
    along = np.array([0.0, -normal[2], normal[1]])
    return (places @ normal > particle.radius - spacing) & (places @ along > 0)


def _with_defects(
    places: np.ndarray,
    inside: np.ndarray,
    cation: np.ndarray,
    defects: Defects,
    rng: np.random.Generator,
) -> np.ndarray:
    """Occupied places after vacancies and adatoms."""
    if not (defects.vacancies or defects.adatoms) or not (inside & cation).any():
        return inside
    metal = np.flatnonzero(cation)
    tree = cKDTree(places[metal])
    nearest = np.median(tree.query(places[metal], k=2)[0][:, 1])
    pairs = tree.query_pairs(1.1 * nearest, output_type="ndarray")
    occupied = inside[metal].astype(int)
    neighbours = np.bincount(pairs[:, 0], occupied[pairs[:, 1]], len(metal))
    neighbours += np.bincount(pairs[:, 1], occupied[pairs[:, 0]], len(metal))
    out = inside.copy()
    column = np.round(places[metal][:, 1:] / (nearest / 3)).astype(int)
    _, number = np.unique(column, axis=0, return_inverse=True)
    number = number.ravel()
    for share, chosen, value in (
        (defects.vacancies, (occupied > 0) & (neighbours < _BULK_NEIGHBOURS - 2), False),
        (defects.adatoms, (occupied == 0) & (neighbours >= 3), True),
    ):
        groups = np.unique(number[chosen])
        hit = groups[rng.random(len(groups)) < share]
        # Half of them change whole columns, the others a part.
        part = np.where(rng.random(number.max() + 1) < 0.5, 1.0, 0.5)[number]
        change = chosen & np.isin(number, hit) & (rng.random(len(metal)) < part)
        out[metal[change]] = value
    return out


def _surface_columns(atoms: Atoms, particle: Particle) -> np.ndarray:
    """Number of the projected column of each atom that lies at the particle's rim, -1 inside."""
    if not len(atoms.symbols):
        return np.zeros(0, int)
    spacing = CRYSTALS[particle.crystal].cell[0] / np.sqrt(2) / 3
    column = np.round(atoms.positions[:, 1:] / spacing).astype(int)
    places, number = np.unique(column, axis=0, return_inverse=True)
    number = number.ravel()
    # A column at the rim has no neighbours on one side: its neighbours' mean lies off it.
    tree = cKDTree(places)
    near = tree.query_ball_point(places, 6)
    off = np.array(
        [np.linalg.norm(places[n].mean(0) - p) for n, p in zip(near, places, strict=True)]
    )
    rim = np.flatnonzero(off > 1.2)
    renumber = np.full(len(places), -1)
    renumber[rim] = np.arange(len(rim))
    return renumber[number]
