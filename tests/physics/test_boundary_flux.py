"""Driven diffusion against Carslaw and Jaeger's half space, and its mass against what was let in."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erfc

from phdenoise.grid import Grid
from phdenoise.physics import simulate
from phdenoise.physics.boundary_flux import DrivenFickian, face, layer
from phdenoise.physics.mobility import ConstantMobility, LegendreMobility
from phdenoise.types import InputError


def _half_space(cells, d=0.5, flux=0.3, t=1.5, length=8.0):
    """Largest error [relative] of a constant flux through the left face, with so many cells."""
    h = length / cells
    shape = (1, cells)
    model = DrivenFickian(
        ConstantMobility(d),
        jnp.asarray(face(shape, h, "left"))[None],
        jnp.array([0.0, 10.0]),
        jnp.full((1, 2), flux),
    )
    times = jnp.linspace(0, t, 4)
    c = simulate(model, Grid(shape, h, "no-flux"), jnp.zeros(shape), times, substeps=40)[-1, 0]
    x = h * (np.arange(cells) + 0.5)
    root = 2 * np.sqrt(d * t)
    exact = flux * (
        2 * np.sqrt(t / (np.pi * d)) * np.exp(-((x / root) ** 2)) - x / d * erfc(x / root)
    )
    return np.max(np.abs(np.asarray(c) - exact)) / exact.max()


@pytest.mark.slow
def test_constant_flux_into_a_half_space_converges_to_carslaw_and_jaeger(x64):
    coarse, fine = _half_space(40), _half_space(80)
    assert fine < 1e-3
    assert np.log2(coarse / fine) == pytest.approx(2, abs=0.3)


def test_mass_is_what_was_let_in(x64):
    shape, h = (3, 12), 0.5
    places = np.stack([face(shape, h, "right"), layer(shape, h, 2, 5, np.array([1.0, 2.0, 1.0]))])
    knots = np.array([0.0, 1.0, 2.0, 4.0])
    amplitudes = np.array([[0.0, 0.2, 0.2, -0.1], [0.1, 0.0, 0.0, 0.05]])
    model = DrivenFickian(LegendreMobility(jnp.array([0.1, 0.5])), *map(jnp.asarray, (places, knots, amplitudes)))  # fmt: skip
    grid = Grid(shape, h, "no-flux")
    times = jnp.linspace(0.0, 4.0, 9)
    frames = simulate(model, grid, jnp.full(shape, 0.3), times, substeps=8)
    entered = [
        sum(np.trapezoid(np.interp(s, knots, a), s) for a in amplitudes)
        for s in (np.linspace(0, t, 4001) for t in np.asarray(times))
    ]
    mass = np.asarray(frames).sum(axis=2) * h  # of each row, which is unlike none
    assert np.allclose(mass - mass[:1], np.asarray(entered)[:, None], atol=1e-6)


@pytest.mark.slow
def test_fluxes_have_a_gradient(x64):
    shape = (1, 10)
    place = jnp.asarray(face(shape, 1.0, "left"))[None]
    grid, times = Grid(shape, 1.0, "no-flux"), jnp.linspace(0.0, 3.0, 4)

    def end(a):
        model = DrivenFickian(ConstantMobility(1.0), place, jnp.array([0.0, 3.0]), a[None])
        return simulate(model, grid, jnp.zeros(shape), times, substeps=4)[-1, 0, 2]

    a = jnp.array([0.2, 0.5])
    slope = jax.grad(end)(a)
    step = 1e-4
    for k in range(2):
        e = step * jnp.eye(2)[k]
        assert slope[k] == pytest.approx((end(a + e) - end(a - e)) / (2 * step), rel=1e-6)


def test_places_are_checked():
    with pytest.raises(InputError, match="does not lie"):
        layer((2, 5), 1.0, 3, 7)
    with pytest.raises(InputError, match="one weight a column"):
        layer((2, 5), 1.0, 1, 3, np.zeros(2))
