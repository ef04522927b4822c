"""Distillation: averages of teachers are better and say so; the student is as good, or is not kept."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import phdenoise.denoising.distil as distillation
from phdenoise.denoising import denoise
from phdenoise.denoising.config import DenoiseConfig
from phdenoise.movie import Movie
from phdenoise.networks.base import build
from phdenoise.networks.context import PIXEL
from phdenoise.networks.predict import prepare
from phdenoise.networks.unet import Unet
from phdenoise.noise.models import Gaussian
from phdenoise.types import InputError, Moments

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("denoise")]

CONFIG = DenoiseConfig("quick", width=8, steps=150, depth=1, symmetries=2, distill=2)


@pytest.fixture(scope="module")
def twin():
    t, y, x = np.mgrid[:8, :32, :32].astype(float)
    clean = (np.sin((x - 0.3 * t) / 4) * np.cos((y + 0.2 * t) / 5)).astype(np.float32)
    return clean, Movie.from_array(
        clean + 0.5 * np.random.default_rng(0).normal(size=clean.shape).astype("f")
    )


def run(movie, config, kept, monkeypatch):
    """A distillation whose choice is forced, with the lecture that the student heard."""
    heard = []

    def choose(denoiser, arrays, said, *args, **kwargs):
        heard.append(said)
        found = real(denoiser, arrays, said, *args, **kwargs)
        return found._replace(student=kept)

    real = distillation.choose
    monkeypatch.setattr(distillation, "choose", choose)
    return denoise(movie, config), heard[0]


@pytest.mark.study
def test_the_student_is_as_good_as_its_teachers(twin, monkeypatch):
    clean, movie = twin
    estimate, said = run(movie, CONFIG, True, monkeypatch)
    error, theirs = (np.mean((m - clean) ** 2) for m in (estimate.mean, said.mean))
    assert 10 * np.log10(error / theirs) < 0.3
    assert estimate.settings["network"] == "unet"
    assert estimate.blind_mean is None
    z = np.abs(estimate.mean - clean) / np.sqrt(estimate.variance)
    assert 0.75 < np.mean(z < 1.645) < 0.99
    assert any("risk" in s and "student" in s.lower() for s in estimate.log)
    assert sum(s.startswith("Training") for s in estimate.log) == 2


@pytest.mark.study
def test_the_average_is_kept_otherwise(twin, monkeypatch, tmp_path):
    clean, movie = twin
    config = replace(CONFIG, steps=30)
    estimate, said = run(movie, config, False, monkeypatch)
    np.testing.assert_array_equal(estimate.mean, said.mean)
    assert estimate.blind_mean is not None
    assert estimate.settings["network"] == "blind"
    single = denoise(movie, replace(config, distill=0))
    assert np.mean((estimate.mean - clean) ** 2) < np.mean((single.mean - clean) ** 2) * 1.05
    assert said.spread > 0


def test_the_error_of_an_average_is_the_mean_error_less_the_spread():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(1, 64, 64))
    common, own = rng.normal(size=truth.shape), rng.normal(size=(4, *truth.shape))
    means = truth + 0.3 * common + 0.2 * own
    variances = np.full(means.shape, 0.09 + 0.04)
    mean, var, spread = distillation._averaged(means, variances)
    assert np.mean((mean - truth) ** 2) == pytest.approx(np.mean(var), rel=0.05)
    assert np.mean(spread) == pytest.approx(0.04 * 3 / 4, rel=0.05)


@pytest.mark.parametrize(("noise", "better"), [(0.0, True), (0.6, False)])
def test_the_choice_follows_the_true_error(twin, noise, better):
    """A student without error against an average with one, and the other way round."""
    clean, movie = twin
    denoiser = build(PIXEL, Unet(1, 1), width=8, centre=0.0, spread=1.0, seed=0)
    ok = movie.valid()
    arrays = prepare(denoiser, movie.frames, ok)
    # The untrained student is its start, the linear prediction, here of the clean movie.
    linear = clean + noise * np.random.default_rng(3).normal(size=clean.shape)
    shown = jnp.repeat(jnp.asarray(linear, jnp.float32)[:, None], 10, axis=1)
    arrays = replace(arrays, linear=shown)
    off = clean + 0.3 * np.random.default_rng(4).normal(size=clean.shape).astype("f")
    blind = Moments(jnp.asarray(off), jnp.full(clean.shape, 0.09))
    said = distillation.TeacherAverage(
        off, np.full(clean.shape, 0.09, "f"), blind, np.zeros(clean.shape, "f"), 0.0
    )
    choice = distillation.choose(
        denoiser, arrays, said, movie.frames, ok, Gaussian(0.5), jax.random.key(0), symmetries=1
    )
    assert choice.student is better


def test_teachers_are_blind_and_new(twin):
    _, movie = twin
    for wrong in ({"distill": -1}, {"objective": "sure"}, {"network": "n2v"}):
        with pytest.raises(InputError, match="--distill"):
            denoise(movie, replace(CONFIG, **wrong))
