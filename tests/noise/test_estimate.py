"""Noise estimation: known parameters come back within their error, with motion, gaps and correlation."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from experiments.scenes import expose, jumping_discs
from phdenoise.noise.correlation import still
from phdenoise.noise.differences import difference
from phdenoise.noise.estimate import estimate_noise
from phdenoise.noise.models import Gaussian, Poisson, PoissonGaussian
from phdenoise.simulation import SimulateConfig, simulate
from phdenoise.types import InputError


def scene(frames=16, side=72, speed=0.4):
    """A smooth drifting pattern with values in 0..1."""
    t, y, x = np.mgrid[:frames, :side, :side].astype(float)
    return 0.5 + 0.25 * np.sin((x - speed * t) / 7) + 0.25 * np.cos((y + speed * t) / 5)


@pytest.mark.parametrize("sigma", [0.02, 0.3])
@pytest.mark.parametrize("speed", [0.0, 1.5])
def test_gaussian_sigma_within_three_percent(sigma, speed):
    clean = scene(speed=speed)
    noisy = clean + sigma * np.random.default_rng(0).normal(size=clean.shape)
    found = estimate_noise(noisy)
    assert isinstance(found.model, Gaussian)
    assert float(found.model.sigma) == pytest.approx(sigma, rel=0.03)
    assert found.sd["sigma"] < 0.03 * sigma
    assert found.blind == "pixel"


def test_scale_and_offset_of_the_movie_do_not_matter():
    noisy = scene() + 0.1 * np.random.default_rng(1).normal(size=scene().shape)
    for factor, offset in ((1e-6, 0.0), (1e6, -3e6)):
        found = estimate_noise(factor * noisy + offset)
        assert isinstance(found.model, Gaussian)
        assert float(found.model.sigma) == pytest.approx(0.1 * factor, rel=0.03)
        assert found.blind == "pixel"


def test_counts_are_recognised_as_poisson():
    noisy = np.random.default_rng(0).poisson(20 * scene()).astype(np.float32)
    found = estimate_noise(noisy)
    assert isinstance(found.model, Poisson)
    assert float(found.model.gain) == 1.0


def test_poisson_gaussian_line():
    rng = np.random.default_rng(0)
    clean = 200 * scene(24, 96)
    noisy = 3.0 * rng.poisson(clean / 3.0) + 12.0 * rng.normal(size=clean.shape)
    found = estimate_noise(noisy)
    assert isinstance(found.model, PoissonGaussian)
    levels = jnp.asarray([40.0, 100.0, 180.0])
    np.testing.assert_allclose(found.model.variance(levels), 3 * levels + 144, rtol=0.08)
    assert abs(float(found.model.gain) - 3.0) < 4 * found.sd["gain"] + 0.1


@pytest.mark.parametrize("offset", [-1.0, -0.3, 0.0, 2.0])
def test_noise_rises_from_wherever_the_movie_begins(offset):
    # Normalised movies and optical densities lie on both sides of zero.
    clean = scene(24, 96) + offset
    variance = 0.04 + 0.5 * (clean - offset)
    noisy = clean + np.sqrt(variance) * np.random.default_rng(0).normal(size=clean.shape)
    found = estimate_noise(noisy)
    levels = np.quantile(clean, [0.02, 0.1, 0.5, 0.9])
    wanted = 0.04 + 0.5 * (levels - offset)
    np.testing.assert_allclose(found.model.variance(jnp.asarray(levels)), wanted, rtol=0.12)
    mean = float(np.mean(np.asarray(found.model.variance(jnp.asarray(clean)))))
    assert mean == pytest.approx(float(variance.mean()), rel=0.01)


@pytest.mark.parametrize("number", [1, 24])
def test_scenes_of_dark_and_bright_noise_are_measured(number):
    """Random scenes about zero whose noise rises with the intensity, 0.2 and 8 times their contrast."""
    shot = expose(np.random.default_rng([5, 10**7 + number]), 30, 64)
    model = estimate_noise(shot.noisy).model
    level = float(np.mean(np.asarray(model.variance(jnp.asarray(shot.clean, jnp.float32)))))
    assert level == pytest.approx(float(np.var(shot.noisy - shot.clean)), rel=0.04)


def test_motion_that_differences_keep_is_told():
    rng, sigma = np.random.default_rng(0), 0.05
    for speed, least, most in ((0.0, 0.0, 0.02), (3.0, 0.05, np.inf)):
        clean = scene(speed=speed)
        found = estimate_noise(clean + sigma * rng.normal(size=clean.shape))
        assert least <= found.motion_log_variance <= most


def test_the_asked_family_is_fitted():
    noisy = scene() + 0.1 * np.random.default_rng(0).normal(size=scene().shape)
    assert isinstance(estimate_noise(noisy, kind="gaussian").model, Gaussian)
    asked = estimate_noise(noisy, kind="poisson-gaussian").model
    assert isinstance(asked, Gaussian | PoissonGaussian)
    assert float(asked.variance(jnp.float32(0.5))) == pytest.approx(0.01, rel=0.1)


def test_correlated_noise_hides_the_whole_frame():
    rng = np.random.default_rng(0)
    white = rng.normal(size=scene().shape)
    square = ndimage.uniform_filter(white, (0, 3, 3)) * 3 * 0.2
    found = estimate_noise(scene() + square)
    assert found.blind == "frame"
    np.testing.assert_allclose(found.correlation["x"][:4], [1, 2 / 3, 1 / 3, 0], atol=0.05)
    assert float(found.model.sigma) == pytest.approx(0.2, rel=0.05)
    assert found.reach() == (2, 2)
    assert estimate_noise(scene() + 0.2 * white).reach() == (0, 0)
    line = ndimage.uniform_filter1d(white, 9, axis=2) * 3 * 0.2
    along = estimate_noise(scene() + line).correlation
    assert along["x"][1] == pytest.approx(8 / 9, abs=0.05)
    assert along["y"][1] == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("step", [2.0, 5.0])
@pytest.mark.parametrize("counts", [False, True])
def test_noise_of_objects_that_leap_over_a_ground_at_rest(step, counts):
    """Differences of frames hold up to as much motion as noise, and motion looks like correlated noise."""
    rng = np.random.default_rng(0)
    clean = jumping_discs(rng, 24, 96, step)
    noisy = rng.poisson(20 * clean + 1) / 20 if counts else rng.normal(clean, 0.1)
    found = estimate_noise(noisy)
    assert found.blind == "pixel"
    assert found.motion_share > 0.1
    true = float(np.var(noisy - clean))
    said = float(np.mean(np.asarray(found.model.variance(jnp.asarray(clean + 0.05 * counts)))))
    assert said == pytest.approx(true, rel=0.06)
    assert found.finest() == pytest.approx(1.0, abs=0.1)


def test_correlated_noise_of_objects_that_leap():
    rng = np.random.default_rng(0)
    clean = jumping_discs(rng, 24, 96)
    box = 0.3 * ndimage.uniform_filter(rng.normal(size=clean.shape), (0, 3, 3))
    found = estimate_noise(clean + box)
    assert found.blind == "frame"
    np.testing.assert_allclose(found.correlation["x"][:4], [1, 2 / 3, 1 / 3, 0], atol=0.05)
    said = float(np.mean(np.asarray(found.model.variance(jnp.asarray(clean)))))
    # Their texture is as fine as the noise is.
    assert said == pytest.approx(float(np.var(box)), rel=0.1)


def test_places_at_rest_are_told_from_noise_that_is_everywhere():
    """Noise alone, white or shared by neighbours, leaves no place out; and what leaps leaves little but what is at rest."""
    rng = np.random.default_rng(0)
    white = rng.normal(size=(24, 96, 96))
    every = np.ones(white.shape, bool)
    for noise in (white, ndimage.uniform_filter(white, (0, 3, 3))):
        assert still(difference(noise, every)).mean() > 0.97
    clean = jumping_discs(rng, 24, 96, 5.0)
    found = difference(clean + 0.1 * white, every)
    kept = still(found)
    assert 0.2 < kept.mean() < 0.8
    moved = np.abs(np.diff(clean, axis=0))[: len(kept)] > 0.2
    assert moved[kept].mean() < 0.1 * moved[~kept].mean()


def test_noise_that_only_the_bright_part_of_a_frame_shares_is_seen():
    """An aperture: outside of it the camera's white noise alone, inside the light's, which a phosphor blurs."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-48:48, -48:48]
    light = (np.hypot(y, x) < 34).astype(float)
    white, blurred = rng.normal(size=(2, 24, 96, 96))
    blurred = ndimage.gaussian_filter(blurred, (0, 1, 1), mode="wrap") * np.sqrt(4 * np.pi)
    found = estimate_noise(light + 0.1 * light * blurred + 0.03 * white)
    assert found.blind == "frame"
    assert found.correlation["x"][1] > 0.5


