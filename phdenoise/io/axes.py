"""Axes of an array in a file: which are frames, rows, columns and colours, and their order in a movie [t, y, x]."""

import numpy as np
from jaxtyping import Shaped

from phdenoise.types import InputError


def arrange(
    array: Shaped[np.ndarray, "..."],
    axes: str,
    channel: str | int,
    label: str,
    notes: list[str],
) -> Shaped[np.ndarray, "t y x"]:
    """Order the axes as [t, y, x] and choose or average the colour channels.

    Args:
        array: numbers with any axes.
        axes: one letter an axis, as in `Source`; "" to guess them from the shape.
        channel: "mean", "r", "g", "b" or a number from 0.
        label: names the file in messages.
        notes: gets a sentence for every assumption.

    Returns:
        The frames [t, y, x].

    Raises:
        InputError: axes that make no movie, or a channel that is not there.
    """
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


def without_singletons(shape: tuple[int, ...], most: int) -> list[int]:
    """Which axes are left when axes of length one are taken away until there are no more than some.

    Args:
        shape: of a bare array.
        most: axes to keep at most, where enough axes have length one.

    Returns:
        Numbers of the axes that are left; axes before the last two go first.
    """
    rest = list(range(len(shape)))
    while len(rest) > most:
        single = [i for i in rest[:-2] if shape[i] == 1] or [i for i in rest if shape[i] == 1]
        if not single:
            break
        rest.remove(single[0])
    return rest


def _guess_axes(shape: tuple[int, ...], wants_colour: bool, label: str, notes: list[str]) -> str:
    """Axes of a bare array: its rank decides, and a last axis of 3 or 4 is colour if there is a fourth."""
    rest = without_singletons(shape, 4)
    if len(rest) == 4 and shape[rest[-1]] not in (3, 4):
        rest = without_singletons(shape, 3)
    if len(rest) < len(shape):
        inner = _guess_axes(tuple(shape[i] for i in rest), wants_colour, label, notes)
        letters = dict(zip(rest, inner, strict=True))
        return "".join(letters.get(i, "Q") for i in range(len(shape)))
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
    if len(shape) == 4 and shape[-1] in (3, 4):
        return "TYXS"
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
