"""The one table of file formats: suffix -> reader. A format from outside is registered here, never branched on elsewhere.

    ph.register_reader(".raw", read_raw)                     # in a script or notebook
    [project.entry-points."phdenoise.readers"]               # in the pyproject.toml of an installed package
    raw = "my_package:read_raw"                              # the name is the suffix without its dot

A reader is a function (path, dataset) -> `Source`; `dataset` is what follows `::`, or None.
"""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path

from phdenoise.io.readers.arrays import open_npy, read_npy, read_npz
from phdenoise.io.readers.extras import read_dm, read_em, read_emd, read_tvips
from phdenoise.io.readers.fits import read_fits
from phdenoise.io.readers.hdf5 import open_hdf5, read_hdf5
from phdenoise.io.readers.mrc import read_mrc
from phdenoise.io.readers.ome_zarr import read_zarr
from phdenoise.io.readers.sdf import read_sdf
from phdenoise.io.readers.tiff import open_tiff, read_tiff
from phdenoise.io.readers.video import read_gif, read_video
from phdenoise.io.readers.xrm import read_xrm
from phdenoise.io.source import Opened, Source
from phdenoise.types import InputError

Reader = Callable[[Path, str | None], Source]
PartsOpener = Callable[[Path, str | None, ExitStack], Opened]

GROUP = "phdenoise.readers"
"""Entry point group of readers in other packages."""


@dataclass(frozen=True)
class Format:
    """How files of one kind are read.

    Attributes:
        read: reads the whole file, (path, dataset) -> Source.
        open_parts: opens the file to read windows of it, (path, dataset, stack) -> Opened; None reads files whole.
        frames: whether a folder of such files, one frame each, is a movie.
        folders: whether a folder with this suffix is such a file.
    """

    read: Reader
    open_parts: PartsOpener | None = None
    frames: bool = False
    folders: bool = False


_HDF5 = Format(read_hdf5, open_hdf5)
_TIFF = Format(read_tiff, open_tiff, frames=True)
_FITS = Format(read_fits, frames=True)
_DIGITAL_MICROGRAPH = Format(read_dm)

_FORMATS: dict[str, Format] = {
    **dict.fromkeys((".h5", ".hdf5", ".nxs", ".hdf", ".nc", ".stxm", ".cxi"), _HDF5),
    **dict.fromkeys((".tif", ".tiff"), _TIFF),
    ".npy": Format(read_npy, open_npy),
    ".npz": Format(read_npz),
    **dict.fromkeys((".mrc", ".mrcs", ".st"), Format(read_mrc)),
    **dict.fromkeys((".dm3", ".dm4"), _DIGITAL_MICROGRAPH),
    ".emd": Format(read_emd),
    ".ser": Format(partial(read_em, "rsciio.tia")),
    ".tvips": Format(read_tvips),
    **dict.fromkeys((".fits", ".fit", ".fits.gz", ".fits.fz"), _FITS),
    ".zarr": Format(read_zarr, folders=True),
    ".hdr": Format(read_sdf),
    **dict.fromkeys((".xrm", ".txrm"), Format(read_xrm)),
    **dict.fromkeys((".mp4", ".avi", ".mov", ".mkv", ".webm"), Format(read_video)),
    ".gif": Format(read_gif),
}


def register_reader(
    suffixes: str | Iterable[str],
    reader: Reader,
    *,
    open_parts: PartsOpener | None = None,
    frames: bool = False,
    replace: bool = False,
) -> None:
    """Register a reader for files of some suffixes; `read`, `read_channels` and every command then know them.

    Args:
        suffixes: one or several, with their dot: ".raw".
        reader: (path, dataset) -> `Source`; raises `InputError` where a file cannot be used.
        open_parts: reads windows of a file that memory does not hold; see `Format`.
        frames: whether a folder of such files, one frame each, is a movie.
        replace: whether a reader that exists for a suffix is replaced.

    Raises:
        InputError: a suffix without a dot, or one that has a reader already.
    """
    names = [suffixes] if isinstance(suffixes, str) else list(suffixes)
    for name in (n.lower() for n in names):
        if not name.startswith(".") or len(name) < 2:
            raise InputError(f"A suffix begins with a dot, as in '.raw': got '{name}'.")
        if name in _FORMATS and not replace:
            raise InputError(
                f"Files ending in '{name}' have a reader: give replace=True to replace it."
            )
        _FORMATS[name] = Format(reader, open_parts, frames)


def find_format(suffix: str) -> Format | None:
    """The format of a suffix such as ".h5": built in, registered, or of an installed package; None where unknown."""
    suffix = suffix.lower()
    if suffix not in _FORMATS:
        for point in entry_points(group=GROUP):
            if f".{point.name.lower()}" == suffix:
                register_reader(suffix, point.load())
                break
    return _FORMATS.get(suffix)


def format_of(path: Path) -> Format | None:
    """The format of a file or folder by its longest known suffix: `.fits.gz` before `.gz`; None where unknown."""
    return find_format("".join(path.suffixes[-2:])) or find_format(path.suffix)


def known_suffixes() -> str:
    """Suffixes that can be read, for messages."""
    outside = [f".{point.name.lower()}" for point in entry_points(group=GROUP)]
    return ", ".join(dict.fromkeys([*_FORMATS, *outside]))
