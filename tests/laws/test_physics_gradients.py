"""Derivatives through a solve, and equivalences that must not depend on how it is run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phdenoise.grid import Grid
from phdenoise.physics import simulate
from phdenoise.physics.equations.base import reference_mobility
from phdenoise.physics.equations.cahn_hilliard import CahnHilliard
from phdenoise.physics.equations.fickian import Fickian
from phdenoise.physics.free_energies.regular_solution import LegendreEnthalpy
from phdenoise.physics.mobility import LegendreMobility
from phdenoise.physics.steppers.rkc2 import RKC2

THETA = np.array([-3.0, 0.1, 0.05, -1.2, 0.2, np.log(1.5)])
TIMES = np.linspace(0.0, 12.0, 4)


def build(theta):
    p = jnp.concatenate([jnp.zeros_like(theta[:1]), theta[:3]])
    return CahnHilliard(LegendreEnthalpy(p), LegendreMobility(theta[3:5]), jnp.exp(theta[5]))


def start(shape, dtype=None):
    return 0.5 + 0.1 * jax.random.normal(jax.random.key(0), shape, dtype)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stepper", "boundary"),
    [
        pytest.param("etdrk4", "periodic", marks=pytest.mark.study),
        pytest.param("rosenbrock", "no-flux", marks=pytest.mark.study),
        (RKC2(8), "periodic"),
    ],
    ids=["etdrk4", "rosenbrock", "rkc2"],
)
def test_forward_reverse_and_finite_differences_agree(x64, stepper, boundary):
    grid = Grid((5, 6), (1.0, 1.3), boundary)
    theta, c0 = jnp.asarray(THETA), start((5, 6))
    reference = reference_mobility(build(theta), grid, c0)

    def loss(theta, c0, checkpoint=True):
        frames = simulate(
            build(theta),
            grid,
            c0,
            TIMES,
            substeps=4,
            stepper=stepper,
            reference=reference,
            checkpoint=checkpoint,
        )
        return jnp.sum(frames[1:] * jnp.cos(jnp.arange(30.0)).reshape(1, 5, 6))

    d_theta, d_c0 = jnp.cos(7 * jnp.arange(6.0)), start((5, 6)) - 0.5
    forward = jax.jit(lambda *x: jax.jvp(loss, x, (d_theta, d_c0))[1])(theta, c0)
    gradient = jax.jit(jax.grad(loss, argnums=(0, 1)), static_argnums=2)
    for checkpoint in (True, "nested"):
        g_theta, g_c0 = gradient(theta, c0, checkpoint)
        reverse = jnp.vdot(g_theta, d_theta) + jnp.vdot(g_c0, d_c0)
        np.testing.assert_allclose(reverse, forward, rtol=1e-10)
    h = 1e-5
    value = jax.jit(loss)
    up, down = (value(theta + s * h * d_theta, c0 + s * h * d_c0) for s in (1, -1))
    np.testing.assert_allclose((up - down) / (2 * h), forward, rtol=1e-6)


@pytest.mark.slow
def test_a_batch_of_tangents_equals_a_loop_and_the_transpose_of_the_batch(x64):
    grid = Grid((5, 6), 1.0)
    theta, c0 = jnp.asarray(THETA), start((5, 6))

    def solve(theta):
        return simulate(build(theta), grid, c0, TIMES, substeps=3)

    @jax.jit
    def batched(theta):
        value, push = jax.linearize(solve, theta)
        (pulled,) = jax.linear_transpose(push, theta)(value)
        return value, jax.vmap(push)(jnp.eye(6)), pulled

    value, together, pulled = batched(theta)
    singly = jax.jit(lambda v: jax.jvp(solve, (theta,), (v,))[1])
    np.testing.assert_allclose(together, jnp.stack([singly(v) for v in jnp.eye(6)]), atol=1e-11)
    expected = jnp.sum(together * value[None], axis=(1, 2, 3))
    np.testing.assert_allclose(pulled, expected, rtol=1e-9)


@pytest.mark.slow
def test_a_batch_of_fields_equals_a_loop(x64):
    grid, model = Grid((5, 7), 1.0, "no-flux"), build(jnp.asarray(THETA))
    c0 = jnp.stack([start((5, 7)), 1 - start((5, 7))])
    solve = jax.jit(lambda c: simulate(model, grid, c, TIMES, substeps=3))
    np.testing.assert_allclose(
        jax.jit(jax.vmap(solve))(c0), jnp.stack([solve(c) for c in c0]), atol=1e-12
    )


@pytest.mark.slow
def test_how_the_times_are_given_does_not_matter(x64):
    grid, model, c0 = Grid((6, 5), 1.0), build(jnp.asarray(THETA)), start((6, 5))
    solve = jax.jit(
        simulate, static_argnames=("substeps", "uniform", "checkpoint", "stepper", "ramp")
    )
    whole = solve(model, grid, c0, TIMES, substeps=6)
    np.testing.assert_array_equal(whole[0], c0)
    # Each interval with its own constants, and without checkpointing.
    for other in ({"uniform": False}, {"checkpoint": False}):
        np.testing.assert_allclose(
            solve(model, grid, c0, TIMES, substeps=6, **other), whole, atol=1e-12
        )
    # Chunked: restarted from a frame with the reference of the first.
    reference = reference_mobility(model, grid, c0)
    rest = solve(model, grid, whole[1], TIMES[1:], substeps=6, reference=reference)
    np.testing.assert_allclose(rest, whole[1:], atol=1e-12)
    # Fewer frames with as many steps between them.
    coarse = solve(model, grid, c0, TIMES[::3], substeps=18)
    np.testing.assert_allclose(coarse[-1], whole[-1], atol=1e-12)
    # Unequal intervals land on the same solution to the accuracy of the steps.
    unequal = np.array([0.0, 1.0, 5.0, 12.0])
    skewed = solve(model, grid, c0, unequal, substeps=24, ramp=4)
    finer = solve(model, grid, c0, TIMES, substeps=24, ramp=4)
    np.testing.assert_allclose(skewed[-1], finer[-1], atol=1e-4)
    assert simulate(model, grid, c0, TIMES[:1], substeps=1).shape == (1, 6, 5)


@pytest.mark.slow
def test_single_precision_follows_double_and_keeps_its_type(x64):
    grid, model = Grid((16, 15), (0.01, 0.012)), build(jnp.asarray([-3.0, 0, 0, -1.2, 0.2, -7.0]))
    c0, times = start((16, 15)), np.linspace(0, 0.02, 3)
    solve = jax.jit(simulate, static_argnames="substeps")
    double = solve(model, grid, c0, times, substeps=20)
    single = solve(model, grid, c0.astype(jnp.float32), times, substeps=20)
    assert single.dtype == jnp.float32
    assert float(jnp.std(double[-1])) > 0.05
    np.testing.assert_allclose(single, double, atol=3e-5)


def test_one_row_is_the_one_dimensional_equation(x64):
    model = Fickian(LegendreMobility(jnp.asarray([0.0, 0.5])))
    row = start((1, 9))
    solve = jax.jit(simulate, static_argnames=("substeps", "stepper"))
    lines = [
        solve(model, Grid(c.shape, (0.3, 1.0), "no-flux"), c, TIMES, substeps=6)
        for c in (row, jnp.tile(row, (4, 1)))
    ]
    np.testing.assert_allclose(lines[1], jnp.tile(lines[0], (1, 4, 1)), atol=1e-13)


@pytest.mark.slow
def test_nested_checkpoints_of_a_prime_number_of_steps_change_nothing(x64):
    # Eleven steps make four segments of three, the last cut short.
    grid, c0 = Grid((4, 5), 1.0), start((4, 5))
    model = Fickian(LegendreMobility(jnp.asarray([0.0, 0.5])))

    def loss(c0, checkpoint):
        frames = simulate(model, grid, c0, TIMES[:2], substeps=11, checkpoint=checkpoint)
        return jnp.sum(frames[-1] * jnp.cos(jnp.arange(20.0)).reshape(4, 5))

    value = jax.jit(jax.value_and_grad(loss), static_argnums=1)
    for nested, stored in zip(value(c0, "nested"), value(c0, True), strict=True):
        np.testing.assert_allclose(nested, stored, rtol=1e-12, atol=1e-13)


def test_nested_checkpoints_hold_less_than_three_fields_per_root_of_the_steps():
    grid, c0, steps = Grid((32, 32), 1.0), start((32, 32), jnp.float32), 1600

    def loss(theta, c0):
        times = np.array([0.0, 800.0])
        frames = simulate(build(theta), grid, c0, times, substeps=steps, checkpoint="nested")
        return jnp.mean(frames[-1] ** 2)

    theta = jnp.asarray(THETA, jnp.float32)
    program = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(theta, c0).compile()
    fields = program.memory_analysis().temp_size_in_bytes / c0.nbytes
    assert 2 * steps**0.5 < fields < 3 * steps**0.5
