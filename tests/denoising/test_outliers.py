"""Outliers: alone and far from what other frames predict. Noise, counts and what happens in the scene are none."""

import jax.numpy as jnp
import numpy as np
import pytest

from phdenoise.denoising.outliers import SMALLEST_Q, Outliers
from phdenoise.networks.base import build
from phdenoise.networks.context import PIXEL
from phdenoise.networks.predict import prepare
from phdenoise.noise.models import Gaussian, Poisson
from tests.noise.test_temporal_correlation import scene

SHAPE = (30, 64, 64)
WHOLE = tuple(slice(0, n) for n in SHAPE)


def found(frames, noise, error, seen=None):
    denoiser = build(
        PIXEL, width=8, centre=float(frames.mean()), spread=float(frames.std()), seed=0
    )
    seen = np.ones(SHAPE, bool) if seen is None else seen
    shown = denoiser, prepare(denoiser, frames.astype(np.float32), seen), noise
    outliers = Outliers(error).calmed(*shown, WHOLE)
    return outliers, shown, outliers(*shown, WHOLE)


def test_bright_and_dark_hits_are_found_and_what_is_seen_in_a_scene_is_not():
    rng = np.random.default_rng(0)
    noisy = scene() + 0.2 * rng.normal(size=SHAPE)
    hits = np.zeros(SHAPE, bool)
    hits[rng.integers(0, 30, 40), rng.integers(2, 62, 40), rng.integers(2, 62, 40)] = True
    noisy[hits] += rng.choice([-2.0, 2.0], hits.sum())
    # A spot that appears for a frame, as sharp as optics make it.
    y, x = np.mgrid[:64, :64]
    noisy[14] += 2.0 * np.exp(-((y - 30) ** 2 + (x - 33) ** 2) / (2 * 0.85**2))
    hits[14, 27:34, 30:37] = False
    _, _, odd = found(noisy, Gaussian(jnp.float32(0.2)), 0.05)
    assert odd[hits].mean() > 0.95
    assert not odd[14, 28:33, 31:36].any()
    assert (odd & ~hits).sum() <= 3


@pytest.mark.parametrize("dose", [0.05, 1.0, 20.0])
def test_counts_are_none(dose):
    counts = np.random.default_rng(0).poisson(dose * (1 + 0.4 * scene()))
    _, _, odd = found(counts.astype(float), Poisson(jnp.float32(1.0), jnp.float32(0.0)), 0.1 * dose)
    assert odd.sum() <= 3


def test_where_outliers_made_the_noise_too_large_they_are_nearer():
    rng = np.random.default_rng(0)
    noisy = scene() + 0.1 * rng.normal(size=SHAPE)
    hits = rng.random(SHAPE) < 0.02
    noisy[hits] += rng.choice([-0.55, 0.55], hits.sum())
    outliers, _, odd = found(noisy, Gaussian(jnp.float32(0.14)), 0.02)
    assert SMALLEST_Q <= outliers.calm < 0.85
    assert odd[hits].mean() > 0.6
    assert (odd & ~hits).sum() < 1e-4 * hits.size


def test_a_window_tells_what_the_whole_does():
    rng = np.random.default_rng(0)
    noisy = scene() + 0.2 * rng.normal(size=SHAPE)
    noisy[rng.random(SHAPE) < 0.01] += 3.0
    seen = rng.random(SHAPE) < 0.95
    outliers, shown, odd = found(noisy, Gaussian(jnp.float32(0.2)), 0.05, seen)
    assert odd.any()
    assert not (odd & ~seen).any()
    window = (slice(3, 9), slice(5, 40), slice(17, 64))
    np.testing.assert_array_equal(outliers(*shown, window), odd[window])
