"""Zarr: every number is what the zarr package reads; frames without chunks are not measured."""

import json
import shutil
import sys

import numpy as np
import pytest

from phdenoise.io.channels import read_channels
from phdenoise.io.reading import read
from phdenoise.types import InputError

zarr = pytest.importorskip("zarr")
RNG = np.random.default_rng(10)
COUNTS = RNG.poisson(500, (6, 20, 16)).astype(np.uint16)


def notes(movie):
    return " ".join(movie.provenance["notes"])


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("kind", ["u1", "i2", "u2", ">i4", "f4", "f8", "i1"])
@pytest.mark.parametrize("chunks", [(1, 20, 16), (4, 7, 9)])
def test_every_number_type_version_and_chunk(tmp_path, version, kind, chunks):
    array = RNG.integers(0, 100, COUNTS.shape).astype(kind)
    path = tmp_path / "m.zarr"
    item = zarr.create_array(str(path), shape=array.shape, dtype=kind, chunks=chunks, zarr_format=version)  # fmt: skip
    item[...] = array
    movie = read(path)
    np.testing.assert_array_equal(movie.frames, array)
    assert movie.name == "m"
    assert len(movie.provenance["sha256"]) == 64


def test_shards(tmp_path):
    item = zarr.create_array(str(tmp_path / "m.zarr"), shape=COUNTS.shape, dtype="u2", chunks=(1, 5, 4), shards=(2, 20, 16))  # fmt: skip
    item[:4] = COUNTS[:4]
    movie = read(tmp_path / "m.zarr")
    np.testing.assert_array_equal(movie.frames[:4], COUNTS[:4])
    assert np.isnan(movie.frames[4:]).all()


def image(path, version, shape, names="tczyx"):
    """An OME-Zarr image of two scales; the second one is nonsense."""
    units = {"t": "second", "z": "micrometer", "y": "micrometer", "x": "micrometer"}
    kinds = {"t": "time", "c": "channel"}
    axes = [{"name": n, "type": kinds.get(n, "space"), **({"unit": units[n]} if n in units else {})} for n in names]  # fmt: skip
    scale = [{"t": 2.5, "c": 1.0, "z": 1.0, "y": 0.2, "x": 0.1}[n] for n in names]
    sets = [{"path": str(k), "coordinateTransformations": [{"type": "scale", "scale": [s * 2**k for s in scale]}]} for k in (0, 1)]  # fmt: skip
    about = {"multiscales": [{"version": "0.4", "axes": axes, "datasets": sets}], "omero": {"channels": [{"label": "a"}, {"label": "b"}]}}  # fmt: skip
    group = zarr.open_group(str(path), mode="w", zarr_format=version)
    group.attrs.update(about if version == 2 else {"ome": about})
    for k in (0, 1):
        item = group.create_array(str(k), shape=shape, dtype="u2", chunks=(1, *shape[1:]))
        item[...] = np.resize(COUNTS, shape) + k
    return path


@pytest.mark.parametrize("version", [2, 3])
def test_ome_zarr_with_units(tmp_path, version):
    movie = read(image(tmp_path / "m.ome.zarr", version, (6, 1, 1, 20, 16)))
    np.testing.assert_array_equal(movie.frames, COUNTS)
    np.testing.assert_allclose(movie.times, 2.5 * np.arange(6))
    assert (movie.pixel_size, movie.length_unit, movie.time_unit, movie.name) == ((0.2, 0.1), "um", "s", "m")  # fmt: skip
    assert movie.provenance["dataset"] == "0"
    np.testing.assert_array_equal(read(f"{tmp_path / 'm.ome.zarr'}::1").frames, COUNTS + 1)


def test_ome_zarr_with_channels(tmp_path):
    found = read_channels(image(tmp_path / "m.zarr", 2, (6, 2, 20, 16), "tcyx"))
    assert found.names == ("a", "b")
    np.testing.assert_array_equal(found.movies[1].frames, np.resize(COUNTS, (6, 2, 20, 16))[:, 1])


@pytest.mark.parametrize("version", [2, 3])
def test_a_stopped_recording(tmp_path, version):
    item = zarr.create_array(str(tmp_path / "m.zarr"), shape=COUNTS.shape, dtype="u2", chunks=(1, 10, 16), zarr_format=version)  # fmt: skip
    item[:3] = COUNTS[:3]
    item[4, :10] = COUNTS[4, :10]
    movie = read(tmp_path / "m.zarr")
    assert np.isnan(movie.frames[[3, 5]]).all()
    np.testing.assert_array_equal(movie.frames[:3], COUNTS[:3])
    np.testing.assert_array_equal(movie.frames[4, :10], COUNTS[4, :10])
    assert "frames 3, 5 (from 0)" in notes(movie)
    assert "1 of 8 chunks of the other frames are not stored" in notes(movie)
    shutil.rmtree(tmp_path / "m.zarr")
    zarr.create_array(str(tmp_path / "m.zarr"), shape=COUNTS.shape, dtype="u2", chunks=(1, 10, 16))
    with pytest.raises(InputError, match="nothing was ever written"):
        read(tmp_path / "m.zarr")


def test_fill_value_and_packing(tmp_path):
    raw = COUNTS.astype(np.int16)
    raw[2, 3:5] = -99
    item = zarr.create_array(str(tmp_path / "m.zarr"), shape=raw.shape, dtype="i2", chunks=raw.shape, fill_value=-99)  # fmt: skip
    item.attrs.update(scale_factor=0.5, add_offset=1.0)
    item[...] = raw
    truth = np.where(raw == -99, np.nan, raw * 0.5 + 1)
    np.testing.assert_array_equal(read(tmp_path / "m.zarr").frames, truth)


def test_what_cannot_be_read(tmp_path, monkeypatch):
    group = zarr.open_group(str(tmp_path / "m.zarr"), mode="w")
    for name in "ab":
        group.create_array(name, data=COUNTS)
    with pytest.raises(InputError, match=r"2 arrays that could be the movie \(.*a \(6, 20, 16\)"):
        read(tmp_path / "m.zarr")
    np.testing.assert_array_equal(read(f"{tmp_path / 'm.zarr'}::b").frames, COUNTS)
    (tmp_path / "file.zarr").write_text("no folder")
    with pytest.raises(InputError, match="is no folder"):
        read(tmp_path / "file.zarr")
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(InputError, match=r"cannot be read as \.zarr"):
        read(tmp_path / "empty.zarr")
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(InputError, match=r"pip install 'phdenoise\[zarr\]'"):
        read(tmp_path / "m.zarr")


def test_hostile_folders(tmp_path):
    """A shape that no disk holds, and a chunk that is a link out of the folder."""
    item = zarr.create_array(str(tmp_path / "m.zarr"), shape=COUNTS.shape, dtype="u2", chunks=(1, 20, 16), zarr_format=2, compressors=None)  # fmt: skip
    item[...] = COUNTS
    about = json.loads((tmp_path / "m.zarr" / ".zarray").read_text())
    (tmp_path / "m.zarr" / ".zarray").write_text(json.dumps({**about, "shape": [1000, 20000, 16000]}))  # fmt: skip
    with pytest.raises(InputError, match=r"announces .* GB of numbers"):
        read(tmp_path / "m.zarr")
    (tmp_path / "m.zarr" / ".zarray").write_text(json.dumps(about))
    chunk = next(f for f in (tmp_path / "m.zarr").rglob("*") if f.name.startswith("0"))
    chunk.rename(tmp_path / "secret")
    chunk.symlink_to(tmp_path / "secret")
    with pytest.raises(InputError, match="which is not followed"):
        read(tmp_path / "m.zarr")
