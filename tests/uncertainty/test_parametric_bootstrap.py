"""What a prediction loses of the denoised movie tells how much it is wrong, and where."""

import jax
import numpy as np
import pytest
from scipy import ndimage

from phdenoise.networks.base import build
from phdenoise.networks.context import PIXEL
from phdenoise.networks.predict import predict_arrays, prepare
from phdenoise.noise.models import Gaussian
from phdenoise.types import Moments
from phdenoise.uncertainty.mean_squared_error import RESIDUAL_TOLERANCE, extrapolate_bootstrap
from phdenoise.uncertainty.parametric_bootstrap import (
    Bootstrap,
    BootstrapErrors,
    bootstrap_errors,
    fit_bootstrap_variance,
    renoise_and_denoise,
)
from phdenoise.uncertainty.predictive_variance import PredictiveVariance

SHAPE, SIGMA = (16, 48, 48), 0.1
WHITE = np.zeros((3, 3))
WHITE[1, 1] = 1.0


@pytest.fixture(scope="module")
def told():
    """A linear prediction of a scene, half of which rests: its true error, and what was told of it."""
    rng = np.random.default_rng(0)
    clean = ndimage.gaussian_filter(rng.normal(size=SHAPE), (1, 3, 3))
    clean[:, :, :24] = clean[:1, :, :24]
    clean = clean / clean.std()
    noisy = (clean + SIGMA * rng.normal(size=SHAPE)).astype(np.float32)
    denoiser = build(PIXEL, width=8, centre=0.0, spread=1.0, seed=0)
    everything = np.ones(SHAPE, bool)
    arrays = prepare(denoiser, noisy, everything)
    blind = predict_arrays(denoiser, arrays, SHAPE, symmetries=1)
    mean = np.asarray(blind.mean, np.float64)
    noise = Gaussian(SIGMA)
    _, again, second = renoise_and_denoise(
        Bootstrap(denoiser, arrays, everything, everything, noise, noise.correlated(WHITE), 1),
        mean,
        jax.random.key(1),
    )
    errors = np.mean((np.asarray(second.mean) - mean) ** 2, axis=(1, 2))
    doubt = PredictiveVariance(1.0, float(np.mean(np.asarray(blind.var))), errors)
    pattern = fit_bootstrap_variance(doubt, again, second, mean, everything, 1.0)
    whole = (slice(SHAPE[1]), slice(SHAPE[2]))
    found = doubt._replace(model=pattern)(arrays, blind, whole)
    return (mean - clean) ** 2, (np.asarray(second.mean) - mean) ** 2, np.asarray(found.var)


def test_as_much_is_lost_again(told):
    true, lost, _ = told
    assert np.mean(lost) == pytest.approx(np.mean(true), rel=0.35)


def test_errors_are_said_to_be_where_more_is_lost(told):
    """Less so than in truth: of the half that moves, part was lost the first time."""
    still, moving = np.s_[:, :, :20], np.s_[:, :, 28:]
    in_truth, again, stated = (a[moving].mean() / a[still].mean() for a in told)
    assert 1.5 < stated < in_truth
    assert stated == pytest.approx(again, rel=0.35)


def test_what_is_lost_again_tells_what_was_lost_first():
    assert extrapolate_bootstrap(0.01, BootstrapErrors(0.01, 0.01, 0.0)) == pytest.approx(0.01)
    assert extrapolate_bootstrap(0.01, BootstrapErrors(0.01, 0.005, 0.0)) == pytest.approx(0.02)
    # There is never more to lose the second time.
    assert extrapolate_bootstrap(0.01, BootstrapErrors(0.01, 0.02, 0.0)) == pytest.approx(0.01)
    # The scene has no noise to lose.
    assert 0.005 < extrapolate_bootstrap(0.01, BootstrapErrors(0.01, 0.01, 0.005)) < 0.01
    assert np.isfinite(extrapolate_bootstrap(0.0, BootstrapErrors(0.0, 0.0, 0.0)))
    assert extrapolate_bootstrap(0.01, BootstrapErrors(0.01, 0.01, 1.0)) > 0


def test_residuals_that_show_much_more_are_believed():
    assert extrapolate_bootstrap(0.012, BootstrapErrors(0.01, 0.01, 0.0)) == pytest.approx(0.01)
    assert extrapolate_bootstrap(0.04, BootstrapErrors(0.01, 0.01, 0.0)) == pytest.approx(
        0.04 / RESIDUAL_TOLERANCE
    )
    # What they do not show was there all the same.
    assert extrapolate_bootstrap(0.001, BootstrapErrors(0.01, 0.01, 0.0)) == pytest.approx(0.01)


def test_losses_of_a_linear_filter_are_those_of_its_gains():
    """Modes of gains g: (1 - g)² g² of the noise that got through is lost, and of the movie (1 - g)² besides noise."""
    shape = (32, 64, 64)
    rng = np.random.default_rng(0)
    axes = np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij")
    gain = 1 / (1 + 60 * sum(a**2 for a in axes))

    def smooth(movie):
        return np.fft.ifftn(gain * np.fft.fftn(movie)).real

    def denoise_again(movie, key):
        noise = SIGMA * np.asarray(jax.random.normal(key, shape))
        return Moments(smooth(movie + noise), np.zeros(shape))

    def held(weight):
        return np.mean(weight * np.abs(np.fft.fftn(scene)) ** 2) / scene.size

    scene = smooth(rng.normal(size=shape))
    first = denoise_again(scene, jax.random.key(7)).mean
    found = bootstrap_errors(denoise_again, scene, first, np.ones(shape, bool), jax.random.key(1))
    let, lost = SIGMA**2 * np.mean(gain**2), (1 - gain) ** 2
    passed = SIGMA**2 * np.mean(gain**2 * lost)
    assert found.once == pytest.approx(held(lost) + let, rel=0.03)
    assert found.again == pytest.approx(held(gain**2 * lost) + let + passed, rel=0.03)
    assert found.passed == pytest.approx(passed, rel=0.03)
