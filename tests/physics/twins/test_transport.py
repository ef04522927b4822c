"""The twins: accurate, reproducible, as configured."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phdenoise.physics.twins.transport import (
    FickianTwinConfig,
    TwinConfig,
    cahn_hilliard_twin,
    fickian_twin,
    movie,
)
from phdenoise.types import InputError


@pytest.mark.slow
def test_cahn_hilliard_twin_separates_and_is_accurate():
    config = TwinConfig(shape=(48, 48), frames=26, t_end=0.1, substeps=16)
    times, frames = cahn_hilliard_twin(jax.random.key(0), config)
    assert frames.dtype == times.dtype == jnp.float32
    np.testing.assert_allclose(times[-1], 0.1, rtol=1e-6)
    np.testing.assert_allclose(float(jnp.std(frames[0])), 0.01, rtol=0.1)
    assert 0.05 < float(frames[-1].min()) < 0.1
    assert 0.9 < float(frames[-1].max()) < 0.95
    np.testing.assert_allclose(frames.mean(axis=(1, 2)), float(frames[0].mean()), atol=1e-6)
    # In single precision rounding, which spinodal decomposition amplifies, is larger than the error of the steps.
    with jax.enable_x64(True):
        double = replace(config, dtype="float64")
        coarse, fine = (
            cahn_hilliard_twin(jax.random.key(0), replace(double, substeps=n))[1] for n in (16, 32)
        )
        error = jnp.linalg.norm(coarse - fine, axis=(1, 2)) / jnp.linalg.norm(fine, axis=(1, 2))
        assert float(error.max()) < 1e-5
        start = fine[0].astype(jnp.float32)
        _, single = movie(config, start)
        off = jnp.linalg.norm(single - fine, axis=(1, 2)) / jnp.linalg.norm(fine, axis=(1, 2))
    assert float(off.max()) < 5e-4


@pytest.mark.slow
def test_fickian_twin_flattens_in_a_closed_box_and_is_accurate_to_1e_4():
    config = FickianTwinConfig(shape=(40, 33))
    _, frames = fickian_twin(jax.random.key(1), config)
    assert float(frames.min()) > config.low - 1e-3
    assert float(frames.max()) < config.high + 1e-3
    assert float(jnp.std(frames[-1])) < 0.6 * float(jnp.std(frames[0]))
    np.testing.assert_allclose(frames.mean(axis=(1, 2)), float(frames[0].mean()), atol=1e-5)
    _, finer = fickian_twin(jax.random.key(1), replace(config, substeps=16))
    np.testing.assert_allclose(frames, finer, atol=5e-5)


def test_errors_name_the_cure():
    with pytest.raises(InputError, match="x64"):
        cahn_hilliard_twin(jax.random.key(0), TwinConfig(dtype="float64"))


@pytest.mark.parametrize("degenerate", [True, False])
def test_curves_are_those_of_the_law_that_moves_the_twin(degenerate):
    config = TwinConfig(
        mobility=0.7, bends=(0.2, -0.1), log_mobility=(0.3, 0.1), degenerate=degenerate
    )
    plain = TwinConfig(mobility=0.7, degenerate=degenerate)
    c = np.linspace(0.05, 0.95, 7)
    for law in (config, plain):
        mu, d = law.curves(c)
        model = law.model
        potential = model.free_energy.chemical_potential(jnp.asarray([0.5, *c]))
        np.testing.assert_allclose(potential[1:] - potential[0], mu, atol=2e-5)
        np.testing.assert_allclose(model.mobility(jnp.asarray(c)), d, rtol=2e-5)
    assert np.abs(config.curves(c)[0] - plain.curves(c)[0]).max() > 0.1
