"""The noise of the test has the movie's statistics, its measures are right, and ours invents little."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from phdenoise.denoising.config import DenoiseConfig
from phdenoise.denoising.hallucination import hallucination, judge_invention, pure_noise
from phdenoise.movie import Movie
from phdenoise.noise.estimate import estimate_noise
from phdenoise.noise.models import Gaussian, PoissonGaussian

SHAPE = (16, 64, 64)


def white(seed=0):
    return np.random.default_rng(seed).normal(size=SHAPE)


def test_noise_has_the_estimated_variance_and_correlation():
    coloured = 5 + 0.4 * uniform_filter(white(), (1, 1, 3), mode="wrap") * np.sqrt(3)
    found = estimate_noise(coloured)
    drawn = pure_noise(found.model, found, 5.0, SHAPE, 1)
    assert drawn.mean() == pytest.approx(5, abs=0.02)
    assert drawn.std() == pytest.approx(0.4, rel=0.03)
    again = estimate_noise(drawn).correlation
    np.testing.assert_allclose(again["x"][1:4], [2 / 3, 1 / 3, 0], atol=0.08)
    assert abs(again["y"][1]) < 0.05


def test_counting_noise_keeps_its_family():
    model = PoissonGaussian(jnp.float32(2.0), jnp.float32(10.0), jnp.float32(0.5))
    drawn = pure_noise(model, estimate_noise(white()), 30.0, SHAPE, 0)
    assert drawn.var() == pytest.approx(2 * 20 + 0.25, rel=0.03)
    assert np.mean((drawn - 30) ** 3) > 0.5 * 4 * 20


def test_measures_of_invention():
    valid = np.ones(SHAPE, bool)
    assert judge_invention(np.full(SHAPE, 3.0), valid, 1.0).share == 0.0
    flat = judge_invention(2 * white(), valid, 2.0)
    assert flat.share == pytest.approx(1, rel=0.02)
    np.testing.assert_allclose(flat.spectrum[1:], 1, atol=0.15)
    blob = np.zeros(SHAPE)
    blob[3, 10:14, 20:26] = 0.5
    found = judge_invention(blob, valid, 1.0)
    assert found.blob == 24
    assert found.peak == pytest.approx(0.5, abs=0.01)
    x = np.arange(64)
    wave = judge_invention(np.broadcast_to(np.sin(2 * np.pi * x / 8), SHAPE), valid, 1.0)
    assert wave.frequency[np.argmax(wave.spectrum)] == pytest.approx(1 / 8, abs=0.03)
    assert "Do not interpret" in wave.sentence


@pytest.mark.study
@pytest.mark.slow
def test_denoising_noise_invents_little():
    """A short training; a denoiser that returns its input would score 1."""
    t, y, x = np.mgrid[tuple(slice(n) for n in SHAPE)]
    movie = Movie.from_array((np.sin((x + t) / 5) * np.cos(y / 6) + 0.5 * white()).astype("f"))
    found = hallucination(movie, DenoiseConfig(preset="quick", width=8, steps=100))
    assert 0 < found.share < 0.05
    assert found.peak < 0.5
    assert found.log


def test_source_noise_is_used():
    found = estimate_noise(white())
    drawn = pure_noise(Gaussian(jnp.float32(3.0)), found, 0.0, SHAPE, 0)
    assert drawn.std() == pytest.approx(3, rel=0.02)
