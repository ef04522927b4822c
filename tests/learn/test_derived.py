"""Derived numbers against the regular solution, whose phases are known, and quartic wells."""

import numpy as np
import pytest
from families import family, point
from scipy import integrate, optimize

from phdenoise.learn.derived import derive, numbers
from phdenoise.learn.identifiability import identify
from phdenoise.learn.laws import Units
from phdenoise.physics.free_energies.phases import LegendrePotential, common_tangent

CH = family("cahn-hilliard", 3, 1)


def _regular(omega, kappa=0.002):
    return point(CH, 1.0, kappa, omega)


def _numbers(family, theta, units):
    return {k: n.value for k, n in numbers(family, theta[None], units)[0].items()}


@pytest.mark.parametrize("omega", [2.1, 3.0, 4.5])
def test_phases_and_interface_of_the_regular_solution(omega):
    found = _numbers(CH, _regular(omega), Units())
    # Symmetric: the tangent is horizontal, ln(c/(1-c)) = -omega (1 - 2c).
    low = optimize.brentq(
        lambda c: np.log(c / (1 - c)) + omega * (1 - 2 * c),
        1e-6,
        0.5 * (1 - np.sqrt(1 - 2 / omega)),
    )
    assert found["binodal_low"] == pytest.approx(low, abs=1e-9)
    assert found["binodal_high"] == pytest.approx(1 - low, abs=1e-9)
    half = 0.5 * np.sqrt(1 - 2 / omega)
    assert found["spinodal_low"] == pytest.approx(0.5 - half, abs=1e-9)
    assert found["spinodal_high"] == pytest.approx(0.5 + half, abs=1e-9)

    def f(c):
        return c * np.log(c) + (1 - c) * np.log(1 - c) + omega * c * (1 - c)

    top = f(0.5) - f(low)
    assert found["barrier"] == pytest.approx(top, rel=1e-4)
    assert found["interface_width"] == pytest.approx(
        (1 - 2 * low) * np.sqrt(0.002 / 2 / top), rel=1e-4
    )
    tension = integrate.quad(lambda c: np.sqrt(2 * 0.002 * max(f(c) - f(low), 0)), low, 1 - low)[0]
    assert found["interface_tension"] == pytest.approx(tension, rel=1e-4)


def test_a_tilt_moves_no_phase_and_units_scale():
    """A constant added to μ_h changes neither the tangent's touching points nor the interface."""
    plain, tilted = (
        LegendrePotential(np.array([0.0, -3.0])),
        LegendrePotential(np.array([0.7, -3.0])),
    )
    assert common_tangent(plain) == pytest.approx(common_tangent(tilted), abs=1e-9)
    one, ten = (_numbers(CH, _regular(3.0), Units(length=h)) for h in (1.0, 10.0))
    for name in ("interface_width", "interface_tension"):
        assert ten[name] == pytest.approx(10 * one[name])
    assert ten["barrier"] == pytest.approx(one["barrier"])


def test_mixing_laws_have_no_phases():
    assert _numbers(CH, _regular(1.5), Units()) == {}
    assert _numbers(family("fickian", 3, 1), np.zeros(2), Units()) == {}


def test_phases_of_a_reaction_are_where_nothing_drives_it():
    space = family("allen-cahn", 2, 0)
    theta = point(space, 1.0, 2.0, 3.0)
    theta[0] = 0.1
    found = _numbers(space, theta, Units())
    series = LegendrePotential(np.array([0.1, -3.0, 0.0]))
    for name in ("phase_low", "phase_high"):
        assert series.potential(np.array(found[name])) == pytest.approx(0.0, abs=1e-9)
    # To first order the tilt times the distance of the phases.
    gap = found["phase_high"] - found["phase_low"]
    assert found["driving_force"] == pytest.approx(0.1 * gap, rel=0.02)


def test_intervals_and_what_was_not_visited():
    rng = np.random.default_rng(0)
    laws = np.tile(_regular(3.0), (200, 1))
    laws[:, 0] += 0.1 * rng.normal(size=200)
    by_name = {d.name: d for d in derive(CH, _regular(3.0), laws, (0.1, 0.95), Units())}
    low = by_name["binodal_low"]
    assert low.low < low.value < low.high
    assert low.extrapolated
    assert not by_name["binodal_high"].extrapolated
    assert not by_name["spinodal_low"].extrapolated
    assert by_name["barrier"].extrapolated
    # Spinodals of omega = 3 ± 0.16: ½(1 − √(1 − 2/omega)).
    edges = [0.5 * (1 - np.sqrt(1 - 2 / (3 + s * 0.1645))) for s in (1, -1)]
    spinodal = by_name["spinodal_low"]
    np.testing.assert_allclose([spinodal.low, spinodal.high], edges, atol=0.004)
    # At the critical point half of the laws separate.
    laws[:, 0] += 1.0
    share = {d.name: d for d in derive(CH, _regular(2.0), laws, (0.1, 0.9), Units())}
    assert 0.3 < share["barrier"].share < 0.7


def test_least_identifiable_direction_is_named():
    named = [c for c in CH.components if c.name in ("p_1", "q_0", "ln_kappa")]
    names, labels = (tuple(getattr(c, k) for c in named) for k in ("name", "label"))
    # The data know p_1 + q_0 and ln_kappa well, p_1 − q_0 not at all.
    rows = np.array([[100.0, 100.0, 0.0], [0.0, 0.0, 50.0]])
    found = identify(rows.T @ rows, np.ones(3), names, labels)
    assert found.rank == 2
    assert found.narrowed == pytest.approx(1.0)
    assert abs(found.direction["p_1"] + found.direction["q_0"]) < 1e-9
    assert "mu_h" in found.sentence
    assert "ln D" in found.sentence
    assert "only the prior" in found.sentence
    assert "kappa" not in found.sentence
    assert identify(np.full((3, 3), np.nan), np.ones(3), names, labels) is None
