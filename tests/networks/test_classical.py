"""Classical denoisers: constants stay, predicted errors are the errors found, widths near the oracle's."""

import sys
from itertools import product

import numpy as np
import pytest
from scipy import ndimage

from phdenoise.networks.classical import _Kernel, autocorrelation, classical
from phdenoise.noise.models import Gaussian, Poisson
from phdenoise.noise.stabilise import anscombe, inverse_anscombe
from phdenoise.simulation import SimulateConfig, simulate
from phdenoise.types import InputError

BUILT_IN = ("mean", "gaussian", "svd")
BOX = autocorrelation(np.array([1, 2 / 3, 1 / 3]), np.array([1, 2 / 3, 1 / 3]))


def _twin(frames=16, size=(48, 48), **noise):
    config = SimulateConfig(size=size, frames=frames + 30, skip=30, duration=0.1, seed=3, **noise)
    movie, clean = simulate("cahn-hilliard", config)
    return movie.frames, clean.frames


def _everywhere(frames):
    return np.ones(frames.shape, bool)


def _rms(a):
    return float(np.sqrt(np.mean(a**2)))


def _assert_error(var, error, noise, rho):
    """The mean variance is the mean squared error, as far as the noise of this movie lets one know."""
    independent = noise.size / (1.0 if rho is None else float(np.sum(rho**2)))
    doubt = 3 * float(np.sqrt(np.var(noise.astype(float) ** 2) / independent))
    assert float(var.mean()) == pytest.approx(float(np.mean(error**2)), rel=0.15, abs=doubt)


@pytest.mark.parametrize("name", [*BUILT_IN, "nlm"])
@pytest.mark.parametrize("shape", [(1, 20, 31), (7, 21, 16)])
def test_a_constant_movie_stays_constant(name, shape):
    if name == "nlm":
        pytest.importorskip("skimage")
    frames = np.full(shape, 3.25, np.float32)
    mean, var = classical(name, frames, _everywhere(frames), Gaussian(0.01))
    # Shrinkage takes the noise's share of the energy away: 1e-5 of the value here.
    np.testing.assert_allclose(mean, 3.25, rtol=3e-5)
    assert mean.dtype == np.float32
    assert np.all(np.isfinite(var))
    assert np.all(var > 0)


@pytest.mark.parametrize("correlation", ["white", "box-3"])
def test_variance_predicted_for_noise_alone_is_found(correlation):
    rng = np.random.default_rng(0)
    rho = None if correlation == "white" else BOX
    noise = 0.3 * rng.standard_normal((12, 96, 96)).astype(np.float32)
    if rho is not None:
        noise = 3 * ndimage.uniform_filter(noise, (1, 3, 3), mode="wrap")
    mean, var = classical("mean", noise, _everywhere(noise), Gaussian(0.3), rho)
    assert float(np.mean(mean[0] ** 2)) == pytest.approx(0.09 / 12, rel=0.1)
    assert float(var.mean()) == pytest.approx(0.09 / 12, rel=0.15)
    kernel = _Kernel.of(1.5, 1.0)
    found = np.mean(kernel.apply(noise.astype(float))[:, 6:-6, 6:-6] ** 2, axis=(1, 2))
    predicted = kernel.variance(np.full(noise.shape, 0.09), np.ones((1, 1)) if rho is None else rho)
    # Frame by frame: at the ends of the movie fewer frames are averaged.
    np.testing.assert_allclose(predicted[:, 48, 48], found, rtol=0.15)
    assert predicted[0, 48, 48] > 1.2 * predicted[6, 48, 48]


