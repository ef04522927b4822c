"""NumPy files: one array (.npy) or an archive of named arrays (.npz). Pickled objects are refused."""

import zipfile
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from phdenoise.io.source import TIME_NAMES, Source
from phdenoise.types import InputError

_PICKLED = (
    "holds pickled Python objects, which are refused because they can run code: save plain numbers "
    "with numpy.save."
)


def read_npy(path: Path, dataset: str | None) -> Source:
    """The array of a .npy file."""
    try:
        return Source(np.load(path, allow_pickle=False))
    except ValueError as error:
        if "pickle" in str(error):
            raise InputError(f"{path} {_PICKLED}") from error
        raise


def read_npz(path: Path, key: str | None) -> Source:
    """One array of an archive: the named one, else the only one with two or more axes."""
    with zipfile.ZipFile(path) as archive:
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
    with np.load(path, allow_pickle=False) as archive:
        source = Source(archive[key], dataset=key, notes=notes)
        axis = [k for k in TIME_NAMES if k in headers and headers[k][1].kind in "iuf"]
        if axis and headers[axis[0]][0] == source.array.shape[:1]:
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
