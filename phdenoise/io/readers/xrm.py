"""Images of full-field X-ray microscopes, .xrm (one) and .txrm (many): streams of an OLE file, by olefile.

ImageInfo/{ImageWidth, ImageHeight, NoOfImages, DataType, PixelSize, Energy, ExpTimes, Current, Date},
ImageData{k}/Image{n}, k = ⌈n/100⌉,   ReferenceData/{Image, DataType}
Units of the format: pixel size [um], energy [eV], exposure [s], ring current [mA].
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from phdenoise.io.acquisition import Acquisition, parse_clock
from phdenoise.io.readers.extras import require
from phdenoise.io.readers.scans import question_pixels, set_frame_axis
from phdenoise.io.source import Source
from phdenoise.types import InputError

# Number types of the format by their code in DataType.
_TYPES = {
    code: np.dtype(kind)
    for code, kind in {
        2: "i1", 3: "u1", 4: "<i2", 5: "<u2", 6: "<i4", 7: "<u4", 8: "<i8", 9: "<u8", 10: "<f4", 11: "<f8",
    }.items()
}  # fmt: skip
# Images in one folder of the OLE file, fixed by the format.
_IMAGES_PER_FOLDER = 100
_DATE = re.compile(r"\d\d/\d\d/(?:\d\d)?\d\d \d\d:\d\d:\d\d")


def read_xrm(path: Path, dataset: str | None) -> Source:
    """All images of a file; their energies are the frame axis where they differ.

    Args:
        path: file.
        dataset: "reference" reads the image without sample.

    Returns:
        Images [n, y, x] with pixel size [um], energies [eV], exposures [s] and clock times.

    Raises:
        InputError: no such package or part, an unknown type of number, or a truncated image.
    """
    olefile = require("olefile", "xrm", path)
    if not olefile.isOleFile(str(path)):
        raise InputError(f"{path} is no .xrm or .txrm file (OLE): copy it again or convert it.")
    with olefile.OleFileIO(str(path)) as ole:
        return source_of(ole, path, dataset)


def source_of(ole: Any, path: Path, dataset: str | None) -> Source:
    """The images in an open OLE file.

    Args:
        ole: the open file, or any object with `exists(name)` and `openstream(name)`.
        path: names the file in messages.
        dataset: "reference" reads the image without sample.

    Returns:
        Images [n, y, x] with pixel size [um], energies [eV], exposures [s] and clock times.

    Raises:
        InputError: no such part, an unknown type of number, or a truncated image.
    """
    if dataset not in (None, "reference"):
        raise InputError(f"{path} has no part '{dataset}': leave out '::', or give ::reference.")
    images = ole.exists("ImageInfo/NoOfImages") and ole.exists("ImageData1/Image1")
    if dataset or (not images and ole.exists("ReferenceData/Image")):
        return _reference(ole, path, dataset)
    source = Source(np.empty((0, 0, 0)))
    shape = _shape(ole, path, ("ImageInfo",))
    kind = _type(ole, path, ("ImageInfo",))
    source.array = _images(ole, path, shape, kind, source.notes)
    _set_pixels(ole, path, source)
    count = len(source.array)
    source.acquisition = _acquisition(ole, path, count)
    angles = _optional(ole, path, "ImageInfo/Angles", "<f4", count)
    if angles is not None and np.ptp(angles) > _ONE_ANGLE:
        source.notes.append(
            f"The frames are projections at angles of {angles.min():g} to {angles.max():g} degrees, not times."
        )
    order = set_frame_axis(source)
    if order.size == count:
        source.array = source.array[order]
    return source


# Angles of a tomogram differ by more, those of one view jitter by less [degrees].
_ONE_ANGLE = 0.01


def _reference(ole: Any, path: Path, dataset: str | None) -> Source:
    """The image without sample; what its folder does not say is that of the images."""
    places = ("ReferenceData/ImageInfo", "ReferenceData", "ImageInfo")
    shape, kind = _shape(ole, path, places), _type(ole, path, places)
    values = _numbers(ole, path, "ReferenceData/Image", kind)
    rows, columns = _mosaic(ole, path)
    if values.size * rows * columns == shape[0] * shape[1]:
        shape = (shape[0] // rows, shape[1] // columns)  # one reference serves every tile
    if values.size != shape[0] * shape[1]:
        raise InputError(f"{path} is truncated: the reference has not {shape[0]} x {shape[1]} pixels.")  # fmt: skip
    source = Source(values.reshape(1, *shape), dataset=dataset)
    if dataset is None:
        source.notes.append("The file holds a reference only, an image without sample.")
    _set_pixels(ole, path, source)
    exposure = _optional(ole, path, "ReferenceData/ExpTime", "<f4", 1)
    source.acquisition = Acquisition(exposure=exposure, counter="reference")
    return source


def _images(
    ole: Any, path: Path, shape: tuple[int, int], kind: np.dtype, notes: list[str]
) -> np.ndarray:
    """The images that were taken [n, y, x]; the tiles of a mosaic as one image."""
    asked = int(_numbers(ole, path, "ImageInfo/NoOfImages", "<i4")[0])
    names = [f"ImageData{n // _IMAGES_PER_FOLDER + 1}/Image{n + 1}" for n in range(asked)]
    there = [n for n, name in enumerate(names) if ole.exists(name)]
    taken = there[-1] + 1 if there else 0
    frames = [_numbers(ole, path, name, kind) for name in names[:taken]]
    rows, columns = _mosaic(ole, path)
    whole = (shape[0] * rows, shape[1] * columns)
    if len(frames) == 1 and frames[0].size == whole[0] * whole[1]:
        shape, taken = whole, asked
    if not frames or any(f.size != shape[0] * shape[1] for f in frames):
        raise InputError(f"{path} is truncated: an image is missing or has not {shape[0]} x {shape[1]} pixels.")  # fmt: skip
    array = np.stack([f.reshape(shape) for f in frames])
    if rows * columns > 1 and len(frames) > 1:
        return _stitched(array, rows, columns, notes)
    if taken < asked and rows * columns == 1:
        notes.append(
            f"The scan was stopped: {taken} of {asked} images were taken, the others are left out."
        )
    return array


def _stitched(tiles: np.ndarray, rows: int, columns: int, notes: list[str]) -> np.ndarray:
    """Tiles in rows from the upper left to the lower right as one image [1, y, x]; NaN where a tile was not taken."""
    missing = rows * columns - len(tiles)
    if missing < 0:
        raise InputError(
            f"The mosaic has {len(tiles)} images and {rows} x {columns} tiles: a movie of mosaics cannot be read; save one of them."
        )
    said = f", {missing} of which were not taken and are masked" if missing else ""
    notes.append(f"The image is a mosaic of {rows} x {columns} tiles{said}.")
    if missing:
        empty = np.full((missing, *tiles.shape[1:]), np.nan)
        tiles = np.concatenate([tiles.astype(float), empty])
    ny, nx = tiles.shape[1:]
    grid = tiles.reshape(rows, columns, ny, nx).swapaxes(1, 2)
    return grid.reshape(1, rows * ny, columns * nx)


def _mosaic(ole: Any, path: Path) -> tuple[int, int]:
    """Rows and columns of tiles, spelled as in the format; 1 x 1 for a single image."""
    found = [_optional(ole, path, f"ImageInfo/Mosiac{name}", "<i4", 1) for name in ("Rows", "Columns")]  # fmt: skip
    rows, columns = (1 if v is None else max(1, int(v[0])) for v in found)
    return rows, columns


def _acquisition(ole: Any, path: Path, count: int) -> Acquisition:
    """What the file says of its images; a value of 0 means that nothing was connected."""
    energy, exposure, current = (
        next((v for name in names if (v := _positive(ole, path, name, count)) is not None), None)
        for names in (
            ("ImageInfo/Energy", "PositionInfo/Energy"),
            ("ImageInfo/ExpTimes", "ImageInfo/ExpTime"),
            ("ImageInfo/Current",),
        )
    )
    started = None
    if ole.exists("ImageInfo/Date"):
        text = ole.openstream("ImageInfo/Date").read().decode("latin-1")
        clocks = np.array([parse_clock(d) for d in _DATE.findall(text)])[:count]
        started = clocks if clocks.size == count else clocks[:1] if clocks.size else None
    return Acquisition(energy=energy, exposure=exposure, current=current, started=started)


def _positive(ole: Any, path: Path, name: str, count: int) -> np.ndarray | None:
    """Numbers of each image, or one for all; None where they are not all positive."""
    values = _optional(ole, path, name, "<f4", count)
    values = _optional(ole, path, name, "<f4", 1) if values is None else values
    return values if values is not None and np.all(values > 0) else None


def _set_pixels(ole: Any, path: Path, source: Source) -> None:
    size = _positive(ole, path, "ImageInfo/PixelSize", 1)
    if size is not None and np.isfinite(size[0]):
        source.pixel_size, source.length_unit = (float(size[0]), float(size[0])), "um"
        question_pixels(source)


def _shape(ole: Any, path: Path, places: tuple[str, ...]) -> tuple[int, int]:
    """Rows and columns, from the first place that names them."""
    height, width = (
        int(_numbers(ole, path, _place(ole, places, name), "<i4")[0])
        for name in ("ImageHeight", "ImageWidth")
    )
    return height, width


def _type(ole: Any, path: Path, places: tuple[str, ...]) -> np.dtype:
    code = int(_numbers(ole, path, _place(ole, places, "DataType"), "<i4")[0])
    if code not in _TYPES:
        raise InputError(f"{path} holds numbers of type {code}: of {sorted(_TYPES)} are known.")
    return _TYPES[code]


def _place(ole: Any, places: tuple[str, ...], name: str) -> str:
    return next((f"{p}/{name}" for p in places if ole.exists(f"{p}/{name}")), f"{places[0]}/{name}")


def _optional(ole: Any, path: Path, name: str, kind: str, count: int) -> np.ndarray | None:
    """The first numbers of a stream; None where there are not as many."""
    if not ole.exists(name) or len(ole.openstream(name).read()) < count * np.dtype(kind).itemsize:
        return None
    return _numbers(ole, path, name, kind)[:count].astype(float)


def _numbers(ole: Any, path: Path, name: str, kind: Any) -> np.ndarray:
    if not ole.exists(name):
        raise InputError(f"{path} has no {name}: it is truncated, or no image of a microscope.")
    data = ole.openstream(name).read()
    size = np.dtype(kind).itemsize
    if len(data) < size:
        raise InputError(f"{path} is truncated: {name} is empty.")
    return np.frombuffer(data[: len(data) // size * size], kind)
