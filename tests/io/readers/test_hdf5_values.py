"""HDF5, NeXus and netCDF: every number is what h5py or netCDF4 says that it is, and nothing is read that was never written."""

import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from phdenoise.io.parts import open_movie
from phdenoise.io.reading import read
from phdenoise.types import InputError

RNG = np.random.default_rng(5)
COUNTS = RNG.poisson(500, (12, 20, 16)).astype(np.uint16)


def notes(movie):
    return " ".join(movie.provenance["notes"])


def same(movie, truth):
    """Equal where the truth is a number, not measured where it is NaN; also when read in windows."""
    np.testing.assert_array_equal(movie.frames, truth.astype(movie.frames.dtype))


def in_windows(path):
    """The movie as it is read in parts, NaN where it is not valid."""
    with open_movie(path) as file:
        t, y, x = file.header.shape
        out = np.full((t, y, x), np.nan)
        for k in range(0, t, 5):
            for rows in (slice(0, 7), slice(7, y)):
                window = (slice(k, min(k + 5, t)), rows, slice(0, x))
                values, valid = file.read(*window)
                out[window] = np.where(valid, values, np.nan)
        return out


@pytest.mark.parametrize("kind", ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"])  # fmt: skip
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("layout", [{}, {"chunks": (3, 7, 16)}, {"compression": "gzip", "shuffle": True}])  # fmt: skip
def test_every_number_type_and_layout(tmp_path, kind, order, layout):
    array = RNG.integers(-100 if kind[0] in "if" else 0, 100, (4, 9, 16)).astype(order + kind)
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("data", data=array, **layout)
    movie = read(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        np.testing.assert_array_equal(movie.frames, file["data"][()].astype(float))
    np.testing.assert_array_equal(in_windows(tmp_path / "m.h5"), array.astype(float))


def stopped(path, chunks, frames, rows):
    """A dataset for 12 frames of which some were recorded, and some rows of the next."""
    with h5py.File(path, "w") as file:
        data = file.create_dataset("data", COUNTS.shape, COUNTS.dtype, chunks=chunks)
        data[:frames] = COUNTS[:frames]
        if rows:
            data[frames, :rows] = COUNTS[frames, :rows]
    truth = COUNTS.astype(float)
    truth[frames, rows:] = truth[frames + 1 :] = np.nan
    return truth


@pytest.mark.parametrize(
    ("chunks", "frames", "rows"),
    [((1, 20, 16), 9, 8), ((1, 20, 16), 5, 0), ((4, 20, 16), 5, 13), ((1, 10, 8), 7, 10), ((4, 5, 16), 4, 0)],
)  # fmt: skip
def test_a_stopped_recording_ends_where_it_stopped(tmp_path, chunks, frames, rows):
    truth = stopped(tmp_path / "m.h5", chunks, frames, rows)
    movie = read(tmp_path / "m.h5")
    same(movie, truth)
    np.testing.assert_array_equal(in_windows(tmp_path / "m.h5"), truth)
    assert "never recorded" in notes(movie)
    assert movie.provenance["dtype"] == "uint16"


def test_chunks_lost_in_the_middle(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        data = file.create_dataset("data", COUNTS.shape, COUNTS.dtype, chunks=(2, 10, 16))
        data[:4], data[6:] = COUNTS[:4], COUNTS[6:]
        data[4:6, :10] = COUNTS[4:6, :10]
    truth = COUNTS.astype(float)
    truth[4:6, 10:] = np.nan
    same(read(tmp_path / "m.h5"), truth)


def test_a_dataset_that_was_never_written(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("chunked", (5, 9, 9), "u2", chunks=(1, 9, 9))
        file.create_dataset("whole", (5, 9, 9), "u2")
    for name in ("chunked", "whole"):
        with pytest.raises(InputError, match="nothing was ever written"):
            read(f"{tmp_path / 'm.h5'}::{name}")


def virtual(path, sources, shape, **options):
    layout = h5py.VirtualLayout(shape, "u2")
    for where, source in sources:
        layout[where] = source
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("data", layout, **options)


def raw_files(folder, count=3):
    """COUNTS in files of four frames each."""
    for k in range(count):
        with h5py.File(folder / f"raw{k}.h5", "w") as file:
            file["d"] = COUNTS[4 * k : 4 * k + 4]


@pytest.mark.parametrize("lost", [None, 0, 1, 2])
def test_sources_of_a_virtual_dataset(tmp_path, lost):
    raw_files(tmp_path)
    sources = [(slice(4 * k, 4 * k + 4), h5py.VirtualSource(f"raw{k}.h5", "d", (4, 20, 16))) for k in range(3)]  # fmt: skip
    virtual(tmp_path / "m.h5", sources, COUNTS.shape, fillvalue=7)
    truth = COUNTS.astype(float)
    if lost is not None:
        (tmp_path / f"raw{lost}.h5").unlink()
        truth[4 * lost : 4 * lost + 4] = np.nan
    movie = read(tmp_path / "m.h5")
    same(movie, truth)
    assert ("never recorded" in notes(movie)) == (lost is not None)
    np.testing.assert_array_equal(in_windows(tmp_path / "m.h5"), truth)


def test_interleaved_sources_and_a_source_that_stopped(tmp_path):
    """Two detectors take turns, and the second one stopped after its fourth frame."""
    for k in range(2):
        with h5py.File(tmp_path / f"raw{k}.h5", "w") as file:
            data = file.create_dataset("d", (6, 20, 16), "u2", chunks=(1, 20, 16))
            data[: 6 - 2 * k] = COUNTS[k::2][: 6 - 2 * k]
    sources = [(np.s_[k::2], h5py.VirtualSource(f"raw{k}.h5", "d", (6, 20, 16))) for k in range(2)]
    virtual(tmp_path / "m.h5", sources, COUNTS.shape)
    truth = COUNTS.astype(float)
    truth[[9, 11]] = np.nan
    same(read(tmp_path / "m.h5"), truth)


def test_images_as_sources_and_a_part_without_one(tmp_path):
    for k in range(12):
        with h5py.File(tmp_path / f"i{k}.h5", "w") as file:
            file["d"] = COUNTS[k]
    sources = [(k, h5py.VirtualSource(f"i{k}.h5", "d", (20, 16))) for k in range(12) if k != 6]
    virtual(tmp_path / "m.h5", sources, COUNTS.shape)
    truth = COUNTS.astype(float)
    truth[6] = np.nan
    same(read(tmp_path / "m.h5"), truth)


def test_external_links_of_a_detector_are_one_movie(tmp_path):
    raw_files(tmp_path)
    with h5py.File(tmp_path / "master.h5", "w") as file:
        group = file.create_group("entry/data")
        for k in (2, 0, 1):
            group[f"data_{k + 1:06d}"] = h5py.ExternalLink(f"raw{k}.h5", "/d")
    movie = read(tmp_path / "master.h5")
    same(movie, COUNTS.astype(float))
    same(read(f"{tmp_path / 'master.h5'}::entry/data/data_000002"), COUNTS[4:8].astype(float))
    (tmp_path / "raw1.h5").unlink()
    (tmp_path / "raw2.h5").unlink()
    same(read(tmp_path / "master.h5"), COUNTS[:4].astype(float))


@pytest.mark.parametrize("dtype", ["i2", "u2", "i4", "f4", "f8", "i8", "u1"])
@pytest.mark.parametrize("key", ["_FillValue", "missing_value"])
def test_fill_values(tmp_path, dtype, key):
    fill = {"u": np.iinfo(dtype).max if dtype[0] == "u" else 0, "i": -99, "f": 1e20}[dtype[0]]
    array = COUNTS.astype(dtype) % 200
    array[5:8, 3:9, 2:6] = fill
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("data", data=array)
        file["data"].attrs[key] = np.array([fill], dtype)
    truth = np.where(array == np.array(fill, dtype), np.nan, array.astype(float))
    same(read(tmp_path / "m.h5"), truth)
    np.testing.assert_array_equal(in_windows(tmp_path / "m.h5"), truth)


def test_several_missing_values_and_a_valid_range(tmp_path):
    array = COUNTS.astype(np.int16)
    array[0, 0, :3] = [-1, -2, 9000]
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["data"] = array
        file["data"].attrs["missing_value"] = np.array([-1, -2], np.int16)
        file["data"].attrs["valid_range"] = np.array([0, 8000], np.int16)
    truth = array.astype(float)
    truth[0, 0, :3] = np.nan
    same(read(tmp_path / "m.h5"), truth)


def test_a_creation_fill_value_masks_only_what_is_no_measurement(tmp_path):
    """A dataset created with 500 keeps counts of 500; one created with -9999 masks them."""
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("common", data=COUNTS, fillvalue=500)
        array = COUNTS.astype(np.int32)
        array[2, :4] = -9999
        file.create_dataset("sentinel", data=array, fillvalue=-9999)
    same(read(f"{tmp_path / 'm.h5'}::common"), COUNTS.astype(float))
    same(read(f"{tmp_path / 'm.h5'}::sentinel"), np.where(array == -9999, np.nan, array))


@pytest.mark.parametrize("dtype", ["i1", "i2", "u2", "i4", "u1"])
@pytest.mark.parametrize("unsigned", [False, True])
def test_packed_values_are_those_of_netcdf4(tmp_path, dtype, unsigned):
    """CF packing, fill values, valid range, unsigned bytes: the reference library's masked array is the truth."""
    netcdf = pytest.importorskip("netCDF4")
    raw = RNG.integers(0, 120, (5, 9, 8)).astype(dtype)
    raw[1, 2:4] = raw[3, 0, 0] = 99
    with netcdf.Dataset(tmp_path / "m.nc", "w") as file:
        for name, size in zip("tyx", raw.shape, strict=True):
            file.createDimension(name, size)
        v = file.createVariable("signal", dtype, tuple("tyx"), fill_value=99, zlib=True)
        v.set_auto_maskandscale(False)
        v.scale_factor, v.add_offset, v.valid_min = 0.25, -3.0, np.array(2, dtype)
        if unsigned and dtype[0] == "i":
            v._Unsigned = "true"
        v[:] = raw
    with netcdf.Dataset(tmp_path / "m.nc") as file:
        truth = file["signal"][:].astype(float).filled(np.nan)
    movie = read(tmp_path / "m.nc")
    same(movie, truth)
    np.testing.assert_array_equal(in_windows(tmp_path / "m.nc"), truth.astype(movie.frames.dtype))
    assert "0.25 times the stored numbers plus -3" in notes(movie)


def test_netcdf_dimensions_and_unlimited_time(tmp_path):
    """Times come from the dimension's variable, a frame that was never written has no numbers, axes may be in any order."""
    netcdf = pytest.importorskip("netCDF4")
    truth = COUNTS[:5].astype(float)
    with netcdf.Dataset(tmp_path / "m.nc", "w") as file:
        for name, size in (("y", 20), ("x", 16), ("time", None)):
            file.createDimension(name, size)
        times = file.createVariable("time", "f8", ("time",))
        times.units = "seconds since 2026-01-01 00:00:00"
        for name in "yx":
            axis = file.createVariable(name, "f4", (name,))
            axis.units, axis[:] = "um", 0.5 * np.arange(20 if name == "y" else 16)
        signal = file.createVariable("signal", "u2", ("y", "x", "time"))
        for k in (0, 1, 2, 4):
            signal[:, :, k] = COUNTS[k]
        times[:] = [0.0, 1.5, 3, 4.5, 9]
    truth[3] = np.nan
    movie = read(tmp_path / "m.nc")
    same(movie, truth)
    np.testing.assert_array_equal(movie.times, [0, 1.5, 3, 4.5, 9])
    assert (movie.time_unit, movie.length_unit, movie.pixel_size) == ("s", "um", (0.5, 0.5))


@pytest.mark.parametrize("beside", [True, False])
def test_nexus_scaling(tmp_path, beside):
    packed = (COUNTS.astype(int) * 2 - 1000).astype(np.int16)
    prefix = "data_" if beside else ""
    with h5py.File(tmp_path / "m.nxs", "w") as file:
        group = file.create_group("entry/data")
        group["data"] = packed
        group[f"{prefix}scaling_factor"], group[f"{prefix}offset"] = 0.5, 500.0
    same(read(tmp_path / "m.nxs"), COUNTS.astype(float))
    np.testing.assert_array_equal(in_windows(tmp_path / "m.nxs"), COUNTS)
    with h5py.File(tmp_path / "m.nxs", "a") as file:
        file["entry/data/data"].attrs["scale_factor"] = 0.25
    with pytest.raises(InputError, match=r"two scalings, 0\.25 and 0\.5"):
        read(tmp_path / "m.nxs")


@pytest.mark.parametrize("order", ["tyx", "yxt", "ytx", "xyt"])
@pytest.mark.parametrize("falling", [False, True])
def test_named_axes_in_any_order(tmp_path, order, falling):
    """`axes` names rows, columns and energy; energies that fall become a rising stack."""
    energies = np.linspace(700, 711, 12)[:: -1 if falling else 1]
    with h5py.File(tmp_path / "m.nxs", "w") as file:
        file.attrs["default"] = "e"
        entry = file.create_group("e")
        entry.attrs["NX_class"], entry.attrs["default"] = "NXentry", "d"
        group = entry.create_group("d")
        group.attrs["NX_class"], group.attrs["signal"] = "NXdata", "counts"
        names = {"t": "energy", "y": "sample_y", "x": "sample_x"}
        group.attrs["axes"] = [names[c] for c in order]
        group["counts"] = COUNTS.transpose(["tyx".index(c) for c in order])
        group["energy"] = energies
        group["energy"].attrs["units"] = "eV"
        for name, size in (("sample_y", 20), ("sample_x", 16)):
            group[name] = 0.1 * np.arange(size)
            group[name].attrs["units"] = "um"
    movie = read(tmp_path / "m.nxs")
    same(movie, COUNTS[:: -1 if falling else 1].astype(float))
    np.testing.assert_allclose(movie.times, np.sort(energies))
    assert movie.time_unit == "eV"
    np.testing.assert_allclose(movie.pixel_size, 0.1)


@pytest.mark.parametrize("shape", [(1, 12, 20, 16), (12, 1, 20, 16), (12, 20, 16, 1), (1, 12, 1, 20, 16), (1, 1, 12, 20, 16)])  # fmt: skip
def test_axes_of_length_one_anywhere(tmp_path, shape):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["data"] = COUNTS.reshape(shape)
    same(read(tmp_path / "m.h5"), COUNTS.astype(float))


def test_darks_and_flats_are_no_frames(tmp_path):
    keys = np.array([2, 2, 1, 0, 0, 0, 0, 3, 0, 0, 1, 1])
    with h5py.File(tmp_path / "m.nxs", "w") as file:
        entry = file.create_group("entry")
        entry.attrs["NX_class"] = "NXentry"
        entry["definition"] = "NXtomo"
        detector = entry.create_group("instrument/detector")
        detector["data"], detector["image_key"] = COUNTS, keys
        entry["data/image_key"] = h5py.SoftLink("/entry/instrument/detector/image_key")
        entry["data/data"] = h5py.SoftLink("/entry/instrument/detector/data")
        entry["data"].attrs["NX_class"] = "NXdata"
        entry["data"].attrs["signal"] = "data"
    movie = read(tmp_path / "m.nxs")
    same(movie, COUNTS[keys == 0].astype(float))
    assert "3 flat fields, 2 dark fields, 1 invalid were left out" in notes(movie)
    with h5py.File(tmp_path / "m.nxs", "a") as file:
        file["entry/instrument/detector/image_key"][...] = 1
    with pytest.raises(InputError, match="no frame of a sample"):
        read(tmp_path / "m.nxs")


CODECS = ("Bitshuffle", "Blosc", "Blosc2", "Zstd", "LZ4", "BZip2")


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """A file for each codec, of a process without netCDF4, which points HDF5 to plugins of its own."""
    pytest.importorskip("hdf5plugin")
    folder = tmp_path_factory.mktemp("packed")
    np.save(folder / "counts.npy", COUNTS)
    code = (
        "import sys, h5py, hdf5plugin, numpy; counts = numpy.load(sys.argv[1] + '/counts.npy')\n"
        "for codec in sys.argv[2:]:\n"
        "  with h5py.File(f'{sys.argv[1]}/{codec}.h5', 'w') as file:\n"
        "    file.create_dataset('data', data=counts, chunks=(1, 20, 16), **getattr(hdf5plugin, codec)())"
    )
    env = {k: v for k, v in os.environ.items() if k != "HDF5_PLUGIN_PATH"}
    subprocess.run([sys.executable, "-c", code, str(folder), *CODECS], check=True, env=env)
    return folder


@pytest.mark.parametrize("codec", CODECS)
def test_codecs_of_hdf5plugin(packed, codec, monkeypatch):
    path = packed / f"{codec}.h5"
    same(read(path), COUNTS.astype(float))
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: False)
    with pytest.raises(InputError, match=r"HDF5 filter \d+.*install its HDF5 plugin"):
        read(path)
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    with pytest.raises(InputError, match=r"pip install hdf5plugin") as caught:
        read(path)
    assert "damaged" not in str(caught.value)
