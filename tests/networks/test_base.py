"""Posterior, likelihood and the prediction of whole movies: exact cases and invariances."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import phdenoise.networks.predict as prediction
from phdenoise.movie import ERROR_DEGREES_OF_FREEDOM
from phdenoise.networks.base import (
    build,
    from_weights,
    measurement_weight,
    weights_of,
)
from phdenoise.networks.centre_blind import depth_to_space, space_to_depth
from phdenoise.networks.context import FRAME, PIXEL, parse_region
from phdenoise.networks.predict import predict_arrays, predict_blind, prepare, symmetry_codes
from phdenoise.noise.models import Gaussian, Poisson
from phdenoise.training.loop import draw_crops
from phdenoise.types import InputError, Moments


@pytest.mark.parametrize("ratio", [0.02, 0.3, 3.0])
def test_posterior_is_that_of_a_students_t(ratio):
    """Mean and variance of x given y = x + n for a Student's t of unit variance, by quadrature over x."""
    scale, sigma = (
        np.sqrt((ERROR_DEGREES_OF_FREEDOM - 2) / ERROR_DEGREES_OF_FREEDOM),
        np.sqrt(1 / ratio),
    )
    away = np.array([0.0, 0.5, 1.5, 3.0, 6.0, 20.0]) * np.hypot(sigma, 1)
    grid = np.linspace(-60, 60 + away[-1], 400_001)
    expected = []
    for y in away:
        log = stats.t.logpdf(grid / scale, ERROR_DEGREES_OF_FREEDOM) + stats.norm.logpdf(
            y, grid, sigma
        )
        share = np.exp(log - log.max())
        mean = np.average(grid, weights=share)
        expected.append([mean, np.average((grid - mean) ** 2, weights=share)])
    blind = Moments(jnp.full(away.shape, 7.0), jnp.ones(away.shape))
    mean, var = Gaussian(sigma).posterior(blind, jnp.asarray(7 + away, jnp.float32))
    means, variances = np.transpose(expected)
    assert np.all(np.abs(mean - 7 - means) < 0.02 * away + 1e-3), (mean - 7, means)
    np.testing.assert_allclose(var, variances, rtol=0.12)
    # What nothing foretold is believed.
    assert mean[-1] - 7 > 0.85 * away[-1]


def test_the_own_weight_is_the_derivative_of_the_posterior_mean():
    blind = Moments(jnp.zeros(9), jnp.full(9, 0.5))
    noisy, noise, step = jnp.linspace(-6, 6, 9), Gaussian(1.0), 0.01
    after = noise.posterior(blind, noisy)
    moved = [noise.posterior(blind, noisy + s).mean for s in (step, -step)]
    weight = measurement_weight(after.var, blind, noise)
    np.testing.assert_allclose(weight, (moved[0] - moved[1]) / (2 * step), rtol=2e-3)
    assert weight[0] > 1.5 * weight[4]


def test_counts_far_above_what_is_expected_may_be_chance():
    """Three counts where 0.2 are expected happen once in a thousand pixels: no sight of something new."""
    blind = Moments(jnp.full((1, 2, 2), 0.2), jnp.full((1, 2, 2), 1e-3))
    mean, _ = Poisson(1.0, 0.0).posterior(blind, jnp.full((1, 2, 2), 3.0))
    assert float(mean.max()) < 0.3


def test_posterior_of_a_gaussian_prior_covers_as_it_says():
    rng = np.random.default_rng(0)
    sigma, spread = 0.5, 0.3
    clean = rng.normal(1.0, spread, (4, 64, 64)).astype(np.float32)
    noisy = jnp.asarray(clean + sigma * rng.normal(size=clean.shape).astype(np.float32))
    blind = Moments(jnp.ones(clean.shape), jnp.full(clean.shape, spread**2))
    mean, var = Gaussian(sigma).posterior(blind, noisy)
    error = np.asarray(mean) - clean
    assert float(np.mean(error**2)) == pytest.approx(float(var.mean()), rel=0.05)
    assert np.mean(np.abs(error) < np.sqrt(var)) == pytest.approx(0.683, abs=0.02)
    assert np.mean(np.abs(error) < 1.96 * np.sqrt(var)) == pytest.approx(0.95, abs=0.01)


