"""A folder of frames of which some are missing: their times keep the gap."""

import numpy as np
import pytest
import tifffile

from phdenoise.io.reading import frame_places, read

RNG = np.random.default_rng(11)
COUNTS = RNG.poisson(500, (24, 10, 8)).astype(np.uint16)


def notes(movie):
    return " ".join(movie.provenance["notes"])


def folder(path, numbers, name):
    path.mkdir()
    for n in numbers:
        tifffile.imwrite(path / name.format(n), COUNTS[n % 24])
    return path


@pytest.mark.parametrize("name", ["frame_{:04d}.tif", "f{}.tif", "run7_2026_{:03d}_cam1.tif"])
@pytest.mark.parametrize("step", [1, 10])
@pytest.mark.parametrize("first", [0, 1, 5])
def test_times_keep_the_gaps(tmp_path, name, step, first):
    kept = np.array([0, 1, 2, 6, 7, 9, 10])
    path = folder(tmp_path / "gap", first + step * kept, name)
    movie = read(path, frame_interval=2.0)
    np.testing.assert_array_equal(movie.times, 2.0 * kept)
    np.testing.assert_array_equal(movie.frames, COUNTS[(first + step * kept) % 24])
    missing = first + step * np.array([3, 4, 5, 8])
    assert f"4 frames are missing by their numbers ({', '.join(map(str, missing))})" in notes(movie)
    np.testing.assert_array_equal(read(path).times, kept)
    given = np.arange(7.0) ** 2
    np.testing.assert_array_equal(read(path, times=given).times, given)


@pytest.mark.parametrize(
    ("names", "places"),
    [
        (["a1.tif", "a2.tif", "a3.tif"], None),
        (["a0.tif", "a5.tif", "a10.tif"], None),
        (["a1.tif", "a2.tif", "a4.tif"], [0, 1, 3]),
        (["a1_t5.tif", "a2_t9.tif", "a4_t11.tif"], None),
        (["a1.tif", "b2.tif", "b4.tif"], None),
        (["1699999900.tif", "1699999917.tif", "1700000300.tif"], None),
        (["a1.tif", "a01.tif", "a2.tif"], None),
        (["a1.tif", "a3.tif"], None),
        (["one.tif", "two.tif", "xxx.tif"], None),
    ],
)
def test_names_that_count(names, places):
    found = frame_places(names, [])
    assert (None if found is None else found.tolist()) == places


def test_names_that_are_dates_are_said_not_to_count():
    said = []
    assert frame_places(["1699999900.tif", "1699999917.tif", "1700000300.tif"], said) is None
    assert "do not count frames" in said[0]
