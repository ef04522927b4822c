"""NXstxm scans, files of ALS and .cxi: axes by their names, energies in eV and in order, one counter, images only."""

import h5py
import numpy as np
import pytest

from phdenoise.io.acquisition import acquisition_of
from phdenoise.io.parts import open_movie
from phdenoise.io.reading import read
from phdenoise.types import InputError

IMAGES = np.random.default_rng(1).integers(100, 200, (3, 4, 6)).astype(float)
ENERGIES = (700.0, 705.0, 710.0)


def _scan(
    path, data=IMAGES, *, energy=ENERGIES, unit="eV", name="energy", axes=None, kind="sample image stack",
    counters=("counter0",), entries=("entry1",), definition="NXstxm", length="um", y=None, x=None,
):  # fmt: skip
    with h5py.File(path, "w") as file:
        for entry_name in entries:
            entry = file.create_group(entry_name)
            entry.attrs["NX_class"] = "NXentry"
            entry["definition"] = definition
            for k, counter in enumerate(counters):
                group = entry.create_group(counter)
                group.attrs["NX_class"] = "NXdata"
                if axes:
                    group.attrs["axes"] = axes
                group["data"] = data + 1000 * k
                group[name] = np.atleast_1d(energy)
                group[name].attrs["units"] = unit
                group["sample_y"] = np.arange(4) * 0.1 if y is None else y
                group["sample_x"] = np.arange(6) * 0.05 if x is None else x
                if length:
                    group["sample_x"].attrs["units"] = group["sample_y"].attrs["units"] = length
                group["stxm_scan_type"] = kind
    return path


ORDERS = [
    (("energy", "sample_y", "sample_x"), (0, 1, 2)),
    (("sample_y", "sample_x", "energy"), (1, 2, 0)),
    (("energy", "sample_x", "sample_y"), (0, 2, 1)),
    (("sample_x", "sample_y", "energy"), (2, 1, 0)),
]


@pytest.mark.parametrize(("names", "order"), ORDERS)
def test_axes_are_what_they_are_called(tmp_path, names, order):
    movie = read(_scan(tmp_path / "s.h5", IMAGES.transpose(order), axes=list(names)))
    np.testing.assert_array_equal(movie.frames, IMAGES)
    np.testing.assert_allclose(movie.times, ENERGIES)
    np.testing.assert_allclose(movie.pixel_size, (0.1, 0.05))
    assert (movie.time_unit, movie.length_unit) == ("eV", "um")


@pytest.mark.parametrize(("names", "order"), ORDERS[:2])
def test_axes_without_names_go_by_their_lengths(tmp_path, names, order):
    movie = read(_scan(tmp_path / "s.h5", IMAGES.transpose(order)))
    np.testing.assert_array_equal(movie.frames, IMAGES)


def test_axes_of_a_group_that_is_no_nxstxm(tmp_path):
    """Rows, columns and energies of any NXdata."""
    path = tmp_path / "s.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("data")
        group.attrs.update(NX_class="NXdata", signal="d", axes=["y", "x", "energy"])
        group["d"] = IMAGES.transpose(1, 2, 0)
        for name, values, unit in (("energy", ENERGIES, "eV"), ("y", np.arange(4) * 0.1, "um"), ("x", np.arange(6) * 0.05, "um")):  # fmt: skip
            group[name] = values
            group[name].attrs["units"] = unit
    movie = read(path)
    np.testing.assert_array_equal(movie.frames, IMAGES)
    np.testing.assert_allclose(movie.times, ENERGIES)
    np.testing.assert_allclose(movie.pixel_size, (0.1, 0.05))


@pytest.mark.parametrize("name", ["energy", "photon_energy"])
@pytest.mark.parametrize(
    ("energy", "unit"),
    [((710.0, 705.0, 700.0), "eV"), ((0.705, 0.71, 0.7), "keV"), ((700.0, 705.0, 710.0), "")],
)
def test_energies_in_electronvolts_and_in_order(tmp_path, name, energy, unit):
    movie = read(_scan(tmp_path / "s.h5", energy=energy, unit=unit, name=name))
    np.testing.assert_allclose(movie.times, ENERGIES)
    np.testing.assert_array_equal(movie.frames, IMAGES[np.argsort(energy)])
    assert movie.time_unit == "eV"
    np.testing.assert_allclose(acquisition_of(movie).energy, ENERGIES)


def test_a_stack_that_must_be_put_in_order_is_not_read_in_parts(tmp_path):
    path = _scan(tmp_path / "s.h5", energy=ENERGIES[::-1])
    with pytest.raises(InputError, match="only be read whole"), open_movie(path):
        pass
    with open_movie(_scan(tmp_path / "t.h5")) as movie:
        np.testing.assert_allclose(movie.header.times, ENERGIES)
        part, _ = movie.read(slice(1, 3), slice(1, 4), slice(2, 6))
        np.testing.assert_array_equal(part, IMAGES[1:3, 1:4, 2:6])


def test_energies_that_repeat_are_no_axis(tmp_path):
    movie = read(_scan(tmp_path / "s.h5", energy=(700.0, 700.0, 710.0)))
    assert movie.time_unit == "frame"
    assert any("700, 700, 710 eV" in n for n in movie.provenance["notes"])


