"""Channels in and out: every layout in which programs write them, and files that read back equal."""

import numpy as np
import pytest
import tifffile

from phdenoise.channels import Channels, ChannelsEstimate
from phdenoise.io.channels import read_channels
from phdenoise.io.native import read_estimate
from phdenoise.io.native_channels import read_channels_estimate
from phdenoise.io.reading import read
from phdenoise.io.writing import write
from phdenoise.movie import Estimate, Movie
from phdenoise.noise.models import Gaussian, Poisson
from phdenoise.types import InputError

RNG = np.random.default_rng(7)
FRAMES = RNG.uniform(1, 9, (3, 4, 20, 19)).astype(np.float32)  # [c, t, y, x]
LAST, FIRST = FRAMES.transpose(1, 2, 3, 0), FRAMES.transpose(1, 0, 2, 3)


def make_channels():
    units, noise = (
        ("OD", "counts"),
        (Gaussian(np.float32(0.3)), Poisson(np.float32(1.0), np.float32(0.0))),
    )
    mask = RNG.uniform(size=(20, 19)) > 0.2
    movies = tuple(
        Movie(
            frames=FRAMES[k],
            times=np.array([0.0, 1.0, 2.5, 4.0]),
            pixel_size=(0.1, 0.2),
            time_unit="s",
            length_unit="um",
            intensity_unit=units[k],
            mask=(None, mask)[k],
            noise=noise[k],
            name=f"particle {k}",
            provenance={"notes": ["a note"]},
        )
        for k in range(2)
    )
    return Channels(movies, ("707.2 eV", "709 eV/a"), "particle")


def make_estimate():
    channels = make_channels()
    estimates = tuple(
        Estimate(
            movie=m,
            mean=m.frames + 1,
            variance=(0.1 + k) * m.frames**2,
            noise=m.noise,
            blind_mean=m.frames + 2,
            blind_variance=np.full_like(m.frames, 0.2 + k),
            log=(f"noise of {k}",),
            settings={"region": "pixel"},
            trust={"bias": {"map": np.ones((2, 3)), "level": 0.5}, "warnings": ["w"]},
        )
        for k, m in enumerate(channels.movies)
    )
    return ChannelsEstimate(
        estimates,
        channels.names,
        "particle",
        np.array([[1.0, 0.25], [0.25, 1.0]]),
        ("mixed",),
        {"seed": 0},
        {"component 0/a/b": np.arange(4.0)},
    )


@pytest.mark.parametrize("name", ["m.npy", "m.npz"])
@pytest.mark.parametrize("array", [LAST, FIRST], ids=["last", "first"])
def test_bare_arrays_are_told_apart_by_their_shape(tmp_path, name, array):
    np.save(tmp_path / name, array) if name == "m.npy" else np.savez(tmp_path / name, m=array)
    channels = read_channels(tmp_path / name)
    assert channels.names == ("r", "g", "b")
    np.testing.assert_array_equal(channels.frames, FRAMES)
    for k, colour in enumerate("rgb"):
        np.testing.assert_array_equal(channels.one(colour).frames, FRAMES[k])
    np.testing.assert_allclose(channels.one("mean").frames, FRAMES.mean(0), rtol=1e-6)


def test_ambiguous_shape_asks_and_is_answered(tmp_path):
    small = np.ascontiguousarray(FIRST[..., :16])
    np.save(tmp_path / "m.npy", small)
    with pytest.raises(InputError, match="both 3 and 16 could be channels: give --channels first"):
        read_channels(tmp_path / "m.npy")
    first = read_channels(tmp_path / "m.npy", channels="first")
    np.testing.assert_array_equal(first.frames, small.transpose(1, 0, 2, 3))
    last = read_channels(tmp_path / "m.npy", channels="last")
    assert last.frames.shape == (16, 4, 3, 20)
    with pytest.raises(InputError, match="must be first or last, got 'middle'"):
        read_channels(tmp_path / "m.npy", channels="middle")


