"""A movie in units of 1e12 or 1e-12 is denoised as in any other."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from phdenoise.denoising import denoise
from phdenoise.denoising.config import DenoiseConfig
from phdenoise.movie import Movie

# Powers of two: only rounding may differ.
FACTORS = (2.0**40, 2.0**-40)


@pytest.mark.study
@pytest.mark.slow
def test_units_change_no_result():
    rng = np.random.default_rng(3)
    shape = (12, 40, 40)
    scene = ndimage.gaussian_filter(rng.normal(size=shape), (3, 4, 4), mode="wrap")
    clean = 10 + 100 * (scene - scene.min()) / np.ptp(scene)
    movie = Movie.from_array((clean + 15 * rng.normal(size=shape)).astype(np.float32))
    config = DenoiseConfig(preset="quick", steps=4, seconds=1e6)
    usual = denoise(movie, config)
    for factor in FACTORS:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            other = denoise(replace(movie, frames=movie.frames * np.float32(factor)), config)
        sd = np.sqrt(usual.variance.mean())
        # Training amplifies rounding, by less than what is not known of a pixel.
        assert np.abs(other.mean / factor - usual.mean).max() < sd
        ratio = other.variance / factor**2 / usual.variance
        assert 0.6 < ratio.min() < ratio.max() < 1.6
        assert other.trust["coverage"]["observed"] == pytest.approx(
            usual.trust["coverage"]["observed"], abs=0.02
        )
        assert other.trust["upsnr"]["psnr"] == pytest.approx(usual.trust["upsnr"]["psnr"], abs=1.0)
