"""Axes, colour, pixel size and times as other programs write them."""

import h5py
import numpy as np
import pytest
import tifffile

from phdenoise.io.reading import read
from phdenoise.types import InputError

FRAMES = np.random.default_rng(0).integers(0, 4000, (5, 6, 7)).astype(np.uint16)


def notes(movie):
    return " ".join(movie.provenance["notes"])


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_imagej_stack(tmp_path, byteorder):
    tifffile.imwrite(
        tmp_path / "m.tif",
        FRAMES,
        imagej=True,
        byteorder=byteorder,
        resolution=(1 / 0.065, 1 / 0.13),
        metadata={"axes": "TYX", "unit": "um", "finterval": 2.5},
    )
    movie = read(tmp_path / "m.tif")
    np.testing.assert_array_equal(movie.frames, FRAMES)
    np.testing.assert_allclose(movie.pixel_size, (0.13, 0.065), rtol=1e-6)
    np.testing.assert_allclose(movie.times, 2.5 * np.arange(5))
    assert (movie.length_unit, movie.time_unit, movie.name) == ("um", "s", "m")
    assert notes(movie) == ""


def test_imagej_micro_sign(tmp_path):
    tifffile.imwrite(
        tmp_path / "m.tif", FRAMES, imagej=True, resolution=(2, 2), metadata={"unit": "\\u00B5m"}
    )
    movie = read(tmp_path / "m.tif")
    assert movie.pixel_size == (0.5, 0.5)
    assert movie.length_unit == "um"


def test_imagej_without_axes_keeps_its_frames(tmp_path):
    """tifffile calls an unnamed axis of an ImageJ file channels; a mean of them would be no movie."""
    tifffile.imwrite(tmp_path / "m.tif", FRAMES, imagej=True)
    movie = read(tmp_path / "m.tif")
    np.testing.assert_array_equal(movie.frames, FRAMES)
    assert "5 channels of the file are taken as frames" in notes(movie)
    np.testing.assert_array_equal(read(tmp_path / "m.tif", channel="2").frames, FRAMES[2:3])


def test_imagej_hyperstack_with_channels(tmp_path):
    stack = np.random.default_rng(1).integers(0, 200, (4, 2, 6, 7)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "m.tif", stack, imagej=True, metadata={"axes": "TCYX"})
    assert read(tmp_path / "m.tif").shape == (4, 6, 7)
    np.testing.assert_allclose(read(tmp_path / "m.tif").frames, stack.mean(1), rtol=1e-6)
    np.testing.assert_array_equal(read(tmp_path / "m.tif", channel=1).frames, stack[:, 1])
    np.testing.assert_array_equal(read(tmp_path / "m.tif", channel="0").frames, stack[:, 0])
    with pytest.raises(InputError, match="2 colour channels: --channel must be"):
        read(tmp_path / "m.tif", channel="2")


def test_ome_with_units(tmp_path):
    tifffile.imwrite(
        tmp_path / "m.ome.tif",
        FRAMES,
        metadata={
            "axes": "TYX",
            "PhysicalSizeX": 65.0,
            "PhysicalSizeXUnit": "nm",
            "PhysicalSizeY": 130.0,
            "PhysicalSizeYUnit": "nm",
            "TimeIncrement": 100.0,
            "TimeIncrementUnit": "ms",
        },
    )
    movie = read(tmp_path / "m.ome.tif")
    assert movie.pixel_size == (130.0, 65.0)
    assert (movie.length_unit, movie.time_unit, movie.name) == ("nm", "ms", "m")
    np.testing.assert_allclose(movie.times, 100.0 * np.arange(5))


def test_ome_frame_times(tmp_path):
    delays = [0.0, 1.0, 2.5, 7.0, 7.5]
    tifffile.imwrite(
        tmp_path / "m.ome.tif",
        FRAMES,
        metadata={"axes": "TYX", "Plane": {"DeltaT": delays, "DeltaTUnit": ["s"] * 5}},
    )
    movie = read(tmp_path / "m.ome.tif")
    assert movie.times.tolist() == delays
    assert movie.time_unit == "s"


def test_ome_colour_axis_before_rows(tmp_path):
    stack = np.random.default_rng(1).integers(0, 200, (4, 3, 6, 7)).astype(np.uint8)
    tifffile.imwrite(
        tmp_path / "m.ome.tif", stack, photometric="minisblack", metadata={"axes": "TCYX"}
    )
    np.testing.assert_array_equal(read(tmp_path / "m.ome.tif", channel="b").frames, stack[:, 2])


def test_time_and_depth_together_are_refused(tmp_path):
    stack = np.zeros((2, 3, 6, 7), np.uint16)
    tifffile.imwrite(tmp_path / "m.tif", stack, imagej=True, metadata={"axes": "TZYX"})
    with pytest.raises(InputError, match=r"T = 2, Z = 3"):
        read(tmp_path / "m.tif")


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_plain_pages(tmp_path, dtype, compression):
    with tifffile.TiffWriter(tmp_path / "m.tif", byteorder=">") as file:
        for frame in FRAMES % 100:
            file.write(frame.astype(dtype), compression=compression, metadata=None)
    np.testing.assert_array_equal(read(tmp_path / "m.tif").frames, FRAMES % 100)


