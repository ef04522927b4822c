"""Graphite as two interacting layers, which fill one after the other.

    f = Σᵢ [ cᵢ ln cᵢ + (1−cᵢ) ln(1−cᵢ) + Ω_a cᵢ(1−cᵢ) ] + Ω_b c₁c₂ + Ω_c c₁(1−c₁) c₂(1−c₂)
    μ₁ = ln(c₁/(1−c₁)) + Ω_a(1−2c₁) + Ω_b c₂ + Ω_c c₂(1−c₂)(1−2c₁)          and 1 ↔ 2

Both layers empty: dilute; one full: stage 2 (x = ½, red); both full: stage 1 (x = 1, gold). Smith, Khoo &
Bazant, J. Phys. Chem. C 121, 12505 (2017), doi:10.1021/acs.jpcc.7b00185.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from phdenoise.physics.free_energies.regular_solution import logit, mixing_entropy
from phdenoise.types import Field, Scalar

Layers = Float[Array, "2 y x"]


class TwoLayers(eqx.Module):
    """The free energy of a pair of layers [2, y, x], per cell of the pair.

    Args:
        within: Ω_a, repulsion of ions and vacancies of a layer [kT].
        between: Ω_b, repulsion of full neighbouring layers [kT].
        staging: Ω_c, penalty for both being half full [kT].
        eps: where the continuation of the logarithm begins.
    """

    within: Scalar = eqx.field(converter=jnp.asarray, default=3.40)
    between: Scalar = eqx.field(converter=jnp.asarray, default=1.40)
    staging: Scalar = eqx.field(converter=jnp.asarray, default=20.0)
    eps: float = eqx.field(static=True, default=1e-4)

    def density(self, c: Layers) -> Field:
        """f(c₁, c₂) [kT per pair of sites]."""
        alone = mixing_entropy(c, self.eps) + self.within * c * (1 - c)
        one, two = c[0], c[1]
        pair = self.between * one * two + self.staging * one * (1 - one) * two * (1 - two)
        return alone[0] + alone[1] + pair

    def chemical_potential(self, c: Layers) -> Layers:
        """(∂f/∂c₁, ∂f/∂c₂) [kT]."""
        other = c[::-1]
        bend = self.within + self.staging * other * (1 - other)
        return logit(c, self.eps) + bend * (1 - 2 * c) + self.between * other

    def curvature(self, c: Layers) -> Layers:
        """(∂²f/∂c₁², ∂²f/∂c₂²) [kT]."""
        other = c[::-1]
        ideal = jax.jvp(lambda x: logit(x, self.eps), (c,), (jnp.ones_like(c),))[1]
        return ideal - 2 * (self.within + self.staging * other * (1 - other))
