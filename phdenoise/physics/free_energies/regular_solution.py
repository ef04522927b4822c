"""Free energies of mixing per site and the potentials that follow from them.

    f(c) [kT per site],   μ_h(c) = df/dc,   curvature d²f/dc²

The entropy of mixing on [ε, 1 − ε] is exact; outside it is continued by its second-order Taylor
polynomial, so that μ_h is C¹ and a noisy field outside (0, 1) gives finite values that push back,
where a clip would hide the error and kill the gradient. Bazant, Acc. Chem. Res. 46, 1144 (2013),
doi:10.1021/ar300145c.
"""

from functools import partial
from typing import Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import xlog1py, xlogy
from jaxtyping import Array, Float

from phdenoise.physics.free_energies.phases import LegendrePotential
from phdenoise.physics.law_parameters import ENERGY, REAL, Series, curve, parameter
from phdenoise.physics.pointwise import Values, legendre, legendre_sum, pointwise


@runtime_checkable
class Potential(Protocol):
    """What a solver needs of a homogeneous free energy."""

    def chemical_potential(self, c: Values) -> Values:
        """df/dc [kT]."""
        ...

    def curvature(self, c: Values) -> Values:
        """d²f/dc² [kT]."""
        ...


@runtime_checkable
class FreeEnergy(Potential, Protocol):
    """A homogeneous free energy, whose density gives the energy of a field."""

    def density(self, c: Values) -> Values:
        """f(c) [kT per site]."""
        ...


class LegendreEnthalpy(eqx.Module):
    """μ_h = ln(c/(1−c)) + Σₙ pₙ Pₙ(2c−1), the family the laws are learnt in.

    Args:
        coefficients: p of the degrees `lowest` to N [kT].
        eps: where the continuation of the logarithm begins.
        lowest: degree of the first coefficient; 1 leaves out p₀, a constant of μ_h that the dynamics of a conserved
            field cannot show.
    """

    coefficients: Float[Array, " n"] = curve(
        REAL, sd=6.0, dimension=ENERGY, series=Series("p", 2, 2.0, "mu_h", "bends")
    )
    eps: float = eqx.field(static=True, default=1e-4)
    lowest: int = eqx.field(static=True, default=0)

    @property
    def all_coefficients(self) -> Float[Array, " n"]:
        """p₀ … p_N [kT], zero below the lowest degree."""
        if self.lowest == 0:
            return self.coefficients
        zeros = jnp.zeros(self.lowest, self.coefficients.dtype)
        return jnp.concatenate([zeros, self.coefficients])

    def density(self, c: Values) -> Values:
        """Entropy plus Σ pₙ ∫Pₙ, with ∫Pₙ dx = (P_{n+1} − P_{n−1})/(2n+1), zero at c = ½."""
        p = self.all_coefficients
        basis = legendre(2 * c - 1, p.shape[0])
        middle = legendre(jnp.zeros((), c.dtype), p.shape[0])
        total = mixing_entropy(c, self.eps)
        for n in range(p.shape[0]):
            below = basis[..., n - 1] if n else jnp.zeros_like(c)
            origin = middle[n + 1] - (middle[n - 1] if n else 0)
            total += p[n] * (basis[..., n + 1] - below - origin) / (2 * (2 * n + 1))
        return total

    def chemical_potential(self, c: Values) -> Values:
        """ln(c/(1−c)) + Σ pₙ Pₙ(2c−1)."""
        return logit(c, self.eps) + legendre_sum(self.all_coefficients, 2 * c - 1)

    def curvature(self, c: Values) -> Values:
        """Derivative of the potential."""
        return _derivative(self.chemical_potential, c)

    def in_numpy(self) -> LegendrePotential:
        """The same in numpy, for phases."""
        p = np.asarray(self.coefficients, float)
        return LegendrePotential(np.concatenate([np.zeros(self.lowest), p]))

    def resembling(self, omega: float) -> "LegendreEnthalpy":
        """The member of the family that is the regular solution of this interaction [kT]."""
        p = np.zeros(self.coefficients.shape)
        p[1 - self.lowest : 2 - self.lowest] = -omega
        return LegendreEnthalpy(jnp.asarray(p), self.eps, self.lowest)


