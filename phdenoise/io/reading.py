"""Reading: any supported file, one dataset of it or a folder of frames -> `Movie`."""

import hashlib
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from phdenoise.io.readers import find_format, format_of, known_suffixes
from phdenoise.io.source import Scale, Source, default_name
from phdenoise.io.to_movie import check_values, to_movie
from phdenoise.movie import Movie
from phdenoise.types import InputError

# Numbers in the names of files that skip more than so many for each file are dates or positions, no count of frames.
_MOST_GAPS = 10


def read(
    path: str | Path,
    *,
    pixel_size: float | tuple[float, float] | None = None,
    frame_interval: float | None = None,
    channel: str | int = "mean",
    times: Sequence[float] | np.ndarray | None = None,
    length_unit: str | None = None,
    time_unit: str | None = None,
    check: bool = True,
) -> Movie:
    """Read a movie [t, y, x]; `provenance["notes"]` says what was assumed.

    An image [y, x] is a movie of one frame. In HDF5 without a dataset: the NeXus default plot, else
    the only numeric dataset with two or more axes. More formats: `phdenoise.register_reader`.

    Args:
        path: `FILE` or `FILE::DATASET` (.h5 .hdf5 .nxs .nc .tif .tiff .npy .npz; with extras .fits .mrc .mrcs .st
            .dm3 .dm4 .emd .ser .tvips .zarr .xrm .txrm, and video: .mp4 .avi .mov .mkv .webm .gif), or a folder of
            single-frame TIFF or FITS files in natural order.
        pixel_size: dx or (dy, dx) [`length_unit`]; replaces what the file says.
        frame_interval: time between frames [`time_unit`]; replaces what the file says.
        channel: of a colour movie: "mean", "r", "g", "b" or its number from 0.
        times: time of each frame [`time_unit`], instead of `frame_interval`.
        length_unit: unit of `pixel_size` as given here, default "um".
        time_unit: unit of `frame_interval` or `times` as given here, default "s".
        check: refuse movies without a valid pixel or without any contrast.

    Returns:
        The movie, with times, pixel size, units, mask and provenance of the file.

    Raises:
        InputError: anything that keeps the file from being a movie; one sentence with what to do.
    """
    source, record, file, label = load(path)
    movie = to_movie(
        source,
        label,
        Scale(pixel_size, frame_interval, times, length_unit, time_unit),
        name=default_name(file),
        provenance=record,
        channel=channel,
    )
    if check:
        check_values(movie)
    return movie


def load(path: str | Path) -> tuple[Source, dict[str, object], Path, str]:
    """What `FILE` or `FILE::DATASET` holds, where it came from, the file, and its label for messages.

    Raises:
        InputError: it cannot be read; one sentence with what to do.
    """
    file, dataset = split(path)
    label = f"{file}::{dataset}" if dataset else str(file)
    try:
        return *_load(file, dataset), file, label
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{label} does not fit in memory: cut it to a smaller region.") from error
    except PermissionError as error:
        raise InputError(f"{file} may not be read: ask for read permission (chmod +r).") from error
    except ImportError as error:  # a reader's own optional package, such as dask
        raise InputError(
            f"{file}: reading {file.suffix} needs the package '{error.name}': pip install {error.name}."
        ) from error
    except NotImplementedError as error:
        raise InputError(
            f"{file} cannot be read as {file.suffix} ({_first_line(error)}): it is of a kind that is not supported; convert it."
        ) from error
    except Exception as error:  # parsers of damaged files raise anything at all
        raise InputError(
            f"{file} cannot be read as {file.suffix} ({_first_line(error)}): it is truncated, damaged or of another "
            "kind; copy it again or convert it."
        ) from error


