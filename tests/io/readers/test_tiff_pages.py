"""TIFF: every number is what tifffile reads page by page, and nothing is read that was never written."""

import struct
import subprocess
import sys

import numpy as np
import pytest
import tifffile

from phdenoise.io.acquisition import acquisition_of
from phdenoise.io.parts import open_movie
from phdenoise.io.reading import read
from phdenoise.types import InputError

RNG = np.random.default_rng(6)
COUNTS = RNG.poisson(500, (12, 20, 16)).astype(np.uint16)


def notes(movie):
    return " ".join(movie.provenance["notes"])


def in_windows(path):
    with open_movie(path) as file:
        t, y, x = file.header.shape
        halves = [file.read(slice(0, t), rows, slice(0, x))[0] for rows in (slice(0, 9), slice(9, y))]  # fmt: skip
        return np.concatenate(halves, axis=1)


LAYOUTS = {
    "contiguous": {},
    "pages": {"contiguous": False, "metadata": None},
    "imagej": {"imagej": True, "metadata": {"axes": "TYX"}},
    "ome": {"ome": True, "metadata": {"axes": "TYX"}},
    "strips": {"rowsperstrip": 3},
    "tiles": {"tile": (16, 16)},
    "big": {"bigtiff": True},
    "zlib": {"compression": "zlib", "predictor": True},
    "lzw": {"compression": "lzw"},
    "zstd": {"compression": "zstd"},
    "packbits": {"compression": "packbits"},
    "lzma": {"compression": "lzma"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "u2", "i4", "u4", "f2", "f4", "f8", "i8", "u8"])
def test_every_number_type_and_layout(tmp_path, kind, order, layout):
    options = LAYOUTS[layout]
    if layout == "imagej" and kind not in ("u1", "u2", "f4"):
        pytest.skip("ImageJ has no such numbers")
    if layout == "ome" and kind in ("i8", "u8", "f2"):
        pytest.skip("OME has no such numbers")
    if layout == "zlib" and kind in ("i8", "u8"):
        pytest.skip("no predictor for such numbers")
    if layout in ("lzw", "zstd", "packbits"):
        pytest.importorskip("imagecodecs")
    array = RNG.integers(-100 if kind[0] in "if" else 0, 100, (4, 20, 16)).astype(kind)
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, array, photometric="minisblack", byteorder=order, **options)
    np.testing.assert_array_equal(read(path).frames, array.astype(float))
    np.testing.assert_array_equal(tifffile.imread(path), array)
    np.testing.assert_array_equal(in_windows(path), array.astype(float))


def pages(path, frames, **options):
    with tifffile.TiffWriter(path) as file:
        for frame in frames:
            file.write(frame, photometric="minisblack", contiguous=False, metadata=None, **options)


@pytest.mark.parametrize("count", [3, 5, 12])
@pytest.mark.parametrize("which", [1, -2])
@pytest.mark.parametrize(
    "change", [lambda k: k.astype(np.uint32), lambda k: k[:13], lambda k: k[:, :9], lambda k: k.astype(np.int16), lambda k: k.T],
    ids=["type", "rows", "columns", "sign", "turned"],
)  # fmt: skip
def test_a_page_of_another_kind_is_named(tmp_path, count, which, change):
    frames = list(COUNTS[:count])
    frames[which] = change(frames[which])
    pages(tmp_path / "m.tif", frames)
    with pytest.raises(
        InputError, match=rf"page {which % count} \(from 0\) is .*needs equal pages"
    ):
        read(tmp_path / "m.tif")
    with pytest.raises(InputError, match=r"needs equal pages|read whole"), open_movie(tmp_path / "m.tif"):  # fmt: skip
        pass


def test_pages_packed_in_different_ways(tmp_path):
    with tifffile.TiffWriter(tmp_path / "m.tif") as file:
        for k, frame in enumerate(COUNTS):
            packing = {"compression": "zlib"} if k % 3 == 1 else {"rowsperstrip": 4 + k}
            file.write(frame, photometric="minisblack", contiguous=False, metadata=None, **packing)
    np.testing.assert_array_equal(read(tmp_path / "m.tif").frames, COUNTS)


