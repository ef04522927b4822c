"""Objectives beyond the blind likelihood: each denoises, says its error, and refuses what it cannot do."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phdenoise.denoising import denoise
from phdenoise.denoising.config import DenoiseConfig
from phdenoise.denoising.non_blind import risk_map, risk_over, training_target
from phdenoise.io.native import read_estimate
from phdenoise.io.writing import write
from phdenoise.movie import Movie
from phdenoise.networks.base import build
from phdenoise.networks.context import PIXEL
from phdenoise.networks.predict import predict_arrays, prepare
from phdenoise.networks.table import named
from phdenoise.networks.unet import Unet
from phdenoise.noise.models import Gaussian, Poisson
from phdenoise.training.objectives import resolve
from phdenoise.types import InputError

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("denoise")]

FAST = DenoiseConfig(preset="quick", width=8, steps=60, depth=1, window=2, symmetries=2)
SIGMA = 0.5


def scene(frames=8, side=32, speed=1.0):
    t, y, x = np.mgrid[:frames, :side, :side].astype(float)
    t = speed * t
    return (np.sin((x - 0.3 * t) / 4) * np.cos((y + 0.2 * t) / 5)).astype(np.float32)


def exposure(clean, seed):
    return clean + SIGMA * np.random.default_rng(seed).normal(size=clean.shape).astype("f")


def gain(estimate, clean):
    """Decibels better than the measurement."""
    before = np.mean((estimate.movie.frames - clean) ** 2)
    return 10 * np.log10(before / np.mean((estimate.mean - clean) ** 2))


def honest(estimate, clean):
    """The 90 % interval covers, as far as a thousand held-out pixels can tell its width."""
    z = np.abs(estimate.mean - clean) / np.sqrt(estimate.variance)
    return 0.7 < np.mean(z < 1.645) < 0.99


@pytest.fixture(scope="module")
def pair():
    clean = scene()
    return clean, Movie.from_array(exposure(clean, 0)), Movie.from_array(exposure(clean, 1))


def test_noise2noise_needs_no_truth(pair):
    clean, movie, other = pair
    estimate = denoise(movie, FAST, target=other)
    assert estimate.settings["network"] == "unet"
    assert estimate.settings["objective"] == "noise2noise"
    assert gain(estimate, clean) > 8
    assert honest(estimate, clean)
    assert estimate.blind_mean is None
    assert any("cannot judge" in s for s in estimate.log)
    assert not any("blind prediction" in s for s in estimate.log)


def test_noise2noise_takes_neighbours_where_the_scene_is_still():
    clean = scene(speed=0.0)
    config = replace(FAST, objective="noise2noise")
    estimate = denoise(Movie.from_array(exposure(clean, 0)), config)
    assert gain(estimate, clean) > 8
    assert honest(estimate, clean)
    with pytest.raises(InputError, match="scene changes"):
        denoise(Movie.from_array(exposure(scene(speed=12.0), 0)), replace(config, sigma=SIGMA))
    with pytest.raises(InputError, match="at least 4"):
        denoise(Movie.from_array(exposure(clean[:3], 0)), config)


def test_supervised_networks_serve_other_movies(pair, tmp_path):
    clean, movie, other = pair
    teacher = denoise(movie, replace(FAST, steps=120), clean=Movie.from_array(clean))
    assert gain(teacher, clean) > 8
    assert honest(teacher, clean)
    write(teacher, tmp_path / "net.h5")
    again = denoise(
        other, replace(FAST, tune="none"), pretrained=read_estimate(tmp_path / "net.h5")
    )
    assert again.settings["steps"] == 0
    assert again.settings["network"] == "unet"
    assert gain(again, clean) > 8
    with pytest.raises(InputError, match="--network"):
        denoise(other, replace(FAST, tune="none", network="n2v"), pretrained=teacher)


@pytest.mark.parametrize("kind", ["sure", "pure"])
def test_a_risk_needs_no_target(kind):
    clean = scene() if kind == "sure" else 6 * (1.3 + scene())
    rng = np.random.default_rng(0)
    frames = exposure(clean, 0) if kind == "sure" else rng.poisson(clean).astype("f")
    noise = "gaussian" if kind == "sure" else "poisson"
    config = replace(FAST, network="unet", noise=noise)
    estimate = denoise(Movie.from_array(frames), config)
    assert estimate.settings["objective"] == kind
    assert gain(estimate, clean) > 6
    assert honest(estimate, clean)


def test_sure_knows_correlated_noise():
    from scipy import ndimage

    white = np.random.default_rng(0).normal(size=(8, 32, 32))
    clean = scene()
    frames = clean + (3 * 0.4 * ndimage.uniform_filter(white, (0, 3, 3))).astype("f")
    estimate = denoise(Movie.from_array(frames), replace(FAST, objective="sure"))
    assert gain(estimate, clean) > 4
    with pytest.raises(InputError, match="PURE"):
        denoise(Movie.from_array(frames), replace(FAST, objective="pure"))


@pytest.mark.parametrize("noise", [Gaussian(SIGMA), Poisson(0.25)])
def test_the_estimated_risk_is_the_true_one(noise):
    """Of a network that looks at its own pixel, drawn at random: no property of training."""
    clean = jnp.asarray(1.5 + scene(12, 48))
    rng = np.random.default_rng(5)
    denoiser = build(PIXEL, Unet(1, 1), width=8, centre=1.5, spread=1.0, seed=2)
    state = jax.tree.map(
        lambda w: w + 0.03 * jnp.asarray(rng.normal(size=w.shape), w.dtype), denoiser.state
    )
    denoiser = replace(denoiser, state=state)
    ok = np.ones(clean.shape, bool)
    flat = np.zeros((10, 12, 2 * 5 + 1))
    flat[-1, :, :2] = 0.4
    off = []
    for seed in range(3):
        frames = np.asarray(noise.sample(jax.random.key(seed), clean))
        # Fixed coefficients: a fitted linear part would have seen the noise.
        arrays = prepare(denoiser, frames, ok, None, flat)
        terms, window = risk_map(
            denoiser, arrays, clean.shape, noise, jax.random.key(9 + seed), symmetries=1
        )
        risk = risk_over(terms, ok[window])
        mean = predict_arrays(denoiser, arrays, clean.shape, symmetries=1).mean
        truth = float(jnp.mean((mean - clean) ** 2))
        off.append((risk.value - truth) / risk.sd)
        # It is measured, not lost in its error.
        assert risk.sd < 0.2 * truth
    assert max(map(abs, off)) < 4
    assert abs(np.mean(off)) < 2.5


@pytest.mark.parametrize("window", [0, pytest.param(2, marks=pytest.mark.study)])
def test_noise2void_denoises_single_images_and_movies(window):
    clean = scene(6)
    movie = Movie.from_array(exposure(clean, 0))
    estimate = denoise(movie, replace(FAST, network="n2v", window=window, steps=150))
    assert gain(estimate, clean) > (5 if window == 0 else 8)
    assert honest(estimate, clean)
    # Its prediction is blind, and the pixel comes back through the posterior.
    assert estimate.blind_mean is not None
    assert np.mean(estimate.variance) < np.mean(estimate.blind_variance)


@pytest.mark.study
def test_a_single_image():
    clean = scene(1, 64)
    estimate = denoise(
        Movie.from_array(exposure(clean, 0)), replace(FAST, objective="n2v", window=0, steps=150)
    )
    assert gain(estimate, clean) > 4


@pytest.mark.study
def test_structn2v_hides_a_rectangle_as_large_as_the_correlation():
    from scipy import ndimage

    white = np.random.default_rng(0).normal(size=(8, 32, 32))
    noise = (np.sqrt(3) * 0.5 * ndimage.uniform_filter1d(white, 3, axis=2)).astype("f")
    estimate = denoise(
        Movie.from_array(scene() + noise), replace(FAST, network="n2v", window=2, steps=30)
    )
    rows, columns = (int(n) for n in estimate.settings["region"].split("x"))
    assert rows < 5 <= columns
    with pytest.raises(InputError, match="rectangle"):
        denoise(Movie.from_array(scene() + noise), replace(FAST, network="n2v", blind="frame"))


def test_gaps_have_wider_intervals():
    clean = scene(speed=4.0)
    movie, other = (clean + (exposure(clean, k) - clean) / 5 for k in (0, 1))
    # Of 4 x 4 pixels: what is around a single one tells nearly as much as its own measurement.
    some = np.random.default_rng(1).random((len(clean), *(n // 4 for n in clean.shape[1:]))) < 0.1
    hole = np.kron(some, np.ones((1, 4, 4))) > 0
    gappy = Movie.from_array(np.where(hole, np.nan, movie))
    estimate = denoise(gappy, replace(FAST, steps=200), target=Movie.from_array(other))
    assert np.isfinite(estimate.mean).all()
    # Without a word for gaps the network states the same, within a percent.
    assert np.mean(estimate.variance[hole]) > 1.05 * np.mean(estimate.variance[~hole])


@pytest.mark.study
def test_counts_have_a_likelihood_of_their_own():
    clean = 3 * (1.3 + scene())
    frames = np.random.default_rng(0).poisson(clean).astype("f")
    config = replace(FAST, objective="counts", noise="poisson", window=None)
    estimate = denoise(Movie.from_array(frames), config)
    assert gain(estimate, clean) > 8
    assert np.all(estimate.mean > 0)


@pytest.mark.parametrize(
    ("network", "objective", "given", "message"),
    [
        ("unet", "mse", {}, "--network unet"),
        ("blind", "sure", {}, "--network blind"),
        ("n2v", "pure", {}, "--network n2v"),
        ("auto", "supervised", {}, "--clean"),
        ("auto", "sure", {"target": True}, "--target"),
        ("auto", "pure", {"correlated": True}, "PURE"),
        ("auto", "pure", {}, "use --objective sure"),
        ("auto", "counts", {}, "Poisson"),
        ("resnet", "nll", {}, "network"),
    ],
)
def test_what_does_not_go_together_is_said(network, objective, given, message):
    given = {"correlated": False, "target": False, "clean": False} | given
    correlated = given.pop("correlated")
    with pytest.raises(InputError, match=message):
        resolve(named(network), objective, Gaussian(0.1), correlated, **given)


def test_sure_is_not_for_counts():
    with pytest.raises(InputError, match="use --objective pure"):
        resolve(named("auto"), "sure", Poisson(), False, target=False, clean=False)


def test_a_target_shows_the_same_frames(pair):
    _, movie, _ = pair
    with pytest.raises(InputError, match="same frames"):
        training_target(
            "noise2noise", movie, movie.valid(), Gaussian(0.1), target=Movie.from_array(scene(3))
        )
