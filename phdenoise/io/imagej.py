"""Writing float32 stacks that ImageJ opens with their pixel size, frame interval and channel names."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tifffile

from phdenoise.io.jsonfile import to_json
from phdenoise.movie import Movie
from phdenoise.types import InputError

# Bytes of pixels that an ImageJ stack can hold: its offsets are 32-bit numbers.
_LARGEST_STACK = 4e9


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
    if frames.size * 4 > _LARGEST_STACK:
        raise InputError(
            f"{path}: {frames.size * 4 / 1e9:.1f} GB are more than an ImageJ TIFF can hold (4 GB): "
            "give an output name ending in .h5."
        )
    dy, dx = movie.pixel_size
    info = {**about(movie), **(notes or {})}
    metadata: dict[str, object] = {
        "axes": "TCYX" if frames.ndim == 4 else "TYX",
        "Info": to_json(info),
    }
    # ImageJ's texts are ASCII.
    names = {"um": "micron", "px": "pixel", "Å": "angstrom"}
    metadata["unit"] = names.get(
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


def about(movie: Movie) -> dict[str, object]:
    """What a TIFF or Zarr file has no place for elsewhere: every time, exact sizes, all units, name and provenance."""
    return {
        "phdenoise": 1,
        "name": movie.name,
        "pixel_size": movie.pixel_size,
        "length_unit": movie.length_unit,
        "times": movie.times,
        "time_unit": movie.time_unit,
        "intensity_unit": movie.intensity_unit,
        "provenance": movie.provenance,
    }
