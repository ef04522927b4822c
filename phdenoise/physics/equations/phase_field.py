"""What Cahn-Hilliard and Allen-Cahn share: a free energy, a mobility and the gradient energy of their interfaces.

    F[c] = ∫ f(c) + ½κ|∇c|²,   μ = δF/δc = μ_h(c) − κ∇²c

A movie shows the products D μ_h and D κ well and D alone badly: D/a, a μ_h and a κ move a field in the same way. So
errors and long steps of a fit go along coordinates in which these products are straight.
"""

from functools import cache
from typing import NamedTuple, TypeVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.grid import Grid
from phdenoise.physics.equations.base import Law, Reference
from phdenoise.physics.free_energies.regular_solution import FreeEnergy, Potential
from phdenoise.physics.law_parameters import (
    DIFFUSIVITY,
    GRADIENT,
    POSITIVE,
    Parameters,
    parameter,
    part,
)
from phdenoise.physics.mobility import LocalMobility, Mobility
from phdenoise.physics.operators import gradient_energy, integral, laplacian
from phdenoise.physics.stencil import scaled
from phdenoise.physics.transforms import laplacian_symbol
from phdenoise.types import Field, Scalar

# Below this factor a mobility shrinks along a hyperbola instead of a line: it stays positive for every step, and errors
# of up to three quarters of the mobility itself are still straight.
STRAIGHT = 0.25
# Factors of the mobility and of κ about the regression's, and Ω beside its own [kT], of the laws that a fit begins with.
# Noise in the frames flattens a regression, so that the mobility comes out too small: factors reach further up than down.
MOBILITIES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
GRADIENTS = (0.3, 1.0, 3.0)
OMEGA = 2.5

Kind = TypeVar("Kind", bound="PhaseField")


