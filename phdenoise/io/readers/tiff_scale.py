"""Pixel size, times and channel names of a TIFF file, from where the program that wrote it keeps them.

ImageJ keeps `unit` and `finterval` in the image description and pixels per unit in the resolution tags;
OME keeps XML (Goldberg et al., Genome Biol. 6, R47 (2005), doi:10.1186/gb-2005-6-5-r47).
"""

import json
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile

from phdenoise.io import units
from phdenoise.io.acquisition import Acquisition, parse_clock
from phdenoise.io.source import Source

# Value of the tag ResolutionUnit for centimetres (TIFF 6.0, section 8).
_CENTIMETRE = 3

# Largest pixel size [um] that a resolution per centimetre is taken for; larger ones are printing values (72 dots an inch
# are 353 um, 300 are 85 um).
_LARGEST_PIXEL = 50.0


def calibrate(file: tifffile.TiffFile, index: int, source: Source) -> None:
    """Add pixel size, times and channel names of a series.

    Args:
        file: the open file.
        index: number of the series.
        source: changed in place.
    """
    if file.is_ome and file.ome_metadata:
        _calibrate_ome(file.ome_metadata, index, source)
    elif file.is_imagej and file.imagej_metadata:
        _calibrate_imagej(file, source)
    else:
        _calibrate_plain(file, source)


def _calibrate_imagej(file: tifffile.TiffFile, source: Source) -> None:
    metadata = file.imagej_metadata or {}
    unit = units.length_unit(str(metadata.get("unit", "")))
    pixel = _resolution(file)
    if unit != "px" and pixel is not None:
        source.pixel_size, source.length_unit = pixel, unit
    notes = _notes(str(metadata.get("Info", "")))
    source.channels = tuple(str(n) for n in notes.get("channels", []))
    interval = metadata.get("finterval", 0)
    if isinstance(interval, int | float) and interval > 0:
        source.frame_interval = float(interval)
        source.time_unit = units.time_unit(str(metadata.get("tunit", "s")))
    source.take_own(notes)


def _notes(info: str) -> dict[str, Any]:
    """What `write_tiff` left in the image's Info text; {} of another program."""
    try:
        notes = json.loads(info)
    except ValueError:
        return {}
    return notes if isinstance(notes, dict) else {}


def _calibrate_plain(file: tifffile.TiffFile, source: Source) -> None:
    """A resolution in centimetres may be an instrument's; one in inches is a printer's."""
    pixel = _resolution(file)
    tag = file.pages.first.tags.get("ResolutionUnit")
    if pixel is None or tag is None or tag.value != _CENTIMETRE:
        return
    pixel = pixel[0] * 1e4, pixel[1] * 1e4
    if max(pixel) < _LARGEST_PIXEL:
        source.pixel_size, source.length_unit = pixel, "um"
    else:
        source.notes.append(
            f"The resolution in the file means pixels of {pixel[1]:.3g} um, which is a printing value: ignored."
        )


def _calibrate_ome(xml: str, index: int, source: Source) -> None:
    root = ElementTree.fromstring(xml)
    pixels = root.findall(".//{*}Image/{*}Pixels")
    if index >= len(pixels):
        return
    got = pixels[index].attrib
    dy, dx = (_positive(got.get(f"PhysicalSize{a}")) for a in "YX")
    if dy and dx and got.get("PhysicalSizeXUnit") == got.get("PhysicalSizeYUnit"):
        source.pixel_size = dy, dx
        source.length_unit = units.length_unit(got.get("PhysicalSizeXUnit", "um"))
    source.channels = tuple(c.attrib.get("Name", "") for c in pixels[index].findall("{*}Channel"))
    _read_ome_times(pixels[index], source)
    images = root.findall(".//{*}Image")
    image = images[index] if index < len(images) else ElementTree.Element("Image")
    source.acquisition = _ome_acquisition(image, pixels[index], source)
    source.take_own(_notes(image.findtext("{*}Description") or ""))


def _ome_acquisition(
    image: ElementTree.Element, pixels: ElementTree.Element, source: Source
) -> Acquisition:
    """Exposure of each frame, where all planes of a frame share it, and the clock at each frame."""
    count, exposures = int(pixels.attrib.get("SizeT", 0)), dict[int, set[float]]()
    for plane in (p.attrib for p in pixels.findall("{*}Plane")):
        try:
            unit = units.time_unit(plane.get("ExposureTimeUnit", "s"))
            value = float(plane["ExposureTime"]) * units.SECONDS[unit]
        except (KeyError, ValueError):
            continue
        exposures.setdefault(int(plane.get("TheT", 0)), set()).add(value)
    shared = [exposures.get(t, set()) for t in range(count)]
    exposure = np.array([next(iter(s)) if len(s) == 1 else np.nan for s in shared])
    began = parse_clock(image.findtext("{*}AcquisitionDate") or "")
    started = None
    if np.isfinite(began):
        delay = np.zeros(1) if source.times is None else source.times
        started = began + delay * units.SECONDS.get(source.time_unit or "s", 1.0)
    return Acquisition(exposure=exposure if np.isfinite(exposure).any() else None, started=started)


def _read_ome_times(pixels: ElementTree.Element, source: Source) -> None:
    """Measured times of the planes; without them for every frame, the nominal interval."""
    got = pixels.attrib
    interval = _positive(got.get("TimeIncrement"))
    planes = [p.attrib for p in pixels.findall("{*}Plane") if "DeltaT" in p.attrib]
    delays: dict[int, float] = {}
    for plane in planes:
        t = int(plane.get("TheT", 0))
        delays[t] = min(delays.get(t, np.inf), float(plane["DeltaT"]))
    count = int(got.get("SizeT", 0))
    times = np.array([delays[t] for t in sorted(delays)])
    if len(times) > 1 and sorted(delays) == list(range(len(times))) and np.all(np.diff(times) > 0):
        # Where recording stopped, the frames that are missing follow at the mean interval.
        step = np.diff(times).mean()
        times = np.append(times, times[-1] + step * np.arange(1, count - len(times) + 1))
        source.times, source.time_unit = times, units.time_unit(planes[0].get("DeltaTUnit", "s"))
        nominal = times[0] + interval * np.arange(len(times))
        # A hundredth of the interval is rounding of the writing program.
        if interval and not np.allclose(times, nominal, atol=0.01 * interval, rtol=0):
            source.notes.append(
                f"The file gives a nominal interval of {interval:g} and measured times that differ: the measured ones hold."
            )
    elif interval:
        source.frame_interval = interval
        source.time_unit = units.time_unit(got.get("TimeIncrementUnit", "s"))


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
