"""Fickian diffusion, with a source.

    ∂c/∂t = ∇·( D(c) ∇c ) + S

Fick, Ann. Phys. 170, 59 (1855), doi:10.1002/andp.18551700105.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.grid import Grid
from phdenoise.physics.boundary_conditions import edge_inflow
from phdenoise.physics.equations.base import (
    Curve,
    Law,
    Reference,
    Starts,
    largest_symbol,
    representative,
)
from phdenoise.physics.equations.phase_field import MOBILITIES
from phdenoise.physics.equations.regression import weak_form
from phdenoise.physics.law_parameters import DIFFUSIVITY, ENERGY, RATE, data, part
from phdenoise.physics.mobility import LocalMobility, Mobility
from phdenoise.physics.operators import flux_divergence, integral
from phdenoise.types import Field, Scalar

# Least diffusivity of the regression, as a share of mean |∂c/∂t| over mean |∇²c|: below it noise has hidden the slope.
LEAST_SLOPE = 0.05


class Fickian(Law):
    """∂c/∂t = ∇·( D(c) ∇c ) + S.

    Args:
        diffusivity: D(c) [length²/time].
        source: S, a number or a field, never free [1/time].
    """

    diffusivity: Mobility = part(DIFFUSIVITY, "D")
    source: Float[Array, ""] | Field = data(RATE, default=0.0)

    label = "fickian"
    title = "Fickian diffusion"
    conserved = True

    def rhs(self, t: Scalar, c: Field, grid: Grid) -> Field:
        """∇·( D(c) ∇c ) + S [1/time]."""
        inner = flux_divergence(self.diffusivity(c), c, grid) + self.source
        return inner + edge_inflow(self.diffusivity, c, lambda g: g, grid) if grid.open else inner

    def reference(self, c: Field, grid: Grid) -> Reference:
        """(0, D*, 0) with D* the mean diffusivity, or half the largest where that is more."""
        m = representative(self.diffusivity(c), grid)
        return Reference(jnp.zeros_like(m), m, jnp.zeros_like(m))

    def spectral_radius(self, c: Field, grid: Grid) -> Scalar:
        """max D · λ at the shortest wave."""
        return largest_symbol(grid, c) * jnp.max(self.diffusivity(c))

    def energy(self, c: Field, grid: Grid) -> Scalar:
        """½ ∫c², non-increasing without a source."""
        return 0.5 * integral(c**2, grid)

    def curves(self) -> tuple[Curve, ...]:
        """D, and zero in the column "mu_h" that all laws of transport fill."""
        return (
            Curve("mu_h", jnp.zeros_like, "mu_h", ENERGY, known=True),
            Curve("D", self.diffusivity, "D", DIFFUSIVITY, logarithmic=True),
        )

    def starts(
        self, frames: Float[np.ndarray, "t y x"], times: Float[np.ndarray, " t"], grid: Grid
    ) -> Starts:
        """The constant D that explains the smoothed movie, ∂c/∂t = D ∇²c, and laws about it."""
        found = weak_form(frames, times, grid)
        x, y = found.weak(found.curvature), found.weak(found.rate)
        slope = float(x @ y / (x @ x + 1e-30))
        size = slope if slope > LEAST_SLOPE * found.scale else found.scale
        return Starts(self._resized(size), tuple(self._resized(size * a) for a in MOBILITIES))

    def over(self, low: float, high: float) -> "Fickian":
        """With the series of D over these concentrations."""
        same = self.diffusivity
        law = getattr(same, "over", lambda *_: same)(low, high)
        return Fickian(law, self.source, fixed=self.fixed)

    def with_place(self, factor: Field) -> "Fickian":
        """The same with D(c) times a factor of each cell [y, x]."""
        return Fickian(LocalMobility(self.diffusivity, factor), self.source, fixed=self.fixed)

    def _resized(self, size: float) -> "Fickian":
        """The member of this family that is nearest to a constant D [length²/time]."""
        law = getattr(self.diffusivity, "resized", lambda _: self.diffusivity)(size)
        return Fickian(law, self.source, fixed=self.fixed)
