"""Reading every channel of a file: colours of a camera, channels of a microscope, energies of a stack in time."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from phdenoise.channels import MAX_CHANNELS, Channels, default_names
from phdenoise.io.axes import without_singletons
from phdenoise.io.reading import load
from phdenoise.io.source import Scale, Source, default_name
from phdenoise.io.to_movie import check_numeric, check_values, to_movie
from phdenoise.types import InputError

Layout = Literal["first", "last"]


def read_channels(
    path: str | Path,
    *,
    channels: str | None = None,
    pixel_size: float | tuple[float, float] | None = None,
    frame_interval: float | None = None,
    times: Sequence[float] | np.ndarray | None = None,
    length_unit: str | None = None,
    time_unit: str | None = None,
    override: bool = True,
) -> Channels:
    """Read all channels of a movie; a movie without channels is one.

    Axes named by the file (TIFF, OME, ImageJ, NeXus) are believed. A bare array is [t, y, x, c] or [t, c, y, x], by
    which of the two can be channels (at most 16). An alpha channel is left out.

    Args:
        path: as in `read`.
        channels: where the channel axis of a bare array is: "first" [t, c, y, x] or "last" [t, y, x, c].
        pixel_size, frame_interval, times, length_unit, time_unit: as in `read`.
        override: whether pixel size and frame interval may contradict the file; False refuses a contradiction.

    Returns:
        The channels with their names; a constant channel is kept (see `Channels.varying`).

    Raises:
        InputError: anything that keeps the file from being a movie; one sentence with what to do.
    """
    if channels not in (None, "first", "last"):
        raise InputError(f"--channels must be first or last, got '{channels}'.")
    source, record, file, label = load(path)
    check_numeric(source.array, label)
    if not source.axes:
        rest = without_singletons(source.array.shape, 4)
        source.array = source.array.reshape([source.array.shape[i] for i in rest])
    parts, names = _split(source, channels, label)
    scale = Scale(pixel_size, frame_interval, times, length_unit, time_unit, override)
    name = default_name(file)
    movies = [to_movie(p, label, scale, name=name, provenance=record) for p in parts]
    name = movies[0].name
    if len(movies) > 1:
        movies = [replace(m, name=f"{name} {n}") for m, n in zip(movies, names, strict=True)]
    found = Channels(tuple(movies), tuple(names), name)
    if not found.varying():
        check_values(movies[0])
    return found


def _split(source: Source, layout: str | None, label: str) -> tuple[list[Source], list[str]]:
    """One source [t, y, x] a channel, and their names; the source itself where there are no channels."""
    axes = _axes(source, layout, label)
    colour = [i for i, a in enumerate(axes) if a in "SC" and source.array.shape[i] > 1]
    frames = [i for i, a in enumerate(axes) if a not in "SCYX" and source.array.shape[i] > 1]
    # What tifffile writes for ImageJ without being told the axes is a stack of channels.
    stack = not frames and colour and axes[colour[0]] == "C" and source.array.shape[colour[0]] > 4
    if len(colour) != 1 or (stack and layout is None and not source.channels):
        # The axes were found here, unless the file names them.
        return [source if source.axes else replace(source, axes=axes)], [""]
    count = source.array.shape[colour[0]]
    if count > MAX_CHANNELS:
        raise InputError(
            f"{label} has {count} channels: at most {MAX_CHANNELS} are denoised together; save some of them."
        )
    notes = list(source.notes)
    arrays = [np.take(source.array, k, axis=colour[0]) for k in range(count)]
    if count == 4 and axes[colour[0]] == "S":
        notes.append("The fourth sample of each pixel is opacity and was left out.")
        arrays = arrays[:3]
    rest = axes[: colour[0]] + axes[colour[0] + 1 :]
    given = source.channels
    usable = len(given) == count and len(set(given)) == count and all(given)
    names = list(given) if usable else list(default_names(len(arrays)))
    each = source.each or [(source.mask, source.noise, source.intensity_unit or "counts")] * count
    parts = [
        replace(source, array=a, axes=rest, mask=m, noise=n, intensity_unit=u, notes=list(notes))
        for a, (m, n, u) in zip(arrays, each, strict=False)
    ]
    return parts, names


def _axes(source: Source, layout: str | None, label: str) -> str:
    """One letter an axis; of a bare array by its shape."""
    shape = source.array.shape
    named = any(a in source.axes for a in "SCZ") or len(shape) != 4
    if source.axes and named and (layout is None or len(shape) != 3):
        return source.axes
    if len(shape) == 3 and layout is not None:
        return "CYX" if layout == "first" else "YXC"
    if len(shape) != 4:
        return source.axes
    first, last = shape[1] <= MAX_CHANNELS, shape[3] <= MAX_CHANNELS
    if layout is None and first and last and 1 not in (shape[1], shape[3]):
        raise InputError(
            f"{label} has shape {shape}, and both {shape[1]} and {shape[3]} could be channels: give --channels first "
            "for [t, c, y, x] or --channels last for [t, y, x, c]."
        )
    if layout is None and not first and not last:
        raise InputError(
            f"{label} has shape {shape}: neither {shape[1]} nor {shape[3]} can be channels (at most {MAX_CHANNELS}); a movie "
            "is [t, y, x], [t, c, y, x] or [t, y, x, c]: save one slice of it."
        )
    at_start = layout == "first" or (layout is None and (first and (not last or shape[1] == 1)))
    return "TCYX" if at_start else "TYXC"
