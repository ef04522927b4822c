"""Settings that all instruments share: boxes of a frame and positive numbers, refused by the name of their flag."""

from typing import Any

import numpy as np
from jaxtyping import Bool

from phdenoise.types import InputError

# First row, last row, first column, last column of a frame; the last ones are excluded [px].
Box = tuple[int, int, int, int]


def box_mask(box: Box, shape: tuple[int, ...]) -> Bool[np.ndarray, "y x"]:
    """True inside a box.

    Args:
        box: see `Box`.
        shape: rows and columns of a frame.

    Returns:
        Mask of a frame.
    """
    out = np.zeros(shape, bool)
    out[box[0] : box[1], box[2] : box[3]] = True
    return out


def check_boxes(settings: Any, names: tuple[str, ...], shape: tuple[int, ...]) -> None:
    """Refuse boxes that leave the frame or are empty; a box that is None is left out.

    Args:
        settings: object with the fields named.
        names: fields that hold a `Box` or None.
        shape: rows and columns of a frame.

    Raises:
        InputError: naming the flag.
    """
    ny, nx = shape
    for name in names:
        box = getattr(settings, name)
        if box is not None and not (0 <= box[0] < box[1] <= ny and 0 <= box[2] < box[3] <= nx):
            raise InputError(
                f"{flag(name)} {' '.join(map(str, box))} does not lie in frames of {ny} rows and {nx} columns: give "
                "first row, last row, first column, last column."
            )


def check_positive(settings: Any, names: tuple[str, ...]) -> None:
    """Refuse numbers that are not finite and above 0.

    Args:
        settings: object with the fields named.
        names: fields that hold a number.

    Raises:
        InputError: naming the flag.
    """
    for name in names:
        value = getattr(settings, name)
        if not (np.isfinite(value) and value > 0):
            raise InputError(f"{flag(name)} must be positive, got {value}.")


def flag(name: str) -> str:
    """The flag of a setting on the command line."""
    return "--" + name.replace("_", "-")