def ome(planes, sizes, extra="", start=""):
    """OME XML of an image of 16-bit numbers with given TiffData elements."""
    size = " ".join(f'Size{k}="{v}"' for k, v in sizes.items())
    return (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        f'<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="16" SizeY="20" {size} {start}>{planes}{extra}</Pixels>'
        "</Image></OME>"
    )


@pytest.mark.parametrize(
    "planes",
    [
        "".join(f'<TiffData IFD="{k}" FirstT="{k}" PlaneCount="1"/>' for k in range(9)),
        "".join(f'<TiffData IFD="{k}" FirstT="{k}" PlaneCount="1"/>' for k in range(12)),
        '<TiffData IFD="0" PlaneCount="12"/>',
        "<TiffData/>",
    ],
)
def test_ome_with_fewer_planes_than_it_claims(tmp_path, planes):
    xml = ome(planes, {"Z": 1, "C": 1, "T": 12})
    tifffile.imwrite(tmp_path / "m.ome.tif", COUNTS[:9], photometric="minisblack", metadata=None, description=xml)  # fmt: skip
    movie = read(tmp_path / "m.ome.tif")
    truth = COUNTS.astype(float)
    truth[9:] = np.nan
    np.testing.assert_array_equal(movie.frames, truth)
    assert "frames 9 to 11 (from 0) count as not measured" in notes(movie)
    assert movie.provenance["dtype"] == "uint16"
    with pytest.raises(InputError, match="read whole"), open_movie(tmp_path / "m.ome.tif"):
        pass


def test_ome_planes_in_another_order(tmp_path):
    """The file keeps the planes backwards, and says so."""
    planes = "".join(f'<TiffData IFD="{11 - k}" FirstT="{k}" PlaneCount="1"/>' for k in range(12))
    xml = ome(planes, {"Z": 1, "C": 1, "T": 12})
    tifffile.imwrite(tmp_path / "m.ome.tif", COUNTS[::-1], photometric="minisblack", metadata=None, description=xml)  # fmt: skip
    np.testing.assert_array_equal(read(tmp_path / "m.ome.tif").frames, COUNTS)


def companions(folder, name="part2.ome.tif"):
    """A movie of OME in two files of six frames each."""
    planes = "".join(
        f'<TiffData IFD="{k % 6}" FirstT="{k}" PlaneCount="1"><UUID FileName="{"part1.ome.tif" if k < 6 else name}">urn:uuid:0000000{k // 6}'
        "-0000-0000-0000-000000000000</UUID></TiffData>"
        for k in range(12)
    )
    xml = ome(planes, {"Z": 1, "C": 1, "T": 12})
    for k in range(2):
        own = xml.replace("<OME ", f'<OME UUID="urn:uuid:0000000{k}-0000-0000-0000-000000000000" ')
        tifffile.imwrite(folder / f"part{k + 1}.ome.tif", COUNTS[6 * k : 6 * k + 6], photometric="minisblack", metadata=None, description=own)  # fmt: skip


def test_ome_in_two_files_of_which_one_is_lost(tmp_path):
    companions(tmp_path)
    np.testing.assert_array_equal(read(tmp_path / "part1.ome.tif").frames, COUNTS)
    (tmp_path / "part2.ome.tif").unlink()
    truth = COUNTS.astype(float)
    truth[6:] = np.nan
    np.testing.assert_array_equal(read(tmp_path / "part1.ome.tif").frames, truth)


@pytest.mark.parametrize("name", ["/somewhere/part2.ome.tif", "../part2.ome.tif", r"C:\part2.ome.tif"])  # fmt: skip
def test_ome_leads_to_no_other_folder(tmp_path, name):
    companions(tmp_path, name)
    with pytest.raises(InputError, match="is not followed: set PHDENOISE_FOLLOW_LINKS=1"):
        read(tmp_path / "part1.ome.tif")


@pytest.mark.parametrize("count", [12, 9])
def test_measured_times_of_planes_beat_the_nominal_interval(tmp_path, count):
    times = np.cumsum(RNG.uniform(0.5, 2, count))
    metadata = {"axes": "TYX", "TimeIncrement": 1.0, "TimeIncrementUnit": "ms"}
    plane = {"DeltaT": list(times), "DeltaTUnit": ["ms"] * count}
    tifffile.imwrite(tmp_path / "m.ome.tif", COUNTS[:count], metadata={**metadata, "Plane": plane})
    movie = read(tmp_path / "m.ome.tif")
    np.testing.assert_allclose(movie.times, times)
    assert movie.time_unit == "ms"
    assert "nominal interval of 1 and measured times that differ" in notes(movie)


