"""From what a file holds to a `Movie`: axes, colour, number type, times, units, provenance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from phdenoise.movie import Movie
from phdenoise.types import InputError, NoiseModel

CARRIED = ("boundary", "simulated")
"""What a file's own provenance says about the scene itself, and hence still holds after reading."""

TIME_NAMES = ("time", "times", "energy", "energy_eV")
"""Names of 1-D arrays beside a movie that are taken for its frame axis."""


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


def to_movie(
    source: Source,
    label: str,
    *,
    name: str,
    pixel_size: float | tuple[float, float] | None = None,
    frame_interval: float | None = None,
    channel: str | int = "mean",
    times: Sequence[float] | np.ndarray | None = None,
    length_unit: str | None = None,
    time_unit: str | None = None,
    provenance: Mapping[str, Any],
) -> Movie:
    """The movie in a source; arguments as in `phdenoise.io.read`, `label` names it in messages."""
    check_numeric(source.array, label)
    notes = list(source.notes)
    frames = as_float(arrange(source.array, source.axes, channel, label, notes))
    if source.array.dtype.kind in "iu" and frames.dtype == np.float64:
        notes.append(f"{source.array.dtype.name} values above 2^24 are kept as float64.")
    if times is not None or frame_interval is not None:
        if times is not None and frame_interval is not None:
            raise InputError(f"{label}: give times or frame_interval, not both.")
        axis = frame_times(frames.shape[0], times, frame_interval, label)
        found_time = time_unit or "s"
    else:
        axis, found_time = _source_times(source, frames.shape[0], notes)
    if pixel_size is not None:
        pixels, found_length = _pixels(pixel_size, label), length_unit or "um"
    else:
        pixels, found_length = source.pixel_size or (1.0, 1.0), source.length_unit or "px"
        if source.pixel_size is None or found_length == "px":
            notes.append("The file gives no pixel size: lengths are in pixels; see --pixel-size.")
    record: dict[str, Any] = {**provenance, "dataset": source.dataset, "notes": notes}
    record |= {"dtype": source.array.dtype.name, "shape": list(source.array.shape)}
    if source.stored:
        record |= {key: source.stored[key] for key in CARRIED if key in source.stored}
        record["source"] = dict(source.stored)
    return Movie(
        frames=frames,
        times=axis,
        pixel_size=pixels,
        time_unit=found_time,
        length_unit=found_length,
        intensity_unit=source.intensity_unit or "counts",
        mask=source.mask,
        noise=source.noise,
        name=source.name or name,
        provenance=record,
    )


def check_numeric(array: np.ndarray, label: str) -> None:
    """Refuse what cannot be a movie: no real numbers, no second axis, no element."""
    if array.dtype.kind not in "biuf":
        raise InputError(
            f"{label} holds values of type {array.dtype}: a movie needs real numbers; "
            "choose another dataset or convert it."
        )
    if array.ndim < 2 or array.size == 0:
        raise InputError(
            f"{label} has shape {array.shape}: a movie needs [y, x], [t, y, x] or colour "
            "[t, y, x, 3] with no empty axis; choose another dataset."
        )


def check_values(movie: Movie) -> None:
    """Refuse a movie that shows nothing.

    Raises:
        InputError: every valid pixel is NaN or masked, or all have the same value.
    """
    label = movie.provenance.get("path", movie.name)
    values = movie.frames[movie.valid()]
    if values.size == 0:
        raise InputError(f"{label} has no valid pixel: every value is NaN, infinite or masked.")
    if values.size > 1 and values.min() == values.max():
        raise InputError(
            f"{label} is constant (every valid pixel is {values[0]:g}): choose another dataset or file."
        )


def arrange(
    array: Shaped[np.ndarray, "..."],
    axes: str,
    channel: str | int,
    label: str,
    notes: list[str],
) -> Shaped[np.ndarray, "t y x"]:
    """Order the axes as [t, y, x] and choose or average the colour channels."""
    axes = axes or _guess_axes(array.shape, channel != "mean", label, notes)
    keep = [i for i, a in enumerate(axes) if a in "YX" or array.shape[i] > 1]
    array = array.reshape([array.shape[i] for i in keep])
    axes = "".join(axes[i] for i in keep)
    sizes = ", ".join(f"{a} = {n}" for a, n in zip(axes, array.shape, strict=True))
    if axes == "CYX" and array.shape[0] > 4 and channel == "mean":
        # What tifffile writes for ImageJ without being told the axes.
        notes.append(
            f"The {array.shape[0]} channels of the file are taken as frames; see --channel."
        )
        axes = "TYX"
    colour = [i for i, a in enumerate(axes) if a in "SC"]
    frame = [i for i, a in enumerate(axes) if a not in "SCYX"]
    if axes.count("Y") != 1 or axes.count("X") != 1 or len(colour) > 1 or len(frame) > 1:
        raise InputError(
            f"{label} has axes {sizes}: a movie has y, x, one frame axis and at most one colour "
            "axis; save one slice or series of it."
        )
    array = array.transpose([*frame, axes.index("Y"), axes.index("X"), *colour])
    array = array if frame else array[None]
    if frame and axes[frame[0]] in "ZRA":
        notes.append(f"The {array.shape[0]} slices (axis {axes[frame[0]]}) are taken as frames.")
    if colour:
        return _channel(array, channel, label, notes)
    if channel != "mean":
        raise InputError(f"{label} has no colour ({sizes}): leave out --channel {channel}.")
    return array


