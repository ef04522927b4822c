"""Every registered stepper takes one step of every law, or refuses it with one sentence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phdenoise import physics
from phdenoise.grid import Grid
from phdenoise.physics.boundary_flux import DrivenFickian, face
from phdenoise.physics.equations.edged import WithEdges
from phdenoise.physics.steppers.base import as_dtype
from phdenoise.physics.steppers.table import STEPPERS, choose_stepper
from phdenoise.types import InputError

pytestmark = pytest.mark.usefixtures("x64")

SHAPE = (4, 5)
ENERGY, MOBILITY = physics.RegularSolution(2.5), physics.DegenerateMobility(1.0)
KINETICS = physics.SymmetricButlerVolmer(physics.ExchangeCurrent())
HELD = physics.HeldVoltage(-0.5)
FICKIAN = physics.Fickian(MOBILITY, 0.01)
LAWS = [
    physics.CahnHilliard(ENERGY, MOBILITY, 0.5),
    FICKIAN,
    physics.AllenCahn(ENERGY, MOBILITY, 0.5),
    physics.AllenCahnReaction(ENERGY, KINETICS, HELD, 0.5, 1.0),
    physics.CahnHilliardReaction(ENERGY, KINETICS, HELD, 0.5, 1.0, MOBILITY),
    physics.Forced(FICKIAN, lambda t: jnp.full(SHAPE, 0.1)),
    DrivenFickian(MOBILITY, jnp.asarray(face(SHAPE, 1.0, "left"))[None], jnp.arange(3.0), jnp.ones((1, 3))),
    physics.Advected(FICKIAN, (0.1, -0.2)),
    physics.Anisotropic(FICKIAN, 2.0),
    physics.Sourced(FICKIAN, 0.1, -0.1),
    physics.Heterogeneous(FICKIAN, (0.5, -0.4, 0.3)),
    physics.Blurred(FICKIAN, 1.2),
    physics.Drifting(FICKIAN, (0.1, -0.2)),
    WithEdges(FICKIAN),
]  # fmt: skip


def subclasses(kind):
    return {kind}.union(*(subclasses(k) for k in kind.__subclasses__()))


def test_every_law_of_the_package_is_in_the_list():
    laws = {k for k in subclasses(physics.Law) if k.__module__.startswith("phdenoise.physics")}
    concrete = {k for k in laws if k.rhs is not physics.Law.rhs and not k.__name__.startswith("_")}
    missing = {k.__name__ for k in concrete} - {type(law).__name__ for law in LAWS}
    assert missing <= {"Rematerialised"}, f"Add to LAWS: {missing}"


@pytest.mark.parametrize("masked", [False, True], ids=["rectangle", "mask"])
@pytest.mark.parametrize("name", STEPPERS)
def test_one_step_of_every_law(name, masked):
    """dc = dt · rhs for a short step; where a stepper refuses, the sentence names one that does not."""
    stepper = STEPPERS[name]
    mask = np.ones(SHAPE, bool) if masked else None
    grid = Grid(SHAPE, 1.0, "no-flux", mask)
    c = 0.5 + 0.2 * jax.random.normal(jax.random.key(0), SHAPE) / 2
    if masked and stepper.needs.rectangle:
        with pytest.raises(InputError, match="rkc2"):
            choose_stepper(name, LAWS[0], grid)
        return
    dt, start = jnp.asarray(1e-3), jnp.asarray(0.5)
    for law in LAWS:
        # Not jitted: all laws together then share the small programs of single operations.
        law = as_dtype(law, c.dtype)
        prepared = stepper.prepare(law, grid, dt, stepper.linearise(law, grid, c))
        change = stepper.step(law, grid, prepared, start, c, dt) - c
        expected = dt * law.rhs(start, c, grid)
        assert change.shape == c.shape
        size = float(jnp.abs(expected).max())
        assert size > 0, type(law).__name__
        # The second order term is dt times the largest rate, below 40 here.
        np.testing.assert_allclose(change, expected, atol=0.04 * size, err_msg=type(law).__name__)


def test_only_what_can_is_chosen():
    open_box, masked = Grid(SHAPE, 1.0), Grid(SHAPE, 1.0, "no-flux", np.ones(SHAPE, bool))
    for adaptive in (False, True):
        for law in LAWS:
            for grid in (open_box, masked):
                chosen = choose_stepper(None, law, grid, adaptive=adaptive)
                assert chosen.refusal(law, grid) is None
                assert not (chosen.needs.rectangle and grid.mask is not None)
