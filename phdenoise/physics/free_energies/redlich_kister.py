"""Redlich-Kister free energy: the excess of a solution as a polynomial about its middle.

    f = entropy + c(1−c) Σₙ Lₙ x^n,   x = 1 − 2c
    μ_h = ln(c/(1−c)) + Σₙ Lₙ [ x^(n+1) − 2n c(1−c) x^(n−1) ]

L₀ alone is the regular solution. Redlich & Kister, Ind. Eng. Chem. 40, 345 (1948),
doi:10.1021/ie50458a036; for intercalation Colclasure & Kee, doi:10.1016/j.electacta.2010.08.018.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from phdenoise.physics.free_energies.regular_solution import logit, mixing_entropy
from phdenoise.physics.law_parameters import ENERGY, REAL, curve
from phdenoise.physics.pointwise import Values


class RedlichKister(eqx.Module):
    """f = entropy + c(1−c) Σ Lₙ (1−2c)ⁿ.

    Args:
        coefficients: L₀ … L_N [kT].
        eps: where the continuation of the logarithm begins.
    """

    coefficients: Float[Array, " n"] = curve(REAL, sd=5.0, decay=1.0, dimension=ENERGY)
    eps: float = eqx.field(static=True, default=1e-4)

    def density(self, c: Values) -> Values:
        """Entropy plus the excess [kT per site]."""
        return mixing_entropy(c, self.eps) + c * (1 - c) * self._sum(1 - 2 * c)

    def chemical_potential(self, c: Values) -> Values:
        """df/dc [kT]."""
        x = 1 - 2 * c
        sum_, slope = jax.jvp(self._sum, (x,), (jnp.ones_like(x),))
        return logit(c, self.eps) + x * sum_ - 2 * c * (1 - c) * slope

    def curvature(self, c: Values) -> Values:
        """d²f/dc² [kT]."""
        return jax.jvp(self.chemical_potential, (c,), (jnp.ones_like(c),))[1]

    def _sum(self, x: Values) -> Values:
        total = jnp.zeros_like(x)
        for n in range(self.coefficients.shape[0] - 1, -1, -1):
            total = total * x + self.coefficients[n]
        return total