def as_float(array: np.ndarray) -> np.ndarray:
    """float64 stays; everything else becomes float32 unless its integers need more than 24 bits."""
    if array.dtype.kind == "f":
        wide = array.dtype.itemsize > 4
    else:
        wide = array.dtype.itemsize > 2 and max(-int(array.min()), int(array.max())) > 2**24
    return np.ascontiguousarray(array, dtype=np.float64 if wide else np.float32)


def frame_times(
    count: int,
    times: Sequence[float] | np.ndarray | None,
    frame_interval: float | None,
    label: str,
) -> np.ndarray:
    """Times given by the user: themselves, or multiples of the interval."""
    if frame_interval is not None:
        if not (np.isfinite(frame_interval) and frame_interval > 0):
            raise InputError(f"--frame-interval must be positive, got {frame_interval}.")
        return np.arange(count) * float(frame_interval)
    axis = np.asarray(times, dtype=np.float64)
    if axis.shape != (count,) or not np.all(np.isfinite(axis)) or np.any(np.diff(axis) <= 0):
        raise InputError(
            f"{label}: --times must be {count} finite numbers, one a frame, strictly increasing; "
            f"got {axis.size}."
        )
    return axis


def _source_times(source: Source, count: int, notes: list[str]) -> tuple[np.ndarray, str]:
    unit = source.time_unit or "frame"
    if source.times is not None and source.times.shape == (count,):
        times = np.asarray(source.times, np.float64)
        if np.all(np.isfinite(times)) and np.all(np.diff(times) > 0):
            if unit == "frame" and count > 1:
                notes.append("The file gives no time unit: see --frame-interval.")
            return times, unit
        notes.append("The frame axis of the file does not increase and was ignored.")
    elif source.frame_interval:
        return np.arange(count) * source.frame_interval, unit
    if count > 1:
        notes.append(
            "The file gives no time between frames: times are frame numbers; see --frame-interval."
        )
    return np.arange(count, dtype=float), "frame"


def _pixels(pixel_size: float | tuple[float, float], label: str) -> tuple[float, float]:
    pair = (
        np.broadcast_to(np.asarray(pixel_size, np.float64), (2,))
        if np.size(pixel_size)
        in (
            1,
            2,
        )
        else np.array([np.nan, np.nan])
    )
    if not (np.all(np.isfinite(pair)) and np.all(pair > 0)):
        raise InputError(
            f"{label}: --pixel-size must be one positive number or two (dy dx), got {pixel_size}."
        )
    return float(pair[0]), float(pair[1])


def _guess_axes(shape: tuple[int, ...], wants_colour: bool, label: str, notes: list[str]) -> str:
    """Axes of a bare array: its rank decides, and a last axis of 3 or 4 is colour if there is a fourth."""
    if len(shape) == 2:
        return "YX"
    if len(shape) == 3:
        if shape[-1] in (3, 4) and wants_colour:
            return "YXS"
        if shape[-1] in (3, 4) and min(shape[:2]) > 4:
            notes.append(
                f"Shape {shape} is read as {shape[0]} frames of {shape[1]} x {shape[2]} pixels; "
                "for one colour image give --channel r, g or b."
            )
        return "TYX"
    if len(shape) == 4 and shape[-1] in (1, 3, 4):
        return "TYXS"
    if len(shape) == 4 and shape[1] == 1:
        return "TCYX"
    raise InputError(
        f"{label} has shape {shape}: a movie needs [y, x], [t, y, x] or colour [t, y, x, 3]; "
        "save one slice of it or choose another dataset."
    )


def _channel(array: np.ndarray, channel: str | int, label: str, notes: list[str]) -> np.ndarray:
    """One channel, or the mean of the colour channels without a fourth one, alpha."""
    count = array.shape[-1]
    if channel == "mean":
        colours = 3 if count == 4 else count
        notes.append(f"Frames are the mean of {colours} of {count} colour channels; see --channel.")
        return (
            array[..., :colours]
            .mean(axis=-1, dtype=np.float64)
            .astype(np.float64 if array.dtype == np.float64 else np.float32)
        )
    text = str(channel).lower()
    index = "rgb".find(text) if text in ("r", "g", "b") else int(text) if text.isdigit() else -1
    if not 0 <= index < count:
        raise InputError(
            f"{label} has {count} colour channels: --channel must be mean, r, g, b or 0 to "
            f"{count - 1}, got '{channel}'."
        )
    notes.append(f"Frames are colour channel {index} of {count}.")
    return array[..., index]


def default_name(path: Path) -> str:
    """File name without suffixes: 'run 7.ome.tif' -> 'run 7'."""
    name = path.name
    for suffix in (".ome.tif", ".ome.tiff", path.suffix):
        if suffix and name.lower().endswith(suffix.lower()):
            return name[: -len(suffix)] or path.name
    return name
