"""Channels into components and back: exact, white, and the best of what all channels know."""

import numpy as np
import pytest

from phdenoise.denoising.noise_adjusted_pca import (
    component_noise,
    error_correlation,
    joint_posterior,
    predictability,
    principal,
    separate,
    signal_power,
)

RNG = np.random.default_rng(0)
ALL = np.ones((6, 24, 20), bool)
NOISE = np.array([[0.04, 0.01, 0.0], [0.01, 0.09, 0.03], [0.0, 0.03, 0.36]])


def _scene(seed=0, shape=(6, 24, 20)):
    t, y, x = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    phase = np.random.default_rng(seed).uniform(0, 6, 3)
    return np.sin(x / 3 + 0.1 * t + phase[0]) * np.cos(y / 4 + phase[1]) + 0.3 * np.sin(
        y / 2 + phase[2]
    )


def _noisy(colours, seed=1):
    clean = np.tensordot(
        np.asarray(colours), np.stack([_scene(k) for k in range(len(colours[0]))]), 1
    )
    white = np.random.default_rng(seed).standard_normal(clean.shape)
    return clean + np.tensordot(np.linalg.cholesky(NOISE), white, 1)


RANK_ONE = _noisy([[1.0], [-0.5], [0.7]])


@pytest.mark.parametrize("make", [principal, separate])
def test_there_and_back_is_the_identity(make):
    mixing = make(RANK_ONE, ALL, NOISE)
    back = mixing.channels(mixing.components(RANK_ONE))
    np.testing.assert_allclose(back, RANK_ONE, atol=1e-12)


def test_components_have_white_noise_and_uncorrelated_signal():
    mixing = principal(RANK_ONE, ALL, NOISE)
    np.testing.assert_allclose(mixing.into @ NOISE @ mixing.into.T, np.eye(3), atol=1e-12)
    total = np.cov(mixing.components(RANK_ONE).reshape(3, -1), bias=True)
    np.testing.assert_allclose(total - np.diag(np.diag(total)), 0, atol=1e-9)
    assert mixing.power[0] > 10 > 0.2 > mixing.power[1]


def test_order_and_units_of_channels_do_not_matter():
    base = principal(RANK_ONE, ALL, NOISE)
    order, scale = [2, 0, 1], np.array([1.0, 1000.0, 1e-3])
    other = principal(
        (RANK_ONE * scale[:, None, None, None])[order],
        ALL,
        (NOISE * np.outer(scale, scale))[np.ix_(order, order)],
    )
    np.testing.assert_allclose(other.power, base.power, atol=1e-9)
    np.testing.assert_allclose(
        other.components((RANK_ONE * scale[:, None, None, None])[order])[0],
        base.components(RANK_ONE)[0],
        atol=1e-9,
    )


def test_mixing_is_chosen_where_channels_share_the_scene_and_only_there():
    def gain(frames):
        single, mixed = (
            predictability(m(frames, ALL, NOISE), frames, ALL) for m in (separate, principal)
        )
        return single - mixed

    assert gain(RANK_ONE) > 0.02
    assert gain(_noisy(np.eye(3))) < 0.002


def test_determinant_compares_mixings_in_any_unit():
    single = separate(RANK_ONE, ALL, NOISE)
    scaled = separate(1000 * RANK_ONE, ALL, 1e6 * NOISE)
    shift = predictability(scaled, 1000 * RANK_ONE, ALL) - predictability(single, RANK_ONE, ALL)
    assert shift == pytest.approx(3 * np.log(1000), abs=1e-4)


def test_signal_is_found_in_space_in_time_and_in_a_spot_but_not_in_noise():
    shape = (10, 48, 48)
    valid = np.ones(shape, bool)
    noise = [np.random.default_rng(k).standard_normal(shape) for k in range(12)]
    assert sum(signal_power(n, valid)[1] for n in noise) <= 1
    assert all(signal_power(n, valid)[0] < 0.01 for n in noise)
    power, found = signal_power(noise[0] + 0.3 * _scene(0, shape), valid)
    assert found
    assert power == pytest.approx(0.09 * np.mean(_scene(0, shape) ** 2), rel=0.35)
    spot = np.zeros(shape)
    spot[4:7, 20:24, 20:24] = 2.5
    assert signal_power(noise[0] + spot, valid)[1]
    fixed = np.random.default_rng(99).standard_normal(shape[1:])
    assert signal_power(noise[0] + 0.4 * fixed, valid)[1]


