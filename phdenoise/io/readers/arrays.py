"""NumPy files: one array (.npy) or an archive of named arrays (.npz). Pickled objects are refused."""

import zipfile
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy

from phdenoise.io.limits import check_size
from phdenoise.io.source import (
    TIME_NAMES,
    Opened,
    Source,
    only_whole,
    stand_in,
    windows_of_bytes,
)
from phdenoise.types import InputError

_PICKLED = (
    "holds pickled Python objects, which are refused because they can run code: save plain numbers "
    "with numpy.save."
)


def read_npy(path: Path, dataset: str | None) -> Source:
    """The array of a .npy file.

    Args:
        path: file.
        dataset: must be None, as the file holds a single array.

    Returns:
        The array, of any type and rank.

    Raises:
        InputError: a dataset is named, or the array holds pickled objects.
    """
    if dataset is not None:
        raise InputError(f"{path} holds a single array: leave out '::{dataset}'.")
    try:
        with path.open("rb") as file:
            if file.read(len(npy.MAGIC_PREFIX)) == npy.MAGIC_PREFIX:
                file.seek(0)
                shape, _, dtype = _npy_header(file)
                check_size(path, shape, dtype, path.stat().st_size)
        return Source(np.load(path, allow_pickle=False))
    except ValueError as error:
        if "pickle" in str(error):
            raise InputError(f"{path} {_PICKLED}") from error
        raise


def open_npy(path: Path, dataset: str | None, stack: ExitStack) -> Opened:
    """Open a .npy file [t, y, x] to read windows of it.

    Args:
        path: file.
        dataset: must be None.
        stack: closes the file.

    Returns:
        The open file.

    Raises:
        InputError: an array that can only be read whole.
    """
    file = stack.enter_context(path.open("rb"))
    shape, fortran, dtype = _npy_header(file)
    if dataset is not None or len(shape) != 3 or fortran or dtype.kind not in "biuf":
        raise only_whole(path)
    values = windows_of_bytes(path, file.tell(), dtype, shape)
    return Opened(Source(stand_in(shape[0], dtype)), shape, values)


def _npy_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, order and number type."""
    version = npy.read_magic(file)
    header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    found: tuple[tuple[int, ...], bool, np.dtype] = header(file)
    return found


def read_npz(path: Path, key: str | None) -> Source:
    """One array of an archive: the named one, else the only one with two or more axes.

    Args:
        path: file.
        key: name of the array, or None.

    Returns:
        The array; an array beside it with one number a frame and a name such as `times` gives the frame axis.

    Raises:
        InputError: no such array, several that could be the movie, or pickled objects.
    """
    with zipfile.ZipFile(path) as archive:
        sizes = {i.filename.removesuffix(".npy"): i.compress_size for i in archive.infolist()}
        headers = {
            name.removesuffix(".npy"): _header(archive, name)
            for name in archive.namelist()
            if name.endswith(".npy")
        }
    notes = []
    found = ", ".join(f"{k} {shape} {dtype}" for k, (shape, dtype) in headers.items()) or "nothing"
    if key is None:
        movies = [k for k, (s, d) in headers.items() if len(s) >= 2 and d.kind in "biuf"]
        if len(movies) != 1:
            what = f"{len(movies)} arrays that could be the movie" if movies else "no movie"
            raise InputError(
                f"{path} holds {what} ({found}): a movie needs real numbers [y, x] or [t, y, x]; "
                f"pick one with {path}::KEY."
            )
        key = movies[0]
        if len(headers) > 1:
            notes.append(f"Of {len(headers)} arrays, '{key}' is the only movie and was taken.")
    elif key not in headers:
        raise InputError(f"{path} has no array '{key}': it holds {found}.")
    if headers[key][1].hasobject:
        raise InputError(f"{path}::{key} {_PICKLED}")
    check_size(f"{path}::{key}", *headers[key], sizes[key])
    with np.load(path, allow_pickle=False) as archive:
        source = Source(archive[key], dataset=key, notes=notes)
        axis = [k for k in TIME_NAMES if k in headers and headers[k][1].kind in "iuf"]
        if axis and headers[axis[0]][0] == source.array.shape[:1]:
            check_size(f"{path}::{axis[0]}", *headers[axis[0]], sizes[axis[0]])
            source.times = np.asarray(archive[axis[0]], np.float64)
            source.time_unit = "eV" if "energy" in axis[0] else None
            notes.append(f"'{axis[0]}' is the frame axis.")
    return source


def _header(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of an array without reading its numbers."""
    with archive.open(name) as file:
        version = npy.read_magic(file)
        if version == (1, 0):
            shape, _, dtype = npy.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, _, dtype = npy.read_array_header_2_0(file)
        else:  # version 3 is for field names of structured types, which are no movie
            shape, dtype = (), np.dtype(object)
    return shape, dtype
