"""The Allen-Cahn twin: accurate, not conserved, and driven towards the phase that the drive favours."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phdenoise.physics.twins.reaction import ReactionTwinConfig, allen_cahn_twin
from phdenoise.types import InputError

SMALL = ReactionTwinConfig(shape=(24, 20), frames=9)


def test_accurate_and_as_configured():
    times, frames = allen_cahn_twin(jax.random.key(0), SMALL)
    assert frames.shape == (9, 24, 20)
    np.testing.assert_allclose(times[-1], 2.0)
    np.testing.assert_allclose(float(frames[0].mean()), 0.5, atol=1e-3)
    np.testing.assert_allclose(float(frames[0].std()), 0.1, atol=2e-3)
    _, finer = allen_cahn_twin(jax.random.key(0), replace(SMALL, substeps=16))
    np.testing.assert_allclose(frames, finer, atol=1e-4)


def test_energy_falls_and_the_drive_empties():
    _, frames = allen_cahn_twin(jax.random.key(1), replace(SMALL, drive=0.3))
    grid, model = SMALL.grid, replace(SMALL, drive=0.3).model
    energy = np.array([float(model.energy(c, grid)) for c in frames])
    # Up to the rounding of single precision, once one phase has won.
    assert (np.diff(energy) < 1e-6 * np.abs(energy).max()).all()
    assert float(frames[-1].mean()) < 0.3
    _, other = allen_cahn_twin(jax.random.key(1), replace(SMALL, drive=-0.3))
    assert float(other[-1].mean()) > 0.7


def test_errors_name_the_cure():
    with pytest.raises(InputError, match="substeps"):
        allen_cahn_twin(jax.random.key(0), replace(SMALL, mobility=jnp.inf, substeps=1))
