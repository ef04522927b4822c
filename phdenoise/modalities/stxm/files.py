"""Files of an X-ray experiment: scans at several energies and times, I₀, scans before the edge, spectra of the end members.

Several FILEs are either one movie for each energy or one stack over energies for each time; a single FILE is a stack over
energies at one time. What the files do not say of energies is given by --energies in their order. Readers: `phdenoise.io.read`.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from phdenoise.io import units
from phdenoise.io.acquisition import acquisition_of
from phdenoise.io.agreement import (
    SAME_ENERGY,
    check_energies,
    check_same,
    check_times,
    interval_contradiction,
    pixel_contradiction,
    pixel_of,
    settle,
)
from phdenoise.io.readers.scans import doubtful_pixel
from phdenoise.io.reading import read
from phdenoise.modalities.inputs import movie_like, number_table
from phdenoise.modalities.stxm.config import Scans, StxmConfig
from phdenoise.movie import Movie
from phdenoise.types import InputError

FramesAre = Literal["energies", "times"]
# Share by which the ring current may change before one number for I0 is doubted: counts then miss by as much.
_STEADY_CURRENT = 0.02


@dataclass(frozen=True)
class StxmFiles:
    """Where the measurements are."""

    energies: tuple[float, ...] = ()
    """Energy of each FILE, or of each frame of a stack that does not say [eV]."""
    frames_are: FramesAre | None = None
    """What the frames of each FILE are, where neither the files nor the number of --energies say it."""
    incident_file: tuple[str, ...] = ()
    """I0 as images without the sample: one file (the mean of its frames serves every energy), or one for each energy."""
    pre_edge: tuple[str, ...] = ()
    """Scans before the edge that were taken apart from the movie; their frames are averaged."""
    pre_edge_energies: tuple[float, ...] = ()
    """Energy of each of them [eV]; by default all alike."""
    spectra: str | None = None
    """CSV of three columns, energy [eV] and optical density of the lithiated and of the delithiated end member; read at the energies of the scans."""

    def paths(self) -> list[str]:
        """Every file named."""
        return [*self.incident_file, *self.pre_edge, *([self.spectra] if self.spectra else [])]


def read_scans(
    paths: tuple[str, ...],
    files: StxmFiles,
    *,
    pixel_size: float | None = None,
    frame_interval: float | None = None,
    override: bool = False,
) -> Scans:
    """Scans with what belongs to them.

    Energies, times, pixel size, exposures and polarisation are those that the files say; files that contradict each other or
    the command line are refused.

    Args:
        paths: one movie for each energy, or one stack over energies for each time.
        files: what belongs to the scans.
        pixel_size: of the scans, where the files do not say it [um].
        frame_interval: time between frames, where the files do not say it [s].
        override: whether the command line may contradict the files.

    Returns:
        Scans in the order of their energies and times.

    Raises:
        InputError: files that cannot be read, or do not fit each other.
    """
    if not paths:
        raise InputError("No FILE is given: name the scans.")
    for flag, value in (("--pixel-size", pixel_size), ("--frame-interval", frame_interval)):
        if value is not None and not value > 0:
            raise InputError(f"{flag} must be positive, got {value}.")
    movies = [read(p, check=False) for p in paths]
    shapes = {m.shape for m in movies}
    if len(shapes) != 1:
        raise InputError(
            f"The scans have different shapes ({', '.join(str(s) for s in sorted(shapes))}): give scans of one kind."
        )
    stacks = frames_are_energies(movies, files.energies, files.frames_are)
    _check_alike(movies)
    notes = _notes(movies, {"--pixel-size": pixel_size, "--frame-interval": frame_interval})
    pixel, length = pixel_of(movies)
    if pixel_size is not None:
        settle("The FILEs", pixel_contradiction(pixel, length, pixel_size), override, notes)
        pixel, length = (pixel_size, pixel_size), "um"
    if stacks:
        energies = _stack_energies(movies, files.energies, override)
        movies, times, unit = stack_times(movies, notes)
    else:
        energies = _movie_energies(movies, files.energies, override)
        if movies[0].shape[0] == 1:
            movies, energies = grouped(movies, energies, notes)
        timed = check_times(movies)
        times, unit = timed.times, timed.time_unit
    if frame_interval is not None:
        settle("The FILEs", interval_contradiction(times, unit, frame_interval), override, notes)
    if frame_interval is not None and (override or unit not in units.SECONDS):
        times, unit = np.arange(times.size) * frame_interval, "s"
    order = np.argsort(energies)
    if np.any(np.diff(energies[order]) <= 0):
        raise InputError(f"--energies lists an energy twice ({', '.join(f'{e:g}' for e in energies)}).")  # fmt: skip
    axis = 1 if stacks else 0
    counts, valid = (np.stack([f(m) for m in movies], axis=axis) for f in (_frames, Movie.valid))
    first = movies[0]
    before, before_energies = _before(files, first)
    if doubt := doubtful_pixel(pixel, length):
        notes.append(doubt)
    return Scans(
        np.where(valid, counts, np.nan)[order], energies[order], np.asarray(times, float), pixel, unit, length, first.name,
        _incident(files, first, energies, order), before, before_energies, tuple(dict.fromkeys([*notes, *_beam_notes(movies)])),
    )  # fmt: skip


def with_spectra(config: StxmConfig, files: StxmFiles, scans: Scans) -> StxmConfig:
    """The end members of the spectra file at the energies of the scans.

    Args:
        config: without spectra of its own.
        files: with the spectra file, or without one.
        scans: whose energies the spectra are read at.

    Returns:
        The settings with the spectra; as they are where no file is named.

    Raises:
        InputError: no such file, or one that does not reach over the energies.
    """
    if files.spectra is None:
        return config
    if config.lithiated or config.delithiated:
        raise InputError("--spectra and --lithiated or --delithiated say the same: give one of them.")  # fmt: skip
    table = number_table(files.spectra, "spectra", ("energy", "lithiated", "delithiated"))
    table = table[np.argsort(table[:, 0])]
    at = scans.energies[scans.energies >= config.edge]
    if at.size and not (table[0, 0] <= at.min() and at.max() <= table[-1, 0]):
        raise InputError(
            f"{files.spectra} reaches from {table[0, 0]:g} to {table[-1, 0]:g} eV, the scans from {at.min():g} to {at.max():g}."
        )
    high, low = (tuple(float(v) for v in np.interp(at, table[:, 0], table[:, k])) for k in (1, 2))
    return replace(config, lithiated=high, delithiated=low)


def frames_are_energies(
    movies: list[Movie], energies: tuple[float, ...], asked: FramesAre | None
) -> bool:
    """Whether the frames of each FILE are energies; else they are times.

    Args:
        movies: of one shape.
        energies: of --energies [eV].
        asked: --frames-are.

    Returns:
        What the files say, else what was asked for, else what the number of energies fits.

    Raises:
        InputError: files that say different things, or a number of energies that fits both.
    """
    count, frames = len(movies), movies[0].shape[0]
    for movie in movies:
        if frames > 1 and movie.time_unit not in (*units.SECONDS, "eV", "frame"):
            raise InputError(
                f"The frames of {movie.name} are steps of {movie.time_unit}, neither energies nor times: give scans over one of them."
            )
    said = {m.time_unit == "eV" for m in movies if frames > 1 and m.time_unit != "frame"}
    if len(said) == 2:
        names = ", ".join(m.name for m in movies if m.time_unit == "eV")
        raise InputError(f"Some FILEs are stacks over energies ({names}) and others are movies: give scans of one kind.")  # fmt: skip
    if said == {True}:
        if asked == "times":
            raise InputError(f"The frames of {movies[0].name} are energies by its own word: leave out --frames-are times.")  # fmt: skip
        return True
    if asked is not None:
        return asked == "energies"
    if said == {False} and len(energies) == frames != count:
        raise InputError(
            f"{movies[0].name} says that its frames are times in {movies[0].time_unit}, and --energies names one for each frame: "
            "give --frames-are energies, or one energy for each FILE."
        )
    if not said and len(energies) == frames == count > 1:
        raise InputError(
            f"{count} FILEs of {frames} frames with {count} --energies are movies, one for each energy, or stacks over energies: "
            "say which by --frames-are times or --frames-are energies."
        )
    return not said and len(energies) == frames > 1


def stack_times(movies: list[Movie], notes: list[str]) -> tuple[list[Movie], np.ndarray, str]:
    """Stacks in the order of time, with the clock time at which each began.

    Args:
        movies: stacks over energies.
        notes: get a sentence where the order changed.

    Returns:
        The stacks, their times [unit] and the unit: s, or frame where the files do not say.
    """
    clocks = [acquisition_of(m).started for m in movies]
    began = np.array([np.nan if c is None or not np.isfinite(c).any() else np.nanmin(c) for c in clocks])  # fmt: skip
    order = np.argsort(began, kind="stable")
    if len(movies) < 2 or not np.all(np.diff(began[order]) > 0):
        return movies, np.arange(len(movies), dtype=float), "frame"
    if np.any(np.diff(order) < 0):
        notes.append("The FILEs were put in the order of the clock times that they hold.")
    return [movies[k] for k in order], began[order] - began[order[0]], "s"


def grouped(
    movies: list[Movie], energies: np.ndarray, notes: list[str]
) -> tuple[list[Movie], np.ndarray]:
    """Single images as one movie for each energy, where each energy was taken as often as the others.

    Args:
        movies: of one frame each.
        energies: of each [eV].
        notes: get a sentence where images were put together.

    Returns:
        A movie for each energy, in order of the clock times of its images, else in the order given; and the energies. As they
        are where no energy repeats, or some do so less often.
    """
    order = np.argsort(energies, kind="stable")
    first = np.r_[True, np.diff(energies[order]) > SAME_ENERGY]
    level = np.empty(order.size, int)
    level[order] = np.cumsum(first) - 1
    counts = np.bincount(level)
    if counts.max() == 1 or np.ptp(counts):
        return movies, energies
    out = []
    for k in range(counts.size):
        own = [m for m, n in zip(movies, level, strict=True) if n == k]
        own, times, unit = stack_times(own, notes)
        frames = np.concatenate([np.where(m.valid(), m.frames, np.nan) for m in own])
        out.append(replace(own[0], frames=frames, times=times, time_unit=unit, mask=None))
    notes.append(
        f"{len(movies)} images were put together as {counts.size} movies of {counts[0]} frames, one for each energy."
    )
    return out, energies[order][first]


def _notes(movies: list[Movie], given: dict[str, float | None]) -> list[str]:
    """Notes of the files, without those that ask for a flag that was given."""
    every = dict.fromkeys(n for m in movies for n in m.provenance.get("notes", ()))
    flags = [flag for flag, value in given.items() if value is not None]
    return [n for n in every if not any(f"see {flag}" in n.lower() for flag in flags)]


def _frames(movie: Movie) -> np.ndarray:
    return movie.frames


def _check_alike(movies: list[Movie]) -> None:
    """Refuse scans that were not taken alike."""
    check_same(movies, "exposure", "s", "counts of one experiment need one exposure for an energy; leave one of them out.")  # fmt: skip
    check_same(movies, "polarisation", "", "the absorption depends on it; give scans of one polarisation.")  # fmt: skip
    counters = {c for m in movies if (c := acquisition_of(m).counter) is not None}
    if len(counters) > 1:
        raise InputError(f"The FILEs are of different counters ({', '.join(sorted(counters))}): give scans of one.")  # fmt: skip


def _beam_notes(movies: list[Movie]) -> list[str]:
    """A sentence where the ring current changes between scans."""
    known = [c for m in movies if (c := acquisition_of(m).current) is not None]
    currents = np.concatenate(known) if known else np.ones(1)
    low, high = float(np.nanmin(currents)), float(np.nanmax(currents))
    if high <= low * (1 + _STEADY_CURRENT):
        return []
    return [
        f"The ring current runs from {low:g} to {high:g} mA: I0 follows it with --incident-region, not as one number."
    ]


def _stack_energies(movies: list[Movie], given: tuple[float, ...], override: bool) -> np.ndarray:
    frames = movies[0].shape[0]
    if given and len(given) != frames:
        raise InputError(f"--energies gives {len(given)} energies, the stacks have {frames} frames.")  # fmt: skip
    said = [m for m in movies if m.time_unit == "eV"]
    for movie in said[1:]:
        if not np.allclose(movie.times, said[0].times, atol=SAME_ENERGY):
            raise InputError(f"{movie.name} was scanned at other energies than {said[0].name}: stacks of one series need the same.")  # fmt: skip
    if not given:
        return np.asarray(movies[0].times, float)
    if said and np.all(np.diff(given) < 0):
        given = given[::-1]  # the frames of a file that says its energies are read in their order
    check_energies(
        given, said[0].times if said else np.full(frames, np.nan), movies[0].name, override
    )
    return np.asarray(given, float)


def _movie_energies(movies: list[Movie], given: tuple[float, ...], override: bool) -> np.ndarray:
    own = [acquisition_of(m).one("energy") for m in movies]
    if given and len(given) == len(movies):
        for movie, energy, said in zip(movies, given, own, strict=True):
            check_energies(
                [energy], np.array([np.nan if said is None else said]), movie.name, override
            )
        return np.asarray(given, float)
    if given or any(e is None for e in own):
        raise InputError(
            f"{len(movies)} FILE(s) without energies of their own need as many --energies, not {len(given)}."
        )
    return np.array([e for e in own if e is not None])


def _incident(
    files: StxmFiles, like: Movie, energies: np.ndarray, order: np.ndarray
) -> np.ndarray | None:
    if not files.incident_file:
        return None
    beams = [movie_like(p, "--incident-file", like) for p in files.incident_file]
    if len(beams) not in (1, order.size):
        raise InputError(
            f"--incident-file names {len(beams)} files: give one, or one for each of the {order.size} energies."
        )
    for k, beam in enumerate(beams):
        check_same([like, beam], "exposure", "s", "I0 needs the exposure of the scans.")
        said = acquisition_of(beam).one("energy")
        if len(beams) > 1 and said is not None and abs(said - energies[k]) > SAME_ENERGY:
            raise InputError(
                f"--incident-file {files.incident_file[k]} was taken at {said:g} eV and stands for {energies[k]:g} eV: give the "
                "files in the order of the energies."
            )
    images = [beam.frames.astype(float).mean(axis=0) for beam in beams]
    return np.stack(images * (order.size if len(images) == 1 else 1))[order]


def _before(files: StxmFiles, like: Movie) -> tuple[np.ndarray | None, np.ndarray | None]:
    if not files.pre_edge:
        return None, None
    scans = [movie_like(p, "--pre-edge", like) for p in files.pre_edge]
    own = [acquisition_of(m).one("energy") for m in scans]
    energies = files.pre_edge_energies or tuple(e or 0.0 for e in own)
    if len(energies) != len(scans):
        raise InputError(f"--pre-edge-energies gives {len(energies)} energies for {len(scans)} --pre-edge files.")  # fmt: skip
    for scan, energy, said in zip(scans, energies, own, strict=True):
        if said is not None and abs(said - energy) > SAME_ENERGY:
            raise InputError(f"{scan.name} was taken at {said:g} eV, --pre-edge-energies says {energy:g} eV: leave it out.")  # fmt: skip
    return np.concatenate([m.frames.astype(float) for m in scans]), np.concatenate(
        [np.full(len(m.frames), float(e)) for m, e in zip(scans, energies, strict=True)]
    )
