"""Folders: frames of one movie, or movies."""

from pathlib import Path

from phdenoise.io.parts import movie_shape
from phdenoise.io.readers import find_format
from phdenoise.io.reading import read
from phdenoise.types import InputError

# Ratio of the lengths of two files within which they hold as many frames: a frame more of a movie of two makes 1.5, and
# compressed frames of one camera differ by less.
_ALIKE = 1.4


def movies_in(folder: str | Path) -> list[Path]:
    """The movies in a folder, in order of their names; none where its files are the frames of one movie.

    Args:
        folder: with files of known formats; others, and hidden ones, are left out.

    Returns:
        Files of more than one frame, or of a format whose files are movies; [] for a folder of frames.

    Raises:
        InputError: single frames beside movies.
    """
    files = sorted(f for f in Path(folder).iterdir() if not f.name.startswith(".") and f.is_file())
    known = [(f, found) for f in files if (found := find_format(f.suffix)) is not None]
    single = _single_frames([f for f, found in known if found.frames])
    movies = sorted({f for f, _ in known} - set(single))
    if single and movies:
        raise InputError(
            f"{folder} holds {len(single)} single frames ({single[0].name}, ...) and {len(movies)} movies ({movies[0].name}, "
            "...): keep the frames of a movie in a folder of their own."
        )
    return movies


def _single_frames(files: list[Path]) -> list[Path]:
    """Files of one frame; those about as long as a file that was opened hold as many frames as that one."""
    single: list[Path] = []
    opened: dict[int, bool] = {}
    for file in files:
        size = max(file.stat().st_size, 1)
        like = next((s for s in opened if 1 / _ALIKE < size / s < _ALIKE), None)
        alone = frame_count(file) == 1 if like is None else opened[like]
        opened[size if like is None else like] = alone
        if alone:
            single.append(file)
    return single


def frame_count(path: Path) -> int:
    """Frames of a file; from its header where that is enough, and 1 where it cannot be read."""
    try:
        return movie_shape(path)[0]
    except InputError:
        pass
    try:
        return read(path, check=False).shape[0]
    except InputError:
        return 1
