"""Simulated movies whose law is known: what a denoiser and a fit are tested on.

    Cahn-Hilliard   μ_h = ln(c/(1−c)) + Ω(1−2c),  D = D₀ c(1−c) or D₀, or both with terms of higher degree,
                    from a noisy uniform field
    Fickian         D = exp(Σ qₙ Pₙ(2c−1)),  no-flux box,  from a band and discs

Defaults of the first are those of arXiv:2510.27667 on its longer window; its steps are accurate to 1e-4 of the frames'
norm (measured against eight times smaller ones, in double precision; single adds 2e-4, rounding that decomposition
amplifies).
"""

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from phdenoise.grid import Grid
from phdenoise.physics.equations.base import Law
from phdenoise.physics.equations.cahn_hilliard import CahnHilliard
from phdenoise.physics.equations.fickian import Fickian
from phdenoise.physics.free_energies.regular_solution import (
    FreeEnergy,
    LegendreEnthalpy,
    RegularSolution,
)
from phdenoise.physics.mobility import (
    ConstantMobility,
    DegenerateMobility,
    LegendreMobility,
    Mobility,
)
from phdenoise.physics.simulate import diverged, simulate
from phdenoise.types import Frames, InputError

Times = Float[Array, " t"]

# Doublings of the first step for a start with white noise (`SimulateOptions.ramp`): the shortest wave of the default
# twin decays within 2⁻¹⁰ of a step.
RAMP = 10


@dataclass(frozen=True)
class TwinConfig:
    """The Cahn-Hilliard twin.

    Attributes:
        shape: cells (ny, nx).
        pixel_size: dx = dy [length].
        frames: number of frames, evenly spaced from 0 to t_end.
        t_end: last time.
        omega: interaction Ω [kT].
        kappa: gradient coefficient [kT length²].
        mobility: D₀ [length²/time].
        degenerate: D = D₀ c(1−c) rather than D₀.
        bends: terms p₂, p₃ … of Σ pₙ Pₙ(2c−1) in μ_h [kT].
        log_mobility: terms q₁, q₂ … of a factor exp(Σ qₙ Pₙ(2c−1)) of D.
        mean: average concentration at the start.
        amplitude: standard deviation of the white noise on it.
        substeps: steps per frame; 8 hold 1e-4 for the other defaults (4: 3e-4, 2: 1.5e-3).
        dtype: "float32" or "float64" (the latter needs JAX's x64 switch).
    """

    shape: tuple[int, int] = (128, 128)
    pixel_size: float = 0.01
    frames: int = 100
    t_end: float = 0.2
    omega: float = 3.0
    kappa: float = 0.002
    mobility: float = 1.0
    degenerate: bool = True
    bends: tuple[float, ...] = ()
    log_mobility: tuple[float, ...] = ()
    mean: float = 0.5
    amplitude: float = 0.01
    substeps: int = 8
    dtype: Literal["float32", "float64"] = "float32"

    @property
    def grid(self) -> Grid:
        """Periodic grid."""
        return Grid(self.shape, self.pixel_size, "periodic")

    @property
    def model(self) -> CahnHilliard:
        """The law."""
        free_energy: FreeEnergy = RegularSolution(jnp.asarray(self.omega))
        if self.bends:
            free_energy = LegendreEnthalpy(jnp.asarray([0.0, -self.omega, *self.bends]))
        simple = DegenerateMobility if self.degenerate else ConstantMobility
        mobility: Mobility = simple(jnp.asarray(self.mobility))
        if self.log_mobility:
            terms = jnp.asarray([np.log(self.mobility), *self.log_mobility])
            mobility = LegendreMobility(terms, "degenerate" if self.degenerate else "constant")
        return CahnHilliard(free_energy, mobility, jnp.asarray(self.kappa))

    def curves(self, c: Float[np.ndarray, " n"]) -> tuple[np.ndarray, np.ndarray]:
        """μ_h(c) − μ_h(½) [kT] and D(c) of the law for c in (0, 1), in double precision."""
        mu, factor = (
            np.polynomial.legendre.Legendre(terms)
            for terms in ([0.0, -self.omega, *self.bends], [0.0, *self.log_mobility])
        )
        d = self.mobility * np.exp(factor(2 * c - 1)) * (c * (1 - c) if self.degenerate else 1.0)
        return np.log(c / (1 - c)) + mu(2 * c - 1) - mu(0.0), d


