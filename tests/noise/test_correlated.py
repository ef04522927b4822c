"""Correlated noise: drawn with the asked autocorrelation and variance on any frame, and found again in a movie."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from phdenoise.noise.estimate import estimate_noise
from phdenoise.noise.models import Gaussian, Poisson, PoissonGaussian
from phdenoise.noise.models.gaussian import Correlated, predictable_share
from phdenoise.types import InputError, NoiseModel

TRIANGLE = np.array([1 / 3, 2 / 3, 1, 2 / 3, 1 / 3])
BOX = np.outer(TRIANGLE, TRIANGLE)
LINE = 1 - np.abs(np.arange(-8, 9))[None] / 9


def measured(field, dy, dx):
    """Correlation of [t, y, x] at one lag, dy and dx not negative."""
    a = field[:, dy:, dx:]
    b = field[:, : field.shape[1] - dy, : field.shape[2] - dx]
    return np.mean(a * b) / np.mean(field**2)


@pytest.mark.parametrize("rho", [BOX, LINE], ids=["box", "line"])
def test_autocorrelation_is_that_asked_for(rho):
    model = Gaussian(0.5).correlated(rho)
    clean = jnp.zeros((60, 50, 70), jnp.float32)
    noise = np.asarray(model.sample(jax.random.key(0), clean), np.float64)
    assert noise.std() == pytest.approx(0.5, rel=0.02)
    ky, kx = (n // 2 for n in rho.shape)
    for dy in range(min(ky, 3) + 2):
        for dx in range(kx + 2):
            want = rho[ky + dy, kx + dx] if dy <= ky and dx <= kx else 0.0
            assert measured(noise, dy, dx) == pytest.approx(want, abs=0.03)
    # Frames are independent, opposite edges are not neighbours.
    assert np.mean(noise[1:] * noise[:-1]) / 0.25 == pytest.approx(0, abs=0.02)
    assert np.mean(noise[:, :, 0] * noise[:, :, -1]) / 0.25 == pytest.approx(0, abs=0.1)


@pytest.mark.slow
@settings(deadline=None, max_examples=6)
@given(
    st.integers(1, 40), st.integers(1, 40), st.integers(0, 4), st.integers(0, 4), st.integers(0, 99)
)
def test_any_frame_any_map(ny, nx, ry, rx, seed):
    """Unit variance whatever the size, even for a map that no noise can have."""
    rng = np.random.default_rng(seed)
    rho = rng.uniform(-1, 1, (2 * ry + 1, 2 * rx + 1))
    rho[ry, rx] = 1
    model = Gaussian(1.0).correlated(rho)
    clean = jnp.zeros((int(np.ceil(4e4 / (ny * nx))), ny, nx), jnp.float32)
    field = np.asarray(model.unit_field(jax.random.key(seed), clean))
    assert field.shape == clean.shape
    assert np.isfinite(field).all()
    # A strongly correlated frame is one sample.
    assert np.mean(field**2) == pytest.approx(1, abs=8 / np.sqrt(clean.shape[0]) + 0.05)


@pytest.mark.parametrize(
    "model", [Gaussian(0.3), Poisson(2.0, 1.0), PoissonGaussian(2.0, 1.0, 0.7)], ids=str
)
def test_variance_is_that_of_the_pointwise_model(model):
    clean = jnp.linspace(2.0, 40.0, 50, dtype=jnp.float32)
    ours = model.correlated(BOX)
    assert isinstance(ours, NoiseModel)
    np.testing.assert_allclose(ours.variance(clean), model.variance(clean), rtol=1e-5)
    if not isinstance(model, Poisson):
        noisy = clean + 1
        np.testing.assert_allclose(
            ours.log_prob(noisy, clean), model.log_prob(noisy, clean), rtol=1e-4
        )


def test_sample_spreads_with_the_intensity():
    model = PoissonGaussian(2.0, 1.0, 0.7).correlated(BOX)
    clean = jnp.broadcast_to(jnp.array([5.0, 50.0])[:, None, None], (2, 200, 200))
    noisy = np.asarray(model.sample(jax.random.key(1), clean))
    np.testing.assert_allclose(noisy.var(axis=(1, 2)), [8.49, 98.49], rtol=0.08)


def test_the_movie_tells_its_own_model():
    t, y, x = np.mgrid[:16, :96, :80].astype(float)
    clean = jnp.asarray(100 + 50 * np.sin((x - 0.5 * t) / 7) * np.cos(y / 9), jnp.float32)
    truth = PoissonGaussian(2.0, 0.0, 3.0).correlated(BOX)
    found = estimate_noise(np.asarray(truth.sample(jax.random.key(0), clean))).correlated()
    np.testing.assert_allclose(found.variance(clean), truth.variance(clean), rtol=0.1)
    r = found.autocorrelation.shape[0] // 2
    near = np.asarray(found.autocorrelation)[r - 2 : r + 3, r - 2 : r + 3]
    np.testing.assert_allclose(near, BOX, atol=0.04)


def test_single_precision_stays_and_double_too(x64):
    for dtype in (jnp.float32, jnp.float64):
        model = Gaussian(1.0).correlated(BOX)
        assert model.sample(jax.random.key(0), jnp.zeros((2, 8, 8), dtype)).dtype == dtype


def test_the_spread_is_differentiable():
    def power(read):
        model = Correlated(jnp.asarray(BOX), jnp.zeros(()), jnp.zeros(()), read)
        return jnp.mean(model.sample(jax.random.key(0), jnp.zeros((4, 16, 16))) ** 2)

    assert float(jax.grad(power)(jnp.float32(2.0))) == pytest.approx(
        float(power(jnp.float32(2.0))), rel=1e-3
    )


@pytest.mark.parametrize(
    "rho", [np.ones((2, 3)), np.full((3, 3), np.nan), np.zeros((3, 3))], ids=str
)
def test_impossible_maps_are_refused(rho):
    with pytest.raises(InputError, match="odd sides"):
        Gaussian(1.0).correlated(rho)


@pytest.mark.parametrize("hidden", [0, 1, 2])
def test_noise_predicted_from_outside_is_that_of_a_markov_chain(hidden):
    """Of a chain whose neighbours correlate by a, the two nearest pixels seen, k away, tell 2 a^2k / (1 + a^2k)."""
    a, k = 0.5, hidden + 1
    rho = np.zeros((25, 25))
    rho[12] = a ** np.abs(np.arange(-12, 13))
    want = 2 * a ** (2 * k) / (1 + a ** (2 * k))
    assert predictable_share(rho, (0, hidden)) == pytest.approx(want, rel=0.03)
    # The same down a column, and hidden across the chain only.
    assert predictable_share(rho.T, (hidden, 0)) == pytest.approx(want, rel=0.03)
    assert predictable_share(rho, (hidden, 0)) == pytest.approx(2 * a**2 / (1 + a**2), rel=0.03)


@pytest.mark.parametrize(("width", "half"), [((1, 3), (0, 2)), ((3, 3), (2, 2)), ((1, 15), None)])
def test_a_shelter_is_as_wide_as_the_noise_reaches(width, half):
    white = np.random.default_rng(0).normal(size=(20, 80, 80))
    found = estimate_noise(ndimage.uniform_filter(white, (0, *width)).astype(np.float32))
    assert found.blind == "frame"
    shelter = found.blind_half_width()
    if half is None:
        assert shelter is None
    else:
        # By chance a pixel more.
        assert all(a <= b <= a + 1 for a, b in zip(half, shelter, strict=True))