def test_resolution_in_centimetres_and_printing_resolution(tmp_path):
    options = {"metadata": None, "photometric": "minisblack"}
    tifffile.imwrite(
        tmp_path / "a.tif", FRAMES, resolution=(1e5, 5e4), resolutionunit="CENTIMETER", **options
    )
    movie = read(tmp_path / "a.tif")
    np.testing.assert_allclose(movie.pixel_size, (0.2, 0.1))
    assert movie.length_unit == "um"
    for unit, dots in (("INCH", 72), ("CENTIMETER", 28.3)):
        tifffile.imwrite(
            tmp_path / "b.tif", FRAMES, resolution=(dots, dots), resolutionunit=unit, **options
        )
        assert read(tmp_path / "b.tif").length_unit == "px"


def test_rgb_movie(tmp_path):
    colour = np.random.default_rng(2).integers(0, 255, (3, 8, 9, 3)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "m.tif", colour, photometric="rgb")
    np.save(tmp_path / "m.npy", colour)
    for file in ("m.tif", "m.npy"):
        movie = read(tmp_path / file)
        np.testing.assert_allclose(movie.frames, colour.mean(-1), rtol=1e-6)
        assert "mean of 3 of 3 colour channels" in notes(movie)
        for i, name in enumerate("rgb"):
            np.testing.assert_array_equal(
                read(tmp_path / file, channel=name).frames, colour[..., i]
            )


def test_alpha_is_no_colour(tmp_path):
    colour = np.random.default_rng(2).uniform(0, 1, (3, 8, 9, 4)).astype(np.float32)
    np.save(tmp_path / "m.npy", colour)
    np.testing.assert_allclose(read(tmp_path / "m.npy").frames, colour[..., :3].mean(-1), rtol=1e-6)


def test_one_colour_image(tmp_path):
    image = np.random.default_rng(2).uniform(0, 1, (8, 9, 3))
    np.save(tmp_path / "m.npy", image)
    assert read(tmp_path / "m.npy", channel="g").frames.tolist() == [image[..., 1].tolist()]
    assert "8 frames of 9 x 3" in notes(read(tmp_path / "m.npy"))


def test_narrow_movie_is_no_colour_image(tmp_path):
    np.save(tmp_path / "m.npy", FRAMES[..., :3])
    for options in ({}, {"channel": "mean"}):
        assert read(tmp_path / "m.npy", **options).shape == (5, 6, 3)


def test_user_calibration_replaces_that_of_the_file(tmp_path):
    np.save(tmp_path / "m.npy", FRAMES)
    unknown = read(tmp_path / "m.npy")
    assert (unknown.length_unit, unknown.time_unit) == ("px", "frame")
    assert "--pixel-size" in notes(unknown)
    assert "--frame-interval" in notes(unknown)
    movie = read(tmp_path / "m.npy", pixel_size=0.2, frame_interval=3.0)
    assert movie.pixel_size == (0.2, 0.2)
    assert (movie.length_unit, movie.time_unit) == ("um", "s")
    assert movie.times.tolist() == [0, 3, 6, 9, 12]
    assert notes(movie) == ""
    movie = read(
        tmp_path / "m.npy",
        pixel_size=(1.0, 2.0),
        times=[0.0, 1.0, 2.0, 4.0, 9.0],
        time_unit="min",
        length_unit="nm",
    )
    assert movie.pixel_size == (1.0, 2.0)
    assert (movie.length_unit, movie.time_unit) == ("nm", "min")
    assert movie.times.tolist() == [0, 1, 2, 4, 9]


def nexus(path, *, defaults=True):
    with h5py.File(path, "w") as file:
        entry = file.create_group("scan")
        entry.attrs["NX_class"] = b"NXentry"
        plot = entry.create_group("plot")
        plot.attrs["NX_class"] = "NXdata"
        plot.attrs["signal"] = "counts"
        plot.attrs["axes"] = ["energy", "y", "x"]
        plot["counts"] = FRAMES
        plot["counts"].attrs["units"] = "OD"
        plot["energy"] = np.linspace(700, 710, 5)
        plot["energy"].attrs["units"] = "eV"
        for name, n, step in (("y", 6, 50.0), ("x", 7, 25.0)):
            plot[name] = step * np.arange(n) - 100
            plot[name].attrs["units"] = "nm"
        entry["other"] = np.zeros((3, 3, 3))
        entry["gone"] = h5py.SoftLink("/nowhere")
        if defaults:
            file.attrs["default"] = "scan"
            entry.attrs["default"] = np.array([b"plot"])


