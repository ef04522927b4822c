"""A packed bed of graphite particles that fill through their rims at one voltage.

    ∂cᵢ/∂t = ∇·( D₀ cᵢ(1−cᵢ) ∇μᵢ ) + k_p |∂| R(cᵢ, μᵢ + V),   μᵢ of two layers (`phdenoise.physics.free_energies.graphite`), i = 1, 2

|∂| is the length of rim per area of a cell and k_p the rate constant of its particle, drawn at random; V is such that
the bed as a whole fills at a given rate. Current and voltage are shared, so particles fill one after the other, and in
each a front of stage 2 and then one of stage 1 runs from the rim to the middle.

The steps are adaptive, with the spectral radius of the law as it stands, which grows twentyfold where the last empty
core of a particle meets full cells: a radius from cells alone misses that, and the solve diverges there. The current
has to stay below what diffusion takes away from the rims; where it does not, V runs away and the solve ends with a
sentence, not with numbers. Steps keep linear invariants, so the charge passed is the lithium found to rounding.
Smith, Khoo & Bazant, J. Phys. Chem. C 121, 12505 (2017), doi:10.1021/acs.jpcc.7b00185.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy import ndimage

from phdenoise.grid import Grid
from phdenoise.physics.adaptive import integrate
from phdenoise.physics.equations.reaction import CahnHilliardReaction, ConstantCurrent
from phdenoise.physics.free_energies.graphite import TwoLayers
from phdenoise.physics.kinetics import ExchangeCurrent, SymmetricButlerVolmer
from phdenoise.physics.mobility import DegenerateMobility
from phdenoise.physics.particle import rim
from phdenoise.types import InputError


@dataclass(frozen=True)
class BedConfig:
    """A bed of graphite at constant current. The cell is the unit of length; time is in cell²/D₀.

    Attributes:
        shape: cells (ny, nx).
        particles: how many, packed at random.
        gap: width of the pores between them [cells].
        frames: number of frames, evenly spaced over the charge.
        empty, full: lithium fraction x of the bed in the first and the last frame.
        duration: of the charge [cell²/D₀].
        reaction: median rate constant k_p of the rims [cell/time].
        spread: standard deviation of ln k_p.
        kappa: gradient coefficient [kT cell²]; it sets the width of fronts, a few cells.
        rtol: relative tolerance of the steps.
        seed: of packing, rate constants and the start.
    """

    shape: tuple[int, int] = (96, 96)
    particles: int = 9
    gap: float = 2.0
    frames: int = 40
    empty: float = 0.03
    full: float = 0.9
    duration: float = 3000.0
    reaction: float = 0.2
    spread: float = 0.3
    kappa: float = 4.0
    rtol: float = 1e-2
    seed: int = 0


class Bed(NamedTuple):
    """A simulated bed.

    Attributes:
        times: of the frames [t] [cell²/D₀].
        layers: c₁ and c₂ [t, 2, y, x], 0 in the pores.
        labels: number of the particle of each cell from 1, 0 in the pores [y, x].
        voltage: V [t] [kT/e].
        model, grid: what was solved.
        steps: accepted and rejected.
    """

    times: np.ndarray
    layers: np.ndarray
    labels: np.ndarray
    voltage: np.ndarray
    model: CahnHilliardReaction
    grid: Grid
    steps: tuple[int, int]

    @property
    def fraction(self) -> Float[np.ndarray, "t y x"]:
        """x of Li_x C₆, the mean of both layers; 0 in the pores."""
        return self.layers.mean(axis=1)


def graphite_bed(config: BedConfig | None = None) -> Bed:
    """Fill a bed of graphite at constant current.

    Raises:
        InputError: particles that find no room, an impossible charge, or a current beyond what diffusion carries.
    """
    config = BedConfig() if config is None else config
    if not 0 < config.empty < config.full < 1:
        raise InputError(
            f"A bed fills from empty to full, 0 < empty < full < 1: got {config.empty} and {config.full}."
        )
    if config.frames < 2 or not (config.duration > 0 and config.reaction > 0):
        raise InputError("A bed needs 2 frames or more, and a positive duration and reaction.")
    random = np.random.default_rng(config.seed)
    labels = packed_particles(random, config.shape, config.particles, config.gap)
    mask = labels > 0
    grid = Grid(config.shape, 1.0, "no-flux", mask)
    own = config.reaction * np.exp(config.spread * random.standard_normal(int(labels.max()) + 1))
    model = bed_model(
        grid, own[labels], (config.full - config.empty) / config.duration, config.kappa
    )
    # One layer ahead of the other everywhere: which of the two fills first would else be left to rounding.
    ahead = np.array([1.4, 0.6])[:, None, None] * config.empty
    noise = 0.05 * config.empty * random.standard_normal((2, *config.shape))
    c0 = jnp.asarray(np.where(mask, ahead + noise, 0.0), jnp.result_type(float))
    times = np.linspace(0, config.duration, config.frames)
    found = integrate(model, grid, c0, times, rtol=config.rtol, atol=0.1 * config.rtol)
    layers = found.checked()
    voltage = jax.lax.map(lambda c: model.voltage(c, grid), layers)
    # The outside holds what it began with, 0.
    return Bed(
        times, np.asarray(layers), labels, np.asarray(voltage), model, grid,
        (int(found.accepted), int(found.rejected)),
    )  # fmt: skip


def bed_model(
    grid: Grid, reaction: Float[np.ndarray, "y x"], rate: float, kappa: float
) -> CahnHilliardReaction:
    """The law of a bed, with D₀ = 1.

    Args:
        grid: domain with the mask of the particles.
        reaction: rate constants of the rims [y, x] [cell/time].
        rate: dx/dt of the whole bed [1/time].
        kappa: gradient coefficient [kT cell²].

    Returns:
        A law of two layers.
    """
    return CahnHilliardReaction(
        TwoLayers(),
        SymmetricButlerVolmer(ExchangeCurrent(jnp.asarray(0.5), jnp.asarray(0.5))),
        ConstantCurrent(jnp.asarray(rate)),
        jnp.asarray(kappa),
        jnp.asarray(reaction) * rim(grid),
        DegenerateMobility(jnp.asarray(1.0)),
    )


def packed_particles(
    random: np.random.Generator, shape: tuple[int, int], count: int, gap: float
) -> np.ndarray:
    """Labels [y, x] of rounded polygons that fill the box but for pores: Voronoi cells of evened-out seeds.

    Args:
        random: source of the seeds.
        shape: cells (ny, nx).
        count: particles.
        gap: width of the pores [cells].

    Returns:
        Number of the particle of each cell from 1, 0 in the pores [y, x].

    Raises:
        InputError: particles of which nothing is left between the pores.
    """
    if count < 1:
        raise InputError(f"A bed needs a particle or more, got {count}.")
    points = random.uniform((0, 0), shape, (count, 2))
    cells = np.moveaxis(np.indices(shape), 0, -1) + 0.5
    for _ in range(12):  # Lloyd's iteration, a step short of regular
        nearest = _distances(cells, points).argmin(axis=-1)
        with np.errstate(
            invalid="ignore"
        ):  # a seed without a cell stays where it is put: at the corner
            centre = ndimage.center_of_mass(np.ones(shape), nearest, range(count))
        points = points + 0.8 * (np.nan_to_num(np.asarray(centre)) + 0.5 - points)
    away = np.sort(_distances(cells, points), axis=-1)
    nearest = _distances(cells, points).argmin(axis=-1)
    labels = np.zeros(shape, int)
    edge = np.minimum(cells, np.asarray(shape) - cells).min(axis=-1)
    inner = edge > gap
    if count > 1:
        # Half the difference of distances is the distance from the bisector, to first order.
        inner &= (away[..., 1] - away[..., 0]) / 2 > gap / 2
    for k in range(count):
        own = inner & (nearest == k)
        # Corners are rounded by an opening, and only one piece stays.
        radius = 0.35 * np.sqrt(own.sum() / np.pi)
        inside = ndimage.distance_transform_edt(np.pad(own, 1))[1:-1, 1:-1]
        core = inside > radius
        own &= ndimage.distance_transform_edt(~core) < radius if core.any() else False
        pieces, number = ndimage.label(own)
        if number == 0:
            raise InputError(
                f"{count} particles with pores of {gap:g} cells do not fit into {shape[0]} x {shape[1]} cells: "
                "fewer particles or narrower pores."
            )
        largest = 1 + np.argmax(ndimage.sum_labels(own, pieces, range(1, number + 1)))
        labels[pieces == largest] = k + 1
    return labels


def _distances(cells: np.ndarray, points: np.ndarray) -> np.ndarray:
    return np.linalg.norm(cells[..., None, :] - points, axis=-1)
