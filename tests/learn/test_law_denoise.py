"""A law in the denoiser: its trajectory where the measurement follows it, the network's prediction elsewhere."""

import numpy as np
import pytest

import phdenoise as ph
from phdenoise.learn.law_denoise import _joined, law_share
from phdenoise.learn.result import FitResult
from phdenoise.noise.models.gaussian import Gaussian

SHAPE, SIGMA, ERROR = (16, 48, 48), 0.2, 0.06


def scene(seed):
    """Truth, measurement, and a blind prediction whose errors are independent of the noise."""
    rng = np.random.default_rng(seed)
    t, y, x = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]].astype(float)
    truth = 0.5 + 0.3 * np.sin((x - 0.5 * t) / 6) * np.cos(y / 7)
    measured = truth + SIGMA * rng.normal(size=SHAPE)
    return rng, truth, measured, truth + ERROR * rng.normal(size=SHAPE)


def share(measured, blind, law):
    return law_share(measured - blind, law - blind, np.full(SHAPE, SIGMA**2))


def joined(measured, blind, law, sd=0.002, holds=True):
    """An estimate of a network that adds nothing to its blind prediction, joined with a trajectory."""
    variance = np.full(SHAPE, ERROR**2, np.float32)
    movie = ph.Movie.from_array(measured.astype(np.float32))
    mean = blind.astype(np.float32)
    estimate = ph.Estimate(movie, mean, variance, Gaussian(SIGMA), mean, variance)
    result = FitResult(
        "fickian", "The law holds.", True, (), {}, None, {}, np.zeros(0), np.zeros((0, 0)),
        law, np.full(SHAPE, sd), (0, SHAPE[0]), holds=holds,
        settings={"scale_low": 0.0, "scale_high": 1.0, "binning": 1},
    )  # fmt: skip
    return _joined(estimate, result, [])


@pytest.mark.parametrize("seed", range(3))
def test_a_right_law_is_followed_and_a_useless_one_is_not(seed):
    rng, truth, measured, blind = scene(seed)
    assert share(measured, blind, truth).mean() > 0.9
    # What has nothing to do with the truth: its errors are large and its own.
    assert abs(share(measured, blind, truth + 0.3 * rng.normal(size=SHAPE)).mean()) < 0.1


def test_a_law_that_holds_in_a_part_is_followed_there():
    _, truth, measured, blind = scene(3)
    law = truth.copy()
    law[:, :, 24:] += 0.4
    found = share(measured, blind, law)
    assert found[:, :, :16].mean() > 0.8
    assert abs(found[:, :, 32:].mean()) < 0.1


def test_the_joined_movie_gains_where_the_law_holds_and_loses_nothing_where_it_does_not():
    _, truth, measured, blind = scene(4)
    alone = np.mean((blind - truth) ** 2)
    right = joined(measured, blind, truth + 0.002)
    # 8 dB.
    assert np.mean((right.mean - truth) ** 2) < alone / 6.3
    wrong = joined(measured, blind, truth + 0.3, holds=False)
    # 0.2 dB.
    assert np.mean((wrong.mean - truth) ** 2) < 1.05 * alone
    for estimate in (right, wrong):
        low, high = estimate.interval(0.9)
        assert np.mean((low <= truth) & (truth <= high)) > 0.85
        assert estimate.mean.shape == truth.shape
    assert right.trust["law"]["share"] > 0.8
    assert wrong.trust["law"]["share"] < 0.1


def test_frames_that_the_law_does_not_reach_stay_the_networks():
    _, truth, measured, blind = scene(5)
    movie = ph.Movie.from_array(measured.astype(np.float32))
    variance = np.full(SHAPE, ERROR**2, np.float32)
    mean = blind.astype(np.float32)
    estimate = ph.Estimate(movie, mean, variance, Gaussian(SIGMA), mean, variance)
    result = FitResult(
        "fickian", "", True, (), {}, None, {}, np.zeros(0), np.zeros((0, 0)),
        truth[4:12], np.full((8, 48, 48), 0.002), (4, 12),
        settings={"scale_low": 0.0, "scale_high": 1.0, "binning": 1},
    )  # fmt: skip
    found = _joined(estimate, result, [])
    np.testing.assert_array_equal(found.mean[:4], mean[:4])
    np.testing.assert_array_equal(found.mean[12:], mean[12:])
    np.testing.assert_array_equal(found.variance[:4], variance[:4])
    assert np.mean((found.mean[4:12] - truth[4:12]) ** 2) < 0.3 * ERROR**2
