"""A battery cell in a neutron beam: lithium that diffuses over several cycles, and the counts it leaves.

    u = c/c_max,   ∂u/∂t = ∇·( D(u) ∇u ) + Σₖ aₖ(t) sₖ                      in each electrode
    I = DF + PSF ∗ [ S + D_t I₀ exp(−Σ_cell − σ N_A d c_max u) ],   counts ~ Poisson

Seen from the side, x across the cell: anode with its current collector on the left, separator, cathode. On
charge lithium leaves the cathode and enters the anode, most of it near the separator; on discharge a share
`lost` of it stays behind at the collector. The expected counts are differentiable in every number, so that
an instrument can be fitted as well as a law; counting is separate. Porous electrodes: Newman and Tiedemann,
AIChE J. 21, 25 (1975), doi:10.1002/aic.690210103; neutrons: Siegel et al., J. Electrochem. Soc. 158, A523
(2011), doi:10.1149/1.3566341.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.grid import Grid
from phdenoise.observation.base import Observation, propagate
from phdenoise.observation.blur import Blur
from phdenoise.observation.lithium_change import AVOGADRO, LITHIUM_ABSORPTION
from phdenoise.observation.optical_density import safe_log
from phdenoise.physics import simulate
from phdenoise.physics.boundary_flux import DrivenFickian, layer
from phdenoise.physics.equations.base import reference_mobility
from phdenoise.physics.equations.fickian import Fickian
from phdenoise.physics.mobility import ConstantMobility, LegendreMobility
from phdenoise.types import InputError, Moments

Image = Float[Array, "y x"]


@dataclass(frozen=True)
class CellConfig:
    """The cell and its cycling; lengths in cm, times in hours, concentrations in mol/cm³."""

    shape: tuple[int, int] = (48, 64)
    """Rows along the layers and columns across them [px]."""
    margin: int = 8
    """Rows above the cell that the beam passes freely."""
    pixel_size: float = 0.005
    """Pixel [cm]."""
    layers: tuple[float, float, float] = (0.45, 0.15, 0.40)
    """Shares of the width: anode, separator, cathode."""
    cycles: int = 3
    """Charges, each with its discharge."""
    period: float = 2.0
    """Time of one cycle [h]."""
    frames_per_cycle: int = 16
    """Frames of each cycle."""
    rest: int = 8
    """Frames at rest before the first charge."""
    capacity: float = 0.35
    """Share of the anode's sites filled by a charge."""
    lost: float = 0.12
    """Share of a charge's lithium that stays at the anode's current collector."""
    log_diffusivity: tuple[float, ...] = (-6.9, -0.8)
    """Legendre coefficients of ln D(u) in the electrodes [ln cm²/h]."""
    saturation: float = 0.018
    """c_max, lithium of a full electrode [mol/cm³]."""
    thickness: float = 0.8
    """d, path of the beam through the cell [cm]."""
    heterogeneity: float = 0.2
    """Relative sd of the current along the layers."""
    substeps: int = 6
    """Steps of the solver in a frame interval."""
    seed: int = 0
    """Of the heterogeneity and of the parts of the cell that do not change."""

    @property
    def columns(self) -> tuple[int, int]:
        """First column of the separator and of the cathode."""
        anode = round(self.layers[0] * self.shape[1])
        return anode, anode + round(self.layers[1] * self.shape[1])


