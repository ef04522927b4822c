"""Images of full-field X-ray microscopes, .xrm (one) and .txrm (many): streams of an OLE file, by olefile.

ImageInfo/{ImageWidth, ImageHeight, NoOfImages, DataType, PixelSize, Energy},   ImageData{k}/Image{n}, k = ⌈n/100⌉
"""

from pathlib import Path
from typing import Any

import numpy as np

from phdenoise.io.extras import _require
from phdenoise.io.source import Source
from phdenoise.types import InputError

_TYPES = {3: np.dtype("u1"), 5: np.dtype("<u2"), 7: np.dtype("<i4"), 10: np.dtype("<f4")}
_GROUP = 100


def read_xrm(path: Path, dataset: str | None) -> Source:
    """All images; their energies stand for times where they differ. '::reference' reads the image without sample.

    Raises:
        InputError: no such package or part, an unknown type of number, or fewer images than the file says.
    """
    olefile = _require("olefile", "xrm", path)
    if not olefile.isOleFile(str(path)):
        raise InputError(f"{path} is no .xrm or .txrm file (OLE): copy it again or convert it.")
    with olefile.OleFileIO(str(path)) as ole:
        return source_of(ole, path, dataset)


def source_of(ole: Any, path: Path, dataset: str | None) -> Source:
    """What an open OLE file holds; anything with `exists(name)` and `openstream(name)` serves."""
    if dataset not in (None, "reference"):
        raise InputError(f"{path} has no part '{dataset}': leave out '::', or give ::reference.")
    base = "ReferenceData/" if dataset else ""
    width, height = (int(_numbers(ole, path, f"{base}ImageInfo/Image{s}", "<i4")[0]) for s in ("Width", "Height"))  # fmt: skip
    code = int(_numbers(ole, path, f"{base}ImageInfo/DataType", "<i4")[0])
    if code not in _TYPES:
        raise InputError(f"{path} holds numbers of type {code}: of {sorted(_TYPES)} are known.")
    if dataset:
        names = ["ReferenceData/Image"]
    else:
        count = int(_numbers(ole, path, "ImageInfo/NoOfImages", "<i4")[0])
        names = [f"ImageData{n // _GROUP + 1}/Image{n + 1}" for n in range(count)]
    frames = [_numbers(ole, path, name, _TYPES[code]) for name in names]
    if not frames or any(f.size != width * height for f in frames):
        raise InputError(f"{path} is truncated: an image is missing or has not {height} x {width} pixels.")  # fmt: skip
    source = Source(np.stack([f.reshape(height, width) for f in frames]), dataset=dataset)
    if ole.exists("ImageInfo/PixelSize"):
        size = float(_numbers(ole, path, "ImageInfo/PixelSize", "<f4")[0])
        if np.isfinite(size) and size > 0:
            source.pixel_size, source.length_unit = (size, size), "um"
    if not dataset and ole.exists("ImageInfo/Energy"):
        energies = _numbers(ole, path, "ImageInfo/Energy", "<f4").astype(float)[: len(frames)]
        if energies.size == len(frames) > 1 and np.all(np.diff(energies) > 0):
            source.times, source.time_unit = energies, "eV"
        elif energies.size and energies[0] > 0:
            source.stored = {"energy_eV": float(energies[0])}
    return source


def _numbers(ole: Any, path: Path, name: str, kind: Any) -> np.ndarray:
    if not ole.exists(name):
        raise InputError(f"{path} has no {name}: it is truncated, or no image of a microscope.")
    data = ole.openstream(name).read()
    size = np.dtype(kind).itemsize
    if len(data) < size:
        raise InputError(f"{path} is truncated: {name} is empty.")
    return np.frombuffer(data[: len(data) // size * size], kind)