def _first_line(error: Exception) -> str:
    """What an error says, within a line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def split(path: str | Path) -> tuple[Path, str | None]:
    """'FILE::DATASET' -> file and dataset; a file whose name has '::' is that file."""
    text = str(path)
    if "::" in text and not Path(text).exists():
        head, _, dataset = text.rpartition("::")
        if not dataset:
            raise InputError(f"{text}: nothing follows '::'; give FILE::DATASET or FILE alone.")
        return Path(head), dataset
    return Path(text), None


def _load(file: Path, dataset: str | None) -> tuple[Source, dict[str, object]]:
    """The source in a file or folder, and the first part of its provenance."""
    if not file.exists():
        raise InputError(f"There is no file {file}: give an existing one of {known_suffixes()}.")
    known = format_of(file)
    if file.is_dir() and (known is None or not known.folders):
        if dataset is not None:
            raise InputError(f"{file} is a folder and has no dataset '{dataset}': leave out '::'.")
        return _read_folder(file)
    if known is None:
        raise InputError(
            f"{file}: files ending in '{file.suffix}' are not known; convert it to one of {known_suffixes()}."
        )
    if file.is_file() and file.stat().st_size == 0:
        raise InputError(f"{file} is empty (0 bytes): copy it again.")
    return known.read(file, dataset), fingerprint(file)


def fingerprint(file: Path) -> dict[str, object]:
    """Which file it was, or folder of files: path, size and checksum."""
    if file.is_file():
        size, digest = file.stat().st_size, _sha256(file)
    else:
        inside = sorted(f for f in file.rglob("*") if f.is_file())
        size, digest = sum(f.stat().st_size for f in inside), _digest(file, inside)
    return {"path": str(file.resolve()), "bytes": size, "sha256": digest}


def _read_folder(folder: Path) -> tuple[Source, dict[str, object]]:
    """Single-frame files in natural order (frame 2 before frame 10) as one movie."""
    seen = [f for f in folder.iterdir() if not f.name.startswith(".")]
    formats = {suffix: find_format(suffix) for suffix in {f.suffix for f in seen}}
    frames = {suffix for suffix, known in formats.items() if known is not None and known.frames}
    files = sorted((f for f in seen if f.suffix in frames), key=_natural)
    if not files:
        raise InputError(
            f"{folder} is a folder without .tif or .fits frames: give a file of {known_suffixes()}."
        )
    sources = [_load(f, None)[0] for f in files]
    for source in sources:
        if not source.axes and source.array.ndim == 3 and len(source.array) == 1:
            source.array = source.array[0]
    first = sources[0]
    for file, source in zip(files, sources, strict=True):
        kind, wanted = (s.dtype or s.array.dtype.name for s in (source, first))
        if source.array.shape != first.array.shape or kind != wanted:
            raise InputError(
                f"{file} is {source.array.shape} {kind}, but {files[0].name} is "
                f"{first.array.shape} {wanted}: a movie needs equal frames; move it away."
            )
    if not first.axes and first.array.ndim != 2:
        raise InputError(
            f"{files[0]} has shape {first.array.shape}: each file of a folder must be one frame."
        )
    first.array = np.stack([s.array for s in sources])
    first.axes = "T" + (first.axes or "YX")
    first.frame_interval = first.times = None
    first.notes = list(dict.fromkeys(note for s in sources for note in s.notes))
    first.notes.append(f"{len(files)} files, {files[0].name} to {files[-1].name}, in this order.")
    first.places = frame_places([f.name for f in files], first.notes)
    size = sum(f.stat().st_size for f in files)
    return first, {"path": str(folder.resolve()), "bytes": size, "sha256": _digest(folder, files)}


def frame_places(names: list[str], notes: list[str]) -> np.ndarray | None:
    """Place of each frame in its recording, from the number that differs in the names of the files.

    Args:
        names: of the files, in natural order.
        notes: gets a sentence where numbers are missing.

    Returns:
        Whole numbers from 0 [t]; None where no number is missing, or the names do not count.
    """
    parts = [re.split(r"(\d+)", name) for name in names]
    if len({len(p) for p in parts}) > 1 or len(parts) < 3:
        return None
    differ = [k for k in range(len(parts[0])) if len({p[k] for p in parts}) > 1]
    if len(differ) != 1 or differ[0] % 2 == 0:
        return None
    numbers = np.array([int(p[differ[0]]) for p in parts], dtype=object)
    steps = numbers[1:] - numbers[:-1]
    if np.any(steps <= 0):
        return None
    step = math.gcd(*steps)
    places = (numbers - numbers[0]) // step
    missing = places[-1] + 1 - len(places)
    if missing == 0:
        return None
    if places[-1] > _MOST_GAPS * len(places):
        notes.append("The numbers in the names of the files do not count frames: equal steps are assumed.")  # fmt: skip
        return None
    absent = np.setdiff1d(np.arange(places[-1] + 1), places.astype(int)) * step + numbers[0]
    shown = ", ".join(str(n) for n in absent[:8]) + ", ..." * (len(absent) > 8)
    notes.append(f"{missing} frames are missing by their numbers ({shown}): the times keep the gaps.")  # fmt: skip
    return places.astype(int)


def _natural(file: Path) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", file.name)
    return [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in parts]


def _digest(folder: Path, files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(folder)} {_sha256(file)}\n".encode())
    return digest.hexdigest()


def _sha256(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