def test_too_many_channels(tmp_path):
    np.save(tmp_path / "m.npy", np.zeros((2, 17, 18, 19), np.float32))
    with pytest.raises(InputError, match="neither 17 nor 19 can be channels"):
        read_channels(tmp_path / "m.npy")
    with pytest.raises(InputError, match="has 17 channels: at most 16"):
        read_channels(tmp_path / "m.npy", channels="first")


def test_one_colour_image_needs_to_be_told(tmp_path):
    np.save(tmp_path / "m.npy", LAST[0])
    assert len(read_channels(tmp_path / "m.npy")) == 1
    channels = read_channels(tmp_path / "m.npy", channels="last")
    np.testing.assert_array_equal(channels.frames, FRAMES[:, :1])


def test_single_channel_movies_read_as_before(tmp_path):
    np.save(tmp_path / "m.npy", FRAMES[0])
    channels = read_channels(tmp_path / "m.npy", frame_interval=2.0, pixel_size=0.5)
    same = read(tmp_path / "m.npy", frame_interval=2.0, pixel_size=0.5)
    assert len(channels) == 1
    assert channels.movies[0].provenance == same.provenance
    assert channels.movies[0].name == same.name
    np.testing.assert_array_equal(channels.movies[0].frames, same.frames)
    np.testing.assert_array_equal(channels.movies[0].times, same.times)


