"""Clean images and movies of nanoparticles on supports, in units of the vacuum.

    structure -> slices of potential -> exit wave -> lens -> sums over pixels          vacuum = 1

A `Scene` holds everything that an image depends on; the same scene and seed give the same image. Counts are
Poisson(dose · pixel² · image), with the dose in electrons per square angstrom.
"""

from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from phdenoise.modalities.tem.multislice import Lens, exit_wave, image
from phdenoise.modalities.tem.potentials import projected_potential, sliced
from phdenoise.modalities.tem.structures import (
    Atoms,
    Defects,
    Particle,
    Support,
    amorphous_atoms,
    particle_atoms,
    support_atoms,
)
from phdenoise.types import InputError

# Points of the simulation's grid along an edge of a pixel: the intensity then stays within the grid's Nyquist frequency.
OVERSAMPLING = 2
# Waves of a box repeat at its edges: this many pixels at each edge are cut off.
MARGIN = 4
# Rms displacement of an atom along one axis at room temperature [angstrom], of light and of heavy elements; from Debye-Waller
# factors B = 8π² u² of 0.3 to 0.6 square angstrom (Peng et al., Acta Cryst. A 52, 456 (1996), doi:10.1107/S0108767396001730).
VIBRATION = 0.075


@dataclass(frozen=True)
class Optics:
    """The microscope: lengths in angstrom, angles in degrees."""

    energy: float = 300e3
    """Of the beam [eV]."""
    defocus: float = 60.0
    """Underfocus is positive."""
    spherical: float = -1.0e5
    """Cs; an image corrector sets about -10 micrometres."""
    astigmatism: float = 0.0
    """Twofold, its amplitude."""
    astigmatism_angle: float = 0.0
    """Of its axis."""
    focal_spread: float = 30.0
    """Standard deviation of the defocus."""
    aperture: float = 1.0
    """Radius of the objective aperture [1/angstrom]."""
    image_spread: float = 0.3
    """Standard deviation of the image's vibration."""

    def lens(self) -> Lens:
        """The lens, with angles in radians."""
        return Lens(
            self.defocus,
            self.spherical,
            self.astigmatism,
            float(np.deg2rad(self.astigmatism_angle)),
            self.focal_spread,
            self.aperture,
            self.image_spread,
        )


@dataclass(frozen=True)
class Layer:
    """A layer without order across the whole image, above or below the rest."""

    material: str = "C"
    """Name in `AMORPHOUS`."""
    thickness: float = 15.0
    """Along the beam [angstrom]."""


@dataclass(frozen=True)
class Scene:
    """Everything that a clean image depends on."""

    particles: tuple[Particle, ...] = (Particle(),)
    """Crystals on the support; earlier ones displace later ones."""
    supports: tuple[Support, ...] = (Support(),)
    """What fills the lower part; several lie over each other along the beam."""
    layers: tuple[Layer, ...] = ()
    """Amorphous layers."""
    defects: Defects = field(default_factory=Defects)
    """Of all particles."""
    optics: Optics = field(default_factory=Optics)
    """The microscope."""
    pixel_size: float = 0.4
    """Of the image [angstrom]."""
    shape: tuple[int, int] = (120, 120)
    """Rows and columns of the image."""
    slice_thickness: float = 2.0
    """Of the multislice [angstrom]."""
    slices: int = 24
    """Number of slices; atoms beyond the last are left out."""
    absorption: float = 0.03
    """Imaginary part of the potential as a share of its real part."""
    vibration: float = VIBRATION
    """Rms displacement of atoms along one axis [angstrom]."""
    tilt: tuple[float, float] = (0.0, 0.0)
    """Of the beam along y and x [degrees]."""
    seed: int = 0
    """Of what the structure leaves to chance."""

    @property
    def grid(self) -> tuple[int, int]:
        """Points of the simulation's grid."""
        ny, nx = self.shape
        return OVERSAMPLING * (ny + 2 * MARGIN), OVERSAMPLING * (nx + 2 * MARGIN)

    @property
    def sampling(self) -> float:
        """Distance of the simulation's grid points [angstrom]."""
        return self.pixel_size / OVERSAMPLING

    @property
    def box(self) -> tuple[float, float]:
        """Extent of the simulated box along y and x [angstrom]."""
        return self.grid[0] * self.sampling, self.grid[1] * self.sampling


@dataclass(frozen=True)
class Fluctuations:
    """How a movie of a scene moves: surface columns that come and go, and drift."""

    frames: int = 40
    """Number of frames."""
    leave: float = 0.05
    """Probability that an occupied surface column empties from one frame to the next."""
    arrive: float = 0.1
    """Probability that an empty one fills."""
    mobile: float = 0.5
    """Share of the surface columns that may change."""
    drift: tuple[float, float] = (0.0, 0.0)
    """Along y and x [angstrom/frame]."""
    jitter: float = 0.0
    """Standard deviation of random shifts from frame to frame [angstrom]."""


