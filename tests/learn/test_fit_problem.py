"""What a fit takes for granted about a movie is read from it where it shows."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from phdenoise.learn import fit
from phdenoise.learn.config import FitConfig
from phdenoise.learn.fit_problem import prepare_fit_problem, wraps
from phdenoise.movie import Estimate, Movie
from phdenoise.noise.models.gaussian import Gaussian
from phdenoise.simulation import SimulateConfig, simulate
from phdenoise.types import Moments


@pytest.fixture(scope="module")
def frames():
    config = SimulateConfig(size=(48, 40), frames=30, sigma=0.0, seed=2, duration=0.1)
    return simulate("cahn-hilliard", config).clean.frames[10:]


@pytest.mark.parametrize("sigma", [0.0, 0.15])
def test_a_periodic_field_is_seen_to_be_one(frames, sigma):
    noise = np.random.default_rng(0).standard_normal(frames.shape)
    assert wraps(frames + sigma * noise)


def test_a_part_of_it_is_not(frames):
    assert not wraps(frames[:, 5:, :])
    assert not wraps(frames[:, :, :-5])
    assert not wraps(frames[:, :30, :30])


def test_nor_are_noise_and_nothing():
    rng = np.random.default_rng(1)
    assert not any(wraps(rng.standard_normal((20, 16, 16))) for _ in range(20))
    assert not wraps(np.zeros((4, 16, 16)))
    assert not wraps(np.ones((4, 6, 6)) * np.arange(6))


def test_a_movie_that_varies_along_one_axis_is_not():
    line = np.sin(2 * np.pi * np.arange(24) / 24)
    assert not wraps(np.broadcast_to(line, (5, 24, 24)))


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("neutron_edges", "edges"),
        ("neutron_open_beam", "static"),
        ("fluorescence_nuclei", "noisy"),
        ("tem_pt_ceo2", "noisy"),
        ("zn_electrode_optical_smooth", "frames"),
    ],
)
def test_microscopes_do_not_wrap(shared_data, name, key):
    assert not wraps(shared_data(name, key).astype(float))


@pytest.mark.parametrize(("name", "key"), [("ch_clean", "clean"), ("ch_gauss03", "noisy")])
def test_shared_twins_do(shared_data, name, key):
    assert wraps(shared_data(name, key).astype(float))


@pytest.mark.parametrize("correlation", [None, (1, 3), (3, 3)])
@pytest.mark.parametrize("binning", [1, 2])
def test_what_noise_alone_leaves_is_expected(correlation, binning):
    """Variances count that correlated noise averages out slowly: the misfit of the right law is then below one per datum."""
    rng, side = np.random.default_rng(0), 96
    noise = rng.standard_normal((24, side, side))
    if correlation:
        noise = ndimage.uniform_filter(noise, (0, *correlation), mode="wrap")
    clean = 0.5 + 0.3 * np.sin(np.arange(side) / 9)
    movie = Movie.from_array(clean + 0.1 * noise / noise.std())
    config = FitConfig(
        first_frame=0, concentration_range=(0.0, 1.0), max_side=side // binning, max_frames=24
    )
    fit_problem = prepare_fit_problem(movie, config, None)
    assert fit_problem.binning == binning
    wanted = clean.reshape(-1, binning).mean(1)
    left = np.sum((fit_problem.observed - wanted) ** 2 / fit_problem.variance)
    assert left == pytest.approx(fit_problem.expected(), rel=0.06)
    # A value in ten thousand may be taken for an outlier.
    assert fit_problem.expected(slice(12)) == pytest.approx(fit_problem.expected() / 2, rel=1e-3)


class Absorption(eqx.Module):
    """Counts I = I₀ exp(−c) of a concentration c, from outside the package."""

    incident: float

    def observe(self, field):
        return self.incident * jnp.exp(-field)

    def quantify(self, counts, variance):
        return Moments(jnp.log(self.incident / counts), variance / counts**2)


def test_an_observation_turns_counts_into_concentration():
    rng, side = np.random.default_rng(0), 64
    clean = np.broadcast_to(0.5 + 0.3 * np.sin(np.arange(side) / 9), (12, side, side))
    counts = np.asarray(Absorption(1000.0).observe(clean))
    movie = Movie.from_array(counts + 4.0 * rng.standard_normal(counts.shape))
    problem = prepare_fit_problem(movie, FitConfig(first_frame=0), None, Absorption(1000.0))
    np.testing.assert_allclose(problem.observed, clean, atol=0.06)
    # var c = var I / I², by the inverse of the instrument at the field.
    np.testing.assert_allclose(problem.variance.mean((0, 1)), (4.0 / counts[0, 0]) ** 2, rtol=0.25)
    assert problem.sentences[0] == "The concentration is that of Absorption."


@pytest.mark.slow
def test_a_law_is_found_through_an_observation():
    config = SimulateConfig(size=(24, 24), frames=16, sigma=0.0, log_diffusivity=(0.3, 0.6))
    clean = simulate("fickian", config).clean
    seen = Absorption(1000.0)
    counts = Movie.from_array(
        np.asarray(seen.observe(clean.frames)), times=clean.times, pixel_size=clean.pixel_size
    )
    settings = FitConfig(mobility_degree=1, windows=3, boundary="no-flux", iterations=25)
    result = fit(counts, "fickian", settings, observation=seen)
    c = result.curves["c"]
    np.testing.assert_allclose(result.curves["D"], np.exp(0.3 + 0.6 * (2 * c - 1)), rtol=0.03)
    assert result.settings["observation"] == "Absorption"


def test_a_denoiser_that_changes_an_edge_does_not_hide_that_they_continue_each_other():
    x = 2 * np.pi * (np.arange(24) + 0.5) / 24
    wave = 0.5 + 0.2 * np.sin(x)[:, None] + 0.2 * np.cos(2 * x[None] + x[:, None])
    frames = wave * np.linspace(1.0, 0.8, 5)[:, None, None]
    frames = frames + 0.01 * np.random.default_rng(0).normal(size=frames.shape)
    movie = Movie.from_array(frames)
    # As far from the measured frames at one edge as no denoiser is.
    smooth = frames * np.linspace(1.0, 0.0, 24)
    assert not wraps(smooth)
    noise = Gaussian(0.01)
    estimate = Estimate(movie, smooth, np.full_like(smooth, 1e-5), noise)
    problem = prepare_fit_problem(movie, FitConfig(joint=True, concentration="as-is"), estimate)
    assert problem.grid.boundary == "periodic"
