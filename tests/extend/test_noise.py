"""A noise model from outside the package goes through `phdenoise.denoise` and through files; docs/extend/noise.md shows it."""

import inspect
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import phdenoise as ph
from phdenoise.metrics import coverage, psnr


class Speckle(ph.noise.NoiseModel):
    """Speckle of `looks` averaged exposures: y = x · g with g ~ Gamma(looks, 1/looks), var y = x²/looks."""

    looks: jax.Array = eqx.field(converter=jnp.asarray)

    def sample(self, key, clean):
        return clean * jax.random.gamma(key, self.looks, clean.shape, clean.dtype) / self.looks

    def variance(self, clean):
        return clean**2 / self.looks

    def log_prob(self, noisy, clean):
        rate = self.looks / clean
        log_density = (self.looks - 1) * jnp.log(noisy) - rate * noisy
        return log_density + self.looks * jnp.log(rate) - jax.lax.lgamma(self.looks)


def scene():
    """Smooth waves that move slowly [12, 32, 32], intensities 1 to 9."""
    t, y, x = np.meshgrid(np.arange(12), np.arange(32), np.arange(32), indexing="ij")
    waves = np.sin(2 * np.pi * (x / 16 + t / 40)) * np.sin(2 * np.pi * y / 32)
    return (5 + 4 * waves).astype(np.float32)


@pytest.fixture(scope="module")
def estimate():
    noise = Speckle(10.0)
    noisy = noise.sample(jax.random.key(0), jnp.asarray(scene()))
    movie = ph.Movie.from_array(np.asarray(noisy), noise=noise)
    config = ph.DenoiseConfig(preset="quick", steps=10, width=8, symmetries=2)
    return ph.denoise(movie, config)


def test_a_noise_model_from_outside_denoises(estimate):
    clean, noisy = scene(), estimate.movie.frames
    assert isinstance(estimate.noise, Speckle)
    assert psnr(estimate.mean, clean, 8.0) > psnr(noisy, clean, 8.0) + 8
    inside = coverage(estimate.mean, estimate.variance, clean, levels=(0.9,))
    assert float(inside[0]) == pytest.approx(0.9, abs=0.08)


def test_files_hold_its_name_and_parameters(estimate, tmp_path, monkeypatch):
    known = dict(ph.noise.NOISE_MODELS)
    monkeypatch.setattr("phdenoise.noise.models.NOISE_MODELS", known)
    path = tmp_path / "denoised.h5"
    ph.write(estimate, path)
    with pytest.raises(ph.InputError, match=r"Speckle.*register"):
        ph.io.read_estimate(path)
    ph.noise.register_noise(Speckle)
    again = ph.io.read_estimate(path).noise
    assert isinstance(again, Speckle)
    assert float(again.looks) == 10.0


def test_the_page_shows_the_same_code():
    page = Path(__file__).parents[2] / "docs" / "extend" / "noise.md"
    assert inspect.getsource(Speckle) in page.read_text()
