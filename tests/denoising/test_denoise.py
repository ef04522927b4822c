"""`denoise`: it removes noise, its intervals cover, units and gaps pass through, and errors say what to do."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from experiments.scenes import jumping_discs
from phdenoise.denoising import denoise
from phdenoise.denoising.config import DenoiseConfig
from phdenoise.io.native import read_estimate
from phdenoise.io.writing import write
from phdenoise.metrics.calibration import coverage
from phdenoise.movie import ERROR_DEGREES_OF_FREEDOM, Movie
from phdenoise.networks.context import FRAME, PIXEL
from phdenoise.noise.models import Gaussian
from phdenoise.training.held_out import held_out, interior
from phdenoise.types import InputError, Moments
from phdenoise.uncertainty.missing_frames import keep_repeated_frames

# One process: what tests share compiles once.
pytestmark = pytest.mark.xdist_group("denoise")

# One shape and one schedule in most tests: the training step compiles once.
FAST = DenoiseConfig(preset="quick", width=8, steps=60, symmetries=2)
# Of slow tests that were checked with more steps only.
LONGER = DenoiseConfig(preset="quick", width=8, steps=150)


def scene(frames=10, side=32):
    t, y, x = np.mgrid[:frames, :side, :side].astype(float)
    return (np.sin((x - 0.3 * t) / 4) * np.cos((y + 0.2 * t) / 5)).astype(np.float32)


def noisy_movie(sigma=0.5, seed=0, **kwargs):
    clean = scene(**kwargs)
    return clean, clean + sigma * np.random.default_rng(seed).normal(size=clean.shape).astype("f")


def error(estimate, clean):
    return float(np.sqrt(np.mean((estimate.mean - clean) ** 2)))


@pytest.fixture(scope="module")
def twin():
    clean, noisy = noisy_movie()
    return clean, noisy, denoise(Movie.from_array(noisy), FAST)


def test_most_of_the_noise_goes(twin):
    clean, _, estimate = twin
    assert error(estimate, clean) < 0.3 * 0.5
    assert estimate.settings["region"] == "pixel"
    assert any("Gaussian, sigma = " in sentence for sentence in estimate.log)


def test_intervals_cover(twin):
    clean, _, estimate = twin
    z = np.abs(estimate.mean - clean) / np.sqrt(estimate.variance)
    assert 0.55 < np.mean(z < 1.0) < 0.9
    assert 0.85 < np.mean(z < 1.96) < 0.999
    assert np.all(estimate.variance > 0)
    assert np.mean(estimate.variance) < np.mean(estimate.blind_variance)


def test_residual_is_noise(twin):
    """No structure of the scene is left in y - blind mean, and the level is that of the noise."""
    clean, noisy, estimate = twin
    residual = noisy - estimate.blind_mean
    assert np.std(residual) == pytest.approx(0.5, rel=0.08)
    assert abs(np.corrcoef(residual.ravel(), clean.ravel())[0, 1]) < 0.08
    neighbours = np.mean(residual[:, :, 1:] * residual[:, :, :-1]) / np.var(residual)
    assert abs(neighbours) < 0.05
    assert abs(float(np.mean(estimate.mean) - np.mean(noisy))) < 4 * 0.5 / np.sqrt(noisy.size)


def test_history_weights_and_progress_are_reported():
    _, noisy = noisy_movie(frames=4, side=16)
    calls = []
    config = DenoiseConfig(preset="quick", width=8, steps=25)
    estimate = denoise(Movie.from_array(noisy), config, progress=lambda *args: calls.append(args))
    assert [c[1:3] for c in calls if c[0] == "training"] == [(25, 25)]
    # Every long stage is heard of, and ends.
    last = {name: (step, steps) for name, step, steps, _ in calls}
    assert {"training", "prediction", "with noise added"} <= last.keys()
    assert all(step == steps for step, steps in last.values())
    assert len(estimate.history["loss"]) == 25
    assert estimate.weights
    assert estimate.settings["seed"] == 0


def test_the_same_seed_gives_the_same_movie():
    _, noisy = noisy_movie(frames=4, side=16)
    one, two, three = (
        denoise(Movie.from_array(noisy), DenoiseConfig("quick", width=8, steps=25, seed=seed))
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one.mean, two.mean)
    assert np.any(one.mean != three.mean)


@pytest.mark.slow
@pytest.mark.parametrize(("factor", "offset"), [(1e-6, 0.0), (50.0, -1e4)])
def test_units_do_not_matter(factor, offset):
    _, noisy = noisy_movie(frames=4, side=16)
    config = DenoiseConfig("quick", width=8, steps=25, noise="gaussian")
    reference = denoise(Movie.from_array(noisy), config)
    scaled = denoise(Movie.from_array(noisy.astype(float) * factor + offset), config)
    mean = (scaled.mean.astype(float) - offset) / factor
    np.testing.assert_allclose(mean, reference.mean, atol=0.05)
    np.testing.assert_allclose(
        np.mean(scaled.variance / factor**2), np.mean(reference.variance), rtol=0.1
    )


def test_pure_noise_grows_no_structure():
    rng = np.random.default_rng(0)
    noisy = 3.0 + rng.normal(size=(10, 32, 32)).astype(np.float32)
    estimate = denoise(Movie.from_array(noisy), FAST)
    # Averaging 14 independent frames would leave 0.27; the flat truth leaves nothing to find beyond that.
    assert np.std(estimate.mean) < 0.3
    assert float(np.mean(estimate.mean)) == pytest.approx(3.0, abs=0.03)
    z = np.abs(estimate.mean - 3.0) / np.sqrt(estimate.variance)
    assert np.mean(z > 4) < 0.01


def test_gaps_are_filled_and_masked_pixels_have_wider_intervals():
    clean, noisy = noisy_movie()
    hole = np.random.default_rng(1).random(noisy.shape) < 0.1
    hole[4] = True
    hole[:, 20, 20] = True
    noisy[hole] = np.nan
    noisy[2, 3, 4] = 1e9
    mask = np.ones(noisy.shape, bool)
    mask[2, 3, 4] = False
    estimate = denoise(Movie.from_array(noisy, mask=mask), FAST)
    assert np.all(np.isfinite(estimate.mean))
    assert error(estimate, clean) < 0.45 * 0.5
    hidden, seen = estimate.variance[hole], estimate.variance[~hole]
    assert np.mean(hidden) > np.mean(seen)


@pytest.mark.study
@pytest.mark.slow
def test_correlated_noise_hides_the_frame():
    white = np.random.default_rng(0).normal(size=(10, 32, 32))
    noisy = scene() + (ndimage.uniform_filter(white, (0, 3, 3)) * 3 * 0.4).astype(np.float32)
    estimate = denoise(Movie.from_array(noisy), FAST)
    assert estimate.settings["region"] == "frame"
    assert error(estimate, scene()) < 0.5 * 0.4
    asked = replace(FAST, blind="pixel")
    assert any("Warning" in s for s in denoise(Movie.from_array(noisy), asked).log)


@pytest.mark.study
@pytest.mark.slow
def test_objects_that_leap_are_denoised_from_their_own_frame(tmp_path):
    """Other frames do not tell of them: pixels around do, by a network that is asked only then."""
    rng = np.random.default_rng(0)
    clean = jumping_discs(rng, 12, 96, 5.0).astype(np.float32)
    noisy = (clean + 0.1 * rng.normal(size=clean.shape)).astype(np.float32)
    config = DenoiseConfig("quick", steps=400, symmetries=4)
    estimate = denoise(Movie.from_array(noisy), config)
    assert estimate.settings["region"] == "pixel"
    assert any(name.startswith("rings") for name in estimate.weights)
    best = min(
        float(np.std(ndimage.gaussian_filter(noisy, (0, s, s)) - clean)) for s in (0.8, 1.0, 1.2)
    )
    assert error(estimate, clean) < 0.9 * best
    # The network that starts at its error's tenth leaves the noise what it is.
    own = np.asarray(estimate.noise.variance(jnp.asarray(clean)))
    assert float(own.mean()) == pytest.approx(0.01, rel=0.1)
    held = coverage(
        estimate.mean, estimate.variance, clean, (0.9,), degrees=ERROR_DEGREES_OF_FREEDOM
    )
    assert float(held[0]) == pytest.approx(0.9, abs=0.05)
    # Written, read and applied it is the same.
    write(estimate, tmp_path / "leap.h5")
    known = read_estimate(tmp_path / "leap.h5")
    again = denoise(Movie.from_array(noisy), replace(config, tune="none"), pretrained=known)
    np.testing.assert_allclose(again.blind_mean, estimate.blind_mean, atol=1e-5)


@pytest.mark.study
@pytest.mark.slow
def test_no_more_of_a_frame_is_hidden_than_its_noise_asks_for():
    """A fast scene: its own frame tells of it beyond what frames around do."""
    rng = np.random.default_rng(0)
    clean = ndimage.gaussian_filter(rng.normal(size=(12, 64, 64)), (1, 4, 4))
    clean = (clean / clean.std()).astype(np.float32)
    noise = 3 * ndimage.uniform_filter(rng.normal(size=clean.shape), (0, 3, 3))
    movie = Movie.from_array((clean + noise).astype(np.float32))
    config = DenoiseConfig("quick", steps=1, symmetries=1)
    estimate = denoise(movie, config)
    assert estimate.settings["region"] == "5x5"
    whole = denoise(movie, replace(config, blind="frame"))
    near, far = (float(np.std(e.blind_mean - clean)) for e in (estimate, whole))
    assert near < 0.96 * far
    # The network knows what it hides, and that this is enough; a smaller region is warned of.
    again = denoise(movie, replace(config, tune="none"), pretrained=estimate)
    assert again.settings["region"] == "5x5"
    assert not any("Warning" in s for s in again.log)
    small = denoise(movie, replace(config, blind="3x3"))
    assert any("Warning: the noise is correlated" in s for s in small.log)


@pytest.mark.slow
def test_counts():
    clean = 6 * (1.2 + scene())
    counts = np.random.default_rng(0).poisson(clean).astype(np.float32)
    estimate = denoise(Movie.from_array(counts), FAST)
    assert error(estimate, clean) < 0.45 * np.sqrt(np.mean(clean))


@pytest.mark.slow
@pytest.mark.parametrize(
    "shape",
    [
        (1, 20, 20),
        *(pytest.param(s, marks=pytest.mark.study) for s in ((5, 1, 1), (2, 7, 200), (3, 3, 5))),
    ],
    ids=str,
)
def test_any_shape(shape):
    rng = np.random.default_rng(0)
    frames = rng.normal(size=shape).astype(np.float32)
    config = DenoiseConfig("quick", width=8, steps=3, sigma=1.0, symmetries=2)
    estimate = denoise(Movie.from_array(frames), config)
    assert estimate.mean.shape == estimate.variance.shape == shape
    assert np.all(np.isfinite(estimate.mean))
    assert np.all(estimate.variance >= 0)


def test_the_noise_of_the_file_is_used():
    _, noisy = noisy_movie(frames=4, side=16)
    movie = Movie.from_array(noisy, noise=Gaussian(0.45))
    estimate = denoise(movie, DenoiseConfig("quick", width=8, steps=25))
    assert float(estimate.noise.sigma) == pytest.approx(0.45)


@pytest.mark.parametrize(
    ("frames", "config", "message"),
    [
        (np.ones((3, 8, 8)), {}, "constant"),
        (np.full((3, 8, 8), np.nan), {}, "no valid pixel"),
        (scene(4, 16), {"sigma": -1.0}, "--sigma"),
        (scene(4, 16), {"crop": 30}, "--crop"),
        (scene(4, 16), {"steps": 0}, "--steps"),
        (noisy_movie(frames=1, side=16)[1], {"blind": "frame"}, "--blind"),
    ],
)
def test_what_cannot_be_done_is_said(frames, config, message):
    with pytest.raises(InputError, match=message):
        denoise(Movie.from_array(frames), DenoiseConfig(**config))


@pytest.mark.slow
def test_defects_are_neither_learned_nor_kept():
    clean, frames = noisy_movie(0.1)
    frames[:, 9, 9] += 4.0
    frames[3, 20, 25] += 8.0
    bad = np.zeros(frames.shape, bool)
    bad[:, 9, 9] = bad[3, 20, 25] = True
    spoilt = denoise(Movie.from_array(frames), LONGER)
    assert any("hot" in s for s in spoilt.log)
    assert any("gamma" in s for s in spoilt.log)
    assert not spoilt.movie.valid()[bad].any()
    off = np.abs(spoilt.mean - clean)
    assert off[bad].max() < 4 * off[~bad].mean() + 0.1
    # Their error is in the error bar, and those around them do not suffer.
    assert np.all(off[bad] < 5 * np.sqrt(spoilt.variance[bad]))
    assert off[:, 8:11, 8:11].mean() < 2 * off.mean()
    kept = denoise(Movie.from_array(frames), replace(LONGER, defects="keep"))
    assert np.abs(kept.mean - clean)[bad].max() > 1.0


def test_saturated_values_are_lower_bounds():
    clean, noisy = noisy_movie(0.1)
    top = np.quantile(clean, 0.9)
    frames = np.minimum(noisy, np.float32(top))
    full = frames == np.float32(top)
    estimate = denoise(Movie.from_array(frames), FAST)
    assert any("saturated" in s for s in estimate.log)
    assert np.all(estimate.mean[full] >= np.float32(top))
    assert np.array_equal(estimate.movie.valid(), ~full)


def test_a_copied_frame_is_predicted_from_the_others():
    clean, frames = noisy_movie()
    frames[[5, 9]] = frames[[4, 8]]
    estimate = denoise(Movie.from_array(frames), FAST)
    assert any("2 frame(s) repeat the frame before" in s for s in estimate.log)
    assert not estimate.movie.valid()[[5, 9]].any()
    assert error(estimate, clean) < 0.35 * 0.5
    for frame in (4, 5, 8, 9):
        off = estimate.mean[frame] - clean[frame]
        assert np.std(off) < 0.5 * 0.5
        assert np.mean(np.abs(off) < 1.96 * np.sqrt(estimate.variance[frame])) > 0.8


@pytest.mark.slow
def test_error_bars_are_wide_where_the_error_is():
    """Half of the scene rests, the other is new in every frame; nobody says where."""
    rng = np.random.default_rng(0)
    clean = ndimage.gaussian_filter(rng.normal(size=(10, 32, 32)), (0, 1.5, 1.5))
    clean[:, :16] = clean[:1, :16]
    clean = (clean / clean.std()).astype(np.float32)
    noisy = clean + 0.3 * rng.normal(size=clean.shape).astype(np.float32)
    estimate = denoise(Movie.from_array(noisy), LONGER)
    error, sd = np.abs(estimate.mean - clean), np.sqrt(estimate.variance)
    still, moving = np.s_[:, :12], np.s_[:, 20:]
    assert error[moving].mean() > 2 * error[still].mean()
    assert sd[moving].mean() > 1.4 * sd[still].mean()
    assert np.mean(error[moving] < 1.96 * sd[moving]) > 0.8


@pytest.mark.parametrize(("var", "kept"), [(0.5, True), (0.2, False)])
def test_a_copy_is_kept_where_prediction_is_worse(var, kept):
    """Frames that change by 1/2 each: a copy of the one before is off by a quarter squared."""
    mean = np.arange(6.0)[:, None, None] / 2 + np.zeros((6, 4, 5))
    variance = np.where(np.arange(6) == 3, var, 0.01)[:, None, None] + np.zeros((6, 4, 5))
    result = Moments(jnp.asarray(mean), jnp.asarray(variance))
    found, count = keep_repeated_frames(result, np.arange(6) == 3)
    assert count == kept
    np.testing.assert_allclose(found.mean[3], mean[2 if kept else 3], rtol=1e-6)
    np.testing.assert_allclose(found.var[3], 0.26 if kept else var, rtol=1e-6)


def test_a_copied_frame_of_a_fast_scene_is_predicted_with_an_honest_error():
    """Hardly any noise: between its neighbours it is nearer than its copy."""
    rng = np.random.default_rng(0)
    clean = ndimage.gaussian_filter(rng.normal(size=(10, 32, 32)), (0, 1.5, 1.5)).cumsum(0)
    clean = (clean / clean.std()).astype(np.float32)
    frames = clean + 0.01 * rng.normal(size=clean.shape).astype(np.float32)
    frames[6] = frames[5]
    estimate = denoise(Movie.from_array(frames), FAST)
    assert np.mean((estimate.mean[6] - clean[6]) ** 2) < np.mean((clean[6] - clean[5]) ** 2)
    assert np.mean(np.abs(estimate.mean[6] - clean[6]) < 1.96 * np.sqrt(estimate.variance[6])) > 0.7


def test_only_pixels_whose_noise_was_not_learned_are_judged():
    rng = np.random.default_rng(0)
    test = held_out((6, 64, 80), 0, FRAME)
    inner = interior(test, FRAME, (2, 1))
    assert inner.any()
    for dy, dx in ((2, 1), (-2, 1), (2, -1), (-2, -1)):
        moved = np.roll(~test, (dy, dx), (1, 2))
        # Beyond the sides there is nothing to learn from.
        within = np.zeros_like(test)
        within[:, 2:-2, 1:-1] = True
        assert not (inner & moved & within).any()
    single = rng.random((3, 20, 20)) < 0.05
    np.testing.assert_array_equal(interior(single, PIXEL, (1, 1)), single)
    np.testing.assert_array_equal(interior(test, FRAME, (0, 0)), test)
    # Noise that reaches beyond the blocks leaves their middles.
    middles = interior(test, FRAME, (0, 8))
    assert 0 < middles.sum() < test.sum() / 4


@pytest.mark.slow
@pytest.mark.parametrize("start", [pytest.param("prior", marks=pytest.mark.study), "linear"])
def test_training_starts_where_it_is_better_or_as_asked(start, monkeypatch):
    clean = np.tanh(6 * scene(frames=12, side=48))
    noisy = clean + 0.5 * np.random.default_rng(0).normal(size=clean.shape).astype("f")
    config = DenoiseConfig("quick", steps=25, symmetries=2, start=start)
    said = " ".join(denoise(Movie.from_array(noisy), config).log)
    seen = "Started from a network that was trained on simulated scenes" in said
    assert seen == (start == "prior")
    if start == "prior":

        def worse(fresh, path=None, missing=False):
            return replace(fresh, state=jax.tree.map(lambda w: w + 0.1, fresh.state))

        monkeypatch.setattr("phdenoise.denoising.training_setup.from_prior", worse)
        said = " ".join(denoise(Movie.from_array(noisy), config).log)
        assert "Started from the best blind linear filter (held-out loss" in said
