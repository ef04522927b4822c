"""Averages over regions: their variance against the scatter of simulated errors, and none is worse than measured."""

import numpy as np
import pytest
from scipy import ndimage

from phdenoise.uncertainty.error_correlation import (
    ErrorCorrelation,
    error_autocorrelation,
    mean_of_series,
    no_worse,
)

WIDTHS = (1.5, 2.0, 1.0)


def _errors(rng, shape):
    """Errors of sd one, correlated in time and space."""
    error = ndimage.gaussian_filter(rng.normal(size=shape), WIDTHS, mode="wrap")
    return error / error.std()


def test_the_variance_of_a_mean_is_that_of_its_scatter():
    rng = np.random.default_rng(0)
    shape, sd = (40, 48, 48), 3.0
    error = sd * _errors(rng, shape)
    values = error_autocorrelation(error, np.full(shape, sd), np.ones(shape, bool))
    assert values.shape == (33, 25, 25)
    assert values[16, 12, 12] == pytest.approx(1)
    # A Gaussian filter of width s gives exp(-d²/4s²).
    assert values[16, 12, 13] == pytest.approx(np.exp(-1 / 4), abs=0.03)
    assert values[17, 12, 12] == pytest.approx(np.exp(-1 / (4 * 1.5**2)), abs=0.03)
    weights = np.zeros((12, 12))
    weights[2:9, 3:8] = 1 / 35
    rho = ErrorCorrelation(values).of_mean(weights)
    means = ndimage.uniform_filter(
        _errors(np.random.default_rng(1), (200, 64, 64)), (0, 7, 5), mode="wrap"
    )
    assert rho[0] == pytest.approx(np.mean(means**2), rel=0.1)
    assert rho[1] == pytest.approx(np.mean(means[1:] * means[:-1]), rel=0.1)
    over = np.mean(ndimage.uniform_filter(means, (4, 0, 0), mode="wrap") ** 2)
    assert mean_of_series(rho, 4) == pytest.approx(over / rho[0], rel=0.1)


def test_measured_pixels_are_independent():
    alone, rng = ErrorCorrelation.independent(), np.random.default_rng(2)
    weights = rng.random((5, 6))
    weights /= weights.sum()
    assert alone.of_mean(weights)[0] == pytest.approx(np.sum(weights**2))
    assert alone.of_frames(7) == pytest.approx(1 / 7)
    assert mean_of_series(np.ones(9), 5) == 1


def test_a_region_that_is_not_there_has_no_error():
    assert ErrorCorrelation.independent().of_mean(np.zeros((4, 4))).tolist() == [0.0]


def test_gaps_do_not_change_the_correlation():
    rng = np.random.default_rng(3)
    shape = (30, 40, 40)
    error, valid = _errors(rng, shape), rng.random(shape) < 0.6
    whole = error_autocorrelation(error, np.ones(shape), np.ones(shape, bool))
    part = error_autocorrelation(np.where(valid, error, np.nan), np.ones(shape), valid)
    assert np.abs(part - whole).max() < 0.05


def test_a_biased_average_is_not_reported():
    rng = np.random.default_rng(4)
    truth, sd = np.sin(np.arange(60) / 5)[:, None] * np.ones(3), np.full((60, 3), 0.1)
    measured = truth + sd * rng.normal(size=truth.shape)
    # As certain as stated, biased, and hardly more certain than the measured average.
    denoised = truth + np.array([0.0, 0.5, 0.0]) + 0.03 * rng.normal(size=truth.shape)
    stated = np.tile([0.03, 0.03, 0.3], (60, 1))
    value, spread, better = no_worse((measured, sd), (denoised, stated))
    assert better[:, 0].all()
    assert not better[:, 1:].any()
    np.testing.assert_array_equal(value[:, 1:], measured[:, 1:])
    assert (spread <= sd).all()
    inside = np.abs(value - truth)[:, 0] < 1.645 * spread[:, 0]
    assert inside.mean() > 0.85
    assert np.sqrt(np.mean((value - truth)[:, 0] ** 2)) < 0.05


def test_what_is_not_measured_is_predicted():
    gap = np.array([[np.nan], [1.0]])
    value, sd, better = no_worse((gap, np.ones((2, 1))), (np.zeros((2, 1)), np.full((2, 1), 0.1)))
    assert value[0, 0] == 0
    # The one value that was measured differs by 1, which chance explains but for 0.01.
    assert sd[0, 0] == pytest.approx(np.sqrt(0.1**2 + 0.01))
    assert better[0, 0]