class Instrument(Observation):
    """What the beam and the detector make of a cell: filling u <-> counts.

    Attributes:
        beam: I₀, counts of an open pixel in a frame [y, x].
        cell: Σ_cell, attenuation of all that does not change [y, x].
        dark: DF [y, x] [counts].
        scatter: S, counts of scattered neutrons [y, x].
        dose: D_t of each frame relative to the open beam [t].
        blur: sd of the detector's Gaussian point spread [px].
        strength: σ N_A d c_max, attenuation of u = 1.
    """

    beam: Image
    cell: Image
    dark: Image
    scatter: Image
    dose: Float[Array, " t"]
    blur: Array
    strength: Array
    lower = 0.0
    upper = 1.0
    invertible = False

    def observe(self, u: Float[Array | np.ndarray, "t y x"]) -> Float[Array, "t y x"]:
        """Expected counts of a filling u."""
        through = self.beam * jnp.exp(-self.cell)
        clean = jnp.reshape(self.dose, (-1, 1, 1)) * (
            through[None] * jnp.exp(-self.strength * u) + self.scatter[None]
        )
        return self.dark[None] + Blur(self.blur).observe(clean)

    def invert(self, counts: Float[Array | np.ndarray, "t y x"]) -> Float[Array, "t y x"]:
        """Filling of noise-free counts that nothing blurs."""
        same = (jnp.asarray(counts) - self.dark[None]) / jnp.reshape(self.dose, (-1, 1, 1))
        through = jnp.log(self.beam) - self.cell
        return (through[None] - safe_log(same - self.scatter[None])) / self.strength

    def quantify(
        self, counts: Float[Array | np.ndarray, "t y x"], variance: Float[Array | np.ndarray, "..."]
    ) -> Moments:
        """Filling up to the blur, and its variance.

        Args:
            counts: I, dark field and scatter included [t, y, x].
            variance: of I, of the same shape [counts²].

        Returns:
            u and its variance.
        """
        return propagate(self.invert, counts, variance)

    def open_beam(self) -> Image:
        """Expected counts without a cell, at dose 1."""
        return self.dark + Blur(self.blur).observe(self.beam)


def cell_times(config: CellConfig) -> Float[np.ndarray, " t"]:
    """Times of the frames [h]; cycling starts at 0, after the frames at rest."""
    interval = config.period / config.frames_per_cycle
    return interval * np.arange(-config.rest, config.cycles * config.frames_per_cycle + 1)


