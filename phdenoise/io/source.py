"""What a reader found in a file, before any interpretation, and windows of files that are read in parts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from phdenoise.io.acquisition import PROVENANCE, Acquisition
from phdenoise.types import InputError, NoiseModel

CARRIED = ("boundary", "simulated", PROVENANCE)
"""What a file's own provenance says about the scene itself, and hence still holds after reading."""

TIME_NAMES = ("time", "times", "energy", "energy_eV")
"""Names of 1-D arrays beside a movie that are taken for its frame axis."""

Window = Callable[[slice, slice, slice], np.ndarray]
"""Reads a window [t, y, x] of a file from its frames, rows and columns."""


@dataclass
class Source:
    """What a reader found, before any interpretation; None means that the file does not say.

    Attributes:
        array: numbers of any type and rank.
        axes: one letter an axis as in tifffile (T Y X, S and C colour, others frames); "" to guess.
        dataset: which part of the file was read.
        times, frame_interval: of the frames, in `time_unit`.
        pixel_size: (dy, dx) in `length_unit`.
        notes: sentences that the user should read.
        stored: provenance that the file itself carries.
        channels: names of the channels, where the file has some.
        each: mask, noise and intensity unit of each channel.
        acquisition: energy, exposure, current, polarisation, clock and counter of the frames.
        dtype: number type in the file, where `array` was changed since.
        places: of the frames in a recording of which some are missing: whole numbers from 0 [t].
    """

    array: np.ndarray
    axes: str = ""
    dataset: str | None = None
    times: np.ndarray | None = None
    frame_interval: float | None = None
    time_unit: str | None = None
    pixel_size: tuple[float, float] | None = None
    length_unit: str | None = None
    intensity_unit: str | None = None
    mask: np.ndarray | None = None
    noise: NoiseModel | None = None
    name: str | None = None
    notes: list[str] = field(default_factory=list)
    stored: Mapping[str, Any] = field(default_factory=dict)
    channels: tuple[str, ...] = ()
    each: list[tuple[np.ndarray | None, NoiseModel | None, str]] = field(default_factory=list)
    acquisition: Acquisition = field(default_factory=Acquisition)
    dtype: str | None = None
    places: np.ndarray | None = None

    def as_float(self) -> np.ndarray:
        """The numbers as floating point, in a copy that may be changed; `dtype` keeps the type in the file."""
        self.dtype = self.dtype or self.array.dtype.name
        self.array = np.array(self.array, dtype=float_type(self.array))
        return self.array

    def take_own(self, told: Mapping[str, Any]) -> None:
        """What a file of ours says of its movie beside the places of its format: exact times, sizes, units, name.

        Args:
            told: see `phdenoise.io.imagej.about`.
        """
        if "phdenoise" not in told:
            return
        self.pixel_size = tuple(float(p) for p in told["pixel_size"])  # type: ignore[assignment]
        self.length_unit, self.time_unit = told["length_unit"], told["time_unit"]
        self.intensity_unit, self.name = told["intensity_unit"], told["name"]
        self.times, self.frame_interval = np.asarray(told["times"], np.float64), None
        self.stored = told["provenance"]

    def leave_out(self, absent: np.ndarray, what: str) -> None:
        """Make NaN of what was never measured, and say so.

        Args:
            absent: True where the file has no measurement; of the shape of `array`, or of its first axes.
            what: the beginning of the sentence, such as "Planes missing in the file".
        """
        if not np.any(absent):
            return
        self.as_float()[absent] = np.nan
        self.notes.append(f"{what}: {in_words(absent)} count as not measured.")


def float_type(array: np.ndarray) -> type[np.floating]:
    """float64 stays; everything else becomes float32 unless its integers need more than 24 bits."""
    if array.dtype.kind == "f":
        wide = array.dtype.itemsize > 4
    else:
        wide = array.dtype.itemsize > 2 and array.size > 0
        wide = wide and max(-int(array.min()), int(array.max())) > 2**24
    return np.float64 if wide else np.float32


