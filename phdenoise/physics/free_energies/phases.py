"""What a free energy implies: phases in equilibrium, spinodals, the barrier between them, and their interface.

Common tangent      μ_h(a) = μ_h(b) = (f(b) − f(a))/(b − a)
Excess              Δf(c) = f(c) − f(a) − μ_h(a)(c − a),   barrier = max Δf on (a, b)
Interface           c′ = √(2Δf/κ),   width (b − a)/max c′,   tension γ = ∫ₐᵇ √(2κ Δf) dc
Spinodals           f″ = 0

Where nothing is conserved, the phases are the outer zeros of μ_h and their difference of f drives the front. Plain numpy
in double precision: these are numbers for a report, of hundreds of laws.
Cahn & Hilliard, J. Chem. Phys. 28, 258 (1958), doi:10.1063/1.1744102.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy.polynomial import legendre
from scipy.interpolate import CubicHermiteSpline

from phdenoise.physics.law_parameters import ENERGY, LENGTH, NUMBER, Dimension

Values = Any
# Concentrations on which phases are looked for, closer together towards 0 and 1: 1e-4 to 1 − 1e-4, within which free
# energies are not continued yet.
GRID = 1 / (1 + np.exp(-np.linspace(-9.0, 9.0, 401)))
# Nodes of the quadrature across an interface. Its integrand is smooth and periodic in the angle of the nodes: the mean over
# them converges faster than any power of their number.
NODES = 201
# Nodes of the table that stands for a free energy without a form in numpy: 0.0045 apart in ln(c/(1−c)), over which a cubic errs
# by the fourth power.
TABLE = 4001
# Least barrier [kT] and distance of phases: below, they are one within round-off.
LEAST_BARRIER, LEAST_GAP = 1e-12, 1e-6


@runtime_checkable
class Potential(Protocol):
    """A free energy in numpy."""

    def density(self, c: Values) -> Values:
        """f(c) [kT per site]."""
        ...

    def potential(self, c: Values) -> Values:
        """μ_h(c) [kT]."""
        ...

    def curvature(self, c: Values) -> Values:
        """f″(c) [kT]."""
        ...


class LegendrePotential(NamedTuple):
    """μ_h = ln(c/(1−c)) + Σₙ pₙ Pₙ(2c−1), its integral f and its derivative."""

    p: Float[np.ndarray, " n"]

    def density(self, c: Values) -> Values:
        """f(c) [kT], zero at c = ½ but for the entropy."""
        entropy = c * np.log(c) + (1 - c) * np.log(1 - c)
        return entropy + 0.5 * legendre.legval(2 * c - 1, legendre.legint(self.p, lbnd=0))

    def potential(self, c: Values) -> Values:
        """μ_h(c) [kT]."""
        return np.log(c / (1 - c)) + legendre.legval(2 * c - 1, self.p)

    def curvature(self, c: Values) -> Values:
        """f″(c) [kT]."""
        return 1 / (c * (1 - c)) + 2 * legendre.legval(2 * c - 1, legendre.legder(self.p))


class TabulatedPotential(NamedTuple):
    """Any free energy, by cubic interpolation of a table."""

    f: CubicHermiteSpline
    mu: CubicHermiteSpline

    def density(self, c: Values) -> Values:
        """f(c) [kT]."""
        return self.f(c)

    def potential(self, c: Values) -> Values:
        """μ_h(c) [kT]."""
        return self.mu(c)

    def curvature(self, c: Values) -> Values:
        """f″(c) [kT]."""
        return self.mu(c, 1)


def potential_of(free_energy: Any) -> Potential:
    """A free energy in numpy: its own form (`in_numpy`) where it has one, else a table."""
    own = getattr(free_energy, "in_numpy", None)
    if own is not None:
        return own()
    c = 1 / (1 + np.exp(-np.linspace(-9.0, 9.0, TABLE)))
    at = jnp.asarray(c)
    f, mu, slope = (
        np.asarray(method(at), float)
        for method in (free_energy.density, free_energy.chemical_potential, free_energy.curvature)
    )
    return TabulatedPotential(CubicHermiteSpline(c, f, mu), CubicHermiteSpline(c, mu, slope))


class Number(NamedTuple):
    """A number that follows from a law.

    Attributes:
        value: in the units of the law.
        dimension: of it.
        rests_on: concentrations at which the law must be known for it.
    """

    value: float
    dimension: Dimension = NUMBER
    rests_on: tuple[float, ...] = ()


def demixing(energy: Potential, kappa: float) -> dict[str, Number]:
    """Phases in equilibrium of a conserved field, and what lies between them.

    Args:
        energy: the free energy.
        kappa: gradient coefficient [kT length²].

    Returns:
        binodal_low and binodal_high, spinodal_low and spinodal_high, barrier, interface_width and interface_tension;
        empty without two phases.
    """
    pair = common_tangent(energy)
    if pair is None:
        return {}
    a, b = pair
    # Nodes crowd at the ends, where the excess is a parabola: the mean over them is exact to round-off.
    phi = (np.arange(NODES) + 0.5) * np.pi / NODES
    c = a + (b - a) * 0.5 * (1 - np.cos(phi))
    slope = energy.potential(a)
    excess = energy.density(c) - energy.density(a) - slope * (c - a)
    excess = np.maximum(excess, 0.0)
    top = float(excess.max())
    if top < LEAST_BARRIER:
        return {}
    tension = (
        np.sqrt(2 * kappa) * np.pi / NODES * np.sum(np.sqrt(excess) * 0.5 * (b - a) * np.sin(phi))
    )
    width = float((b - a) * np.sqrt(kappa / (2 * top)))
    tense = Dimension(energy=1, length=1)
    return (
        _places({"binodal_low": a, "binodal_high": b})
        | _spinodals(energy, a, b)
        | {
            "barrier": Number(top, ENERGY, pair),
            "interface_width": Number(width, LENGTH, pair),
            "interface_tension": Number(float(tension), tense, pair),
        }
    )


def driven_phases(energy: Potential) -> dict[str, Number]:
    """Phases of a field that is not conserved: the outer zeros of μ_h, and what drives their front.

    Args:
        energy: the free energy.

    Returns:
        phase_low, and with a second phase phase_high, spinodal_low, spinodal_high and driving_force; empty without a zero.
    """
    zeros = _roots(energy.potential, 0.0, 1.0)
    if not zeros:
        return {}
    if len(zeros) < 3:
        return _places({"phase_low": zeros[0]})
    a, b = zeros[0], zeros[-1]
    force = float(energy.density(b) - energy.density(a))
    found = _places({"phase_low": a, "phase_high": b}) | _spinodals(energy, a, b)
    return found | {"driving_force": Number(force, ENERGY, (a, b))}


def common_tangent(energy: Potential) -> tuple[float, float] | None:
    """Concentrations of the two phases in equilibrium; the widest gap where there are several, None without one."""
    f = energy.density(GRID)
    hull = _lower_hull(GRID, f)
    gaps = np.diff(hull)
    widest = int(np.argmax(gaps))
    if gaps[widest] < 3:
        return None
    a, b = GRID[hull[widest]], GRID[hull[widest + 1]]
    for _ in range(30):
        mu_a, mu_b = energy.potential(a), energy.potential(b)
        errors = np.array([mu_a - mu_b, energy.density(b) - energy.density(a) - mu_a * (b - a)])
        bend = energy.curvature(a)
        slopes = np.array([[bend, -energy.curvature(b)], [-bend * (b - a), mu_b - mu_a]])
        if not np.isfinite(slopes).all() or np.linalg.cond(slopes) > 1e14:
            break
        step = np.linalg.solve(slopes, errors)
        new_a = float(np.clip(a - step[0], 0.5 * a, 0.5 * (a + b)))
        new_b = float(np.clip(b - step[1], 0.5 * (a + b), 1 - 0.5 * (1 - b)))
        done = abs(new_a - a) + abs(new_b - b) < 1e-13
        a, b = new_a, new_b
        if done:
            break
    return (float(a), float(b)) if b - a > LEAST_GAP else None


def _places(found: dict[str, float]) -> dict[str, Number]:
    """Concentrations, each of which rests on itself."""
    return {name: Number(c, NUMBER, (c,)) for name, c in found.items()}


def _spinodals(energy: Potential, a: float, b: float) -> dict[str, Number]:
    found = _roots(energy.curvature, a, b)
    if len(found) < 2:
        return {}
    return _places({"spinodal_low": found[0], "spinodal_high": found[-1]})


def _roots(function: Callable[[np.ndarray], np.ndarray], low: float, high: float) -> list[float]:
    """Roots between low and high: sign changes on the grid, then bisection."""
    c = GRID[(low < GRID) & (high > GRID)]
    values = function(c)
    found = []
    for i in np.flatnonzero(np.sign(values[1:]) * np.sign(values[:-1]) < 0):
        left, right, sign = c[i], c[i + 1], np.sign(values[i])
        for _ in range(50):
            middle = 0.5 * (left + right)
            if np.sign(function(middle)) == sign:
                left = middle
            else:
                right = middle
        found.append(float(0.5 * (left + right)))
    return found


def _lower_hull(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Indices of the lower convex hull of points sorted by x (Andrew's monotone chain)."""
    kept: list[int] = []
    xs, ys = x.tolist(), y.tolist()
    for i in range(len(xs)):
        while len(kept) > 1:
            j, k = kept[-2], kept[-1]
            if (xs[k] - xs[j]) * (ys[i] - ys[j]) > (ys[k] - ys[j]) * (xs[i] - xs[j]):
                break
            kept.pop()
        kept.append(i)
    return np.array(kept)
