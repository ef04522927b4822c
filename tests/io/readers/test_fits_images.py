"""FITS: every number is what the bytes of the standard mean, and extensions that are frames are one movie."""

import gzip

import numpy as np
import pytest

from benchmarks.sample_files import fits_file
from phdenoise.io.acquisition import acquisition_of
from phdenoise.io.reading import read
from phdenoise.types import InputError

fits = pytest.importorskip("astropy.io.fits")
RNG = np.random.default_rng(7)
COUNTS = RNG.poisson(500, (6, 10, 8)).astype(np.uint16)


@pytest.mark.parametrize("kind", ["u1", "i2", "i4", "i8", "f4", "f8"])
@pytest.mark.parametrize(("scale", "zero"), [(1, 0), (0.5, -3.0), (1, "signed"), (-2.0, 100.0)])
def test_numbers_scale_and_zero(tmp_path, kind, scale, zero):
    """value = BZERO + BSCALE * stored; BZERO = 2^(n-1), or -128 for bytes, turns the sign."""
    raw = RNG.integers(0 if kind == "u1" else -100, 100, (6, 10, 8)).astype(kind)
    offset = zero
    if zero == "signed":
        if kind in ("f4", "f8", "i8"):
            pytest.skip("floating point has no other sign, and does not hold 2^63 + 1")
        offset = -128 if kind == "u1" else 2 ** (8 * raw.dtype.itemsize - 1)
    fits_file(tmp_path / "m.fits", raw, BSCALE=scale, BZERO=offset)
    movie = read(tmp_path / "m.fits")
    truth = raw.astype(np.longdouble) * scale + offset
    np.testing.assert_array_equal(movie.frames, truth.astype(movie.frames.dtype))
    with fits.open(tmp_path / "m.fits") as file:
        np.testing.assert_allclose(movie.frames, file[0].data.astype(float))


@pytest.mark.parametrize("scaled", [{}, {"BSCALE": 0.5, "BZERO": 2.0}])
def test_blank_is_not_measured(tmp_path, scaled):
    raw = COUNTS.astype(np.int16)
    raw[2, 3:5] = -9
    fits_file(tmp_path / "m.fits", raw, BLANK=-9, **scaled)
    values = raw * scaled.get("BSCALE", 1) + scaled.get("BZERO", 0)
    np.testing.assert_array_equal(read(tmp_path / "m.fits").frames, np.where(raw == -9, np.nan, values))  # fmt: skip


@pytest.mark.parametrize("shape", [(1, 6, 10, 8), (6, 1, 10, 8), (6, 10, 8)])
@pytest.mark.parametrize("suffix", [".fits", ".fits.gz", ".fit"])
def test_axes_of_length_one_and_packed_files(tmp_path, shape, suffix):
    path = tmp_path / f"run.7{suffix}"
    fits_file(path, COUNTS.astype(np.int16).reshape(shape))
    if suffix.endswith("gz"):
        path.write_bytes(gzip.compress(path.read_bytes()))
    movie = read(path)
    np.testing.assert_array_equal(movie.frames, COUNTS)
    assert movie.name == "run.7"


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("primary", [False, True])
def test_one_extension_a_frame(tmp_path, single, primary):
    frames = [f[None] if single else f for f in COUNTS]
    units = [fits.ImageHDU(f, name="RAW") for f in frames]
    for k, unit in enumerate(units):
        unit.header["DATE-OBS"] = f"2026-01-01T00:00:{2 * k + k // 4:02d}"
    units = [fits.PrimaryHDU(frames[0], units[0].header), *units[1:]] if primary else [fits.PrimaryHDU(), *units]  # fmt: skip
    fits.HDUList(units).writeto(tmp_path / "m.fits")
    movie = read(tmp_path / "m.fits")
    np.testing.assert_array_equal(movie.frames, COUNTS)
    assert movie.times.tolist() == [0, 2, 4, 6, 9, 11]
    assert movie.time_unit == "s"


def test_extensions_of_other_meaning_are_no_frames(tmp_path):
    units = [fits.PrimaryHDU()] + [fits.ImageHDU(f, name=n) for f, n in zip(COUNTS, ("SCI", "ERR", "DQ"), strict=False)]  # fmt: skip
    fits.HDUList(units).writeto(tmp_path / "m.fits")
    with pytest.raises(InputError, match=r"SCI \(10, 8\), ERR \(10, 8\), DQ"):
        read(tmp_path / "m.fits")
    np.testing.assert_array_equal(read(f"{tmp_path / 'm.fits'}::0").frames[0], COUNTS[0])


def test_compressed_images_and_units(tmp_path):
    unit = fits.CompImageHDU(COUNTS.astype(np.int16), compression_type="RICE_1")
    unit.header.update(CUNIT1="um", CUNIT2="um", CDELT1=0.5, CDELT2=-0.25, CUNIT3="s", CDELT3=1.5, BUNIT="adu")  # fmt: skip
    fits.HDUList([fits.PrimaryHDU(), unit]).writeto(tmp_path / "m.fits.fz")
    movie = read(tmp_path / "m.fits.fz")
    np.testing.assert_array_equal(movie.frames, COUNTS)
    assert (movie.pixel_size, movie.length_unit) == ((0.25, 0.5), "um")
    assert (movie.times[1], movie.time_unit, movie.intensity_unit) == (1.5, "s", "adu")


def test_truncated_anywhere(tmp_path):
    data = fits_file(tmp_path / "m.fits", COUNTS.astype(np.int16)).read_bytes()
    whole = 2880 + COUNTS.nbytes
    for length in np.linspace(1, whole - 1, 20).astype(int):
        (tmp_path / "cut.fits").write_bytes(data[:length])
        with pytest.raises(InputError):
            read(tmp_path / "cut.fits")


def test_a_header_of_more_than_there_is(tmp_path):
    path = fits_file(tmp_path / "m.fits", COUNTS.astype(np.int16))
    path.write_bytes(path.read_bytes().replace(b"NAXIS3  =                    6", b"NAXIS3  =            600000000"))  # fmt: skip
    with pytest.raises(InputError, match=r"announces .* GB of numbers"):
        read(path)


def test_times_that_run_backwards(tmp_path):
    fits_file(tmp_path / "m.fits", COUNTS.astype(np.int16), CUNIT3="s", CDELT3=-1.5)
    movie = read(tmp_path / "m.fits")
    np.testing.assert_array_equal(movie.frames, COUNTS[::-1])
    np.testing.assert_allclose(movie.times, -7.5 + 1.5 * np.arange(6))


@pytest.mark.parametrize("keyword", ["EXPTIME", "EXPOSURE"])
def test_exposure_and_clock(tmp_path, keyword):
    header = {keyword: 0.25, "DATE-OBS": "2024-02-29T12:00:01.5"}
    fits_file(tmp_path / "m.fits", COUNTS.astype("i2"), **header)
    taken = acquisition_of(read(tmp_path / "m.fits"))
    assert taken.one("exposure") == 0.25
    assert taken.one("started") == 1709208001.5
