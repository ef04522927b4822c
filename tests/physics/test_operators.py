"""Finite volumes and transforms: conservation, duality, eigenvectors, derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from phdenoise.grid import Grid
from phdenoise.physics.operators import (
    divergence,
    face_gradient,
    face_mean,
    flux_divergence,
    gradient_energy,
    integral,
    laplacian,
)
from phdenoise.physics.transforms import laplacian_symbol, transforms

pytestmark = pytest.mark.usefixtures("x64")

BOUNDARIES = ("periodic", "no-flux")
SHAPES = ((5, 8), (6, 7), (1, 4))


def fields(shape, count=2):
    return jax.random.uniform(jax.random.key(0), (count, *shape), minval=0.2, maxval=0.9)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("shape", SHAPES)
def test_transforms_invert_and_diagonalise_the_laplacian(boundary, shape):
    grid = Grid(shape, (1.0, 0.7), boundary)
    c = fields(shape)
    forward, inverse = transforms(grid)
    symbol = laplacian_symbol(grid, c.dtype)
    np.testing.assert_allclose(inverse(forward(c)), c, atol=1e-13)
    bent = inverse(-symbol[None] * forward(c))
    np.testing.assert_allclose(bent, laplacian(c, grid), atol=1e-12)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("shape", SHAPES)
def test_flux_divergence_is_the_divergence_of_face_fluxes_and_conserves(boundary, shape):
    grid = Grid(shape, (1.0, 0.7), boundary)
    d, m = fields(shape)
    (my, mx), (gy, gx) = face_mean(d, grid), face_gradient(m, grid)
    fused = flux_divergence(d, m, grid)
    np.testing.assert_allclose(fused, divergence((my * gy, mx * gx), grid), atol=1e-13)
    np.testing.assert_allclose(integral(fused, grid), 0, atol=1e-13)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_masked_faces_are_closed_and_an_open_mask_changes_nothing(boundary):
    shape = (6, 7)
    d, m = fields(shape)
    mask = np.asarray(jax.random.bernoulli(jax.random.key(1), 0.6, shape))
    grid = Grid(shape, (1.0, 0.7), boundary, mask)
    change = flux_divergence(d, m, grid)
    assert np.all(np.asarray(change)[~mask] == 0)
    np.testing.assert_allclose(jnp.sum(change), 0, atol=1e-13)
    # What lies outside the particle is not seen inside.
    other = jnp.where(mask, m, 7.0)
    np.testing.assert_allclose(flux_divergence(d, other, grid), change, atol=1e-13)
    everywhere = Grid(shape, (1.0, 0.7), boundary, np.ones(shape, bool))
    plain = Grid(shape, (1.0, 0.7), boundary)
    for operator in (lambda g: flux_divergence(d, m, g), lambda g: laplacian(m, g)):
        np.testing.assert_allclose(operator(everywhere), operator(plain), atol=1e-12)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_laplacian_is_the_variation_of_the_gradient_energy(boundary):
    grid = Grid((5, 8), (1.0, 0.7), boundary)
    c = fields((5, 8))[0]
    variation = jax.grad(gradient_energy)(c, grid) / 0.7
    np.testing.assert_allclose(variation, -laplacian(c, grid), atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("masked", [False, True])
def test_derivatives_in_both_modes(boundary, masked):
    mask = np.asarray(jax.random.bernoulli(jax.random.key(1), 0.6, (4, 3))) if masked else None
    grid = Grid((4, 3), (1.0, 0.7), boundary, mask)
    d, m = fields((4, 3))

    def function(d, m):
        d, m = jnp.asarray(d), jnp.asarray(m)
        return flux_divergence(jnp.sin(d), m**2, grid) + laplacian(d * m, grid)

    check_grads(jax.jit(function), (d, m), order=1 if masked else 2, modes=("fwd", "rev"))


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_batch_of_one_operand_equals_a_loop_and_transposes(boundary):
    grid = Grid((4, 5), 1.0, boundary)
    d, m, *_ = fields((4, 5))
    batch = fields((4, 5), 3)
    together = jax.vmap(flux_divergence, (0, None, None))(batch, m, grid)
    singly = jnp.stack([flux_divergence(x, m, grid) for x in batch])
    np.testing.assert_allclose(together, singly, atol=1e-14)

    def push(x):
        return jax.vmap(flux_divergence, (None, 0, None))(d, x, grid)

    pull = jax.linear_transpose(push, batch)
    weight = fields((4, 5), 3)[::-1]
    np.testing.assert_allclose(
        jnp.vdot(weight, push(batch)), jnp.vdot(pull(weight)[0], batch), rtol=1e-12
    )
