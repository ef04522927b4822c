"""Fourier ring correlation and structure factor against known spectra."""

import jax
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from phdenoise.metrics.resolution import frc, structure_factor
from phdenoise.types import InputError


@pytest.fixture
def texture():
    return np.random.default_rng(0).normal(size=(4, 96, 96))


def test_identical_images_are_resolved_to_nyquist(texture):
    r = frc(texture, 3 * texture, pixel_size=0.5)
    assert np.allclose(r.correlation, 1, atol=1e-5)
    assert r.resolution == pytest.approx(1.0)
    assert r.frequency[0] == pytest.approx(1 / 48)


def test_independent_noise_is_not_correlated(texture):
    other = np.random.default_rng(1).normal(size=texture.shape)
    r = frc(texture, other)
    assert np.mean(np.abs(r.correlation)) < 0.1
    assert r.resolution > 20


def test_resolution_follows_the_signal_to_noise_crossing(texture):
    """FRC = S/(S + N) per ring: known crossing of a Gaussian-filtered texture in white noise."""
    s, noise = 1.5, 0.3
    signal = gaussian_filter(texture, (0, s, s), mode="wrap")
    rng = np.random.default_rng(2)
    a, b = (signal + noise * rng.normal(size=signal.shape) for _ in range(2))
    # exp(−(2π q s)²) / noise² = 1/6 at FRC = 1/7
    q = np.sqrt(np.log(6 / noise**2)) / (2 * np.pi * s)
    assert jax.jit(frc)(a, b).resolution == pytest.approx(1 / q, rel=0.08)
    finer = frc(a, b, pixel_size=(0.1, 0.1)).resolution
    assert finer == pytest.approx(0.1 * float(frc(a, b).resolution), rel=1e-4)


def test_structure_factor_finds_a_wavelength():
    y, x = np.mgrid[:64, :64]
    wave = np.stack([np.cos(2 * np.pi * x / 16), np.cos(2 * np.pi * y / 8)]) + 3.0
    s = structure_factor(wave, spacing=2.0)
    assert np.allclose(s.length, [32, 16], rtol=1e-4)
    assert s.wavenumber[np.argmax(s.power[0])] == pytest.approx(2 * np.pi / 32, rel=1e-5)


def test_structure_factor_of_white_noise_is_its_variance():
    noise = 0.3 * np.random.default_rng(0).normal(size=(50, 48, 64))
    s = structure_factor(noise)
    assert np.allclose(s.power.mean(0), 0.09, rtol=0.1)
    assert np.allclose(structure_factor(noise + 7).power, s.power, rtol=1e-2)
    assert np.all(np.isinf(structure_factor(np.ones((2, 16, 16))).length))


def test_inputs_are_checked(texture):
    with pytest.raises(InputError, match="shape"):
        frc(texture, texture[:1])
    with pytest.raises(InputError, match="8 x 8"):
        frc(texture[:, :4], texture[:, :4])
