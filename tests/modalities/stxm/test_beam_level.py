"""The level of a beam over time."""

import numpy as np
import pytest

from phdenoise.modalities.stxm.beam_level import smooth_level

SCANS, SD = 200, 0.01


def _measured(true: np.ndarray, seed: int) -> np.ndarray:
    return true * np.exp(np.random.default_rng(seed).normal(0, SD, true.size))


def test_a_still_beam_is_known_from_all_scans():
    error, stated = [], []
    for seed in range(20):
        level = smooth_level(_measured(np.full(SCANS, 5000.0), seed), SD)
        error.append(level.value / 5000 - 1)
        stated.append(level.relative_sd)
    assert np.sqrt(np.mean(np.square(error))) < 0.3 * SD
    z = np.array(error) / np.array(stated)
    assert np.sqrt(np.mean(z**2)) < 2.0


def test_a_beam_that_drifts_is_followed():
    true = 5000 * np.exp(0.2 * np.sin(np.linspace(0, 3, SCANS)))
    level = smooth_level(_measured(true, 0), SD)
    error = np.log(level.value / true)
    assert np.sqrt(np.mean(error**2)) < 0.6 * SD
    assert np.mean(np.abs(error) < 1.645 * level.relative_sd) > 0.8


def test_a_beam_that_jumps_keeps_what_was_measured():
    true = 5000 * np.exp(np.random.default_rng(1).normal(0, 0.1, SCANS))
    measured = _measured(true, 2)
    level = smooth_level(measured, SD)
    error = np.log(level.value / true)
    assert np.abs(np.log(level.value / measured)).max() < 0.5 * SD
    assert np.mean(np.abs(error) < 1.645 * level.relative_sd) == pytest.approx(0.9, abs=0.05)


@pytest.mark.parametrize("count", [1, 2])
def test_few_scans_stay_as_they_are(count):
    value = np.linspace(90.0, 100.0, count)
    level = smooth_level(value, SD)
    np.testing.assert_array_equal(level.value, value)
    np.testing.assert_array_equal(level.relative_sd, SD)