def current(config: CellConfig) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Knots [h] of the current's polyline and its values, +1 on charge and −1 on discharge.

    It turns within 2 % of a period around each switch.
    """
    half, rise = config.period / 2, 0.01 * config.period
    knots, values = [-2 * rise], [0.0]
    sign = 0.0
    for switch in range(2 * config.cycles + 1):
        knots += [switch * half - rise * (switch > 0), switch * half + rise]
        last = switch == 2 * config.cycles
        after = 0.0 if last else 1.0 - 2.0 * (switch % 2)
        values += [sign, after]
        sign = after
    return np.asarray(knots), np.asarray(values)


def _cell_model(config: CellConfig, log_diffusivity: Array | None = None) -> list[DrivenFickian]:
    """The laws of anode and cathode, each on the columns of its own, in filling u, cm and hours."""
    rng = np.random.default_rng(config.seed)
    knots, sign = current(config)
    q = jnp.asarray(config.log_diffusivity if log_diffusivity is None else log_diffusivity)
    ny, nx = config.shape
    first, last = config.columns
    h = config.pixel_size
    along = _smooth(rng, ny, config.heterogeneity)[:, None]
    # A charge fills `capacity` of the anode on average.
    flux = config.capacity * first * h / (config.period / 2)
    charge, discharge = np.maximum(sign, 0), np.maximum(-sign, 0)
    anode = (ny, first)
    near = np.exp(-(first - 1 - np.arange(first)) / (0.6 * first))
    collector = max(round(0.12 * first), 2)
    cathode = (ny, nx - last)
    return [
        DrivenFickian(
            LegendreMobility(q),
            jnp.asarray(np.stack([layer(anode, h, 0, first, near), layer(anode, h, 0, collector)]) * along),
            jnp.asarray(knots),
            jnp.asarray(
                flux * np.stack([(1 - config.lost) * (charge - discharge), config.lost * charge])
            ),
        ),
        DrivenFickian(
            LegendreMobility(q),
            jnp.asarray(layer(cathode, h, 0, nx - last)[None] * along),
            jnp.asarray(knots),
            jnp.asarray(-flux * (charge - (1 - config.lost) * discharge)[None]),
        ),
    ]  # fmt: skip


def simulate_cell(
    config: CellConfig, log_diffusivity: Float[Array, " n"] | None = None
) -> tuple[Float[np.ndarray, " t"], Float[Array, "t y x"]]:
    """Filling of a cell over its cycles; separator and margin hold none. Differentiable in `log_diffusivity`.

    Args:
        config: the cell.
        log_diffusivity: Legendre coefficients of ln D(u) [ln cm²/h]; those of the cell by default.

    Returns:
        Times [t] [h] and filling u [t, y, x].

    Raises:
        InputError: layers too thin, or fewer than one cycle.
    """
    first, last = config.columns
    if not (first >= 8 and last > first and config.shape[1] - last >= 8):
        raise InputError(f"Layers of {config.columns} columns: an electrode needs 8 or more.")
    if config.cycles < 1 or config.rest < 1 or config.frames_per_cycle < 4:
        raise InputError("A cell needs a cycle or more, of 4 frames or more, and a frame at rest.")
    times = cell_times(config)
    moving = jnp.asarray(times[config.rest :])
    parts = []
    for model, start in zip(_cell_model(config, log_diffusivity), (0.2, 0.9), strict=True):
        shape = (model.places.shape[1], model.places.shape[2])
        grid = Grid(shape, config.pixel_size, "no-flux")
        u0 = jnp.full(shape, start, moving.dtype)
        frames = _solve(model, grid, u0, moving, substeps=config.substeps)
        parts.append(jnp.concatenate([jnp.repeat(u0[None], config.rest, axis=0), frames]))
    gap = jnp.zeros((times.size, config.shape[0], last - first), moving.dtype)
    cell = jnp.concatenate([parts[0], gap, parts[1]], axis=2)
    return times, jnp.pad(cell, ((0, 0), (config.margin, 0), (0, 0)))


def instrument(
    config: CellConfig, dose: float, *, blur: float = 0.7, dark: float = 2.0, scatter: float = 0.03
) -> Instrument:
    """A beam of `dose` counts a pixel and frame, uneven by 10 %, drifting and flickering by 3 %, and the dead parts.

    Args:
        config: the cell.
        dose: mean counts of an open pixel in a frame.
        blur: sd of the point spread [px].
        dark: counts of the dark field.
        scatter: scattered neutrons over the open beam.

    Returns:
        Beam and detector, as an observation of the filling.
    """
    rng = np.random.default_rng(config.seed + 1)
    ny, nx = config.shape[0] + config.margin, config.shape[1]
    y, x = np.mgrid[:ny, :nx] / max(ny, nx)
    beam = dose * (1 + 0.1 * np.cos(2.5 * y + 1) * np.sin(3 * x + 0.5))
    first, last = config.columns
    # Metal foils, polymer and binder: each layer has a level of its own and a grain that stays.
    level = np.full(nx, 0.35)
    level[:first], level[last:] = 0.25, 0.45
    level[:2] += 0.35
    level[-2:] += 0.2
    cell = level + 0.02 * rng.standard_normal((ny, nx))
    cell[: config.margin] = 0
    times = cell_times(config)
    drift = 1 - 0.03 * np.arange(times.size) / times.size + 0.01 * rng.standard_normal(times.size)
    strength = LITHIUM_ABSORPTION * AVOGADRO * config.thickness * config.saturation
    array = partial(jnp.asarray, dtype=jnp.result_type(float))
    return Instrument(
        array(beam),
        array(cell),
        array(np.full((ny, nx), dark)),
        array(scatter * dose * (1 + 0.2 * y)),
        array(drift),
        array(blur),
        array(strength),
    )


@partial(jax.jit, static_argnames="substeps")
def _solve(model: DrivenFickian, grid: Grid, u0: Array, times: Array, *, substeps: int) -> Array:
    # The implicit part must be as fast as the fastest filling on the way, not only as the first one.
    levels = jnp.linspace(0, 1, u0.size, dtype=u0.dtype).reshape(u0.shape)
    top = jnp.max(model.diffusivity(levels))
    reference = reference_mobility(Fickian(ConstantMobility(top)), grid, u0)
    return simulate(model, grid, u0, times, substeps=substeps, reference=reference, uniform=True)


def _smooth(rng: np.random.Generator, count: int, sd: float) -> Float[np.ndarray, " y"]:
    """1 + a slow wave of mean 0 and standard deviation sd."""
    phase = rng.uniform(0, 2 * np.pi, 2)
    y = 2 * np.pi * (np.arange(count) + 0.5) / count
    wave = np.sin(y + phase[0]) + 0.5 * np.sin(2 * y + phase[1])
    return 1 + sd * wave / wave.std()
