"""The laws of every registered noise model: moments, density, posterior, scaling, stabilisation; a new one is covered by being registered."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phdenoise.noise.models import (
    NOISE_MODELS,
    Correlated,
    Gaussian,
    NoiseModel,
    Poisson,
    PoissonGaussian,
    noise_from_parameters,
)
from phdenoise.noise.models.base import Rescaled
from phdenoise.types import Moments
from phdenoise.types import NoiseModel as Contract

RHO = np.outer([0.25, 1, 0.25], [0.5, 1, 0.5])
MODELS = {
    "Gaussian": [Gaussian(0.7)],
    "Poisson": [Poisson(1.0, 0.0), Poisson(2.5, -3.0)],
    "PoissonGaussian": [PoissonGaussian(1.5, 1.0, 0.8)],
    "Correlated": [PoissonGaussian(1.5, 1.0, 0.8).correlated(RHO)],
}
CASES = [model for models in MODELS.values() for model in models]
every = pytest.mark.parametrize("model", CASES, ids=lambda m: type(m).__name__)
levels = st.floats(3.0, 60.0)
few = settings(deadline=None, max_examples=4)


def test_every_registered_model_is_here():
    assert set(MODELS) == set(NOISE_MODELS)
    for name, models in MODELS.items():
        assert all(type(model) is NOISE_MODELS[name] for model in models)
        assert all(
            isinstance(model, NoiseModel) and isinstance(model, Contract) for model in models
        )


@every
@few
@given(level=levels, seed=st.integers(0, 99))
def test_samples_have_the_stated_mean_and_variance(model, level, seed):
    clean = jnp.full((200, 200), level, jnp.float32)
    noisy = model.sample(jax.random.key(seed), clean)
    variance = float(model.variance(clean)[0, 0])
    # Correlated pixels are fewer independent ones.
    count = noisy.size / np.sum(RHO**2) if isinstance(model, Correlated) else noisy.size
    spread = np.sum(RHO) * np.sqrt(variance / noisy.size)
    assert float(noisy.mean()) == pytest.approx(level, abs=5 * spread)
    assert float(noisy.var()) == pytest.approx(variance, rel=6 * np.sqrt(3 / count))


@every
@few
@given(level=levels)
def test_the_density_integrates_to_one(model, level):
    if isinstance(model, Poisson):
        values = model.offset + model.gain * jnp.arange(400.0)
        width = float(model.gain)
    else:
        values = jnp.linspace(-100.0, 200.0, 30001)
        width = 0.01
    density = jnp.exp(model.log_prob(values, jnp.full_like(values, level)))
    assert float(density.sum()) * width == pytest.approx(1.0, abs=1e-3)


@every
@few
@given(level=levels, spread=st.floats(0.05, 1.0), seed=st.integers(0, 99))
def test_a_measurement_makes_the_posterior_narrower_and_better(model, level, spread, seed):
    """On clean values drawn from the prior: less error than the blind prediction, in the mean."""
    first, second = jax.random.split(jax.random.key(seed))
    clean = level + spread * jax.random.normal(first, (100, 100))
    blind = Moments(jnp.full(clean.shape, level), jnp.full(clean.shape, spread**2))
    noisy = model.sample(second, clean)
    for conjugate in {False, model.has_conjugate}:
        mean, var = model.posterior(blind, noisy, conjugate=conjugate)
        assert 0 < float(var.mean()) < spread**2
        prior_error = (clean - blind.mean) ** 2
        gain = prior_error - (clean - mean) ** 2
        chance = float(gain.std()) / 100 * np.sum(RHO)
        assert float(gain.mean()) > -4 * chance
        blank = model.posterior(blind, jnp.full_like(noisy, jnp.nan), conjugate=conjugate)
        np.testing.assert_array_equal(blank.mean, blind.mean)
        np.testing.assert_array_equal(blank.var, blind.var)


@every
@few
@given(level=levels, seed=st.integers(0, 99))
def test_the_true_prior_has_the_best_blind_likelihood(model, level, seed):
    first, second = jax.random.split(jax.random.key(seed))
    clean = jnp.maximum(level + 2 * jax.random.normal(first, (200, 200)), 1.0)
    noisy = model.sample(second, clean)

    def score(mean, sd):
        blind = Moments(jnp.full(clean.shape, mean), jnp.full(clean.shape, sd**2))
        return [
            float(model.blind_nll(blind, noisy, conjugate=c).mean())
            for c in sorted({False, model.has_conjugate})
        ]

    best = score(level, 2.0)
    for other in (score(level + 2, 2.0), score(level - 2, 2.0), score(level, 6.0)):
        assert all(a < b for a, b in zip(best, other, strict=True))


@every
@few
@given(level=levels, factor=st.floats(0.2, 4.0), seed=st.integers(0, 99))
def test_scaling_and_sampling_commute(model, level, factor, seed):
    """A sample of the scaled noise has the variance of √factor times the noise."""
    clean = jnp.full((200, 200), level, jnp.float32)
    after = model.scaled(factor)
    if isinstance(model, Poisson) and float(model.gain) == 1:
        assert after == model  # Counts have the variance that they have.
        return
    np.testing.assert_allclose(after.variance(clean), factor * model.variance(clean), rtol=1e-5)
    count = clean.size / np.sum(RHO**2)
    noisy = after.sample(jax.random.key(seed), clean)
    stretched = clean + factor**0.5 * (model.sample(jax.random.key(seed + 1), clean) - clean)
    assert float(noisy.var()) == pytest.approx(float(stretched.var()), rel=8 * np.sqrt(3 / count))


def test_any_model_can_be_scaled():
    """By the default, which knows nothing of the model: exact samples, density and variance."""
    base, x, y = Gaussian(0.7), jnp.linspace(0.0, 5.0, 9), jnp.linspace(-1.0, 6.0, 9)
    scaled, key = Rescaled(base, 2.0), jax.random.key(1)
    same = Gaussian(0.7 * 2**0.5)
    np.testing.assert_allclose(scaled.sample(key, x), same.sample(key, x), rtol=1e-5)
    np.testing.assert_allclose(scaled.variance(x), same.variance(x), rtol=1e-5)
    np.testing.assert_allclose(scaled.log_prob(y, x), same.log_prob(y, x), rtol=1e-5)


@every
@few
@given(level=levels, seed=st.integers(0, 99))
def test_the_estimated_variance_is_right_in_the_mean(model, level, seed):
    clean = jnp.full((200, 200), level, jnp.float32)
    noisy = model.sample(jax.random.key(seed), clean)
    expected = float(model.variance(clean)[0, 0])
    assert float(model.estimated_variance(noisy).mean()) == pytest.approx(expected, rel=0.08)
    blind = Moments(clean, jnp.full_like(clean, 0.1))
    np.testing.assert_allclose(model.expected_variance(blind), model.variance(clean), rtol=1e-3)


@every
@pytest.mark.parametrize("level", [8.0, 40.0])
def test_stabilised_noise_has_one_standard_deviation_and_comes_back(model, level):
    clean = np.full((20, 50, 50), level)
    noisy = np.asarray(model.sample(jax.random.key(0), jnp.asarray(clean, jnp.float32)), float)
    change = model.stabiliser(noisy, np.ones(clean.shape, bool))
    stable = change.forward(noisy)
    assert stable.std() == pytest.approx(change.sigma, rel=0.05)
    np.testing.assert_allclose(change.variance(stable).mean(), stable.var(), rtol=0.1)
    mean, _ = change.inverse(np.full((1, 1, 1), stable.mean()), np.ones((1, 1, 1)))
    assert mean.item() == pytest.approx(level, rel=0.02)


def test_files_of_earlier_versions_are_read():
    old = {"autocorrelation": RHO, "gain": 1.0, "offset": 0.0, "read_sigma": 0.5, "lasting": [0.4]}
    model = noise_from_parameters("Correlated", {k: np.asarray(v) for k, v in old.items()})
    assert isinstance(model, Correlated)
    assert float(model.temporal_correlation[0]) == pytest.approx(0.4)
    assert noise_from_parameters("Unheard", {}) is None


@every
def test_gradients_reach_every_parameter(model):
    clean, noisy = jnp.full((8, 8), 5.0), jnp.full((8, 8), 6.0)
    slope = jax.grad(lambda m: m.log_prob(noisy, clean).sum())(model)
    for name in {"sigma", "gain", "offset", "read_sigma"} & set(vars(model)):
        assert np.isfinite(getattr(slope, name)), name
        assert getattr(slope, name) != 0, name


def test_the_variance_is_the_photon_transfer_line():
    clean = jnp.asarray([0.0, 1.0, 5.0])
    np.testing.assert_allclose(
        PoissonGaussian(2.0, 1.0, 3.0).variance(clean), [9.0, 9.0, 17.0], rtol=1e-3
    )
