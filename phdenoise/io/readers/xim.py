"""Text images .xim of STXM beamlines: a line of numbers for each row, with what their programs write for "not a number"."""

import re
from pathlib import Path

import numpy as np

from phdenoise.types import InputError

# What the C library of Windows prints for numbers that are not finite.
_NOT_FINITE = re.compile(r"^[-+]?\d*\.?\d*#(QNAN|SNAN|IND|INF)\d*$", re.IGNORECASE)


def read_xim(path: Path, shape: tuple[int, int]) -> tuple[np.ndarray, int]:
    """One image, as far as it was recorded.

    Args:
        path: file.
        shape: rows and columns that the header says.

    Returns:
        The image [y, x], NaN where nothing was recorded, and the number of pixels recorded.

    Raises:
        InputError: something that is no number, or more numbers than the header says.
    """
    rows = _rows(path)
    ny, nx = shape
    widths = [len(row) for row in rows]
    # A scan that is stopped ends within a row; every row before is complete.
    if len(rows) > ny or any(w != nx for w in widths[:-1]) or (widths and widths[-1] > nx):
        raise wrong_size(path, len(rows), max(widths), shape)
    image = np.full(shape, np.nan)
    for at, row in enumerate(rows):
        image[at, : len(row)] = row
    return image, sum(widths)


def wrong_size(path: Path, rows: int, columns: int, shape: tuple[int, int]) -> InputError:
    """The error for an image that does not fit its header."""
    return InputError(
        f"{path} has {rows} x {columns} numbers, its header says {shape[0]} x {shape[1]}: the scan was "
        "stopped early, or belongs to another header."
    )


def _rows(path: Path) -> list[np.ndarray]:
    """Numbers of each line; blank lines are left out."""
    text = path.read_text(encoding="latin-1").strip("\ufeff\x00 \t\r\n")
    if not text:
        return []
    lines = text.splitlines()
    try:
        return list(np.loadtxt(lines, ndmin=2, comments=None))
    except (
        ValueError
    ):  # not a plain table: numbers that are not finite, decimal commas, an incomplete row
        try:
            return [np.array([_number(w) for w in line.split()]) for line in lines if line.strip()]
        except ValueError as error:
            raise InputError(
                f"{path} holds something that is not a number ({error}): copy it again."
            ) from error


def _number(word: str) -> float:
    """A number with a point or a decimal comma; what is not finite becomes NaN."""
    if _NOT_FINITE.match(word):
        return float("nan")
    return float(word.replace(",", ".", 1) if "." not in word else word)
