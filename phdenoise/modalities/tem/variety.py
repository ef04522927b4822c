"""Random scenes: what the training of the denoiser sees. Every range is wider than what one microscope gives."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from phdenoise.modalities.tem.simulate import Layer, Optics, Scene
from phdenoise.modalities.tem.structures import (
    Defects,
    Orientation,
    Particle,
    Support,
)

Range = tuple[float, float]
Direction = tuple[int, int, int]


@dataclass(frozen=True)
class Variety:
    """Ranges that random scenes are drawn from."""

    pixel_size: Range = (0.3, 0.5)
    """Of the image after binning [angstrom]."""
    pixels: int = 120
    """Sides of the images [px]."""
    radius: Range = (7.0, 18.0)
    """Of particles [angstrom]."""
    depth: Range = (24.0, 60.0)
    """Thickness of supports along the beam [angstrom]."""
    tilt: float = 4.0
    """Largest tilt away from the zone [degrees]."""
    defocus: Range = (-250.0, 250.0)
    """With an image corrector [angstrom]."""
    spherical: Range = (-2e5, 2e5)
    """Cs with an image corrector [angstrom]."""
    aperture: Range = (0.55, 1.1)
    """[1/angstrom]."""
    particles: Sequence[str] = ("Pt", "Pt", "Pt", "Au", "Pd", "Ag", "Cu", "Ni", "CeO2")
    """Crystals of particles, in proportion to their number here."""
    supports: Sequence[str] = ("CeO2", "CeO2", "CeO2", "ZrO2", "MgO", "TiO2", "Si", "C", "SiO2")
    """Materials of supports."""
    zones: Sequence[Direction] = ((1, 1, 0), (1, 1, 0), (1, 0, 0), (1, 1, 1), (1, 1, 2), (1, 2, 3))
    """Directions along the beam."""
    seed: int = 0
    """Of the whole set; scene number k has its own stream."""


def random_scene(variety: Variety, number: int) -> Scene:
    """Scene of a number: always the same for the same variety.

    Args:
        variety: ranges.
        number: of the scene.

    Returns:
        The scene, with one draw of the optics.
    """
    rng = np.random.default_rng([variety.seed, number])
    pixel = float(rng.uniform(*variety.pixel_size))
    blank = Scene(pixel_size=pixel, shape=(variety.pixels, variety.pixels))
    box = blank.box
    depth = float(rng.uniform(*variety.depth))
    kind = rng.random()
    surface = box[0] * (rng.uniform(0.35, 0.85) if kind < 0.85 else rng.uniform(1.1, 1.3))
    # Now and then the support fills the image, for training on crystals alone.
    surface = -5.0 if kind > 0.95 else surface
    support = _support(variety, rng, float(surface), depth, box)
    count = int(rng.choice([0, 1, 1, 1, 1, 2, 3])) if kind < 0.95 else 0
    if kind >= 0.85:
        count = max(count, 1) if kind < 0.95 else 0
    particles = tuple(_particle(variety, rng, float(surface), depth, box) for _ in range(count))
    layers = tuple(
        Layer(str(rng.choice(["C", "SiO2"])), float(rng.uniform(4, 20)))
        for _ in range(int(rng.random() < 0.25))
    )
    defects = Defects(
        vacancies=float(rng.choice([0.0, 0.1, 0.3])),
        adatoms=float(rng.choice([0.0, 0.05, 0.15])),
        step=bool(rng.random() < 0.3),
    )
    scene = replace(
        blank,
        particles=particles,
        supports=(support,) if kind < 0.85 or kind > 0.95 else (),
        layers=layers,
        defects=defects,
        absorption=float(rng.choice([0.0, rng.uniform(0, 0.08)])),
        vibration=float(rng.uniform(0.05, 0.11)),
        slice_thickness=2.0,
        slices=int(np.ceil(variety.depth[1] / 2.0)),
        seed=int(rng.integers(2**31)),
    )
    return replace(scene, optics=random_optics(variety, rng))


def random_optics(
    variety: Variety, rng: np.random.Generator, energy: float | None = None
) -> Optics:
    """A microscope at some defocus.

    Args:
        variety: ranges.
        rng: of the draw.
        energy: of the beam, where it is given [eV].

    Returns:
        The optics.
    """
    if energy is None:
        energy = float(rng.choice([300e3, 300e3, 200e3, 80e3]))
    if rng.random() < 0.75:
        spherical = float(rng.uniform(*variety.spherical))
        defocus = float(rng.uniform(*variety.defocus))
        aperture = float(rng.uniform(*variety.aperture))
    else:
        # Without corrector, about Scherzer's defocus: 1.2 sqrt(Cs lambda).
        spherical = float(rng.uniform(0.5e7, 1.2e7))
        defocus = float(rng.uniform(-0.5, 2.5) * 1.2 * np.sqrt(spherical * 0.02))
        aperture = float(rng.uniform(0.4, 0.7))
    return Optics(
        energy=energy,
        defocus=defocus,
        spherical=spherical,
        astigmatism=float(abs(rng.normal(0, 15))),
        astigmatism_angle=float(rng.uniform(0, 180)),
        focal_spread=float(rng.uniform(10, 60)),
        aperture=aperture,
        image_spread=float(rng.uniform(0.1, 0.7)),
    )


def _orientation(
    variety: Variety, rng: np.random.Generator, normals: Sequence[Direction]
) -> Orientation:
    zone = tuple(int(i) for i in rng.choice(np.asarray(variety.zones)))
    z = np.asarray(zone, float)
    fit = [
        n
        for n in normals
        if np.linalg.norm(np.cross(z, n)) > 0.3 * np.linalg.norm(z) * np.linalg.norm(n)
    ]
    # A normal across the beam shows an edge-on surface.
    across = [n for n in fit if abs(z @ np.asarray(n)) < 1e-9]
    chosen = across if across and rng.random() < 0.8 else fit
    normal = chosen[rng.integers(len(chosen))]
    tilt = variety.tilt * np.sqrt(rng.random()) * rng.choice([0.1, 1.0])
    angle = rng.uniform(0, 2 * np.pi)
    turned = rng.choice([0.0, rng.uniform(-180, 180)])
    return Orientation(
        zone=(zone[0], zone[1], zone[2]),
        normal=normal,
        tilt=(float(tilt * np.cos(angle)), float(tilt * np.sin(angle))),
        in_plane=float(turned),
    )


# Surfaces that supports and particles show, in all signs.
_NORMALS: tuple[Direction, ...] = tuple(
    (a, b, c) for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1) if (a, b, c) != (0, 0, 0)
)


def _support(
    variety: Variety,
    rng: np.random.Generator,
    surface: float,
    depth: float,
    box: tuple[float, float],
) -> Support:
    steps: tuple[tuple[float, float], ...] = ()
    if rng.random() < 0.25:
        steps = (
            (float(rng.uniform(0, box[1])), float(rng.choice([-1, 1]) * rng.uniform(1.5, 3.5))),
        )
    return Support(
        material=str(rng.choice(np.asarray(variety.supports))),
        orientation=_orientation(variety, rng, _NORMALS),
        surface=surface,
        slope=float(rng.choice([0.0, rng.normal(0, 0.15)])),
        steps=steps,
        thickness=depth,
    )


def _particle(
    variety: Variety,
    rng: np.random.Generator,
    surface: float,
    depth: float,
    box: tuple[float, float],
) -> Particle:
    radius = float(rng.uniform(*variety.radius))
    free = surface > box[0]
    height = rng.uniform(0.15, 0.85) * box[0] if free else surface - radius * rng.uniform(-0.3, 0.9)
    return Particle(
        crystal=str(rng.choice(np.asarray(variety.particles))),
        orientation=_orientation(variety, rng, _NORMALS),
        radius=radius,
        facets=(float(rng.uniform(0.9, 1.5)), float(rng.uniform(1.0, 1.6))),
        centre=(
            float(depth / 2 + rng.uniform(-5, 5)),
            float(height),
            float(rng.uniform(0.15, 0.85) * box[1]),
        ),
        strain=float(rng.normal(0, 0.01)),
    )
