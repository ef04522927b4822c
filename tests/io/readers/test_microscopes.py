"""Files of electron microscopes: DM3 and SER are packed here byte by byte, EMD by h5py, TVIPS by RosettaSciIO."""

import warnings

import h5py
import numpy as np
import pytest

from benchmarks.sample_files import Dm3, emd, ser
from phdenoise.io.acquisition import acquisition_of
from phdenoise.io.reading import read
from phdenoise.types import InputError

pytest.importorskip("rsciio")
RNG = np.random.default_rng(9)
COUNTS = RNG.poisson(500, (5, 7, 9)).astype(np.uint16)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", Dm3.CODES)
def test_dm3_numbers_times_and_pixels(tmp_path, kind, order):
    array = RNG.integers(-100 if kind[0] in "if" else 0, 100, (5, 7, 9)).astype(kind)
    dm = Dm3(order)
    (tmp_path / "m.dm3").write_bytes(dm.file(dm.image(array, ("s", "nm", "nm"), (0.25, 2.0, 4.0))))
    movie = read(tmp_path / "m.dm3")
    np.testing.assert_array_equal(movie.frames, array)
    np.testing.assert_allclose(movie.times, 0.25 * np.arange(5))
    assert (movie.pixel_size, movie.length_unit, movie.time_unit) == ((2, 4), "nm", "s")


def test_dm3_of_spectra_is_refused_and_of_filtered_images_is_read(tmp_path):
    dm = Dm3()
    about = dm.group("Meta Data", dm.text("Format", "Spectrum image"), dm.text("Signal", "EELS"))
    path = tmp_path / "m.dm3"
    path.write_bytes(dm.file(dm.image(COUNTS, ("eV", "nm", "nm"), (0.5, 2.0, 2.0), [about])))
    with pytest.raises(InputError, match=r"holds spectra \(.*Energy loss = 5"):
        read(path)
    about = dm.group("Meta Data", dm.text("Format", "Image"))
    path.write_bytes(dm.file(dm.image(COUNTS, ("eV", "nm", "nm"), (0.5, 2.0, 2.0), [about])))
    movie = read(path)
    np.testing.assert_array_equal(movie.frames, COUNTS)
    np.testing.assert_allclose(movie.times, 0.5 * np.arange(5))
    assert movie.time_unit == "eV"


@pytest.mark.parametrize("unit", ["s", "eV"])
def test_dm3_whose_frames_run_backwards(tmp_path, unit):
    dm = Dm3()
    image = dm.image(COUNTS, (unit, "nm", "nm"), (-0.5, 2.0, 2.0))
    (tmp_path / "m.dm3").write_bytes(dm.file(image))
    movie = read(tmp_path / "m.dm3")
    np.testing.assert_array_equal(movie.frames, COUNTS[::-1])
    np.testing.assert_allclose(np.diff(movie.times), 0.5)
    assert movie.time_unit == unit


def test_dm3_of_several_images(tmp_path):
    dm = Dm3()
    images = [dm.image(COUNTS + k, ("", "", ""), (1, 1, 1)) for k in (0, 1)]
    (tmp_path / "m.dm3").write_bytes(dm.file(*images))
    with pytest.raises(InputError, match="holds 2 images"):
        read(tmp_path / "m.dm3")
    np.testing.assert_array_equal(read(f"{tmp_path / 'm.dm3'}::1").frames, COUNTS + 1)


@pytest.mark.parametrize("kind", ["u1", "u2", "u4", "i1", "i2", "i4", "f4", "f8"])
def test_ser_series(tmp_path, kind):
    array = RNG.integers(-100 if kind[0] in "if" else 0, 100, (5, 7, 9)).astype(kind)
    movie = read(ser(tmp_path / "m.ser", array))
    # RosettaSciIO, which reads TIA's files as its users see them, has the last row first.
    np.testing.assert_array_equal(movie.frames, array[:, ::-1])
    np.testing.assert_allclose(movie.pixel_size, (4, 2))
    assert movie.length_unit == "nm"


def test_ser_that_was_stopped_has_only_its_frames(tmp_path):
    np.testing.assert_array_equal(
        read(ser(tmp_path / "m.ser", COUNTS, valid=3)).frames, COUNTS[:3, ::-1]
    )


