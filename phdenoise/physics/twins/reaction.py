"""A simulated movie of a field that is not conserved: Allen-Cahn from a smooth random start.

    ∂c/∂t = −M₀ [ ln(c/(1−c)) + Ω(1−2c) + g − κ∇²c ]

Domains of the two phases form where the start leans to either; g makes one of them win.
Allen & Cahn, Acta Metall. 27, 1085 (1979), doi:10.1016/0001-6160(79)90196-2.
"""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from phdenoise.grid import Grid
from phdenoise.physics.equations.allen_cahn import AllenCahn
from phdenoise.physics.free_energies.regular_solution import LegendreEnthalpy
from phdenoise.physics.mobility import ConstantMobility
from phdenoise.physics.twins.transport import Times, movie
from phdenoise.types import Frames


@dataclass(frozen=True)
class ReactionTwinConfig:
    """The Allen-Cahn twin.

    Attributes:
        shape: cells (ny, nx).
        pixel_size: dx = dy [length].
        frames: number of frames, evenly spaced from 0 to t_end.
        t_end: last time.
        omega: interaction Ω [kT].
        drive: g [kT]; positive empties.
        kappa: gradient coefficient [kT length²].
        mobility: M₀ [1/time].
        mean, amplitude: average and standard deviation of the start.
        smooth: correlation length of the start [cells].
        substeps: steps per frame.
        dtype: "float32" or "float64" (the latter needs JAX's x64 switch).
    """

    shape: tuple[int, int] = (64, 64)
    pixel_size: float = 0.01
    frames: int = 40
    t_end: float = 2.0
    omega: float = 3.0
    drive: float = 0.02
    kappa: float = 0.002
    mobility: float = 1.0
    mean: float = 0.5
    amplitude: float = 0.1
    smooth: float = 3.0
    substeps: int = 8
    dtype: Literal["float32", "float64"] = "float32"

    @property
    def grid(self) -> Grid:
        """Periodic grid."""
        return Grid(self.shape, self.pixel_size, "periodic")

    @property
    def model(self) -> AllenCahn:
        """The law."""
        enthalpy = LegendreEnthalpy(jnp.asarray([self.drive, -self.omega]))
        return AllenCahn(
            enthalpy, ConstantMobility(jnp.asarray(self.mobility)), jnp.asarray(self.kappa)
        )


def allen_cahn_twin(
    key: PRNGKeyArray, config: ReactionTwinConfig | None = None
) -> tuple[Times, Frames]:
    """Times [t] and clean frames [t, y, x] of domains that grow and coarsen.

    Args:
        key: of the first field.
        config: by default that of `ReactionTwinConfig`.

    Returns:
        Times [t] and frames [t, y, x].

    Raises:
        InputError: if the solution diverges.
    """
    config = ReactionTwinConfig() if config is None else config
    ny, nx = config.shape
    white = jax.random.normal(key, config.shape, dtype=config.dtype)
    ky, kx = jnp.fft.fftfreq(ny)[:, None], jnp.fft.rfftfreq(nx)[None]
    filtered = jnp.exp(-2 * (jnp.pi * config.smooth) ** 2 * (ky**2 + kx**2))
    wave = jnp.fft.irfft2(jnp.fft.rfft2(white) * filtered, s=config.shape)
    wave = (wave - jnp.mean(wave)) / jnp.std(wave)
    c0 = jnp.clip(config.mean + config.amplitude * wave, 0.02, 0.98).astype(config.dtype)
    return movie(config, c0)