@pytest.mark.parametrize(
    ("noise", "rho"),
    [
        ({"sigma": 0.1}, None),
        ({"sigma": 0.3}, None),
        ({"sigma": 0.2, "correlation": "box-3"}, BOX),
        ({"dose": 10.0}, None),
    ],
)
def test_widths_chosen_without_truth_are_near_the_oracles(noise, rho):
    frames, clean = _twin(**noise)
    model = Poisson(1.0, 0.0) if "dose" in noise else Gaussian(noise["sigma"])
    mean, var = classical("gaussian", frames, _everywhere(frames), model, rho)
    widths = product((0, 0.5, 1, 1.5, 2, 3, 4, 6), (0, 0.5, 0.75, 1, 1.5, 2, 3))
    oracle = min(
        _rms(ndimage.gaussian_filter(frames, (t, s, s), mode="reflect") - clean) for t, s in widths
    )
    assert 20 * np.log10(_rms(mean - clean) / oracle) < 0.3
    # The variance is the squared error to expect.
    _assert_error(var, mean - clean, frames - clean, rho)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "noise"),
    [
        ("nlm", {"dose": 10.0}),
        ("svd", {"sigma": 0.2}),
        pytest.param("nlm", {"sigma": 0.2}, marks=pytest.mark.study),
        pytest.param("svd", {"dose": 10.0}, marks=pytest.mark.study),
    ],
)
def test_nonlinear_methods_predict_their_own_error(name, noise):
    if name == "nlm":
        pytest.importorskip("skimage")
    frames, clean = _twin(**noise)
    model = Poisson(1.0, 0.0) if "dose" in noise else Gaussian(noise["sigma"])
    mean, var = classical(name, frames, _everywhere(frames), model)
    assert _rms(mean - clean) < 0.5 * _rms(frames - clean)
    _assert_error(var, mean - clean, frames - clean, None)


def test_shrinkage_keeps_a_low_rank_movie_and_drops_noise():
    rng = np.random.default_rng(1)
    clean = np.einsum("t,yx->tyx", 1 + rng.random(20), rng.random((40, 40)))
    noise = 0.2 * rng.standard_normal(clean.shape)
    frames = (clean + noise).astype(np.float32)
    mean, _ = classical("svd", frames, _everywhere(frames), Gaussian(0.2))
    # One component of twenty: about 1/20 of the noise's energy stays.
    assert _rms(mean - clean) < 0.2 * np.sqrt(1.5 / 20)
    nothing, _ = classical("svd", noise.astype(np.float32), _everywhere(frames), Gaussian(0.2))
    assert _rms(nothing) < 0.02
    # Correlated noise has larger singular values, which must not be taken for signal.
    smooth = (3 * ndimage.uniform_filter(noise, (1, 3, 3), mode="wrap")).astype(np.float32)
    nothing, _ = classical("svd", smooth, _everywhere(frames), Gaussian(0.2), BOX)
    assert _rms(nothing) < 0.06


@pytest.mark.parametrize("name", [*BUILT_IN, "nlm"])
def test_masked_pixels_are_filled(name):
    if name == "nlm":
        pytest.importorskip("skimage")
    frames, clean = _twin(sigma=0.05)
    valid = np.random.default_rng(0).random(frames.shape) > 0.1
    valid[:, 10:13, 20:23] = False
    broken = np.where(valid, frames, np.nan).astype(np.float32)
    mean, var = classical(name, broken, valid, Gaussian(0.05))
    assert np.all(np.isfinite(mean))
    assert np.all(np.isfinite(var))
    assert _rms((mean - clean)[~valid]) < 0.6 * float(clean.std())


def test_the_anscombe_inverse_is_unbiased():
    rng = np.random.default_rng(0)
    for rate, read in product((0.5, 3.0, 40.0, 250.0), (0.0, 1.0)):
        counts = rng.poisson(rate, 400_000) + read * rng.standard_normal(400_000)
        mean = inverse_anscombe(np.array([anscombe(counts, read).mean()]), read)
        assert mean[0] == pytest.approx(rate, abs=5 * np.sqrt((rate + read**2) / 400_000))


def test_bad_input_is_named(monkeypatch):
    frames = np.zeros((2, 8, 8), np.float32)
    with pytest.raises(InputError, match="no valid pixel"):
        classical("mean", frames, ~_everywhere(frames), Gaussian(0.1))
    with pytest.raises(InputError, match="odd sides"):
        classical("mean", frames, _everywhere(frames), Gaussian(0.1), np.ones((2, 3)))
    monkeypatch.setitem(sys.modules, "bm4d", None)
    with pytest.raises(InputError, match=r"pip install 'phdenoise\[bench\]'"):
        classical("bm4d", frames, _everywhere(frames), Gaussian(0.1))
