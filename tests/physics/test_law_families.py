"""Families of laws: μ = df/dc, signs, smoothness, derivatives in the parameters, bijections, priors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import BSpline

from phdenoise.grid import Grid
from phdenoise.physics import simulate
from phdenoise.physics.equations.cahn_hilliard import CahnHilliard
from phdenoise.physics.equations.reaction import AllenCahnReaction, ConstantCurrent
from phdenoise.physics.free_energies.networks import (
    IncreasingNetwork,
    Network,
    NetworkEnthalpy,
    NetworkMobility,
    random_network,
)
from phdenoise.physics.free_energies.redlich_kister import RedlichKister
from phdenoise.physics.free_energies.regular_solution import (
    FreeEnergy,
    LegendreEnthalpy,
    RegularSolution,
)
from phdenoise.physics.free_energies.splines import (
    SplineEnthalpy,
    SplineMobility,
    spline,
    spline_fit,
)
from phdenoise.physics.kinetics import ButlerVolmer, ExchangeCurrent
from phdenoise.physics.law_parameters import free_parameters
from phdenoise.physics.mobility import ConstantMobility
from phdenoise.physics.particle import disc, heterogeneity
from phdenoise.physics.steppers.rkc2 import RKC2
from phdenoise.types import InputError

pytestmark = [pytest.mark.usefixtures("x64"), pytest.mark.slow]


def net(increasing=False):
    kind = IncreasingNetwork if increasing else Network
    heights = jnp.asarray([0.4, 0.7, 0.2] if increasing else [0.4, -0.7, 0.2])
    slopes, shifts = jnp.asarray([1.5, -0.8, 3.0]), jnp.asarray([0.3, -0.2, 1.0])
    return kind(heights, slopes, shifts, jnp.asarray(0.5))


ENERGIES = {
    "redlich-kister": lambda: RedlichKister(jnp.asarray([3.0, 0.4, -0.2, 0.1])),
    "spline": lambda: SplineEnthalpy(jnp.asarray([3.0, 2.0, 1.0, -0.5, -1.5, -3.2])),
    "network": lambda: NetworkEnthalpy(net()),
    "increasing": lambda: NetworkEnthalpy(net(increasing=True)),
}
MOBILITIES = {
    "spline": lambda: SplineMobility(jnp.asarray([0.3, -1.0, 0.5, 1.0, 0.2])),
    "degenerate spline": lambda: SplineMobility(jnp.asarray([0.3, -1.0, 0.5, 1.0]), True),
    "network": lambda: NetworkMobility(net()),
    "increasing": lambda: NetworkMobility(net(increasing=True)),
    "exchange": lambda: ExchangeCurrent(
        jnp.asarray(0.5), jnp.asarray(1.0), SplineMobility(jnp.asarray([0.3, -1.0, 0.5, 1.0]))
    ),
}
C = np.concatenate([[-0.3, -0.01, 1.02, 1.4], np.linspace(0.003, 0.997, 41)])


@pytest.mark.parametrize("name", ENERGIES)
def test_potential_is_the_derivative_of_the_density(name):
    law, c = ENERGIES[name](), jnp.asarray(C)
    assert isinstance(law, FreeEnergy)
    slope = jax.vmap(jax.grad(law.density))(c)
    np.testing.assert_allclose(law.chemical_potential(c), slope, rtol=1e-12, atol=1e-11)
    bend = jax.vmap(jax.grad(law.chemical_potential))(c)
    np.testing.assert_allclose(law.curvature(c), bend, rtol=1e-12)


@pytest.mark.parametrize("name", [*ENERGIES, *MOBILITIES])
def test_laws_are_smooth_across_every_join(name):
    law = ENERGIES[name]().chemical_potential if name in ENERGIES else MOBILITIES[name]()
    joins = np.concatenate([[0.0, 1.0, 1e-4, 1 - 1e-4], np.arange(1, 12) / 12])
    for function in (law, jax.grad(law)):
        below, above = (
            jax.vmap(function)(jnp.asarray(joins + side * 1e-10)) for side in (-1.0, 1.0)
        )
        scale = 1 + np.abs(below)
        np.testing.assert_allclose((above - below) / scale, 0, atol=2e-5)


@pytest.mark.parametrize("name", MOBILITIES)
def test_mobilities_are_positive_and_finite_everywhere(name):
    law = MOBILITIES[name]()
    wild = jnp.asarray([-20.0, -1.0, -1e-3, 0.0, 0.3, 1.0, 1.002, 3.0, 50.0], jnp.float32)
    law = jax.tree.map(lambda x: x.astype(jnp.float32), law)
    values, slopes = law(wild), jax.vmap(jax.grad(law))(wild)
    assert values.dtype == jnp.float32
    assert np.all(np.isfinite(values))
    assert np.all(np.isfinite(slopes))
    assert np.all(values >= 0) if name == "exchange" else np.all(values > 0)


def test_redlich_kister_contains_the_regular_solution():
    c = jnp.asarray(C)
    one, two = RedlichKister(jnp.asarray([2.7])), RegularSolution(jnp.asarray(2.7))
    for method in ("density", "chemical_potential", "curvature"):
        np.testing.assert_allclose(
            getattr(one, method)(c), getattr(two, method)(c), rtol=1e-11, atol=1e-11
        )


def test_spline_is_the_b_spline_of_scipy():
    a, c = np.cos(3 * np.arange(7.0)), np.linspace(0, 1, 33)
    knots = np.arange(-3, 4 + 4) / 4
    np.testing.assert_allclose(
        spline(jnp.asarray(a), jnp.asarray(c)), BSpline(knots, a, 3)(c), atol=1e-14
    )
    np.testing.assert_allclose(spline(jnp.full(5, 2.5), jnp.asarray(C)), 2.5, rtol=1e-14)
    np.testing.assert_allclose(spline_fit(7, c, BSpline(knots, a, 3)(c)), a, atol=1e-12)
    # A cubic is reproduced exactly, and so goes on as its tangent.
    cubic = jnp.asarray(spline_fit(6, c, c**3 - c))
    np.testing.assert_allclose(
        spline(cubic, jnp.asarray([0.4, 1.5])), [0.4**3 - 0.4, 1.0], atol=1e-12
    )


def test_an_increasing_network_increases_for_any_parameters():
    free = free_parameters(NetworkEnthalpy(net(increasing=True)))
    for key in jax.random.split(jax.random.key(0), 5):
        law = free.build(3 * free.sample(key))
        assert np.all(np.diff(law.network(jnp.linspace(-0.5, 1.5, 101))) >= 0)
        assert np.all(law.curvature(jnp.linspace(0.01, 0.99, 51)) > 0)
    grown = random_network(jax.random.key(1), 5, increasing=True, level=0.3)
    assert isinstance(grown, IncreasingNetwork)
    np.testing.assert_allclose(grown(jnp.linspace(0, 1, 9)), 0.3, atol=0.5)


def reacting():
    grid = Grid((5, 6), 1.0, "no-flux", disc((5, 6), 2.9))
    exchange = MOBILITIES["exchange"]()
    return AllenCahnReaction(
        ENERGIES["spline"](),
        ButlerVolmer(exchange, jnp.asarray(0.4)),
        ConstantCurrent(jnp.asarray(0.03)),
        jnp.asarray(0.8),
        heterogeneity(grid, 3, length=2.0, sd=0.3),
    ), grid


def test_free_parameters_go_there_and_back():
    model, _ = reacting()
    free = free_parameters(model, fixed=("drive", "exchange.filled", "free_energy.coefficients"))
    assert "ln_kappa" in free.names
    assert "logit_kinetics.alpha" in free.names
    assert "rate_constant.coefficients[2]" in free.names
    assert "ln_rate_constant.scale" in free.names
    assert not any(
        "drive" in name or "modes" in name or "free_energy" in name for name in free.names
    )
    same = free.build(free.start)
    for a, b in zip(jax.tree.leaves(same), jax.tree.leaves(model), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14)
    wild = free.build(free.start + 4 * jnp.cos(jnp.arange(free.start.size)))
    assert wild.kappa > 0
    assert 0 < wild.kinetics.alpha < 1
    assert free.log_prior(free.mean) == 0
    draws = jax.vmap(free.sample)(jax.random.split(jax.random.key(0), 2000))
    np.testing.assert_allclose(draws.std(axis=0), free.sd, rtol=0.1)


def test_free_parameters_refuse_what_is_not_allowed():
    model, _ = reacting()
    with pytest.raises(InputError, match="viscosity"):
        free_parameters(model, fixed=("viscosity",))
    with pytest.raises(InputError, match="free"):
        free_parameters(ConstantMobility(jnp.asarray(1.0)), fixed=("value",))
    with pytest.raises(InputError, match="kappa"):
        free_parameters(
            CahnHilliard(ENERGIES["spline"](), MOBILITIES["spline"](), jnp.asarray(-1.0))
        )
    with pytest.raises(InputError, match="4"):
        SplineMobility(jnp.zeros(3))


@pytest.mark.slow
def test_gradients_of_a_run_in_every_parameter_of_its_laws_agree_with_differences():
    model, grid = reacting()
    free = free_parameters(model)
    c0 = 0.2 + 0.05 * jax.random.normal(jax.random.key(2), (5, 6))
    weights = jnp.cos(jnp.arange(30.0)).reshape(5, 6)

    def loss(theta):
        times = np.array([0.0, 4.0])
        frames = simulate(free.build(theta), grid, c0, times, substeps=4, stepper=RKC2(4))
        return jnp.sum(frames[-1] * weights)

    way = jnp.cos(5 * jnp.arange(free.start.size))
    forward = jax.jit(lambda t: jax.jvp(loss, (t,), (way,))[1])(free.start)
    value, gradient = jax.jit(jax.value_and_grad(loss))(free.start)
    np.testing.assert_allclose(jnp.vdot(gradient, way), forward, rtol=1e-10)
    run = jax.jit(loss)
    up, down = run(free.start + 1e-5 * way), run(free.start - 1e-5 * way)
    np.testing.assert_allclose((up - down) / 2e-5, forward, rtol=1e-6)
    assert np.isfinite(value)
    # A spline is local: the two pieces of μ_h beyond the concentrations of the run cannot be seen.
    unseen = [f"free_energy.coefficients[{n}]" for n in (4, 5)]
    zero = [name for name, g in zip(free.names, gradient, strict=True) if g == 0]
    assert zero == unseen


def test_a_spline_can_stand_for_a_legendre_law():
    c = np.linspace(0.02, 0.98, 201)
    legendre = LegendreEnthalpy(jnp.asarray([0.0, -3.0, 0.1, 0.2]))
    ideal = LegendreEnthalpy(jnp.zeros(1))
    excess = legendre.chemical_potential(jnp.asarray(c)) - ideal.chemical_potential(jnp.asarray(c))
    law = SplineEnthalpy(jnp.asarray(spline_fit(8, c, np.asarray(excess))))
    np.testing.assert_allclose(
        law.chemical_potential(jnp.asarray(c)),
        legendre.chemical_potential(jnp.asarray(c)),
        atol=1e-10,
    )
