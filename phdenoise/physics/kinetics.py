"""Insertion reactions: the rate of a cell at its overpotential, and the voltage of a current.

    ∂c/∂t = k R(c, μ + V),   η = μ + V [kT],   R falls with η and vanishes at η = 0

    Butler-Volmer            R = j₀(c) [ exp(−αη) − exp((1−α)η) ]
    coupled ion-electron     R = (1−c)/√(4πλ) [ c₊ κ(−η_f) − c κ(η_f) ],   η_f = η + ln(c₊/c)

with κ(x) = √(πλ) σ(x) erfc[ (λ − √(1 + √λ + x²)) / 2√λ ], σ the logistic function, the Marcus rate over
the Fermi distribution to 5 % at λ = 8.3 and 11 % for λ in 1 … 20 (by quadrature), its ratio exact. V > 0 takes ions out. At constant current V is the root of
⟨k R⟩ = current: closed for α = ½, one scalar equation for other α, an equation over the field otherwise.

Outside (eps, 1 − eps) ln c and ln(1−c) go on as their tangents, in j₀ as in μ_h, so that they cancel between
the two as they do inside. A noisy cell then relaxes slowly; a j₀ that is only kept positive would make the
equation stiff. Either one-way rate above e¹⁰ goes on as a straight line; V stays a factor of both. Bazant, Acc. Chem. Res. 46, 1144 (2013), doi:10.1021/ar300145c; Fraggedakis et al., Electrochim.
Acta 367, 137432 (2021), doi:10.1016/j.electacta.2020.137432; Zeng et al., J. Electroanal. Chem. 735, 77
(2014), doi:10.1016/j.jelechem.2014.09.038.
"""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import erfc
from jaxtyping import Array

from phdenoise.physics.law_parameters import REAL, UNIT, parameter
from phdenoise.physics.mobility import Mobility
from phdenoise.physics.monotone_root import decreasing_root
from phdenoise.physics.pointwise import Values, pointwise
from phdenoise.types import Scalar

# Widest search for a voltage beyond the range of −μ [kT]: just below 88, where exp overflows in float32.
VOLTAGE_SEARCH = 80.0
# Exponent above which a one-way rate goes on as a straight line, so that noise cannot make the equation stiff: e¹⁰ k is
# ten thousand times the rate constant, beyond any imposed current.
LARGEST_EXPONENT = 10.0


class Kinetics(eqx.Module):
    """A rate law."""

    def rate(self, c: Values, mu: Values, voltage: Scalar) -> Values:
        """R(c, μ + V); its sign is that of −(μ + V).

        Args:
            c: concentration [*cells].
            mu: chemical potential μ [*cells] [kT].
            voltage: V [kT/e].

        Returns:
            Rates [*cells] [units of k].
        """
        raise NotImplementedError

    def edge(self) -> float:
        """ε within (0, 1) where the logarithms of c and 1 − c are continued."""
        raise NotImplementedError

    def voltage(self, c: Values, mu: Values, weight: Values, current: Scalar) -> Scalar:
        """V [kT] at which Σ weight · R = current.

        Args:
            c, mu: concentration and chemical potential [*cells] [kT].
            weight: k over the number of cells, zero outside the particle [1/time].
            current: wanted sum [1/time].

        Returns:
            V [kT/e].
        """
        weight = jnp.broadcast_to(weight, c.shape)
        inside = jnp.where(weight > 0, mu, 0)
        reach = VOLTAGE_SEARCH + jnp.max(jnp.abs(inside))
        guess = -jnp.sum(weight * inside) / jnp.sum(weight)

        def excess(v: Scalar) -> Scalar:
            return jnp.sum(weight * self.rate(c, mu, v)) - current

        return decreasing_root(excess, guess, -reach, reach)


