"""A pattern finds where errors are, says nothing where there is nothing to say, and is that of a frame in any window."""

import numpy as np
import pytest
from scipy import ndimage

from phdenoise.uncertainty.variance_model import (
    VarianceModel,
    features,
    fit_variance_model,
    pixels_per_error,
)


def errors(rng, count, strength):
    """Things seen, and squared errors whose variance depends on the first of them, bent."""
    shown = rng.normal(size=(count, 4)) * [2.0, 1.0, 0.1, 1.0] + [5.0, 0.0, 0.0, -3.0]
    unit = (shown[:, 0] - 5) / 2
    variance = np.exp(strength * (0.8 * unit + 0.3 * unit**2))
    return shown, variance, variance * rng.normal(size=count) ** 2


def said(pattern, shown):
    return pattern(shown.T[:, None, :])[0]


def test_it_finds_what_errors_depend_on():
    shown, variance, squares = errors(np.random.default_rng(0), 40_000, 1.0)
    pattern = fit_variance_model(shown, squares, np.full(len(shown), 7.0), 0.1, 1.0)
    off = np.log(said(pattern, shown) / variance)
    middle = np.abs(shown[:, 0] - 5) < 4
    assert np.std(off[middle]) < 0.1
    # The unit of the errors is not the pattern's.
    other = fit_variance_model(shown, 1e-8 * squares, np.full(len(shown), 7.0), 0.1, 1.0)
    np.testing.assert_allclose(other.coefficients, pattern.coefficients, atol=1e-4)


def test_what_is_believed_already_is_not_said_again():
    shown, variance, squares = errors(np.random.default_rng(0), 40_000, 1.0)
    pattern = fit_variance_model(shown, squares, variance, 0.1, 1.0)
    assert np.std(np.log(said(pattern, shown))) < 0.1


def test_few_independent_errors_say_little():
    """Without any dependence, chance of twenty independent errors must not become a pattern."""
    shown, _, squares = errors(np.random.default_rng(0), 2000, 0.0)
    flat = np.ones(len(shown))
    sure, unsure = (fit_variance_model(shown, squares, flat, 0.1, s) for s in (1.0, 100.0))
    assert np.abs(unsure.coefficients).max() < 0.1
    assert np.abs(sure.coefficients).max() < 0.2


def test_heavy_tails_and_constants_end_in_finite_numbers():
    rng = np.random.default_rng(0)
    shown = np.column_stack([rng.normal(size=3000), np.zeros(3000)])
    squares = np.exp(6 * rng.normal(size=3000))
    pattern = fit_variance_model(shown, squares, np.ones(3000), 0.1, 10.0)
    assert np.all(np.isfinite(said(pattern, shown)))
    # Values that were never seen are not extrapolated to.
    far = said(pattern, np.array([[1e6, 1e6]]))
    assert 1e-6 < far[0] < 1e6


def test_no_errors_and_few_pixels_end_in_finite_numbers():
    shown, _, squares = errors(np.random.default_rng(0), 5, 1.0)
    for some in (0 * squares, squares):
        pattern = fit_variance_model(shown, some, np.ones(5), 1e-7, 1.0)
        assert np.all(np.isfinite(said(pattern, shown)))


@pytest.mark.parametrize("width", [0.0, 1.5, 3.0])
def test_pixels_that_share_an_error(width):
    """White noise blurred by a Gaussian correlates as exp(−d²/4σ²): Σ ρ² = 2πσ²."""
    white = np.random.default_rng(0).normal(size=(20, 96, 96))
    field = ndimage.gaussian_filter(white, (0, width, width), mode="wrap")
    assert pixels_per_error(field) == pytest.approx(max(2 * np.pi * width**2, 1), rel=0.1)


def test_a_window_shows_what_the_frame_does():
    rng = np.random.default_rng(0)
    linear = ndimage.gaussian_filter(rng.normal(size=(9, 70, 80)), (0, 1, 1)).astype(np.float32)
    variance = rng.random((70, 80)).astype(np.float32) + 0.1
    error = np.array([0.3])
    (whole,) = features(linear[None], variance[None], error, (slice(70), slice(80)), 1e-3)
    (part,) = features(
        linear[None, :, 10:60, 20:75],
        variance[None, 25:45, 36:60],
        error,
        (slice(15, 35), slice(16, 40)),
        1e-3,
    )
    np.testing.assert_allclose(part, whole[:, 25:45, 36:60], rtol=0, atol=1e-3)
    count = len(whole)
    pattern = VarianceModel(
        1e-3, np.zeros(count), np.ones(count), 0.1 * rng.normal(size=count * (count + 3) // 2)
    )
    np.testing.assert_allclose(pattern(part), pattern(whole)[25:45, 36:60], rtol=1e-3)
