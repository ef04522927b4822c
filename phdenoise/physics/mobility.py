"""Mobilities D(c): how fast a potential gradient moves concentration [length²/time per kT].

    constant D₀,   degenerate D₀ c(1−c),   D = exp(Σₙ qₙ Pₙ(2c−1)) [× c(1−c)]

All are positive for every real c: outside [0, 1] they continue smoothly instead of changing sign
or exploding, since a mobility below zero makes the equation ill-posed on the first noisy pixel.
Elliott & Garcke, SIAM J. Math. Anal. 27, 404 (1996), doi:10.1137/S0036141094267662.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from phdenoise.physics.pointwise import Values, legendre_sum, pointwise

Mobility = Callable[[Values], Values]


class ConstantMobility(eqx.Module):
    """D(c) = value."""

    value: Float[Array, ""] = eqx.field(converter=jnp.asarray)

    def __call__(self, c: Values) -> Values:
        """D at every cell."""
        return self.value * jnp.ones_like(c)


class DegenerateMobility(eqx.Module):
    """D(c) = scale · c(1−c): sites are needed on both ends of a jump.

    Args:
        scale: D₀ [length²/time].
        eps: where the positive continuation begins (that of the free energy by default, so that
            D·d²f/dc² stays of order one outside as well).
    """

    scale: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    eps: float = eqx.field(static=True, default=1e-4)

    def __call__(self, c: Values) -> Values:
        """D at every cell."""
        return self.scale * vacancies(c, self.eps)


class LegendreMobility(eqx.Module):
    """D(c) = exp(Σₙ qₙ Pₙ(2c−1)), times c(1−c) for the degenerate base.

    Args:
        log_coefficients: q₀ … q_N.
        base: "constant" or "degenerate".
        eps: where the continuation of c(1−c) begins.
    """

    log_coefficients: Float[Array, " n"] = eqx.field(converter=jnp.asarray)
    base: Literal["constant", "degenerate"] = eqx.field(static=True, default="constant")
    eps: float = eqx.field(static=True, default=1e-4)

    def __call__(self, c: Values) -> Values:
        """D at every cell."""
        d = jnp.exp(legendre_sum(self.log_coefficients, pointwise(_saturated, c)))
        return d if self.base == "constant" else d * vacancies(c, self.eps)


def vacancies(c: Values, eps: float) -> Values:
    """c(1−c), continued outside [eps, 1−eps] by a positive hyperbola, value and slope matched."""
    return pointwise(partial(_vacancies, eps=eps), c)


def _vacancies(c: Values, eps: float) -> Values:
    inside = jnp.clip(c, eps, 1 - eps)
    base = inside * (1 - inside)
    return base / (1 - (1 - 2 * inside) * (c - inside) / base)


def _saturated(c: Values) -> Values:
    """2c − 1, bent outside [−1, 1] towards ±1.25: a polynomial in an exponent must not leave."""
    x = 2 * c - 1
    inside = jnp.clip(x, -1, 1)
    beyond = x - inside
    return inside + beyond / (1 + 4 * jnp.abs(beyond))
