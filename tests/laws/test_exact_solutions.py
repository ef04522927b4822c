"""Solutions in closed form: slabs with faces held or fed, three axes, growth rates, coarsening."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erfc

from phdenoise.grid import Fixed, Flux, Grid
from phdenoise.physics import simulate
from phdenoise.physics.adaptive import integrate
from phdenoise.physics.equations.allen_cahn import AllenCahn
from phdenoise.physics.equations.cahn_hilliard import CahnHilliard
from phdenoise.physics.equations.fickian import Fickian
from phdenoise.physics.free_energies.regular_solution import DoubleWell
from phdenoise.physics.mobility import ConstantMobility

solve = jax.jit(simulate, static_argnames=("substeps", "stepper", "ramp"))

D, T = 0.5, 0.4


def half_space(face):
    """60 cells on [0, 5], a condition at 0 and nothing crossing at 5, from 0.2 to time T."""
    h = 5 / 60
    grid = Grid((60,), h, [(face, "no-flux")])
    model = Fickian(ConstantMobility(jnp.asarray(D)))
    frames = solve(model, grid, jnp.full(60, 0.2), np.array([0.0, T]), substeps=2)
    return (np.arange(60) + 0.5) * h, frames[-1]


def test_constant_flux_into_a_half_space(x64):
    x, c = half_space(Flux(0.3))
    root = np.sqrt(D * T)
    exact = 2 * root / np.sqrt(np.pi) * np.exp(-((x / (2 * root)) ** 2)) - x * erfc(x / (2 * root))
    np.testing.assert_allclose(c, 0.2 + 0.3 / D * exact, atol=1.5e-3)


def test_a_held_face_of_a_half_space(x64):
    x, c = half_space(Fixed(0.8))
    np.testing.assert_allclose(c, 0.2 + 0.6 * erfc(x / (2 * np.sqrt(D * T))), atol=1.5e-3)


def test_a_slab_between_two_held_faces_is_its_sine_series(x64):
    n = 60
    x = (np.arange(n) + 0.5) / n
    grid = Grid((n,), 1 / n, [(Fixed(0.1), Fixed(0.7))])
    times = np.array([0.0, 0.02, 0.2])
    frames = solve(
        Fickian(ConstantMobility(jnp.asarray(D))), grid, jnp.full(n, 0.1), times, substeps=2
    )
    for t, c in zip(times[1:], frames[1:], strict=True):
        k = np.pi * np.arange(1, 200)
        # 0.6 x minus its own sine series, each wave decaying.
        weights = 2 * np.cos(k) / k * np.exp(-D * k**2 * t)
        series = 0.1 + 0.6 * (x + np.sum(weights[:, None] * np.sin(k[:, None] * x), axis=0))
        np.testing.assert_allclose(c, series, atol=1e-3)


def test_a_wave_in_three_dimensions_decays_at_its_rate(x64):
    shape, spacing = (8, 10, 12), (0.125, 0.2, 0.25)
    grid = Grid(shape, spacing, [Fixed(0.0), "no-flux", "periodic"])
    z, y, x = (
        h * (np.arange(n) + 0.5).reshape([-1 if i == j else 1 for j in range(3)])
        for i, (n, h) in enumerate(zip(shape, spacing, strict=True))
    )
    wave = np.sin(np.pi * z) * np.cos(np.pi * y / 2) * np.cos(2 * np.pi * x / 3)
    rate = sum(
        4 * np.sin(k * h / 2) ** 2 / h**2
        for k, h in zip((np.pi, np.pi / 2, 2 * np.pi / 3), spacing, strict=True)
    )
    # The grid's own rate is close to that of the continuum.
    assert rate == pytest.approx(np.pi**2 * (1 + 1 / 4 + 4 / 9), rel=0.02)
    model = Fickian(ConstantMobility(jnp.asarray(D)))
    last = solve(model, grid, jnp.asarray(wave), np.array([0.0, 0.3]), substeps=1)[-1]
    np.testing.assert_allclose(last, wave * np.exp(-D * rate * 0.3), atol=1e-12)


@pytest.mark.parametrize("mode", [1, 5])
def test_small_waves_of_allen_cahn_grow_at_the_linear_rate(x64, mode):
    n, kappa, mobility = 32, 1.5, 0.7
    well = DoubleWell(jnp.asarray(2.0), jnp.asarray(0.0), jnp.asarray(1.0))
    model = AllenCahn(well, ConstantMobility(jnp.asarray(mobility)), jnp.asarray(kappa))
    wave = np.cos(2 * np.pi * mode * (np.arange(n) + 0.5) / n)
    square = 4 * np.sin(np.pi * mode / n) ** 2
    # f'' = −2 at the top of the barrier of 2 c² (1 − c)².
    rate = -mobility * (-2.0 + kappa * square)
    c0 = jnp.asarray(0.5 + 1e-6 * wave)
    last = solve(model, Grid((n,)), c0, np.array([0.0, 2.0]), substeps=20)[-1]
    measured = np.log(2 * np.mean((last - 0.5) * wave) / 1e-6) / 2
    np.testing.assert_allclose(measured, rate, rtol=1e-5)


def test_a_flat_interface_has_the_tension_of_the_double_well(x64):
    rho, c_a, c_b, kappa, n, h = 5.0, 0.3, 0.7, 2.0, 120, 0.25
    well = DoubleWell(jnp.asarray(rho), jnp.asarray(c_a), jnp.asarray(c_b))
    model = CahnHilliard(well, ConstantMobility(jnp.asarray(5.0)), jnp.asarray(kappa))
    x = (np.arange(n) + 0.5) * h - 15
    grid = Grid((n,), h, [(Fixed(c_a), Fixed(c_b))])
    result = jax.jit(integrate)(
        model, grid, jnp.asarray(0.5 + 0.2 * np.tanh(x)), np.array([0.0, 500.0])
    )
    # σ = ∫ √(2κf) dc over the barrier.
    tension = np.sqrt(2 * kappa * rho) * (c_b - c_a) ** 3 / 6
    np.testing.assert_allclose(model.energy(result.checked()[-1], grid), tension, rtol=2e-3)
    width = np.sqrt(2 * kappa / rho) / (c_b - c_a)
    np.testing.assert_allclose(result.last, 0.5 + 0.2 * np.tanh(x / width), atol=2e-4)


@pytest.mark.slow
def test_domains_coarsen_as_the_cube_root_of_time():
    n = 384
    well = DoubleWell(jnp.asarray(5.0), jnp.asarray(0.3), jnp.asarray(0.7))
    model = CahnHilliard(well, ConstantMobility(jnp.asarray(5.0)), jnp.asarray(2.0))
    c0 = 0.5 + 0.02 * jax.random.normal(jax.random.key(0), (n, n))
    times = np.concatenate([[0.0], np.geomspace(100, 3000, 8)])
    result = jax.jit(integrate, static_argnames=("rtol", "atol"))(
        model, Grid((n, n)), c0, times, rtol=3e-4, atol=3e-4
    )
    frames = np.asarray(result.checked())[1:] - 0.5
    power = np.abs(np.fft.rfft2(frames)) ** 2
    k = np.hypot(np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)[None, :])
    weight = np.where((np.arange(n // 2 + 1) == 0) | (np.arange(n // 2 + 1) == n // 2), 1, 2)
    length = np.sum(power * weight, axis=(1, 2)) / np.sum(power * weight * k, axis=(1, 2))

    # The law is approached as L = a + b t^(1/3): Huse, Phys. Rev. B 34, 7845 (1986), doi:10.1103/PhysRevB.34.7845.
    def misfit(exponent: float) -> float:
        terms = np.stack([np.ones(8), times[1:] ** exponent], axis=1)
        return float(np.linalg.lstsq(terms, length)[1][0])

    assert misfit(1 / 3) < 0.5 * min(misfit(1 / 4), misfit(1 / 2)), length
    local = np.diff(np.log(length)) / np.diff(np.log(times[1:]))
    _, late = np.polyfit(1 / np.sqrt(length[1:] * length[:-1]), local, 1)
    assert abs(late - 1 / 3) < 0.08, local
