"""A movie in parts is the movie: windows of held-out pixels, of masks and of results are those of the whole."""

import numpy as np
import pytest

from phdenoise.denoising import source as source_module
from phdenoise.denoising.source import Collector, HeldOut, MovieSource, Part
from phdenoise.movie import Estimate, Movie
from phdenoise.networks.centre_blind import CentreBlind
from phdenoise.networks.context import FRAME, PIXEL
from phdenoise.noise.models import Gaussian
from phdenoise.training.held_out import held_out
from phdenoise.types import Moments

SHAPE = (7, 20, 24)
WINDOW = (slice(2, 6), slice(3, 15), slice(8, 24))


def movie(**kwargs):
    frames = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    frames[3, 4, 9] = np.nan
    return Movie.from_array(frames, **kwargs)


@pytest.mark.parametrize("region", [PIXEL, FRAME])
def test_held_out_pixels_of_a_window_are_those_of_the_movie(region, monkeypatch):
    # Two frames are drawn at once.
    monkeypatch.setattr(source_module, "_DRAWN_AT_ONCE", 2 * SHAPE[1] * SHAPE[2])
    found = HeldOut(SHAPE, 3, region, CentreBlind())(*WINDOW)
    np.testing.assert_array_equal(found, held_out(SHAPE, 3, region)[WINDOW])


@pytest.mark.parametrize("axes", [2, 3])
def test_a_source_reads_what_the_movie_has(axes):
    whole = movie(mask=np.random.default_rng(1).random(SHAPE[-axes:]) < 0.9)
    values, valid = MovieSource(whole).read(*WINDOW)
    np.testing.assert_array_equal(values, whole.frames[WINDOW])
    np.testing.assert_array_equal(valid, whole.valid()[WINDOW])


def test_a_window_is_collected_from_blocks():
    whole = movie()
    good = whole.valid()
    rng = np.random.default_rng(2)
    blind, result = (Moments(*rng.random((2, *SHAPE))) for _ in range(2))
    collector = Collector(whole, WINDOW)
    for t in (slice(0, 3), slice(3, 7)):
        for y in (slice(0, 9), slice(9, 20)):
            block = (t, y, slice(0, 24))
            part = Part(whole.frames[block], good[block], good[block])
            collector.add(block, part, *(Moments(*(a[block] for a in m)) for m in (blind, result)))
    for found, expected in ((collector.blind, blind), (collector.result, result)):
        for array, all_of_it in zip(found, expected, strict=True):
            np.testing.assert_array_equal(array, all_of_it[WINDOW])
    part_of_it = collector.movie()
    np.testing.assert_array_equal(part_of_it.frames, whole.frames[WINDOW])
    np.testing.assert_array_equal(part_of_it.valid(), good[WINDOW])
    np.testing.assert_array_equal(part_of_it.times, whole.times[WINDOW[0]])
    assert "frames 2 to 5" in collector.sentence


def test_settings_of_earlier_versions_are_found():
    one = movie()
    known = {"lasting": [0.5], "seed": 3}
    estimate = Estimate(one, one.frames, one.frames, Gaussian(1.0), settings=known)
    assert estimate.setting("temporal_correlation") == [0.5]
    assert estimate.setting("seed") == 3
    assert estimate.setting("error_noise_covariance", 0.0) == 0.0
