"""Stacks of images of electron microscopes in MRC2014, by mrcfile (doi:10.1016/j.jsb.2015.04.002)."""

import struct
import warnings
from importlib import import_module
from pathlib import Path

import numpy as np

from phdenoise.io.limits import check_size
from phdenoise.io.readers.extras import require
from phdenoise.io.source import Source
from phdenoise.types import InputError

# Bytes 152 to 159 of an MRC header, in its field `extra2`: the stamp of IMOD, and flags whose first bit says that bytes are signed.
_IMOD, _STAMP, _FLAGS = b"IMOD", slice(40, 44), 44


def read_mrc(path: Path, dataset: str | None) -> Source:
    """A stack of images.

    Args:
        path: file .mrc, .mrcs or .st.
        dataset: must be None, as the file holds a single stack.

    Returns:
        The stack with its pixel size.

    Raises:
        InputError: the optional package is missing, a dataset is named, or the file is truncated.
    """
    if dataset is not None:
        raise InputError(f"{path} holds a single stack: leave out '::{dataset}'.")
    mrcfile = require("mrcfile", "em", path)
    _check_header(path)
    with warnings.catch_warnings(record=True) as complaints:
        warnings.simplefilter("always")
        with mrcfile.open(path, permissive=True, header_only=True) as file:
            header = file.header
        helper = import_module("mrcfile.utils")
        shape, dtype = helper.data_shape_from_header(header), helper.data_dtype_from_header(header)
        check_size(path, tuple(int(n) for n in shape), dtype, path.stat().st_size)
        with mrcfile.open(path, permissive=True) as file:
            data, voxel = file.data, file.voxel_size
    if data is None:
        said = str(complaints[-1].message).splitlines()[0] if complaints else "no data"
        raise InputError(f"{path} is truncated or damaged ({said}): copy it again.")
    source = Source(np.asarray(data))
    extra = bytes(header.extra2)
    if data.dtype == np.int8 and extra[_STAMP] in (_IMOD, _IMOD[::-1]) and not extra[_FLAGS] & 1:
        source.array = source.array.view(np.uint8)
        source.notes.append("IMOD says that the bytes of the file are unsigned.")
    size = float(voxel.y), float(voxel.x)
    if all(np.isfinite(s) and s > 0 for s in size):
        # Angstrom to nanometres.
        source.pixel_size, source.length_unit = (size[0] / 10, size[1] / 10), "nm"
    return source


def _check_header(path: Path) -> None:
    """Refuse an extended header longer than the file, for which mrcfile takes memory."""
    with path.open("rb") as file:
        head = file.read(1024)
    order = ">" if head[212:213] == b"\x11" else "<"
    length = struct.unpack(f"{order}i", head[92:96])[0] if len(head) == 1024 else 0
    if not 0 <= length <= path.stat().st_size:
        raise InputError(
            f"{path} cannot be read as {path.suffix} (an extended header of {length} bytes): it is truncated or damaged; copy "
            "it again."
        )