def test_steep_edges_that_move_are_no_noise_that_persists():
    """Successive frames of a fast scene correlate to 0.36 where space varies fastest; half of its noise would be edges."""
    shot = expose(np.random.default_rng([5, 10**7]), 30, 64)
    found = estimate_noise(shot.noisy)
    assert found.blind == "pixel"
    true = float(np.std(shot.noisy - shot.clean))
    assert float(np.sqrt(found.model.variance(jnp.float32(0.0)))) == pytest.approx(true, rel=0.03)


def test_noise_that_persists_in_time_is_measured():
    """Sums of two white frames: neighbours share half, and high differences hold a hundredth of the variance."""
    white = np.random.default_rng(0).normal(size=(18, 72, 72))
    persistent = (white[1:] + white[:-1])[:16] / np.sqrt(2)
    found = estimate_noise(scene() + 0.2 * persistent)
    lasting = found.correlation["t"][1:]
    assert lasting[0] == pytest.approx(0.5, abs=0.07)
    assert found.blind == "pixel"
    assert float(found.model.sigma) < 0.15
    known = found.with_temporal_correlation(np.array([0.5]))
    assert float(known.model.sigma) == pytest.approx(0.2, rel=0.05)
    assert float(found.with_temporal_correlation(np.zeros(0)).model.sigma) == float(
        found.model.sigma
    )


