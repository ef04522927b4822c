"""Drift that is put in is found again."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from phdenoise.modalities.registration import register, shift, shift_periodic
from phdenoise.types import InputError


@pytest.fixture(scope="module")
def drift():
    """A textured field of view moving over a larger scene, and its true displacements."""
    scene = gaussian_filter(np.random.default_rng(3).normal(size=(160, 168)), 3.0)
    scene = scene / scene.std()
    true = np.array([[0, 0], [0.4, -0.7], [2.3, 1.6], [-4.5, 6.25]])
    moved = np.asarray(shift_periodic(np.repeat(scene[None], 4, 0), true))
    return moved[:, 40:120, 40:128], true


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_drift_is_found_to_a_fraction_of_a_pixel(drift, noise):
    frames, true = drift
    noisy = frames + np.random.default_rng(1).normal(0, noise, frames.shape)
    assert np.max(np.abs(register(noisy) - true)) < (0.05 if noise == 0 else 0.15)
    aligned = shift(noisy, -register(noisy))[:, 8:-8, 8:-8]
    before = np.std(noisy[3, 8:-8, 8:-8] - noisy[0, 8:-8, 8:-8])
    assert np.std(aligned[3] - aligned[0]) < max(0.1, 0.6 * before)


def test_phase_only_and_reference(drift):
    frames, true = drift
    found = register(frames[1:], reference=frames[0], phase_only=True)
    assert np.max(np.abs(found - true[1:])) < 0.3
    with pytest.raises(InputError, match="reference"):
        register(frames, reference=frames[0, :9])


def test_fourier_shift_is_exact_and_invertible_for_a_periodic_scene():
    y, x = np.mgrid[:32, :48]
    wave = np.sin(2 * np.pi * (2 * y / 32 + 3 * x / 48))[None]
    d = np.array([[1.3, -2.7]])
    expected = np.sin(2 * np.pi * (2 * (y - 1.3) / 32 + 3 * (x + 2.7) / 48))[None]
    moved = shift_periodic(wave, d)
    assert np.allclose(moved, expected, atol=1e-5)
    assert np.allclose(shift_periodic(moved, -d), wave, atol=1e-5)
    assert np.allclose(shift(wave, np.array([[1.0, 0.0]]))[0, 1:], wave[0, :-1], atol=1e-6)
