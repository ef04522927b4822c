"""Preset "instant": no training, the bars of the linear filter, and the same result every time."""

import numpy as np
import pytest
from scipy import ndimage

from phdenoise.denoising import denoise
from phdenoise.denoising.config import DenoiseConfig
from phdenoise.metrics.fidelity import psnr
from phdenoise.movie import Movie
from phdenoise.types import InputError

INSTANT = DenoiseConfig(preset="instant")


def _scene(rng, shape=(20, 64, 64)):
    field = ndimage.gaussian_filter(rng.normal(size=shape), (3, 4, 4), mode="wrap")
    return 10 + 100 * (field - field.min()) / np.ptp(field)


def _movie(seed, add):
    rng = np.random.default_rng(seed)
    clean = _scene(rng)
    return clean, Movie.from_array(add(rng, clean).astype(np.float32))


NOISES = {
    "white": lambda rng, clean: rng.normal(clean, 20.0),
    "counts": lambda rng, clean: rng.poisson(clean / 10),
    "blurred": lambda rng, clean: clean + 20 * ndimage.uniform_filter(rng.normal(size=clean.shape), (0, 3, 3)) * 3,
}  # fmt: skip


@pytest.mark.parametrize("noise", NOISES)
def test_bars_hold_and_the_movie_is_better_than_a_tuned_gaussian(noise):
    clean, movie = _movie(1, NOISES[noise])
    unit = 0.1 if noise == "counts" else 1.0
    found = denoise(movie, INSTANT)
    truth, span = unit * clean, unit * np.ptp(clean)
    tuned = max(
        float(psnr(ndimage.gaussian_filter(movie.frames.astype(float), (t, s, s)), truth, span))
        for t in (0.5, 1, 2, 3)
        for s in (0, 1, 2, 3)
    )
    assert float(psnr(found.mean, truth, span)) > tuned - 1.0
    low, high = found.interval(0.9)
    assert np.mean((low <= truth) & (truth <= high)) == pytest.approx(0.9, abs=0.08)
    error = np.mean((found.mean - truth) ** 2)
    assert found.variance.mean() == pytest.approx(error, rel=0.35)
    assert found.settings["steps"] == 0
    assert found.settings["network"] == "linear"


def test_it_is_the_same_every_time():
    _, movie = _movie(2, NOISES["white"])
    one, other = denoise(movie, INSTANT), denoise(movie, INSTANT)
    np.testing.assert_array_equal(one.mean, other.mean)
    np.testing.assert_array_equal(one.variance, other.variance)


def test_errors_are_larger_where_the_scene_moves():
    rng = np.random.default_rng(3)
    shape = (16, 48, 48)
    y, x = np.mgrid[:48, :48]
    t = np.arange(16)[:, None, None]
    clean = 100.0 / (1 + np.exp((np.hypot(y - 24, x - 8 - 2.0 * t) - 7) / 1.5))
    movie = Movie.from_array((clean + 15 * rng.normal(size=shape)).astype(np.float32))
    found = denoise(movie, INSTANT)
    edge = ndimage.gaussian_gradient_magnitude(clean, (0.5, 1, 1))
    moves = edge > np.quantile(edge, 0.9)
    said = found.variance[moves].mean() / found.variance[~moves].mean()
    true = np.mean((found.mean - clean)[moves] ** 2) / np.mean((found.mean - clean)[~moves] ** 2)
    assert said > 1.5
    assert 0.4 < said / true < 2.5


def test_what_it_cannot_do_is_refused():
    rng = np.random.default_rng(4)
    image = Movie.from_array(rng.normal(size=(1, 32, 32)).astype(np.float32))
    with pytest.raises(InputError, match="--preset quick"):
        denoise(image, INSTANT)
    with pytest.raises(InputError, match="trains no network"):
        denoise(image, DenoiseConfig(preset="instant", network="blind"))
