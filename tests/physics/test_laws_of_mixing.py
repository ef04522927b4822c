"""Free energies and mobilities: consistent derivatives, finite and useful outside (0, 1)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from phdenoise.physics.free_energies.regular_solution import (
    DoubleWell,
    LegendreEnthalpy,
    RegularSolution,
)
from phdenoise.physics.mobility import ConstantMobility, DegenerateMobility, LegendreMobility
from phdenoise.physics.pointwise import legendre

pytestmark = pytest.mark.usefixtures("x64")

COEFFICIENTS = np.array([0.4, -3.0, 0.3, 0.2, -0.1, 0.05])


def energies():
    return [
        LegendreEnthalpy(COEFFICIENTS),
        RegularSolution(np.array(3.0)),
        DoubleWell(np.array(5.0), np.array(0.3), np.array(0.7)),
    ]


def mobilities():
    return [
        ConstantMobility(np.array(0.7)),
        DegenerateMobility(np.array(2.0)),
        LegendreMobility(COEFFICIENTS),
        LegendreMobility(COEFFICIENTS, base="degenerate"),
    ]


def test_legendre_matches_numpy_on_any_shape():
    x = np.linspace(-1, 1, 12).reshape(3, 4)
    for degree in (0, 1, 6):
        expected = np.polynomial.legendre.legvander(x, degree)
        np.testing.assert_allclose(legendre(jnp.asarray(x), degree), expected, atol=1e-14)


@pytest.mark.parametrize("index", range(3))
def test_potential_and_curvature_are_derivatives_of_the_density(index):
    energy = energies()[index]
    c = jnp.linspace(-0.2, 1.2, 29)
    slope = jax.jit(jax.vmap(jax.grad(lambda x: energy.density(x))))(c)
    np.testing.assert_allclose(energy.chemical_potential(c), slope, rtol=1e-12, atol=1e-11)
    bend = jax.jit(jax.vmap(jax.grad(lambda x: energy.chemical_potential(x))))(c)
    np.testing.assert_allclose(energy.curvature(c), bend, rtol=1e-12, atol=1e-11)


def test_legendre_enthalpy_contains_the_regular_solution():
    c = jnp.linspace(-0.1, 1.1, 13)
    regular = RegularSolution(np.array(3.0))
    general = LegendreEnthalpy(np.array([0.0, -3.0]))
    np.testing.assert_allclose(
        general.chemical_potential(c), regular.chemical_potential(c), rtol=1e-13, atol=1e-13
    )
    # The densities differ by the constant that the regular solution has at c = 1/2.
    np.testing.assert_allclose(general.density(c) + 0.75, regular.density(c), rtol=1e-12)


def test_potential_is_exact_inside_and_pushes_back_outside():
    energy = RegularSolution(np.array(0.0))
    c = jnp.array([1e-4, 0.01, 0.5, 0.99])
    np.testing.assert_allclose(energy.chemical_potential(c), np.log(c / (1 - c)), rtol=1e-12)
    outside = energy.chemical_potential(jnp.array([-0.3, -0.01, 1.01, 1.3]))
    assert np.all(np.isfinite(outside))
    assert np.all(np.diff(outside) > 0)
    assert np.all(energy.curvature(jnp.array([-0.3, 1.3])) > 1e3)


@pytest.mark.parametrize("index", range(3))
def test_potential_is_continuously_differentiable_at_the_seam(index):
    energy = energies()[index]
    for seam in (1e-4, 1 - 1e-4):
        sides = jnp.array([seam - 1e-10, seam + 1e-10])
        np.testing.assert_allclose(*energy.chemical_potential(sides), rtol=1e-5)
        np.testing.assert_allclose(*energy.curvature(sides), rtol=1e-5)


@pytest.mark.parametrize("index", range(4))
def test_mobility_is_positive_smooth_and_bounded_everywhere(index):
    mobility = mobilities()[index]
    c = jnp.linspace(-3, 4, 701)
    d = mobility(c)
    inside = mobility(jnp.linspace(0, 1, 101))
    assert np.all(d > 0)
    assert np.max(d) < 20 * np.max(inside)
    for seam in (0.0, 1e-4, 1 - 1e-4, 1.0):
        sides = jnp.array([seam - 1e-9, seam + 1e-9])
        np.testing.assert_allclose(*mobility(sides), rtol=1e-4)
        np.testing.assert_allclose(*jax.vmap(jax.grad(mobility))(sides), rtol=1e-3)


def test_mobilities_inside_are_their_formulas():
    c = jnp.linspace(0.01, 0.99, 9)
    log_d = np.polynomial.legendre.legval(2 * np.asarray(c) - 1, COEFFICIENTS)
    np.testing.assert_allclose(mobilities()[1](c), 2 * c * (1 - c), rtol=1e-14)
    np.testing.assert_allclose(mobilities()[2](c), np.exp(log_d), rtol=1e-13)
    np.testing.assert_allclose(mobilities()[3](c), np.exp(log_d) * c * (1 - c), rtol=1e-13)


def test_written_derivatives_hold_in_both_modes_and_again():
    c = jnp.array([-0.05, 0.2, 0.63, 1.04])

    def both(p, c):
        p, c = jnp.asarray(p), jnp.asarray(c)
        return LegendreEnthalpy(p).chemical_potential(c) * LegendreMobility(p, "degenerate")(c)

    check_grads(jax.jit(both), (COEFFICIENTS, c), order=1, modes=("fwd", "rev"), rtol=1e-3)
    # Once more, on the derivative itself.
    slope = jax.jit(jax.grad(lambda p, c: jnp.sum(both(p, c)), argnums=(0, 1)))
    check_grads(slope, (COEFFICIENTS, c[1:3]), order=1, modes=("fwd",), rtol=1e-3)
