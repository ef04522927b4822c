"""Files beside the movie that all instruments share: frames of the same detector, and tables of numbers."""

import csv
from pathlib import Path

import numpy as np
from jaxtyping import Float

from phdenoise.io.agreement import pixel_of
from phdenoise.io.reading import read
from phdenoise.movie import Movie
from phdenoise.types import InputError

_WORDS = {2: "two", 3: "three"}


def frames_like(path: str, flag: str, movie: Movie) -> Float[np.ndarray, "n y x"]:
    """Frames of the size of a movie, such as exposures without a sample.

    Args:
        path: stack or folder of frames.
        flag: that named the path, for the error.
        movie: frames that these must fit.

    Returns:
        Values of all frames [counts].

    Raises:
        InputError: a file that cannot be read, another size, or values that are not finite.
    """
    return movie_like(path, flag, movie).frames.astype(float)


def movie_like(path: str, flag: str, movie: Movie) -> Movie:
    """The movie of `frames_like`, with what its file says.

    Args:
        path: stack or folder of frames.
        flag: that named the path, for the error.
        movie: frames that these must fit.

    Returns:
        The frames with times, pixel size and provenance.

    Raises:
        InputError: a file that cannot be read, frames or pixels of another size, or values that are not finite.
    """
    found = read(path, check=False)
    if found.shape[1:] != movie.shape[1:]:
        raise InputError(
            f"{flag} {path} has frames of {found.shape[1]} x {found.shape[2]} px and {movie.name} of "
            f"{movie.shape[1]} x {movie.shape[2]}: they must be of one detector."
        )
    if not found.valid().all():
        raise InputError(f"{flag} {path} holds values that are not finite: mask or replace them.")
    pixel_of([movie, found])
    return found


def number_table(path: str, what: str, columns: tuple[str, ...]) -> Float[np.ndarray, "row column"]:
    """The first columns of a CSV file; a heading is skipped.

    Args:
        path: of the file.
        what: it holds, for the error, such as "a current".
        columns: names of two or three columns, for the error.

    Returns:
        Numbers, a row for each line.

    Raises:
        InputError: no such file, a row without these numbers, or fewer than two rows.
    """
    names, count = ", ".join(columns), _WORDS[len(columns)]
    try:
        with Path(path).open(newline="", encoding="utf-8") as stream:
            rows = [r for r in csv.reader(stream) if r]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} cannot be read as {what}: give a CSV file with the columns {names}."
        ) from error
    numbers = []
    for i, row in enumerate(rows):
        try:
            numbers.append([float(row[k]) for k in range(len(columns))])
        except (ValueError, IndexError) as error:
            if i:
                raise InputError(
                    f"{path}, row {i + 1}: {count} numbers are expected, {names}."
                ) from error
    table = np.asarray(numbers, float).reshape(-1, len(columns))
    if len(table) < 2 or not np.isfinite(table).all():
        raise InputError(f"{path}: {what} needs two rows or more of {count} numbers, {names}.")
    return table