def test_times_that_agree_are_not_spoken_of(tmp_path):
    plane = {"DeltaT": list(2.5 * np.arange(12) + 1), "DeltaTUnit": ["s"] * 12}
    tifffile.imwrite(tmp_path / "m.ome.tif", COUNTS, metadata={"axes": "TYX", "TimeIncrement": 2.5, "Plane": plane})  # fmt: skip
    movie = read(tmp_path / "m.ome.tif")
    np.testing.assert_allclose(movie.times, 2.5 * np.arange(12) + 1)
    assert "nominal" not in notes(movie)


def test_a_sparse_file_has_parts_without_bytes(tmp_path):
    """Strips and tiles with no bytes were never recorded: tifffile's own page gives zeros there."""
    for name, options in (("strips", {"rowsperstrip": 5}), ("tiles", {"tile": (16, 16)})):
        path = tmp_path / f"{name}.tif"
        pages(path, COUNTS, **options)
        truth = COUNTS.astype(float)
        with tifffile.TiffFile(path, mode="r+b") as file:
            for page, first in ((4, 0), (7, 1)):
                tag = file.pages[page].tags["StripByteCounts" if name == "strips" else "TileByteCounts"]  # fmt: skip
                count = 4 if name == "strips" else 2
                values = list(tag.value)
                values[first:] = [0] * (count - first)
                tag.overwrite(values)
        truth[4] = np.nan
        truth[7, 5 if name == "strips" else 16 :] = np.nan
        np.testing.assert_array_equal(read(path).frames, truth)


def test_signed_numbers_and_calibration_of_imagej(tmp_path):
    """ImageJ keeps signed 16-bit numbers as unsigned ones and a straight line."""
    signed = COUNTS.astype(np.int16) - 400
    stored = (signed.astype(int) + 32768).astype(np.uint16)
    metadata = {"axes": "TYX", "cf": 0, "c0": -32768.0, "c1": 1.0}
    tifffile.imwrite(tmp_path / "m.tif", stored, imagej=True, metadata=metadata)
    movie = read(tmp_path / "m.tif")
    np.testing.assert_array_equal(movie.frames, signed)
    assert "as ImageJ calibrated them" in notes(movie)


def test_no_data_value_of_gdal(tmp_path):
    array = COUNTS.astype(np.float32)
    array[3, 4:9] = -32768
    tifffile.imwrite(tmp_path / "m.tif", array, photometric="minisblack", extratags=[(42113, "s", 0, "-32768", True)])  # fmt: skip
    np.testing.assert_array_equal(read(tmp_path / "m.tif").frames, np.where(array == -32768, np.nan, array))  # fmt: skip


