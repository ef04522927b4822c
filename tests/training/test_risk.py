"""SURE and PURE: equal to the true mean squared error within their own deviation, and good to train on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from phdenoise.noise.models import Gaussian, Poisson, PoissonGaussian
from phdenoise.training.risk import pure, sure
from phdenoise.types import InputError

SHAPE = (6, 64, 48)
TRIANGLE = np.array([1 / 3, 2 / 3, 1, 2 / 3, 1 / 3])
BOX = np.outer(TRIANGLE, TRIANGLE)


def scene(shape=SHAPE):
    """A drifting pattern of values in 0.1..0.9."""
    t, y, x = np.mgrid[: shape[0], : shape[1], : shape[2]].astype(np.float32)
    return jnp.asarray(0.5 + 0.2 * np.sin((x - t) / 2) + 0.2 * np.cos((y + t) / 3), jnp.float32)


def blur(width):
    """Gaussian filter in space by Fourier transform, differentiable in its width [px]."""

    def denoise(y):
        f = jnp.hypot(
            jnp.fft.fftfreq(y.shape[1])[:, None] * jnp.ones((1, y.shape[2])),
            jnp.fft.fftfreq(y.shape[2])[None] * jnp.ones((y.shape[1], 1)),
        )
        response = jnp.exp(-2 * (jnp.pi * width * f) ** 2)[None]
        return jnp.fft.ifft2(jnp.fft.fft2(y) * response).real

    return denoise


def bilateral(scale):
    """Mean over 3x3 of values within about `scale`: strongly curved."""

    def denoise(y):
        total, weight = y, jnp.ones_like(y)
        for shift in ((0, 1), (1, 0), (1, 1), (1, -1), (0, -1), (-1, 0), (-1, -1), (-1, 1)):
            other = jnp.roll(y, shift, (1, 2))
            w = jnp.exp(-(((other - y) / scale) ** 2) / 2)
            total, weight = total + w * other, weight + w
        return total / weight

    return denoise


CASES = {
    "gaussian": (Gaussian(0.2), 1.0),
    "correlated": (Gaussian(0.2).correlated(BOX), 1.0),
    "poisson2": (Poisson(), 2.0),
    "poisson20": (Poisson(0.5, 3.0), 10.0),
    "mixed": (PoissonGaussian(2.0, 3.0, 4.0), 30.0),
}


def estimates(case, denoise, count=40):
    """Estimate, its stated deviation and the truth, for one noisy movie a key."""
    model, scale = CASES[case]
    clean = scene() * scale + (0.0 if case == "poisson2" else 3.0)
    risk = pure if isinstance(model, Poisson | PoissonGaussian) else sure

    @jax.jit
    def one(key):
        first, second = jax.random.split(key)
        noisy = model.sample(first, clean)
        found = risk(denoise, noisy, model, second)
        return jnp.stack([found.value, found.sd, jnp.mean((denoise(noisy) - clean) ** 2)])

    return np.asarray([one(k) for k in jax.random.split(jax.random.key(0), count)]).T


@pytest.mark.parametrize("case", CASES)
def test_the_estimate_is_unbiased_and_knows_its_deviation(case):
    value, sd, truth = estimates(case, blur(1.0))
    error = value - truth
    assert abs(error.mean()) < 4 * error.std() / np.sqrt(error.size)
    assert np.mean(np.abs(error) < 3 * sd) > 0.9
    assert sd.mean() < 0.3 * truth.mean()
    assert 0.6 < sd.mean() / error.std() < 2.5


@pytest.mark.parametrize(
    ("case", "bias"),
    [("gaussian", 0.02), ("correlated", 0.05), ("poisson20", 0.03), ("mixed", 0.04)],
)
def test_curved_denoisers_too(case, bias):
    model, scale = CASES[case]
    level = float(jnp.sqrt(jnp.mean(model.variance(scene() * scale + 3.0))))
    value, _, truth = estimates(case, bilateral(2 * level))
    error = value - truth
    spread = 4 * error.std() / np.sqrt(error.size)
    assert abs(error.mean()) < spread + bias * truth.mean()


def test_no_denoising_leaves_the_noise():
    """f(y) = y has the risk of the noise's variance, exactly for SURE."""
    model, key = Gaussian(0.3), jax.random.key(0)
    noisy = model.sample(key, scene())
    assert float(sure(lambda y: y, noisy, model, key).value) == pytest.approx(0.09, rel=1e-4)
    counts = Poisson().sample(key, 20 * scene())
    found = pure(lambda y: y, counts, Poisson(), key)
    assert float(found.value) == pytest.approx(float(counts.mean()), rel=1e-4)


