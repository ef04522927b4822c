"""The bound that explicit steps go by holds the Jacobian's largest eigenvalue, sharp fronts and odd grids included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phdenoise.grid import Grid
from phdenoise.physics.equations.cahn_hilliard import CahnHilliard
from phdenoise.physics.equations.fickian import Fickian
from phdenoise.physics.free_energies.regular_solution import RegularSolution
from phdenoise.physics.mobility import ConstantMobility, DegenerateMobility

ROUGH = np.random.default_rng(0).uniform(0.05, 0.95, (6, 7))
FRONT = np.where(np.arange(7) < 3, 1e-3, 0.5)[None] * np.ones((6, 1))
MODELS = {
    "cahn-hilliard": CahnHilliard(RegularSolution(3.0), ConstantMobility(1.0), 0.5),
    "degenerate": CahnHilliard(RegularSolution(3.0), DegenerateMobility(1.0), 0.01),
    "fickian": Fickian(DegenerateMobility(1.0)),
}


@pytest.mark.parametrize("boundary", ["periodic", "no-flux"])
@pytest.mark.parametrize("field", [ROUGH, FRONT], ids=["rough", "front"])
@pytest.mark.parametrize("name", MODELS)
def test_bounds_the_jacobian(x64, name, field, boundary):
    model, grid, c = MODELS[name], Grid(field.shape, 1.0, boundary), jnp.asarray(field)
    jacobian = jax.jacfwd(lambda c: model.rhs(jnp.asarray(0.0), c, grid))(c)
    largest = np.abs(np.linalg.eigvals(np.asarray(jacobian).reshape(c.size, c.size))).max()
    bound = float(model.spectral_radius(c, grid))
    assert largest <= 1.0001 * bound
    assert bound < 6 * largest
