"""Channels denoised together: laws of the mixing, honest intervals, and better than one by one."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from phdenoise.channels import Channels
from phdenoise.denoising import denoise
from phdenoise.denoising.channels import denoise_channels
from phdenoise.denoising.config import DenoiseConfig
from phdenoise.movie import Movie
from phdenoise.noise.models import Poisson
from phdenoise.physics.twins.transport import TwinConfig, cahn_hilliard_twin
from phdenoise.types import InputError

# One process: what tests share compiles once.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("channels")]

QUICK = DenoiseConfig(steps=40, width=8, symmetries=2, crop=32)
SD = np.array([0.1, 0.2, 0.3])


def _scene(seed):
    config = TwinConfig(shape=(32, 32), frames=18, t_end=0.1)
    return np.asarray(cahn_hilliard_twin(jax.random.key(seed), config)[1])[6:]


def _noisy(clean, sd=SD, seed=0):
    white = np.random.default_rng(seed).standard_normal(clean.shape)
    return (clean + np.reshape(sd, (-1, 1, 1, 1)) * white).astype(np.float32)


def _error(mean, clean):
    return float(np.mean((np.asarray(mean) - clean) ** 2))


@pytest.fixture(scope="module")
def clean():
    c = _scene(0)
    return np.stack([0.2 + 0.7 * c, 0.8 - 0.5 * c, 0.3 + 0.4 * c])


@pytest.fixture(scope="module")
def together(clean):
    return denoise_channels(Channels.from_array(_noisy(clean)), QUICK)


def test_joint_beats_single_channels_where_they_share_the_scene(clean, together):
    single = denoise(Movie.from_array(_noisy(clean)[2]), QUICK)
    gain = 10 * np.log10(_error(single.mean, clean[2]) / _error(together.mean[2], clean[2]))
    assert gain > 5
    assert "Channels are mixed" in together.log[0]
    assert sum("none is predicted" in s for s in together.log) == 2


def test_intervals_of_each_channel_cover(clean, together):
    z = np.abs(together.mean - clean) / np.sqrt(together.variance)
    inside = np.mean(z < 1.645, axis=(1, 2, 3))
    assert np.all(inside > 0.84)
    assert inside[0] < 0.96
    # One scene behind all: errors go together, in the direction of the colours.
    assert together.correlation[0, 1] < -0.3
    assert together.correlation[0, 2] > 0.3


def test_every_channel_has_its_own_noise_and_report(together):
    for estimate, sd in zip(together.estimates, SD, strict=True):
        assert float(estimate.noise.sigma) == pytest.approx(sd, rel=0.05)
        assert estimate.trust["removed"] > 0.8
        assert estimate.trust["coverage"]["observed"][1] == pytest.approx(0.9, abs=0.05)
        assert any("uPSNR" in s for s in estimate.log)
    assert any(s.startswith("g: Noise (") for s in together.sentences())


def test_order_and_units_of_channels_do_not_matter(clean, together):
    order, scale = [2, 0, 1], np.reshape([1.0, 1000.0, 1.0], (3, 1, 1, 1))
    frames = (_noisy(clean) * scale).astype(np.float32)[order]
    other = denoise_channels(Channels.from_array(frames, ("b", "r", "g")), QUICK)
    back = np.argsort(order)
    for found, known in (
        (other.mean, together.mean),
        (other.variance**0.5, together.variance**0.5),
    ):
        # Training repeats to rounding errors, not to the bit.
        difference = (found[back] / scale - known) / SD[:, None, None, None]
        assert np.sqrt(np.mean(difference**2)) < 0.02


def test_noise_alone_comes_out_constant():
    flat = np.broadcast_to(np.reshape([1.0, 5.0], (2, 1, 1, 1)), (2, 10, 32, 32))
    found = denoise_channels(Channels.from_array(_noisy(flat, [0.1, 0.3])), QUICK)
    assert np.all(np.std(found.mean, axis=(1, 2, 3)) < np.array([0.1, 0.3]) * 0.01)
    np.testing.assert_allclose(found.mean.mean(axis=(1, 2, 3)), [1, 5], atol=0.02)
    assert found.weights == {}


def test_independent_scenes_are_not_mixed():
    frames = _noisy(np.stack([_scene(0), _scene(1)]), [0.2, 0.3])
    channels = Channels.from_array(frames)
    found = denoise_channels(channels, QUICK)
    assert "no mixing" in found.log[0]
    np.testing.assert_allclose(np.array(found.settings["mixing"])[0, 1], 0)
    single = denoise(Movie.from_array(frames[0]), QUICK)
    assert _error(found.mean[0], _scene(0)) < 1.1 * _error(single.mean, _scene(0))


@pytest.mark.study
def test_counting_noise_keeps_intensities():
    c = _scene(0)
    clean = np.stack([4 + 16 * c, 30 - 20 * c])
    counts = np.random.default_rng(1).poisson(clean).astype(np.float32)
    channels = Channels.from_array(counts)
    found = denoise_channels(channels, QUICK)
    assert all(isinstance(e.noise, Poisson) for e in found.estimates)
    for k in range(2):
        # In dim and bright places alike.
        bright = c > np.median(c)
        for where in (bright, ~bright):
            ratio = found.mean[k][where].mean() / clean[k][where].mean()
            assert ratio == pytest.approx(1, abs=0.03)
        z = np.abs(found.mean[k] - clean[k]) / np.sqrt(found.variance[k])
        assert np.mean(z < 1.645) > 0.8
    single = [denoise(Movie.from_array(a), QUICK) for a in counts]
    errors = [(_error(found.mean[k], clean[k]), _error(single[k].mean, clean[k])) for k in (0, 1)]
    assert np.prod([together / alone for together, alone in errors]) < 0.8**2


def test_gap_in_one_channel_is_filled_from_the_others(clean, together):
    frames = _noisy(clean)
    frames[0, :, 10:14, 10:14] = np.nan
    found = denoise_channels(Channels.from_array(frames), QUICK)
    hole = (slice(None), slice(10, 14), slice(10, 14))
    assert np.isfinite(found.mean).all()
    # The other channels' own measurements are still used there.
    assert _error(found.mean[0][hole], clean[0][hole]) < 0.5 * float(np.var(clean[0][hole]))
    assert np.mean(found.variance[0][hole]) > np.mean(together.variance[0][hole])


@pytest.mark.study
def test_trainings_are_kept(clean, together, tmp_path):
    channels = Channels.from_array(_noisy(clean))
    denoise_channels(channels, QUICK, checkpoint=tmp_path / "kept")
    assert (tmp_path / "kept" / "component_0").is_dir()
    again = denoise_channels(channels, QUICK, checkpoint=tmp_path / "kept")
    np.testing.assert_array_equal(again.mean, together.mean)


@pytest.mark.study
def test_one_channel_is_a_movie(clean):
    config = replace(QUICK, steps=2)
    channels = Channels.from_array(_noisy(clean)[:1, :4, :16, :16])
    (alone,) = denoise_channels(channels, config).estimates
    np.testing.assert_array_equal(alone.mean, denoise(channels.movies[0], config).mean)


def test_what_cannot_be_denoised_together_says_so(clean):
    frames = _noisy(clean)
    with pytest.raises(InputError, match=r"Channels 0 and 1 have the same noise .* copies"):
        denoise_channels(Channels.from_array(np.stack([frames[0], 2 * frames[0]])), QUICK)
    with pytest.raises(InputError, match="always trained anew"):
        denoise_channels(Channels.from_array(frames), replace(QUICK, tune="gain"))
    frames[1] = 4.0
    with pytest.raises(InputError, match="movie g is constant"):
        denoise_channels(Channels.from_array(frames), QUICK)
    frames[0, :, :16], frames[1, :, 16:] = np.nan, np.nan
    frames[1, :, :16] = frames[2, :, :16]
    with pytest.raises(InputError, match="no pixel that every channel measured"):
        denoise_channels(Channels.from_array(frames), QUICK)
    with pytest.raises(InputError, match="--seconds must be positive"):
        denoise_channels(Channels.from_array(_noisy(clean)), replace(QUICK, seconds=0.0))