def test_a_constant_answer_has_no_divergence():
    """f(y) = c: SURE = ⟨(c − y)²⟩ − σ²."""
    model, key = Gaussian(0.3), jax.random.key(0)
    noisy = model.sample(key, scene())
    found = sure(lambda y: jnp.full_like(y, 0.5), noisy, model, key)
    assert float(found.value) == pytest.approx(float(jnp.mean((0.5 - noisy) ** 2)) - 0.09, rel=1e-4)


def test_black_boxes_by_steps():
    """A SciPy filter, and the same risk by steps as by differentiation."""
    model, key = Gaussian(0.2), jax.random.key(1)
    noisy = model.sample(jax.random.key(2), scene())

    def median(y):
        return ndimage.median_filter(np.asarray(y), (1, 3, 3))

    found = sure(median, noisy, model, key, step=0.1)
    truth = float(np.mean((median(noisy) - scene()) ** 2))
    assert abs(float(found.value) - truth) < 4 * float(found.sd)
    exact, stepped = (sure(bilateral(0.4), noisy, model, key, step=s).value for s in (None, 0.01))
    assert float(stepped) == pytest.approx(float(exact), rel=1e-2)
    counts = Poisson().sample(key, 20 * scene())
    exact, stepped = (
        pure(bilateral(8.0), counts, Poisson(), key, step=s).value for s in (None, 0.1)
    )
    assert float(stepped) == pytest.approx(float(exact), rel=2e-2)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["gaussian", "poisson20"])
def test_it_trains(case):
    """Descent on the risk finds the filter width of least true error, without the truth."""
    model, scale = CASES[case]
    clean = scene() * scale + 3.0
    noisy = model.sample(jax.random.key(5), clean)
    risk = sure if case == "gaussian" else pure
    widths = jnp.linspace(0.3, 1.5, 25)
    true = jax.lax.map(lambda w: jnp.mean((blur(w)(noisy) - clean) ** 2), widths)
    found = jax.lax.map(lambda w: risk(blur(w), noisy, model, jax.random.key(6)).value, widths)
    assert true[found.argmin()] < 1.03 * true.min()

    def loss(width):
        return risk(blur(width), noisy, model, jax.random.key(6)).value / scale**2

    for width in (0.4, 0.9):
        slope = float(jax.grad(loss)(jnp.float32(width)))
        numeric = float(loss(jnp.float32(width + 0.02)) - loss(jnp.float32(width - 0.02))) / 0.04
        assert slope == pytest.approx(numeric, rel=0.05, abs=1e-4)


@pytest.mark.slow
@settings(deadline=None, max_examples=5)
@given(st.integers(1, 3), st.integers(2, 20), st.integers(2, 20), st.floats(0.1, 0.9))
def test_masked_values_do_not_count(t, ny, nx, share):
    rng = np.random.default_rng(0)
    valid = rng.random((t, ny, nx)) < share
    valid[0, 0, 0] = True
    noisy = rng.normal(size=(t, ny, nx)).astype(np.float32)
    spoiled = np.where(valid, noisy, 1e6).astype(np.float32)
    model, key = Gaussian(1.0), jax.random.key(0)
    half = [
        sure(lambda y: y / 2, jnp.asarray(a), model, key, valid=jnp.asarray(valid))
        for a in (noisy, spoiled)
    ]
    assert float(half[0].value) == pytest.approx(float(half[1].value), abs=1e-6)
    want = np.mean((noisy / 2)[valid] ** 2)
    assert float(half[0].value) == pytest.approx(want, abs=1e-4)
    assert np.isfinite(float(half[0].sd))


def test_wrong_noise_and_wrong_shapes_are_refused():
    noisy, key = scene(), jax.random.key(0)
    with pytest.raises(InputError, match="use pure"):
        sure(lambda y: y, noisy, Poisson(), key)
    with pytest.raises(InputError, match="use sure"):
        pure(lambda y: y, noisy, Gaussian(1.0), key)
    with pytest.raises(InputError, match="both must be equal"):
        sure(lambda y: y[1:], noisy, Gaussian(1.0), key, step=0.1)
