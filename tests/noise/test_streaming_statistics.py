"""Defects found in parts are those found in the whole."""

import numpy as np
import pytest

from phdenoise.noise import defects
from phdenoise.noise.models import Gaussian
from phdenoise.noise.spots import SPOT_RADIUS
from phdenoise.noise.streaming_statistics import SPOT_FRAMES, DefectScreen, Survey

SHAPE = (24, 40, 44)


@pytest.fixture(scope="module")
def spoilt():
    """Smooth scene with hot, dead, hit, saturated and missing values."""
    rng = np.random.default_rng(0)
    t, y, x = np.mgrid[tuple(slice(n) for n in SHAPE)].astype(float)
    frames = 50 + 10 * np.sin((x - 0.3 * t) / 6) * np.cos(y / 7) + rng.normal(size=SHAPE)
    frames[:, 34:38, 34:38] += 30
    dark = np.argwhere(frames[0] < 45)
    frames[:, *dark[40]] += 9
    frames[:, *dark[90]] = 44.0
    for k in range(0, 24, 3):
        frames[k, *dark[150 + 6 * k]] += 14
    frames = np.minimum(np.round(frames, 2), 64.5).astype(np.float32)
    frames[7] = np.nan
    frames[:, 15:18, 2:5] = np.nan
    frames[4, 20, 20] = np.nan
    return frames, np.isfinite(frames)


def screened(frames, valid, length, noise):
    survey = Survey(frames.shape)
    for first in range(0, frames.shape[0], length):
        survey.add(frames[first : first + length], valid[first : first + length])
    return survey, DefectScreen.of(survey, noise)


@pytest.mark.parametrize("length", [1, 5, 24])
def test_parts_are_judged_as_the_whole(spoilt, length):
    frames, valid = spoilt
    noise = Gaussian(1.0)
    whole = defects(frames, valid, noise)
    survey, screen = screened(frames, valid, length, noise)
    np.testing.assert_array_equal(survey.present, valid.any((1, 2)))
    assert survey.largest.saturation() == np.float32(64.5)
    assert {k for k, n in whole.counts.items() if n} >= {"saturated", "dead", "spot"}
    good, full = screen.judge(frames, valid, slice(0, 40), slice(0, 44))
    np.testing.assert_array_equal(full, whole.saturated & valid)
    np.testing.assert_array_equal(good, valid & ~whole.mask)
    part = (slice(4, 17), slice(6, 33), slice(3, 40))
    around = tuple(
        slice(max(s.start - r, 0), s.stop + r)
        for s, r in zip(part, (SPOT_FRAMES, SPOT_RADIUS, SPOT_RADIUS), strict=True)
    )
    inner = tuple(
        slice(s.start - a.start, s.stop - a.start) for s, a in zip(part, around, strict=True)
    )
    here, _ = screen.judge(frames[around], valid[around], *around[1:])
    np.testing.assert_array_equal(here[inner], good[part])


def test_an_unspoilt_movie_passes():
    rng = np.random.default_rng(1)
    frames = rng.normal(size=SHAPE).astype(np.float32)
    valid = np.ones(SHAPE, bool)
    survey, screen = screened(frames, valid, 7, Gaussian(1.0))
    assert survey.largest.saturation() is None
    assert (survey.low, survey.high) == (frames.min(), frames.max())
    assert screen.sentences() == ()
    assert screen.judge(frames, valid, slice(0, 40), slice(0, 44))[0].all()
