"""Noise models: sampled moments agree with the stated ones, densities are normalised."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phdenoise.noise import Gaussian, Poisson, PoissonGaussian
from phdenoise.noise.models import scaled
from phdenoise.types import NoiseModel

MODELS = [
    Gaussian(0.7),
    Poisson(1.0, 0.0),
    Poisson(2.5, -3.0),
    PoissonGaussian(1.5, 1.0, 0.8),
]


def test_a_scaled_model_has_so_much_variance():
    level = jnp.array([3.0, 10.0, 40.0])
    for model in [Gaussian(0.7), Poisson(2.5, -3.0), PoissonGaussian(1.5, 1.0, 0.8)]:
        after = scaled(model, 0.3)
        np.testing.assert_allclose(after.variance(level), 0.3 * model.variance(level), rtol=1e-5)
        assert type(after) is type(model)
    # Counts have the variance that they have.
    assert scaled(Poisson(1.0, 0.0), 0.3) == Poisson(1.0, 0.0)


@pytest.mark.parametrize("model", MODELS, ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("level", [4.0, 20.0])
def test_samples_have_the_stated_mean_and_variance(model, level):
    clean = jnp.full((200, 200), level)
    noisy = model.sample(jax.random.key(0), clean)
    variance = float(model.variance(clean)[0, 0])
    count = noisy.size
    assert float(noisy.mean()) == pytest.approx(level, abs=5 * np.sqrt(variance / count))
    assert float(noisy.var()) == pytest.approx(variance, rel=0.05)
    assert isinstance(model, NoiseModel)


def test_variance_is_the_photon_transfer_line():
    clean = jnp.asarray([0.0, 1.0, 5.0])
    np.testing.assert_allclose(
        PoissonGaussian(2.0, 1.0, 3.0).variance(clean), [9.0, 9.0, 17.0], rtol=1e-3
    )


@pytest.mark.parametrize("model", [MODELS[0], MODELS[3]], ids=["gaussian", "poisson-gaussian"])
def test_density_integrates_to_one(model):
    grid = jnp.linspace(-60, 80, 20001)
    density = jnp.exp(model.log_prob(grid, jnp.full_like(grid, 6.0)))
    assert float(jnp.sum(density) * (grid[1] - grid[0])) == pytest.approx(1.0, abs=1e-3)


def test_poisson_mass_sums_to_one_and_peaks_at_the_mean():
    counts = jnp.arange(100.0)
    mass = jnp.exp(Poisson(1.0, 0.0).log_prob(counts, jnp.full_like(counts, 12.3)))
    assert float(mass.sum()) == pytest.approx(1.0, abs=1e-4)
    assert int(jnp.argmax(mass)) == 12


def test_gradient_reaches_the_parameters():
    clean, noisy = jnp.full((8, 8), 5.0), jnp.full((8, 8), 6.0)
    slope = jax.grad(lambda m: m.log_prob(noisy, clean).sum())(MODELS[3])
    assert all(np.isfinite(leaf) and leaf != 0 for leaf in jax.tree.leaves(slope))
