"""Files of an X-ray experiment: scans at several energies and times, I₀, scans before the edge, spectra of the end members.

Several FILEs are either one movie for each energy (with --energies in their order) or one stack over energies for each time; a
single FILE is a stack over energies at one time. Readers: `phdenoise.io.read`.
"""

import csv
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from phdenoise.chains.stxm_config import Scans, StxmConfig
from phdenoise.io import read
from phdenoise.movie import Movie
from phdenoise.types import InputError


@dataclass(frozen=True)
class StxmFiles:
    """Where the measurements are."""

    energies: tuple[float, ...] = ()
    """Energy of each FILE, or of each frame of a stack that does not say [eV]."""
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
) -> Scans:
    """Scans with what belongs to them.

    Raises:
        InputError: files that cannot be read, or do not fit each other.
    """
    if not paths:
        raise InputError("No FILE is given: name the scans.")
    if pixel_size is not None and not pixel_size > 0:
        raise InputError(f"--pixel-size must be positive, got {pixel_size}.")
    movies = [read(p, pixel_size=pixel_size, check=False) for p in paths]
    shapes = {m.shape for m in movies}
    if len(shapes) != 1:
        raise InputError(
            f"The scans have different shapes ({', '.join(str(s) for s in sorted(shapes))}): give scans of one kind."
        )
    stacks = all(_is_stack(m, files.energies) for m in movies)
    if stacks:
        energies = _stack_energies(movies, files.energies)
        counts = np.stack([m.frames for m in movies], axis=1)
        times, unit = np.arange(len(movies), dtype=float), "frame"
        if frame_interval is not None:
            times, unit = times * frame_interval, "s"
    else:
        if len(files.energies) != len(paths):
            raise InputError(
                f"{len(paths)} FILE(s) without energies of their own need as many --energies, not {len(files.energies)}."
            )
        energies = np.asarray(files.energies, float)
        counts = np.stack([m.frames for m in movies])
        times, unit = movies[0].times, movies[0].time_unit
        if frame_interval is not None:
            times, unit = np.arange(counts.shape[1]) * frame_interval, "s"
    if frame_interval is not None and not frame_interval > 0:
        raise InputError(f"--frame-interval must be positive, got {frame_interval}.")
    order = np.argsort(energies)
    if np.any(np.diff(energies[order]) <= 0):
        raise InputError(f"--energies lists an energy twice ({', '.join(f'{e:g}' for e in energies)}).")  # fmt: skip
    first = movies[0]
    valid = np.stack([m.valid() for m in movies], axis=1 if stacks else 0)
    counts = np.where(valid, counts, np.nan)[order]
    before, before_energies = _before(files, first)
    return Scans(
        counts, energies[order], np.asarray(times, float), first.pixel_size, unit, first.length_unit, first.name,
        _incident(files, first, order), before, before_energies,
    )  # fmt: skip


def with_spectra(config: StxmConfig, files: StxmFiles, scans: Scans) -> StxmConfig:
    """The end members of the spectra file at the energies of the scans.

    Raises:
        InputError: no such file, or one that does not reach over the energies.
    """
    if files.spectra is None:
        return config
    if config.lithiated or config.delithiated:
        raise InputError("--spectra and --lithiated or --delithiated say the same: give one of them.")  # fmt: skip
    try:
        with Path(files.spectra).open(newline="", encoding="utf-8") as stream:
            rows = [r for r in csv.reader(stream) if r]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{files.spectra} cannot be read as spectra: give a CSV file.") from error
    numbers = []
    for i, row in enumerate(rows):
        try:
            numbers.append([float(v) for v in row[:3]])
        except ValueError as error:
            if i:
                raise InputError(f"{files.spectra}, row {i + 1}: three numbers are expected.") from error  # fmt: skip
    if len(numbers) < 2 or any(len(n) != 3 for n in numbers):
        raise InputError(f"{files.spectra}: spectra need two rows or more of three numbers.")
    table = np.asarray(sorted(numbers))
    at = scans.energies[scans.energies >= config.edge]
    if at.size and not (table[0, 0] <= at.min() and at.max() <= table[-1, 0]):
        raise InputError(
            f"{files.spectra} reaches from {table[0, 0]:g} to {table[-1, 0]:g} eV, the scans from {at.min():g} to {at.max():g}."
        )
    high, low = (tuple(float(v) for v in np.interp(at, table[:, 0], table[:, k])) for k in (1, 2))
    return replace(config, lithiated=high, delithiated=low)


def _is_stack(movie: Movie, energies: tuple[float, ...]) -> bool:
    """Whether its frames are energies: it says so, or there is one for each of --energies."""
    return movie.time_unit == "eV" or (len(energies) == movie.shape[0] and len(energies) > 1)


def _stack_energies(movies: list[Movie], given: tuple[float, ...]) -> np.ndarray:
    if given:
        if len(given) != movies[0].shape[0]:
            raise InputError(f"--energies gives {len(given)} energies, the stacks have {movies[0].shape[0]} frames.")  # fmt: skip
        return np.asarray(given, float)
    energies = movies[0].times
    for movie in movies[1:]:
        if not np.allclose(movie.times, energies, atol=0.05):
            raise InputError(f"{movie.name} was scanned at other energies than {movies[0].name}: stacks of one series need the same.")  # fmt: skip
    return np.asarray(energies, float)


def _images(path: str, flag: str, like: Movie) -> np.ndarray:
    movie = read(path, check=False)
    if movie.shape[1:] != like.shape[1:]:
        raise InputError(
            f"{flag} {path} has {movie.shape[1]} x {movie.shape[2]} px, the scans {like.shape[1]} x {like.shape[2]}: they must "
            "be of one size."
        )
    if not movie.valid().all():
        raise InputError(f"{flag} {path} holds values that are not finite: mask or replace them.")
    return movie.frames.astype(float)


def _incident(files: StxmFiles, like: Movie, order: np.ndarray) -> np.ndarray | None:
    if not files.incident_file:
        return None
    images = [_images(p, "--incident-file", like).mean(axis=0) for p in files.incident_file]
    if len(images) == 1:
        images = images * order.size
    if len(images) != order.size:
        raise InputError(
            f"--incident-file names {len(images)} files: give one, or one for each of the {order.size} energies."
        )
    return np.stack(images)[order]


def _before(files: StxmFiles, like: Movie) -> tuple[np.ndarray | None, np.ndarray | None]:
    if not files.pre_edge:
        return None, None
    stacks = [_images(p, "--pre-edge", like) for p in files.pre_edge]
    energies = files.pre_edge_energies or (0.0,) * len(stacks)
    if len(energies) != len(stacks):
        raise InputError(f"--pre-edge-energies gives {len(energies)} energies for {len(stacks)} --pre-edge files.")  # fmt: skip
    return np.concatenate(stacks), np.concatenate(
        [np.full(len(s), float(e)) for s, e in zip(stacks, energies, strict=True)]
    )
