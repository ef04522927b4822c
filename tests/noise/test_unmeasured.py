"""Frames that were never recorded and borders that registration left are found; dark scenes and apertures are not taken for them."""

import numpy as np
import pytest
from scipy import ndimage

from phdenoise.noise.estimate import estimate_noise
from phdenoise.noise.models import Poisson
from phdenoise.noise.unmeasured import find_unmeasured

SHAPE = (24, 48, 48)


def counts(level=1.0, seed=0, shape=SHAPE):
    """Counts of a disc that drifts over a background, and their expectation."""
    t, y, x = np.mgrid[: shape[0], : shape[1], : shape[2]].astype(float)
    clean = level * (0.4 + 0.6 / (1 + np.exp((np.hypot(y - 24, x - 18 - t / 4) - 10) / 1.5)))
    return np.random.default_rng(seed).poisson(clean).astype(float), clean


def measured(frames):
    """Where a finite movie was measured."""
    return find_unmeasured(frames, np.isfinite(frames)).mask()


@pytest.mark.parametrize("level", [0.01, 0.1, 1.0, 10.0, 1000.0])
def test_a_dark_scene_is_measured_everywhere(level):
    frames, _ = counts(level)
    assert not find_unmeasured(frames, np.isfinite(frames)).any()


@pytest.mark.parametrize("level", [0.03, 1.0, 1000.0])
@pytest.mark.parametrize("value", [0.0, 65535.0])
def test_frames_of_an_acquisition_that_stopped(level, value):
    frames, _ = counts(level)
    frames[15:] = value
    found = find_unmeasured(frames, np.isfinite(frames))
    np.testing.assert_array_equal(np.flatnonzero(found.empty), np.arange(15, 24))
    assert not found.mask()[15:].any()
    assert found.mask()[:15].all()
    assert "never recorded" in found.sentences()[0]


def test_a_frame_without_a_count_may_happen():
    frames = (np.random.default_rng(0).random((60, 8, 8)) < 0.002) * 1.0
    assert measured(frames).all()


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_borders_of_shifted_frames(dtype):
    frames, _ = counts(100.0)
    frames = frames.astype(dtype)
    rng, true = np.random.default_rng(2), np.ones(SHAPE, bool)
    for frame, here in zip(frames, true, strict=True):
        dy, dx = rng.integers(-3, 4, 2)
        rows = slice(0, dy) if dy > 0 else slice(SHAPE[1] + dy, None)
        columns = slice(0, dx) if dx > 0 else slice(SHAPE[2] + dx, None)
        frame[rows], here[rows] = 0, False
        frame[:, columns], here[:, columns] = 0, False
    np.testing.assert_array_equal(measured(frames), true)


def test_borders_of_turned_frames():
    frames, _ = counts(50.0)
    rng = np.random.default_rng(1)
    for frame in frames:
        frame[:] = ndimage.rotate(frame, rng.uniform(-5, 5), reshape=False, order=0)
    np.testing.assert_array_equal(measured(frames), frames > 0)


def test_noise_without_its_borders_is_the_noise():
    """The photon-transfer line of what was measured; with the borders it was Gaussian, of three times the sd and correlated."""
    frames, _ = counts(2000.0)
    shifts = np.random.default_rng(2).integers(0, 3, (24, 2))
    for frame, (dy, dx) in zip(frames, shifts, strict=True):
        frame[:dy], frame[:, :dx] = 0, 0
    found = estimate_noise(frames)
    assert isinstance(found.model, Poisson)
    assert float(found.model.gain) == pytest.approx(1, abs=0.02)
    assert found.blind == "pixel"
    assert any("borders" in s for s in found.sentences)


@pytest.mark.parametrize("every", [2, 3])
def test_copied_frames_are_no_measurement(every):
    noisy = np.random.default_rng(0).normal(50.0, 8.0, SHAPE)
    if every == 2:
        noisy = np.repeat(noisy[:12], 2, axis=0)
    else:
        noisy[1::3] = noisy[::3]
    found = estimate_noise(noisy)
    assert float(found.model.sigma) == pytest.approx(8.0, rel=0.03)
    assert not len(found.temporal_correlation)


def test_masked_equals_absent():
    """A frame that is masked, and one that was never there, leave the same estimate."""
    frames, _ = counts(20.0)
    hidden = np.insert(frames, [4, 9], -1e3, axis=0)
    valid = np.ones(hidden.shape, bool)
    valid[[4, 10]] = False
    one, other = estimate_noise(frames), estimate_noise(hidden, valid)
    np.testing.assert_allclose(one.transfer, other.transfer, rtol=1e-9)
    np.testing.assert_allclose(one.autocorrelation, other.autocorrelation, atol=1e-9)
    empty = np.concatenate([frames, np.zeros((5, *SHAPE[1:]))])
    np.testing.assert_allclose(estimate_noise(empty).transfer, one.transfer, rtol=1e-9)


def test_scattered_gaps():
    """Of 88 % missing values hardly any three follow each other."""
    rng = np.random.default_rng(0)
    frames = rng.normal(50.0, 8.0, SHAPE)
    frames[rng.random(SHAPE) < 0.88] = np.nan
    found = estimate_noise(frames)
    assert float(found.model.sigma) == pytest.approx(8.0, rel=0.06)
    assert found.blind == "pixel"
