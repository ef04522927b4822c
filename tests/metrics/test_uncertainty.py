"""Coverage, curve error and noise gain: known values and invariances."""

import numpy as np
import pytest

from phdenoise.metrics.calibration import coverage, curve_error, noise_gain
from phdenoise.movie import ERROR_DEGREES_OF_FREEDOM, Estimate, Movie, half_width
from phdenoise.noise.models import Gaussian
from phdenoise.types import InputError


def test_honest_error_bars_cover_and_small_ones_do_not():
    rng = np.random.default_rng(0)
    sd = rng.uniform(0.5, 2, (10, 60, 60))
    truth = rng.normal(0, 1, sd.shape)
    mean = truth + sd * rng.normal(size=sd.shape)
    levels = (0.5, 0.68, 0.9, 0.95)
    assert np.allclose(coverage(mean, sd**2, truth, levels), levels, atol=0.01)
    assert coverage(mean, sd**2 / 4, truth, (0.95,))[0] == pytest.approx(0.673, abs=0.01)
    valid = np.zeros(sd.shape, bool)
    valid[0] = True
    mean[1:] = 1e9
    assert np.allclose(coverage(mean, sd**2, truth, levels, valid), levels, atol=0.04)


def test_heavy_tails_are_covered_by_intervals_that_have_them():
    """Errors of Student's t, of unit variance: Gaussian intervals hold too many at 50 % and too few at 99 %."""
    rng = np.random.default_rng(3)
    truth = np.zeros((20, 100, 100))
    mean = rng.standard_t(5, truth.shape) * np.sqrt(3 / 5)
    levels = (0.5, 0.9, 0.99)
    assert np.allclose(coverage(mean, truth + 1, truth, levels, degrees=5.0), levels, atol=0.005)
    gaussian = coverage(mean, truth + 1, truth, levels)
    assert gaussian[0] > 0.56
    assert gaussian[2] < 0.983
    assert half_width(0.9) == pytest.approx(1.6449, abs=1e-4)
    # Tables of Student's t: 1.8946 at 7 degrees of freedom.
    assert half_width(0.9, 7.0) == pytest.approx(1.8946 * np.sqrt(5 / 7), abs=1e-4)


def test_an_estimate_gives_its_intervals():
    movie = Movie.from_array(np.zeros((2, 8, 8), np.float32))
    sd = np.full(movie.shape, 2.0, np.float32)
    estimate = Estimate(movie, movie.frames + 5, sd**2, Gaussian(1.0))
    low, high = estimate.interval(0.9)
    assert low.shape == high.shape == movie.shape
    assert np.allclose(high - 5, 2 * half_width(0.9, ERROR_DEGREES_OF_FREEDOM))
    assert np.allclose(5 - low, high - 5)
    assert (estimate.interval(0.99)[0] < low).all()
    with pytest.raises(InputError, match="between 0 and 1"):
        estimate.interval(90.0)
    with pytest.raises(InputError, match="degrees of freedom"):
        half_width(0.9, 2.0)


def test_curve_error_and_its_constant():
    c = np.linspace(0.1, 0.9, 30)
    mu = np.log(c / (1 - c)) + 3 * (1 - 2 * c)
    assert curve_error(1.1 * mu, mu) == pytest.approx(0.1, rel=1e-4)
    assert curve_error(mu + 5, mu, up_to_constant=True) == pytest.approx(0, abs=1e-5)
    assert curve_error(mu + 5, mu) > 1
    bad_end = mu.copy()
    bad_end[-1] += 100
    weights = np.ones(30)
    weights[-1] = 0
    assert curve_error(bad_end, mu, weights) == pytest.approx(0, abs=1e-6)


def test_noise_gain_ignores_drift_and_sees_the_reduction():
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.5, (20, 40, 40))
    drift = np.linspace(0, 10, 20)[:, None, None]
    region = np.zeros((40, 40), bool)
    region[5:30, 5:35] = True
    for over in ("space", "time"):
        gain = noise_gain(noise + drift, 0.2 * noise + drift, region, over)
        assert gain.before == pytest.approx(0.5, rel=0.02)
        assert gain.reduction == pytest.approx(0.8, abs=1e-3)
    texture = rng.normal(0, 5, (40, 40))
    assert noise_gain(noise + texture, noise, region, "time").before == pytest.approx(0.5, rel=0.02)


def test_inputs_are_checked():
    frames = np.zeros((2, 4, 4))
    with pytest.raises(InputError, match="shape"):
        coverage(frames, frames[:1], frames)
    with pytest.raises(InputError, match="between 0 and 1"):
        coverage(frames, frames, frames, (1.0,))
    with pytest.raises(InputError, match="shape"):
        curve_error(np.ones(3), np.ones(4))
    with pytest.raises(InputError, match="region"):
        noise_gain(frames, frames, np.ones((3, 4), bool))
    with pytest.raises(InputError, match="two pixels"):
        noise_gain(frames, frames, np.zeros((4, 4), bool))