@pytest.mark.parametrize("what", [{"counters": ("analog0", "counter0")}, {"entries": ("entry1", "entry2")}])  # fmt: skip
def test_of_several_counters_or_regions_one_is_chosen(tmp_path, what):
    path = _scan(tmp_path / "s.h5", **what)
    with pytest.raises(InputError, match="2 counters or regions") as error:
        read(path)
    entry = what.get("entries", ("entry1",))[-1]
    named = f"/{entry}/counter0/data"
    assert named in str(error.value)
    movie = read(f"{path}::{named}")
    np.testing.assert_array_equal(movie.frames, IMAGES + 1000 * ("counters" in what))
    assert acquisition_of(movie).counter == "counter0"


def test_the_default_counter_needs_no_choice(tmp_path):
    path = _scan(tmp_path / "s.h5", counters=("analog0", "counter0"))
    with h5py.File(path, "a") as file:
        file["entry1"].attrs["default"] = "counter0"
    np.testing.assert_array_equal(read(path).frames, IMAGES + 1000)


@pytest.mark.parametrize(
    "kind", ["sample focus", "osa image", "detector image", "sample line spectrum", "Focus", "Single Motor"]
)  # fmt: skip
def test_scans_that_are_no_image_are_refused(tmp_path, kind):
    with pytest.raises(InputError, match=kind):
        read(_scan(tmp_path / "s.h5", kind=kind))


def test_points_in_a_row_get_their_lattice_back(tmp_path):
    x, y = np.tile(np.arange(6) * 0.05, 4), np.repeat(np.arange(4) * 0.1, 6)
    movie = read(_scan(tmp_path / "s.h5", IMAGES.reshape(3, 24), y=y, x=x))
    np.testing.assert_array_equal(movie.frames, IMAGES)
    np.testing.assert_allclose(movie.pixel_size, (0.1, 0.05))
    scattered = np.random.default_rng(0).permutation(24)
    with pytest.raises(InputError, match="no lattice"):
        read(_scan(tmp_path / "t.h5", IMAGES.reshape(3, 24), y=y[scattered], x=x[scattered]))


def test_a_stack_over_polarisations_is_not_over_energy(tmp_path):
    path = _scan(tmp_path / "s.h5", energy=(700.0,), axes=["polarization", "sample_y", "sample_x"])
    with h5py.File(path, "a") as file:
        file["entry1/counter0/polarization"] = [1.0, -1.0, 0.0]
    movie = read(path)
    assert movie.time_unit == "polarisation"
    np.testing.assert_array_equal(movie.frames, IMAGES[[1, 2, 0]])
    np.testing.assert_allclose(acquisition_of(movie).polarisation, [-1, 0, 1])
    assert acquisition_of(movie).one("energy") == 700


def test_what_an_entry_says_of_its_images_is_read(tmp_path):
    path = _scan(tmp_path / "s.h5", energy=ENERGIES[::-1])
    with h5py.File(path, "a") as file:
        entry = file["entry1"]
        entry["start_time"] = "2024-05-01T10:00:00+02:00"
        entry["counter0/count_time"] = [3.0, 2.0, 1.0]
        entry["counter0/count_time"].attrs["units"] = "ms"
        entry["instrument/source/current"] = 0.4
        entry["instrument/source/current"].attrs["units"] = "A"
        entry["instrument/epu/polarization"] = -1.0
    taken = acquisition_of(read(path))
    np.testing.assert_allclose(taken.exposure, [0.001, 0.002, 0.003])
    assert taken.one("current") == pytest.approx(400)
    assert taken.one("polarisation") == -1
    assert taken.one("started") == pytest.approx(1714550400)


def test_positions_without_unit_give_no_pixel_size(tmp_path):
    movie = read(_scan(tmp_path / "s.h5", length=None))
    assert movie.length_unit == "px"
    assert any("without a unit" in n for n in movie.provenance["notes"])


@pytest.mark.parametrize("suffix", [".stxm", ".hdf", ".NXS"])
def test_files_of_als(tmp_path, suffix):
    """Raw samples in counter0, the lattice in binned_values, no definition of its own."""
    path = _scan(tmp_path / f"s{suffix}", entries=("entry0",), definition="3", kind="Image")
    with h5py.File(path, "a") as file:
        entry = file["entry0"]
        entry.copy("counter0", "binned_values")
        del entry["counter0/data"], entry["counter0/sample_x"]
        entry["counter0/data"] = np.zeros((3, 4, 20))
        entry["counter0/sample_x"] = np.zeros((3, 4, 20))
    movie = read(path)
    np.testing.assert_array_equal(movie.frames, IMAGES)
    np.testing.assert_allclose(movie.times, ENERGIES)


def test_coherent_x_ray_images(tmp_path):
    path = tmp_path / "s.cxi"
    with h5py.File(path, "w") as file:
        file["cxi_version"] = 160
        file["entry_1/data_1/data"] = IMAGES
        file["entry_1/image_1/data"] = IMAGES[0] + 7
        file["entry_1/image_1/image_size"] = [6e-7, 8e-7, 0.0]
        file["entry_1/instrument_1/source_1/energy"] = 700 * 1.602176634e-19
    movie = read(path)
    np.testing.assert_array_equal(movie.frames, IMAGES)
    assert acquisition_of(movie).one("energy") == pytest.approx(700)
    image = read(f"{path}::/entry_1/image_1/data")
    np.testing.assert_allclose(image.pixel_size, (2e-7, 1e-7))
    assert image.length_unit == "m"
