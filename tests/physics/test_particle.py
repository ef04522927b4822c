"""Masks, their modes and the particles simulated on them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phdenoise.grid import Grid
from phdenoise.physics.operators import laplacian
from phdenoise.physics.particle import disc, heterogeneity, mask_modes, rim, smooth_prior
from phdenoise.physics.transforms import laplacian_symbol
from phdenoise.physics.twins.particles import ParticleTwinConfig, particle_twin
from phdenoise.types import InputError


def two_pieces():
    mask = np.asarray(disc((14, 20), 4.6, (6.5, 5.0))) | np.asarray(
        disc((14, 20), 3.2, (6.0, 15.0))
    )
    return Grid((14, 20), (1.0, 1.2), "no-flux", mask)


@pytest.mark.parametrize(
    "grid_of",
    [two_pieces, lambda: Grid((6, 9), (1.0, 0.7), "no-flux"), lambda: Grid((6, 9), 1.0)],
    ids=["mask", "closed box", "periodic"],
)
def test_modes_are_orthonormal_eigenvectors_of_the_solver_s_own_laplacian(x64, grid_of):
    grid = grid_of()
    modes, values = mask_modes(grid, 9)
    inside = np.ones(grid.shape, bool) if grid.mask is None else np.asarray(grid.mask)
    np.testing.assert_allclose(modes[:, ~inside], 0)
    flat = modes[:, inside]
    np.testing.assert_allclose(flat @ flat.T / inside.sum(), np.eye(9), atol=1e-9)
    np.testing.assert_allclose(flat.mean(axis=1), 0, atol=1e-10)
    image = -np.asarray(laplacian(jnp.asarray(modes), grid))[:, inside]
    np.testing.assert_allclose(image, values[:, None] * flat, atol=1e-9)
    assert np.all(np.diff(values) > -1e-9)
    if grid.mask is not None:
        # Two particles: the first mode tells one from the other and nothing else.
        np.testing.assert_allclose(values[0], 0, atol=1e-12)
        assert len(np.unique(flat[0].round(9))) == 2
    elif grid.boundary == "no-flux":
        exact = np.sort(np.asarray(laplacian_symbol(grid, "float64")).ravel())[1:10]
        np.testing.assert_allclose(values, exact, rtol=1e-9)


def test_heterogeneity_keeps_the_mean_of_its_logarithm(x64):
    grid = two_pieces()
    uniform = heterogeneity(grid, 6, length=3.0, sd=0.5, scale=2.0)
    np.testing.assert_allclose(uniform(), 2.0)
    varied = type(uniform)(jnp.cos(jnp.arange(6.0)), uniform.modes, uniform.scale)
    k = np.asarray(varied())[np.asarray(grid.mask)]
    np.testing.assert_allclose(np.log(k).mean(), np.log(2.0), rtol=1e-10)
    assert k.std() > 0.1
    np.testing.assert_allclose(np.asarray(varied())[~np.asarray(grid.mask)], 2.0)
    _, values = mask_modes(grid, 6)
    np.testing.assert_allclose(np.sum(smooth_prior(values, length=3.0, sd=0.5) ** 2), 0.25)
    with pytest.raises(InputError, match="modes"):
        mask_modes(grid, 500)


def test_rim_is_the_length_of_the_edge(x64):
    mask = np.zeros((8, 9), bool)
    mask[2:5, 3:7] = True
    grid = Grid((8, 9), (1.0, 0.5), "no-flux", mask)
    area = 0.5
    np.testing.assert_allclose(jnp.sum(rim(grid)) * area, 2 * (3 * 1.0) + 2 * (4 * 0.5))
    np.testing.assert_allclose(rim(grid)[3, 4], 0)
    whole = Grid((3, 4), 1.0, "no-flux", np.ones((3, 4), bool))
    np.testing.assert_allclose(jnp.sum(rim(whole)), 14)


def test_particle_twin_fills_unevenly_by_the_imposed_charge():
    config = ParticleTwinConfig(shape=(20, 20), radius=8.0, frames=5, modes=6, substeps=40)
    twin = particle_twin(jax.random.key(0), config)
    filling = np.array([float(twin.model.filling(c, twin.grid)) for c in twin.frames])
    np.testing.assert_allclose(filling[-1], 0.95, atol=1e-3)
    np.testing.assert_allclose(np.diff(filling), np.diff(filling)[0], rtol=1e-3)
    inside = np.asarray(twin.frames[2])[np.asarray(twin.grid.mask)]
    assert inside.std() > 0.1
    assert inside.min() > -0.05
    assert inside.max() < 1.05
    assert np.all(np.isfinite(twin.voltage))


def test_particles_apart_come_first_among_the_modes():
    places = [(8.0, 8.0), (8.0, 30.0), (24.0, 20.0), (38.0, 9.0), (38.0, 36.0)]
    mask = np.any([np.asarray(disc((48, 48), 5.0, place)) for place in places], axis=0)
    grid = Grid((48, 48), 1.0, "no-flux", mask)
    # As many modes without any slope, less the constant, as particles; the next has one.
    _, values = mask_modes(grid, 5)
    np.testing.assert_allclose(values[:4], 0, atol=1e-9)
    assert values[4] > 1e-2
