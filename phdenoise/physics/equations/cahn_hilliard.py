"""Cahn-Hilliard: transport down the gradient of the chemical potential, with gradient energy.

    ∂c/∂t = ∇·( D(c) ∇[ μ_h(c) − κ∇²c ] )

Cahn & Hilliard, J. Chem. Phys. 28, 258 (1958), doi:10.1063/1.1744102.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.grid import Grid
from phdenoise.physics.boundary_conditions import edge_inflow
from phdenoise.physics.equations.base import (
    Curve,
    Reference,
    Starts,
    largest_symbol,
    representative,
)
from phdenoise.physics.equations.phase_field import PhaseField
from phdenoise.physics.equations.regression import regular_solution, weak_form
from phdenoise.physics.free_energies.phases import Number, demixing, potential_of
from phdenoise.physics.law_parameters import DIFFUSIVITY, ENERGY
from phdenoise.physics.operators import face_sum, flux_divergence
from phdenoise.physics.stencil import shared
from phdenoise.types import Field, Scalar


class CahnHilliard(PhaseField):
    """∂c/∂t = ∇·( D(c) ∇μ ), μ = μ_h(c) − κ∇²c.

    Args:
        free_energy: homogeneous part, e.g. `RegularSolution`.
        mobility: D(c) [length²/time].
        kappa: gradient coefficient [kT length²].
    """

    label = "cahn-hilliard"
    title = "Cahn-Hilliard"
    conserved = True

    def rhs(self, t: Scalar, c: Field, grid: Grid) -> Field:
        """∇·( D(c) ∇μ ) [1/time]."""
        mu = shared(self.potential(c, grid))
        inner = flux_divergence(shared(self.mobility(c)), mu, grid)
        if not grid.open:
            return inner
        return inner + edge_inflow(self.mobility, mu, self.free_energy.chemical_potential, grid)

    def split(
        self, grid: Grid, reference: Reference
    ) -> tuple[Float[Array, "*k"], Float[Array, "*k"]] | None:
        """G = −Dλ for a constant D and faces that are not open."""
        return self.product_split(CahnHilliard, 1, grid, reference)

    def reference(self, c: Field, grid: Grid) -> Reference:
        """(0, median D f″ where that is positive, M* κ) with M* of the mean mobility.

        The second keeps long steps of a separated field stable; the median ignores noise outside
        (0, 1), where f″ is steep.
        """
        d = self.mobility(c)
        m = representative(d, grid)
        diffusion = jnp.maximum(jnp.median(d * self.free_energy.curvature(c)), 0)
        return Reference(jnp.zeros_like(m), diffusion, m * self.kappa)

    def spectral_radius(self, c: Field, grid: Grid) -> Scalar:
        """max Σ 2 D |f″|/h² over a cell's faces (Gershgorin), and κ λ² max D at the shortest wave.

        Where a front is sharp, a nearly empty cell, whose potential is steep, meets the mobility of its neighbour.
        """
        d = self.mobility(c)
        steep = jnp.max(2 * face_sum(d, grid) * jnp.abs(self.free_energy.curvature(c)))
        return steep + largest_symbol(grid, c) ** 2 * self.kappa * jnp.max(d)

    def curves(self) -> tuple[Curve, ...]:
        """μ_h, of which no conserved field shows a constant, and D."""
        mu = self.free_energy.chemical_potential
        return (
            Curve("mu_h", mu, "mu_h", ENERGY, origin=0.5),
            Curve("D", self.mobility, "D", DIFFUSIVITY, logarithmic=True),
        )

    def derived(self) -> dict[str, Number]:
        """Phases in equilibrium, spinodals, the barrier between the phases, and their interface."""
        return demixing(potential_of(self.free_energy), float(self.kappa))

    def starts(
        self, frames: Float[np.ndarray, "t y x"], times: Float[np.ndarray, " t"], grid: Grid
    ) -> Starts:
        """The regular solution with constant mobility M that explains the smoothed movie, and laws about it.

            ∂c/∂t = M ∇² ln(c/(1−c)) − 2 MΩ ∇²c − Mκ ∇⁴c

        is linear in (M, MΩ, Mκ). Smoothing and the coarse time difference bias these, which a start may be."""
        found = weak_form(frames, times, grid)
        inside = found.inside
        features = (
            found.laplace(np.log(inside / (1 - inside))),
            -2 * found.curvature,
            -found.laplace(found.curvature),
        )
        m, m_omega, m_kappa = found.regress(*features)
        numbers = regular_solution(m, m_omega, m_kappa, found.scale)
        return Starts(self.resembling(*numbers), self.around(*numbers))

    def caveat(self, held: tuple[str, ...]) -> str:
        """What rests on how strongly the bends of μ_h are held."""
        if "p" not in held:
            return ""
        return "The movie shows D mu_h and D kappa; their split rests on the former."


def growth_rate(model: CahnHilliard, c0: Scalar, k: Float[Array, " k"]) -> Float[Array, " k"]:
    """Rate of a small wave on a uniform field, −D(c₀) k² (f″(c₀) + κk²).

    Args:
        model: the law.
        c0: uniform concentration.
        k: wavenumber [1/length]; for the grid's own rate insert √λ, λ of `laplacian_symbol`.

    Returns:
        The rate of growth [1/time].
    """
    c0 = jnp.asarray(c0, k.dtype)
    curvature = model.free_energy.curvature(c0)
    return -model.mobility(c0) * k**2 * (curvature + model.kappa * k**2)
