"""Reaction rates: detailed balance, limits, an integral by quadrature, and the voltage of a current."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from phdenoise.physics.kinetics import (
    ButlerVolmer,
    CoupledIonElectron,
    ExchangeCurrent,
    SymmetricButlerVolmer,
    bounded_exp,
    marcus,
)
from phdenoise.physics.monotone_root import decreasing_root

pytestmark = pytest.mark.usefixtures("x64")

NAMES = ("symmetric", "general", "coupled")


def law(name):
    exchange = ExchangeCurrent(jnp.asarray(0.5), jnp.asarray(1.0))
    if name == "symmetric":
        return SymmetricButlerVolmer(exchange)
    if name == "general":
        return ButlerVolmer(exchange, jnp.asarray(0.3))
    return CoupledIonElectron(jnp.asarray(8.3), jnp.asarray(1.0))


def cells():
    c = jnp.linspace(0.02, 0.98, 25)
    return c, jnp.log(c / (1 - c)) + 4.47 * (1 - 2 * c), jnp.exp(jnp.cos(5 * c)) / c.size


@pytest.mark.parametrize("name", NAMES)
def test_rate_vanishes_at_equilibrium_and_opposes_the_overpotential(name):
    c, mu, _ = cells()
    kinetics = law(name)
    for v in (-3.0, 0.0, 2.0):
        rest = kinetics.rate(c, jnp.full_like(c, -v), jnp.asarray(v))
        np.testing.assert_allclose(rest, 0, atol=1e-13)
        rate = kinetics.rate(c, mu, jnp.asarray(v))
        assert np.all(np.sign(rate) == -np.sign(mu + v))
        slope = jax.vmap(jax.grad(lambda m, x, v=v: kinetics.rate(x, m, jnp.asarray(v))))(mu, c)
        assert np.all(slope < 0)


@pytest.mark.parametrize("name", NAMES)
def test_small_overpotentials_give_the_exchange_current(name):
    c, _, _ = cells()
    kinetics = law(name)
    h = 1e-6
    slope = (kinetics.rate(c, jnp.full_like(c, h), jnp.asarray(0.0)) / -h).astype(float)
    np.testing.assert_allclose(slope, kinetics.exchange(c), rtol=2e-5)


def test_half_as_general_alpha_is_the_symmetric_law():
    c, mu, weight = cells()
    half = ButlerVolmer(law("general").exchange, jnp.asarray(0.5))
    v = jnp.asarray(-1.3)
    symmetric = law("symmetric")
    np.testing.assert_allclose(half.rate(c, mu, v), symmetric.rate(c, mu, v), rtol=1e-13)
    for current in (-50.0, -0.3, 0.0, 0.2, 1e4):
        args = (c, mu, weight, jnp.asarray(current))
        np.testing.assert_allclose(half.voltage(*args), symmetric.voltage(*args), rtol=1e-12)


def test_closed_voltage_is_that_of_the_quadratic_formula_and_of_a_search_over_the_field():
    c, mu, weight = cells()
    symmetric, current = law("symmetric"), jnp.asarray(0.07)
    a = jnp.sum(weight * symmetric.exchange(c) * jnp.exp(mu / 2))
    b = jnp.sum(weight * symmetric.exchange(c) * jnp.exp(-mu / 2))
    published = 2 * jnp.log((-current + jnp.sqrt(current**2 + 4 * a * b)) / (2 * a))
    closed = symmetric.voltage(c, mu, weight, current)
    np.testing.assert_allclose(closed, published, rtol=1e-13)
    searched = super(SymmetricButlerVolmer, symmetric).voltage(c, mu, weight, current)
    np.testing.assert_allclose(searched, closed, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_voltage_delivers_the_current_and_its_derivatives_are_those_of_differences(name):
    c, mu, weight = cells()
    kinetics = law(name)

    def voltage(mu, weight, current):
        return kinetics.voltage(c, mu, weight, current)

    for current in (-0.1, 0.0, 0.2):
        v = voltage(mu, weight, jnp.asarray(current))
        np.testing.assert_allclose(jnp.sum(weight * kinetics.rate(c, mu, v)), current, atol=1e-13)
    point = (mu, weight, jnp.asarray(0.2))
    way = (jnp.cos(3 * c), weight * jnp.sin(c), jnp.asarray(1.0))
    forward = jax.jvp(voltage, point, way)[1]
    pulled = jax.grad(voltage, argnums=(0, 1, 2))(*point)
    reverse = sum(jnp.vdot(g, d) for g, d in zip(pulled, way, strict=True))
    up, down = (
        voltage(*(p + s * 1e-5 * d for p, d in zip(point, way, strict=True))) for s in (1, -1)
    )
    np.testing.assert_allclose(reverse, forward, rtol=1e-10)
    np.testing.assert_allclose((up - down) / 2e-5, forward, rtol=1e-7)


def test_marcus_rate_is_the_integral_to_a_tenth_and_keeps_detailed_balance():
    for reorganisation, error in ((2.0, 0.12), (8.3, 0.05), (20.0, 0.1)):
        for x in (-8.0, -1.0, 0.0, 3.0, 15.0):

            def rate(y, x=x, size=reorganisation):
                return np.exp(-((y - size + x) ** 2) / (4 * size)) / (1 + np.exp(y))

            exact = quad(rate, -60, 60, points=[0.0, reorganisation - x], limit=400)[0]
            value = marcus(jnp.asarray(x), jnp.asarray(reorganisation))
            np.testing.assert_allclose(value, exact, rtol=error)
            ratio = marcus(jnp.asarray(-x), jnp.asarray(reorganisation)) / value
            np.testing.assert_allclose(ratio, np.exp(-x), rtol=1e-13)


def test_coupled_transfer_has_a_limiting_current():
    c, mu, weight = cells()
    kinetics = law("coupled")
    limit = float(jnp.sum(weight * (1 - c)))
    rates = [float(jnp.sum(weight * kinetics.rate(c, mu, jnp.asarray(v)))) for v in (-20.0, -60.0)]
    assert rates[0] < limit
    np.testing.assert_allclose(rates[1], limit, rtol=1e-6)
    v = kinetics.voltage(c, mu, weight, jnp.asarray(1.5 * limit))
    assert np.isfinite(v)
    assert float(jnp.sum(weight * kinetics.rate(c, mu, v))) <= limit * (1 + 1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_rates_are_smooth_and_finite_outside_the_unit_interval(name):
    kinetics, v = law(name), jnp.asarray(-2.0)
    wild = jnp.asarray([-3.0, -0.2, -1e-9, 0.0, 1.0, 1.3, 5.0], jnp.float32)
    mu = jnp.asarray([-3e4, -2e3, -9.0, -9.0, 9.0, 3e3, 5e4], jnp.float32)
    weight = jnp.full_like(wild, 1 / 7)
    rate = kinetics.rate(wild, mu, v.astype(jnp.float32))
    assert rate.dtype == jnp.float32
    assert np.all(np.isfinite(rate))
    # Far outside the exchange current underflows, and with it the rate.
    assert np.all(rate[:4] >= 0)
    assert np.all(rate[4:] <= 0)
    assert np.all(rate[jnp.array([2, 3])] > 0)
    assert rate[4] < 0
    assert np.isfinite(kinetics.voltage(wild, mu, weight, jnp.asarray(0.1, jnp.float32)))
    assert np.all(kinetics.exchange(wild) >= 0)
    # Value and slope agree on both sides of where the continuation begins.
    for edge in (1e-4, 1 - 1e-4):
        value, slope = (
            [float(f(jnp.asarray(edge + s * 1e-9))) for s in (-1, 1)]
            for f in (kinetics.exchange, jax.grad(kinetics.exchange))
        )
        np.testing.assert_allclose(value[0], value[1], rtol=1e-4)
        np.testing.assert_allclose(slope[0], slope[1], rtol=1e-3)


def test_bounded_exp_is_continuous_with_its_slope():
    np.testing.assert_allclose(bounded_exp(jnp.asarray([-3.0, 0.0, 9.0])), np.exp([-3, 0, 9]))
    slope = jax.vmap(jax.grad(bounded_exp))(jnp.asarray([10 - 1e-7, 10 + 1e-7]))
    np.testing.assert_allclose(slope, np.exp(10), rtol=1e-6)


def test_root_is_found_from_anywhere_and_ends_without_one():
    def root(a, guess, low=-50.0, high=50.0):
        ends = (jnp.asarray(guess), jnp.asarray(low), jnp.asarray(high))
        return decreasing_root(lambda v: a - jnp.exp(3 * v) - v, *ends)

    for guess in (-50.0, -3.0, 0.0, 40.0):
        v = root(jnp.asarray(2.0), guess)
        np.testing.assert_allclose(2.0 - np.exp(3 * v) - v, 0, atol=1e-13)
    batch = jax.vmap(lambda a: root(a, 0.0))(jnp.asarray([-3.0, 0.5, 9.0]))
    np.testing.assert_allclose(batch, [root(jnp.asarray(a), 0.0) for a in (-3.0, 0.5, 9.0)])
    second = jax.grad(jax.grad(lambda a: root(a, 0.0)))(jnp.asarray(2.0))
    v = root(jnp.asarray(2.0), 0.0)
    slope = 1 + 3 * np.exp(3 * v)
    np.testing.assert_allclose(second, -9 * np.exp(3 * v) / slope**3, rtol=1e-9)
    np.testing.assert_allclose(root(jnp.asarray(99.0), 0.0, high=1.0), 1.0, rtol=1e-12)
