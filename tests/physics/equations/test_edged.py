"""Faces with values: names, units, and the right field at the order of each stepper, also where values change in time."""

import jax.numpy as jnp
import numpy as np
import pytest

from phdenoise.grid import Fixed, Flux, Grid
from phdenoise.physics.equations.edged import Fed, Held, HeldInTime, OpenRim, Polyline, WithEdges
from phdenoise.physics.equations.fickian import Fickian
from phdenoise.physics.law_parameters import free_parameters, rescaled
from phdenoise.physics.mobility import LegendreMobility
from phdenoise.physics.simulate import advance, simulate
from phdenoise.physics.steppers.table import STEPPERS, choose_stepper

pytestmark = pytest.mark.usefixtures("x64")

CLOSED = Grid((4, 12), 1.0, "no-flux")
INSIDE = Fickian(LegendreMobility(jnp.asarray([np.log(0.5), 0.3])))


def test_values_of_faces_are_free_numbers_with_names_and_units():
    law = WithEdges(INSIDE, edge_left=Held(0.9), edge_right=Fed(0.02))
    family = free_parameters(law)
    assert family.names == ("q_0", "q_1", "edge_left_value", "edge_right_flux")
    assert family.components[3].dimension.text("um", "s") == "um/s"
    other = rescaled(law, length=2.0, time=3.0)
    assert float(other.edge_right.flux) == pytest.approx(0.02 / 2 * 3)
    assert float(other.edge_left.value) == 0.9
    assert free_parameters(law, ("edge_left_value",)).names == ("q_0", "q_1", "edge_right_flux")
    assert (law.label, law.conserved) == ("fickian", True)


def test_faces_are_those_of_a_grid():
    law = WithEdges(INSIDE, edge_left=Held(0.9), edge_right=Fed(0.02))
    start, times = jnp.full((4, 12), 0.3), np.arange(4.0)
    found = simulate(law, law.domain(CLOSED), start, times, substeps=4)
    grid = Grid((4, 12), 1.0, ["no-flux", (Fixed(0.9), Flux(0.02))])
    np.testing.assert_allclose(found, simulate(INSIDE, grid, start, times, substeps=4), atol=1e-14)


def test_a_polyline_in_time():
    line = Polyline(jnp.asarray([0.0, 1.0, 3.0]), jnp.asarray([0.0, 2.0, 1.0]))
    for t, value, rate in ((-1.0, 0.0, 0.0), (0.5, 1.0, 2.0), (2.0, 1.5, -0.5), (9.0, 1.0, 0.0)):
        found = line.at(jnp.asarray(t))
        assert (float(found[0]), float(found[1])) == pytest.approx((value, rate))


def test_an_open_rim_replaces_what_lies_beyond():
    """A part of a large box moves as it did in the box, its rim given."""
    y, x = np.mgrid[:16, :16]
    start = jnp.asarray(0.5 + 0.3 * np.sin(y / 2.0) * np.cos(x / 3.0))
    times = np.linspace(0, 2, 41)
    whole = simulate(INSIDE, Grid((16, 16), 1.0, "no-flux"), start, times, substeps=1)
    part = whole[:, 3:13, 3:13]
    where = np.ones((10, 10), bool)
    where[1:-1, 1:-1] = False
    law = WithEdges(INSIDE, rim=OpenRim(jnp.asarray(where), Polyline(jnp.asarray(times), part)))
    grid = Grid((10, 10), 1.0, "no-flux")
    assert choose_stepper(None, law, grid).needs.implicit_symbol is False
    found = simulate(law, grid, part[0], times, substeps=1)
    np.testing.assert_allclose(found, part, atol=2e-4)
    assert float(jnp.max(jnp.abs(part[-1] - part[0]))) > 0.05


@pytest.mark.parametrize(
    ("stepper", "order"), [("etdrk4", 3), ("rosenbrock", 2), ("variable-rkc2", 2)]
)
def test_a_face_that_changes_in_time_keeps_the_order(stepper, order):
    """c = g(t) on the left face with g linear; the reference is a solve with many steps.

    Values that enter through a face are stiff: the exponential and the Rosenbrock method lose one order of their own.
    """
    line = Polyline(jnp.asarray([0.0, 2.0]), jnp.asarray([0.4, 0.8]))
    law = WithEdges(INSIDE, edge_left=HeldInTime(line))
    grid = law.domain(CLOSED)
    start = jnp.full((4, 12), 0.4)

    def solve(steps, method):
        return advance(law, grid, start, jnp.asarray(2.0), jnp.asarray(steps), STEPPERS[method])

    exact = solve(512, "rosenbrock")
    errors = [float(jnp.max(jnp.abs(solve(n, stepper) - exact))) for n in (4, 8, 16)]
    assert np.log2(errors[1] / errors[2]) > order - 0.4, errors
    assert errors[2] < 1e-4
