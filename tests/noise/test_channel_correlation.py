"""Noise that channels share is recovered; motion, which they share too, is not taken for it."""

import numpy as np
import pytest

from phdenoise.noise.channel_correlation import noise_correlation

SHAPE = (14, 48, 48)
VALID = np.ones(SHAPE, bool)


def _scene(speed):
    t, y, x = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    return np.sin((x - speed * t) / 5) * np.cos(y / 6)


def _channels(rho, speed, sd=(0.1, 0.3, 0.2)):
    white = np.random.default_rng(2).standard_normal((3, *SHAPE))
    noise = np.tensordot(np.linalg.cholesky(rho), white, 1)
    colours, sd = np.array([1.0, -0.5, 2.0]), np.asarray(sd)
    return colours[:, None, None, None] * _scene(speed) + sd[:, None, None, None] * noise


@pytest.mark.parametrize("speed", [0.0, 0.5])
def test_correlation_is_recovered_with_and_without_motion(speed):
    rho = np.array([[1.0, 0.5, 0.0], [0.5, 1.0, -0.3], [0.0, -0.3, 1.0]])
    found = noise_correlation(_channels(rho, speed), VALID, np.array([0.01, 0.09, 0.04]))
    np.testing.assert_allclose(found, rho, atol=0.05)


@pytest.mark.parametrize("speed", [0.0, 0.5, 1.5])
def test_independent_noise_stays_independent(speed):
    found = noise_correlation(_channels(np.eye(3), speed), VALID, np.array([0.01, 0.09, 0.04]))
    np.testing.assert_array_equal(found, np.eye(3))


def test_copies_are_seen_and_the_result_stays_definite():
    one = _channels(np.eye(3), 0.2)[0]
    found = noise_correlation(np.stack([one, 5 * one]), VALID, np.array([0.01, 0.25]))
    assert found[0, 1] > 0.95
    assert np.linalg.eigvalsh(found)[0] > 0.01


def test_one_frame_tells_nothing():
    frames = _channels(np.eye(3), 0)[:, :1]
    np.testing.assert_array_equal(noise_correlation(frames, VALID[:1], np.ones(3)), np.eye(3))
