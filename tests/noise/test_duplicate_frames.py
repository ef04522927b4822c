"""Copied frames are found; frames that are alike for other reasons are not."""

import numpy as np
import pytest

from phdenoise.noise.duplicates import find_duplicate_frames
from phdenoise.noise.streaming_statistics import Survey

SHAPE = (12, 20, 24)


def found(frames, valid=None):
    """In one go, and from a survey."""
    valid = np.isfinite(frames) if valid is None else valid
    once = find_duplicate_frames(frames, valid)
    survey = Survey(frames.shape)
    for first in range(0, len(frames), 5):
        survey.add(frames[first : first + 5], valid[first : first + 5])
    np.testing.assert_array_equal(survey.repeated, once)
    return np.flatnonzero(once).tolist()


@pytest.mark.parametrize("kind", ["gaussian", "counts", "8 bit"])
def test_copies_are_found(kind):
    rng = np.random.default_rng(0)
    frames = rng.normal(100, 3, SHAPE) if kind == "gaussian" else rng.poisson(1.0, SHAPE) * 1.0
    frames = np.round(frames) if kind == "8 bit" else frames
    assert found(frames) == []
    frames[[4, 5, 11]] = frames[[3, 3, 10]]
    frames[3, 2, 2] = np.nan
    assert found(frames) == [4, 5, 11]


def test_a_doubled_frame_rate_is_found():
    frames = np.repeat(np.random.default_rng(0).normal(size=(6, 9, 9)), 2, axis=0)
    assert found(frames) == [1, 3, 5, 7, 9, 11]


def test_what_is_alike_for_other_reasons_is_no_copy():
    rng = np.random.default_rng(0)
    dark = rng.poisson(5.0, SHAPE) * 1.0
    dark[3:6] = 0.0
    assert found(dark) == []
    # A few events a frame: many frames are equal by chance.
    assert found((rng.random((60, 8, 8)) < 0.002) * 1.0) == []
    # No noise at all.
    assert found(np.broadcast_to(rng.normal(size=(1, 8, 8)), (5, 8, 8))) == []
    masked = rng.normal(size=SHAPE)
    masked[4] = masked[3]
    valid = np.ones(SHAPE, bool)
    valid[4] = False
    assert found(masked, valid) == []