@dataclass(frozen=True)
class FickianTwinConfig:
    """The Fickian twin.

    Attributes:
        shape: cells (ny, nx).
        pixel_size: dx = dy [length].
        frames: number of frames, evenly spaced from 0 to t_end.
        t_end: last time.
        log_diffusivity: q₀, q₁, … of D = exp(Σ qₙ Pₙ(2c−1)) [ln length²/time].
        low, high: concentrations outside and inside the band and the discs.
        discs: number of discs at random places.
        substeps: steps per frame.
        dtype: "float32" or "float64" (the latter needs JAX's x64 switch).
    """

    shape: tuple[int, int] = (64, 64)
    pixel_size: float = 1.0
    frames: int = 40
    t_end: float = 200.0
    log_diffusivity: tuple[float, ...] = (0.0, 0.7)
    low: float = 0.1
    high: float = 0.9
    discs: int = 3
    substeps: int = 8
    dtype: Literal["float32", "float64"] = "float32"

    @property
    def grid(self) -> Grid:
        """Closed box."""
        return Grid(self.shape, self.pixel_size, "no-flux")

    @property
    def model(self) -> Fickian:
        """The law."""
        return Fickian(LegendreMobility(jnp.asarray(self.log_diffusivity)))


def cahn_hilliard_twin(key: PRNGKeyArray, config: TwinConfig | None = None) -> tuple[Times, Frames]:
    """Times [t] and clean frames [t, y, x] of spinodal decomposition.

    Args:
        key: of the first field.
        config: by default that of `TwinConfig`.

    Returns:
        Times [t] and frames [t, y, x].

    Raises:
        InputError: if the solution diverges.
    """
    config = TwinConfig() if config is None else config
    noise = jax.random.normal(key, config.shape, dtype=config.dtype)
    c0 = jnp.clip(config.mean + config.amplitude * noise, 0, 1)
    return movie(config, c0, RAMP)


def fickian_twin(
    key: PRNGKeyArray, config: FickianTwinConfig | None = None
) -> tuple[Times, Frames]:
    """Times [t] and clean frames [t, y, x] of diffusion with a concentration-dependent D.

    Args:
        key: of the first field.
        config: by default that of `FickianTwinConfig`.

    Returns:
        Times [t] and frames [t, y, x].

    Raises:
        InputError: if the solution diverges.
    """
    config = FickianTwinConfig() if config is None else config
    ny, nx = config.shape
    y, x = jnp.meshgrid(jnp.arange(ny) + 0.5, jnp.arange(nx) + 0.5, indexing="ij")
    size = min(ny, nx)
    place_key, radius_key = jax.random.split(key)
    places = jax.random.uniform(place_key, (config.discs, 2), minval=0.1, maxval=0.9)
    radii = jax.random.uniform(radius_key, (config.discs,), minval=0.06, maxval=0.15) * size
    # Signed distances, and edges two cells wide: a jump of one cell would be a feature of the grid.
    distances = [x - 0.15 * nx]
    for n in range(config.discs):
        distances.append(jnp.hypot(y - places[n, 0] * ny, x - places[n, 1] * nx) - radii[n])
    inside = jax.nn.sigmoid(-jnp.min(jnp.stack(distances), axis=0))
    c0 = (config.low + (config.high - config.low) * inside).astype(config.dtype)
    return movie(config, c0)


@runtime_checkable
class Twin(Protocol):
    """What `movie` needs of a twin's configuration; see `TwinConfig`."""

    @property
    def frames(self) -> int: ...
    @property
    def t_end(self) -> float: ...
    @property
    def substeps(self) -> int: ...
    @property
    def dtype(self) -> str: ...
    @property
    def grid(self) -> Grid: ...
    @property
    def model(self) -> Law: ...


def movie(config: Twin, c0: Array, ramp: int = 0) -> tuple[Times, Frames]:
    """Times [t] and clean frames [t, y, x] of a twin from its first field.

    Args:
        config: of the twin.
        c0: first field [y, x].
        ramp: see `SimulateOptions`.

    Returns:
        Times [t] and frames [t, y, x].

    Raises:
        InputError: the field is not of the twin's precision, or the solution diverges.
    """
    if str(c0.dtype) != config.dtype:
        raise InputError(
            f"The twin asks for {config.dtype} but JAX gives {c0.dtype}: enable x64 first."
        )
    times = jnp.linspace(0, config.t_end, config.frames, dtype=config.dtype)
    frames = _solve(config.model, config.grid, c0, times, substeps=config.substeps, ramp=ramp)
    if bool(diverged(frames)):
        raise InputError(
            f"The twin diverges with {config.substeps} substeps per frame: raise them."
        )
    return times, frames


_solve = jax.jit(simulate, static_argnames=("substeps", "ramp"))
