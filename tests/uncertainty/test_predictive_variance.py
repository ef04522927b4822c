"""How wrong the linear prediction of each frame is, against noise and scenes that are known."""

import numpy as np
import pytest
from scipy import ndimage

from phdenoise.networks.base import build
from phdenoise.networks.context import FRAME
from phdenoise.networks.linear_filter import noise_gain
from phdenoise.networks.predict import prepare
from phdenoise.uncertainty.predictive_variance import frame_errors_from_moments

SHAPE = (10, 64, 64)


def fitted(frames):
    """The arrays of a movie of unit scale, and its best linear predictions."""
    denoiser = build(FRAME, width=8, centre=0.0, spread=1.0, seed=0)
    arrays = prepare(denoiser, frames, np.ones(frames.shape, bool))
    return denoiser, arrays, np.asarray(arrays.linear[:, -1])


def scene(rng):
    """Pictures that are replaced, faster at the end."""
    first, second = ndimage.gaussian_filter(
        rng.normal(size=(2, *SHAPE[1:])), (0, 3, 3), mode="wrap"
    )
    share = (np.arange(SHAPE[0]) / SHAPE[0])[:, None, None] ** 3
    clean = (1 - share) * first + share * second
    return clean / clean.std()


def noise(rng, box):
    values = ndimage.uniform_filter(rng.normal(size=SHAPE), (0, box, box), mode="wrap") * box
    line = np.maximum(1 - np.abs(np.arange(-4, 5)) / box, 0)
    return values, np.outer(line, line)


@pytest.mark.parametrize("box", [1, 3])
def test_noise_that_a_linear_prediction_lets_through(box):
    rng = np.random.default_rng(0)
    values, rho = noise(rng, box)
    frames = (scene(rng) + 0.5 * values).astype(np.float32)
    denoiser, arrays, before = fitted(frames)
    more = noise(rng, box)[0].astype(np.float32)
    louder = prepare(
        denoiser, frames + more, np.ones(SHAPE, bool), coefficients=arrays.coefficients
    )
    found = np.mean((np.asarray(louder.linear[:, -1]) - before) ** 2, axis=(1, 2))
    expected = noise_gain(arrays.coefficients[-1], np.asarray(arrays.weights, float), rho)
    # Fewer frames agree at the ends.
    assert expected[-1] > 1.5 * expected[SHAPE[0] // 2]
    np.testing.assert_allclose(found, expected, rtol=0.25)
    assert np.corrcoef(found, expected)[0, 1] > 0.95


@pytest.mark.parametrize("sigma", [0.01, 0.1, 1.0])
def test_errors_of_frames_are_found_through_weak_and_strong_noise(sigma):
    rng = np.random.default_rng(1)
    clean = scene(rng)
    values, rho = noise(rng, 1)
    frames = (clean + sigma * values).astype(np.float32)
    _, arrays, best = fitted(frames)
    level = np.full(SHAPE[0], sigma**2)
    shares = noise_gain(arrays.coefficients[-1], np.asarray(arrays.weights, float), rho)
    residual = np.mean((frames - best) ** 2, axis=(1, 2))
    found = frame_errors_from_moments(residual, level, shares, np.full(SHAPE[0], 64.0**2), rho)
    true = np.mean((best - clean) ** 2, axis=(1, 2))
    # At rest in the middle the filter errs least and the noise hides it most.
    assert np.ptp(np.log(true)) > 0.8
    assert np.abs(np.log(found / true)).max() < 0.8, found / true
    assert np.corrcoef(np.log(found), np.log(true))[0, 1] > 0.7


def test_a_frame_that_was_not_measured_has_what_is_usual_and_no_noise_has_the_residual():
    one, share = np.ones(1), np.full(1, 0.1)
    rho = np.ones((1, 1))
    np.testing.assert_allclose(frame_errors_from_moments(0 * one, one, share, 0 * one, rho), 0.175)
    np.testing.assert_allclose(
        frame_errors_from_moments(0.3 * one, 0 * one, share, 100 * one, rho), 0.3
    )
    assert frame_errors_from_moments(0 * one, 0 * one, share, 100 * one, rho)[0] > 0
