"""Steppers: coefficients against their definitions, order of convergence, refusals."""

from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phdenoise.grid import Grid
from phdenoise.physics import simulate
from phdenoise.physics.equations.allen_cahn import AllenCahn
from phdenoise.physics.equations.cahn_hilliard import CahnHilliard
from phdenoise.physics.equations.fickian import Fickian
from phdenoise.physics.free_energies.regular_solution import DoubleWell, RegularSolution
from phdenoise.physics.mobility import ConstantMobility, DegenerateMobility, LegendreMobility
from phdenoise.physics.simulate import advance, diverged, substeps_for
from phdenoise.physics.steppers.etdrk4 import ETDRK4, phi_functions
from phdenoise.physics.steppers.rkc2 import RKC2, stability_limit, stages_for
from phdenoise.physics.steppers.rosenbrock import (
    ALPHA,
    COUPLING,
    EMBEDDED,
    GAMMA,
    WEIGHTS,
    RosenbrockW,
)
from phdenoise.types import InputError

pytestmark = pytest.mark.usefixtures("x64")

solve = jax.jit(simulate, static_argnames=("substeps", "stepper", "ramp"))


def waves(shape):
    y = 2 * np.pi * (np.arange(shape[0]) + 0.5) / shape[0]
    x = 2 * np.pi * (np.arange(shape[1]) + 0.5) / shape[1]
    return jnp.asarray(0.5 + 0.1 * np.cos(y)[:, None] * np.cos(x) + 0.05 * np.cos(2 * x))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_phi_functions_against_their_contour_integrals(dtype):
    z = -np.concatenate([[0.0], np.logspace(-8, 4, 61)])
    ring = z[:, None] + np.exp(2j * np.pi * (np.arange(64) + 0.5) / 64)
    phi1 = (np.exp(ring) - 1) / ring
    phi2 = (phi1 - 1) / ring
    phi3 = (phi2 - 0.5) / ring
    tolerance = 3e-6 if dtype == "float32" else 1e-12
    for value, exact in zip(phi_functions(jnp.asarray(z, dtype)), (phi1, phi2, phi3), strict=True):
        assert value.dtype == dtype
        np.testing.assert_allclose(value, exact.mean(axis=1).real, rtol=tolerance)


def test_rosenbrock_coefficients_satisfy_the_order_conditions_of_a_w_method():
    a, b, e = ALPHA, ALPHA + COUPLING + GAMMA * np.eye(4), np.ones(4)
    w = WEIGHTS
    conditions = [w @ e - 1, w @ a @ e - 1 / 2, w @ b @ e - 1 / 2, w @ (a @ e) ** 2 - 1 / 3]
    conditions += [w @ p @ q @ e - 1 / 6 for p in (a, b) for q in (a, b)]
    np.testing.assert_allclose(conditions, 0, atol=1e-15)
    embedded = [EMBEDDED @ e - 1, EMBEDDED @ a @ e - 1 / 2, EMBEDDED @ b @ e - 1 / 2]
    np.testing.assert_allclose(embedded, 0, atol=1e-15)


MODELS = {
    "cahn-hilliard": (
        CahnHilliard(
            RegularSolution(np.array(2.6)), DegenerateMobility(np.array(1.0)), np.array(0.5)
        ),
        Grid((8, 9), (1.0, 0.9), "periodic"),
        2.0,
    ),
    "fickian": (
        Fickian(LegendreMobility(np.array([0.1, 0.6]))),
        Grid((8, 9), (1.0, 0.9), "no-flux"),
        1.5,
    ),
    "allen-cahn": (
        AllenCahn(
            DoubleWell(np.array(2.0), np.array(0.0), np.array(1.0)),
            ConstantMobility(np.array(1.0)),
            np.array(0.5),
        ),
        Grid((8, 9), (1.0, 0.9), "no-flux"),
        1.0,
    ),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("stepper", "order"),
    [(ETDRK4(), 4), (ETDRK4(krogstad=True), 4), (RosenbrockW(), 3), (RKC2(12), 2)],
    ids=["etdrk4", "krogstad", "rosenbrock", "rkc2"],
)
def test_order_of_convergence(name, stepper, order):
    model, grid, end = MODELS[name]
    c0, span = waves(grid.shape), jnp.asarray(end)
    ends = [advance(model, grid, c0, span, jnp.asarray(n), stepper) for n in (16, 32, 64)]
    coarse, fine = (float(jnp.linalg.norm(a - b)) for a, b in pairwise(ends))
    measured = np.log2(coarse / fine)
    assert order - 0.45 < measured < order + 0.8, measured


class Anywhere(eqx.Module):
    """A constant that no model recognises as one."""

    value: jax.Array

    def __call__(self, c):
        return self.value * jnp.ones_like(c)


