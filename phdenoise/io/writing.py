"""Writing: `Movie` or `Estimate` -> native HDF5 or ImageJ TIFF, complete or not at all."""

from pathlib import Path

import numpy as np

from phdenoise.channels import Channels, ChannelsEstimate
from phdenoise.io.atomic import atomic, check_writable
from phdenoise.io.native import native_bytes
from phdenoise.io.native_channels import channels_bytes
from phdenoise.io.tiff import write_tiff
from phdenoise.movie import Estimate, Movie
from phdenoise.types import InputError

_HDF5 = (".h5", ".hdf5", ".nxs")
_TIFF = (".tif", ".tiff")


def write(
    result: Movie | Estimate | Channels | ChannelsEstimate,
    path: str | Path,
    *,
    overwrite: bool = False,
) -> tuple[Path, ...]:
    """Write a movie or an estimate, of one or several channels; the suffix decides the format.

    HDF5 (.h5 .hdf5 .nxs) keeps everything and reads back equal. TIFF (.tif .tiff) keeps float32 frames,
    pixel size and mean frame interval for ImageJ; the standard deviation goes to NAME_sd.tif.

    Args:
        result: what to write.
        path: output file.
        overwrite: whether existing files may be replaced; the input never is.

    Returns:
        The files written.

    Raises:
        InputError: unknown suffix, existing file, full disk...; earlier files are then untouched.
    """
    files = output_files(path, sd=isinstance(result, Estimate | ChannelsEstimate))
    movie = _movies(result)[0]
    source = movie.provenance.get("path")
    for file in files:
        check_writable(file, overwrite, inputs=[source] if source else [])
    if files[0].suffix.lower() in _HDF5:
        with atomic(files[0], overwrite) as temporary:
            if isinstance(result, Channels | ChannelsEstimate):
                temporary.write_bytes(channels_bytes(result))
            else:
                temporary.write_bytes(native_bytes(result))
    elif isinstance(result, Channels):
        with atomic(files[0], overwrite) as temporary:
            write_tiff(temporary, movie, _stacked(result.frames), {"channels": result.names})
    elif isinstance(result, ChannelsEstimate):
        notes: dict[str, object] = {"channels": result.names, "log": result.sentences()}
        sd: dict[str, object] = {"channels": result.names, "content": "standard deviation"}
        with atomic(files[1], overwrite) as second, atomic(files[0], overwrite) as first:
            write_tiff(first, movie, _stacked(result.mean), notes)
            write_tiff(second, movie, _stacked(np.sqrt(result.variance)), sd)
    elif isinstance(result, Movie):
        with atomic(files[0], overwrite) as temporary:
            write_tiff(temporary, movie, movie.frames)
    else:
        notes = {"log": result.log, "noise": type(result.noise).__name__}
        with atomic(files[1], overwrite) as second, atomic(files[0], overwrite) as first:
            write_tiff(first, movie, result.mean, notes)
            write_tiff(second, movie, np.sqrt(result.variance), {"content": "standard deviation"})
    return files


def _movies(result: Movie | Estimate | Channels | ChannelsEstimate) -> tuple[Movie, ...]:
    if isinstance(result, ChannelsEstimate):
        return result.channels.movies
    if isinstance(result, Channels):
        return result.movies
    return (result if isinstance(result, Movie) else result.movie,)


def _stacked(frames: np.ndarray) -> np.ndarray:
    """[c, t, y, x] as ImageJ orders it, [t, c, y, x]."""
    return frames.transpose(1, 0, 2, 3)


def output_files(path: str | Path, *, sd: bool = True) -> tuple[Path, ...]:
    """Files that `write` makes: one HDF5, or a TIFF and (for an estimate) its standard deviation.

    Raises:
        InputError: unknown suffix.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in _HDF5 + _TIFF:
        raise InputError(
            f"{path}: outputs ending in '{path.suffix}' are not known; use one of "
            f"{', '.join(_HDF5 + _TIFF)}."
        )
    if suffix in _HDF5 or not sd:
        return (path,)
    return path, path.with_name(f"{path.stem}_sd{path.suffix}")
