"""Noise estimation: known parameters come back within their error, with motion, gaps and correlation."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from phdenoise.noise import Gaussian, Poisson, PoissonGaussian, estimate_noise
from phdenoise.types import InputError


def scene(frames=16, side=72, speed=0.4):
    """A smooth drifting pattern with values in 0..1."""
    t, y, x = np.mgrid[:frames, :side, :side].astype(float)
    return 0.5 + 0.25 * np.sin((x - speed * t) / 7) + 0.25 * np.cos((y + speed * t) / 5)


@pytest.mark.parametrize("sigma", [0.02, 0.3])
@pytest.mark.parametrize("speed", [0.0, 1.5])
def test_gaussian_sigma_within_three_percent(sigma, speed):
    clean = scene(speed=speed)
    noisy = clean + sigma * np.random.default_rng(0).normal(size=clean.shape)
    found = estimate_noise(noisy)
    assert isinstance(found.model, Gaussian)
    assert float(found.model.sigma) == pytest.approx(sigma, rel=0.03)
    assert found.sd["sigma"] < 0.03 * sigma
    assert found.blind == "pixel"


def test_scale_and_offset_of_the_movie_do_not_matter():
    noisy = scene() + 0.1 * np.random.default_rng(1).normal(size=scene().shape)
    for factor, offset in ((1e-6, 0.0), (1e6, -3e6)):
        found = estimate_noise(factor * noisy + offset)
        assert isinstance(found.model, Gaussian)
        assert float(found.model.sigma) == pytest.approx(0.1 * factor, rel=0.03)
        assert found.blind == "pixel"


def test_counts_are_recognised_as_poisson():
    noisy = np.random.default_rng(0).poisson(20 * scene()).astype(np.float32)
    found = estimate_noise(noisy)
    assert isinstance(found.model, Poisson)
    assert float(found.model.gain) == 1.0


def test_poisson_gaussian_line():
    rng = np.random.default_rng(0)
    clean = 200 * scene(24, 96)
    noisy = 3.0 * rng.poisson(clean / 3.0) + 12.0 * rng.normal(size=clean.shape)
    found = estimate_noise(noisy)
    assert isinstance(found.model, PoissonGaussian)
    levels = jnp.asarray([40.0, 100.0, 180.0])
    np.testing.assert_allclose(found.model.variance(levels), 3 * levels + 144, rtol=0.08)
    assert abs(float(found.model.gain) - 3.0) < 4 * found.sd["gain"] + 0.1


def test_the_asked_family_is_fitted():
    noisy = scene() + 0.1 * np.random.default_rng(0).normal(size=scene().shape)
    assert isinstance(estimate_noise(noisy, kind="gaussian").model, Gaussian)
    asked = estimate_noise(noisy, kind="poisson-gaussian").model
    assert isinstance(asked, Gaussian | PoissonGaussian)
    assert float(asked.variance(jnp.float32(0.5))) == pytest.approx(0.01, rel=0.1)


def test_correlated_noise_hides_the_whole_frame():
    rng = np.random.default_rng(0)
    white = rng.normal(size=scene().shape)
    square = ndimage.uniform_filter(white, (0, 3, 3)) * 3 * 0.2
    found = estimate_noise(scene() + square)
    assert found.blind == "frame"
    np.testing.assert_allclose(found.correlation["x"][:4], [1, 2 / 3, 1 / 3, 0], atol=0.05)
    assert float(found.model.sigma) == pytest.approx(0.2, rel=0.05)
    line = ndimage.uniform_filter1d(white, 9, axis=2) * 3 * 0.2
    along = estimate_noise(scene() + line).correlation
    assert along["x"][1] == pytest.approx(8 / 9, abs=0.05)
    assert along["y"][1] == pytest.approx(0, abs=0.05)


def test_noise_that_persists_in_time_hides_the_pixel_in_all_frames():
    white = np.random.default_rng(0).normal(size=(18, 72, 72))
    persistent = (white[1:] + white[:-1])[:16] / np.sqrt(2)
    found = estimate_noise(scene() + 0.2 * persistent)
    assert found.correlation["t"][1] > 0.3
    assert found.blind == "udvd"


def test_gaps_spikes_and_saturation_are_left_out():
    rng = np.random.default_rng(0)
    noisy = scene() + 0.05 * rng.normal(size=scene().shape)
    noisy[:, :, :10] = noisy.max() + 1
    noisy[:, 5] = np.nan
    noisy[rng.random(noisy.shape) < 1e-4] = 1.0 + noisy[np.isfinite(noisy)].max() / 2
    valid = np.ones(noisy.shape, bool)
    valid[3] = False
    found = estimate_noise(noisy, valid)
    assert float(np.sqrt(found.model.variance(jnp.float32(0.5)))) == pytest.approx(0.05, rel=0.1)
    assert any("saturated" in s for s in found.sentences)


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_few_frames(frames):
    clean = scene(frames, 128)
    noisy = clean + 0.2 * np.random.default_rng(0).normal(size=clean.shape)
    found = estimate_noise(noisy)
    assert float(found.model.sigma) == pytest.approx(0.2, rel=0.06)
    assert found.blind == ("udvd" if frames == 1 else "pixel")


def test_nothing_to_estimate():
    with pytest.raises(InputError, match="no valid pixel"):
        estimate_noise(np.full((4, 8, 8), np.nan))
    with pytest.raises(InputError, match="no noise"):
        estimate_noise(np.ones((4, 8, 8)))


@pytest.mark.parametrize(
    ("stem", "key", "family", "blind"),
    [
        ("ch_gauss03", "noisy", Gaussian, "pixel"),
        ("ch_gauss01", "noisy", Gaussian, "pixel"),
        ("ch_poisson5", "counts", Poisson, "pixel"),
        ("ch_corr3x3_02", "noisy", Gaussian, "frame"),
        ("ch_line1x9_01", "noisy", Gaussian, "frame"),
        ("tem_pt_ceo2", "noisy", PoissonGaussian, "pixel"),
        ("neutron_open_beam", "static", Poisson, "frame"),
        ("two_photon_mouse", "frames", PoissonGaussian, "frame"),
        ("lowlight_rgb_with_mean", "noisy", Gaussian, "frame"),
    ],
)
def test_measured_movies(shared_data, stem, key, family, blind):
    frames = shared_data(stem, key).astype(np.float32)
    frames = frames[..., 1] if frames.ndim == 4 else frames
    found = estimate_noise(frames)
    assert isinstance(found.model, family)
    assert found.blind == blind
    known = {"ch_gauss03": 0.3, "ch_gauss01": 0.1, "ch_corr3x3_02": 0.2, "ch_line1x9_01": 0.1}
    if stem in known:
        assert float(found.model.sigma) == pytest.approx(known[stem], rel=0.03)
