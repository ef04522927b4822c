"""Where the numbers of an HDF5 dataset are stored, and which of them were ever written.

Space for chunks that were never written is not allocated (HDF5 user guide, "Data storage properties"); they read as the fill
value, as do the parts of a virtual dataset whose source is missing.
"""

import math
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

from phdenoise.io.limits import check_inside, check_size, elsewhere, follows
from phdenoise.io.readers.hdf5_tree import Tree, identity
from phdenoise.types import InputError

# Virtual datasets that the numbers of one may pass through.
_MOST_LEVELS = 8

Recorded = Callable[[tuple[slice, ...]], np.ndarray]
"""Which elements of a window of a dataset were written."""


class Storage:
    """What is known of where the datasets of one file are stored."""

    def __init__(self, tree: Tree):
        self._tree = tree
        self._sizes: dict[tuple[int, int], float] = {}

    def check(self, item: h5py.Dataset, label: str, level: int = 0) -> float:
        """Refuse a dataset whose numbers lie elsewhere or cannot be unpacked.

        Args:
            item: dataset of the movie.
            label: names the dataset in messages.
            level: virtual datasets that led here.

        Returns:
            Size of what is stored [bytes].

        Raises:
            InputError: external storage or absolute sources that were not asked for, a virtual dataset that leads to itself, or
                a codec that is not installed.
        """
        key = identity(item)
        if key in self._sizes:
            return self._sizes[key]
        plist = item.id.get_create_plist()
        if plist.get_layout() == h5py.h5d.CONTIGUOUS and plist.get_external_count() and not follows():  # fmt: skip
            raise elsewhere(label, _text(plist.get_external(0)[0]))
        if item.is_virtual:
            size = self._check_sources(item, label, level)
        else:
            _check_filters(plist, label)
            size = float(item.id.get_storage_size()) + sum(size for _, _, size in item.external or ())  # fmt: skip
        if item.chunks is not None and not item.is_virtual:
            # A chunk is unpacked whole, and may be larger than the dataset.
            check_size(label, item.chunks, item.dtype, size)
        self._sizes[key] = size
        return size

    def _check_sources(self, item: h5py.Dataset, label: str, level: int) -> float:
        if level >= _MOST_LEVELS:
            raise InputError(f"{label} is a virtual dataset that leads to itself: correct the file.")  # fmt: skip
        size = 0.0
        for source in item.virtual_sources():
            check_inside(label, source.file_name)
            found = self._source(item, source)
            size += 0.0 if found is None else self.check(found, label, level + 1)
        return size

    def _source(self, item: h5py.Dataset, source: Any) -> h5py.Dataset | None:
        """A source of a virtual dataset, or None where it is not there."""
        file = item.file
        if source.file_name != ".":
            file = self._tree.beside(item.file, source.file_name)
        found = None if file is None else self._tree.get(file["/"], source.dset_name)
        return found if isinstance(found, h5py.Dataset) else None

    def recorded(self, item: h5py.Dataset) -> Recorded | None:
        """Where a dataset was written.

        Args:
            item: dataset of the movie.

        Returns:
            A function of a window; None where everything was written.
        """
        if item.is_virtual:
            return self._recorded_sources(item)
        if item.chunks is not None:
            return _recorded_chunks(item)
        empty = item.id.get_space_status() == h5py.h5d.SPACE_STATUS_NOT_ALLOCATED
        compact = item.id.get_create_plist().get_layout() == h5py.h5d.COMPACT
        return _nowhere if empty and not compact and not item.external else None

    def _recorded_sources(self, item: h5py.Dataset) -> Recorded | None:
        """Where the sources of a virtual dataset exist and were written."""
        check_size(f"{self._tree.path}::{item.name}", item.shape, np.dtype(bool), math.inf)
        there = np.zeros(item.shape, bool)
        for source in item.virtual_sources():
            if "%b" in source.file_name + source.dset_name:  # a series of files, of any number
                there[...] = True
                continue
            found = self._source(item, source)
            if found is not None:
                _fill(there, source, found.shape, self.recorded(found))
        return None if there.all() else lambda window: there[window]