@pytest.mark.parametrize("kind", ["rising", "grey", "mixed"])
def test_palettes(tmp_path, kind):
    """Indices are intensities where the palette brightens; of any other palette the colours are read."""
    indices = (COUNTS // 8).astype(np.uint8)
    ramp = np.arange(256) * 257
    mixed = RNG.permutation(256) * 257
    table = {"rising": [ramp, ramp**2 // 65535, ramp // 3], "grey": [ramp] * 3, "mixed": [mixed, mixed[::-1], 65535 - mixed]}[kind]  # fmt: skip
    table = np.array(table, np.uint16)
    tifffile.imwrite(tmp_path / "m.tif", indices, photometric="palette", colormap=table)
    movie = read(tmp_path / "m.tif")
    assert "palette" in notes(movie)
    if kind == "mixed":
        truth = np.stack(
            [tifffile.TiffFile(tmp_path / "m.tif").pages[k].asrgb() for k in range(12)]
        )
        np.testing.assert_allclose(movie.frames, (truth // 257).mean(axis=-1), rtol=1e-6)
        np.testing.assert_array_equal(read(tmp_path / "m.tif", channel="g").frames, truth[..., 1] // 257)  # fmt: skip
    else:
        np.testing.assert_array_equal(movie.frames, indices)


@pytest.mark.parametrize("compression", ["lzw", "zstd", "jpeg"])
def test_a_missing_codec_is_named(tmp_path, compression):
    pytest.importorskip("imagecodecs")
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, (COUNTS // 8).astype(np.uint8), compression=compression, photometric="minisblack")  # fmt: skip
    assert read(path).shape == COUNTS.shape
    code = f"import sys; sys.modules['imagecodecs'] = None; from phdenoise.io import read; read({str(path)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    said = done.stderr.strip().splitlines()[-1]
    assert "InputError" in said
    assert "pip install imagecodecs" in said
    assert "damaged" not in said


@pytest.mark.parametrize("length", [1, 2, 7, 150])
def test_pages_in_a_circle_end(tmp_path, length):
    path = tmp_path / "m.tif"
    pages(path, np.resize(COUNTS, (length, 4, 5)))
    with tifffile.TiffFile(path) as file:
        first, last = file.pages[0].offset, file.pages[-1].offset
    data = bytearray(path.read_bytes())
    tags = struct.unpack_from("<H", data, last)[0]
    struct.pack_into("<I", data, last + 2 + 12 * tags, first)
    path.write_bytes(data)
    with pytest.raises(InputError, match="leads back to an earlier page"):
        read(path)


def test_ome_that_announces_what_no_file_holds(tmp_path):
    path = tmp_path / "m.ome.tif"
    for planes, sizes in (('<TiffData IFD="0" PlaneCount="4000000000"/>', {"Z": 1, "C": 1, "T": 12}), ("<TiffData/>", {"Z": 99999, "C": 9999, "T": 9999})):  # fmt: skip
        tifffile.imwrite(path, COUNTS, photometric="minisblack", metadata=None, description=ome(planes, sizes))  # fmt: skip
        with pytest.raises(InputError, match="which no file holds"):
            read(path)


IMAGEJ = "ImageJ=1.53\nimages={0}\nframes={0}\nhyperstack=true\n"
SHAPED = '{{"shape": [{0}, 20, 16]}}'


@pytest.mark.parametrize("description", [IMAGEJ, SHAPED])
@pytest.mark.parametrize("said", [9, 12, 15])
def test_a_description_that_announces_other_frames_than_there_are(tmp_path, description, said):
    """The twelve pages are read as they are, and no byte between pages becomes an intensity."""
    with tifffile.TiffWriter(tmp_path / "m.tif") as file:
        for k, frame in enumerate(COUNTS):
            text = description.format(said) if k == 0 else None
            file.write(frame, photometric="minisblack", contiguous=False, metadata=None, description=text)  # fmt: skip
    movie = read(tmp_path / "m.tif")
    np.testing.assert_array_equal(movie.frames, COUNTS)
    assert ("announces" in notes(movie)) == (description == IMAGEJ and said != 12)


def test_ome_that_names_fewer_pages_than_there_are(tmp_path):
    xml = ome("<TiffData/>", {"Z": 1, "C": 1, "T": 9})
    tifffile.imwrite(tmp_path / "m.ome.tif", COUNTS, photometric="minisblack", metadata=None, description=xml)  # fmt: skip
    movie = read(tmp_path / "m.ome.tif")
    np.testing.assert_array_equal(movie.frames, COUNTS[:9])
    assert "The file has 12 pages, its OME description names 9" in notes(movie)


def test_exposures_and_the_clock_of_ome_planes(tmp_path):
    exposures = RNG.uniform(10, 50, 12)
    plane = {"ExposureTime": list(exposures), "ExposureTimeUnit": ["ms"] * 12}
    plane |= {"DeltaT": list(np.arange(12.0)), "DeltaTUnit": ["min"] * 12}
    metadata = {"axes": "TYX", "Plane": plane, "AcquisitionDate": "2024-02-29T23:59:00"}
    tifffile.imwrite(tmp_path / "m.ome.tif", COUNTS, metadata=metadata)
    taken = acquisition_of(read(tmp_path / "m.ome.tif"))
    np.testing.assert_allclose(taken.exposure, exposures / 1000)
    assert taken.facts()["started"] == "2024-02-29 23:59:00 to 2024-03-01 00:10:00"
