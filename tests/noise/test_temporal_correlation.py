"""Noise that lasts for several frames: its correlation in time comes back, and motion is not taken for it."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from phdenoise.noise.correlation import estimate_temporal_correlation
from phdenoise.noise.models import Gaussian


def scene(frames=30, side=64, speed=0.3):
    """A smooth drifting pattern."""
    t, y, x = np.mgrid[:frames, :side, :side].astype(float)
    return np.sin((x - speed * t) / 7) + np.cos((y + speed * t) / 5)


def decaying(rho, shape=(30, 64, 64), seed=0, blur=0.0):
    """Unit noise of which each frame keeps a share `rho`."""
    white = np.random.default_rng(seed).normal(size=shape)
    if blur:
        white = ndimage.gaussian_filter(white, (0, blur, blur), mode="wrap")
        white /= white.std()
    for before, now in pairwise(white):
        now *= np.sqrt(1 - rho**2)
        now += rho * before
    return white


@pytest.mark.parametrize("blur", [0.0, 1.3])
@pytest.mark.parametrize("rho", [0.1, 0.2, 0.5, 0.8])
def test_correlation_in_time_comes_back(rho, blur):
    noisy = scene() + 0.7 * decaying(rho, blur=blur)
    found = estimate_temporal_correlation(noisy, np.ones(noisy.shape, bool))
    expected = rho ** np.arange(1, 3)[: len(found)]
    np.testing.assert_allclose(found[:2], expected, atol=0.03 + 0.05 * rho)


@pytest.mark.parametrize("sigma", [0.1, 1.0])
@pytest.mark.parametrize("speed", [0.0, 0.3, 1.0])
def test_motion_is_no_noise_that_lasts(speed, sigma):
    noisy = scene(speed=speed) + sigma * decaying(0.0)
    assert np.all(estimate_temporal_correlation(noisy, np.ones(noisy.shape, bool)) < 0.05)


def test_gaps_are_left_out():
    noisy = scene() + 0.5 * decaying(0.5)
    good = np.random.default_rng(1).random((30, 8, 8)) < 0.7
    good = good.repeat(8, axis=1).repeat(8, axis=2)
    found = estimate_temporal_correlation(np.where(good, noisy, 1e3), good)
    assert found[0] == pytest.approx(0.5, abs=0.07)


@pytest.mark.parametrize("shape", [(3, 64, 64), (30, 7, 64), (4, 9, 11)])
def test_too_little_to_tell(shape):
    noisy = np.random.default_rng(0).normal(size=shape)
    assert len(estimate_temporal_correlation(noisy, np.ones(shape, bool))) == 0
    assert len(estimate_temporal_correlation(noisy, np.zeros(shape, bool))) == 0


def test_field_lasts_as_asked():
    rho, later = np.zeros((3, 3)), np.array([0.5, 0.25, 0.1])
    rho[1] = 0.4, 1.0, 0.4
    model = Gaussian(jnp.float32(1.0)).correlated(rho, later)
    field = np.asarray(model.unit_field(jax.random.key(0), jnp.zeros((400, 40, 40), jnp.float32)))
    assert field.shape == (400, 40, 40)
    for lag, expected in enumerate((1.0, *later, 0.0)):
        assert np.mean(field[lag:] * field[: 400 - lag]) == pytest.approx(expected, abs=0.01)
    assert np.mean(field[:, :, 1:] * field[:, :, :-1]) == pytest.approx(0.4, abs=0.01)
    alone = (
        Gaussian(jnp.float32(1.0))
        .correlated(rho)
        .unit_field(jax.random.key(0), jnp.zeros((9, 8, 8)))
    )
    assert alone.shape == (9, 8, 8)