def test_tiff_of_every_program(tmp_path):
    colour = (25 * LAST).astype(np.uint8)
    expected = colour.transpose(3, 0, 1, 2)
    tifffile.imwrite(tmp_path / "rgb.tif", colour, photometric="rgb")
    np.testing.assert_array_equal(read_channels(tmp_path / "rgb.tif").frames, expected)
    opacity = np.concatenate([colour, np.full_like(colour[..., :1], 255)], axis=-1)
    tifffile.imwrite(tmp_path / "rgba.tif", opacity, photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(read_channels(tmp_path / "rgba.tif").frames, expected)
    tifffile.imwrite(
        tmp_path / "ij.tif",
        FIRST,
        imagej=True,
        resolution=(4, 4),
        metadata={"axes": "TCYX", "unit": "um", "finterval": 3.0},
    )
    found = read_channels(tmp_path / "ij.tif")
    np.testing.assert_array_equal(found.frames, FRAMES)
    assert found.movies[2].pixel_size == (0.25, 0.25)
    assert found.movies[2].times[1] == 3.0
    tifffile.imwrite(
        tmp_path / "m.ome.tif",
        FIRST,
        metadata={"axes": "TCYX", "Channel": {"Name": ["DAPI", "GFP", "RFP"]}},
    )
    assert read_channels(tmp_path / "m.ome.tif").names == ("DAPI", "GFP", "RFP")
    tifffile.imwrite(tmp_path / "plain.tif", FIRST)
    np.testing.assert_array_equal(read_channels(tmp_path / "plain.tif").frames, FRAMES)
    tifffile.imwrite(tmp_path / "stack.tif", FRAMES[0], imagej=True, metadata={"axes": "TYX"})
    assert len(read_channels(tmp_path / "stack.tif")) == 1


def test_native_file_reads_back_equal(tmp_path):
    channels = make_channels()
    write(channels, tmp_path / "m.h5")
    back = read_channels(tmp_path / "m.h5")
    assert back.names == channels.names
    assert back.name == "particle"
    for a, b in zip(back.movies, channels.movies, strict=True):
        np.testing.assert_array_equal(a.frames, b.frames)
        np.testing.assert_array_equal(a.times, b.times)
        np.testing.assert_array_equal(a.valid(), b.valid())
        assert (a.pixel_size, a.length_unit, a.time_unit) == ((0.1, 0.2), "um", "s")
        assert a.intensity_unit == b.intensity_unit
        assert type(a.noise) is type(b.noise)


def test_estimate_reads_back_equal(tmp_path):
    estimate = make_estimate()
    write(estimate, tmp_path / "m.h5")
    back = read_channels_estimate(tmp_path / "m.h5")
    assert back.names == estimate.names
    assert (back.log, back.settings) == (estimate.log, estimate.settings)
    assert back.sentences() == estimate.sentences()
    np.testing.assert_array_equal(back.correlation, estimate.correlation)
    np.testing.assert_array_equal(back.weights["component 0/a/b"], np.arange(4.0))
    for a, b in zip(back.estimates, estimate.estimates, strict=True):
        for name in ("mean", "variance", "blind_mean", "blind_variance"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        np.testing.assert_array_equal(a.movie.frames, b.movie.frames)
        np.testing.assert_array_equal(a.movie.valid(), b.movie.valid())
        np.testing.assert_array_equal(a.trust["bias"]["map"], b.trust["bias"]["map"])
        assert a.movie.intensity_unit == b.movie.intensity_unit
        assert type(a.noise) is type(b.noise)
        assert type(a.movie.noise) is type(b.movie.noise)
    # The default plot is the denoised movie, its parts have names.
    np.testing.assert_array_equal(read_channels(tmp_path / "m.h5").frames, estimate.mean)
    np.testing.assert_array_equal(
        read(tmp_path / "m.h5::/entry/data/variance", channel=1).frames, estimate.variance[1]
    )
    with pytest.raises(InputError, match="holds several channels"):
        read_estimate(tmp_path / "m.h5")


def test_imagej_hyperstack_keeps_scale_interval_and_names(tmp_path):
    estimate = make_estimate()
    files = write(estimate, tmp_path / "m.tif")
    for file, values in zip(files, (estimate.mean, np.sqrt(estimate.variance)), strict=True):
        with tifffile.TiffFile(file) as tiff:
            assert tiff.series[0].axes == "TCYX"
            assert tiff.series[0].dtype == np.float32
        back = read_channels(file)
        np.testing.assert_allclose(back.frames, values, rtol=1e-6)
        assert back.names == estimate.names
        assert back.movies[0].pixel_size == pytest.approx((0.1, 0.2))
        assert back.movies[0].times[1] == 1.0  # the time itself, not the mean interval 4/3


def test_constant_channels_are_known(tmp_path):
    array = LAST.copy()
    array[..., 1] = 5.0
    np.save(tmp_path / "m.npy", array)
    channels = read_channels(tmp_path / "m.npy")
    assert channels.varying() == ("r", "b")
    np.testing.assert_array_equal(channels.chosen(("r", "b")).frames, FRAMES[[0, 2]])
    np.save(tmp_path / "c.npy", np.full_like(array, 3.0))
    with pytest.raises(InputError, match="is constant"):
        read_channels(tmp_path / "c.npy")


def test_channels_must_belong_together():
    a, b = Movie.from_array(FRAMES[0]), Movie.from_array(FRAMES[1])
    with pytest.raises(InputError, match="2 channels need as many different names"):
        Channels((a, b), ("x", "x"))
    for other in (
        Movie.from_array(FRAMES[1], times=np.arange(4) + 1.0),
        Movie.from_array(FRAMES[1, :, 1:]),
        Movie.from_array(FRAMES[1], pixel_size=(1.0, 2.0)),
    ):
        with pytest.raises(InputError, match="Channel y has another shape, times, pixel size"):
            Channels((a, other), ("x", "y"))
    with pytest.raises(InputError, match="--channel must be mean, one of them or 0 to 1, got '2'"):
        Channels((a, b), ("x", "y")).one("2")
    with pytest.raises(InputError, match="0 channels: 1 to 16"):
        Channels((), ())
    with pytest.raises(InputError, match=r"\[c, t, y, x\], got shape \(4, 20, 19\)"):
        Channels.from_array(FRAMES[0])


@pytest.mark.parametrize(("dtype", "asked"), [("f4", True), ("u1", False)])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_float_planes_tagged_as_colours_are_questioned(tmp_path, dtype, asked, planar):
    planes = np.random.default_rng(0).integers(0, 255, (3, 8, 9)).astype(dtype)
    array = np.moveaxis(planes, 0, -1) if planar == "contig" else planes
    tifffile.imwrite(tmp_path / "m.tif", array, photometric="rgb", planarconfig=planar)
    notes = read_channels(tmp_path / "m.tif").movies[0].provenance["notes"]
    assert any("tagged as red, green and blue" in n for n in notes) == asked
