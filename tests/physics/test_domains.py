"""Conditions on faces, any number of axes: transforms, operators, flow through faces, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phdenoise.grid import Fixed, Flux, Grid, NoFlux, Periodic
from phdenoise.physics.equations.allen_cahn import AllenCahn
from phdenoise.physics.equations.cahn_hilliard import CahnHilliard
from phdenoise.physics.equations.fickian import Fickian
from phdenoise.physics.free_energies.regular_solution import DoubleWell
from phdenoise.physics.mobility import ConstantMobility
from phdenoise.physics.operators import flux_divergence, gradient_energy, integral, laplacian
from phdenoise.physics.transforms import laplacian_symbol, transforms
from phdenoise.types import InputError

pytestmark = pytest.mark.usefixtures("x64")

ZERO = Fixed(0.0)
BOXES = {
    "1-D periodic": ((7,), 0.7, "periodic"),
    "1-D fixed": ((6,), 0.7, ZERO),
    "1-D closed, fixed": ((7,), 0.7, [("no-flux", ZERO)]),
    "1-D fixed, closed": ((6,), 0.7, [(ZERO, "no-flux")]),
    "2-D, periodic in x": ((6, 5), (1.0, 0.7), [ZERO, "periodic"]),
    "2-D, periodic in y": ((5, 6), (1.0, 0.7), ["periodic", "no-flux"]),
    "2-D, fixed below": ((5, 4), (1.0, 0.7), [(ZERO, "no-flux"), "no-flux"]),
    "3-D periodic": ((4, 3, 5), (1.0, 0.7, 0.4), "periodic"),
    "3-D closed": ((4, 3, 5), (1.0, 0.7, 0.4), "no-flux"),
    "3-D mixed": ((4, 3, 5), (1.0, 0.7, 0.4), ["periodic", (ZERO, Flux(0.0)), "periodic"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BOXES)
def test_transforms_diagonalise_the_laplacian_whose_energy_varies_by_it(name):
    shape, spacing, boundary = BOXES[name]
    grid = Grid(shape, spacing, boundary)
    c = jax.random.normal(jax.random.key(0), (2, *shape))
    forward, inverse = transforms(grid)
    np.testing.assert_allclose(inverse(forward(c)), c, atol=1e-13)
    bent = inverse(-laplacian_symbol(grid, c.dtype)[None] * forward(c))
    np.testing.assert_allclose(bent, laplacian(c, grid), atol=1e-12)
    volume = jnp.prod(grid.spacing)
    np.testing.assert_allclose(
        jax.grad(gradient_energy)(c[0], grid) / volume, -laplacian(c[0], grid), atol=1e-12
    )
    closed = flux_divergence(c[0] ** 2, c[1], grid)
    np.testing.assert_allclose(integral(closed, grid), 0, atol=1e-12)


def test_every_axis_is_like_the_first():
    model = Fickian(ConstantMobility(0.8))
    ends = (Fixed(0.3), Flux(0.2))
    line = jax.random.uniform(jax.random.key(1), (6,))
    alone = model.rhs(jnp.zeros(()), line, Grid((6,), 0.5, [ends]))
    for axis in range(3):
        shape = [2, 3, 4]
        shape[axis] = 6
        boundary: list = [NoFlux(), Periodic(), NoFlux()]
        boundary[axis] = ends
        spacing = [1.0, 2.0, 3.0]
        spacing[axis] = 0.5
        one = [1] * 3
        one[axis] = 6
        c = jnp.broadcast_to(line.reshape(one), shape)
        rate = model.rhs(jnp.zeros(()), c, Grid(tuple(shape), spacing, boundary))
        np.testing.assert_allclose(rate, jnp.broadcast_to(alone.reshape(one), shape), atol=1e-13)


def test_mass_changes_by_what_the_faces_let_through():
    c = jax.random.uniform(jax.random.key(2), (5, 4), minval=0.2, maxval=0.8)
    along = jnp.asarray([0.1, 0.2, 0.3, 0.4])
    grid = Grid((5, 4), (0.5, 0.25), [(Flux(along), Flux(-0.5)), "no-flux"])
    well = DoubleWell(1.0, 0.2, 0.8)
    for model in (
        Fickian(ConstantMobility(0.8)),
        CahnHilliard(well, ConstantMobility(2.0), 0.1),
    ):
        rate = integral(model.rhs(jnp.zeros(()), c, grid), grid)
        np.testing.assert_allclose(rate, 0.25 * jnp.sum(along) - 0.5 * 1.0, rtol=1e-12)


def test_a_mask_closes_the_face_in_front_of_it():
    mask = np.ones((5, 4), bool)
    mask[0, 1:] = False
    grid = Grid((5, 4), 0.5, [(Flux(0.3), "no-flux"), "no-flux"], mask)
    c = jnp.full((5, 4), 0.4)
    rate = Fickian(ConstantMobility(1.0)).rhs(jnp.zeros(()), c, grid)
    expected = np.zeros((5, 4))
    expected[0, 0] = 0.3 / 0.5
    np.testing.assert_allclose(rate, expected, atol=1e-14)
    fixed = Grid((5, 4), 0.5, [(Fixed(0.9), "no-flux"), "no-flux"], mask)
    rate = Fickian(ConstantMobility(1.0)).rhs(jnp.zeros(()), c, fixed)
    expected[0, 0] = (0.9 - 0.4) * 2 / 0.25
    np.testing.assert_allclose(rate, expected, atol=1e-13)


def test_what_a_face_holds_is_differentiable_and_its_strings_still_work():
    def supply(value):
        grid = Grid((5, 4), 0.5, [(Fixed(value), "no-flux"), "periodic"])
        return integral(
            Fickian(ConstantMobility(0.7)).rhs(jnp.zeros(()), jnp.full((5, 4), 0.4), grid), grid
        )

    # D (g − c)/(h/2) over a face two long.
    np.testing.assert_allclose(jax.grad(supply)(0.9), 0.7 / 0.25 * 2.0, rtol=1e-12)
    assert Grid((3, 4)).boundary == "periodic"
    assert Grid((3, 4), 1.0, NoFlux()).boundary == "no-flux"
    assert Grid((3, 4), 1.0, ["no-flux", "periodic"]).boundary == "mixed"


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Grid((3, 4), 1.0, "open"), "Unknown boundary"),
        (lambda: Grid((3, 4), 1.0, [("periodic", "no-flux"), "periodic"]), "partner"),
        (lambda: Grid((3, 4), 1.0, ["periodic"] * 3), "per axis"),
        (lambda: Grid((3, 4), 1.0, [("no-flux",), "no-flux"]), "lower and an upper"),
        (lambda: Grid((3, 4), 1.0, [Fixed(jnp.zeros(3)), "periodic"]), r"shape \(4,\)"),
        (lambda: Grid((3, 4), (1.0, 2.0, 3.0)), "one spacing each"),
        (lambda: Grid((2, 2, 2, 2)), "1 to 3 axes"),
        (lambda: Grid((3, 4), -1.0), "positive"),
        (lambda: Grid((3, 4), 1.0, "no-flux", np.ones((2, 2), bool)), "mask"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(make, match):
    with pytest.raises(InputError, match=match):
        make()


def test_allen_cahn_refuses_a_flux():
    model = AllenCahn(DoubleWell(1.0, 0.0, 1.0), ConstantMobility(1.0), 0.1)
    with pytest.raises(InputError, match="Flux"):
        model.rhs(jnp.zeros(()), jnp.zeros((3, 4)), Grid((3, 4), 1.0, ["no-flux", Flux(1.0)]))
