"""Laws as cubic B-splines: local, so that what one concentration shows does not move another.

    μ_h = ln(c/(1−c)) + Σₙ aₙ Bₙ(c),   f = entropy + Σₙ aₙ ∫Bₙ,   D or j₀ = exp( Σₙ qₙ Bₙ(c) )

Uniform knots on [0, 1], twice continuously differentiable; beyond the ends the spline goes on as its tangent
in μ_h, and bends to a constant in the exponent. de Boor, A Practical Guide to Splines (1978),
doi:10.1007/978-1-4612-6333-3; penalty on differences: Eilers & Marx, doi:10.1214/ss/1038425655.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.physics.free_energies.regular_solution import logit, mixing_entropy
from phdenoise.physics.law_parameters import ENERGY, REAL, curve
from phdenoise.physics.mobility import vacancies
from phdenoise.physics.pointwise import Values
from phdenoise.types import InputError


class SplineEnthalpy(eqx.Module):
    """μ_h = ln(c/(1−c)) + Σ aₙ Bₙ(c).

    Args:
        coefficients: a of n ≥ 4 B-splines [kT]; the sum of all Bₙ is one, a constant of μ_h that dynamics
            without a reaction cannot show.
        eps: where the continuation of the logarithm begins.
    """

    coefficients: Float[Array, " n"] = curve(REAL, sd=5.0, dimension=ENERGY)
    eps: float = eqx.field(static=True, default=1e-4)

    def __check_init__(self) -> None:
        _check(self.coefficients)

    def density(self, c: Values) -> Values:
        """Entropy plus Σ aₙ ∫Bₙ from 0 [kT per site]."""
        inside = jnp.clip(c, 0, 1)
        value, slope = _value_and_slope(self.coefficients, inside)
        beyond = c - inside
        excess = _integral(self.coefficients, inside) + value * beyond + 0.5 * slope * beyond**2
        return mixing_entropy(c, self.eps) + excess

    def chemical_potential(self, c: Values) -> Values:
        """ln(c/(1−c)) + Σ aₙ Bₙ(c) [kT]."""
        return logit(c, self.eps) + spline(self.coefficients, c)

    def curvature(self, c: Values) -> Values:
        """Derivative of the potential [kT]."""
        return jax.jvp(self.chemical_potential, (c,), (jnp.ones_like(c),))[1]


class SplineMobility(eqx.Module):
    """D, M or j₀ = exp( Σ qₙ Bₙ(c) ), times c(1−c) for the degenerate base.

    Args:
        log_coefficients: q of n ≥ 4 B-splines.
        degenerate: with c(1−c).
        eps: where the continuation of c(1−c) begins.
    """

    log_coefficients: Float[Array, " n"] = curve(REAL, sd=3.0, log="all")
    degenerate: bool = eqx.field(static=True, default=False)
    eps: float = eqx.field(static=True, default=1e-4)

    def __check_init__(self) -> None:
        _check(self.log_coefficients)

    def __call__(self, c: Values) -> Values:
        """The law at every cell, positive."""
        value = jnp.exp(spline(self.log_coefficients, saturated(c)))
        return value * vacancies(c, self.eps) if self.degenerate else value


def spline(coefficients: Float[Array, " n"], c: Values) -> Values:
    """Σ aₙ Bₙ(c), the tangents at 0 and 1 beyond them.

    Args:
        coefficients: a of n functions.
        c: concentrations.

    Returns:
        Values at c.
    """
    inside = jnp.clip(c, 0, 1)
    value, slope = _value_and_slope(coefficients, inside)
    return value + slope * (c - inside)


def saturated(c: Values) -> Values:
    """c, bent outside [0, 1] towards −1/8 and 9/8: what stands in an exponent must not leave."""
    inside = jnp.clip(c, 0, 1)
    beyond = c - inside
    return inside + beyond / (1 + 8 * jnp.abs(beyond))


def spline_fit(
    count: int, c: Float[np.ndarray, " m"], values: Float[np.ndarray, " m"]
) -> np.ndarray:
    """Coefficients of the spline of `count` functions nearest to the values at c, by least squares.

    Args:
        count: number of functions, at least 4.
        c: concentrations [m].
        values: of the curve there [m].

    Returns:
        Coefficients [count].
    """
    unit = jnp.eye(count, dtype=jnp.result_type(float))
    basis = jax.vmap(spline, (0, None))(unit, jnp.asarray(c, unit.dtype))
    return np.linalg.lstsq(np.asarray(basis, float).T, np.asarray(values, float), rcond=None)[0]


def _value_and_slope(a: Float[Array, " n"], c: Values) -> tuple[Values, Values]:
    """Σ aₙ Bₙ and its derivative at c in [0, 1]."""
    (a0, a1, a2, a3), u, _ = _interval(a, c)
    v = 1 - u
    w1, w2 = 4 - 3 * u**2 * (2 - u), 4 - 3 * v**2 * (2 - v)
    value = (v**3 * a0 + w1 * a1 + w2 * a2 + u**3 * a3) / 6
    # Differences of coefficients: a constant has no slope, to the last bit.
    middle = 0.5 + u * v
    slope = 0.5 * v**2 * (a1 - a0) + middle * (a2 - a1) + 0.5 * u**2 * (a3 - a2)
    return value, slope * (a.shape[0] - 3)


def _integral(a: Float[Array, " n"], c: Values) -> Values:
    """∫ Σ aₙ Bₙ from 0 to c in [0, 1]."""
    (a0, a1, a2, a3), u, i = _interval(a, c)
    whole = (a[:-3] + 11 * a[1:-2] + 11 * a[2:-1] + a[3:]) / 24
    before = jnp.concatenate([jnp.zeros_like(a[:1]), jnp.cumsum(whole)])
    part = (
        (1 - (1 - u) ** 4) * a0
        + u * (16 - 8 * u**2 + 3 * u**3) * a1
        + u * (4 + 6 * u + 4 * u**2 - 3 * u**3) * a2
        + u**4 * a3
    ) / 24
    return (before[i] + part) / (a.shape[0] - 3)


def _interval(a: Float[Array, " n"], c: Values) -> tuple[tuple[Values, ...], Values, Array]:
    """The four coefficients that matter at c, the place within its interval, and its number."""
    intervals = a.shape[0] - 3
    i = jnp.clip(jnp.floor(c * intervals), 0, intervals - 1).astype(jnp.int32)
    return tuple(a[i + k] for k in range(4)), c * intervals - i, i


def _check(coefficients: Array) -> None:
    if coefficients.ndim == 1 and coefficients.shape[0] < 4:
        raise InputError(
            f"A cubic spline needs at least 4 coefficients, not {coefficients.shape[0]}."
        )
