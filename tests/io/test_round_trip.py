"""What is written reads back equal, bit by bit."""

import dataclasses
import json

import h5py
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from phdenoise.io.jsonfile import to_json, write_json
from phdenoise.io.native import read_estimate
from phdenoise.io.reading import read
from phdenoise.io.writing import write
from phdenoise.movie import Estimate, Movie
from phdenoise.noise.models import Gaussian, PoissonGaussian

SHAPES = [(1, 1, 1), (1, 5, 3), (3, 1, 7), (2, 3, 4), (5, 17, 13), (2, 130, 131)]


def make_movie(shape=(4, 7, 5), dtype=np.float32, **changes):
    rng = np.random.default_rng(3)
    mask = rng.uniform(size=shape[1:]) > 0.3
    mask[0, 0] = True
    fields = {
        "times": np.cumsum(rng.uniform(0.1, 3, shape[0])),
        "pixel_size": (0.065, 0.13),
        "time_unit": "s",
        "length_unit": "um",
        "intensity_unit": "OD",
        "mask": mask,
        "noise": PoissonGaussian(np.float32(1.5), np.float32(0.25), np.float32(3.0)),
        "name": "particle 7",
        "provenance": {"path": "/somewhere/else.tif", "notes": ["a µ note"]},
    }
    return Movie(frames=rng.normal(size=shape).astype(dtype), **(fields | changes))


def make_estimate(**changes):
    movie = make_movie()
    rng = np.random.default_rng(4)
    a, b, c, d = (rng.normal(size=movie.shape).astype(np.float32) for _ in range(4))
    fields = {
        "blind_mean": c,
        "blind_variance": d**2,
        "noise": Gaussian(np.float32(0.3)),
        "log": ("Noise: Gaussian.", "Whole centre frame hidden."),
        "history": {"loss": [1.0, float("nan"), 0.1], "step": [0.0, 1.0, 2.0]},
        "settings": {"seed": 0, "config": {"width": 32, "blind": "frame", "lr": 1e-3}},
        "weights": {"layers/0/kernel": a[0], "layers/0": b[0, 0], "['a'].b": np.arange(3)},
    }
    return Estimate(movie=movie, mean=a, variance=b**2, **(fields | changes))


def assert_same(a, b):
    """Equal in every field, arrays bit by bit and of the same type."""
    for item in dataclasses.fields(a):
        x, y = getattr(a, item.name), getattr(b, item.name)
        if dataclasses.is_dataclass(x):
            assert type(x) is type(y)
            assert_same(x, y)
        elif hasattr(x, "__array__"):
            assert np.asarray(x).dtype == np.asarray(y).dtype, item.name
            np.testing.assert_array_equal(np.asarray(x), np.asarray(y), err_msg=item.name)
        elif item.name in ("weights", "history"):
            assert set(x) == set(y)
            for key in x:
                np.testing.assert_array_equal(x[key], y[key], err_msg=key)
        else:
            assert x == y, item.name


@pytest.mark.parametrize("suffix", [".h5", ".hdf5", ".nxs"])
@pytest.mark.parametrize("shape", SHAPES)
def test_native_movie(tmp_path, shape, suffix):
    movie = make_movie(shape, np.float64 if shape[0] == 2 else np.float32)
    write(movie, tmp_path / f"m{suffix}")
    back = read(tmp_path / f"m{suffix}")
    assert back.provenance["source"] == movie.provenance
    assert_same(dataclasses.replace(back, provenance=movie.provenance), movie)


def test_native_movie_without_options(tmp_path):
    movie = make_movie(mask=None, noise=None, time_unit="frame", length_unit="px", provenance={})
    write(movie, tmp_path / "m.h5")
    back = read(tmp_path / "m.h5")
    assert_same(dataclasses.replace(back, provenance={}), movie)
    assert any("pixel size" in note for note in back.provenance["notes"])


def test_native_estimate(tmp_path):
    estimate = make_estimate()
    assert write(estimate, tmp_path / "e.h5") == (tmp_path / "e.h5",)
    assert_same(read_estimate(tmp_path / "e.h5"), estimate)


def test_native_estimate_without_options(tmp_path):
    estimate = make_estimate(blind_mean=None, blind_variance=None, weights={}, history={}, log=())
    write(estimate, tmp_path / "e.h5")
    assert_same(read_estimate(tmp_path / "e.h5"), estimate)


def test_estimate_as_movie(tmp_path):
    """The default plot of an estimate is the denoised movie; its other arrays can be picked."""
    estimate = make_estimate()
    write(estimate, tmp_path / "e.h5")
    denoised = read(tmp_path / "e.h5")
    assert_same(
        dataclasses.replace(denoised, provenance=estimate.movie.provenance), estimate.as_movie()
    )
    noisy = read(f"{tmp_path / 'e.h5'}::/entry/data/noisy")
    assert_same(dataclasses.replace(noisy, provenance=estimate.movie.provenance), estimate.movie)
    variance = read(f"{tmp_path / 'e.h5'}::/entry/data/variance")
    assert variance.intensity_unit == "OD^2"
    np.testing.assert_array_equal(variance.frames, estimate.variance)