@pytest.fixture(scope="module")
def twins():
    """Slow and fast Cahn-Hilliard movies, clean: rms change a frame of 0.7 and 4 % of the range."""
    movies = {}
    for name, duration, every in (("slow", 0.1, 1), ("fast", 1.2, 10)):
        config = SimulateConfig(
            size=(96, 96), frames=20 * every + 10, duration=duration, skip=10 * every, sigma=0.0
        )
        movies[name] = simulate("cahn-hilliard", config)[1].frames[::every].astype(np.float64)
    return movies


@pytest.mark.parametrize("speed", ["slow", "fast"])
@pytest.mark.parametrize("sigma", [0.02, 0.05, 0.3])
@pytest.mark.parametrize("kind", ["white", "box", "line"])
def test_motion_is_not_taken_for_correlation(twins, speed, sigma, kind):
    clean = twins[speed]
    noise = np.random.default_rng(3).normal(size=clean.shape)
    if kind == "box":
        noise = 3 * ndimage.uniform_filter(noise, (0, 3, 3), mode="wrap")
    elif kind == "line":
        noise = 3 * ndimage.uniform_filter1d(noise, 9, axis=2, mode="wrap")
    found = estimate_noise(clean + sigma * noise)
    level = np.sqrt(np.mean(found.model.variance(jnp.asarray(clean, jnp.float32))))
    assert level == pytest.approx(sigma, rel=0.1)
    assert found.blind == ("pixel" if kind == "white" else "frame")
    want = {"white": (0, 0), "box": (2 / 3, 2 / 3), "line": (8 / 9, 0)}[kind]
    near = found.correlation["x"][1], found.correlation["y"][1]
    np.testing.assert_allclose(near, want, atol=0.08)


