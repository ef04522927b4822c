"""Files of scans: energies, times, pixels and exposures are those that the files say, and contradictions are refused."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

from phdenoise.modalities.stxm.files import StxmFiles, read_scans
from phdenoise.types import InputError

LEVELS = np.array([100.0, 200.0, 300.0])


def _movies(folder: Path, frames: int) -> tuple[str, ...]:
    """A movie for each energy: energy k has level 100 (k + 1), time t adds t."""
    names = []
    for k, level in enumerate(LEVELS):
        names.append(str(folder / f"e{k}.npy"))
        np.save(names[-1], level + np.arange(frames)[:, None, None] + np.zeros((frames, 5, 6)))
    return tuple(names)


def _means(scans):
    return scans.counts.mean((-1, -2))


def _stack(path: Path, values, *, energy=(700.0, 708.0, 710.0), start=None, dwell=None, pixel=0.05, polarisation=None, counter="counter0"):  # fmt: skip
    """A NXstxm stack [e, y, x] of constant images."""
    values = np.asarray(values, float)
    with h5py.File(path, "w") as file:
        entry = file.create_group("entry1")
        entry.attrs["NX_class"] = "NXentry"
        entry["definition"] = "NXstxm"
        if start is not None:
            entry["start_time"] = start
        if polarisation is not None:
            entry["instrument/epu/polarization"] = polarisation
        group = entry.create_group(counter)
        group.attrs["NX_class"] = "NXdata"
        group.attrs["signal"] = "data"
        group["data"] = values[:, None, None] + np.arange(30).reshape(5, 6) / 100
        group["energy"] = np.asarray(energy)
        group["energy"].attrs["units"] = "eV"
        for name, count in (("sample_y", 5), ("sample_x", 6)):
            group[name] = np.arange(count) * pixel
            group[name].attrs["units"] = "um"
        if dwell is not None:
            group["count_time"] = np.full(len(values), dwell)
        group["stxm_scan_type"] = "sample image stack"
    return str(path)


def test_as_many_movies_as_frames_and_energies_ask_what_frames_are(tmp_path):
    paths, energies = _movies(tmp_path, 3), (700.0, 708.0, 710.0)
    with pytest.raises(InputError, match="--frames-are"):
        read_scans(paths, StxmFiles(energies=energies))
    times = read_scans(paths, StxmFiles(energies=energies, frames_are="times"))
    np.testing.assert_allclose(_means(times), LEVELS[:, None] + np.arange(3))
    stacks = read_scans(paths, StxmFiles(energies=energies, frames_are="energies"))
    np.testing.assert_allclose(_means(stacks), (LEVELS[:, None] + np.arange(3)).T)


@pytest.mark.parametrize("frames", [2, 4])
def test_another_number_of_frames_leaves_no_doubt(tmp_path, frames):
    found = read_scans(_movies(tmp_path, frames), StxmFiles(energies=(700.0, 708.0, 710.0)))
    np.testing.assert_allclose(_means(found), LEVELS[:, None] + np.arange(frames))


def test_files_that_say_their_times_are_movies(tmp_path):
    """As many movies as frames and energies, but the files say seconds."""
    paths = []
    for k, level in enumerate(LEVELS):
        paths.append(str(tmp_path / f"{k}.tif"))
        frames = level + np.arange(3)[:, None, None] + np.zeros((3, 5, 6))
        meta = {"axes": "TYX", "finterval": 2.0, "tunit": "s"}
        tifffile.imwrite(paths[-1], frames.astype("f4"), imagej=True, metadata=meta)
    found = read_scans(tuple(paths), StxmFiles(energies=(700.0, 708.0, 710.0)))
    np.testing.assert_allclose(_means(found), LEVELS[:, None] + np.arange(3))
    np.testing.assert_allclose(found.times, [0, 2, 4])
    with pytest.raises(InputError, match="--override"):
        read_scans(tuple(paths), StxmFiles(energies=(700.0, 708.0, 710.0)), frame_interval=30.0)
    taken = read_scans(
        tuple(paths), StxmFiles(energies=(700.0, 708.0, 710.0)), frame_interval=30.0, override=True
    )
    np.testing.assert_allclose(taken.times, [0, 30, 60])


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ({"resolution": (10, 10)}, "pixels of 0.1 x 0.1 um"),
        ({"finterval": 10.0}, "10 s apart"),
    ],
)
def test_movies_of_another_scale_are_refused(tmp_path, second, words):
    for k, change in enumerate(({}, second)):
        given = {"resolution": (20, 20), "finterval": 1.0} | change
        meta = {"axes": "TYX", "unit": "um", "finterval": given["finterval"], "tunit": "s"}
        tifffile.imwrite(
            tmp_path / f"{k}.tif", np.ones((4, 5, 6), "f4"), imagej=True, resolution=given["resolution"], metadata=meta
        )  # fmt: skip
    paths = tuple(str(tmp_path / f"{k}.tif") for k in (0, 1))
    with pytest.raises(InputError, match=words):
        read_scans(paths, StxmFiles(energies=(700.0, 708.0)))


def test_stacks_take_energies_order_and_times_from_their_files(tmp_path):
    """Named in the wrong order, from high to low energy: lithium would run backwards."""
    late = _stack(tmp_path / "a.h5", [30, 20, 10], energy=(710.0, 708.0, 700.0), start="2024-05-01T10:20:00")  # fmt: skip
    early = _stack(tmp_path / "b.h5", [1, 2, 3], start="2024-05-01T10:00:00")
    found = read_scans((late, early), StxmFiles())
    np.testing.assert_allclose(_means(found), np.array([[1, 10], [2, 20], [3, 30]]) + 0.145)
    np.testing.assert_allclose(found.energies, [700, 708, 710])
    np.testing.assert_allclose(found.times, [0, 1200])
    assert found.time_unit == "s"
    assert found.pixel_size == pytest.approx((0.05, 0.05))
    assert any("order of the clock" in n for n in found.notes)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ({"dwell": 0.001}, {"dwell": 0.002}, "exposure"),
        ({"polarisation": 1.0}, {"polarisation": -1.0}, "polarisation"),
        ({}, {"pixel": 0.06}, "pixels of"),
        ({}, {"energy": (700.0, 708.0, 711.0)}, "other energies"),
        ({}, {"counter": "analog0"}, "different counters"),
    ],
)
def test_stacks_that_differ_are_refused(tmp_path, first, second, words):
    paths = tuple(_stack(tmp_path / f"{k}.h5", [1, 2, 3], **c) for k, c in enumerate((first, second)))  # fmt: skip
    with pytest.raises(InputError, match=words):
        read_scans(paths, StxmFiles())


def test_the_command_line_may_not_contradict_a_file(tmp_path):
    path = _stack(tmp_path / "a.h5", [1, 2, 3])
    with pytest.raises(InputError, match="--energies says 709 eV where the file says 708"):
        read_scans((path,), StxmFiles(energies=(700.0, 709.0, 710.0)))
    with pytest.raises(InputError, match="--pixel-size"):
        read_scans((path,), StxmFiles(), pixel_size=0.5)
    with pytest.raises(InputError, match="--frames-are"):
        read_scans((path,), StxmFiles(frames_are="times"))
    shifted = StxmFiles(energies=(701.0, 709.0, 711.0))
    np.testing.assert_allclose(read_scans((path,), shifted, override=True).energies, [701, 709, 711])  # fmt: skip
    assert read_scans((path,), StxmFiles(), pixel_size=0.05).pixel_size == (0.05, 0.05)


def test_a_beam_of_another_exposure_or_energy_is_refused(tmp_path):
    scans = tuple(_stack(tmp_path / f"{k}.h5", [1, 2, 3], dwell=0.001) for k in range(2))
    beam = _stack(tmp_path / "i0.h5", [5, 5, 5], dwell=0.004)
    with pytest.raises(InputError, match="exposure"):
        read_scans(scans, StxmFiles(incident_file=(beam,)))


def test_frames_over_a_zone_plate_are_no_scans(tmp_path):
    path = tmp_path / "a.h5"
    _stack(path, [1, 2, 3])
    with h5py.File(path, "a") as file:
        group = file["entry1/counter0"]
        group["zone_plate_z"] = [-3.0, -2.0, -1.0]
        group["zone_plate_z"].attrs["units"] = "um"
        group.attrs["axes"] = ["zone_plate_z", "sample_y", "sample_x"]
        del group["energy"]
    with pytest.raises(InputError, match="neither energies nor times"):
        read_scans((str(path),), StxmFiles())


def test_a_pixel_that_no_xray_microscope_has_is_questioned(tmp_path):
    path = _stack(tmp_path / "a.h5", [1, 2, 3], pixel=6.7e-5)
    assert any("is the unit right" in n for n in read_scans((path,), StxmFiles()).notes)


def test_images_with_energies_of_their_own_make_movies(tmp_path):
    """Three rounds of two energies, named in any order: the clock decides."""
    paths, values = [], {}
    for n in range(6):
        energy, start = (708.0, 710.0)[n % 2], f"2024-05-01T10:{n:02d}:00"
        path = _stack(tmp_path / f"{n}.h5", [10.0 + n], energy=(energy,), start=start)
        values.setdefault(energy, []).append(10.0 + n + 0.145)
        paths.append(path)
    found = read_scans(tuple(paths[k] for k in (4, 1, 0, 3, 5, 2)), StxmFiles())
    np.testing.assert_allclose(found.energies, [708, 710])
    np.testing.assert_allclose(_means(found), [values[708.0], values[710.0]])
    np.testing.assert_allclose(found.times, [0, 120, 240])
    pair = read_scans((paths[1], paths[0]), StxmFiles())
    np.testing.assert_allclose(pair.energies, [708, 710])
    np.testing.assert_allclose(_means(pair)[:, 0], [10.145, 11.145])
    with pytest.raises(InputError, match="twice"):
        read_scans(tuple(paths[:3]), StxmFiles())