def test_native_file_is_what_nexus_viewers_follow(tmp_path):
    write(make_estimate(), tmp_path / "e.h5")
    with h5py.File(tmp_path / "e.h5") as file:
        entry = file[file.attrs["default"]]
        data = entry[entry.attrs["default"]]
        assert (entry.attrs["NX_class"], data.attrs["NX_class"]) == ("NXentry", "NXdata")
        signal = data[data.attrs["signal"]]
        for axis, size in zip(data.attrs["axes"], signal.shape, strict=True):
            assert data[axis].shape == (size,)
            assert data[axis].attrs["units"]
        for name in data.attrs["auxiliary_signals"]:
            assert data[name].shape == signal.shape


def test_same_result_gives_the_same_bytes(tmp_path):
    write(make_estimate(), tmp_path / "a.h5")
    write(make_estimate(), tmp_path / "b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9)),
    dtype=st.sampled_from(["?", "u1", "i2", ">u2", "u4", "i8", "u8", "f2", ">f4", "f8"]),
    kind=st.sampled_from(["npy", "npz", "h5", "tif"]),
)
def test_any_number_type_and_shape(tmp_path_factory, shape, dtype, kind):
    array = (np.random.default_rng(1).uniform(0, 200, shape) > 100).astype(dtype) * np.array(
        1, dtype
    )
    path = tmp_path_factory.mktemp("any") / f"a.{kind}"
    if kind == "npy":
        np.save(path, array)
    elif kind == "npz":
        np.savez(path, a=array, other=np.arange(3))
    elif kind == "h5":
        with h5py.File(path, "w") as file:
            file["deep/inside"] = array
    else:
        array = array.astype("u1") if array.dtype == bool else array
        tifffile.imwrite(path, array, photometric="minisblack", metadata={"axes": "TYX"})
    movie = read(path, check=False)
    assert movie.frames.dtype == (np.float64 if np.dtype(dtype) == np.float64 else np.float32)
    np.testing.assert_array_equal(movie.frames, array.astype(movie.frames.dtype))
    assert movie.provenance["dtype"] == array.dtype.name


@pytest.mark.parametrize("dtype", ["u4", "i8", "u8", "i4"])
def test_integers_beyond_24_bits_stay_exact(tmp_path, dtype):
    array = np.array([[[0, 2**24 + 1], [7, 8]]], dtype)
    np.save(tmp_path / "a.npy", array)
    movie = read(tmp_path / "a.npy")
    assert movie.frames.dtype == np.float64
    np.testing.assert_array_equal(movie.frames, array)


@pytest.mark.parametrize("shape", SHAPES)
def test_tiff_movie(tmp_path, shape):
    movie = make_movie(shape, times=np.arange(shape[0]) * 2.5)
    write(movie, tmp_path / "m.tif")
    back = read(tmp_path / "m.tif")
    np.testing.assert_array_equal(back.frames, movie.frames)
    np.testing.assert_allclose(back.pixel_size, movie.pixel_size, rtol=1e-6)
    assert back.length_unit == "um"
    if shape[0] > 1:
        np.testing.assert_allclose(back.times, movie.times)
        assert back.time_unit == "s"


def test_tiff_estimate_has_a_second_file_for_the_standard_deviation(tmp_path):
    estimate = make_estimate()
    files = write(estimate, tmp_path / "e.tif")
    assert [f.name for f in files] == ["e.tif", "e_sd.tif"]
    np.testing.assert_array_equal(read(files[0]).frames, estimate.mean)
    np.testing.assert_allclose(read(files[1]).frames ** 2, estimate.variance, rtol=1e-6)
    with tifffile.TiffFile(files[0]) as file:
        assert file.is_imagej
        assert json.loads(file.imagej_metadata["Info"])["log"] == list(estimate.log)


def test_json_of_anything_a_result_holds(tmp_path):
    import jax.numpy as jnp

    value = {
        "b": np.float32(0.5),
        "a": jnp.arange(3),
        3: (np.nan, np.inf, True, None, np.int64(4)),
        "path": tmp_path,
        "noise": Gaussian(np.float32(0.25)),
        "bool": np.array([True]),
        "nested": np.array([[1.0, np.nan]]),
    }
    path = write_json(value, tmp_path / "r.json")
    got = json.loads(path.read_text())
    assert got["a"] == [0, 1, 2]
    assert got["3"] == [None, None, True, None, 4]
    assert got["b"] == 0.5
    assert got["noise"] == {"sigma": 0.25}
    assert got["nested"] == [[1.0, None]]
    assert list(got) == sorted(got)
    assert to_json({"x": 1, "y": 2}) == to_json({"y": 2, "x": 1})