def test_one_frame_tells_nothing_apart():
    power, found = signal_power(np.full((1, 8, 8), 2.0), np.ones((1, 8, 8), bool))
    assert found
    assert power == 4.0


def test_identity_where_nothing_is_predicted():
    """A blind prediction that knows nothing leaves the measurement; one without a measurement, the prediction."""
    blind, noisy = RNG.normal(size=(2, 3, 50))
    variance = np.full((3, 50), 0.1)
    wide = np.broadcast_to(1e9 * np.eye(3), (50, 3, 3))
    mean, cov = joint_posterior(blind, wide, noisy, variance, np.eye(3))
    np.testing.assert_allclose(mean, noisy, atol=1e-6)
    np.testing.assert_allclose(cov, np.broadcast_to(0.1 * np.eye(3), cov.shape), atol=1e-6)
    some = np.broadcast_to(0.05 * np.eye(3), (50, 3, 3))
    mean, cov = joint_posterior(blind, some, np.full_like(noisy, np.nan), variance, np.eye(3))
    np.testing.assert_allclose(mean, blind, atol=1e-6)
    np.testing.assert_allclose(cov, some, atol=1e-6)


def test_posterior_is_the_least_squares_estimate_with_its_covariance():
    """On draws from the model itself: covariance of the error as claimed, and no smaller one."""
    n = 200_000
    sigma = np.array([[1.0, 0.8, 0.1], [0.8, 1.0, 0.2], [0.1, 0.2, 0.5]])
    rho = np.array([[1.0, 0.3, 0.0], [0.3, 1.0, 0.0], [0.0, 0.0, 1.0]])
    sd = np.array([0.5, 3.0, 1.0])
    rng = np.random.default_rng(5)
    error = np.linalg.cholesky(sigma) @ rng.standard_normal((3, n))
    noise = sd[:, None] * (np.linalg.cholesky(rho) @ rng.standard_normal((3, n)))
    truth = rng.uniform(size=(3, n))
    mean, cov = joint_posterior(
        truth + error,
        np.broadcast_to(sigma, (n, 3, 3)),
        truth + noise,
        np.broadcast_to(sd[:, None] ** 2, (3, n)),
        rho,
    )
    np.testing.assert_allclose(np.cov(mean - truth), cov[0], atol=0.01)
    # The second channel, five times noisier, profits from the first one's measurement.
    alone = sigma[1, 1] * 9 / (sigma[1, 1] + 9)
    assert cov[0, 1, 1] < 0.6 * alone


def test_error_correlation_is_recovered_and_chance_is_not():
    n = 100_000
    rng = np.random.default_rng(3)
    truth = np.array([[1.0, 0.6, 0.0], [0.6, 1.0, 0.0], [0.0, 0.0, 1.0]])
    s = np.array([0.1, 0.2, 0.05])
    error = np.sqrt(s)[:, None] * (np.linalg.cholesky(truth) @ rng.standard_normal((3, n)))
    found = error_correlation(error + rng.standard_normal((3, n)), s, np.eye(3))
    assert found[0, 1] == pytest.approx(0.6, abs=0.1)
    assert found[0, 2] == found[1, 2] == 0


def test_counting_noise_is_a_line_of_the_brightest_component():
    clean = np.stack([20 + 8 * _scene(), 60 + 24 * _scene()])
    mixing = principal(clean, ALL, np.diag(clean.mean(axis=(1, 2, 3))))
    slope, level, variance = component_noise(mixing, clean, ALL, clean, np.eye(2))[0]
    u = mixing.components(clean)[0]
    expected = np.einsum("c,c...->...", mixing.into[0] ** 2, clean)
    np.testing.assert_allclose(variance + slope * (u - level), expected, rtol=0.03)
    flat = component_noise(mixing, clean, ALL, np.full_like(clean, 2.0), np.eye(2))
    assert all(line[0] == 0 for line in flat)
