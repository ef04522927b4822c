"""Reactions drive no cell far outside (0, 1): such a field is refused, such a run says why it ended."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phdenoise.grid import Grid
from phdenoise.physics import simulate
from phdenoise.physics.adaptive import Outcome, integrate
from phdenoise.physics.equations.reaction import AllenCahnReaction, ConstantCurrent, HeldVoltage
from phdenoise.physics.free_energies.regular_solution import RegularSolution
from phdenoise.physics.kinetics import ExchangeCurrent, SymmetricButlerVolmer
from phdenoise.physics.simulate import diverged
from phdenoise.physics.steppers.rkc2 import RKC2
from phdenoise.types import InputError

pytestmark = pytest.mark.usefixtures("x64")
GRID = Grid((3, 4), 1.0, "no-flux", np.arange(12).reshape(3, 4) > 1)
run = jax.jit(integrate, static_argnames="rtol")


def model(drive):
    return AllenCahnReaction(
        RegularSolution(jnp.asarray(1.0)), SymmetricButlerVolmer(ExchangeCurrent()), drive, 0.5
    )


def test_a_cell_far_outside_stays_there_and_is_refused():
    law = model(HeldVoltage(0.5))
    start = jnp.full(GRID.shape, 0.4).at[2, 2].set(1.2)
    # Nothing drives the cell, whatever the voltage: why it is refused.
    assert abs(float(law.rhs(jnp.asarray(0.0), start, GRID)[2, 2])) < 1e-40
    assert not bool(law.admissible(start, GRID))
    assert bool(law.admissible(start.at[2, 2].set(1.004), GRID))
    # Cells outside the particle do not count.
    assert bool(law.admissible(jnp.full(GRID.shape, 0.4).at[0, 0].set(9.0), GRID))
    with pytest.raises(InputError, match=r"0\.4 to 1\.2"):
        simulate(law, GRID, start, np.array([0.0, 1.0]), substeps=1, stepper=RKC2(4))
    result = run(law, GRID, start, np.array([0.0, 1.0]), rtol=1e-4)
    assert Outcome(int(result.outcome)) == Outcome.left_range
    np.testing.assert_array_equal(result.frames[1], start)
    assert not bool(result.valid[1])
    with pytest.raises(InputError, match="outside"):
        result.checked()
    assert bool(diverged(start[None], law, GRID))
    assert not bool(diverged(start[None]))


@pytest.mark.slow
def test_a_current_that_overfills_the_particle_ends_with_that_outcome():
    law = model(ConstantCurrent(0.5))
    result = run(law, GRID, jnp.full(GRID.shape, 0.5), np.array([0.0, 0.8, 3.0]), rtol=1e-4)
    assert Outcome(int(result.outcome)) in (Outcome.left_range, Outcome.step_too_small)
    assert list(np.asarray(result.valid)) == [True, True, False]
    filled = float(law.filling(result.frames[1], GRID))
    np.testing.assert_allclose(filled, 0.9, atol=1e-4)
    assert 0.95 < float(law.filling(result.last, GRID)) < 1.02
    assert bool(law.admissible(result.last, GRID))
    assert np.all(np.isfinite(result.frames))
