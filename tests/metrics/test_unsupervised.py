"""Unsupervised error: unbiased against the true one, and honest about when it is not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from phdenoise.metrics.fidelity import psnr
from phdenoise.metrics.unsupervised import (
    UnsupervisedError,
    block_copies,
    umse,
    umse_blocks,
    umse_temporal,
    upsnr,
)
from phdenoise.types import InputError

SIGMA = 0.2


def _scene(t=20, n=64, scale=6.0):
    y, x = np.mgrid[:n, :n] / scale
    phase = np.linspace(0, 0.5, t)[:, None, None]
    return 0.5 + 0.3 * np.sin(x + phase) * np.cos(y - phase)


@pytest.fixture(scope="module")
def scene():
    return _scene()


def _noisy(scene, seed):
    return scene + np.random.default_rng(seed).normal(0, SIGMA, scene.shape)


def test_unbiased_within_its_sd_when_copies_are_independent(scene):
    pulls = []
    for seed in range(20):
        y, a, b, c = (_noisy(scene, 10 * seed + i) for i in range(4))
        estimate = gaussian_filter(y, (1, 1.5, 1.5))
        error = umse(estimate, a, b, c)
        pulls.append(float((error.mse - np.mean((estimate - scene) ** 2)) / error.sd))
    value = upsnr(error)
    assert abs(value.psnr - psnr(estimate, scene)) < 3 * value.sd
    assert value.caution == ""
    assert abs(np.mean(pulls)) < 3 / np.sqrt(20)
    # The block sd also holds how the error varies over the scene: never too small.
    assert 0.3 < np.std(pulls) < 1.4


def test_temporal_estimate_of_a_blind_prediction(scene):
    noisy = _noisy(scene, 1)
    smooth = gaussian_filter(noisy, (0, 1, 1))
    blind = (np.roll(smooth, 1, 0) + np.roll(smooth, -1, 0)) / 2
    error = jax.jit(umse_temporal)(blind[1:-1], noisy[1:-1])
    true = np.mean((blind - scene)[2:-2] ** 2)
    assert abs(error.mse - true) < 3 * error.sd
    assert error.sd < 0.2 * true
    assert upsnr(error).caution == ""


@pytest.mark.parametrize("masked", [False, True])
def test_error_of_a_scene_that_leaps_is_told_by_its_finest_structure(masked):
    """A pattern that is another one in every frame: differences of frames are mostly scene."""
    rng = np.random.default_rng(0)
    leaps = gaussian_filter(rng.normal(size=(20, 96, 96)), (0, 6, 6))
    scene = leaps / leaps.std() * 0.3
    noisy = _noisy(scene, 3)
    smooth = gaussian_filter(noisy, (0, 2, 2))
    hole = gaussian_filter(np.eye(1, 81, 40).reshape(9, 9), 2)[4, 4]
    blind = (smooth - hole * noisy) / (1 - hole)
    valid = rng.random(scene.shape) > 0.05 if masked else None
    true = np.mean((blind - scene)[1:-1] ** 2)
    error = umse_temporal(blind, noisy, valid=valid, finest=1.0)
    assert abs(error.mse - true) < 4 * error.sd
    assert error.sd < 0.5 * true
    plain = umse_temporal(blind, noisy, valid=valid)
    assert plain.mse < -0.02
    with pytest.raises(InputError, match="3 x 3"):
        umse_temporal(scene[:, :2], noisy[:, :2], finest=1.0)


def test_own_weight_corrects_a_posterior_mean(scene):
    noisy = _noisy(scene, 2)
    smooth = gaussian_filter(noisy, (0, 1, 1))
    blind = (np.roll(smooth, 1, 0) + np.roll(smooth, -1, 0)) / 2
    weight = 0.3
    mean = (1 - weight) * blind + weight * noisy
    true = np.mean((mean - scene)[2:-2] ** 2)
    error = umse_temporal(mean[1:-1], noisy[1:-1], own_weight=weight)
    assert abs(error.mse - true) < 3 * error.sd
    wrong = umse_temporal(mean[1:-1], noisy[1:-1])
    assert wrong.mse < true - 10 * error.sd


def test_block_estimate_on_a_smooth_scene():
    scene = _scene(scale=25.0)
    noisy = _noisy(scene, 3)

    def denoise(movie):
        return jnp.asarray(gaussian_filter(np.asarray(movie), (0, 1, 1)))

    error = umse_blocks(denoise, noisy, jax.random.key(0))
    half = scene.reshape(20, 32, 2, 32, 2).mean((2, 4))
    true = np.mean((gaussian_filter(_noisy(half, 4), (0, 1, 1)) - half) ** 2)
    assert abs(error.mse - error.bias - true) < 4 * error.sd
    assert upsnr(error).caution == ""


def test_block_copies_are_the_pixels_of_each_block():
    frames = np.arange(2 * 5 * 7, dtype=np.float32).reshape(2, 5, 7)
    copies = np.stack([np.asarray(v) for v in block_copies(frames, jax.random.key(1))])
    assert copies.shape == (4, 2, 2, 3)
    assert sorted(copies[:, 1, 1, 2]) == sorted(frames[1, 2:4, 4:6].ravel())


def test_cautions_where_the_assumptions_fail(scene):
    rng = np.random.default_rng(5)
    identity = jnp.asarray
    correlated = scene + gaussian_filter(rng.normal(0, 1, scene.shape), (0, 0, 1))
    assert "correlated" in upsnr(umse_blocks(identity, correlated, jax.random.key(0))).caution
    sharp = 0.5 + 0.5 * np.sin(np.arange(64) * 1.2) * np.ones((5, 64, 1)) + 0 * scene[:5]
    error = umse_blocks(identity, sharp + rng.normal(0, 0.01, sharp.shape), jax.random.key(0))
    assert "too low" in upsnr(error).caution
    slow = scene + gaussian_filter1d(rng.normal(0, 1, scene.shape), 1, axis=0)
    assert "correlated" in upsnr(umse_temporal(scene, slow)).caution


def test_an_error_below_the_noise_floor_is_a_bound_not_a_nan():
    value = upsnr(UnsupervisedError(*map(jnp.asarray, (-1e-6, 1e-5, 0.0, 0.0))))
    assert value.psnr == np.inf
    assert "above 47.9" in value.caution


def test_shapes_and_lengths_are_checked(scene):
    with pytest.raises(InputError, match="shape"):
        umse(scene, scene, scene, scene[:1])
    with pytest.raises(InputError, match="3 frames"):
        umse_temporal(scene[:2], scene[:2])


def test_masked_pixels_do_not_count(scene):
    noisy = _noisy(scene, 6)
    valid = np.ones(scene.shape, bool)
    valid[:, 20:, :] = False
    spoiled = np.where(valid, noisy, np.nan)
    full = umse_temporal(scene[:, :20], noisy[:, :20])
    masked = umse_temporal(np.where(valid, scene, np.nan), spoiled, valid=valid)
    assert masked.mse == pytest.approx(float(full.mse), abs=1e-6)
    assert np.isfinite(masked.sd)
    assert np.isfinite(masked.bias)


def test_a_negative_error_bounds_the_psnr_by_its_scatter_and_is_doubted():
    slightly, far = (
        upsnr(UnsupervisedError(*jnp.asarray([m, 1e-4, 0.0, 0.0]))) for m in (-1e-4, -1e-2)
    )
    for found in (slightly, far):
        assert found.psnr == np.inf
        assert f"above {10 * np.log10(1 / 1.64e-4):.1f} dB" in found.caution
    assert "below zero" in far.caution
    assert "below zero" not in slightly.caution
