"""Any stepper as a diffrax solver: the same steps, within tolerance, derivatives in both modes."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phdenoise.grid import Grid
from phdenoise.physics import CahnHilliard, Fickian, Forced, reference_mobility, simulate
from phdenoise.physics.free_energies.regular_solution import RegularSolution
from phdenoise.physics.mobility import ConstantMobility, DegenerateMobility
from phdenoise.physics.steppers.diffrax_solver import DiffraxSolver, solve_adaptive, vector_field
from phdenoise.physics.steppers.rkc2 import RKC2
from phdenoise.physics.steppers.table import STEPPERS

pytestmark = pytest.mark.usefixtures("x64")


def problem(omega=3.0):
    grid = Grid((8, 8), 1.0)
    model = CahnHilliard(
        RegularSolution(jnp.asarray(omega)), DegenerateMobility(jnp.asarray(1.0)), jnp.asarray(1.0)
    )
    return model, grid, 0.5 + 0.1 * jax.random.normal(jax.random.key(0), (8, 8))


@pytest.mark.slow
@pytest.mark.parametrize("name", STEPPERS)
def test_constant_steps_are_those_of_simulate(name):
    model, grid, c0 = problem()
    # The linearisation of simulate: that of the first field.
    reference = None if "rkc2" in name else reference_mobility(model, grid, c0)
    frames = simulate(model, grid, c0, np.array([0.0, 0.3]), substeps=6, stepper=name)

    def last(model):
        return diffrax.diffeqsolve(
            diffrax.ODETerm(vector_field),
            DiffraxSolver(STEPPERS[name], reference),
            0.0,
            0.3,
            0.05,
            c0,
            args=(model, grid),
            stepsize_controller=diffrax.ConstantStepSize(),
        ).ys[0]

    np.testing.assert_allclose(jax.jit(last)(model), frames[-1], atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("stepper", [None, "etdrk4"])
def test_adaptive_solve_lands_on_the_frames_within_tolerance(stepper):
    model, grid, c0 = problem()
    times = np.array([0.0, 1.0, 4.0, 20.0])
    exact = simulate(model, grid, c0, times, substeps=400, ramp=8)
    for rtol, bound in ((1e-4, 3e-3), (1e-6, 3e-5)):
        frames = jax.jit(solve_adaptive, static_argnames=("rtol", "atol", "stepper"))(
            model, grid, c0, times, rtol=rtol, atol=rtol, stepper=stepper
        )
        assert frames.shape == exact.shape
        error = jnp.max(jnp.abs(frames - exact))
        assert float(error) < bound, error


@pytest.mark.parametrize(
    ("adjoint", "mode"),
    [
        (diffrax.ForwardMode(), "forward"),
        pytest.param(diffrax.DirectAdjoint(), "forward", marks=pytest.mark.slow),
        pytest.param(diffrax.DirectAdjoint(), "reverse", marks=pytest.mark.slow),
        pytest.param(diffrax.RecursiveCheckpointAdjoint(), "reverse", marks=pytest.mark.slow),
    ],
)
def test_derivatives_are_finite_differences(adjoint, mode):
    """In a law parameter and the first field at once; values and slopes of one program."""
    grid, start = Grid((4, 5), 1.0), 0.5 + 0.1 * jnp.cos(jnp.arange(20.0)).reshape(4, 5)
    weights = jnp.cos(jnp.arange(20.0)).reshape(4, 5)

    def loss(x):
        options = {"rtol": 1e-6, "atol": 1e-7, "adjoint": adjoint, "max_steps": 256}
        model, times = problem(x[0])[0], np.array([0.0, 0.5])
        return jnp.sum(weights * solve_adaptive(model, grid, x[1] * start, times, **options)[-1])

    point, along = jnp.asarray([3.0, 1.0]), jnp.asarray([1.0, 0.7])

    @jax.jit
    def value_and_slope(x):
        if mode == "forward":
            return jax.jvp(loss, (x,), (along,))
        value, gradient = jax.value_and_grad(loss)(x)
        return value, gradient @ along

    slope = value_and_slope(point)[1]
    up, down = (value_and_slope(point + s * 1e-3 * along)[0] for s in (1, -1))
    np.testing.assert_allclose(slope, (up - down) / 2e-3, rtol=1e-4)


def test_the_linearisation_is_renewed_and_a_drive_keeps_its_own_clock():
    """Time stamps in single precision, a source that depends on time, and a mask."""
    grid = Grid((4, 5), 1.0, "no-flux", np.ones((4, 5), bool))
    fickian = Fickian(ConstantMobility(jnp.asarray(1.0)))
    model = Forced(fickian, lambda t: jnp.full((4, 5), 2.0, jnp.float32) * t)
    c0 = jnp.zeros((4, 5), jnp.float32)
    frames = solve_adaptive(model, grid, c0, np.array([1.0, 3.0]))
    # ∫ 2t dt from 1 to 3.
    np.testing.assert_allclose(frames[-1], 8.0, rtol=1e-4)
    late = solve_adaptive(fickian, grid, c0 + jnp.eye(4, 5), 1.7e9 + np.array([0.0, 1.0]))
    soon = solve_adaptive(fickian, grid, c0 + jnp.eye(4, 5), np.array([0.0, 1.0]))
    np.testing.assert_array_equal(late, soon)
    assert float(jnp.abs(late[-1] - late[0]).max()) > 0.1
    assert DiffraxSolver(RKC2(5)).error_order(None) == 3
