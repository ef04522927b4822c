"""Each number of the trust report sees the fault it is for, and stays quiet on noise."""

import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from phdenoise.metrics.trust import (
    bias_map,
    drift,
    frame_errors,
    leak,
    lost_signal,
    predictive_coverage,
    removed,
    transfer_misfit,
    variance_gain,
)

SHAPE = (12, 48, 40)
ALL = np.ones(SHAPE, bool)
# Correlation of a 3-pixel running mean along both axes.
BOX = {k: np.array([1, 2 / 3, 1 / 3, 0, 0, 0]) for k in "xy"}
WHITE = {k: np.array([1.0, 0, 0, 0, 0, 0]) for k in "xy"}


def noise(seed=0, box=1):
    white = np.random.default_rng(seed).normal(size=SHAPE)
    return uniform_filter(white, (1, box, box), mode="wrap") * box


@pytest.mark.parametrize("box", [1, 3])
def test_noise_alone_gives_no_alarm(box):
    alarms, known = 0, BOX if box == 3 else WHITE
    for seed in range(100):
        e = noise(seed, box)
        quiet = not bias_map(e, ALL).pixels and abs(leak(e, known)) < 0.25
        quiet &= lost_signal(e, known, ALL) < 0.05 + 6 / np.sqrt(e.size)
        quiet &= not frame_errors(e, ALL).outstanding.any()
        quiet &= not drift(e, np.zeros(SHAPE), np.ones(SHAPE), ALL).outstanding.any()
        alarms += not quiet
    assert alarms <= 5


def test_residuals_that_share_noise_between_frames_do_not_hide_a_bias():
    e = noise() - (np.roll(noise(), 1, 0) + np.roll(noise(), -1, 0)) / 2
    assert bias_map(e, ALL).pixels == 0
    e[:, 10:16, 20:26] += 0.8
    found = bias_map(e, ALL)
    assert 16 <= found.pixels <= 80
    assert found.centre == pytest.approx((12.5, 22.5), abs=1)
    assert found.level > 0.3


def test_leak_is_the_share_of_the_correlation_that_was_predicted():
    coloured = noise(box=3)
    # A residual made of the noise's unpredictable part only: white, of less variance.
    for share in (0.0, 0.5, 1.0):
        residual = np.sqrt(1 - share) * coloured + np.sqrt(share) * 0.3 * noise(1)
        assert leak(residual, BOX) == pytest.approx(share, abs=0.12)
    assert leak(coloured, WHITE) == 0.0


def test_leak_obeys_the_mask():
    e, valid = noise(box=3), ALL.copy()
    valid[:, :, 20:] = False
    spoiled = np.where(valid, e, 1e3)
    assert leak(spoiled, BOX, valid) == pytest.approx(leak(e[:, :, :20], BOX), abs=1e-9)


def test_lost_signal_is_its_power():
    y, x = np.mgrid[: SHAPE[1], : SHAPE[2]]
    wave = np.sqrt(2) * 0.5 * np.sin(2 * np.pi * (y + x) / 40)
    assert lost_signal(noise() + wave, WHITE, ALL) == pytest.approx(0.25, rel=0.15)


def test_coverage_counts_measured_values():
    zero, one = np.zeros(SHAPE), np.ones(SHAPE)
    honest = predictive_coverage(noise(), zero, one, ALL)
    assert honest.observed == pytest.approx(honest.nominal, abs=0.012)
    assert honest.z_variance == pytest.approx(1, abs=0.04)
    narrow = predictive_coverage(noise(), zero, one / 4, ALL)
    assert narrow.observed[1] < 0.65
    assert narrow.z_variance == pytest.approx(4, rel=0.04)
    assert predictive_coverage(noise(), zero, one, ~ALL).pixels == 0


def test_gain_and_removed():
    e = noise()
    assert variance_gain(e, 0.5 * e, ALL) == pytest.approx(0.25)
    assert np.isnan(variance_gain(e[:1], e[:1], ALL[:1]))
    assert removed(e, e, np.ones(SHAPE), ALL) == 0.0
    assert removed(2 * e, 0 * e, np.full(SHAPE, 4.0), ALL) == pytest.approx(1, rel=0.02)


def test_bad_ends_and_drift_are_found_in_their_frames():
    e = noise()
    e[-1] *= 1.5
    assert np.flatnonzero(frame_errors(e, ALL).outstanding).tolist() == [11]
    output = np.zeros(SHAPE)
    output[4] += 0.3
    found = drift(noise(), output, np.ones(SHAPE), ALL)
    assert np.flatnonzero(found.outstanding).tolist() == [4]
    assert found.value[4] == pytest.approx(0.3, abs=4 * found.error[4])


def test_misfit_of_photon_transfer():
    mean = np.linspace(1, 10, 10)
    points = np.stack([mean, 2 * mean, 0.1 * mean], axis=1)
    assert transfer_misfit(points, 2 * mean) == (0.0, 0.0)
    chi2, misfit = transfer_misfit(points, mean)
    assert chi2 == pytest.approx(125)
    assert misfit == pytest.approx(1.0)
