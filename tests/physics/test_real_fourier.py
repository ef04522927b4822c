"""The transforms against numpy's, and their transposes against the definition ⟨y, Ax⟩ = ⟨Aᵀy, x⟩."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phdenoise.physics.real_fourier import forward, inverse


@pytest.mark.parametrize("shape", [(4, 6), (5, 7), (1, 8), (3, 1)])
def test_values_transposes_and_tangents_are_those_of_the_plain_transforms(x64, shape):
    keys = jax.random.split(jax.random.key(0), 4)
    x, dx = (jax.random.normal(k, shape) for k in keys[:2])
    spectrum, ct = (jnp.fft.rfft2(jax.random.normal(k, shape)) for k in keys[2:])
    # A spectrum with imaginary parts where that of a real field has none.
    ct = ct + 0.3j * jnp.cos(jnp.arange(float(ct.size))).reshape(ct.shape)

    def plain(s):
        return jnp.fft.irfft2(s, s=shape)

    np.testing.assert_allclose(forward(x), np.fft.rfft2(x), atol=1e-13)
    np.testing.assert_allclose(inverse(spectrum, shape[1]), plain(spectrum), atol=1e-13)
    for ours, theirs, point, pull in (
        (forward, jnp.fft.rfft2, x, ct),
        (lambda s: inverse(s, shape[1]), plain, spectrum, dx),
    ):
        np.testing.assert_allclose(
            jax.vjp(ours, point)[1](pull)[0], jax.vjp(theirs, point)[1](pull)[0], atol=1e-12
        )
        np.testing.assert_allclose(jax.jvp(ours, (point,), (point,))[1], theirs(point), atol=1e-12)
        batch = jnp.stack([point, 2 * point])
        np.testing.assert_allclose(jax.vmap(ours)(batch)[1], 2 * theirs(point), atol=1e-12)


@pytest.mark.slow
def test_second_derivatives_pass_through(x64):
    def energy(x):
        return jnp.sum(jnp.abs(forward(x**2)) ** 2)

    def plain(x):
        return jnp.sum(jnp.abs(jnp.fft.rfft2(x**2)) ** 2)

    x = jax.random.normal(jax.random.key(0), (3, 4))
    np.testing.assert_allclose(jax.hessian(energy)(x), jax.hessian(plain)(x), rtol=1e-10, atol=1e-9)
    assert forward(x.astype(jnp.float32)).dtype == jnp.complex64
    assert inverse(forward(x.astype(jnp.float32)), 4).dtype == jnp.float32