class RegularSolution(eqx.Module):
    """μ_h = ln(c/(1−c)) + Ω(1−2c), f = c ln c + (1−c) ln(1−c) + Ω c(1−c).

    Args:
        omega: interaction [kT]; phases separate above 2.
        eps: where the continuation of the logarithm begins.
    """

    omega: Float[Array, ""] = parameter(REAL, sd=3.0, dimension=ENERGY)
    eps: float = eqx.field(static=True, default=1e-4)

    def density(self, c: Values) -> Values:
        """Entropy plus Ω c(1−c)."""
        return mixing_entropy(c, self.eps) + self.omega * c * (1 - c)

    def chemical_potential(self, c: Values) -> Values:
        """ln(c/(1−c)) + Ω(1−2c)."""
        return logit(c, self.eps) + self.omega * (1 - 2 * c)

    def curvature(self, c: Values) -> Values:
        """1/(c(1−c)) − 2Ω."""
        inside = jnp.clip(c, self.eps, 1 - self.eps)
        return 1 / (inside * (1 - inside)) - 2 * self.omega

    def in_numpy(self) -> LegendrePotential:
        """The same in numpy, for phases."""
        return LegendrePotential(np.array([0.0, -float(self.omega)]))

    def resembling(self, omega: float) -> "RegularSolution":
        """The regular solution of this interaction [kT]."""
        return RegularSolution(jnp.asarray(omega, jnp.result_type(float)), self.eps)


class DoubleWell(eqx.Module):
    """f = ρ (c − c_a)² (c_b − c)², the polynomial of the PFHub benchmarks.

    Args:
        rho: height scale [energy per volume].
        c_a, c_b: the two wells.
    """

    rho: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    c_a: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    c_b: Float[Array, ""] = eqx.field(converter=jnp.asarray)

    def density(self, c: Values) -> Values:
        """ρ (c − c_a)² (c_b − c)²."""
        return self.rho * ((c - self.c_a) * (self.c_b - c)) ** 2

    def chemical_potential(self, c: Values) -> Values:
        """2ρ (c − c_a)(c_b − c)(c_a + c_b − 2c)."""
        return 2 * self.rho * (c - self.c_a) * (self.c_b - c) * (self.c_a + self.c_b - 2 * c)

    def curvature(self, c: Values) -> Values:
        """2ρ [(c_a + c_b − 2c)² − 2(c − c_a)(c_b − c)]."""
        a, b = self.c_a, self.c_b
        return 2 * self.rho * ((a + b - 2 * c) ** 2 - 2 * (c - a) * (b - c))


def logit(c: Values, eps: float) -> Values:
    """ln(c/(1−c)), continued linearly outside [eps, 1−eps] with value and slope matched.

    Args:
        c: concentrations.
        eps: where the continuation begins.

    Returns:
        ln(c/(1−c)) [kT].
    """
    return pointwise(partial(_logit, eps=eps), c)


def mixing_entropy(c: Values, eps: float) -> Values:
    """c ln c + (1−c) ln(1−c), continued by a parabola so that its derivative is `logit`.

    Args:
        c: concentrations.
        eps: where the continuation begins.

    Returns:
        c ln c + (1−c) ln(1−c) [kT].
    """
    inside = jnp.clip(c, eps, 1 - eps)
    beyond = c - inside
    slope = jnp.log(inside / (1 - inside))
    exact = xlogy(inside, inside) + xlog1py(1 - inside, -inside)
    return exact + slope * beyond + beyond**2 / (2 * eps * (1 - eps))


def _logit(c: Values, eps: float) -> Values:
    inside = jnp.clip(c, eps, 1 - eps)
    return jnp.log(inside / (1 - inside)) + (c - inside) * (1 / (eps * (1 - eps)))


def _derivative(function, c: Values) -> Values:
    return jax.jvp(function, (c,), (jnp.ones_like(c),))[1]
