"""Streams of .xrm and .txrm: energies, exposures, currents and dates of each image, references, mosaics, stopped series."""

from pathlib import Path

import numpy as np
import pytest

from phdenoise.io.readers.xrm import source_of
from phdenoise.types import InputError
from tests.io.ole_streams import Streams

IMAGES = np.random.default_rng(2).integers(0, 60_000, (6, 4, 5)).astype("<u2")


def _number(value, kind="<i4"):
    return np.atleast_1d(np.asarray(value, kind)).tobytes()


def _parts(images=IMAGES, said=None, **more):
    parts = {
        "ImageInfo/ImageWidth": _number(5),
        "ImageInfo/ImageHeight": _number(4),
        "ImageInfo/NoOfImages": _number(len(images) if said is None else said),
        "ImageInfo/DataType": _number(5),
        "ImageInfo/PixelSize": _number(0.03, "<f4"),
    }
    parts |= {f"ImageData1/Image{n + 1}": image.tobytes() for n, image in enumerate(images)}
    return parts | {name.replace("__", "/"): data for name, data in more.items()}


def _read(parts, dataset=None):
    return source_of(Streams(parts), Path("a.txrm"), dataset)


def test_falling_energies_are_put_in_order_with_all_that_goes_with_them():
    energy, exposure = np.arange(6)[::-1] + 8300.0, np.arange(6) + 1.0
    dates = b"".join(b"\0x%02d/07/2024 10:0%d:00\0" % (5, n) for n in range(6))
    source = _read(_parts(
        ImageInfo__Energy=_number(energy, "<f4"), ImageInfo__ExpTimes=_number(exposure, "<f4"),
        ImageInfo__Current=_number(exposure + 300, "<f4"), ImageInfo__Date=dates,
    ))  # fmt: skip
    np.testing.assert_array_equal(source.array, IMAGES[::-1])
    np.testing.assert_allclose(source.times, energy[::-1])
    assert source.time_unit == "eV"
    np.testing.assert_allclose(source.acquisition.exposure, exposure[::-1])
    np.testing.assert_allclose(source.acquisition.current, exposure[::-1] + 300)
    np.testing.assert_allclose(np.diff(source.acquisition.started), -60)


def test_one_energy_is_a_movie_in_time():
    dates = b"\0".join(b"05/07/24 10:0%d:30.5" % n for n in range(6))
    source = _read(_parts(ImageInfo__Energy=_number([700.0] * 6, "<f4"), ImageInfo__Date=dates))
    assert source.time_unit == "s"
    np.testing.assert_allclose(source.times, 60 * np.arange(6))
    assert source.acquisition.one("energy") == 700


def test_a_single_image_has_its_energy():
    source = _read(_parts(IMAGES[:1], PositionInfo__Energy=_number(707.25, "<f4")))
    assert source.acquisition.one("energy") == 707.25
    np.testing.assert_array_equal(source.array, IMAGES[:1])


def test_a_stopped_series_keeps_what_was_taken():
    source = _read(_parts(IMAGES[:4], said=6, ImageInfo__Energy=_number(np.arange(6) + 700, "<f4")))
    np.testing.assert_array_equal(source.array, IMAGES[:4])
    np.testing.assert_allclose(source.times, [700, 701, 702, 703])
    assert any("4 of 6 images" in n for n in source.notes)


def test_an_image_that_is_missing_between_others_is_damage():
    parts = _parts()
    del parts["ImageData1/Image3"]
    with pytest.raises(InputError, match="Image3"):
        _read(parts)


@pytest.mark.parametrize("alone", [True, False])
def test_a_reference_has_the_size_of_the_images(alone):
    """Xradia writes its number type beside it, and the size only once."""
    flat = np.linspace(0.5, 1, 20).astype("<f4")
    parts = _parts([] if alone else IMAGES)
    parts |= {"ReferenceData/Image": flat.tobytes(), "ReferenceData/DataType": _number(10)}
    source = _read(parts, None if alone else "reference")
    np.testing.assert_array_equal(source.array[0].ravel(), flat)
    assert source.acquisition.counter == "reference"


@pytest.mark.parametrize("stored", ["tiles", "stitched", "stitched, size of a tile"])
def test_a_mosaic_is_one_image(stored):
    """Two rows of three tiles, from the upper left to the lower right."""
    whole = np.block([[IMAGES[3 * r + c] for c in range(3)] for r in range(2)])
    mosaic = {"ImageInfo/MosiacRows": _number(2), "ImageInfo/MosiacColumns": _number(3)}
    parts = _parts(IMAGES if stored == "tiles" else [whole], said=6) | mosaic
    if stored == "stitched":
        parts |= {"ImageInfo/ImageWidth": _number(15), "ImageInfo/ImageHeight": _number(8)}
    np.testing.assert_array_equal(_read(parts).array, whole[None])


def test_tiles_that_were_not_taken_are_masked():
    mosaic = {"ImageInfo/MosiacRows": _number(2), "ImageInfo/MosiacColumns": _number(3)}
    source = _read(_parts(IMAGES[:4], said=6) | mosaic)
    assert np.isnan(source.array).sum() == 2 * 20
    assert any("2 of which were not taken" in n for n in source.notes)


@pytest.mark.parametrize(
    ("code", "kind"),
    [(2, "i1"), (3, "u1"), (4, "<i2"), (6, "<i4"), (7, "<u4"), (8, "<i8"), (9, "<u8"), (10, "<f4"), (11, "<f8")],
)  # fmt: skip
def test_every_number_type(code, kind):
    images = np.arange(-10, 10).reshape(1, 4, 5).astype(kind)
    source = _read(_parts(images, ImageInfo__DataType=_number(code)))
    np.testing.assert_array_equal(source.array, images)
    assert source.array.dtype == np.dtype(kind)


def test_projections_of_a_tomogram_are_not_called_times():
    source = _read(_parts(ImageInfo__Angles=_number(np.linspace(-60, 60, 6), "<f4")))
    assert any("projections at angles" in n for n in source.notes)


def test_a_pixel_that_no_xray_microscope_has_is_questioned():
    source = _read(_parts(ImageInfo__PixelSize=_number(6.7e-5, "<f4")))
    assert any("is the unit right" in n for n in source.notes)