@pytest.mark.parametrize("kind", [CahnHilliard, AllenCahn])
@pytest.mark.parametrize("boundary", ["periodic", "no-flux"])
def test_a_constant_mobility_is_taken_apart_in_the_transformed_space(kind, boundary):
    """The same field and derivatives as from differences of cells, and not from an equation that was derived from it."""
    grid, times = Grid((12, 10), (1.0, 0.9), boundary), np.array([0.0, 2.0])
    c0 = waves(grid.shape)

    class Other(kind):
        def rhs(self, t, c, grid):
            return 2 * super().rhs(t, c, grid)

    def end(m, kappa, mobility, kind=kind, span=times):
        model = kind(RegularSolution(3.0), mobility(m), kappa)
        return solve(model, grid, c0, span, substeps=8)[-1]

    both = [
        jax.jvp(lambda m, k, d=d: end(m, k, d), (0.7, 0.9), (1.0, 0.5))
        for d in (ConstantMobility, Anywhere)
    ]
    for split, plain in zip(*both, strict=True):
        np.testing.assert_allclose(split, plain, rtol=0, atol=1e-11)
    doubled = end(0.7, 0.9, ConstantMobility, Other, times / 2)
    np.testing.assert_allclose(doubled, both[0][0], rtol=0, atol=1e-4)


@pytest.mark.slow
def test_ramp_restores_accuracy_from_a_rough_start():
    model, grid, _ = MODELS["cahn-hilliard"]
    c0 = 0.5 + 0.1 * jax.random.normal(jax.random.key(0), grid.shape)
    times = np.array([0.0, 8.0])
    exact = solve(model, grid, c0, times, substeps=512, ramp=10)[-1]
    plain, ramped = (
        float(jnp.linalg.norm(solve(model, grid, c0, times, substeps=16, ramp=r)[-1] - exact))
        for r in (0, 10)
    )
    assert ramped < 0.1 * plain, (ramped, plain)


def test_rkc_is_stable_just_inside_its_bound_and_not_far_outside():
    # A checkerboard is the stiffest mode; its exact amplitude decays to nothing.
    grid = Grid((8, 8), 1.0)
    model = Fickian(ConstantMobility(np.array(1.0)))
    y, x = np.indices((8, 8))
    c0 = jnp.asarray((-1.0) ** (x + y))
    radius = float(model.spectral_radius(c0, grid))
    np.testing.assert_allclose(radius, 8.0)
    for factor, stable in ((0.98, True), (1.3, False)):
        dt = factor * stability_limit(6) / radius
        last = solve(model, grid, c0, np.array([0.0, 40 * dt]), substeps=40, stepper=RKC2(6))[-1]
        assert (float(jnp.max(jnp.abs(last))) < 1) == stable
    stages = stages_for(model, grid, c0, 10.0)
    assert stability_limit(stages) > 80 > stability_limit(stages - 3)


def test_divergence_is_a_value():
    model, grid, _ = MODELS["cahn-hilliard"]
    times = np.array([0.0, 400.0])
    frames = solve(model, grid, waves(grid.shape), times, substeps=20, stepper=RKC2(2))
    assert bool(diverged(frames))
    assert not bool(diverged(frames[:1]))


def test_substeps_for_reaches_its_tolerance():
    model, grid, _ = MODELS["cahn-hilliard"]
    c0 = waves(grid.shape)
    n = substeps_for(model, grid, c0, 4.0, 1e-5)
    times = np.array([0.0, 4.0])
    exact = solve(model, grid, c0, times, substeps=256)[-1]
    error = jnp.linalg.norm(solve(model, grid, c0, times, substeps=n)[-1] - exact)
    assert 1 < n < 256
    assert float(error / jnp.linalg.norm(exact - exact.mean())) < 1e-5


def test_user_errors_say_what_to_do():
    model, grid, _ = MODELS["fickian"]
    c0, times = waves(grid.shape), np.array([0.0, 1.0])
    masked = Grid(grid.shape, 1.0, "no-flux", np.ones(grid.shape, bool))
    for stepper in (ETDRK4(), RosenbrockW()):
        with pytest.raises(InputError, match="rkc2"):
            simulate(model, masked, c0, times, substeps=1, stepper=stepper)
    with pytest.raises(InputError, match="substeps"):
        simulate(model, grid, c0, times, substeps=0)
    with pytest.raises(InputError, match="shape"):
        simulate(model, grid, c0[1:], times, substeps=1)
    with pytest.raises(InputError, match="etdrk4"):
        simulate(model, grid, c0, times, substeps=1, stepper="euler")
    with pytest.raises(InputError, match="stages"):
        RKC2(1)