def atoms_of(scene: Scene) -> Atoms:
    """Atoms of a scene in its box.

    Args:
        scene: particles, supports and layers.

    Returns:
        The atoms; those of a support or another particle give way to an earlier particle.
    """
    rng = np.random.default_rng(scene.seed)
    box = scene.box
    total: Atoms | None = None
    for particle in scene.particles:
        new = particle_atoms(particle, scene.defects, rng)
        for support in scene.supports:
            # The particle ends where the support begins.
            y, x = new.positions[:, 1], new.positions[:, 2]
            line = support.surface + support.slope * (x - box[1] / 2)
            new = new.keep(y < line - _CONTACT)
        total = new if total is None else total + _apart(new, total)
    for support in scene.supports:
        new = support_atoms(support, box, rng)
        total = new if total is None else total + new
    depth = scene.slices * scene.slice_thickness
    for layer in scene.layers:
        low = rng.uniform(0, max(depth - layer.thickness, 0.0))
        corners = np.array([low, 0, 0]), np.array([low + layer.thickness, *box])
        new = amorphous_atoms(layer.material, *corners, rng)
        total = new if total is None else total + new
    if total is None:
        raise InputError("The scene is empty: give it a particle, a support or a layer.")
    return total


def wave_of(scene: Scene, atoms: Atoms | None = None) -> Complex[Array, "y x"]:
    """Wave behind the structure, on the simulation's grid.

    Args:
        scene: structure and beam.
        atoms: its atoms, where they are known.

    Returns:
        The wave of a plane wave of amplitude one.
    """
    atoms = atoms_of(scene) if atoms is None else atoms
    slices = sliced(
        atoms.symbols, atoms.positions, thickness=scene.slice_thickness, slices=scene.slices
    )
    potential = projected_potential(
        slices,
        dict.fromkeys(slices, scene.vibration),
        shape=scene.grid,
        sampling=scene.sampling,
    )
    return exit_wave(
        potential,
        sampling=scene.sampling,
        thickness=scene.slice_thickness,
        energy=scene.optics.energy,
        tilt=(float(np.deg2rad(scene.tilt[0])), float(np.deg2rad(scene.tilt[1]))),
        absorption=scene.absorption,
    )


def image_of(
    wave: Complex[Array, "y x"], scene: Scene, optics: Optics | None = None
) -> Float[np.ndarray, "y2 x2"]:
    """Clean image of a wave, averaged over pixels.

    Args:
        wave: of `wave_of`.
        scene: pixel and shape.
        optics: another microscope than the scene's.

    Returns:
        Intensity of each pixel; vacuum is 1.
    """
    optics = scene.optics if optics is None else optics
    seen = image(wave, optics.lens(), sampling=scene.sampling, energy=optics.energy)
    return np.asarray(_pixels(seen), np.float32)


def simulate(scene: Scene) -> Float[np.ndarray, "y x"]:
    """Clean image of a scene.

    Args:
        scene: structure and microscope.

    Returns:
        Intensity of each pixel; vacuum is 1.
    """
    return image_of(wave_of(scene), scene)


def simulate_movie(
    scene: Scene, fluctuations: Fluctuations
) -> tuple[Float[np.ndarray, "t y x"], np.ndarray]:
    """Clean movie of a scene whose surface columns come and go, each a two-state Markov chain.

    Args:
        scene: the structure with all of its surface columns.
        fluctuations: rates, drift, number of frames.

    Returns:
        Intensities with vacuum 1, and whether each surface column is there [t, sites].
    """
    atoms = atoms_of(scene)
    rng = np.random.default_rng([scene.seed, 1])
    sites = int(atoms.site.max(initial=-1)) + 1
    mobile = rng.random(sites) < fluctuations.mobile
    share = fluctuations.arrive / max(fluctuations.arrive + fluctuations.leave, 1e-12)
    there = ~mobile | (rng.random(sites) < share)
    place = np.zeros(2)
    frames, states = [], []
    for _ in range(fluctuations.frames):
        present = np.append(there, True)[atoms.site]
        here = atoms.keep(present)
        here = replace(here, positions=here.positions + np.array([0.0, *place]))
        frames.append(image_of(wave_of(scene, here), scene))
        states.append(there.copy())
        change = rng.random(sites)
        moved = np.where(there, change >= fluctuations.leave, change < fluctuations.arrive)
        there = np.where(mobile, moved, there)
        place = place + np.asarray(fluctuations.drift) + fluctuations.jitter * rng.normal(size=2)
    return np.stack(frames), np.stack(states)


def counts_of(
    clean: Float[np.ndarray, "*s"], *, dose: float, pixel_size: float, rng: np.random.Generator
) -> Float[np.ndarray, "*s"]:
    """Electrons counted in each pixel.

    Args:
        clean: intensity, vacuum 1.
        dose: in vacuum [electrons/angstrom²].
        pixel_size: [angstrom].
        rng: of the counts.

    Returns:
        Counts.
    """
    return rng.poisson(np.maximum(clean, 0) * dose * pixel_size**2).astype(np.float32)


# Least distance of a particle's atoms from the line of the support, and from atoms of another particle [angstrom].
_CONTACT, _APART = 1.2, 2.2


def _apart(new: Atoms, old: Atoms) -> Atoms:
    """Atoms that are not close to atoms that are there already."""
    from scipy.spatial import cKDTree

    return new.keep(cKDTree(old.positions).query(new.positions)[0] > _APART)


@jax.jit
def _pixels(fine: Float[Array, "y x"]) -> Float[Array, "y2 x2"]:
    n, m = (side // OVERSAMPLING for side in fine.shape)
    coarse = fine.reshape(n, OVERSAMPLING, m, OVERSAMPLING).mean((1, 3))
    return jnp.asarray(coarse[MARGIN : n - MARGIN, MARGIN : m - MARGIN])