@pytest.mark.parametrize("defaults", [True, False])
def test_nexus_default_plot(tmp_path, defaults):
    nexus(tmp_path / "m.nxs", defaults=defaults)
    movie = read(tmp_path / "m.nxs")
    np.testing.assert_array_equal(movie.frames, FRAMES)
    np.testing.assert_allclose(movie.times, np.linspace(700, 710, 5))
    assert movie.pixel_size == (50.0, 25.0)
    assert (movie.time_unit, movie.length_unit, movie.intensity_unit) == ("eV", "nm", "OD")
    assert movie.provenance["dataset"] == "/scan/plot/counts"
    assert read(f"{tmp_path / 'm.nxs'}::/scan/plot").shape == FRAMES.shape
    assert read(f"{tmp_path / 'm.nxs'}::/scan/other", check=False).shape == (3, 3, 3)


def test_older_nexus_signal_mark(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        data = file.create_group("entry/data")
        file["entry"].attrs["NX_class"], data.attrs["NX_class"] = "NXentry", "NXdata"
        data["a"], data["b"] = FRAMES, FRAMES + 1
        data["b"].attrs["signal"] = 1
    assert read(tmp_path / "m.h5").provenance["dataset"] == "/entry/data/b"


def test_times_beside_a_bare_dataset(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["run/images"] = FRAMES
        file["run/time"] = [0.0, 1, 4, 5, 6]
        file["run/time"].attrs["units"] = "seconds"
    movie = read(tmp_path / "m.h5")
    assert movie.times.tolist() == [0, 1, 4, 5, 6]
    assert movie.time_unit == "s"


def test_times_that_run_backwards_reverse_the_frames(tmp_path):
    np.savez(tmp_path / "m.npz", a=FRAMES, energy_eV=np.arange(5.0)[::-1])
    movie = read(tmp_path / "m.npz")
    assert movie.time_unit == "eV"
    np.testing.assert_array_equal(movie.times, np.arange(5.0))
    np.testing.assert_array_equal(movie.frames, FRAMES[::-1].astype(np.float32))
    assert "taken in rising order" in notes(movie)


def test_times_without_order_are_ignored_and_said(tmp_path):
    np.savez(tmp_path / "m.npz", a=FRAMES, energy_eV=[0.0, 2, 1, 3, 4])
    movie = read(tmp_path / "m.npz")
    assert movie.time_unit == "frame"
    assert "does not increase" in notes(movie)


def test_npz_with_one_movie_and_an_energy_axis(shared_path):
    path = shared_path("data/stxm_fe_l_edge.npz")
    movie = read(path)
    assert movie.shape == (123, 125, 125)
    assert movie.time_unit == "eV"
    assert "only movie" in notes(movie)


def test_colour_npz(shared_path):
    assert read(shared_path("data/brightfield_spheres_rgb.npz")).shape == (60, 160, 160)


def test_folder_of_frames_in_natural_order(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for i, frame in enumerate(np.tile(FRAMES, (3, 1, 1))[:12]):
        tifffile.imwrite(folder / f"frame {i}.tif", frame + i)
    (folder / "notes.txt").write_text("not a frame")
    movie = read(folder)
    expected = np.tile(FRAMES, (3, 1, 1))[:12] + np.arange(12)[:, None, None]
    np.testing.assert_array_equal(movie.frames, expected)
    assert movie.name == "run"
    assert len(movie.provenance["sha256"]) == 64
    assert "12 files, frame 0.tif to frame 11.tif" in notes(movie)


def test_folder_of_unequal_frames(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", FRAMES[0])
    tifffile.imwrite(tmp_path / "b.tif", FRAMES[0, :3])
    with pytest.raises(InputError, match=r"b\.tif is \(3, 7\).*a\.tif is \(6, 7\)"):
        read(tmp_path)


def test_provenance_names_the_file(tmp_path):
    import hashlib

    np.save(tmp_path / "m.npy", FRAMES)
    record = read(tmp_path / "m.npy").provenance
    data = (tmp_path / "m.npy").read_bytes()
    assert record["path"] == str(tmp_path / "m.npy")
    assert record["bytes"] == len(data)
    assert record["sha256"] == hashlib.sha256(data).hexdigest()
    assert (record["dtype"], record["shape"]) == ("uint16", [5, 6, 7])


def test_mrc_and_dm(tmp_path):
    mrcfile = pytest.importorskip("mrcfile", reason="writes the test file")
    pytest.importorskip("rsciio", reason="pip install 'phdenoise[em]'")
    with mrcfile.new(tmp_path / "m.mrc") as file:
        file.set_data(FRAMES.astype(np.float32))
        file.voxel_size = 2.0
    np.testing.assert_array_equal(read(tmp_path / "m.mrc").frames, FRAMES)


def test_fits(tmp_path):
    fits = pytest.importorskip("astropy.io.fits", reason="pip install 'phdenoise[neutron]'")
    fits.HDUList([fits.PrimaryHDU(FRAMES)]).writeto(tmp_path / "m.fits")
    movie = read(tmp_path / "m.fits")
    np.testing.assert_array_equal(movie.frames, FRAMES)
    folder = tmp_path / "run"
    folder.mkdir()
    for i in (2, 10, 1):
        fits.PrimaryHDU(FRAMES[0] + np.uint16(i)).writeto(folder / f"{i}.fits")
    np.testing.assert_array_equal(read(folder).frames[:, 0, 0] - FRAMES[0, 0, 0], [1, 2, 10])
