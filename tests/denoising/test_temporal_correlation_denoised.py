"""Noise that other frames, whole rows or a few values hold: denoised as well as other noise, with honest error bars."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.scenes import expose
from phdenoise.denoising import denoise
from phdenoise.denoising.config import DenoiseConfig
from phdenoise.denoising.hallucination import pure_noise
from phdenoise.metrics.calibration import coverage
from phdenoise.movie import ERROR_DEGREES_OF_FREEDOM, Movie
from phdenoise.noise.correlation import estimate_temporal_correlation
from phdenoise.noise.estimate import estimate_noise
from phdenoise.noise.models import Gaussian
from phdenoise.uncertainty.temporal_correlation import decide_temporal_correlation
from tests.noise.test_temporal_correlation import decaying, scene

# One process: what tests share compiles once.
pytestmark = pytest.mark.xdist_group("denoise")

ALL = np.ones((30, 64, 64), bool)


def decided(frames):
    frames = frames.astype(np.float32)
    return decide_temporal_correlation(frames, ALL, ALL, estimate_noise(frames))


def test_noise_that_lasts_is_believed_and_has_the_variance_that_differences_hide():
    found, said = decided(scene() + 0.5 * decaying(0.5))
    assert found.temporal_correlation[0] == pytest.approx(0.5, abs=0.05)
    assert float(found.model.sigma) == pytest.approx(0.5, rel=0.05)
    assert "Temporal correlation of the noise" in said[0]
    white, nothing = decided(scene() + 0.5 * decaying(0.0))
    assert len(white.temporal_correlation) == 0
    assert nothing == []


def test_a_scene_that_changes_too_fast_to_be_predicted_is_no_noise():
    """What is left of a fast pattern correlates in time to 0.4; a prediction would leave far less than such noise."""
    rng = np.random.default_rng(0)
    pattern = np.stack([np.roll(scene(1)[0], 5 * t, axis=1) for t in range(30)])
    steep = np.tanh(9 * (pattern + 0.2 * rng.normal(size=(30, 1, 1))))
    found, _ = decided(steep + 0.05 * rng.normal(size=steep.shape))
    assert len(found.temporal_correlation) == 0
    assert found.correlation["t"].tolist() == [1.0, 0.0]


def test_few_frames_are_left_as_they_are():
    noisy = (scene(3) + 0.5 * decaying(0.5, (3, 64, 64))).astype(np.float32)
    found = estimate_noise(noisy)
    same, said = decide_temporal_correlation(noisy, ALL[:3], ALL[:3], found)
    assert same is found
    assert said == []


def test_pure_noise_lasts_as_the_movies():
    found, _ = decided(scene() + 0.5 * decaying(0.5))
    noise = pure_noise(Gaussian(jnp.float32(0.5)), found, 2.0, (30, 64, 64), 0)
    assert noise.mean() == pytest.approx(2.0, abs=0.02)
    assert noise.std() == pytest.approx(0.5, rel=0.03)
    assert estimate_temporal_correlation(noise, ALL)[0] == pytest.approx(0.5, abs=0.06)


@pytest.mark.slow
@pytest.mark.parametrize("rho", [pytest.param(0.2, marks=pytest.mark.study), 0.6])
def test_noise_that_lasts_goes(rho):
    """Without being told, a prediction from the frames around keeps up to half of it."""
    clean, noisy = scene(), scene() + 0.5 * decaying(rho)
    found = denoise(
        Movie.from_array(noisy.astype(np.float32)), DenoiseConfig("quick", symmetries=2)
    )
    error = found.mean - clean
    assert np.sqrt(np.mean(error**2)) < 0.5 * (0.1 + 0.15 * rho)
    held = coverage(
        found.mean,
        found.variance,
        clean.astype(np.float32),
        (0.5, 0.9),
        degrees=ERROR_DEGREES_OF_FREEDOM,
    )
    assert np.all(np.abs(np.asarray(held) - [0.5, 0.9]) < 0.08)
    assert found.settings["temporal_correlation"][0] == pytest.approx(rho, abs=0.06)
    assert any("no network is trained" in line for line in found.log)
    assert not any("successive frames" in line or "too wide" in line for line in found.log)


@pytest.mark.study
@pytest.mark.slow
def test_heavy_tails_and_hits_are_not_believed():
    """Student's t of three degrees: a tenth of its power is beyond six standard deviations of the rest."""
    rng = np.random.default_rng(0)
    clean = scene()
    noisy = clean + 0.3 * rng.standard_t(3, clean.shape)
    hits = rng.random(clean.shape) < 0.005
    noisy[hits] += rng.choice([-4.0, 4.0], hits.sum())
    config = DenoiseConfig("quick", width=8, symmetries=2, steps=25)
    found = denoise(Movie.from_array(noisy.astype(np.float32)), config)
    error = found.mean - clean
    assert np.sqrt(np.mean(error**2)) < 0.06
    # Two hits side by side are not alone.
    assert np.mean(np.abs(error) > 1.0) < 1e-4
    assert any("outliers" in line for line in found.log)
    kept = denoise(
        Movie.from_array(noisy.astype(np.float32)),
        replace(config, steps=1, defects="keep"),
    )
    assert np.mean(np.abs(kept.mean - clean) > 1.0) > 1e-3


@pytest.mark.slow
@pytest.mark.study
@pytest.mark.parametrize("number", [8, 39])
def test_random_scenes_with_noise_that_lasts(number):
    """Weak and strong noise, of each of which a frame keeps half."""
    shot = expose(np.random.default_rng([5, 10**7 + number]), 30, 64)
    noise = (shot.noisy - shot.clean).astype(float)
    later = noise.copy()
    for t in range(1, 30):
        later[t] = 0.5 * later[t - 1] + np.sqrt(0.75) * noise[t]
    config = DenoiseConfig("quick", symmetries=2, steps=1)
    error = {}
    for name, n in (("lasts", later), ("white", noise)):
        found = denoise(Movie.from_array((shot.clean + n).astype(np.float32)), config)
        error[name] = float(np.mean((found.mean - shot.clean) ** 2))
        stated = float(np.mean(found.variance))
        assert 0.5 < stated / error[name] < 2.0
    # Three times as many frames are needed for the same.
    assert error["lasts"] < 4 * error["white"]