class ExchangeCurrent(eqx.Module):
    """j₀(c) = c^a (1−c)^b m(c), never negative and C¹ for every c.

    a = b = ½: the transition state of ideal Butler-Volmer; a = ½, b = 1: one that excludes a site, learnt for
    LiFePO₄ by Zhao et al., Nature 621, 289 (2023), doi:10.1038/s41586-023-06393-x.

    Args:
        filled, free: exponents a and b of c and 1 − c.
        factor: m(c), any mobility; one by default.
        eps: where the logarithms are continued; that of the free energy.
    """

    filled: Scalar = parameter(REAL, sd=0.5, default=0.5)
    free: Scalar = parameter(REAL, sd=0.5, default=1.0)
    factor: Mobility | None = None
    eps: float = eqx.field(static=True, default=1e-4)

    def __call__(self, c: Values) -> Values:
        """j₀ at every cell."""
        return jnp.exp(self.log(c))

    def log(self, c: Values) -> Values:
        """ln j₀ at every cell."""
        total = self.filled * log_part(c, self.eps) + self.free * log_part(1 - c, self.eps)
        return total if self.factor is None else total + jnp.log(self.factor(c))


class ButlerVolmer(Kinetics):
    """R = j₀(c) [ exp(−αη) − exp((1−α)η) ] for any α in (0, 1).

    Args:
        exchange: j₀(c).
        alpha: charge-transfer coefficient of the insertion.
    """

    exchange: ExchangeCurrent
    alpha: Scalar = parameter(UNIT, sd=0.5)

    def edge(self) -> float:
        """ε of the exchange current."""
        return self.exchange.eps

    def rate(self, c: Values, mu: Values, voltage: Scalar) -> Values:
        """j₀ [ exp(−αη) − exp((1−α)η) ].

        Args:
            c, mu, voltage: as in `Kinetics.rate`.

        Returns:
            Rates [*cells].
        """
        a, b = self._exponents()
        forth, back = _one_way(self.exchange, c, -a * mu, b * mu)
        return forth * jnp.exp(-a * voltage) - back * jnp.exp(b * voltage)

    def voltage(self, c: Values, mu: Values, weight: Values, current: Scalar) -> Scalar:
        """Root of A exp(−αV) − B exp((1−α)V) = I, A and B the sums over the cells at V = 0.

        Args:
            c, mu, weight, current: as in `Kinetics.voltage`.

        Returns:
            V [kT/e].
        """
        a, b = self._exponents()
        forth, back = (jnp.sum(weight * x) for x in _one_way(self.exchange, c, -a * mu, b * mu))
        # Measured from rest, where both terms are one: neither overflows nor cancels.
        rest = jnp.log(forth / back)
        scaled = current / (forth**b * back**a)

        def excess(v: Scalar) -> Scalar:
            return jnp.exp(-a * v) - jnp.exp(b * v) - scaled

        reach = jnp.log(2 + jnp.abs(scaled)) / jnp.minimum(a, b)
        return rest + decreasing_root(excess, -2 * jnp.arcsinh(scaled / 2), -reach, reach)

    def _exponents(self) -> tuple[Scalar, Scalar]:
        return self.alpha, 1 - self.alpha


class SymmetricButlerVolmer(Kinetics):
    """R = j₀(c) [ exp(−η/2) − exp(η/2) ], whose voltage at a given current is closed.

    Args:
        exchange: j₀(c).
    """

    exchange: ExchangeCurrent

    def edge(self) -> float:
        """ε of the exchange current."""
        return self.exchange.eps

    def rate(self, c: Values, mu: Values, voltage: Scalar) -> Values:
        """j₀ [ exp(−η/2) − exp(η/2) ].

        Args:
            c, mu, voltage: as in `Kinetics.rate`.

        Returns:
            Rates [*cells].
        """
        forth, back = _one_way(self.exchange, c, -0.5 * mu, 0.5 * mu)
        return forth * jnp.exp(-0.5 * voltage) - back * jnp.exp(0.5 * voltage)

    def voltage(self, c: Values, mu: Values, weight: Values, current: Scalar) -> Scalar:
        """ln(A/B) − 2 arsinh(I / 2√(AB)), A and B the sums of exp(∓μ/2) over the cells.

        The root y = exp(V/2) of A/y − B y = I, without the cancellation of the quadratic formula.

        Args:
            c, mu, weight, current: as in `Kinetics.voltage`.

        Returns:
            V [kT/e].
        """
        forth, back = (jnp.sum(weight * x) for x in _one_way(self.exchange, c, -0.5 * mu, 0.5 * mu))
        return jnp.log(forth / back) - 2 * jnp.arcsinh(0.5 * current / jnp.sqrt(forth * back))