def test_posterior_without_a_measurement_is_the_blind_prediction():
    blind = Moments(jnp.ones((1, 4, 4)), jnp.full((1, 4, 4), 0.2))
    mean, var = Gaussian(0.1).posterior(blind, jnp.full((1, 4, 4), jnp.nan))
    np.testing.assert_array_equal(mean, blind.mean)
    np.testing.assert_array_equal(var, blind.var)


def test_a_dark_pixel_is_not_believed_blindly():
    """Where counting noise expects nothing, the belief's own width keeps the noise from vanishing."""
    blind = Moments(jnp.full((1, 2, 2), -0.01), jnp.full((1, 2, 2), 0.01))
    noise = Poisson(1.0, 0.0)
    truth = jnp.maximum(-0.01 + 0.1 * jax.random.normal(jax.random.key(0), (200_000,)), 0).mean()
    assert float(noise.expected_variance(blind)[0, 0, 0]) == pytest.approx(float(truth), rel=0.4)
    assert float(noise.posterior(blind, jnp.ones((1, 2, 2))).mean.max()) < 0.35


def test_likelihood_is_least_at_the_true_moments():
    rng = np.random.default_rng(1)
    noisy = jnp.asarray(rng.normal(2.0, np.hypot(0.3, 0.4), (1, 200, 200)).astype(np.float32))

    def score(mean, sd):
        blind = Moments(jnp.full(noisy.shape, mean), jnp.full(noisy.shape, sd**2))
        return float(Gaussian(0.3).blind_nll(blind, noisy).mean())

    best = score(2.0, 0.4)
    assert best < min(score(2.2, 0.4), score(1.8, 0.4), score(2.0, 0.25), score(2.0, 0.6))


def test_depth_and_space():
    x = jnp.arange(2 * 8 * 12 * 3.0).reshape(2, 8, 12, 3)
    assert space_to_depth(x).shape == (2, 4, 6, 12)
    np.testing.assert_array_equal(depth_to_space(space_to_depth(x)), x)


def test_symmetries_are_each_used_once():
    assert sorted(symmetry_codes(16, turns=True)) == list(range(16))
    assert sorted(symmetry_codes(16, turns=False)) == [c for c in range(16) if not c & 4]
    assert symmetry_codes(1, turns=True) == (0,)


