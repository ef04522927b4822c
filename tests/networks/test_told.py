"""Linear predictions that are told of noise: least squares against the clean frames, from noisy ones alone."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from phdenoise.networks.base import build, from_weights, weights_of
from phdenoise.networks.context import PIXEL, context_weights
from phdenoise.networks.linear_filter import (
    ENDLESS,
    FOLD,
    NONE,
    apply_linear,
    fit_linear,
    noise_gain,
    sharing,
)
from phdenoise.networks.predict import prepare
from phdenoise.noise.models import Gaussian
from phdenoise.types import Moments
from tests.noise.test_temporal_correlation import decaying, scene

ONE = np.ones((1, 1))


def predicted(values, weights, coefficients):
    padded = np.pad(values.astype(np.float32), ((16, 16), (0, 0), (0, 0)))
    return apply_linear(padded, weights, coefficients)[:, -1]


@pytest.mark.parametrize("rho", [0.2, 0.6])
def test_told_predictions_are_those_of_clean_frames(rho):
    """As near to the truth as weights that were fitted to it; those that were not told repeat the noise."""
    clean, noise, sigma = scene(), decaying(rho), 0.5
    noisy = (clean + sigma * noise).astype(np.float32)
    weights, every = context_weights(np.ones(30, bool)), np.ones(clean.shape, bool)
    told = sharing(ONE, rho ** np.arange(1, 12), sigma**2, (0, 0))
    error = {
        name: np.mean(
            (predicted(noisy, weights, fit_linear(noisy, weights, every, s)) - clean) ** 2
        )
        for name, s in (("told", told), ("not", NONE))
    }
    # The same with another draw of the noise in the frames that are predicted, which nothing tells.
    assert error["told"] < 0.4 * error["not"]
    assert error["told"] < 0.03 * sigma**2


def test_noise_let_through_counts_what_lasts():
    noisy = (scene() + 0.5 * decaying(0.0)).astype(np.float32)
    weights, every = context_weights(np.ones(30, bool)), np.ones(noisy.shape, bool)
    coefficients = fit_linear(noisy, weights, every)
    noise = decaying(0.5, seed=3)
    passed = predicted(noise, weights, coefficients) - coefficients[-1][:, -1, None, None]
    share = noise_gain(coefficients[-1], weights, ONE, 0.5 ** np.arange(1, 20))
    assert np.mean(passed**2) == pytest.approx(share.mean(), rel=0.03)
    assert share.mean() > 1.3 * noise_gain(coefficients[-1], weights, ONE).mean()


def test_folds_that_share_no_noise_choose_longer_memories():
    """Noise of whole rows: blocks side by side hold the same, and would praise weights that follow it."""
    clean = scene(speed=0.02)
    rng = np.random.default_rng(0)
    noisy = clean + 0.2 * rng.normal(size=clean.shape) + 0.5 * rng.normal(size=(30, 64, 1))
    noisy = noisy.astype(np.float32)
    weights, every = context_weights(np.ones(30, bool)), np.ones(clean.shape, bool)
    rows = sharing(np.ones((17, 17)), np.zeros(0), 0.0, (0, 8))
    assert rows.folds.tolist() == [FOLD, ENDLESS]
    near, apart = (
        np.mean((predicted(noisy, weights, fit_linear(noisy, weights, every, s)) - clean) ** 2)
        for s in (NONE, rows)
    )
    assert apart < 0.7 * near
    assert sharing(np.ones((17, 17)), np.zeros(0), 0.0, (8, 8)).folds.tolist() == [16, 16]


@pytest.mark.parametrize("shared", [0.0, 0.1, 0.3])
def test_posterior_of_errors_that_share_noise(shared):
    """Prediction and measurement with errors of covariance C: as good as the best weights of both, and as it says."""
    rng = np.random.default_rng(0)
    error, own = 0.5, 1.0
    both = rng.multivariate_normal([0, 0], [[error, shared], [shared, own]], 200_000)
    blind = Moments(jnp.asarray(both[:, 0], jnp.float32), jnp.full(200_000, error))
    noise = Gaussian(jnp.float32(1.0))
    found = noise.posterior(
        blind, jnp.asarray(both[:, 1], jnp.float32), error_noise_covariance=shared
    )
    weight = (error - shared) / (error + own - 2 * shared)
    best = (1 - weight) ** 2 * error + 2 * weight * (1 - weight) * shared + weight**2 * own
    assert np.mean(np.asarray(found.mean) ** 2) == pytest.approx(best, rel=0.03)
    assert float(jnp.mean(found.var)) == pytest.approx(best, rel=0.06)


def test_prediction_that_knows_the_noise_already_learns_nothing_of_the_measurement():
    blind = Moments(jnp.zeros(3), jnp.full(3, 0.1))
    found = Gaussian(jnp.float32(1.0)).posterior(
        blind, jnp.full(3, 2.0), error_noise_covariance=0.2
    )
    assert np.all(np.abs(np.asarray(found.mean)) < 0.1)
    assert np.all(np.isfinite(np.asarray(found.var)))


def test_sharing_stays_with_the_weights():
    told = sharing(ONE, np.array([0.4]), 0.3, (0, 8))
    known = build(PIXEL, width=8, centre=0.0, spread=1.0, seed=0, sharing=told)
    again = from_weights(weights_of(known), PIXEL, width=8)
    noisy = (ndimage.gaussian_filter(decaying(0.0, (9, 16, 16)), 1)).astype(np.float32)
    seen = np.ones(noisy.shape, bool)
    np.testing.assert_array_equal(
        prepare(again, noisy, seen).coefficients, prepare(known, noisy, seen).coefficients
    )
    plain = build(PIXEL, width=8, centre=0.0, spread=1.0, seed=0)
    assert not any(name.startswith("noise/") for name in weights_of(plain))
    assert from_weights(weights_of(plain), PIXEL, width=8).sharing.lasts is False
