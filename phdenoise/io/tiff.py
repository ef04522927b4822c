"""TIFF: any number type, pages, ImageJ hyperstacks and OME, with pixel size and frame interval.

ImageJ keeps `unit` and `finterval` in the image description and pixels per unit in the resolution tags;
OME keeps XML (Goldberg et al., Genome Biol. 6, R47 (2005), doi:10.1186/gb-2005-6-5-r47).
"""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import tifffile

from phdenoise.io import units
from phdenoise.io.jsonfile import to_json
from phdenoise.io.source import Source
from phdenoise.movie import Movie
from phdenoise.types import InputError

_CENTIMETRE = 3
_LARGEST = 4e9


def read_tiff(path: Path, dataset: str | None) -> Source:
    """The first series of a TIFF file (a number picks another one) with its calibration."""
    if dataset is not None and not dataset.isdigit():
        raise InputError(
            f"{path}::{dataset}: a TIFF file has numbered series; use {path}::0, or no '::' at all."
        )
    index = int(dataset or 0)
    with _complaints() as complaints, tifffile.TiffFile(path) as file:
        count = len(file.series)
        if index >= count:
            raise InputError(f"{path} has {count} series, so ::{index} does not exist: use 0.")
        series = file.series[index]
        source = Source(series.asarray(), axes=series.axes, dataset=dataset)
        if count > 1 and dataset is None:
            shapes = ", ".join(str(s.shape) for s in file.series[:6])
            source.notes.append(f"The first of {count} series (shapes {shapes}) was taken.")
        calibrate(file, index, source)
    # tifffile logs a broken chain of pages and goes on with the pages it found.
    if complaints:
        raise InputError(
            f"{path} is truncated or damaged ({complaints[0].splitlines()[0]}): copy it again."
        )
    return source


def calibrate(file: tifffile.TiffFile, index: int, source: Source) -> None:
    """Pixel size and frame interval of a series, from where the program that wrote it keeps them."""
    if file.is_ome and file.ome_metadata:
        _calibrate_ome(file.ome_metadata, index, source)
    elif file.is_imagej and file.imagej_metadata:
        _calibrate_imagej(file, source)
    else:
        _calibrate_plain(file, source)


def write_tiff(
    path: Path, movie: Movie, frames: np.ndarray, notes: Mapping[str, object] | None = None
) -> None:
    """Write frames [t, y, x] or [t, c, y, x] as a float32 ImageJ stack with the calibration of the movie.

    Args:
        path: file to write.
        movie: gives pixel size, times and units.
        frames: values to write, float32 in the file.
        notes: anything worth keeping; becomes the image's Info text as JSON.

    Raises:
        InputError: more than the 4 GB that ImageJ can read.
    """
    if frames.size * 4 > _LARGEST:
        raise InputError(
            f"{path}: {frames.size * 4 / 1e9:.1f} GB are more than an ImageJ TIFF can hold (4 GB): "
            "give an output name ending in .h5."
        )
    dy, dx = movie.pixel_size
    info = {
        "pixel_size": movie.pixel_size,
        "length_unit": movie.length_unit,
        "times": movie.times,
        "time_unit": movie.time_unit,
        "intensity_unit": movie.intensity_unit,
        **(notes or {}),
    }
    metadata: dict[str, object] = {
        "axes": "TCYX" if frames.ndim == 4 else "TYX",
        "Info": to_json(info),
    }
    metadata["unit"] = {"um": "micron", "px": "pixel"}.get(
        movie.length_unit, movie.length_unit.encode("ascii", "backslashreplace").decode()
    )
    steps = np.diff(movie.times)
    if steps.size and movie.time_unit != "frame":
        metadata["finterval"] = float(steps.mean())
        metadata["tunit"] = "sec" if movie.time_unit == "s" else movie.time_unit
    tifffile.imwrite(
        path,
        np.asarray(frames, np.float32),
        imagej=True,
        resolution=(1 / dx, 1 / dy),
        metadata=metadata,
    )


def _calibrate_imagej(file: tifffile.TiffFile, source: Source) -> None:
    metadata = file.imagej_metadata or {}
    unit = units.length_unit(str(metadata.get("unit", "")))
    pixel = _resolution(file)
    if unit != "px" and pixel is not None:
        source.pixel_size, source.length_unit = pixel, unit
    source.channels = _named_channels(str(metadata.get("Info", "")))
    interval = metadata.get("finterval", 0)
    if isinstance(interval, int | float) and interval > 0:
        source.frame_interval = float(interval)
        source.time_unit = units.time_unit(str(metadata.get("tunit", "s")))


def _named_channels(info: str) -> tuple[str, ...]:
    """Names that `write_tiff` left in the image's Info text."""
    try:
        notes = json.loads(info)
    except ValueError:
        return ()
    names = notes.get("channels", []) if isinstance(notes, dict) else []
    return tuple(str(n) for n in names)


def _calibrate_plain(file: tifffile.TiffFile, source: Source) -> None:
    """A resolution in centimetres may be an instrument's; one in inches is a printer's."""
    pixel = _resolution(file)
    tag = file.pages.first.tags.get("ResolutionUnit")
    if pixel is None or tag is None or tag.value != _CENTIMETRE:
        return
    pixel = pixel[0] * 1e4, pixel[1] * 1e4
    if max(pixel) < 50.0:
        source.pixel_size, source.length_unit = pixel, "um"
    else:
        source.notes.append(
            f"The resolution in the file means pixels of {pixel[1]:.3g} um, which is a printing value: ignored."
        )


def _calibrate_ome(xml: str, index: int, source: Source) -> None:
    pixels = ElementTree.fromstring(xml).findall(".//{*}Image/{*}Pixels")
    if index >= len(pixels):
        return
    got = pixels[index].attrib
    dy, dx = (_positive(got.get(f"PhysicalSize{a}")) for a in "YX")
    if dy and dx and got.get("PhysicalSizeXUnit") == got.get("PhysicalSizeYUnit"):
        source.pixel_size = dy, dx
        source.length_unit = units.length_unit(got.get("PhysicalSizeXUnit", "um"))
    source.channels = tuple(c.attrib.get("Name", "") for c in pixels[index].findall("{*}Channel"))
    interval = _positive(got.get("TimeIncrement"))
    planes = [p.attrib for p in pixels[index].findall("{*}Plane")]
    delays = {
        int(p["TheT"]): float(p["DeltaT"])
        for p in planes
        if "DeltaT" in p and p.get("TheC") == "0" and p.get("TheZ") == "0"
    }
    if interval:
        source.frame_interval = interval
        source.time_unit = units.time_unit(got.get("TimeIncrementUnit", "s"))
    elif len(delays) > 1 and len(delays) == int(got.get("SizeT", 0)):
        source.times = np.array([delays[t] for t in sorted(delays)])
        source.time_unit = units.time_unit(planes[0].get("DeltaTUnit", "s"))


def _positive(text: str | None) -> float:
    value = float(text or 0)
    return value if np.isfinite(value) and value > 0 else 0.0


def _resolution(file: tifffile.TiffFile) -> tuple[float, float] | None:
    """(dy, dx) in the unit of the file, from pixels per unit as fractions."""
    sizes = []
    for name in ("YResolution", "XResolution"):
        tag = file.pages.first.tags.get(name)
        if tag is None or not all(tag.value):
            return None
        sizes.append(tag.value[1] / tag.value[0])
    return sizes[0], sizes[1]


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collect what tifffile reports as errors, and keep them off the screen."""
    found: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.ERROR:
                found.append(record.getMessage())

    logger, handler = logging.getLogger("tifffile"), Collect()
    propagate = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield found
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate
