"""Programs that are not ours read values, axes, units, times and uncertainty of what we write; we read all of it back."""

import json
import re

import h5py
import numpy as np
import pytest
import tifffile

from phdenoise.channels import Channels
from phdenoise.io.channels import read_channels
from phdenoise.io.native import read_estimate
from phdenoise.io.reading import read
from phdenoise.io.units import spelled
from phdenoise.io.writing import write
from phdenoise.movie import Estimate, Movie
from phdenoise.noise.models import Gaussian

RNG = np.random.default_rng(0)
TIMES = np.array([0.0, 1.0, 2.5, 7.0])


def _movie(**changes):
    about = {
        "times": TIMES, "pixel_size": (0.1, 0.2), "time_unit": "s", "length_unit": "um",
        "intensity_unit": "mol/cm^3", "name": "cell 7", "provenance": {"path": "/there/raw.tif", "notes": ["a µ note"]},
    }  # fmt: skip
    return Movie(RNG.normal(5, 1, (4, 6, 8)).astype(np.float32), **(about | changes))


def _estimate(**changes):
    movie = _movie(**changes)
    mean = RNG.normal(5, 1, movie.shape).astype(np.float32)
    weights = {"layers/0/kernel": mean[0], "['a'].b": np.arange(3)}
    trust = {"bias": {"map": mean[0], "level": 0.1}, "warnings": []}
    variance = RNG.uniform(0.01, 0.04, movie.shape).astype(np.float32)
    return Estimate(movie, mean, variance, Gaussian(1.0), weights=weights, trust=trust)


@pytest.fixture
def native(tmp_path):
    estimate = _estimate()
    write(estimate, tmp_path / "e.h5")
    return tmp_path / "e.h5", estimate


UNITS = {
    ("mol/cm^3", 1): "mol/cm^3", ("mol/cm^3", 2): "mol^2/cm^6", ("um", 2): "um^2", ("um^2/s", 1): "um^2/s",
    ("counts", 1): "count", ("counts", 2): "count^2", ("Å", 1): "angstrom", ("1/s", 1): "1/s", ("1/s", 2): "1/s^2",
    ("lithium fraction", 1): "1", ("lithium fraction x", 2): "1", ("px", 1): "1", ("L", 1): "1", ("t", 1): "1",
    ("kT", 1): "1", ("1", 2): "1", ("%", 1): "percent",
}  # fmt: skip


@pytest.mark.parametrize(("unit", "power"), UNITS)
def test_units_mean_to_others_what_they_mean_here(unit, power):
    assert spelled(unit, power) == UNITS[unit, power]
    pint = pytest.importorskip("pint")
    read_there = pint.UnitRegistry()(UNITS[unit, power])
    if unit == "mol/cm^3":
        assert read_there.dimensionality == {"[substance]": power, "[length]": -3 * power}  # type: ignore[union-attr]
    if unit in ("px", "L", "t", "kT"):
        assert getattr(read_there, "dimensionless", True)


def test_hdf5_has_scales_units_and_uncertainty(native):
    path, estimate = native
    with h5py.File(path) as file:
        mean = file["entry/data/mean"]
        assert [d.label for d in mean.dims] == ["time", "y", "x"]
        np.testing.assert_array_equal(mean.dims[0][0][()], TIMES)
        assert file["entry/data/variance"].attrs["units"] == "mol^2/cm^6"
        sd = file["entry/data/mean_errors"]
        assert sd.attrs["units"] == mean.attrs["units"] == "mol/cm^3"
        np.testing.assert_allclose(sd[()], np.sqrt(estimate.variance))
        named = re.compile(r"^[A-Za-z0-9_.]+$")
        wrong: list[str] = []

        def visit(name, item):
            if not named.match(name.rsplit("/", 1)[-1]):
                wrong.append(name)
            if isinstance(item, h5py.Group) and "NX_class" not in item.attrs:
                wrong.append(f"{name} has no class")

        file.visititems(visit)
        assert not wrong
    back = read_estimate(path)
    assert back.movie.intensity_unit == "mol/cm^3"
    assert set(back.weights) == set(estimate.weights)


def test_nexusformat_reads_the_default_plot_and_its_errors(native):
    nx = pytest.importorskip("nexusformat.nexus")
    path, estimate = native
    data = nx.nxload(str(path)).entry.data
    assert data.nxsignal.nxname == "mean"
    assert [a.nxname for a in data.nxaxes] == ["time", "y", "x"]
    np.testing.assert_allclose(data.nxerrors.nxvalue, np.sqrt(estimate.variance))
    assert data.nxsignal.attrs["units"] == "mol/cm^3"


def test_silx_reads_the_default_plot_and_its_errors(native):
    pytest.importorskip("silx")
    from silx.io import nxdata
    from silx.io import open as silx_open

    path, estimate = native
    with silx_open(str(path)) as file:
        plot = nxdata.get_default(file)
        assert plot.signal_name == "mean (mol/cm^3)"
        assert plot.axes_dataset_names == ["time", "y", "x"]
        np.testing.assert_allclose(plot.errors[()], np.sqrt(estimate.variance))


