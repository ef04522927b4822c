"""Scans of X-ray microscopes: SDF header and images, NeXus NXstxm, and the streams of .xrm and .txrm."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from phdenoise.io.readers.sdf import parse_header
from phdenoise.io.readers.xrm import read_xrm, source_of
from phdenoise.io.reading import read
from phdenoise.types import InputError
from tests.io.ole_streams import Streams

STACK = np.arange(3 * 4 * 5, dtype=float).reshape(3, 4, 5)


def _header(energies, regions=1):
    points = ", ".join(f"{e:.2f}" for e in energies)
    one = (
        '{ PAxis = { Name = "Sample X"; Unit = "um"; Min = 0; Max = 0.2; Dir = 1;\n'
        " Points = (5, 0.0, 0.05, 0.1, 0.15, 0.2);\n};\n"
        ' QAxis = { Name = "Sample Y (fine; coarse)"; Unit = "um"; Min = 0; Max = 0.12; Dir = 1;\n'
        " Points = (4, 0.0, 0.04, 0.08, 0.12);\n};\n}"
    )
    return (
        'ScanDefinition = { Label = "A01"; Type = "NEXAFS Image Scan"; Flags = "Image Stack"; Dwell = 1;\n'
        f" Regions = ({regions},\n{', '.join([one] * regions)});\n"
        ' StackAxis = { Name = "Energy"; Unit = "eV"; Min = 700; Max = 712; Dir = 1;\n'
        f"  Points = ({len(energies)}, {points});\n}};\n"
        ' Channels = (1,\n{ Name = "counter0"; Unit = "Hz";});\n};\n'
        'Time = "2026 Jan 01"; BeamFeedback = false; ShutterAutomatic = true;\n'
        "Channels = (1, { ID = 0; Type = 0; Gain = 1.5;});\n"
        "Image000_0 = {StorageRingCurrent = 400.1; Energy = 700.00;};\n"
    )


def _write(folder: Path, energies, names, regions=1):
    (folder / "A01.hdr").write_text(_header(energies, regions))
    for name, image in zip(names, STACK, strict=False):
        text = "\n".join("\t".join(f"{v:g}" for v in row) + "\t" for row in image)
        (folder / name).write_text(text)
    return folder / "A01.hdr"


def test_sdf_stack_is_in_order_of_energy(tmp_path):
    path = _write(tmp_path, (710.2, 700.0, 708.2), [f"A01_a{n:03d}.xim" for n in range(3)])
    movie = read(path)
    np.testing.assert_array_equal(movie.frames, STACK[[1, 2, 0]])
    np.testing.assert_allclose(movie.times, [700.0, 708.2, 710.2])
    assert (movie.time_unit, movie.length_unit) == ("eV", "um")
    np.testing.assert_allclose(movie.pixel_size, (0.04, 0.05))


def test_sdf_single_image_and_regions(tmp_path):
    single = tmp_path / "one"
    single.mkdir()
    movie = read(_write(single, (708.2,), ["A01_a.xim"]))
    np.testing.assert_array_equal(movie.frames, STACK[:1])
    two = _write(tmp_path, (700.0, 708.2), ["A01_a0000.xim", "A01_a0010.xim"], regions=2)
    np.testing.assert_array_equal(read(f"{two}::0").frames, STACK[:2])
    with pytest.raises(InputError, match=r"2 region\(s\)"):
        read(two)
    with pytest.raises(InputError, match="not beside it"):
        read(f"{two}::1")


def test_sdf_header_is_parsed_like_its_brackets():
    head = parse_header(_header((700.0, 710.0)), "A01.hdr")
    assert head["Channels"] == [{"ID": 0.0, "Type": 0.0, "Gain": 1.5}]
    assert head["BeamFeedback"] == "false"
    assert head["ScanDefinition"]["Regions"][0]["QAxis"]["Name"] == "Sample Y (fine; coarse)"


@pytest.mark.parametrize("cut", [40, 200, 500])
def test_sdf_damaged_header_is_one_sentence(tmp_path, cut):
    path = _write(tmp_path, (700.0, 708.2, 710.2), [f"A01_a{n:03d}.xim" for n in range(3)])
    path.write_text(path.read_text()[:cut])
    with pytest.raises(InputError, match="damaged"):
        read(path)


def test_sdf_image_that_was_stopped_early(tmp_path):
    path = _write(tmp_path, (700.0, 708.2, 710.2), [f"A01_a{n:03d}.xim" for n in range(3)])
    (tmp_path / "A01_a001.xim").write_text("1 2 3 4 5\n1 2 3 4 5\n")
    with pytest.raises(InputError, match="2 x 5 numbers, its header says 4 x 5"):
        read(path)


@pytest.mark.parametrize("with_axes", [True, False])
def test_nxstxm_stack(tmp_path, with_axes):
    path = tmp_path / "scan.hdf5"
    with h5py.File(path, "w") as file:
        entry = file.create_group("entry1")
        entry.attrs["NX_class"] = "NXentry"
        entry["definition"] = "NXstxm"
        for counter, values in (("counter0", STACK), ("counter1", 0 * STACK + 7)):
            group = entry.create_group(counter)
            group.attrs["NX_class"] = "NXdata"
            group["data"] = values
            group["energy"] = [700.0, 708.2, 710.2]
            group["energy"].attrs["units"] = "eV"
            group["sample_y"] = np.arange(4) * 0.04
            group["sample_x"] = np.arange(5) * 0.05
            for name in ("sample_x", "sample_y"):
                group[name].attrs["units"] = "um"
            group["stxm_scan_type"] = "sample image stack"
            if with_axes:
                group.attrs["signal"] = "data"
                group.attrs["axes"] = ["energy", "sample_y", "sample_x"]
        entry.create_group("control").attrs["NX_class"] = "NXmonitor"
        entry["control/data"] = np.ones(60)
    movie = read(path)
    np.testing.assert_array_equal(movie.frames, STACK)
    np.testing.assert_allclose(movie.times, [700.0, 708.2, 710.2])
    np.testing.assert_allclose(movie.pixel_size, (0.04, 0.05))
    assert (movie.time_unit, movie.length_unit) == ("eV", "um")


def _txrm(count=102, kind=5):
    image = {5: "<u2", 10: "<f4"}[kind]
    parts = {
        "ImageInfo/ImageWidth": np.array([5], "<i4").tobytes(),
        "ImageInfo/ImageHeight": np.array([4], "<i4").tobytes(),
        "ImageInfo/NoOfImages": np.array([count], "<i4").tobytes(),
        "ImageInfo/DataType": np.array([kind], "<i4").tobytes(),
        "ImageInfo/PixelSize": np.array([0.03], "<f4").tobytes(),
        "ImageInfo/Energy": np.linspace(8300, 8400, count).astype("<f4").tobytes(),
        "ReferenceData/ImageInfo/ImageWidth": np.array([5], "<i4").tobytes(),
        "ReferenceData/ImageInfo/ImageHeight": np.array([4], "<i4").tobytes(),
        "ReferenceData/ImageInfo/DataType": np.array([10], "<i4").tobytes(),
        "ReferenceData/Image": np.full(20, 9, "<f4").tobytes(),
    }
    for n in range(count):
        parts[f"ImageData{n // 100 + 1}/Image{n + 1}"] = np.full(20, n, image).tobytes()
    return parts


@pytest.mark.parametrize("kind", [5, 10])
def test_txrm_streams(kind):
    source = source_of(Streams(_txrm(kind=kind)), Path("a.txrm"), None)
    assert source.array.shape == (102, 4, 5)
    np.testing.assert_array_equal(source.array[:, 0, 0], np.arange(102))
    assert (source.time_unit, source.length_unit) == ("eV", "um")
    np.testing.assert_allclose(source.pixel_size, 0.03, rtol=1e-6)
    reference = source_of(Streams(_txrm(kind=kind)), Path("a.txrm"), "reference")
    np.testing.assert_array_equal(reference.array, np.full((1, 4, 5), 9))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ImageData1/Image3": b"12"}, "truncated"),
        ({"ImageInfo/DataType": np.array([77], "<i4").tobytes()}, "type 77"),
        ({"ImageInfo/ImageWidth": None}, "no ImageInfo/ImageWidth"),
    ],
)
def test_txrm_damage_is_one_sentence(change, words):
    parts = {k: v for k, v in (_txrm(5) | change).items() if v is not None}
    with pytest.raises(InputError, match=words):
        source_of(Streams(parts), Path("a.txrm"), None)


def test_file_that_is_no_ole_is_refused(tmp_path):
    path = tmp_path / "a.xrm"
    path.write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"no \.xrm or \.txrm file|pip install"):
        read_xrm(path, None)