def _check_filters(plist: Any, label: str) -> None:
    """Every codec of a dataset is installed, or hdf5plugin has it."""
    for n in range(plist.get_nfilters()):
        code, _, _, name = plist.get_filter(n)
        if h5py.h5z.filter_avail(code):
            continue
        words = _text(name).split(";")[0].split("/")[0].strip() or f"HDF5 filter {code}"
        try:
            import hdf5plugin
        except ImportError as error:
            raise InputError(
                f"{label} is packed with {words}, which needs an optional package: pip install hdf5plugin "
                "(or 'phdenoise[codecs]')."
            ) from error
        if not h5py.h5z.filter_avail(code):
            raise InputError(
                f"{label} is packed with {words} (HDF5 filter {code}), which hdf5plugin {hdf5plugin.version} does not have: "
                "install its HDF5 plugin, or unpack the file with h5repack -f NONE."
            )


def _nowhere(window: tuple[slice, ...]) -> np.ndarray:
    return np.zeros([s.stop - s.start for s in window], bool)


def _recorded_chunks(item: h5py.Dataset) -> Recorded | None:
    """Where chunks were written, without the end of the last one where recording stopped."""
    chunks = item.chunks
    sizes = [-(-n // c) for n, c in zip(item.shape, chunks, strict=True)]
    if item.id.get_num_chunks() >= math.prod(sizes):
        return None
    check_size(item.name, tuple(sizes), np.dtype(bool), math.inf)
    grid = np.zeros(sizes, bool)

    def mark(chunk: Any) -> None:
        at = tuple(o // c for o, c in zip(chunk.chunk_offset, chunks, strict=True))
        if all(k < n for k, n in zip(at, sizes, strict=True)):
            grid[at] = True

    item.id.chunk_iter(mark)
    if grid.all():
        return None
    end = _end(item, grid)

    def written(window: tuple[slice, ...]) -> np.ndarray:
        places = [np.arange(s.start, s.stop) for s in window]
        found = grid[np.ix_(*(p // c for p, c in zip(places, chunks, strict=True)))]
        if end is not None:
            frame, row = end
            found[places[0] > frame] = False
            found[places[0] == frame, max(0, row - window[1].start) :] = False
        return found

    return written


def _end(item: h5py.Dataset, grid: np.ndarray) -> tuple[int, int] | None:
    """Frame and row after which nothing was recorded, where the last chunks of a movie [t, y, x] were never written.

    The last chunk that was written has the fill value from there on.
    """
    used = np.flatnonzero(grid.reshape(len(grid), -1).any(axis=1))
    if item.ndim != 3 or not used.size or used[-1] + 1 == len(grid):
        return None
    depth = item.chunks[0]
    for t in range(min((used[-1] + 1) * depth, len(item)) - 1, used[-1] * depth - 1, -1):
        frame = item[t]
        filled = frame == item.fillvalue
        if frame.dtype.kind == "f":
            filled |= np.isnan(frame) & np.isnan(item.fillvalue)
        rows = np.flatnonzero(~filled.all(axis=1))
        if rows.size:
            return int(t), int(rows[-1]) + 1
    return int(used[-1] * depth), 0


def _fill(there: np.ndarray, source: Any, shape: tuple[int, ...], written: Recorded | None) -> None:
    """Mark what one source of a virtual dataset gives."""
    goal, origin = _places(source.vspace, there.shape), _places(source.src_space, shape)
    if goal is None:  # an irregular selection is believed
        there[...] = True
        return
    whole = tuple(slice(0, n) for n in shape)
    given = np.ones(shape, bool) if written is None else written(whole)
    if origin is None or math.prod(map(len, origin)) != math.prod(map(len, goal)):
        there[np.ix_(*goal)] |= bool(given.all())
        return
    # What lies beyond the end of the source is not there.
    inside = [p < n for p, n in zip(origin, shape, strict=True)]
    taken = np.zeros([len(p) for p in origin], bool)
    taken[np.ix_(*inside)] = given[np.ix_(*(p[i] for p, i in zip(origin, inside, strict=True)))]
    there[np.ix_(*goal)] |= taken.reshape([len(p) for p in goal])


def _places(space: Any, shape: tuple[int, ...]) -> list[np.ndarray] | None:
    """Indices along each axis that a selection takes, where it is a product of such."""
    if space.get_select_type() == h5py.h5s.SEL_ALL:
        return [np.arange(n) for n in shape]
    if space.get_select_type() != h5py.h5s.SEL_HYPERSLABS or not space.is_regular_hyperslab():
        return None
    places = []
    for start, stride, count, block, size in zip(*space.get_regular_hyperslab(), shape, strict=True):  # fmt: skip
        last = max(size - start, 0)
        blocks, length = min(count, -(-last // max(stride, 1))), min(block, last)
        at = start + stride * np.arange(blocks)[:, None] + np.arange(length)[None]
        places.append(at[at < size])
    return places


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
