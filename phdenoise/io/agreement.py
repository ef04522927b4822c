"""Whether files agree with each other, and with the command line, on pixel size, times, energies and exposures."""

from collections.abc import Sequence

import numpy as np

from phdenoise.io import units
from phdenoise.io.acquisition import acquisition_of
from phdenoise.movie import Movie
from phdenoise.summary import first_few
from phdenoise.types import InputError

# Share by which two statements of a length or an exposure may differ: headers round to two or three digits.
_SAME = 0.01
# Energies of one line of a monochromator return to within some hundredths [eV].
SAME_ENERGY = 0.05
# Share of the time between frames by which a frame may lie off: by more it would be nearer to another frame.
_OFF = 0.5


def pixel_of(movies: Sequence[Movie]) -> tuple[tuple[float, float], str]:
    """The pixel size that movies share.

    Args:
        movies: one or several.

    Returns:
        (dy, dx) and its unit, of the first movie that says it; 1 px where none does.

    Raises:
        InputError: two movies say different sizes.
    """
    known = [m for m in movies if m.length_unit != "px"]
    for movie in known[1:]:
        if not np.allclose(_metres(movie), _metres(known[0]), rtol=_SAME, atol=0):
            raise InputError(
                f"{movie.name} has pixels of {_size(movie)} and {known[0].name} of {_size(known[0])}: they must show the same "
                "scene at the same scale; give files of one kind."
            )
    return (known[0].pixel_size, known[0].length_unit) if known else ((1.0, 1.0), "px")


def pixel_contradiction(
    said: tuple[float, float] | None, unit: str | None, given: object, given_unit: str = "um"
) -> str:
    """A sentence where a pixel size that is given is not the one that a file says, else "".

    Args:
        said: by the file, (dy, dx) [unit]; None where it does not say.
        unit: of length, of the file.
        given: dx or (dy, dx) [given_unit].
        given_unit: of length.

    Returns:
        The sentence without its last point, or "".
    """
    metres, given_metres = units.METRES.get(unit or ""), units.METRES.get(given_unit)
    if said is None or metres is None or given_metres is None:
        return ""
    other = np.broadcast_to(np.asarray(given, float), (2,))
    if np.allclose(np.asarray(said) * metres, other * given_metres, rtol=_SAME, atol=0):
        return ""
    return (
        f"the pixels are {said[0]:.4g} x {said[1]:.4g} {unit} in the file and {other[0]:.4g} x {other[1]:.4g} {given_unit} by "
        "--pixel-size"
    )


def interval_contradiction(
    times: np.ndarray, unit: str, given: float, given_unit: str = "s"
) -> str:
    """A sentence where a frame interval that is given puts a frame nearer to the time of another one, else "".

    Args:
        times: of the frames as the file says them [t] [unit].
        unit: of the times; "frame" says nothing.
        given: interval [given_unit].
        given_unit: of time.

    Returns:
        The sentence without its last point, or "".
    """
    if unit == "eV":
        return f"the frames are energies of {times.min():g} to {times.max():g} eV in the file and times by --frame-interval"
    seconds, given_seconds = units.SECONDS.get(unit), units.SECONDS.get(given_unit)
    if seconds is None or given_seconds is None or len(times) < 2:
        return ""
    said, interval = (times - times[0]) * seconds, given * given_seconds
    if np.abs(said - interval * np.arange(len(times))).max() <= _OFF * interval:
        return ""
    return f"the frames are {np.median(np.diff(said)):g} s apart (median) in the file and {interval:g} s by --frame-interval"


def settle(label: str, contradiction: str, override: bool, notes: list[str]) -> None:
    """Refuse a contradiction, or note it where the command line may contradict the file.

    Args:
        label: names the file.
        contradiction: a sentence, or "" for none.
        override: whether what is given may contradict the file.
        notes: get the sentence.

    Raises:
        InputError: a contradiction that is not overridden.
    """
    if contradiction and not override:
        raise InputError(
            f"{label}: {contradiction}; leave out the flag, or give --override if the file is wrong."
        )
    if contradiction:
        notes.append(f"{contradiction[0].upper()}{contradiction[1:]}: the latter is taken.")


def check_times(movies: Sequence[Movie]) -> Movie:
    """Refuse movies whose frames were taken at different times.

    Args:
        movies: of the same number of frames.

    Returns:
        The first movie that says its times, else the first.

    Raises:
        InputError: two movies say different times.
    """
    known = [m for m in movies if m.time_unit in units.SECONDS]
    if not known or len(known[0].times) < 2:
        return movies[0]
    first = _seconds(known[0])
    off = _OFF * float(np.median(np.diff(first)))
    for movie in known[1:]:
        other = _seconds(movie)
        if np.abs(other - first).max() > off:
            raise InputError(
                f"The frames of {movie.name} are {np.median(np.diff(other)):g} s apart and those of {known[0].name} "
                f"{np.median(np.diff(first)):g} s (medians): movies of one experiment need the same times."
            )
    return known[0]


def check_same(movies: Sequence[Movie], field: str, unit: str, advice: str) -> None:
    """Refuse movies that were taken differently.

    Args:
        movies: of the same number of frames.
        field: of `Acquisition`, such as "exposure".
        unit: of the field, for the message.
        advice: what to do, for the message.

    Raises:
        InputError: two movies say different values.
    """
    said = [(m, v) for m in movies if (v := getattr(acquisition_of(m), field)) is not None]
    for movie, values in said[1:]:
        first_movie, first = said[0]
        if values.size not in (1, first.size) and first.size != 1:
            continue
        if not np.allclose(values, first, rtol=_SAME, atol=0, equal_nan=True):
            raise InputError(
                f"{movie.name} has the {field} {_short(values)} {unit} and {first_movie.name} {_short(first)} {unit}: {advice}"
            )


def check_energies(given: Sequence[float], said: np.ndarray, name: str, override: bool) -> None:
    """Refuse --energies that contradict the files.

    Args:
        given: on the command line [eV].
        said: by the files, in the same order [e] [eV]; NaN where a file does not say.
        name: of the file or files, for the message.
        override: whether the command line may contradict the files.

    Raises:
        InputError: an energy differs.
    """
    away = np.abs(np.asarray(given, float) - said)
    if not override and np.any(away > SAME_ENERGY):
        k = int(np.nanargmax(away))
        raise InputError(
            f"{name}: --energies says {given[k]:g} eV where the file says {said[k]:g} eV: leave out --energies, or give --override "
            "if the file is wrong."
        )


def _metres(movie: Movie) -> np.ndarray:
    return np.asarray(movie.pixel_size) * units.METRES.get(movie.length_unit, np.nan)


def _seconds(movie: Movie) -> np.ndarray:
    return (movie.times - movie.times[0]) * units.SECONDS[movie.time_unit]


def _size(movie: Movie) -> str:
    dy, dx = movie.pixel_size
    return f"{dy:.4g} x {dx:.4g} {movie.length_unit}"


def _short(values: np.ndarray) -> str:
    return first_few((f"{v:g}" for v in values), 3)
