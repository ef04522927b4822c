"""What a fit takes for granted about a movie is read from it where it shows."""

import numpy as np
import pytest
from scipy import ndimage

from phdenoise.learn import FitConfig
from phdenoise.learn.setting import prepare_setting, wraps
from phdenoise.movie import Movie
from phdenoise.pipeline import SimulateConfig, simulate


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
    setting = prepare_setting(movie, config, None)
    assert setting.binning == binning
    wanted = clean.reshape(-1, binning).mean(1)
    left = np.sum((setting.observed - wanted) ** 2 / setting.variance)
    assert left == pytest.approx(setting.expected(), rel=0.06)
    assert setting.expected(slice(12)) == pytest.approx(setting.expected() / 2)
