"""Writing: `Movie` or `Estimate` -> native HDF5 or ImageJ TIFF, complete or not at all."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from phdenoise.channels import Channels, ChannelsEstimate
from phdenoise.io.atomic import atomic, atomic_directory, check_writable
from phdenoise.io.imagej import write_tiff
from phdenoise.io.native import native_bytes
from phdenoise.io.native_channels import channels_bytes
from phdenoise.io.ome import write_ome_tiff, write_ome_zarr
from phdenoise.movie import Estimate, Movie
from phdenoise.types import InputError

_HDF5 = (".h5", ".hdf5", ".nxs")
_TIFF = (".tif", ".tiff")
_ZARR = (".zarr",)
SUFFIXES = _HDF5 + _TIFF + _ZARR
"""Suffixes of the files that `write` makes; a .zarr is a folder."""

# Ends of names of OME-TIFF.
_OME_TIFF = (".ome.tif", ".ome.tiff")


def write(
    result: Movie | Estimate | Channels | ChannelsEstimate,
    path: str | Path,
    *,
    overwrite: bool = False,
) -> tuple[Path, ...]:
    """Write a movie or an estimate, of one or several channels; the suffix decides the format.

    HDF5 (.h5 .hdf5 .nxs) keeps everything and reads back equal. TIFF (.tif .tiff) keeps float32 frames,
    pixel size and mean frame interval for ImageJ; the standard deviation goes to NAME_sd.tif. OME-TIFF (.ome.tif) and
    OME-Zarr (.zarr, a folder) hold the time of each frame, and the standard deviation as a second image.

    Args:
        result: what to write.
        path: output file.
        overwrite: whether existing files may be replaced; the input never is.

    Returns:
        The files written.

    Raises:
        InputError: unknown suffix, existing file, full disk...; earlier files are then untouched.
    """
    kind = next(k for cls, k in _KINDS.items() if isinstance(result, cls))
    files = output_files(path, sd=kind.sd)
    movie = kind.movie(result)
    source = movie.provenance.get("path")
    foreign = _ome(files[0])
    for file in files:
        check_writable(
            file, overwrite, folder=file.suffix in _ZARR, inputs=[source] if source else []
        )
    if foreign is not None:
        _write_ome(foreign, kind, result, files[0], overwrite)
        return files
    with ExitStack() as stack:
        temporary = [stack.enter_context(atomic(file, overwrite)) for file in reversed(files)][::-1]
        if files[0].suffix.lower() in _HDF5:
            temporary[0].write_bytes(kind.native(result))
        else:
            for file, (frames, notes) in zip(temporary, kind.stacks(result), strict=True):
                write_tiff(file, movie, frames, notes)
    return files


def _ome(path: Path) -> Callable[..., None] | None:
    """What writes the OME formats; None for the others."""
    if path.name.lower().endswith(_OME_TIFF):
        return write_ome_tiff
    return write_ome_zarr if path.suffix.lower() in _ZARR else None


def _write_ome(
    writer: Callable[..., None], kind: "_Kind", result: Any, path: Path, overwrite: bool
) -> None:
    """Mean and standard deviation as images of one file or folder."""
    stacks = kind.stacks(result)
    if stacks[0][0].ndim != 3:
        raise InputError(
            f"{path}: OME files are written of one channel; give a name ending in .h5 or .tif, or choose a channel."
        )
    names = ("denoised", "sd") if kind.sd else ("",)
    images = {name: frames for name, (frames, _) in zip(names, stacks, strict=True)}
    movie, notes = kind.movie(result), stacks[0][1]
    if writer is write_ome_zarr:
        with atomic_directory(path, overwrite) as folder:
            writer(folder, movie, images, notes)
    else:
        with atomic(path, overwrite) as aside:
            writer(aside, movie, images, notes)


class _Kind(NamedTuple):
    """How one type of result is written.

    Attributes:
        movie: gives pixel size, times and units.
        native: bytes of the native file.
        stacks: frames of each TIFF file, and notes for its Info text.
        sd: whether there is a second file, of standard deviations.
    """

    movie: Callable[[Any], Movie]
    native: Callable[[Any], memoryview]
    stacks: Callable[[Any], Sequence[tuple[np.ndarray, Mapping[str, object]]]]
    sd: bool = False


def _estimate_stacks(result: Estimate) -> list[tuple[np.ndarray, Mapping[str, object]]]:
    notes = {"log": result.log, "noise": type(result.noise).__name__}
    return [(result.mean, notes), (np.sqrt(result.variance), {"content": "standard deviation"})]


def _channels_stacks(result: ChannelsEstimate) -> list[tuple[np.ndarray, Mapping[str, object]]]:
    sd = np.sqrt(result.variance)
    return [
        (_stacked(result.mean), {"channels": result.names, "log": result.sentences()}),
        (_stacked(sd), {"channels": result.names, "content": "standard deviation"}),
    ]


def _stacked(frames: np.ndarray) -> np.ndarray:
    """[c, t, y, x] as ImageJ orders it, [t, c, y, x]."""
    return frames.transpose(1, 0, 2, 3)


# The one table of what can be written.
_KINDS: dict[type, _Kind] = {
    Movie: _Kind(lambda m: m, native_bytes, lambda m: [(m.frames, {})]),
    Estimate: _Kind(lambda e: e.movie, native_bytes, _estimate_stacks, sd=True),
    Channels: _Kind(
        lambda c: c.movies[0],
        channels_bytes,
        lambda c: [(_stacked(c.frames), {"channels": c.names})],
    ),
    ChannelsEstimate: _Kind(
        lambda e: e.estimates[0].movie, channels_bytes, _channels_stacks, sd=True
    ),
}


def output_files(path: str | Path, *, sd: bool = True) -> tuple[Path, ...]:
    """Files that `write` makes.

    Args:
        path: output file.
        sd: whether there are standard deviations to write.

    Returns:
        One HDF5 file, or a TIFF file and that of its standard deviation.

    Raises:
        InputError: unknown suffix.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(
            f"{path}: outputs ending in '{path.suffix}' are not known; use one of "
            f"{', '.join(SUFFIXES)}."
        )
    if suffix in _HDF5 + _ZARR or path.name.lower().endswith(_OME_TIFF) or not sd:
        return (path,)
    return path, path.with_name(f"{path.stem}_sd{path.suffix}")