@pytest.mark.parametrize("speed", ["slow", "fast"])
@pytest.mark.parametrize("dose", [2, 10, 50])
def test_counts_of_moving_patterns(twins, speed, dose):
    noisy = np.random.default_rng(4).poisson(dose * twins[speed])
    found = estimate_noise(noisy.astype(np.float32))
    assert isinstance(found.model, Poisson)
    assert found.blind == "pixel"
    mean, variance, sd = found.transfer.T
    assert np.polyfit(mean, variance, 1, w=1 / sd)[0] == pytest.approx(1, abs=0.05)


def test_autocorrelation_map_and_its_deviation():
    """White noise: an even map, 1 at the centre, elsewhere within the stated deviation of zero."""
    noisy = scene() + 0.1 * np.random.default_rng(5).normal(size=scene().shape)
    found = estimate_noise(noisy)
    rho, r = found.autocorrelation, found.autocorrelation.shape[0] // 2
    assert rho.shape == (17, 17)
    assert rho[r, r] == pytest.approx(1)
    np.testing.assert_allclose(rho, rho[::-1, ::-1], atol=1e-9)
    others = np.delete(rho.ravel(), rho.size // 2) / found.autocorrelation_sd
    assert 0.6 < others.std() < 1.6
    assert np.abs(others).max() < 6
    np.testing.assert_array_equal(found.correlation["x"], rho[r, r : r + 6])
    np.testing.assert_array_equal(found.correlation["y"], rho[r : r + 6, r])


@settings(deadline=None, max_examples=10)
@given(st.integers(2, 9), st.integers(6, 40), st.integers(6, 40), st.integers(0, 99))
def test_any_movie_has_an_estimate(frames, ny, nx, seed):
    """Any size from 6x6 pixels and 2 frames gives finite numbers."""
    noisy = np.random.default_rng(seed).normal(5.0, 0.5, (frames, ny, nx))
    found = estimate_noise(noisy)
    level = float(np.sqrt(found.model.variance(jnp.float32(5.0))))
    assert level == pytest.approx(0.5, rel=5 / np.sqrt(frames * ny * nx / 3) + 0.1)
    assert np.isfinite(found.autocorrelation).all()
    assert all(np.isfinite(v) for v in found.sd.values())


def test_a_flickering_lamp_is_no_correlation():
    rng = np.random.default_rng(6)
    lamp = 1 + 0.05 * rng.normal(size=(16, 1, 1))
    noisy = 100 * scene() * lamp + rng.normal(size=scene().shape)
    found = estimate_noise(noisy)
    assert found.blind == "pixel"
    assert float(np.sqrt(found.model.variance(jnp.float32(50.0)))) == pytest.approx(1, rel=0.1)


def test_gaps_spikes_and_saturation_are_left_out():
    rng = np.random.default_rng(0)
    noisy = scene() + 0.05 * rng.normal(size=scene().shape)
    noisy[:, :, :10] = noisy.max() + 1
    noisy[:, 5] = np.nan
    noisy[rng.random(noisy.shape) < 1e-4] = 1.0 + noisy[np.isfinite(noisy)].max() / 2
    valid = np.ones(noisy.shape, bool)
    valid[3] = False
    found = estimate_noise(noisy, valid)
    assert float(np.sqrt(found.model.variance(jnp.float32(0.5)))) == pytest.approx(0.05, rel=0.1)
    assert any("saturated" in s for s in found.sentences)


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_few_frames(frames):
    clean = scene(frames, 128)
    noisy = clean + 0.2 * np.random.default_rng(0).normal(size=clean.shape)
    found = estimate_noise(noisy)
    assert float(found.model.sigma) == pytest.approx(0.2, rel=0.06)
    assert found.blind == ("udvd" if frames == 1 else "pixel")


def test_nothing_to_estimate():
    with pytest.raises(InputError, match="no valid pixel"):
        estimate_noise(np.full((4, 8, 8), np.nan))
    with pytest.raises(InputError, match="no noise"):
        estimate_noise(np.ones((4, 8, 8)))


@pytest.mark.parametrize(
    ("stem", "key", "family", "blind"),
    [
        ("ch_gauss03", "noisy", Gaussian, "pixel"),
        ("ch_gauss01", "noisy", Gaussian, "pixel"),
        ("ch_poisson5", "counts", Poisson, "pixel"),
        ("ch_corr3x3_02", "noisy", Gaussian, "frame"),
        ("ch_line1x9_01", "noisy", Gaussian, "frame"),
        ("tem_pt_ceo2", "noisy", PoissonGaussian, "pixel"),
        ("neutron_open_beam", "static", Poisson, "frame"),
        ("two_photon_mouse", "frames", PoissonGaussian, "frame"),
        ("lowlight_rgb_with_mean", "noisy", Gaussian, "frame"),
    ],
)
def test_measured_movies(shared_data, stem, key, family, blind):
    frames = shared_data(stem, key).astype(np.float32)
    frames = frames[..., 1] if frames.ndim == 4 else frames
    found = estimate_noise(frames)
    assert isinstance(found.model, family)
    assert found.blind == blind
    known = {"ch_gauss03": 0.3, "ch_gauss01": 0.1, "ch_corr3x3_02": 0.2, "ch_line1x9_01": 0.1}
    if stem in known:
        assert float(found.model.sigma) == pytest.approx(known[stem], rel=0.03)


@pytest.mark.parametrize("seed", range(4))
def test_what_changes_over_wide_areas_is_no_noise(seed):
    # A small movie, too short to tell how it changes: differences keep what no neighbours tell apart.
    rng = np.random.default_rng(seed)
    clean = ndimage.gaussian_filter(rng.normal(size=(12, 32, 32)), (1.0, 5.0, 5.0), mode="wrap")
    clean *= 0.3 / np.std(clean)
    found = estimate_noise(clean + rng.normal(size=clean.shape))
    rho = found.significant_autocorrelation()
    assert np.sum(np.abs(rho)) == pytest.approx(1)
    assert found.reach() == (0, 0)


def test_every_other_pixel_may_correlate():
    # As behind a colour filter: the same colour lies two pixels away.
    white = np.random.default_rng(0).normal(size=(16, 72, 76))
    noise = (white + 0.6 * np.roll(white, 2, axis=2) + 0.3 * np.roll(white, 4, axis=2))[..., :72]
    found = estimate_noise(scene() + 0.2 * noise)
    rho = found.significant_autocorrelation()[8]
    np.testing.assert_allclose(rho[8:13], [1, 0, 0.54, 0, 0.21], atol=0.04)
    assert found.reach() == (0, 4)


def _scene(rng, width):
    smooth = ndimage.gaussian_filter(rng.normal(size=(64, 64)), width)
    return 100 * smooth / np.ptp(smooth)


@pytest.mark.parametrize("seed", range(6))
def test_two_frames_of_different_scenes(seed):
    """Frames far apart: what differs is the scene, and no confident number is made of it."""
    rng = np.random.default_rng(seed)
    scenes = np.stack([_scene(rng, rng.uniform(2, 8)) for _ in range(2)])
    found = estimate_noise(scenes + 8 * rng.normal(size=scenes.shape))
    assert abs(float(found.model.sigma) - 8) < max(0.8, 3 * found.sd["sigma"])
    assert found.blind == "pixel" or found.sd["sigma"] > 1


def test_two_frames_of_one_scene_whose_noise_is_correlated():
    rng = np.random.default_rng(0)
    noise = ndimage.gaussian_filter(rng.normal(size=(2, 64, 64)), (0, 1, 1))
    found = estimate_noise(_scene(rng, 3) + 8 * noise / noise.std())
    assert found.blind == "frame"
    assert float(found.model.sigma) == pytest.approx(8, rel=0.1)
    # The other reading, white noise that leaves most of it to motion, is in the interval.
    assert found.sd["sigma"] > 2
    assert any("Two frames do not tell correlated noise from motion" in s for s in found.sentences)
