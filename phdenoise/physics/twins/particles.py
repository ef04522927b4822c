"""Simulated particles whose reaction is known.

    lithium iron phosphate   ∂c/∂t = k(x,y) j₀(c) [exp(−η/2) − exp(η/2)],  j₀ = √c (1−c),  Ω = 4.47, one current

k(x,y) is a draw of the smooth prior of `phdenoise.physics.particle`. Zhao et al., Nature 621, 289 (2023),
doi:10.1038/s41586-023-06393-x.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from phdenoise.grid import Grid
from phdenoise.physics.equations.reaction import AllenCahnReaction, ConstantCurrent
from phdenoise.physics.free_energies.regular_solution import RegularSolution
from phdenoise.physics.kinetics import ExchangeCurrent, SymmetricButlerVolmer
from phdenoise.physics.particle import Heterogeneity, disc, heterogeneity, rim
from phdenoise.physics.simulate import diverged, simulate
from phdenoise.physics.steppers.base import as_dtype
from phdenoise.physics.steppers.rkc2 import RKC2
from phdenoise.types import InputError


@dataclass(frozen=True)
class ParticleTwinConfig:
    """A disc of lithium iron phosphate at constant current.

    Attributes:
        shape: cells (ny, nx).
        radius: of the disc [cells]; the cell is the unit of length.
        frames: number of frames, evenly spaced over the charge.
        rate: d⟨c⟩/dt in units of k₀.
        empty, full: mean c of the first and the last frame, before the seed.
        seed: added to c in the outermost ring of cells.
        omega: interaction Ω [kT].
        kappa: gradient coefficient [kT cell²].
        modes: of k(x,y).
        length: over which ln k is smooth [cells].
        spread: standard deviation of ln k.
        substeps, stages: of the stabilised explicit steps.
        dtype: "float32" or "float64" (the latter needs JAX's x64 switch).
    """

    shape: tuple[int, int] = (64, 64)
    radius: float = 26.0
    frames: int = 64
    rate: float = 0.1
    empty: float = 0.01
    full: float = 0.95
    seed: float = 0.2
    omega: float = 4.47
    kappa: float = 4.0
    modes: int = 40
    length: float = 8.0
    spread: float = 0.4
    substeps: int = 8
    stages: int = 12
    dtype: Literal["float32", "float64"] = "float32"


class ParticleTwin(NamedTuple):
    """A simulated particle and its law.

    Attributes:
        times: [t], in units of 1/k₀.
        frames: c [t, y, x].
        voltage: V at each frame [t] [kT/e].
        model, grid: what was solved; the mask is that of the grid.
    """

    times: Float[Array, " t"]
    frames: Float[Array, "t y x"]
    voltage: Float[Array, " t"]
    model: AllenCahnReaction
    grid: Grid


def particle_twin(key: PRNGKeyArray, config: ParticleTwinConfig | None = None) -> ParticleTwin:
    """One particle filling at constant current, its k(x,y) drawn from the prior.

    Args:
        key: of the draw.
        config: by default the particle of `ParticleTwinConfig`.

    Returns:
        Frames, voltage and law.

    Raises:
        InputError: if the solution diverges.
    """
    config = ParticleTwinConfig() if config is None else config
    grid = Grid(config.shape, 1.0, "no-flux", disc(config.shape, config.radius))
    uniform = heterogeneity(grid, config.modes, length=config.length, sd=config.spread)
    draw = jax.random.normal(key, (config.modes,), uniform.modes.dtype)
    model = AllenCahnReaction(
        RegularSolution(jnp.asarray(config.omega)),
        SymmetricButlerVolmer(ExchangeCurrent()),
        ConstantCurrent(jnp.asarray(config.rate)),
        jnp.asarray(config.kappa),
        Heterogeneity(draw, uniform.modes, uniform.scale),
    )
    edge = jnp.where(rim(grid) > 0, config.seed, 0.0)
    c0 = (config.empty + edge).astype(config.dtype)
    filled = float(model.filling(c0, grid))
    if filled >= config.full:
        raise InputError(f"The seed fills the particle to {filled:.2f}, beyond {config.full}.")
    return _run(config, model, grid, c0, (config.full - filled) / config.rate)


def _run(
    config: ParticleTwinConfig,
    model: AllenCahnReaction,
    grid: Grid,
    c0: Array,
    span: float,
) -> ParticleTwin:
    if str(c0.dtype) != config.dtype:
        raise InputError(
            f"The twin asks for {config.dtype} but JAX gives {c0.dtype}: enable x64 first."
        )
    times = jnp.linspace(0, span, config.frames, dtype=config.dtype)
    model, grid = as_dtype(model, c0.dtype), as_dtype(grid, c0.dtype)
    stepper = RKC2(config.stages)
    frames = simulate(model, grid, c0, times, substeps=config.substeps, stepper=stepper)
    if bool(diverged(frames, model, grid)):
        raise InputError("The twin diverges: raise its substeps or stages.")
    voltage = jax.lax.map(lambda c: model.voltage(c, grid), frames)
    return ParticleTwin(times, frames, voltage, model, grid)