def test_xarray_reads_names_and_coordinates(native):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    path, _ = native
    with xarray.open_dataset(
        path, group="entry/data", engine="h5netcdf", decode_times=False
    ) as found:
        assert found["mean"].dims == ("time", "y", "x")
        np.testing.assert_array_equal(found["time"].values, TIMES)
        assert found["x"].attrs["units"] == "um"


@pytest.mark.parametrize("several", [False, True])
def test_hyperspy_reads_one_and_several_channels(several, tmp_path):
    hs = pytest.importorskip("hyperspy.api")
    path = tmp_path / "m.nxs"
    frames = RNG.normal(5, 1, (3, 4, 6, 8)).astype(np.float32)
    write(Channels.from_array(frames, times=TIMES) if several else _movie(), path)
    found = hs.load(str(path), reader="nexus")
    signal = found[0] if isinstance(found, list) else found
    assert sorted(signal.data.shape) == sorted((3, 4, 6, 8) if several else (4, 6, 8))


def test_tiff_gives_back_every_time_and_unit(tmp_path):
    estimate = _estimate()
    write(estimate, tmp_path / "e.tif")
    back = read(tmp_path / "e.tif")
    np.testing.assert_array_equal(back.times, TIMES)
    np.testing.assert_array_equal(back.frames, estimate.mean)
    assert (back.intensity_unit, back.time_unit, back.length_unit) == ("mol/cm^3", "s", "um")
    assert back.pixel_size == (0.1, 0.2)
    assert back.name == "cell 7"
    assert back.provenance["source"]["path"] == "/there/raw.tif"
    with tifffile.TiffFile(tmp_path / "e.tif") as file:
        assert file.imagej_metadata["finterval"] == pytest.approx(7 / 3)
        assert json.loads(file.imagej_metadata["Info"])["times"] == TIMES.tolist()


@pytest.mark.parametrize("suffix", [".ome.tif", ".zarr"])
@pytest.mark.parametrize("make", [_movie, _estimate])
def test_ome_files_read_back(suffix, make, tmp_path):
    if suffix == ".zarr":
        pytest.importorskip("zarr")
    result = make()
    path = tmp_path / f"e{suffix}"
    write(result, path)
    back = read(path)
    movie = result if isinstance(result, Movie) else result.movie
    frames = result.frames if isinstance(result, Movie) else result.mean
    np.testing.assert_array_equal(back.frames, frames)
    np.testing.assert_array_equal(back.times, TIMES)
    for name in ("pixel_size", "length_unit", "time_unit", "intensity_unit", "name"):
        assert getattr(back, name) == getattr(movie, name), name
    if isinstance(result, Estimate):
        sd = read(f"{path}::{'1' if suffix == '.ome.tif' else 'sd/0'}")
        np.testing.assert_allclose(sd.frames, np.sqrt(result.variance))


def test_bioio_and_tifffile_read_the_planes_of_ome_tiff(tmp_path):
    estimate = _estimate()
    write(estimate, tmp_path / "e.ome.tif")
    with tifffile.TiffFile(tmp_path / "e.ome.tif") as file:
        assert [s.shape for s in file.series] == [(4, 6, 8)] * 2
        assert [float(v) for v in re.findall(r'DeltaT="([\d.]+)"', file.ome_metadata)] == [
            *TIMES,
            *TIMES,
        ]
    bioio = pytest.importorskip("bioio")
    ome = pytest.importorskip("bioio_ome_tiff")
    image = bioio.BioImage(tmp_path / "e.ome.tif", reader=ome.Reader)
    assert len(image.scenes) == 2
    np.testing.assert_array_equal(image.get_image_data("TYX"), estimate.mean)
    assert pytest.approx(0.2) == image.physical_pixel_sizes.X
    assert pytest.approx(0.1) == image.physical_pixel_sizes.Y


def test_channels_keep_their_names(tmp_path):
    frames = RNG.normal(5, 1, (3, 4, 6, 8)).astype(np.float32)
    channels = Channels.from_array(frames, ("red", "green", "blue"), times=TIMES)
    write(channels, tmp_path / "c.h5")
    back = read_channels(tmp_path / "c.h5")
    assert back.names == ("red", "green", "blue")
    np.testing.assert_array_equal(back.frames, frames)


def test_imageio_and_skimage_read_the_stack(tmp_path):
    # Of three or four frames scikit-image makes colours.
    movie = Movie.from_array(RNG.normal(5, 1, (5, 6, 8)).astype(np.float32))
    write(movie, tmp_path / "m.tif")
    imageio = pytest.importorskip("imageio.v3")
    np.testing.assert_array_equal(imageio.imread(tmp_path / "m.tif"), movie.frames)
    skimage = pytest.importorskip("skimage.io")
    np.testing.assert_array_equal(skimage.imread(tmp_path / "m.tif"), movie.frames)