def in_words(absent: np.ndarray) -> str:
    """What is absent: whole frames by their numbers, and a share of the other pixels.

    Args:
        absent: True where nothing was measured [t, ...].

    Returns:
        Such as "frames 21 to 23 (from 0) and 0.3 % of the other pixels".
    """
    flat = absent.reshape(len(absent), -1)
    whole = flat.all(axis=1) if absent.ndim != 2 else np.zeros(len(absent), bool)
    parts = []
    if whole.any():
        at = np.flatnonzero(whole)
        runs = np.split(at, np.flatnonzero(np.diff(at) > 1) + 1)
        # Six runs of frames fit a line.
        names = [f"{r[0]}" if len(r) == 1 else f"{r[0]} to {r[-1]}" for r in runs[:6]]
        more = f" and {sum(map(len, runs[6:]))} more" if len(runs) > 6 else ""
        parts.append(f"frame{'s' * (len(at) > 1)} {', '.join(names)}{more} (from 0)")
    rest = flat[~whole]
    if rest.any():
        parts.append(f"{100 * rest.mean():.3g} % of the {'other ' * bool(parts)}pixels")
    return " and ".join(parts)


class Opened(NamedTuple):
    """An open file that is read in windows.

    Attributes:
        source: what the file says; its array is a stand-in of the right number type without rows and columns.
        shape: frames, rows and columns.
        values: intensities of a window.
        valid: where they are valid; None means everywhere.
    """

    source: Source
    shape: tuple[int, int, int]
    values: Window
    valid: Window | None = None


class Scale(NamedTuple):
    """What the user says of the scale of a file; None leaves it to the file.

    Attributes:
        pixel_size: dx or (dy, dx) [`length_unit`].
        frame_interval: time between frames [`time_unit`].
        times: time of each frame [`time_unit`], instead of `frame_interval`.
        length_unit: unit of `pixel_size`, "um" if None.
        time_unit: unit of `frame_interval` or `times`, "s" if None.
        override: whether pixel size and frame interval may contradict the file; else a contradiction is refused.
    """

    pixel_size: float | tuple[float, float] | None = None
    frame_interval: float | None = None
    times: Sequence[float] | np.ndarray | None = None
    length_unit: str | None = None
    time_unit: str | None = None
    override: bool = True


def stand_in(frames: int, dtype: np.dtype) -> np.ndarray:
    """The array of a `Source` whose frames are read in windows.

    Args:
        frames: number of frames.
        dtype: of the numbers in the file.

    Returns:
        An array [frames, 0, 0], which takes no memory.
    """
    return np.empty((frames, 0, 0), dtype)


def windows_of(array: Any) -> Window:
    """Windows of an array or dataset [t, y, x]; of an image [y, x] the same for all frames."""
    if array.ndim == 2:
        return lambda _, rows, columns: array[None, rows, columns]
    return lambda frames, rows, columns: array[frames, rows, columns]


def windows_of_bytes(path: Path, offset: int, dtype: np.dtype, shape: tuple[int, ...]) -> Window:
    """Windows of numbers that lie one after the other; not mapped, as mapped pages count as memory.

    Args:
        path: file.
        offset: where the first number lies [bytes].
        dtype: of the numbers.
        shape: frames, rows and columns.

    Returns:
        A function of frames, rows and columns.
    """
    _, ny, nx = shape

    def fetch(frames: slice, rows: slice, columns: slice) -> np.ndarray:
        count = (rows.stop - rows.start) * nx
        out = []
        for t in range(frames.start, frames.stop):
            start = offset + (t * ny + rows.start) * nx * dtype.itemsize
            lines = np.fromfile(path, dtype, count, offset=start)
            out.append(lines.reshape(-1, nx)[:, columns])
        return np.stack(out)

    return fetch


def only_whole(label: object) -> InputError:
    """The error for a file that cannot be read in parts."""
    return InputError(
        f"{label} can only be read whole: for less memory convert it to HDF5 with one dataset [t, y, x], "
        "or give more --memory."
    )


def default_name(path: Path) -> str:
    """File name without suffixes: 'run 7.ome.tif' -> 'run 7'."""
    name = path.name
    for suffix in (".ome.tif", ".ome.tiff", ".ome.zarr", "".join(path.suffixes[-2:]), path.suffix):
        packed = suffix.lower().endswith(".gz") or suffix.lower().startswith(".ome")
        if suffix and name.lower().endswith(suffix.lower()) and (packed or suffix == path.suffix):
            return name[: -len(suffix)] or path.name
    return name
