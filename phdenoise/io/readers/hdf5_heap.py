"""Heaps of an HDF5 file that the library would read for ever.

A global heap (HDF5 file format specification 3.0, section III.E) is a run of objects, each with its index and size; object 0 is
the free space, whose size includes its header. The library steps from object to object and does not move on a size of zero.
"""

import struct
from pathlib import Path

from phdenoise.types import InputError

_MARK = b"GCOL\x01\0\0\0"
# Header of a heap (mark and size) and of an object (index, references, reserved, size) [bytes], for sizes of eight bytes, which
# all writers use.
_HEAP, _OBJECT = 16, 16
# Part of a file that is searched at once [bytes].
_PART = 2**24


def check_heaps(path: Path) -> None:
    """Refuse a file with a global heap whose objects do not end.

    Args:
        path: file.

    Raises:
        InputError: the heap is damaged.
    """
    with path.open("rb") as file:
        start, tail = 0, b""
        while part := file.read(_PART):
            text = tail + part
            at = text.find(_MARK)
            while at >= 0:
                _check_heap(path, start - len(tail) + at)
                at = text.find(_MARK, at + 1)
            start, tail = start + len(part), text[-len(_MARK) + 1 :]


def _check_heap(path: Path, at: int) -> None:
    """Step through the objects of one heap as the library does."""
    with path.open("rb") as file:
        file.seek(at + len(_MARK))
        raw = file.read(8)
        size = struct.unpack("<Q", raw)[0] if len(raw) == 8 else 0
        file.seek(at)
        heap = file.read(min(size, path.stat().st_size))
    place = _HEAP
    while place + _OBJECT <= len(heap):
        index, _, _, length = struct.unpack_from("<HHIQ", heap, place)
        step = length if index == 0 else _OBJECT + -(-length // 8) * 8
        if step == 0 or step > len(heap):
            raise InputError(f"{path} is damaged: a heap of its texts does not end; copy it again.")
        place += step
