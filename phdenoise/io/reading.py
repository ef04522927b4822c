"""Reading: any supported file, one dataset of it or a folder of frames -> `Movie`."""

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from phdenoise.io.arrays import read_npy, read_npz
from phdenoise.io.extras import read_em, read_fits
from phdenoise.io.hdf5 import read_hdf5
from phdenoise.io.sdf import read_sdf
from phdenoise.io.source import Source, check_values, default_name, to_movie
from phdenoise.io.tiff import read_tiff
from phdenoise.io.video import SUFFIXES as VIDEO
from phdenoise.io.video import read_video
from phdenoise.io.xrm import read_xrm
from phdenoise.movie import Movie
from phdenoise.types import InputError

_READERS: dict[str, Callable[[Path, str | None], Source]] = {
    **dict.fromkeys((".h5", ".hdf5", ".nxs"), read_hdf5),
    **dict.fromkeys((".tif", ".tiff"), read_tiff),
    ".npy": read_npy,
    ".npz": read_npz,
    **dict.fromkeys((".mrc", ".dm3", ".dm4", ".emd"), read_em),
    **dict.fromkeys((".fits", ".fit"), read_fits),
    ".hdr": read_sdf,
    **dict.fromkeys((".xrm", ".txrm"), read_xrm),
    **dict.fromkeys(VIDEO, read_video),
}
_FRAME_SUFFIXES = (".tif", ".tiff", ".fits", ".fit")


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
    """Read a movie [t, y, x]; what was assumed is said in `provenance["notes"]`.

    An image [y, x] is a movie of one frame. In HDF5 without a dataset: the NeXus default plot, else
    the only numeric dataset with two or more axes.

    Args:
        path: `FILE` or `FILE::DATASET` (.h5 .hdf5 .nxs .tif .tiff .npy .npz; with extras .fits .mrc
            .dm3 .dm4 .emd, and video: .mp4 .avi .mov .mkv .webm .gif), or a folder of single-frame TIFF or FITS files in natural order.
        pixel_size: dx or (dy, dx) [`length_unit`]; replaces what the file says.
        frame_interval: time between frames [`time_unit`]; replaces what the file says.
        channel: of a colour movie: "mean", "r", "g", "b" or its number from 0.
        times: time of each frame [`time_unit`], instead of `frame_interval`.
        length_unit: unit of `pixel_size` as given here, default "um".
        time_unit: unit of `frame_interval` or `times` as given here, default "s".
        check: refuse movies without a valid pixel or without any contrast.

    Raises:
        InputError: anything that keeps the file from being a movie; one sentence with what to do.
    """
    source, record, file, label = load(path)
    movie = to_movie(
        source,
        label,
        name=default_name(file),
        pixel_size=pixel_size,
        frame_interval=frame_interval,
        channel=channel,
        times=times,
        length_unit=length_unit,
        time_unit=time_unit,
        provenance=record,
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
    except Exception as error:  # parsers of damaged files raise anything at all
        first = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise InputError(
            f"{file} cannot be read as {file.suffix} ({first}): it is truncated, damaged or of another "
            "kind; copy it again or convert it."
        ) from error


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
        raise InputError(f"There is no file {file}: give an existing one of {_known()}.")
    if file.is_dir():
        if dataset is not None:
            raise InputError(f"{file} is a folder and has no dataset '{dataset}': leave out '::'.")
        return _read_folder(file)
    reader = _READERS.get(file.suffix.lower())
    if reader is None:
        raise InputError(
            f"{file}: files ending in '{file.suffix}' are not known; convert it to one of {_known()}."
        )
    if file.suffix.lower() == ".npy" and dataset is not None:
        raise InputError(f"{file} holds a single array: leave out '::{dataset}'.")
    if file.stat().st_size == 0:
        raise InputError(f"{file} is empty (0 bytes): copy it again.")
    return reader(file, dataset), fingerprint(file)


def fingerprint(file: Path) -> dict[str, object]:
    """Which file it was: path, size and checksum."""
    return {"path": str(file.resolve()), "bytes": file.stat().st_size, "sha256": _sha256(file)}


def _read_folder(folder: Path) -> tuple[Source, dict[str, object]]:
    """Single-frame files in natural order (frame 2 before frame 10) as one movie."""
    files = [f for f in folder.iterdir() if f.suffix.lower() in _FRAME_SUFFIXES]
    files = sorted((f for f in files if not f.name.startswith(".")), key=_natural)
    if not files:
        raise InputError(
            f"{folder} is a folder without .tif or .fits frames: give a file of {_known()}."
        )
    sources = [_load(f, None)[0] for f in files]
    first = sources[0]
    for file, source in zip(files, sources, strict=True):
        if source.array.shape != first.array.shape or source.array.dtype != first.array.dtype:
            raise InputError(
                f"{file} is {source.array.shape} {source.array.dtype}, but {files[0].name} is "
                f"{first.array.shape} {first.array.dtype}: a movie needs equal frames; move it away."
            )
    if not first.axes and first.array.ndim != 2:
        raise InputError(
            f"{files[0]} has shape {first.array.shape}: each file of a folder must be one frame."
        )
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name} {_sha256(file)}\n".encode())
    first.array = np.stack([s.array for s in sources])
    first.axes = "T" + (first.axes or "YX")
    first.frame_interval = first.times = None
    first.notes.append(f"{len(files)} files, {files[0].name} to {files[-1].name}, in this order.")
    size = sum(f.stat().st_size for f in files)
    return first, {"path": str(folder.resolve()), "bytes": size, "sha256": digest.hexdigest()}


def _natural(file: Path) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", file.name)
    return [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in parts]


def _sha256(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _known() -> str:
    return ", ".join(_READERS)
