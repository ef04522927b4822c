"""Laws as small networks of one number, for shapes no polynomial of low degree has.

    g(c) = v₀ + Σₘ vₘ wₘ tanh(wₘ (2c−1) + bₘ)                smooth, bounded outside [0, 1]
    increasing:   vₘ > 0 through exp, since dg/dc = 2 Σ vₘ wₘ² sech²
    D, M or j₀ = exp g(c);     f = entropy + ∫g,   μ_h = ln(c/(1−c)) + g(c)

With the factor wₘ the antiderivative is ½ Σ vₘ ln cosh, so that f is exact and μ_h = df/dc to round-off. A convex free energy (no
phase separation) is an increasing g. Monotone networks: Daniels & Velikova, doi:10.1109/TNN.2010.2044803.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from phdenoise.physics.free_energies.regular_solution import logit, mixing_entropy
from phdenoise.physics.law_parameters import NUMBER, POSITIVE, REAL, curve, parameter
from phdenoise.physics.mobility import vacancies
from phdenoise.physics.pointwise import Values


class Network(eqx.Module):
    """g(c) = v₀ + Σ vₘ wₘ tanh(wₘ (2c−1) + bₘ), of any shape.

    Args:
        heights: v [m].
        slopes: w [m].
        shifts: b [m].
        level: v₀.
    """

    heights: Float[Array, " m"] = curve(REAL, sd=2.0, mean=0.0, dimension=NUMBER)
    slopes: Float[Array, " m"] = curve(REAL, sd=2.0, dimension=NUMBER)
    shifts: Float[Array, " m"] = curve(REAL, sd=2.0, mean=0.0, dimension=NUMBER)
    level: Float[Array, ""] = parameter(REAL, sd=5.0)

    def __call__(self, c: Values) -> Values:
        """g at every cell."""
        return _sum(self.heights, self.slopes, self.shifts, c) + self.level.astype(c.dtype)

    def integral(self, c: Values) -> Values:
        """∫g from ½ to c."""
        return _integral(self.heights, self.slopes, self.shifts, self.level, c)


class IncreasingNetwork(Network):
    """The same with positive heights, v > 0: dg/dc > 0 everywhere."""

    heights: Float[Array, " m"] = curve(POSITIVE, sd=2.0, dimension=NUMBER)


class NetworkEnthalpy(eqx.Module):
    """μ_h = ln(c/(1−c)) + g(c).

    Args:
        network: g, `Network`; `IncreasingNetwork` for a convex free energy.
        eps: where the continuation of the logarithm begins.
    """

    network: Network
    eps: float = eqx.field(static=True, default=1e-4)

    def density(self, c: Values) -> Values:
        """Entropy plus ∫g from ½ [kT per site]."""
        return mixing_entropy(c, self.eps) + self.network.integral(c)

    def chemical_potential(self, c: Values) -> Values:
        """ln(c/(1−c)) + g(c) [kT]."""
        return logit(c, self.eps) + self.network(c)

    def curvature(self, c: Values) -> Values:
        """Derivative of the potential [kT]."""
        return jax.jvp(self.chemical_potential, (c,), (jnp.ones_like(c),))[1]


class NetworkMobility(eqx.Module):
    """D, M or j₀ = exp g(c), times c(1−c) for the degenerate base; increasing with g.

    Args:
        network: g = ln D.
        degenerate: with c(1−c).
        eps: where the continuation of c(1−c) begins.
    """

    network: Network = eqx.field(metadata={"log": "all"})
    degenerate: bool = eqx.field(static=True, default=False)
    eps: float = eqx.field(static=True, default=1e-4)

    def __call__(self, c: Values) -> Values:
        """The law at every cell, positive."""
        value = jnp.exp(self.network(c))
        return value * vacancies(c, self.eps) if self.degenerate else value


def random_network(
    key: PRNGKeyArray, width: int, *, increasing: bool = False, level: float = 0.0
) -> Network:
    """A nearly constant network whose steps are spread over [0, 1], to start a fit from.

    Args:
        key: of the random heights.
        width: number of steps m.
        increasing: whether heights are positive.
        level: v₀.

    Returns:
        The network.
    """
    places = jnp.linspace(-1, 1, width)
    heights = 0.1 * jax.random.normal(key, (width,)) / width
    slopes, start = jnp.full((width,), 2.0), jnp.asarray(level)
    if increasing:
        return IncreasingNetwork(jnp.abs(heights) + 1e-3, slopes, -slopes * places, start)
    return Network(heights, slopes, -slopes * places, start)


def _sum(v: Array, w: Array, b: Array, c: Values) -> Values:
    total = jnp.zeros_like(c)
    for m in range(v.shape[0]):
        total += v[m] * w[m] * jnp.tanh(w[m] * (2 * c - 1) + b[m])
    return total


def _integral(v: Array, w: Array, b: Array, level: Array, c: Values) -> Values:
    total = level.astype(c.dtype) * (c - 0.5)
    for m in range(v.shape[0]):
        total += 0.5 * v[m] * (_log_cosh(w[m] * (2 * c - 1) + b[m]) - _log_cosh(b[m]))
    return total


def _log_cosh(x: Array) -> Array:
    return jnp.logaddexp(x, -x) - np.log(2.0)