class PhaseField(Law):
    """A law that is driven by μ = μ_h(c) − κ∇²c.

    Args:
        free_energy: homogeneous part f(c), e.g. `RegularSolution`.
        mobility: how fast μ moves the field.
        kappa: gradient coefficient [kT length²].
    """

    free_energy: Potential
    mobility: Mobility = part(DIFFUSIVITY, "D")
    kappa: Scalar = parameter(POSITIVE, sd=3.0, dimension=GRADIENT)

    own_width = True
    bounded = True
    product = True

    def potential(self, c: Field, grid: Grid) -> Field:
        """μ = μ_h(c) − κ∇²c [kT].

        Args:
            c: concentration of each cell.
            grid: of the field.

        Returns:
            μ of each cell [kT].
        """
        return self.free_energy.chemical_potential(c) - scaled(self.kappa, laplacian(c, grid))

    def homogeneous(self, c: Field) -> Field:
        """μ_h(c) [kT]."""
        return self.free_energy.chemical_potential(c)

    def energy(self, c: Field, grid: Grid) -> Scalar:
        """∫ f(c) + ½κ|∇c|².

        Args:
            c: concentration of each cell.
            grid: of the field.

        Returns:
            The free energy [kT length^d], a scalar.
        """
        # A free energy without a density moves a field all the same.
        if not isinstance(self.free_energy, FreeEnergy):
            return jnp.full((), jnp.nan, c.dtype)
        bulk = integral(self.free_energy.density(c), grid)
        return bulk + self.kappa * gradient_energy(c, grid)

    def resembling(self: Kind, mobility: float, kappa: float, omega: float) -> Kind:
        """The member of this family of laws that is nearest to a regular solution with constant mobility.

        Args:
            mobility: its size [length²/time, or 1/time].
            kappa: gradient coefficient [kT length²].
            omega: interaction [kT].

        Returns:
            The law; parts that no number describes stay as they are.
        """
        energy = getattr(self.free_energy, "resembling", lambda _: self.free_energy)(omega)
        moves = getattr(self.mobility, "resized", lambda _: self.mobility)(mobility)
        return type(self)(energy, moves, jnp.asarray(kappa, float), fixed=self.fixed)

    def around(self: Kind, mobility: float, kappa: float, omega: float) -> tuple[Kind, ...]:
        """Laws about a guess, to pick the best of before a descent; arguments as for `resembling`.

        Args:
            mobility: size of the mobility [length²/time, or 1/time].
            kappa: gradient coefficient [kT length²].
            omega: interaction [kT].

        Returns:
            Laws.
        """
        return tuple(
            self.resembling(mobility * a, kappa * b, o)
            for a in MOBILITIES
            for b in GRADIENTS
            for o in sorted({omega, OMEGA})
        )

    def with_place(self: Kind, factor: Field) -> Kind:
        """The same with a mobility times a factor of each cell [y, x]."""
        local = LocalMobility(self.mobility, factor)
        return type(self)(self.free_energy, local, self.kappa, fixed=self.fixed)

    def long_step(self, free: Parameters, theta: np.ndarray, step: np.ndarray) -> np.ndarray:
        """θ after a step along u = D₀ (pₙ + eₙ), ln D₀ and ln κ, eₙ the series of the entropy.

        The direction that a movie hardly shows (D against μ_h and κ) is straight in these and strongly curved in θ, where
        Gauss-Newton steps would be short. D and κ stay positive however long the step is. Laws without Legendre series step straight.

        Args:
            free: what the components of θ are.
            theta: θ [p].
            step: of θ [p].

        Returns:
            θ [p]; θ + step to first order.
        """
        moved = np.array(theta + step, float)
        places = _places(free)
        if places is None:
            return moved
        n, q = places.enthalpy, places.mobility
        scale, entropy = step[q], _entropy(places.degrees)
        whole = (theta[n] + entropy) * (1 + scale) + step[n]
        # A step without end has an infinite cost and is refused.
        with np.errstate(over="ignore", invalid="ignore"):
            moved[n] = whole * np.exp(-scale) - entropy
        return moved

    def error_step(self, free: Parameters, theta: np.ndarray, step: np.ndarray) -> np.ndarray:
        """θ after one of its errors, along the curve on which D₀, D₀ pₙ and D₀ κ change in proportion.

            D₀' = D₀ (1 + δ),   pₙ' = pₙ + δpₙ/(1 + δ),   κ' = κ (1 + δκ/(1 + δ)),   δ = δq₀, δκ = δ ln κ

        The flux is linear in these three, and a movie's likelihood nearly Gaussian.

        Args:
            free: what the components of θ are.
            theta: θ [p].
            step: one error [p] or many [..., p].

        Returns:
            θ [..., p]; θ + step to first order.
        """
        moved = np.array(theta + step, float)
        places = _places(free)
        if places is None:
            return moved
        n, q, k = places.enthalpy, places.mobility, places.kappa
        factor = _positive(1 + step[..., q])
        moved[..., n] = theta[n] + step[..., n] / factor[..., None]
        moved[..., q] = theta[q] + np.log(factor)
        moved[..., k] = theta[k] + np.log(_positive(1 + step[..., k] / factor))
        return moved

    def product_split(
        self, kind: type[Law], power: int, grid: Grid, reference: Reference
    ) -> tuple[Float[Array, "*k"], Float[Array, "*k"]] | None:
        """G = −M λᵖ and R = Gκλ − L where the mobility is one number M; None where another class has another equation.

        Args:
            kind: the class whose equation this is.
            power: p, of the Laplacian before M.
            grid: of the field.
            reference: of the implicit step.

        Returns:
            (G, R) of `Law.split`, or None.
        """
        value = getattr(self.mobility, "uniform", None)
        if value is None or type(self).rhs is not kind.rhs or grid.open or grid.mask is not None:
            return None
        symbol = laplacian_symbol(grid, self.kappa.dtype)
        gain = -value * symbol**power
        return gain, gain * self.kappa * symbol - self.implicit_symbol(grid, reference)


class _Places(NamedTuple):
    """Places in θ of the series of μ_h, the degrees of its terms, and the places of q₀ and of ln κ."""

    enthalpy: np.ndarray
    degrees: tuple[int, ...]
    mobility: int
    kappa: int


def _places(free: Parameters) -> _Places | None:
    """Places in θ of what trades; None where one is not free or not in this form."""
    components = free.components
    enthalpy = [i for i, c in enumerate(components) if c.series and c.series.symbol == "p"]
    names = [c.name for c in components]
    if not (enthalpy and "q_0" in names and "ln_kappa" in names):
        return None
    degrees = tuple(components[i].degree for i in enthalpy)
    return _Places(np.array(enthalpy), degrees, names.index("q_0"), names.index("ln_kappa"))


@cache
def _entropy(degrees: tuple[int, ...]) -> np.ndarray:
    """Coefficients of these degrees of ln(c/(1−c)) over the range that movies visit."""
    x = np.linspace(-0.9, 0.9, 201)
    return np.polynomial.legendre.legfit(x, np.log((1 + x) / (1 - x)), max(degrees))[list(degrees)]


def _positive(factor: np.ndarray | np.floating) -> np.ndarray:
    """The factor itself above `STRAIGHT`, continued below by a hyperbola: smooth, slow, and always positive."""
    low = STRAIGHT
    return np.where(factor > low, factor, low**2 / (2 * low - np.minimum(factor, low)))
