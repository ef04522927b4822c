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
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.physics.law_parameters import POSITIVE, REAL, Series, curve, data, parameter
from phdenoise.physics.pointwise import Values, legendre_sum, pointwise

Mobility = Callable[[Values], Values]


class ConstantMobility(eqx.Module):
    """D(c) = value."""

    value: Float[Array, ""] = parameter(POSITIVE, sd=3.0)

    @property
    def uniform(self) -> Float[Array, ""]:
        """The one number that the mobility is at every c."""
        return self.value

    def __call__(self, c: Values) -> Values:
        """D at every cell."""
        return self.value * jnp.ones_like(c)

    def resized(self, size: float) -> "ConstantMobility":
        """The constant mobility of this size [length²/time]."""
        return ConstantMobility(jnp.asarray(size, jnp.result_type(float)))


class DegenerateMobility(eqx.Module):
    """D(c) = scale · c(1−c): sites are needed on both ends of a jump.

    Args:
        scale: D₀ [length²/time].
        eps: where the positive continuation begins (that of the free energy by default, so that
            D·d²f/dc² stays of order one outside as well).
    """

    scale: Float[Array, ""] = parameter(POSITIVE, sd=3.0)
    eps: float = eqx.field(static=True, default=1e-4)

    def __call__(self, c: Values) -> Values:
        """D at every cell."""
        return self.scale * vacancies(c, self.eps)

    def resized(self, size: float) -> "DegenerateMobility":
        """The mobility that has this size at c = ½ [length²/time]."""
        return DegenerateMobility(jnp.asarray(4 * size, jnp.result_type(float)), self.eps)


class LegendreMobility(eqx.Module):
    """D(c) = exp(Σₙ qₙ Pₙ(2x−1)), times c(1−c) for the degenerate base; x = (c − low)/(high − low).

    Args:
        log_coefficients: q₀ … q_N.
        interval: (low, high), the concentrations over which the series is orthogonal.
        base: "constant" or "degenerate".
        eps: where the continuation of c(1−c) begins.
    """

    log_coefficients: Float[Array, " n"] = curve(
        REAL, sd=3.0, log="first", series=Series("q", 1, 4.0, "ln {}", "shape")
    )
    base: Literal["constant", "degenerate"] = eqx.field(static=True, default="constant")
    eps: float = eqx.field(static=True, default=1e-4)
    interval: Float[Array, " 2"] = data(default=(0.0, 1.0))

    def __call__(self, c: Values) -> Values:
        """D at every cell."""
        low, high = self.interval.astype(c.dtype)
        x = (c - low) / (high - low)
        d = jnp.exp(legendre_sum(self.log_coefficients, pointwise(_saturated, x)))
        return d if self.base == "constant" else d * vacancies(c, self.eps)

    def resized(self, size: float) -> "LegendreMobility":
        """The mobility without a shape that has this size at c = ½ [length²/time]."""
        top = size if self.base == "constant" else 4 * size
        q = np.zeros(self.log_coefficients.shape)
        q[0] = np.log(top)
        return eqx.tree_at(lambda m: m.log_coefficients, self, jnp.asarray(q))

    def over(self, low: float, high: float) -> "LegendreMobility":
        """The mobility with its series over other concentrations."""
        return eqx.tree_at(lambda m: m.interval, self, jnp.asarray([low, high]))


class LocalMobility(eqx.Module):
    """D(c) w(y, x) on the cells of a grid.

    Args:
        mobility: D(c).
        factor: w [y, x].
    """

    mobility: Mobility
    factor: Float[Array, "..."] = data()

    def __call__(self, c: Values) -> Values:
        """D at every cell; c has the last axes of the factor."""
        return self.mobility(c) * self.factor

    def on_edge(self, axis: int, end: int) -> "LocalMobility":
        """The same on the cells along an edge, which keep the axis.

        Args:
            axis: of the grid.
            end: 0 or −1.

        Returns:
            The mobility of arrays that have one cell along the axis.
        """
        cells = jax.lax.index_in_dim(self.factor, end, axis, keepdims=True)
        return LocalMobility(self.mobility, cells)


def vacancies(c: Values, eps: float) -> Values:
    """c(1−c), continued outside [eps, 1−eps] by a positive hyperbola, value and slope matched.

    Args:
        c: concentrations.
        eps: where the continuation begins.

    Returns:
        c(1−c), positive.
    """
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
