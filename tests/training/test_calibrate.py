"""The squared bias of a prediction from residuals alone, against biases and noises that are known."""

import numpy as np
import pytest
from scipy import ndimage

from phdenoise.training.calibrate import USUAL, _bias

SHAPE = (20, 72, 72)
PASSED = 2e-3


def field(rng, width, size):
    """Smooth noise of a mean square, Gaussian of `width` px in its correlation, periodic in space."""
    values = ndimage.gaussian_filter(
        rng.standard_normal(SHAPE), (0, *(width / np.sqrt(2),) * 2), mode="wrap"
    )
    return values * np.sqrt(size / np.mean(values**2))


def noise(rng, box):
    """Noise of unit variance, a running mean over `box` px, and its autocorrelation."""
    values = ndimage.uniform_filter(rng.standard_normal(SHAPE), (0, box, box), mode="wrap") * box
    line = np.maximum(1 - np.abs(np.arange(-4, 5)) / box, 0)
    return values, np.outer(line, line)


@pytest.mark.parametrize("box", [1, 3])
@pytest.mark.parametrize("size", [3e-4, 1e-3, 1e-2])
@pytest.mark.parametrize("sigma", [0.0, 0.03, 0.3])
def test_bias_is_found_through_the_noise(box, size, sigma):
    found = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        values, rho = noise(rng, box)
        passed, bias = field(rng, 3.0, PASSED), field(rng, 2.5 * box, size)
        residual = bias + field(rng, 3.0, PASSED) + sigma * values
        found.append(_bias(residual, passed, np.ones(SHAPE, bool), rho, sigma**2)[0])
    # Through the strongest noise little more is known than what is usual.
    tolerance = 1.25 if sigma < 0.1 else 2.2
    assert size / tolerance < np.median(found) < size * tolerance, np.array(found) / size


def test_bias_that_noise_hides_is_as_large_as_usual():
    rng = np.random.default_rng(0)
    values, rho = noise(rng, 1)
    passed = field(rng, 3.0, 1e-8)
    bias, width = _bias(values, passed, np.ones(SHAPE, bool), rho, 1.0)
    assert 0.5 < bias / (USUAL * 1e-8) < 3
    assert 1 < width < 5


def test_pixels_that_were_not_measured_do_not_count():
    rng = np.random.default_rng(1)
    values, rho = noise(rng, 1)
    valid = rng.uniform(size=SHAPE) < 0.6
    bias = field(rng, 3.0, 1e-2)
    residual = np.where(valid, bias + 0.03 * values, 0.0)
    found, _ = _bias(residual, field(rng, 3.0, 1e-4), valid, rho, 1e-3)
    np.testing.assert_allclose(found, 1e-2, rtol=0.2)


@pytest.mark.parametrize("shape", [(6, 1, 40), (6, 40, 1), (6, 2, 2)])
def test_bias_of_thin_frames_and_of_noise_that_reaches_everywhere_is_a_number(shape):
    rng = np.random.default_rng(2)
    values = rng.standard_normal(shape)
    far, alone = np.ones((49, 49)), np.zeros((5, 5))
    alone[2, 2] = 1
    for rho in (far, alone):
        for passed in (0.1 * values, 0 * values):
            bias, width = _bias(values, passed, np.ones(shape, bool), rho, 1.0)
            assert np.isfinite(bias)
            assert bias >= 0
            assert width >= 1