@pytest.mark.parametrize("name", ["m_000.tvips", "any name.tvips"])
@pytest.mark.parametrize("kind", ["u1", "u2", "u4"])
def test_tvips(tmp_path, kind, name):
    tvips = pytest.importorskip("rsciio.tvips")
    axes = [{"name": n, "size": s, "scale": 2.0, "offset": 0.0, "units": u, "index_in_array": k, "navigate": k == 0} for k, (n, s, u) in enumerate(zip("tyx", COUNTS.shape, ("s", "nm", "nm"), strict=True))]  # fmt: skip
    array = (COUNTS % 200).astype(kind)
    signal = {"data": array, "axes": axes, "metadata": {"Signal": {"signal_type": ""}}, "attributes": {"_lazy": False}}  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tvips.file_writer(str(tmp_path / "m_000.tvips"), signal, show_progressbar=False)
    (tmp_path / "m_000.tvips").rename(tmp_path / name)
    movie = read(tmp_path / name)
    np.testing.assert_array_equal(movie.frames, array)
    assert movie.length_unit == "nm"
    np.testing.assert_allclose(movie.pixel_size, 2)
    (tmp_path / name).rename(tmp_path / "m_001.tvips")
    with pytest.raises(InputError, match="a later part"):
        read(tmp_path / "m_001.tvips")


@pytest.mark.parametrize("kind", ["u1", "i2", "u2", "f4", ">i4", "f8"])
def test_emd(tmp_path, kind):
    array = RNG.integers(0, 100, (5, 7, 9)).astype(kind)
    np.testing.assert_array_equal(read(emd(tmp_path / "m.emd", array)).frames, array)


@pytest.mark.parametrize("order", ["tyx", "xyt"])
def test_emd_of_other_programs(tmp_path, order):
    """RosettaSciIO writes the axes from the last to the first, and names them; NCEM's own library reads them as they are."""
    writer = pytest.importorskip("rsciio.emd")
    array = COUNTS.transpose(["tyx".index(c) for c in order])
    axes = [{"name": {"t": "time"}.get(c, c), "size": n, "scale": 2.0, "offset": 0.0, "units": "s" if c == "t" else "nm", "index_in_array": k, "navigate": False} for k, (c, n) in enumerate(zip(order, array.shape, strict=True))]  # fmt: skip
    signal = {"data": array, "axes": axes, "metadata": {"General": {"title": "m"}, "Signal": {"signal_type": ""}}, "original_metadata": {}, "package_info": {}, "attributes": {"_lazy": False}, "learning_results": {}, "models": {}}  # fmt: skip
    writer.file_writer(str(tmp_path / "m.emd"), signal)
    movie = read(tmp_path / "m.emd")
    np.testing.assert_array_equal(movie.frames, COUNTS)
    assert movie.pixel_size == (2, 2)
    np.testing.assert_allclose(movie.times, 2.0 * np.arange(5))


def test_emd_that_was_stopped(tmp_path):
    movie = read(emd(tmp_path / "m.emd", COUNTS, (1, 7, 9), 3))
    truth = COUNTS.astype(float)
    truth[3:] = np.nan
    np.testing.assert_array_equal(movie.frames, truth)
    assert "never recorded" in " ".join(movie.provenance["notes"])


def test_emd_leads_to_no_other_file(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(5 * 7 * 9 * 2))
    emd(tmp_path / "m.emd", COUNTS)
    with h5py.File(tmp_path / "m.emd", "a") as file:
        group = file["data/movie"]
        del group["data"]
        group.create_dataset("data", COUNTS.shape, "u2", external=[(str(tmp_path / "secret"), 0, COUNTS.nbytes)])  # fmt: skip
    with pytest.raises(InputError, match="which is not followed"):
        read(tmp_path / "m.emd")


@pytest.mark.parametrize("groups", [("Acquisition", "Parameters", "High Level"), ("DataBar",)])
def test_dm3_exposure(tmp_path, groups):
    dm = Dm3()
    name = "Exposure Time (s)" if groups == ("DataBar",) else "Exposure (s)"
    tag = dm.number(name, 0.05, "f8")
    for group in reversed(groups):
        tag = dm.group(group, tag)
    image = dm.image(COUNTS, ("s", "nm", "nm"), (0.25, 2.0, 4.0), [tag])
    (tmp_path / "m.dm3").write_bytes(dm.file(image))
    assert acquisition_of(read(tmp_path / "m.dm3")).one("exposure") == 0.05
