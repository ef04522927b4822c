"""White noise is called white at the stated rate, correlated noise is not, and masks are obeyed."""

import jax
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, uniform_filter1d

from phdenoise.metrics.residuals import residual_autocorrelation, residual_whiteness
from phdenoise.types import InputError


def test_white_noise_is_white():
    p = [
        residual_whiteness(np.random.default_rng(s).normal(size=(12, 40, 44))).p_value
        for s in range(40)
    ]
    assert np.mean(np.array(p) < 0.05) < 0.2
    assert 0.3 < np.mean(p) < 0.7


def test_correlated_noise_is_not():
    noise = np.random.default_rng(0).normal(size=(12, 64, 64))
    box = residual_whiteness(uniform_filter1d(noise, 3, axis=2))
    assert not box.white
    assert box.lag == (0, 0, 1)
    assert box.correlation == pytest.approx(2 / 3, abs=0.03)
    assert "not white" in box.sentence
    assert not residual_whiteness(gaussian_filter(noise, (0.6, 0, 0))).white


def test_significant_but_small_is_practically_white():
    noise = np.random.default_rng(0).normal(size=(40, 128, 128))
    result = residual_whiteness(noise + 0.01 * np.roll(noise, 1, 2))
    assert result.p_value < 0.01
    assert result.white
    assert "small" in result.sentence


def test_autocorrelation_of_a_box_filter_is_a_triangle():
    noise = np.random.default_rng(1).normal(size=(6, 100, 120))
    r = jax.jit(residual_autocorrelation)(uniform_filter1d(noise, 3, axis=1))
    assert np.allclose(r.y[:4], [1, 2 / 3, 1 / 3, 0], atol=0.03)
    assert np.all(np.abs(r.x[1:]) < 3 * r.band_x[1:])
    assert r.t.shape == (4,)
    assert r.band_x[1] == pytest.approx(1.96 / np.sqrt(6 * 100 * 119), rel=1e-4)


def test_scale_and_offset_do_not_matter_and_masked_pixels_do_not_count():
    noise = np.random.default_rng(2).normal(size=(5, 30, 30)).astype(np.float32)
    a, b = residual_autocorrelation(noise), residual_autocorrelation(50 * noise + 1000)
    assert np.allclose(a.x, b.x, atol=1e-3)
    spoiled, valid = noise.copy(), np.ones(noise.shape, bool)
    spoiled[:, :, 20:], valid[:, :, 20:] = 1e3, False
    masked = residual_autocorrelation(spoiled, valid).y
    assert np.allclose(masked, residual_autocorrelation(noise[:, :, :20]).y, atol=1e-3)
    spoiled[:, :, 20:] = np.nan
    assert np.allclose(masked, residual_autocorrelation(spoiled).y, atol=1e-6)


def test_constant_residual_gives_zeros_not_nan():
    r = residual_autocorrelation(np.full((3, 8, 8), 2.0))
    assert np.all(np.isfinite(r.x))
    assert residual_whiteness(np.zeros((3, 8, 8))).white


def test_inputs_are_checked():
    with pytest.raises(InputError, match="max_lag"):
        residual_autocorrelation(np.zeros((2, 4, 4)), max_lag=0)
    with pytest.raises(InputError, match="shape"):
        residual_whiteness(np.zeros((2, 4, 4)), np.ones((4, 4), bool))
