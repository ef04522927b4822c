"""Drift of scene and light against the truth and scikit-image; the noise of moved frames by Monte Carlo."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from phdenoise.modalities.drift import Drift, correct_drift, find_drift, shifted_variance
from phdenoise.modalities.registration import register, shift, shift_periodic
from phdenoise.types import InputError

TRUE = np.array([[0, 0], [0.4, -0.7], [2.3, 1.6], [-4.5, 5.25]])
GAIN = np.array([1.0, 0.93, 1.06, 0.85])


@pytest.fixture(scope="module")
def moved():
    scene = gaussian_filter(np.random.default_rng(3).normal(size=(136, 140)), 3.0)
    scene = 10 + scene / scene.std()
    return np.asarray(shift_periodic(np.repeat(scene[None], 4, 0), TRUE))[:, 36:100, 34:106]


@pytest.mark.parametrize("noise", [0.0, 0.3, 0.6])
def test_displacements_are_as_good_as_those_of_scikit_image(moved, noise):
    skimage = pytest.importorskip("skimage.registration", reason="pip install 'phdenoise[seg]'")
    rng = np.random.default_rng(0)
    taper = np.outer(*(np.hanning(n) for n in moved.shape[1:]))
    ours, theirs = [], []
    for _ in range(3):
        noisy = moved + noise * rng.standard_normal(moved.shape)
        ours.append(np.asarray(register(noisy)) - TRUE)
        cut = taper * (noisy - noisy.mean(axis=(1, 2), keepdims=True))
        found = [
            -skimage.phase_cross_correlation(cut[0], f, upsample_factor=100, normalization=None)[0]
            for f in cut
        ]
        theirs.append(np.asarray(found) - TRUE)
    if noise == 0:
        assert np.max(np.abs(ours)) < 0.05
    assert np.sqrt(np.mean(np.square(ours))) < 1.05 * np.sqrt(np.mean(np.square(theirs)))


def test_light_is_found_and_taken_out_though_a_fifth_of_the_scene_changes(moved):
    rng = np.random.default_rng(1)
    frames = moved[:1] * GAIN[:, None, None]
    frames[2:, :20, :45] *= 1.5
    frames += 0.1 * rng.standard_normal(frames.shape)
    assert np.allclose(find_drift(frames, move=False).gain, GAIN, rtol=2e-3)
    both = find_drift(moved * GAIN[:, None, None])
    assert np.allclose(both.gain, GAIN, rtol=2e-3)
    assert np.max(np.abs(both.displacement - TRUE)) < 0.08
    steady = correct_drift(moved * GAIN[:, None, None], np.zeros(moved.shape), both)
    kept = steady.seen.all(axis=0)
    left = np.asarray(steady.frames)[:, kept]
    assert np.std(left - left[0]) < 0.03 * np.std(left[0])


def test_gain_errors_are_those_of_monte_carlo():
    rng = np.random.default_rng(2)
    scene = 5 + rng.random((40, 40))
    z = []
    for _ in range(60):
        frames = scene * np.array([1.0, 0.9])[:, None, None] + rng.standard_normal((2, 40, 40))
        drift = find_drift(frames, reference=scene, move=False)
        z.append((drift.gain - [1.0, 0.9]) / drift.gain_sd)
    assert np.std(z) == pytest.approx(1, abs=0.2)
    assert abs(np.mean(z)) < 0.4


def test_variance_of_moved_frames_is_that_of_monte_carlo():
    rng = np.random.default_rng(3)
    d = np.array([[0.5, -0.25]])
    sd = 1 + rng.random((1, 12, 14))
    noise = sd * rng.standard_normal((4000, 12, 14))
    spread = np.var(np.asarray(shift(noise, np.repeat(d, 4000, 0))), axis=0)
    predicted = np.asarray(shifted_variance(sd**2, d))[0]
    assert np.allclose(spread, predicted, rtol=0.15)
    assert np.mean(spread / predicted) == pytest.approx(1, abs=0.01)
    assert predicted.mean() < 0.5 * np.mean(sd**2)


def test_what_cannot_be_followed_is_said(moved):
    with pytest.raises(InputError, match="no light"):
        find_drift(moved - 30, move=False)
    with pytest.raises(InputError, match="region is empty"):
        find_drift(moved, region=np.zeros(moved.shape[1:], bool))
    with pytest.raises(InputError, match="reference"):
        find_drift(moved, reference=moved[0, :9])
    assert isinstance(find_drift(moved, move=False, light=False), Drift)
