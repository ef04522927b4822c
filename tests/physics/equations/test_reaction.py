"""Reacting particles: charge, equilibrium, growth rates, dissipation, derivatives, graphite, modes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phdenoise.grid import Grid
from phdenoise.physics import simulate
from phdenoise.physics.equations.reaction import (
    AllenCahnReaction,
    CahnHilliardReaction,
    ConstantCurrent,
    HeldVoltage,
)
from phdenoise.physics.free_energies.graphite import TwoLayers
from phdenoise.physics.free_energies.regular_solution import RegularSolution
from phdenoise.physics.kinetics import (
    ButlerVolmer,
    CoupledIonElectron,
    ExchangeCurrent,
    SymmetricButlerVolmer,
)
from phdenoise.physics.mobility import DegenerateMobility
from phdenoise.physics.operators import integral
from phdenoise.physics.particle import disc, rim
from phdenoise.physics.steppers.rkc2 import RKC2
from phdenoise.physics.transforms import laplacian_symbol

pytestmark = pytest.mark.usefixtures("x64")

solve = jax.jit(simulate, static_argnames=("substeps", "stepper", "ramp"))
SHAPE = (15, 14)


def kinetics(name):
    exchange = ExchangeCurrent(jnp.asarray(0.5), jnp.asarray(1.0))
    if name == "symmetric":
        return SymmetricButlerVolmer(exchange)
    if name == "general":
        return ButlerVolmer(exchange, jnp.asarray(0.35))
    return CoupledIonElectron(jnp.asarray(8.3), jnp.asarray(1.0))


def particle():
    return Grid(SHAPE, (1.0, 1.1), "no-flux", disc(SHAPE, 6.2))


def rate_field():
    y, x = np.indices(SHAPE)
    return jnp.asarray(np.exp(0.4 * np.cos(0.5 * y) + 0.3 * np.sin(0.4 * x)))


def lfp(drive, name="symmetric", k=None, omega=4.47):
    return AllenCahnReaction(
        RegularSolution(jnp.asarray(omega)),
        kinetics(name),
        drive,
        jnp.asarray(1.0),
        rate_field() if k is None else k,
    )


def graphite(drive, grid, k):
    layers = TwoLayers(jnp.asarray(3.4), jnp.asarray(1.4), jnp.asarray(20.0))
    mobility = DegenerateMobility(jnp.asarray(1.0))
    return CahnHilliardReaction(layers, kinetics("symmetric"), drive, jnp.asarray(1.0), k, mobility)


def start(layers=()):
    noise = jax.random.normal(jax.random.key(1), (*layers, *SHAPE))
    return 0.1 + 0.01 * noise


@pytest.mark.parametrize("name", ["symmetric", "general", "coupled"])
def test_constant_current_imposes_the_charge_exactly(name):
    grid, model = particle(), lfp(ConstantCurrent(jnp.asarray(0.02)), name)
    frames = solve(model, grid, start(), np.linspace(0, 30, 4), substeps=30, stepper=RKC2(6))
    filling = jax.vmap(model.filling, (0, None))(frames, grid)
    np.testing.assert_allclose(filling, filling[0] + 0.02 * np.linspace(0, 30, 4), rtol=1e-12)
    inside = np.asarray(frames[-1])[np.asarray(grid.mask)]
    assert inside.std() > 0.02, "a uniform particle would not test the voltage"
    outside = np.asarray(frames[-1] - frames[0])[~np.asarray(grid.mask)]
    np.testing.assert_allclose(outside, 0, atol=1e-13)


def test_emptying_reverses_the_sign_and_ends_before_it_is_empty():
    grid, model = particle(), lfp(ConstantCurrent(jnp.asarray(-0.02)))
    frames = solve(model, grid, 1 - start(), np.linspace(0, 30, 4), substeps=30, stepper=RKC2(6))
    filling = jax.vmap(model.filling, (0, None))(frames, grid)
    np.testing.assert_allclose(filling, filling[0] - 0.02 * np.linspace(0, 30, 4), rtol=1e-12)
    assert float(model.voltage(frames[-1], grid)) > float(
        lfp(ConstantCurrent(jnp.asarray(0.02))).voltage(frames[-1], grid)
    )


@pytest.mark.parametrize("name", ["symmetric", "general", "coupled"])
def test_equilibrium_has_no_rate(name):
    grid = particle()
    potential = RegularSolution(jnp.asarray(4.47)).chemical_potential(jnp.asarray(0.2))
    model = lfp(HeldVoltage(-potential), name)
    rate = model.rhs(jnp.asarray(0.0), jnp.full(SHAPE, 0.2), grid)
    np.testing.assert_allclose(rate, 0, atol=1e-13)
    # At rest a closed circuit without current takes the voltage of equilibrium.
    idle = lfp(ConstantCurrent(jnp.asarray(0.0)), name)
    np.testing.assert_allclose(idle.voltage(jnp.full(SHAPE, 0.2), grid), -potential, rtol=1e-11)


@pytest.mark.parametrize("drive", ["equilibrium", "current"])
@pytest.mark.parametrize("c0", [0.5, 0.15])
def test_small_waves_grow_at_the_linear_rate(drive, c0):
    """ds/dt = −k [ j₀ cosh(η/2) (f″ + κλ) + 2 j₀′ sinh(η/2) ] s for symmetric Butler-Volmer."""
    grid, mode, end, amplitude = Grid((1, 32), 1.0), 3, 0.2, 1e-7
    k = jnp.asarray(1.3)
    current = 0.0 if drive == "equilibrium" else 0.1
    model = lfp(ConstantCurrent(jnp.asarray(current)), k=k)
    wave = np.cos(2 * np.pi * mode * (np.arange(32) + 0.5) / 32)
    eigenvalue = float(laplacian_symbol(grid, "float64")[0, mode])

    def exponent(c):
        # Integrated along the uniform filling c(t) = c₀ + I t, on which −2 j₀ sinh(η/2) = I/k.
        exchange, slope = np.sqrt(c) * (1 - c), (0.5 / np.sqrt(c)) * (1 - c) - np.sqrt(c)
        half = -np.arcsinh(current / (2 * 1.3 * exchange))
        bend = 1 / (c * (1 - c)) - 2 * 4.47 + eigenvalue
        return -1.3 * (exchange * np.cosh(half) * bend + 2 * slope * np.sinh(half))

    path = c0 + current * np.linspace(0, end, 201)
    expected = np.trapezoid([exponent(c) for c in path], dx=end / 200)
    first = jnp.asarray(c0 + amplitude * wave)[None, :]
    last = solve(model, grid, first, np.array([0.0, end]), substeps=20, stepper=RKC2(6))[-1, 0]
    measured = np.log(2 * np.mean((last - last.mean()) * wave) / amplitude)
    np.testing.assert_allclose(measured, expected, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("case", ["held", "current", "graphite"])
def test_energy_falls_by_the_dissipation_and_the_work(case):
    grid, c = particle(), start()
    if case == "graphite":
        model = graphite(ConstantCurrent(jnp.asarray(0.05)), grid, rim(grid))
        c = start((2,))
    else:
        drive = (
            HeldVoltage(jnp.asarray(-0.5)) if case == "held" else ConstantCurrent(jnp.asarray(0.05))
        )
        model = lfp(drive)
    rate = model.rhs(jnp.asarray(0.0), c, grid)
    change = jax.jvp(lambda c: model.energy(c, grid), (c,), (rate,))[1]
    heat = model.dissipation(c, grid)
    assert heat > 0
    work = 0.0
    if case != "held":
        work = -model.voltage(c, grid) * jnp.sum(integral(rate, grid))
    np.testing.assert_allclose(change, work - heat, rtol=1e-10)


def test_energy_never_rises_at_a_held_voltage():
    grid, model = particle(), lfp(HeldVoltage(jnp.asarray(-0.3)))
    c0 = 0.5 + 10 * (start() - 0.1)
    frames = solve(model, grid, c0, np.linspace(0, 30, 16), substeps=6, stepper=RKC2(6))
    energies = jax.vmap(model.energy, (0, None))(frames, grid)
    assert np.all(np.diff(energies) <= 1e-12 * abs(float(energies[0])))
    assert energies[-1] < energies[0] - 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("symmetric", marks=pytest.mark.slow),
        pytest.param("general", marks=pytest.mark.slow),
        "coupled",
    ],
)
def test_gradients_of_a_run_agree_with_differences(name):
    grid, c0 = Grid((4, 5), 1.0, "no-flux", disc((4, 5), 2.3)), start()[:4, :5]
    theta = jnp.asarray([2.8, 0.5, 0.9, 0.3, 0.01])

    def loss(theta, c0):
        law = kinetics(name)
        if name != "coupled":
            exchange = ExchangeCurrent(theta[1], theta[2])
            law = type(law)(exchange, *([law.alpha] if name == "general" else []))
        k = jnp.exp(theta[3] * rate_field()[:4, :5])
        model = AllenCahnReaction(
            RegularSolution(theta[0]), law, ConstantCurrent(theta[4]), jnp.asarray(1.0), k
        )
        frames = simulate(model, grid, c0, np.array([0.0, 6.0, 12.0]), substeps=4, stepper=RKC2(5))
        return jnp.sum(frames[1:] * jnp.cos(jnp.arange(20.0)).reshape(1, 4, 5))

    way = (jnp.cos(7 * jnp.arange(5.0)) * jnp.asarray([1, 1, 1, 1, 0.01]), start()[4:8, :5])
    forward = jax.jit(lambda *x: jax.jvp(loss, x, way)[1])(theta, c0)
    pulled = jax.jit(jax.grad(loss, argnums=(0, 1)))(theta, c0)
    reverse = sum(jnp.vdot(g, d) for g, d in zip(pulled, way, strict=True))
    value, h = jax.jit(loss), 1e-5
    up, down = (value(theta + s * h * way[0], c0 + s * h * way[1]) for s in (1, -1))
    np.testing.assert_allclose(reverse, forward, rtol=1e-10)
    np.testing.assert_allclose((up - down) / (2 * h), forward, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", ["current", *(pytest.param(c, marks=pytest.mark.slow) for c in ("held", "graphite"))]
)
def test_spectral_radius_bounds_the_jacobian(case):
    grid = Grid((5, 6), 1.0, "no-flux", disc((5, 6), 2.9))
    cut = (Ellipsis, slice(5), slice(6))
    k, current = rate_field()[cut], ConstantCurrent(jnp.asarray(0.1))
    model, c = {
        "current": lambda: (lfp(current, k=k), start()[cut]),
        "held": lambda: (lfp(HeldVoltage(jnp.asarray(-2.0)), "coupled", k), 6 * start()[cut]),
        "graphite": lambda: (graphite(current, grid, k), start((2,))[cut]),
    }[case]()
    jacobian = jax.jacfwd(lambda c: model.rhs(jnp.asarray(0.0), c, grid))(c)
    values = np.linalg.eigvals(np.asarray(jacobian).reshape(c.size, c.size))
    bound = float(model.spectral_radius(c, grid))
    assert np.abs(values).max() <= bound * 1.0001
    assert bound < 6 * np.abs(values).max()


@pytest.mark.slow
@pytest.mark.parametrize("layers", [1, 2])
def test_transformed_stepper_agrees_with_the_explicit_one(layers):
    grid, times = Grid(SHAPE, 1.0, "no-flux"), np.array([0.0, 0.5])
    drive = ConstantCurrent(jnp.asarray(0.05))
    model = lfp(drive) if layers == 1 else graphite(drive, grid, rate_field())
    c0 = start() if layers == 1 else start((2,))
    explicit = solve(model, grid, c0, times, substeps=200, stepper=RKC2(8))
    transformed = solve(model, grid, c0, times, substeps=40, stepper="etdrk4", ramp=4)
    # The second-order explicit steps are what limits it: cells near 0 of a fast bed.
    atol = 1e-5 if layers == 1 else 5e-4
    np.testing.assert_allclose(transformed[-1], explicit[-1], atol=atol)
    assert float(jnp.max(jnp.abs(explicit[-1] - c0))) > 0.02


@pytest.mark.slow
def test_layers_fill_in_turn():
    """At half filling one layer is full and the other empty; the potential is ∂f/∂c."""
    grid = Grid((1, 12), 1.0, "no-flux")
    model = graphite(ConstantCurrent(jnp.asarray(0.01)), grid, jnp.asarray(1.0))
    c0 = jnp.stack([jnp.full((1, 12), 0.021), jnp.full((1, 12), 0.019)])
    gradient = jax.grad(lambda c: jnp.sum(model.free_energy.density(c)))(start((2,)))
    np.testing.assert_allclose(
        model.free_energy.chemical_potential(start((2,))), gradient, rtol=1e-11, atol=1e-11
    )
    diagonal = jax.jvp(
        lambda one: model.free_energy.chemical_potential(jnp.stack([one, c0[1]]))[0],
        (c0[0],),
        (jnp.ones_like(c0[0]),),
    )[1]
    np.testing.assert_allclose(model.free_energy.curvature(c0)[0], diagonal, rtol=1e-11)
    frames = solve(model, grid, c0, np.array([0.0, 48.0, 90.0]), substeps=100, stepper=RKC2(8))
    half, full = np.asarray(frames[1:]).mean(axis=(2, 3))
    np.testing.assert_allclose(half.mean(), 0.5, rtol=1e-10)
    assert half.max() > 0.9
    assert half.min() < 0.1
    assert full.min() > 0.8
