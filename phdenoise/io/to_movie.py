"""From what a file holds to a `Movie`: number type, times, pixel size, units, provenance."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from phdenoise.io.acquisition import PROVENANCE
from phdenoise.io.agreement import interval_contradiction, pixel_contradiction, settle
from phdenoise.io.axes import arrange
from phdenoise.io.source import CARRIED, Scale, Source, float_type
from phdenoise.movie import Movie
from phdenoise.types import InputError


def to_movie(
    source: Source,
    label: str,
    scale: Scale,
    *,
    name: str,
    provenance: Mapping[str, Any],
    channel: str | int = "mean",
) -> Movie:
    """The movie in a source.

    Args:
        source: what a reader found.
        label: names the file in messages.
        scale: what the user says of pixel size and times.
        name: of the movie, where the file gives none.
        provenance: which file it was.
        channel: of a colour movie, as in `phdenoise.io.read`.

    Returns:
        Frames [t, y, x] with times, pixel size, units, mask and provenance.

    Raises:
        InputError: numbers, axes, times or a pixel size that make no movie.
    """
    check_numeric(source.array, label)
    notes = list(source.notes)
    frames = arrange(source.array, source.axes, channel, label, notes)
    frames = np.ascontiguousarray(frames, dtype=float_type(frames))
    if source.array.dtype.kind in "iu" and frames.dtype == np.float64:
        notes.append(f"{source.array.dtype.name} values above 2^24 are kept as float64.")
    mask, acquisition = source.mask, source.acquisition
    if scale.times is not None or scale.frame_interval is not None:
        places = _places(source, len(frames))
        axis, found_time = _given_times(places, scale, label), scale.time_unit or "s"
        if scale.frame_interval is not None:
            said = _source_times(source, frames.shape[0], [])
            wrong = interval_contradiction(*said, scale.frame_interval, found_time)
            settle(label, wrong, scale.override, notes)
    else:
        axis, found_time = _source_times(source, frames.shape[0], notes)
        if falls(source.times, len(frames)):
            frames = frames[::-1].copy()
            acquisition = acquisition.taken(np.arange(len(frames))[::-1])
            mask = mask[::-1] if mask is not None and mask.ndim == 3 else mask
    if scale.pixel_size is not None:
        pixels, found_length = _pixels(scale.pixel_size, label), scale.length_unit or "um"
        wrong = pixel_contradiction(source.pixel_size, source.length_unit, pixels, found_length)
        settle(label, wrong, scale.override, notes)
    else:
        pixels, found_length = source.pixel_size or (1.0, 1.0), source.length_unit or "px"
        if source.pixel_size is None or found_length == "px":
            notes.append("The file gives no pixel size: lengths are in pixels; see --pixel-size.")
    record: dict[str, Any] = {**provenance, "dataset": source.dataset, "notes": notes}
    record |= {"dtype": source.dtype or source.array.dtype.name, "shape": list(source.array.shape)}
    if source.stored:
        record |= {key: source.stored[key] for key in CARRIED if key in source.stored}
        record["source"] = dict(source.stored)
    if taken := acquisition.to_dict():
        record[PROVENANCE] = taken
    return Movie(
        frames=frames,
        times=axis,
        pixel_size=pixels,
        time_unit=found_time,
        length_unit=found_length,
        intensity_unit=source.intensity_unit or "counts",
        mask=mask,
        noise=source.noise,
        name=source.name or name,
        provenance=record,
    )


def check_numeric(array: np.ndarray, label: str) -> None:
    """Refuse what cannot be a movie.

    Args:
        array: of any type and rank.
        label: names the file in messages.

    Raises:
        InputError: no real numbers, no second axis, or no element.
    """
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
    """Refuse a movie without information.

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


def _places(source: Source, count: int) -> np.ndarray:
    """Places of the frames in the recording, 0, 1, 2... unless some are missing."""
    places = source.places
    return np.arange(count) if places is None or len(places) != count else places


def _given_times(places: np.ndarray, scale: Scale, label: str) -> np.ndarray:
    """Times given by the user: themselves, or multiples of the interval."""
    count = len(places)
    if scale.times is not None and scale.frame_interval is not None:
        raise InputError(f"{label}: give times or frame_interval, not both.")
    interval = scale.frame_interval
    if interval is not None:
        if not (np.isfinite(interval) and interval > 0):
            raise InputError(f"--frame-interval must be positive, got {interval}.")
        return places * float(interval)
    axis = np.asarray(scale.times, dtype=np.float64)
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
        if falls(times, count):
            notes.append("The frame axis of the file falls: frames are taken in rising order.")
            times = times[::-1]
        if np.all(np.isfinite(times)) and np.all(np.diff(times) > 0):
            if unit == "frame" and count > 1:
                notes.append("The file gives no time unit: see --frame-interval.")
            return times, unit
        notes.append("The frame axis of the file does not increase and was ignored.")
    elif source.frame_interval:
        return _places(source, count) * source.frame_interval, unit
    if count > 1:
        notes.append(
            "The file gives no time between frames: times are frame numbers; see --frame-interval."
        )
    return _places(source, count).astype(float), "frame"


def falls(times: np.ndarray | None, count: int) -> bool:
    """Whether each number of a frame axis is smaller than the one before.

    Args:
        times: of the frames, or None.
        count: of frames; an axis of another length is none.

    Returns:
        False without an axis of two frames or more.
    """
    if times is None or times.shape != (count,) or count < 2:
        return False
    return bool(np.all(np.diff(times) < 0))


def _pixels(pixel_size: float | tuple[float, float], label: str) -> tuple[float, float]:
    pair = np.asarray(pixel_size, np.float64).ravel()
    if pair.size not in (1, 2) or not (np.all(np.isfinite(pair)) and np.all(pair > 0)):
        raise InputError(
            f"{label}: --pixel-size must be one positive number or two (dy dx), got {pixel_size}."
        )
    return float(pair[0]), float(pair[-1])