class CoupledIonElectron(Kinetics):
    """Coupled ion-electron transfer: Butler-Volmer at small η, a limiting current at large.

    Insertion never exceeds Σ weight (1−c) c₊ (−Σ weight c (1−c) for extraction): at a larger imposed
    current the voltage stops at the end of its search and the current falls short.

    Args:
        reorganisation: λ [kT].
        activity: c₊ of the ion in the electrolyte.
        eps: below this and above 1 − eps the concentration enters as its continuation.
    """

    reorganisation: Scalar = eqx.field(converter=jnp.asarray)
    activity: Scalar = eqx.field(converter=jnp.asarray, default=1.0)
    eps: float = eqx.field(static=True, default=1e-4)

    def edge(self) -> float:
        """ε of this law."""
        return self.eps

    def rate(self, c: Values, mu: Values, voltage: Scalar) -> Values:
        """(1−c)/√(4πλ) [ c₊ κ(−η_f) − c κ(η_f) ].

        Args:
            c, mu, voltage: as in `Kinetics.rate`.

        Returns:
            Rates [*cells].
        """
        filled, free = log_part(c, self.eps), jnp.exp(log_part(1 - c, self.eps))
        formal = mu + voltage + jnp.log(self.activity) - filled
        forth = self.activity * marcus(-formal, self.reorganisation)
        back = jnp.exp(filled) * marcus(formal, self.reorganisation)
        return free * (forth - back) / jnp.sqrt(4 * jnp.pi * self.reorganisation)

    def exchange(self, c: Values) -> Values:
        """j₀(c): the rate of either direction at η = 0."""
        filled, free = log_part(c, self.eps), jnp.exp(log_part(1 - c, self.eps))
        back = jnp.exp(filled) * marcus(jnp.log(self.activity) - filled, self.reorganisation)
        return free * back / jnp.sqrt(4 * jnp.pi * self.reorganisation)


def bounded_exp(x: Values) -> Values:
    """exp(x), continued above x = 10 by its tangent."""
    return pointwise(_bounded_exp, x)


def log_part(x: Values, eps: float) -> Values:
    """ln x, continued below eps by its tangent.

    Args:
        x: values of any shape.
        eps: where the continuation begins.

    Returns:
        Values of the shape of x.
    """
    return pointwise(partial(_log_part, eps=eps), x)


def marcus(x: Values, reorganisation: Scalar) -> Values:
    """κ(x) ≈ ∫ exp[−(y − λ + x)²/4λ] / (1 + exp y) dy; κ(−x)/κ(x) = exp(−x) exactly.

    Args:
        x: values of any shape [kT].
        reorganisation: λ [kT].

    Returns:
        Values of the shape of x.
    """
    root = jnp.sqrt(reorganisation)
    gap = (reorganisation - jnp.sqrt(1 + root + x**2)) / (2 * root)
    return jnp.sqrt(jnp.pi * reorganisation) * jax.nn.sigmoid(x) * erfc(gap)


def _bounded_exp(x: Array) -> Array:
    below = jnp.minimum(x, LARGEST_EXPONENT)
    return jnp.exp(below) * (1 + (x - below))


def _log_part(x: Array, eps: float) -> Array:
    inside = jnp.maximum(x, eps)
    return jnp.log(inside) + (x - inside) / eps


def _one_way(
    exchange: ExchangeCurrent, c: Values, forth: Values, back: Values
) -> tuple[Values, Values]:
    """j₀ exp(forth) and j₀ exp(back), multiplied as exponents: either factor may overflow alone."""
    level = exchange.log(c)
    return bounded_exp(level + forth), bounded_exp(level + back)
