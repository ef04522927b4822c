"""Particles that fill through their surface: insertion everywhere, alone or beside transport.

    Allen-Cahn reaction      ∂c/∂t = k(x,y) R(c, η),                    η = μ + V
    Cahn-Hilliard reaction   ∂c/∂t = ∇·( D(c) ∇μ ) + k(x,y) R(c, η),     μ = μ_h(c) − κ∇²c

R is one of `phdenoise.physics.kinetics`; V is held, or such that the mean of c rises at a given rate. A
thin particle seen from above reacts on its faces (k > 0 everywhere); one that fills through its rim has
k = 0 but in the cells at the edge (`phdenoise.physics.particle.rim`). The field may have leading axes, the
layers of graphite. With a held voltage the free energy plus V times the charge never rises:

    d/dt ∫( f + ½κ|∇c|² + Vc ) = −∫ D|∇μ|² + ∫ k η R ≤ 0

Singh, Ceder & Bazant, Electrochim. Acta 53, 7599 (2008), doi:10.1016/j.electacta.2008.03.083.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from phdenoise.grid import Grid
from phdenoise.physics.equations.base import Law, Reference
from phdenoise.physics.kinetics import Kinetics
from phdenoise.physics.mobility import Mobility
from phdenoise.physics.operators import (
    face_sum,
    flux_divergence,
    gradient_energy,
    integral,
    laplacian,
)
from phdenoise.physics.particle import Heterogeneity
from phdenoise.physics.pointwise import Values
from phdenoise.physics.transforms import laplacian_symbol
from phdenoise.types import Field, Scalar

State = Float[Array, "*layers y x"]


class HeldVoltage(eqx.Module):
    """The same V at all times.

    Args:
        value: V against the potential at which μ = 0 [kT/e].
    """

    value: Scalar = eqx.field(converter=jnp.asarray)

    def voltage(self, kinetics: Kinetics, c: State, mu: State, weight: State) -> Scalar:
        """V.

        Args:
            kinetics: of the reaction.
            c: concentration.
            mu: potential [kT].
            weight: rate constant of each cell over their number [1/time].

        Returns:
            The voltage [kT/e], a scalar.
        """
        return self.value

    def work(self, charge: Scalar) -> Scalar:
        """V times the charge: what the source has to be counted with for the energy to fall."""
        return self.value * charge


class ConstantCurrent(eqx.Module):
    """V such that the mean of c changes at a given rate.

    Args:
        rate: d⟨c⟩/dt over the particle, positive when it fills [1/time].
    """

    rate: Scalar = eqx.field(converter=jnp.asarray)

    def voltage(self, kinetics: Kinetics, c: State, mu: State, weight: State) -> Scalar:
        """V at this field.

        Args:
            kinetics: of the reaction.
            c: concentration.
            mu: potential [kT].
            weight: rate constant of each cell over their number [1/time].

        Returns:
            The voltage [kT/e], a scalar.
        """
        return kinetics.voltage(c, mu, weight, self.rate)

    def work(self, charge: Scalar) -> Scalar:
        """Zero: the energy of a driven particle is its own."""
        return jnp.zeros_like(charge)


class AllenCahnReaction(Law):
    """∂c/∂t = k(x,y) R(c, μ_h(c) − κ∇²c + V).

    Args:
        free_energy: homogeneous part; for layers one that takes and returns [layer, y, x].
        kinetics: R.
        drive: `HeldVoltage` or `ConstantCurrent`.
        kappa: gradient coefficient [kT length²].
        rate_constant: k, a number, a field [y, x] or a `Heterogeneity` [1/time].
    """

    free_energy: Any
    kinetics: Kinetics
    drive: HeldVoltage | ConstantCurrent
    kappa: Scalar = eqx.field(converter=jnp.asarray)
    rate_constant: Float[Array, ""] | Field | Heterogeneity = eqx.field(
        converter=lambda k: k if isinstance(k, Heterogeneity) else jnp.asarray(k), default=1.0
    )

    def potential(self, c: State, grid: Grid) -> State:
        """μ = μ_h(c) − κ∇²c [kT].

        Args:
            c: concentration, with leading axes for layers.
            grid: of the field.

        Returns:
            μ of each cell [kT].
        """
        return self.free_energy.chemical_potential(c) - self.kappa * laplacian(c, grid)

    def voltage(self, c: State, grid: Grid) -> Scalar:
        """V at this field.

        Args:
            c: concentration, with leading axes for layers.
            grid: of the field.

        Returns:
            The voltage [kT/e], a scalar.
        """
        mu, weight = self.potential(c, grid), self._weight(c, grid)
        return self.drive.voltage(self.kinetics, c, mu, weight)

    def rhs(self, t: Scalar, c: State, grid: Grid) -> State:
        """k R(c, μ + V) [1/time]."""
        return self._reaction(c, self.potential(c, grid), grid)

    def reference(self, c: State, grid: Grid) -> Reference:
        """(median of −∂ċ/∂c where that is positive, s* κ, 0), s = −k ∂R/∂η and s* its mean."""
        slope, own = self._slopes(c, grid)
        s = _mean_or_half(slope, grid)
        decay = jnp.maximum(jnp.median(own), 0)
        return _layered(Reference(decay, s * self.kappa, jnp.zeros_like(s)), c)

    def spectral_radius(self, c: State, grid: Grid) -> Scalar:
        """max |∂ċ/∂c| of the cells alone + max s κλ at the shortest wave, V fixed."""
        slope, _ = self._slopes(c, grid)
        rows = _row_sums(self._alone(c, grid), c)
        return jnp.max(rows + slope * self.kappa * _largest(grid, c.dtype))

    def implicit_symbol(self, grid: Grid, reference: Reference) -> Float[Array, "*layers k1 k2"]:
        """Eigenvalues −(a + bλ + gλ²), with a leading axis where the field has layers."""
        symbol = laplacian_symbol(grid, reference.diffusion.dtype)
        symbol = symbol.reshape((1,) * (max(reference.diffusion.ndim, 2) - 2) + symbol.shape)
        return -(reference.decay + symbol * (reference.diffusion + symbol * reference.biharmonic))

    def energy(self, c: State, grid: Grid) -> Scalar:
        """∫ f(c) + ½κ|∇c|², plus V∫c where the voltage is held."""
        bulk = integral(self.free_energy.density(c), grid)
        gradients = self.kappa * jnp.sum(gradient_energy(c, grid))
        return bulk + gradients + self.drive.work(self.mass(c, grid))

    def dissipation(self, c: State, grid: Grid) -> Scalar:
        """−∫ η R ≥ 0, the rate at which free energy becomes heat [kT length²/time].

        Args:
            c: concentration, with leading axes for layers.
            grid: of the field.

        Returns:
            The rate, a scalar.
        """
        mu = self.potential(c, grid)
        eta = mu + self.voltage(c, grid)
        return -jnp.sum(integral(eta * self._reaction(c, mu, grid), grid))

    def admissible(self, c: State, grid: Grid) -> Bool[Array, ""]:
        """Whether every cell lies within 100 ε of [0, 1].

        The exchange current falls by e⁵⁰ over that margin where it vanishes faster than the one-way
        rate grows: a cell beyond is not driven back, but stays.
        """
        margin = 100 * self.kinetics.edge()
        beyond = _inside(jnp.maximum(-c, c - 1), grid)
        return jnp.all(beyond <= margin)

    def mass(self, c: State, grid: Grid) -> Scalar:
        """∫c over the mask, all layers [length²]."""
        return jnp.sum(integral(c, grid))

    def filling(self, c: State, grid: Grid) -> Scalar:
        """⟨c⟩ over the mask and the layers: the state of charge.

        Args:
            c: concentration, with leading axes for layers.
            grid: of the field.

        Returns:
            ⟨c⟩, a scalar.
        """
        return self.mass(c, grid) / jnp.sum(integral(jnp.ones_like(c), grid))

    def _reaction(self, c: State, mu: State, grid: Grid) -> State:
        weight = self._weight(c, grid)
        v = self.drive.voltage(self.kinetics, c, mu, weight)
        return weight * _count(c, grid) * self.kinetics.rate(c, mu, v)

    def _weight(self, c: State, grid: Grid) -> State:
        k = self.rate_constant
        k = k() if isinstance(k, Heterogeneity) else k
        k = jnp.broadcast_to(k.astype(c.dtype), c.shape)
        return _inside(k, grid) / _count(c, grid)

    def _slopes(self, c: State, grid: Grid) -> tuple[State, State]:
        """−∂ċ/∂η, and −∂ċ/∂c of each cell by itself, V fixed."""
        alone = self._alone(c, grid)
        shift = jax.jvp(lambda m: alone(c, m), (jnp.zeros_like(c),), (jnp.ones_like(c),))[1]
        units = _units(c)
        own = sum(jax.jvp(alone, (c,), (unit,))[1] * unit for unit in units)
        return -shift, -own

    def _alone(self, c: State, grid: Grid) -> Callable[..., State]:
        """ċ as a function of the c of a cell (and a shift of its μ), neighbours and V as they are."""
        weight = self._weight(c, grid)
        k, gradient = weight * _count(c, grid), -self.kappa * laplacian(c, grid)
        v = self.drive.voltage(self.kinetics, c, self.potential(c, grid), weight)

        def rate(c: State, shift: State | float = 0.0) -> State:
            mu = self.free_energy.chemical_potential(c) + gradient + shift
            return k * self.kinetics.rate(c, mu, v)

        return rate


class CahnHilliardReaction(AllenCahnReaction):
    """∂c/∂t = ∇·( D(c) ∇μ ) + k(x,y) R(c, μ + V), μ = μ_h(c) − κ∇²c.

    Args:
        mobility: D(c) [length²/time], of each layer by itself; required.
    """

    mobility: Mobility | None = None

    def __check_init__(self) -> None:
        if self.mobility is None:
            raise TypeError("CahnHilliardReaction needs a mobility; see AllenCahnReaction.")

    def rhs(self, t: Scalar, c: State, grid: Grid) -> State:
        """∇·( D(c) ∇μ ) + k R(c, μ + V) [1/time]."""
        mu = self.potential(c, grid)
        return flux_divergence(self._mobility(c), mu, grid) + self._reaction(c, mu, grid)

    def reference(self, c: State, grid: Grid) -> Reference:
        """That of the reaction, and half the largest D of any filling: the particle visits all."""
        reaction, d = super().reference(c, grid), self._mobility(c)
        bulk = jnp.maximum(jnp.median(d * self.free_energy.curvature(c)), 0)
        fillings = jnp.linspace(0.0, 1.0, 33, dtype=c.dtype)
        d = jnp.maximum(jnp.max(d), jnp.max(self._mobility(fillings)))
        stiff = 0.5 * d * self.kappa
        return Reference(reaction.decay, reaction.diffusion + bulk, reaction.biharmonic + stiff)

    def spectral_radius(self, c: State, grid: Grid) -> Scalar:
        """Sum of those of the reaction and of the transport."""
        d, top = self._mobility(c), _largest(grid, c.dtype)
        rows = _row_sums(self.free_energy.chemical_potential, c)
        # A face takes its mobility from both its cells: where a front is sharp, a nearly empty cell, whose potential
        # is steep, meets the mobility of its neighbour, and its own would be far too small.
        steep = jnp.max(_inside(2 * face_sum(_inside(d, grid), grid) * rows, grid))
        transport = steep + top**2 * self.kappa * jnp.max(d)
        return super().spectral_radius(c, grid) + transport

    def dissipation(self, c: State, grid: Grid) -> Scalar:
        """∫ D|∇μ|² − ∫ η R ≥ 0 [kT length²/time]."""
        mu = self.potential(c, grid)
        flow = -integral(mu * flux_divergence(self._mobility(c), mu, grid), grid)
        return super().dissipation(c, grid) + jnp.sum(flow)

    def _mobility(self, c: Values) -> Values:
        assert self.mobility is not None
        return self.mobility(c)


def _row_sums(function: Callable[[State], State], c: State) -> State:
    """Σⱼ |∂fᵢ/∂cⱼ| over the layers j of a cell."""
    terms = [jnp.abs(jax.jvp(function, (c,), (unit,))[1]) for unit in _units(c)]
    return jnp.sum(jnp.stack(terms), axis=0)


def _units(c: State) -> list[State]:
    """Unit vectors of the layers, at every cell."""
    if c.ndim == 2:
        return [jnp.ones_like(c)]
    return [jnp.zeros_like(c).at[j].set(1) for j in range(c.shape[0])]


def _inside(values: State, grid: Grid) -> State:
    if grid.mask is None:
        return values
    return jnp.where(jnp.broadcast_to(grid.mask, values.shape), values, 0)


def _count(c: State, grid: Grid) -> Array:
    """Cells inside the mask, layers counted apiece."""
    cells = c.size if grid.mask is None else jnp.sum(grid.mask) * (c.size // grid.mask.size)
    return jnp.asarray(cells, c.dtype)


def _mean_or_half(d: State, grid: Grid) -> Scalar:
    """Mean over the cells; at least half the maximum, below which an explicit remainder grows."""
    d = _inside(d, grid)
    return jnp.maximum(jnp.sum(d) / _count(d, grid), 0.5 * jnp.max(d))


def _layered(reference: Reference, c: State) -> Reference:
    """Axes for the layers, so that products with a symbol need no promotion of ranks."""
    if c.ndim == 2:
        return reference
    return Reference(*(x.reshape((1,) * c.ndim) for x in reference))


def _largest(grid: Grid, dtype: Any) -> Scalar:
    return jnp.max(laplacian_symbol(grid, dtype))
