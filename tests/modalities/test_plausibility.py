"""What no sample can be is said, and sound measurements are not accused."""

import numpy as np
import pytest

from phdenoise.modalities.plausibility import Limits, impossible

SHARE = Limits("The share", 0.0, 1.0, 0.1)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("sd", [0.01, 0.1, 1.0, 10.0])
def test_noise_about_possible_values_is_not_accused(seed, sd):
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0, 1, (20, 10, 10))
    values = truth + sd * rng.normal(size=truth.shape)
    assert impossible(values, np.full(truth.shape, sd), SHARE) == ()


@pytest.mark.parametrize(("low", "high"), [(0.5, 1.96), (-2.0, 0.4), (3.0, 3.1)])
def test_values_that_cannot_be_are_named_with_their_limits(low, high):
    values = np.linspace(low, high, 200)
    (said,) = impossible(values, np.full(200, 0.02), SHARE)
    assert said.startswith("The share runs from")
    assert "can only be 0 to 1" in said


def test_stray_values_and_unknown_ones_are_not_accused():
    values = np.full((10, 10), 0.5)
    values[0, :4] = 5.0
    values[1:3] = np.nan
    assert impossible(values, np.full(values.shape, 0.1), SHARE) == ()
    assert impossible(np.full(4, np.nan), np.ones(4), SHARE) == ()


def test_a_calibration_may_miss_by_the_slack():
    values = np.linspace(-0.09, 1.09, 100)
    assert impossible(values, np.zeros(100), SHARE) == ()
    assert impossible(values - 0.2, np.zeros(100), SHARE)
