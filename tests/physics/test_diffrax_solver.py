"""The diffrax solvers take the same steps; the adaptive one meets its tolerance."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phdenoise.grid import Grid
from phdenoise.physics import (
    CahnHilliard,
    DegenerateMobility,
    RegularSolution,
    reference_mobility,
    simulate,
)
from phdenoise.physics.diffrax_solver import (
    ETDRK4Solver,
    RosenbrockWSolver,
    solve_adaptive,
    vector_field,
)

pytestmark = pytest.mark.usefixtures("x64")


def problem():
    grid = Grid((8, 8), 1.0)
    model = CahnHilliard(
        RegularSolution(jnp.asarray(3.0)), DegenerateMobility(jnp.asarray(1.0)), jnp.asarray(1.0)
    )
    return model, grid, 0.5 + 0.1 * jax.random.normal(jax.random.key(0), (8, 8))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "solver"), [("etdrk4", ETDRK4Solver), ("rosenbrock", RosenbrockWSolver)]
)
def test_constant_steps_are_those_of_simulate(name, solver):
    model, grid, c0 = problem()
    reference = reference_mobility(model, grid, c0)
    frames = simulate(model, grid, c0, np.array([0.0, 3.0]), substeps=6, stepper=name)

    def last(model):
        return diffrax.diffeqsolve(
            diffrax.ODETerm(vector_field),
            solver(reference),
            0.0,
            3.0,
            0.5,
            c0,
            args=(model, grid),
            stepsize_controller=diffrax.ConstantStepSize(),
        ).ys[0]

    np.testing.assert_allclose(jax.jit(last)(model), frames[-1], atol=1e-12)


@pytest.mark.slow
def test_adaptive_solve_lands_on_the_frames_within_tolerance():
    model, grid, c0 = problem()
    times = np.array([0.0, 1.0, 4.0, 20.0])
    exact = simulate(model, grid, c0, times, substeps=400, ramp=8)
    for rtol, bound in ((1e-4, 3e-3), (1e-6, 3e-5)):
        frames = jax.jit(solve_adaptive, static_argnames=("rtol", "atol"))(
            model, grid, c0, times, rtol=rtol, atol=rtol
        )
        assert frames.shape == exact.shape
        error = jnp.max(jnp.abs(frames - exact))
        assert float(error) < bound, error