@pytest.mark.parametrize("region", [PIXEL, FRAME], ids=str)
def test_averaged_prediction_commutes_with_the_symmetries(region):
    frames = np.random.default_rng(0).normal(size=(5, 16, 16)).astype(np.float32)
    valid = np.ones(frames.shape, bool)
    denoiser = build(region, width=8, centre=0.0, spread=1.0, seed=0)
    whole = predict_blind(denoiser, frames, valid, symmetries=16)
    for change in (lambda a: a[::-1], lambda a: a[:, ::-1], lambda a: a.swapaxes(1, 2)):
        other = predict_blind(denoiser, change(frames).copy(), valid, symmetries=16)
        np.testing.assert_allclose(other.mean, change(whole.mean), atol=2e-5)
        np.testing.assert_allclose(other.var, change(whole.var), rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize("region", ["1x5", "5x1", "3x3"])
def test_what_is_hidden_stays_so_when_symmetries_are_averaged(region):
    """A line turned with the frame would show the noise that it hides."""
    frames = np.random.default_rng(0).normal(size=(5, 16, 16)).astype(np.float32)
    valid = np.ones(frames.shape, bool)
    hidden = parse_region(region)
    fresh = build(hidden, width=8, centre=0.0, spread=1.0, seed=0)
    # A fresh network is a linear filter of the other frames.
    key = jax.random.key(0)
    trained = jax.tree.map(lambda a: a + 0.1 * jax.random.normal(key, a.shape), fresh.state)
    denoiser = eqx.tree_at(lambda d: d.state, fresh, trained)
    arrays = prepare(denoiser, frames, valid)
    near = tuple(slice(8 - n // 2, 9 + n // 2) for n in (hidden.rows, hidden.columns))
    beyond = (8 - hidden.rows // 2 - 1, 8)
    before = predict_arrays(denoiser, arrays, frames.shape, symmetries=16).mean[2, 8, 8]
    for where, same in ((near, True), (beyond, False)):
        other = frames.copy()
        other[2, *where] += 3.0
        changed = prepare(denoiser, other, valid, coefficients=arrays.coefficients)
        after = predict_arrays(denoiser, changed, frames.shape, symmetries=16).mean[2, 8, 8]
        assert (abs(float(after - before)) < 1e-6) == same


@pytest.mark.parametrize("region", ["1x5", "3x3"])
def test_crops_are_turned_only_where_that_hides_the_same(region):
    rows = np.arange(16.0)[:, None] * np.ones(16)
    frames = np.broadcast_to(rows, (5, 16, 16)).astype(np.float32)
    denoiser = build(parse_region(region), width=8, centre=0.0, spread=1.0, seed=0)
    arrays = prepare(denoiser, frames, np.ones(frames.shape, bool))
    crops = [
        draw_crops(jax.random.key(k), arrays, arrays.seen, denoiser, batch=1, side=(16, 16))
        for k in range(12)
    ]
    turned = [float(jnp.ptp(c.centre, axis=2).max()) > 1 for c in crops]
    assert any(turned) == (region == "3x3")
    assert not all(turned)


def test_prediction_is_equivariant_to_the_unit():
    frames = np.random.default_rng(0).normal(size=(4, 12, 16)).astype(np.float32)
    valid = np.ones(frames.shape, bool)
    one = predict_blind(build(PIXEL, width=8, centre=0.0, spread=1.0, seed=0), frames, valid)
    scaled = build(PIXEL, width=8, centre=5e4, spread=1e3, seed=0)
    other = predict_blind(scaled, 5e4 + 1e3 * frames.astype(float), valid)
    np.testing.assert_allclose((other.mean - 5e4) / 1e3, one.mean, atol=1e-3)
    np.testing.assert_allclose(other.var / 1e6, one.var, rtol=1e-2, atol=1e-4)


def test_tiles_agree_with_the_whole_frame(monkeypatch):
    frames = np.random.default_rng(0).normal(size=(3, 132, 156)).astype(np.float32)
    valid = np.ones(frames.shape, bool)
    denoiser = build(PIXEL, width=8, centre=0.0, spread=1.0, seed=0)
    whole = predict_blind(denoiser, frames, valid, symmetries=2)
    monkeypatch.setattr(prediction, "TILE", 88)
    tiled = predict_blind(denoiser, frames, valid, symmetries=2)
    np.testing.assert_allclose(tiled.mean, whole.mean, atol=1e-5)
    np.testing.assert_allclose(tiled.var, whole.var, atol=1e-5)


def test_weights_rebuild_the_denoiser():
    frames = np.random.default_rng(0).normal(size=(3, 8, 8)).astype(np.float32)
    valid = np.ones(frames.shape, bool)
    denoiser = build(PIXEL, width=8, centre=2.0, spread=3.0, seed=4)
    again = from_weights(weights_of(denoiser), PIXEL, width=8)
    np.testing.assert_array_equal(
        predict_blind(again, frames, valid).mean, predict_blind(denoiser, frames, valid).mean
    )
    with pytest.raises(InputError, match="do not belong"):
        from_weights(weights_of(denoiser), FRAME, width=8)
    with pytest.raises(InputError, match="has shape"):
        from_weights(weights_of(denoiser), PIXEL, width=12)


def test_likelihood_is_differentiable_in_the_weights():
    frames = np.random.default_rng(0).normal(size=(3, 8, 8)).astype(np.float32)
    denoiser = build(PIXEL, width=8, centre=0.0, spread=1.0, seed=0)
    arrays = prepare(denoiser, frames, np.ones(frames.shape, bool))
    context, centre, seen = (a[None] for a in arrays.view(1, 0, 0, (8, 8)))

    def loss(state):
        changed = eqx.tree_at(lambda d: d.state, denoiser, state)
        return Gaussian(0.5).blind_nll(changed(context, centre, seen), centre).mean()

    # At the start the gates are closed: the filters behind them have no slope yet.
    opened = jax.tree.map(lambda w: w + 0.01, denoiser.state)
    slope = jax.jit(jax.grad(loss))(opened)
    assert all(bool(jnp.all(jnp.isfinite(g)) and jnp.any(g != 0)) for g in jax.tree.leaves(slope))
