"""What a law implies: phases in equilibrium, spinodals, the barrier between them, and their interface.

Common tangent      μ_h(a) = μ_h(b) = (f(b) − f(a))/(b − a)
Excess              Δf(c) = f(c) − f(a) − μ_h(a)(c − a),   barrier = max Δf on (a, b)
Interface           c′ = √(2Δf/κ),   width (b − a)/max c′,   tension γ = ∫ₐᵇ √(2κ Δf) dc
Spinodals           f″ = 0

For an Allen-Cahn law, whose mean is free, the phases are the outer zeros of μ_h and their difference of f drives the
front. Cahn & Hilliard, J. Chem. Phys. 28, 258 (1958), doi:10.1063/1.1744102.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.polynomial import legendre

from phdenoise.learn.laws import LawSpace, Units

Values = Any
# Concentrations on which phases are looked for, closer together towards 0 and 1.
GRID = 1 / (1 + np.exp(-np.linspace(-9.0, 9.0, 401)))
NODES = 201


@dataclass(frozen=True)
class Derived:
    """A number that follows from a law.

    Attributes:
        name: such as "binodal_low".
        value: at the best law; nan where it has none.
        low, high: its 90 % interval among the laws that have it.
        share: of the laws within the uncertainty that have it.
        unit: of the movie.
        extrapolated: whether it rests on concentrations that the movie did not visit.
    """

    name: str
    value: float
    low: float
    high: float
    share: float
    unit: str
    extrapolated: bool


class Series(NamedTuple):
    """μ_h = ln(c/(1−c)) + Σₙ pₙ Pₙ(2c−1), its integral f and its derivative, in numpy."""

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


def series_of(space: LawSpace, theta: Float[np.ndarray, " p"]) -> Series:
    """The enthalpic series of θ."""
    p = np.asarray(theta[: space.enthalpies], float)
    return Series(np.concatenate([np.zeros(space.lowest), p]))


def numbers(space: LawSpace, theta: Float[np.ndarray, " p"], units: Units) -> dict[str, float]:
    """Derived numbers of one law in the movie's units; those that it has not are absent."""
    if space.model == "fickian" or not np.isfinite(theta).all():
        return {}
    series = series_of(space, theta)
    if space.model == "allen-cahn":
        return _reaction(series)
    pair = common_tangent(series)
    if pair is None:
        return {}
    a, b = pair
    kappa = float(np.exp(theta[-1])) * units.kappa
    # Nodes crowd at the ends, where the excess is a parabola: the mean over them is exact to round-off.
    phi = (np.arange(NODES) + 0.5) * np.pi / NODES
    c = a + (b - a) * 0.5 * (1 - np.cos(phi))
    slope = series.potential(a)
    excess = series.density(c) - series.density(a) - slope * (c - a)
    excess = np.maximum(excess, 0.0)
    top = float(excess.max())
    # Phases this alike are one within round-off.
    if top < 1e-12:
        return {}
    tension = (
        np.sqrt(2 * kappa) * np.pi / NODES * np.sum(np.sqrt(excess) * 0.5 * (b - a) * np.sin(phi))
    )
    found = {"binodal_low": a, "binodal_high": b}
    found |= _spinodals(series, a, b)
    return found | {
        "barrier": top,
        "interface_width": float((b - a) * np.sqrt(kappa / (2 * top))),
        "interface_tension": float(tension),
    }


def derive(
    space: LawSpace,
    theta: Float[np.ndarray, " p"],
    laws: Float[np.ndarray, "n p"],
    visited: tuple[float, float],
    units: Units,
) -> tuple[Derived, ...]:
    """Derived numbers with 90 % intervals.

    Args:
        space: of the law.
        theta: best law.
        laws: laws within its uncertainty.
        visited: lowest and highest concentration of the movie.
        units: of the movie.
    """
    here = numbers(space, theta, units)
    many = [numbers(space, law, units) for law in laws]
    length = {"interface_width": units.length_unit, "interface_tension": f"kT {units.length_unit}"}
    results = []
    names = dict.fromkeys(name for found in (here, *many) for name in found)
    for name in names:
        values = np.array([found[name] for found in many if name in found])
        low, high = np.quantile(values, (0.05, 0.95)) if values.size else (np.nan, np.nan)
        ends = (
            ("binodal_low", "binodal_high")
            if "binodal_low" in here
            else ("phase_low", "phase_high")
        )
        rests = [name] if name in _CONCENTRATIONS else list(ends)
        places = [here[n] for n in rests if n in here]
        outside = any(not visited[0] <= c <= visited[1] for c in places) or not places
        unit = "1" if name in _CONCENTRATIONS else length.get(name, "kT")
        share = values.size / max(len(many), 1)
        value = here.get(name, float("nan"))
        results.append(Derived(name, value, float(low), float(high), share, unit, outside))
    return tuple(results)


def common_tangent(series: Series) -> tuple[float, float] | None:
    """Concentrations of the two phases in equilibrium; the widest gap where there are several, None without one."""
    f = series.density(GRID)
    hull = _lower_hull(GRID, f)
    gaps = np.diff(hull)
    widest = int(np.argmax(gaps))
    if gaps[widest] < 3:
        return None
    a, b = GRID[hull[widest]], GRID[hull[widest + 1]]
    for _ in range(30):
        mu_a, mu_b = series.potential(a), series.potential(b)
        errors = np.array([mu_a - mu_b, series.density(b) - series.density(a) - mu_a * (b - a)])
        bend = series.curvature(a)
        slopes = np.array([[bend, -series.curvature(b)], [-bend * (b - a), mu_b - mu_a]])
        if not np.isfinite(slopes).all() or np.linalg.cond(slopes) > 1e14:
            break
        step = np.linalg.solve(slopes, errors)
        new_a = float(np.clip(a - step[0], 0.5 * a, 0.5 * (a + b)))
        new_b = float(np.clip(b - step[1], 0.5 * (a + b), 1 - 0.5 * (1 - b)))
        done = abs(new_a - a) + abs(new_b - b) < 1e-13
        a, b = new_a, new_b
        if done:
            break
    return (float(a), float(b)) if b - a > 1e-6 else None


_CONCENTRATIONS = (
    *("binodal_low", "binodal_high", "spinodal_low", "spinodal_high"),
    *("phase_low", "phase_high"),
)


def _reaction(series: Series) -> dict[str, float]:
    zeros = _roots(series.potential, 0.0, 1.0)
    if not zeros:
        return {}
    if len(zeros) < 3:
        return {"phase_low": zeros[0]}
    a, b = zeros[0], zeros[-1]
    force = float(series.density(b) - series.density(a))
    return {"phase_low": a, "phase_high": b} | _spinodals(series, a, b) | {"driving_force": force}


def _spinodals(series: Series, a: float, b: float) -> dict[str, float]:
    found = _roots(series.curvature, a, b)
    return {} if len(found) < 2 else {"spinodal_low": found[0], "spinodal_high": found[-1]}


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
