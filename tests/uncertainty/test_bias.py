"""The squared bias of a prediction from residuals alone, against biases and noises that are known."""

import numpy as np
import pytest
from scipy import ndimage

from phdenoise.uncertainty.mean_squared_error import independent_lags, squared_bias
from phdenoise.uncertainty.predictive_variance import BIAS_TO_VARIANCE

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
        found.append(squared_bias(residual, passed, np.ones(SHAPE, bool), rho, sigma**2))
    # Through the strongest noise little more is known than what is usual.
    tolerance = 1.25 if sigma < 0.1 else 4
    assert size / tolerance < np.median(found) < size * tolerance, np.array(found) / size


def test_bias_that_noise_hides_is_as_large_as_usual():
    rng = np.random.default_rng(0)
    values, rho = noise(rng, 1)
    passed = field(rng, 3.0, 1e-8)
    bias = squared_bias(values, passed, np.ones(SHAPE, bool), rho, 1.0)
    assert 0.5 < bias / (BIAS_TO_VARIANCE * 1e-8) < 3


def test_pixels_that_were_not_measured_do_not_count():
    rng = np.random.default_rng(1)
    values, rho = noise(rng, 1)
    valid = rng.uniform(size=SHAPE) < 0.6
    bias = field(rng, 3.0, 1e-2)
    residual = np.where(valid, bias + 0.03 * values, 0.0)
    found = squared_bias(residual, field(rng, 3.0, 1e-4), valid, rho, 1e-3)
    np.testing.assert_allclose(found, 1e-2, rtol=0.2)


@pytest.mark.parametrize("shape", [(6, 1, 40), (6, 40, 1), (6, 2, 2)])
def test_bias_of_thin_frames_and_of_noise_that_reaches_everywhere_is_a_number(shape):
    rng = np.random.default_rng(2)
    values = rng.standard_normal(shape)
    far, alone = np.ones((49, 49)), np.zeros((5, 5))
    alone[2, 2] = 1
    for rho in (far, alone):
        for passed in (0.1 * values, 0 * values):
            bias = squared_bias(values, passed, np.ones(shape, bool), rho, 1.0)
            assert np.isfinite(bias)
            assert bias >= 0


def test_noise_is_dependent_nearer_than_where_it_is_seen_to_be():
    """A hole in the autocorrelation is chance; noise along lines leaves the other lines independent."""
    hole, lines = np.zeros((9, 9)), np.zeros((9, 9))
    hole[2:7, 2:7], lines[4] = 0.5, 0.3
    hole[4, 4] = lines[4, 4] = 1
    hole[5, 5] = hole[3, 3] = 0
    free = independent_lags(hole, 3)
    assert (1, 1) not in free
    assert (2, -2) not in free
    assert {(0, 3), (3, 0)} <= set(free)
    free = independent_lags(lines, 6)
    assert all(dy > 0 or dx > 4 for dy, dx in free)
    assert {(1, 0), (1, -4), (0, 5)} <= set(free)


def test_chance_in_the_autocorrelation_costs_little():
    """Values of ρ with the scatter of a short movie, none of them true."""
    rng = np.random.default_rng(3)
    values, rho = noise(rng, 1)
    chance = 0.04 * rng.standard_normal(rho.shape)
    measured = rho + np.where(rho == 1, 0, (chance + chance[::-1, ::-1]) / 2)
    residual = field(rng, 2.5, 1e-2) + field(rng, 3.0, PASSED) + 0.1 * values
    passed, valid = field(rng, 3.0, PASSED), np.ones(SHAPE, bool)
    found = [squared_bias(residual, passed, valid, r, 0.01) for r in (rho, measured)]
    np.testing.assert_allclose(found, 1e-2, rtol=0.3)
