"""Allen-Cahn: relaxation down the chemical potential; nothing is conserved.

    ∂c/∂t = −M(c) [ μ_h(c) − κ∇²c ]

Allen & Cahn, Acta Metall. 27, 1085 (1979), doi:10.1016/0001-6160(79)90196-2.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.grid import Flux, Grid
from phdenoise.physics.equations.base import (
    Curve,
    Reference,
    Starts,
    largest_symbol,
    representative,
)
from phdenoise.physics.equations.phase_field import PhaseField
from phdenoise.physics.equations.regression import SLOWEST, regular_solution, weak_form
from phdenoise.physics.free_energies.phases import Number, driven_phases, potential_of
from phdenoise.physics.law_parameters import ENERGY, RATE, part
from phdenoise.physics.mobility import Mobility
from phdenoise.physics.operators import laplacian
from phdenoise.types import Field, InputError, Scalar


class AllenCahn(PhaseField):
    """∂c/∂t = −M(c) [ μ_h(c) − κ∇²c ].

    Args:
        free_energy: homogeneous part, e.g. `DoubleWell`; a constant of μ_h drives the field.
        mobility: M(c) [1/time].
        kappa: gradient coefficient [kT length²].
    """

    mobility: Mobility = part(RATE, "M")

    label = "allen-cahn"
    title = "Allen-Cahn"

    def rhs(self, t: Scalar, c: Field, grid: Grid) -> Field:
        """−M(c) [ μ_h(c) − κ∇²c ] [1/time]."""
        if any(isinstance(face, Flux) for pair in grid.faces for face in pair):
            raise InputError(
                "Allen-Cahn transports nothing, so a Flux face has no meaning: use NoFlux or Fixed."
            )
        mu = self.free_energy.chemical_potential(c) - self.kappa * laplacian(c, grid)
        return -self.mobility(c) * mu

    def split(
        self, grid: Grid, reference: Reference
    ) -> tuple[Float[Array, "*k"], Float[Array, "*k"]] | None:
        """G = −M for a constant M and faces that are not open."""
        return self.product_split(AllenCahn, 0, grid, reference)

    def reference(self, c: Field, grid: Grid) -> Reference:
        """(0, M* κ, 0) with M* the mean mobility, or half the largest where that is more."""
        m = representative(self.mobility(c), grid)
        return Reference(jnp.zeros_like(m), m * self.kappa, jnp.zeros_like(m))

    def spectral_radius(self, c: Field, grid: Grid) -> Scalar:
        """max M |f″| + max M κλ at the shortest wave."""
        m = self.mobility(c)
        stiff = jnp.max(m * jnp.abs(self.free_energy.curvature(c)))
        return stiff + largest_symbol(grid, c) * self.kappa * jnp.max(m)

    def curves(self) -> tuple[Curve, ...]:
        """μ_h, and M in the column "D" that all laws with a mobility fill."""
        return (
            Curve("mu_h", self.free_energy.chemical_potential, "mu_h", ENERGY),
            Curve("D", self.mobility, "M", RATE, logarithmic=True),
        )

    def derived(self) -> dict[str, Number]:
        """Phases that nothing drives, spinodals, and the driving force of their front."""
        return driven_phases(potential_of(self.free_energy))

    def starts(
        self, frames: Float[np.ndarray, "t y x"], times: Float[np.ndarray, " t"], grid: Grid
    ) -> Starts:
        """The regular solution with constant mobility M that explains the smoothed movie, and laws about it.

            ∂c/∂t = −M ln(c/(1−c)) − Mp₀ + MΩ(2c−1) + Mκ ∇²c

        is linear in (M, Mp₀, MΩ, Mκ). The driving force p₀ is left to the descent."""
        found = weak_form(frames, times, grid)
        middle, inside = found.middle, found.inside
        features = (
            -np.log(inside / (1 - inside)),
            -np.ones_like(middle),
            2 * middle - 1,
            found.curvature,
        )
        m, _, m_omega, m_kappa = found.regress(*features)
        size = float(np.abs(found.rate).mean() / (np.abs(middle - middle.mean()).mean() + 1e-12))
        numbers = regular_solution(m, m_omega, m_kappa, max(size, SLOWEST))
        return Starts(self.resembling(*numbers), self.around(*numbers))

    def caveat(self, held: tuple[str, ...]) -> str:
        """What rests on how strongly the bends of μ_h are held."""
        if "p" not in held:
            return ""
        return "The movie shows M mu_h and M kappa; their split rests on the former."
