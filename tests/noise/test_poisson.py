"""Counts: the likelihood is a distribution over whole counts, and the posterior is what quadrature says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from phdenoise.noise.models import Gaussian, Poisson
from phdenoise.types import Moments

CASES = [(0.3, 0.05), (2.0, 0.5), (2.0, 9.0), (50.0, 4.0), (400.0, 0.1)]


def moments(mean, var, shape, gain=1.0, offset=0.0):
    return Moments(jnp.full(shape, offset + gain * mean), jnp.full(shape, gain**2 * var))


@pytest.mark.parametrize(("mean", "var"), CASES)
def test_the_likelihood_is_that_of_scipy_and_sums_to_one(mean, var):
    counts = np.arange(0, 3000.0)
    gain, offset = 2.5, 10.0
    blind = moments(mean, var, counts.shape, gain, offset)
    noisy = jnp.asarray(offset + gain * counts, jnp.float32)
    nll = Poisson(gain, offset).blind_nll(blind, noisy, conjugate=True)
    # A density per intensity: a count is a gain wide.
    mass = np.exp(-np.asarray(nll, float)) * gain
    assert mass.sum() == pytest.approx(1.0, abs=2e-3)
    a, b = mean**2 / var, mean / var
    expected = stats.nbinom.pmf(counts, a, b / (b + 1))
    np.testing.assert_allclose(mass, expected, rtol=0.01, atol=1e-4 * expected.max())


@pytest.mark.parametrize(("mean", "var"), CASES)
@pytest.mark.parametrize("count", [0.0, 3.0, 60.0])
def test_the_posterior_is_that_of_quadrature(mean, var, count):
    a, b = mean**2 / var, mean / var
    rate = np.exp(np.linspace(np.log(1e-12), np.log(2000.0), 400_000))
    log = stats.poisson.logpmf(count, rate) + stats.gamma.logpdf(rate, a, scale=1 / b)
    weight = rate * np.exp(log - log.max())
    expected = (weight * rate).sum() / weight.sum()
    spread = (weight * (rate - expected) ** 2).sum() / weight.sum()
    y = jnp.full((1,), 3.0 + 0.5 * count, jnp.float32)
    after = Poisson(0.5, 3.0).posterior(moments(mean, var, (1,), 0.5, 3.0), y, conjugate=True)
    tolerance = 0.01 if mean < 1 else 2e-3
    assert (float(after[0][0]) - 3.0) / 0.5 == pytest.approx(expected, rel=tolerance)
    assert float(after[1][0]) / 0.25 == pytest.approx(spread, rel=2 * tolerance)


def test_many_counts_are_gaussian():
    y = jnp.linspace(950.0, 1050.0, 11)
    blind = moments(1000.0, 30.0, y.shape)
    np.testing.assert_allclose(
        Poisson().blind_nll(blind, y, conjugate=True),
        Gaussian(np.sqrt(1000.0)).blind_nll(blind, y),
        atol=0.05,
    )


def test_the_slope_of_the_mean_is_that_of_a_count_and_finite_in_the_dark():
    def loss(mean, var, y):
        return Poisson().blind_nll(Moments(mean, var), y, conjugate=True)

    m, v, y = jnp.float32(4.0), jnp.float32(1.5), jnp.float32(7.0)
    assert float(jax.grad(loss)(m, v, y)) == pytest.approx((4.0 - 7.0) / (4.0 + 1.5), rel=1e-3)
    for mean in (-2.0, 0.0, 1e-3):
        for y in (0.0, 5.0):
            slopes = jax.grad(loss, (0, 1))(jnp.float32(mean), jnp.float32(0.1), jnp.float32(y))
            assert np.all(np.isfinite(slopes))
            # A prediction that is too dark for its count is pulled up.
            assert y == 0.0 or float(slopes[0]) < 0
