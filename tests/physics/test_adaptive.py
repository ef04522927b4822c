"""Adaptive steps: tolerance, frames at any times, how it ends, derivatives, masks, precision."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phdenoise.grid import Grid
from phdenoise.physics import simulate
from phdenoise.physics.adaptive import Outcome, integrate
from phdenoise.physics.equations.cahn_hilliard import CahnHilliard
from phdenoise.physics.equations.fickian import Fickian
from phdenoise.physics.free_energies.regular_solution import RegularSolution
from phdenoise.physics.mobility import ConstantMobility, DegenerateMobility
from phdenoise.physics.steppers.variable_rkc2 import VariableRKC2
from phdenoise.types import InputError

TIMES = np.array([0.0, 0.3, 1.0, 1.5, 4.0, 4.2, 4.3, 15.0])
solve = jax.jit(integrate, static_argnames=("rtol", "atol", "max_steps"))


def problem(dtype=None):
    model = CahnHilliard(
        RegularSolution(jnp.asarray(3.0)), DegenerateMobility(jnp.asarray(1.0)), jnp.asarray(1.0)
    )
    c0 = 0.5 + 0.1 * jax.random.normal(jax.random.key(0), (8, 8), dtype)
    return model, Grid((8, 8), 1.0), c0


@pytest.fixture(scope="module")
def exact():
    with jax.enable_x64(True):
        model, grid, c0 = problem()
        run = jax.jit(partial(simulate, substeps=400, ramp=8))
        return np.asarray(run(model, grid, c0, TIMES))


@pytest.mark.slow
@pytest.mark.parametrize(("stepper", "slack"), [(None, 10), (VariableRKC2(), 20)])
def test_frames_at_irregular_times_meet_the_tolerance(x64, exact, stepper, slack):
    model, grid, c0 = problem()
    counts = []
    for tolerance in (1e-3, 1e-5):
        result = solve(model, grid, c0, TIMES, rtol=tolerance, atol=tolerance, stepper=stepper)
        error = np.abs(np.asarray(result.checked()) - exact).max(axis=(1, 2))
        assert error.max() < slack * tolerance, error
        # Frames read off within a step are as good as those on its end.
        assert error[5] < 3 * max(error[4], error[6]) + 0.1 * tolerance
        counts.append(int(result.accepted))
        assert "last time was reached" in result.explain()
    # Three times as many steps or so for a hundred times the accuracy: an error of third order.
    assert 2.5 < counts[1] / counts[0] < 8


def test_how_it_ends_is_a_sentence_and_never_a_nan(x64):
    model, grid, c0 = problem()
    ill = Fickian(ConstantMobility(jnp.asarray(-1.0)))
    long = solve(model, grid, c0, TIMES, max_steps=12)
    bad = solve(model, grid, c0.at[0, 0].set(jnp.inf), TIMES)
    burst = solve(ill, grid, c0, np.array([0.0, 1.0, 1000.0]))
    for outcome, result in (
        (Outcome.too_many_steps, long),
        (Outcome.bad_start, bad),
        (Outcome.not_finite, burst),
    ):
        assert result.outcome == outcome, result.explain()
        assert not bool(result.valid[-1])
        with pytest.raises(InputError, match="Stopped at t = "):
            result.checked()
    assert 0 < float(long.elapsed) < TIMES[-1]
    assert 1 < float(burst.elapsed) < 1000
    for result in (long, burst):
        frames, valid = np.asarray(result.frames), np.asarray(result.valid)
        assert np.all(np.isfinite(frames))
        assert valid[0]
        np.testing.assert_array_equal(frames[~valid][0], result.last)


def test_a_tolerance_below_rounding_is_not_taken_for_an_ill_posed_law():
    model, grid, c0 = problem(jnp.float32)
    result = solve(model, grid, c0, TIMES, rtol=1e-12, atol=1e-12, max_steps=300)
    assert result.frames.dtype == jnp.float32
    assert result.outcome != Outcome.reached
    assert result.outcome != Outcome.not_finite


@pytest.mark.slow
def test_forward_mode_is_the_derivative_and_a_batch_is_a_loop(x64):
    _, grid, c0 = problem()
    times = TIMES[[0, 1, 3]]

    def last(omega):
        model = CahnHilliard(RegularSolution(omega), DegenerateMobility(jnp.ones(())), jnp.ones(()))
        return integrate(model, grid, c0, times, rtol=1e-7, atol=1e-9).frames[-1]

    many = jax.jit(jax.vmap(last))
    values = jnp.asarray([2.5, 3.0, 3.0 + 1e-3, 3.0 - 1e-3])
    batch = many(values)
    slope = jax.jit(lambda v: jax.jvp(last, (v,), (jnp.ones_like(v),))[1])(values[1])
    # The sequence of steps differs with omega by less than the tolerance of the solve.
    np.testing.assert_allclose(slope, (batch[2] - batch[3]) / 2e-3, atol=2e-3 * np.abs(slope).max())
    np.testing.assert_allclose(jax.jit(last)(values[1]), batch[1], atol=1e-7)


@pytest.mark.slow
def test_mass_stays_in_its_particle(x64):
    y, x = np.indices((12, 12))
    mask = (y - 6) ** 2 + (x - 5) ** 2 < 20
    grid = Grid((12, 12), 1.0, "no-flux", mask)
    model = problem()[0]
    c0 = 0.4 + 0.05 * jax.random.normal(jax.random.key(1), (12, 12))
    result = solve(model, grid, c0, np.array([0.0, 3.0, 40.0]), rtol=1e-4, atol=1e-4)
    masses = jax.vmap(model.mass, (0, None))(result.checked(), grid)
    np.testing.assert_allclose(masses, masses[0], rtol=1e-13)
    np.testing.assert_allclose(np.asarray(result.last)[~mask], np.asarray(c0)[~mask], atol=1e-13)
    assert float(jnp.std(result.last[mask])) > 0.2, "nothing happened"
    energies = jax.vmap(model.energy, (0, None))(result.frames, grid)
    assert np.all(np.diff(energies) < 0)


def test_unusable_settings_are_refused():
    model, grid, c0 = problem()
    with pytest.raises(InputError, match="shape"):
        integrate(model, grid, c0[1:], TIMES)
    with pytest.raises(InputError, match="positive"):
        integrate(model, grid, c0, TIMES, rtol=0.0)
