"""MRC: every number is what the bytes of MRC2014 mean; the header is packed here, without a library."""

import struct

import numpy as np
import pytest

from benchmarks.sample_files import MRC_MODES, mrc_file
from phdenoise.io.reading import read
from phdenoise.types import InputError

mrcfile = pytest.importorskip("mrcfile")
RNG = np.random.default_rng(8)


@pytest.mark.parametrize("suffix", [".mrc", ".mrcs", ".st"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", MRC_MODES)
def test_every_mode_and_byte_order(tmp_path, kind, order, suffix):
    array = RNG.integers(0 if kind[0] == "u" else -100, 100, (5, 7, 9)).astype(kind)
    path = mrc_file(tmp_path / f"m{suffix}", array, order, voxel=(2.0, 4.0))
    movie = read(path)
    np.testing.assert_array_equal(movie.frames, array.astype(float))
    np.testing.assert_allclose(movie.pixel_size, (0.2, 0.4), rtol=1e-6)
    assert movie.length_unit == "nm"
    with mrcfile.open(path) as file:
        np.testing.assert_array_equal(movie.frames, file.data.astype(float))


def test_bytes_of_imod_are_unsigned_unless_it_says_signed(tmp_path):
    array = RNG.integers(-128, 127, (3, 7, 9)).astype("i1")
    stamp = b"DOMI"  # the number 1146047817 in little-endian order reads IMOD
    assert struct.unpack("<i", b"IMOD")[0] == 1146047817
    for flags, truth in ((0, array.view("u1")), (1, array)):
        for text in (b"IMOD", stamp):
            path = mrc_file(tmp_path / "m.mrc", array, extra=text + struct.pack("<i", flags))
            np.testing.assert_array_equal(read(path).frames, truth.astype(float))


def test_extended_header_single_image_and_bytes_behind(tmp_path):
    array = RNG.integers(-100, 100, (4, 7, 9)).astype("i2")
    path = mrc_file(tmp_path / "m.mrc", array, extended=bytes(range(256)) * 3)
    np.testing.assert_array_equal(read(path).frames, array)
    path.write_bytes(path.read_bytes() + b"more")
    np.testing.assert_array_equal(read(path).frames, array)
    np.testing.assert_array_equal(read(mrc_file(path, array[0])).frames, array[:1])


def test_what_is_no_movie(tmp_path):
    array = RNG.integers(-100, 100, (4, 7, 9)).astype("i2")
    path = mrc_file(tmp_path / "m.mrc", array)
    data = path.read_bytes()
    for length in np.linspace(1, len(data) - 1, 15).astype(int):
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match=r"truncated|cannot be read"):
            read(path)
    with pytest.raises(InputError, match="single stack"):
        read(f"{mrc_file(path, array)}::1")
    head = bytearray(mrc_file(path, array).read_bytes())
    struct.pack_into("<i", head, 8, 2**30)
    path.write_bytes(head)
    with pytest.raises(InputError, match=r"announces .* GB of numbers"):
        read(path)
    for length in (2**31 - 1, -1):
        head = bytearray(mrc_file(path, array).read_bytes())
        struct.pack_into("<i", head, 92, length)
        path.write_bytes(head)
        with pytest.raises(InputError, match="extended header of"):
            read(path)
