"""The evolution equations: each class is its equation, its energy and a stand-in for its Jacobian.

    Cahn-Hilliard   ∂c/∂t = ∇·( D(c) ∇[ μ_h(c) − κ∇²c ] )
    Fickian         ∂c/∂t = ∇·( D(c) ∇c ) + S
    Allen-Cahn      ∂c/∂t = −M(c) [ μ_h(c) − κ∇²c ]

Time stepping lives elsewhere. An implicit step treats a constant-coefficient part exactly, with
the eigenvalue −(a + bλ + gλ²) on the eigenvector of −∇² with eigenvalue λ; (a, b, g) is a
`Reference`, chosen near the mean over a field and never differentiated: the converged solution
does not depend on it. Cahn & Hilliard, doi:10.1063/1.1744102; Allen & Cahn,
doi:10.1016/0001-6160(79)90196-2.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from phdenoise.grid import Fixed, Flux, Grid
from phdenoise.physics.faces import edge_inflow
from phdenoise.physics.free_energy import FreeEnergy
from phdenoise.physics.mobility import ConstantMobility, Mobility
from phdenoise.physics.operators import (
    face_sum,
    flux_divergence,
    gradient_energy,
    integral,
    laplacian,
)
from phdenoise.physics.stencil import scaled, shared
from phdenoise.physics.transforms import laplacian_symbol
from phdenoise.types import Field, InputError, Scalar


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

    def spectral_radius(self, c: Field, grid: Grid) -> Scalar:
        """Estimate of the largest |eigenvalue| of the Jacobian at c [1/time]."""
        raise NotImplementedError

    def energy(self, c: Field, grid: Grid) -> Scalar:
        """The functional that does not increase along solutions."""
        raise NotImplementedError

    def implicit_symbol(self, grid: Grid, reference: Reference) -> Float[Array, "*k"]:
        """Eigenvalues −(a + bλ + gλ²) ≤ 0 in the layout of `transforms` [1/time]."""
        symbol = laplacian_symbol(grid, reference.diffusion.dtype)
        return -(reference.decay + symbol * (reference.diffusion + symbol * reference.biharmonic))

    def split(
        self, grid: Grid, reference: Reference
    ) -> tuple[Float[Array, "*k"], Float[Array, "*k"]] | None:
        """(G, R) where the transform of the right-hand side is (L + R) ĉ + G times that of `homogeneous`.

        L is the `implicit_symbol`. None where it is not: a mobility that varies mixes the waves.
        """
        return None

    def homogeneous(self, c: Field) -> Field:
        """The cellwise part of the law, which `split` multiplies."""
        raise NotImplementedError

    def admissible(self, c: Field, grid: Grid) -> Bool[Array, ""]:
        """Whether the law still drives every cell of the field c."""
        return jnp.ones((), bool)

    def mass(self, c: Field, grid: Grid) -> Scalar:
        """∫c over the mask [length^d]."""
        return integral(c, grid)


class Wrapped(Model):
    """A model whose right-hand side is taken differently; what a stepper asks of it else is the model's own.

    Args:
        model: what is wrapped.
    """

    model: Model

    def reference(self, c: Field, grid: Grid) -> Reference:
        """That of the model."""
        return self.model.reference(c, grid)

    def implicit_symbol(self, grid: Grid, reference: Reference) -> Float[Array, "*k"]:
        """That of the model."""
        return self.model.implicit_symbol(grid, reference)

    def spectral_radius(self, c: Field, grid: Grid) -> Scalar:
        """That of the model."""
        return self.model.spectral_radius(c, grid)

    def energy(self, c: Field, grid: Grid) -> Scalar:
        """That of the model."""
        return self.model.energy(c, grid)

    def admissible(self, c: Field, grid: Grid) -> Bool[Array, ""]:
        """That of the model."""
        return self.model.admissible(c, grid)


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
        return self.free_energy.chemical_potential(c) - scaled(self.kappa, laplacian(c, grid))

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
        return _split(self, CahnHilliard, 1, grid, reference)

    def homogeneous(self, c: Field) -> Field:
        """μ_h(c) [kT]."""
        return self.free_energy.chemical_potential(c)

    def reference(self, c: Field, grid: Grid) -> Reference:
        """(0, median D f″ where that is positive, M* κ) with M* of the mean mobility.

        The second keeps long steps of a separated field stable; the median ignores noise outside
        (0, 1), where f″ is steep.
        """
        d = self.mobility(c)
        m = _representative(d, grid)
        diffusion = jnp.maximum(jnp.median(d * self.free_energy.curvature(c)), 0)
        return Reference(jnp.zeros_like(m), diffusion, m * self.kappa)

    def spectral_radius(self, c: Field, grid: Grid) -> Scalar:
        """max Σ 2 D |f″|/h² over a cell's faces (Gershgorin), and κ λ² max D at the shortest wave.

        Where a front is sharp, a nearly empty cell, whose potential is steep, meets the mobility of its neighbour.
        """
        d = self.mobility(c)
        steep = jnp.max(2 * face_sum(d, grid) * jnp.abs(self.free_energy.curvature(c)))
        return steep + _largest_symbol(grid, c) ** 2 * self.kappa * jnp.max(d)

    def energy(self, c: Field, grid: Grid) -> Scalar:
        """∫ f(c) + ½κ|∇c|²."""
        bulk = integral(self.free_energy.density(c), grid)
        return bulk + self.kappa * gradient_energy(c, grid)


class Fickian(Model):
    """∂c/∂t = ∇·( D(c) ∇c ) + S.

    Args:
        diffusivity: D(c) [length²/time].
        source: S, a number or a field [1/time].
    """

    diffusivity: Mobility
    source: Float[Array, ""] | Field = eqx.field(converter=jnp.asarray, default=0.0)

    def rhs(self, t: Scalar, c: Field, grid: Grid) -> Field:
        """∇·( D(c) ∇c ) + S [1/time]."""
        inner = flux_divergence(self.diffusivity(c), c, grid) + self.source
        return inner + edge_inflow(self.diffusivity, c, lambda g: g, grid) if grid.open else inner

    def reference(self, c: Field, grid: Grid) -> Reference:
        """(0, D*, 0) with D* the mean diffusivity, or half the largest where that is more."""
        m = _representative(self.diffusivity(c), grid)
        return Reference(jnp.zeros_like(m), m, jnp.zeros_like(m))

    def spectral_radius(self, c: Field, grid: Grid) -> Scalar:
        """max D · λ at the shortest wave."""
        return _largest_symbol(grid, c) * jnp.max(self.diffusivity(c))

    def energy(self, c: Field, grid: Grid) -> Scalar:
        """½ ∫c², non-increasing without a source."""
        return 0.5 * integral(c**2, grid)


class AllenCahn(Model):
    """∂c/∂t = −M(c) [ μ_h(c) − κ∇²c ].

    Args:
        free_energy: homogeneous part, e.g. `DoubleWell`.
        mobility: M(c) [1/time].
        kappa: gradient coefficient [kT length²].
    """

    free_energy: FreeEnergy
    mobility: Mobility
    kappa: Scalar = eqx.field(converter=jnp.asarray)

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
        return _split(self, AllenCahn, 0, grid, reference)

    def homogeneous(self, c: Field) -> Field:
        """μ_h(c) [kT]."""
        return self.free_energy.chemical_potential(c)

    def reference(self, c: Field, grid: Grid) -> Reference:
        """(0, M* κ, 0) with M* the mean mobility, or half the largest where that is more."""
        m = _representative(self.mobility(c), grid)
        return Reference(jnp.zeros_like(m), m * self.kappa, jnp.zeros_like(m))

    def spectral_radius(self, c: Field, grid: Grid) -> Scalar:
        """max M |f″| + max M κλ at the shortest wave."""
        m = self.mobility(c)
        stiff = jnp.max(m * jnp.abs(self.free_energy.curvature(c)))
        return stiff + _largest_symbol(grid, c) * self.kappa * jnp.max(m)

    def energy(self, c: Field, grid: Grid) -> Scalar:
        """∫ f(c) + ½κ|∇c|²."""
        bulk = integral(self.free_energy.density(c), grid)
        return bulk + self.kappa * gradient_energy(c, grid)


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


def _split(
    model: CahnHilliard | AllenCahn, kind: type[Model], power: int, grid: Grid, reference: Reference
) -> tuple[Float[Array, "*k"], Float[Array, "*k"]] | None:
    """G = −M λᵖ and R = Gκλ − L where the mobility is one number M; None where another class has another equation."""
    plain = type(model).rhs is kind.rhs and not grid.open and grid.mask is None
    if not (plain and isinstance(model.mobility, ConstantMobility)):
        return None
    symbol = laplacian_symbol(grid, model.kappa.dtype)
    gain = -model.mobility.value * symbol**power
    return gain, gain * model.kappa * symbol - model.implicit_symbol(grid, reference)


def _representative(d: Field, grid: Grid) -> Scalar:
    """Mean over the cells; at least half the maximum, below which an explicit remainder grows."""
    mean = jnp.mean(d) if grid.mask is None else jnp.mean(d, where=grid.mask)
    return jnp.maximum(mean, 0.5 * jnp.max(d))


def _largest_symbol(grid: Grid, like: Array) -> Scalar:
    """Σ 4/h² over the axes, less where one has a single cell and so no wave."""
    waves = [
        n > 1 or any(isinstance(f, Fixed) for f in grid.faces[i]) for i, n in enumerate(grid.shape)
    ]
    return jnp.sum(jnp.asarray(waves) * 4 / grid.spacing.astype(like.dtype) ** 2)
