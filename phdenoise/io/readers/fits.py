"""FITS images of cameras, by astropy (FITS standard 4.0, fits.gsfc.nasa.gov)."""

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from phdenoise.io import units
from phdenoise.io.acquisition import Acquisition, parse_clock
from phdenoise.io.limits import check_size
from phdenoise.io.readers.extras import pick, require
from phdenoise.io.source import Source


def read_fits(path: Path, dataset: str | None) -> Source:
    """A FITS file by astropy: an image, a stack, or one image in each of several extensions of one name.

    Args:
        path: file.
        dataset: number of the image, where the file holds several.

    Returns:
        The image or stack, scaled by BSCALE and BZERO; NaN where it has BLANK.

    Raises:
        InputError: the optional package is missing, no such image, or a damaged file.
    """
    fits = require("astropy.io.fits", "neutron", path)
    with fits.open(path, memmap=False) as units_:
        images = [u for u in units_ if u.is_image and len(u.shape) >= 2 and all(u.shape)]
        if dataset is None and _is_series(images):
            chosen = images
        else:
            chosen = [images[pick([f"{u.name} {u.shape}".strip() for u in images], path, dataset)]]
        first = chosen[0]
        kind = np.dtype(f"i{abs(int(first.header['BITPIX'])) // 8}")
        check_size(path, (len(chosen), *first.shape), kind, path.stat().st_size)
        arrays = [np.asarray(u.data) for u in chosen]
        source = Source(arrays[0], dataset=dataset)
        if len(chosen) > 1:
            source.array = np.stack([a.reshape([n for n in a.shape if n > 1] or a.shape) for a in arrays])  # fmt: skip
            source.notes.append(f"{len(chosen)} images, one in each extension, are the frames.")
        _calibrate_fits([u.header for u in chosen], source)
        return source


def _is_series(images: list[Any]) -> bool:
    """Whether extensions are frames of one movie: images of one size and type, whose names differ by numbers only."""
    shapes = {(tuple(n for n in u.shape if n > 1), u.header["BITPIX"]) for u in images}
    names = {u.name.rstrip("0123456789").rstrip("_- ") for u in images if u.name != "PRIMARY"}
    return len(images) > 1 and len(shapes) == 1 and len(next(iter(shapes))[0]) == 2 and len(names) == 1  # fmt: skip


def _calibrate_fits(headers: list[Any], source: Source) -> None:
    """Pixel size and frame times of a camera's header; coordinates on the sky are no pixel size."""
    first = headers[0]
    source.acquisition = _acquisition(headers)
    source.intensity_unit = str(first.get("BUNIT", "")).strip() or None
    unit, other = (units.length_unit(str(first.get(f"CUNIT{k}", ""))) for k in (1, 2))
    dy, dx, step = (_positive(first.get(f"CDELT{k}")) for k in (2, 1, 3))
    if unit == other and unit in ("m", "mm", "um", "nm", "Å") and dy and dx:
        source.pixel_size, source.length_unit = (dy, dx), unit
    time = units.time_unit(str(first.get("CUNIT3", "")))
    if len(headers) == 1 and time in ("s", "ms", "us", "min", "h") and step:
        sign = np.sign(first["CDELT3"])  # steps may run backwards
        source.times, source.time_unit = sign * step * np.arange(first.get("NAXIS3", 1)), time
    if len(headers) > 1:
        try:
            dates = [datetime.fromisoformat(str(h["DATE-OBS"])) for h in headers]
            seconds = np.array([(d - dates[0]).total_seconds() for d in dates])
        except (KeyError, ValueError, TypeError):
            return
        if np.all(np.diff(seconds) > 0):
            source.times, source.time_unit = seconds, "s"


def _acquisition(headers: list[Any]) -> Acquisition:
    """Exposure and clock, by the keywords that cameras write.

    EXPTIME and EXPOSURE are seconds by the FITS standard's registry of common keywords; DATE-OBS is its own (section 4.4.2).
    """
    exposure = [_positive(h.get("EXPTIME")) or _positive(h.get("EXPOSURE")) or np.nan for h in headers]  # fmt: skip
    started = [parse_clock(str(h.get("DATE-OBS", ""))) for h in headers]
    return Acquisition(
        exposure=np.array(exposure) if np.isfinite(exposure).any() else None,
        started=np.array(started) if np.isfinite(started).any() else None,
    )


def _positive(value: Any) -> float:
    """The size of a step; 0 where there is none."""
    good = isinstance(value, int | float) and np.isfinite(value)
    return abs(float(value)) if good else 0.0
