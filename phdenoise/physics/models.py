"""The evolution equations: each class is its equation, its energy and the stiff part of its Jacobian.

    Cahn-Hilliard   ∂c/∂t = ∇·( D(c) ∇[ μ_h(c) − κ∇²c ] )
    Fickian         ∂c/∂t = ∇·( D(c) ∇c ) + S
    Allen-Cahn      ∂c/∂t = −M(c) [ μ_h(c) − κ∇²c ]

Time stepping lives elsewhere. An implicit step treats a constant-coefficient part, −(a + bλ + gλ²) on the
eigenvector of −∇² with eigenvalue λ; (a, b, g) is a `Reference`, chosen near the mean over a field and never
differentiated: the converged solution does not depend on it. Cahn & Hilliard, doi:10.1063/1.1744102;
Allen & Cahn, doi:10.1016/0001-6160(79)90196-2.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from phdenoise.grid import Grid
from phdenoise.physics.free_energy import FreeEnergy
from phdenoise.physics.mobility import Mobility
from phdenoise.physics.operators import (
    flux_divergence,
    gradient_energy,
    integral,
    laplacian,
    laplacian_symbol,
)
from phdenoise.types import Field, Scalar


class Reference(NamedTuple):
    """Coefficients a, b, g ≥ 0 of the linear part −(a + bλ + gλ²) an implicit step treats exactly.

    Units 1/time, length²/time, length⁴/time.
    """

    decay: Array
    diffusion: Array
    biharmonic: Array


class Model(eqx.Module):
    """What a stepper needs of an equation."""

    def rhs(self, t: Scalar, c: Field, grid: Grid) -> Field:
        """dc/dt [1/time]."""
        raise NotImplementedError

    def reference(self, c: Field, grid: Grid) -> Reference:
        """Constant coefficients that resemble the Jacobian at the field c."""
        raise NotImplementedError

    def energy(self, c: Field, grid: Grid) -> Scalar:
        """The functional that does not increase along solutions."""
        raise NotImplementedError

    def implicit_symbol(self, grid: Grid, reference: Reference) -> Float[Array, "ky kx"]:
        """Eigenvalues −(a + bλ + gλ²) ≤ 0 in the layout of `operators.transforms` [1/time]."""
        symbol = laplacian_symbol(grid, reference.diffusion.dtype)
        return -(reference.decay + symbol * (reference.diffusion + symbol * reference.biharmonic))

    def mass(self, c: Field, grid: Grid) -> Scalar:
        """∫c over the mask [length²]."""
        return integral(c, grid)


class CahnHilliard(Model):
    """∂c/∂t = ∇·( D(c) ∇μ ), μ = μ_h(c) − κ∇²c.

    Args:
        free_energy: homogeneous part, e.g. `RegularSolution`.
        mobility: D(c) [length²/time].
        kappa: gradient coefficient [kT length²].
    """

    free_energy: FreeEnergy
    mobility: Mobility
    kappa: Scalar = eqx.field(converter=jnp.asarray)

    def potential(self, c: Field, grid: Grid) -> Field:
        """μ = μ_h(c) − κ∇²c [kT]."""
        return self.free_energy.chemical_potential(c) - self.kappa * laplacian(c, grid)

    def rhs(self, t: Scalar, c: Field, grid: Grid) -> Field:
        """∇·( D(c) ∇μ ) [1/time]."""
        return flux_divergence(self.mobility(c), self.potential(c, grid), grid)

    def reference(self, c: Field, grid: Grid) -> Reference:
        """(0, 0, M* κ) with M* the mean mobility, or half the largest where that is more."""
        d = self.mobility(c)
        m = jnp.maximum(_mean(d, grid), 0.5 * jnp.max(d))
        return Reference(jnp.zeros_like(m), jnp.zeros_like(m), m * self.kappa)

    def energy(self, c: Field, grid: Grid) -> Scalar:
        """∫ f(c) + ½κ|∇c|²."""
        bulk = integral(self.free_energy.density(c), grid)
        return bulk + self.kappa * gradient_energy(c, grid)


class Fickian(Model):
    """∂c/∂t = ∇·( D(c) ∇c ) + S.

    Args:
        diffusivity: D(c) [length²/time].
        source: S, a number or a field [y, x] [1/time]; a flux j through an edge is j/h in its cells.
    """

    diffusivity: Mobility
    source: Float[Array, ""] | Field = eqx.field(converter=jnp.asarray, default=0.0)

    def rhs(self, t: Scalar, c: Field, grid: Grid) -> Field:
        """∇·( D(c) ∇c ) + S [1/time]."""
        return flux_divergence(self.diffusivity(c), c, grid) + self.source

    def reference(self, c: Field, grid: Grid) -> Reference:
        """(0, D*, 0) with D* the mean diffusivity, or half the largest where that is more."""
        d = self.diffusivity(c)
        m = jnp.maximum(_mean(d, grid), 0.5 * jnp.max(d))
        return Reference(jnp.zeros_like(m), m, jnp.zeros_like(m))

    def energy(self, c: Field, grid: Grid) -> Scalar:
        """½ ∫c², non-increasing without a source."""
        return 0.5 * integral(c**2, grid)


def reference_mobility(model: Model, grid: Grid, c: Field) -> Reference:
    """The model's constant-coefficient reference at the field c, cut from differentiation."""
    return jax.lax.stop_gradient(model.reference(c, grid))


def growth_rate(model: CahnHilliard, c0: Scalar, k: Float[Array, " k"]) -> Float[Array, " k"]:
    """Rate of a small wave on a uniform field, −D(c₀) k² (f″(c₀) + κk²) [1/time].

    Args:
        c0: uniform concentration.
        k: wavenumber [1/length]; for the grid's own rate insert √λ, λ of `laplacian_symbol`.
    """
    c0 = jnp.asarray(c0, k.dtype)
    curvature = model.free_energy.curvature(c0)
    return -model.mobility(c0) * k**2 * (curvature + model.kappa * k**2)


def _mean(d: Field, grid: Grid) -> Scalar:
    return jnp.mean(d) if grid.mask is None else jnp.mean(d, where=grid.mask)
