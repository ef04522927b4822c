"""HDF5, NeXus and netCDF: the named dataset, the NeXus default plot, or the only movie in the file.

Default plots: NeXus manual, section "find the plottable data", doi:10.1107/S1600576714027575. Several datasets of one group
that a detector numbered, `data_000001, data_000002 ...`, are one movie.
"""

import re
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from phdenoise.io import units
from phdenoise.io.limits import check_size
from phdenoise.io.native import read_extras, stored_mask
from phdenoise.io.native_groups import FORMAT
from phdenoise.io.readers.cxi import cxi_axes, cxi_signal
from phdenoise.io.readers.hdf5_axes import read_axes, text
from phdenoise.io.readers.hdf5_tree import Tree
from phdenoise.io.readers.hdf5_values import Stored, kept_frames
from phdenoise.io.readers.nxstxm import Scan, stxm_scan, stxm_signal
from phdenoise.io.source import Opened, Source, only_whole, stand_in, windows_of
from phdenoise.types import InputError

# Datasets, and characters of the name of one, that a message lists.
_LISTED, _LONGEST_NAME = 12, 60


def read_hdf5(path: Path, dataset: str | None) -> Source:
    """Read one dataset with its axes and units.

    Args:
        path: file.
        dataset: path of the dataset or of its group; None takes the NeXus default plot or the only movie.

    Returns:
        The dataset with times, pixel size, units and mask; NaN where nothing was recorded.

    Raises:
        InputError: no such dataset, several that could be the movie, or numbers that lie in a place that is not followed.
    """
    with ExitStack() as stack:
        tree = Tree(path, stack)
        found = _find(tree, dataset)
        first = found[0]
        label = f"{path}::{first.name}"
        stored = [Stored(tree, f.item, f.group, f"{path}::{f.name}") for f in found]
        shape = (sum(len(f.item) for f in found), *first.item.shape[1:])
        size = sum(s.check() for s in stored)
        check_size(label, shape, first.item.dtype, size)
        mask = stored_mask(tree.file, first.name)
        source, scan = _describe(tree, first)
        parts = [s.read() for s in stored]
        source.array = (
            np.concatenate([p.values for p in parts]) if len(parts) > 1 else parts[0].values
        )
        source.dtype = first.item.dtype.name if source.array.dtype != first.item.dtype else None
        for what in dict.fromkeys(name for p in parts for name in p.absent):
            none = np.zeros(1, bool)
            absent = [p.absent.get(what, np.broadcast_to(none, p.values.shape)) for p in parts]
            source.leave_out(np.concatenate(absent) if len(absent) > 1 else absent[0], what)
        source.notes += parts[0].notes
        source.mask = None if mask is None else mask[()]
        if len(found) > 1:
            source.times = None
            source.notes.append(f"{len(found)} datasets, {first.name} to {found[-1].name}, are one movie.")  # fmt: skip
        if scan is not None:
            source.array = scan.images(source.array)
        kept = kept_frames(tree, first.group, first.item, source)
        if kept is not None:
            source.array = source.array[kept]
            source.times = None if source.times is None else source.times[kept]
            source.acquisition = source.acquisition.taken(np.flatnonzero(kept))
        return source


def open_hdf5(path: Path, dataset: str | None, stack: ExitStack) -> Opened:
    """Open a dataset [t, y, x] to read windows of it.

    Args:
        path: file.
        dataset: as in `read_hdf5`.
        stack: closes the file.

    Returns:
        The open file.

    Raises:
        InputError: no such dataset, or one that can only be read whole.
    """
    tree = Tree(path, stack)
    found = _find(tree, dataset)
    first = found[0]
    if first.item.ndim != 3:
        raise only_whole(f"{path}::{first.name}")
    source, scan = _describe(tree, first)
    if len(found) > 1 or source.axes or (scan is not None and not scan.as_stored):
        raise only_whole(f"{path}::{first.name}")
    if kept_frames(tree, first.group, first.item, source) is not None:
        raise only_whole(f"{path}::{first.name}")
    stored = Stored(tree, first.item, first.group, f"{path}::{first.name}")
    check_size(
        f"{path}::{first.name}", (2, *first.item.shape[1:]), first.item.dtype, stored.check()
    )
    source.array = stand_in(first.item.shape[0], stored.dtype)
    mask = stored_mask(tree.file, first.name)
    valid = stored.valid()
    if mask is not None:
        valid = windows_of(mask if mask.ndim == 3 else mask[()])
    return Opened(source, first.item.shape, stored.values, valid)


class Found(NamedTuple):
    """A dataset, the group in which it was found, and its path from there."""

    item: h5py.Dataset
    group: h5py.Group
    name: str


def _find(tree: Tree, dataset: str | None) -> list[Found]:
    """The named or the only movie of an open file; several datasets that are one."""
    found = _named(tree, dataset) if dataset else _default(tree)
    for one in found:
        _check(one.item, f"{tree.path}::{one.name}")
    return found


def _describe(tree: Tree, found: Found) -> tuple[Source, Scan | None]:
    """What the file says about a dataset, and how an X-ray scan lies in it; the array is a stand-in without rows and columns."""
    item = found.item
    # Scans and CXI are sought by following links, which is safe where none leads out of the file.
    own = tree.closed and item.file == tree.file
    scan = stxm_scan(item) if own and FORMAT not in tree.file.attrs else None
    source = Source(stand_in(item.shape[0], item.dtype)) if scan is None else scan.source
    source.array, source.dataset = stand_in(item.shape[0], item.dtype), found.name
    source.intensity_unit = text(units.unit_of(item.attrs)) or None
    if scan is None:
        read_axes(tree, item, found.group, source)
    if scan is None and own:
        cxi_axes(item, source)
    _read_boundary(item, source)
    if FORMAT in tree.file.attrs:
        read_extras(tree.file, found.name, source)
    return source, scan


def _named(tree: Tree, dataset: str) -> list[Found]:
    item = tree.get(tree.file, f"/{dataset}")
    name = "/" + dataset.strip("/")
    if isinstance(item, h5py.Group):
        found = _signal(tree, item, name)
        if found is not None:
            return [found]
    if not isinstance(item, h5py.Dataset):
        what = "is a group without a default signal" if item is not None else "does not exist"
        raise InputError(f"{tree.path}::{dataset} {what}: the file holds {_listing(tree.datasets)}.")  # fmt: skip
    above = name.rpartition("/")[0]
    group = tree.get(tree.file, above or "/")
    return [Found(item, group, name)]


def _default(tree: Tree) -> list[Found]:
    """Default plot, else the only numeric dataset with two or more axes."""
    found = _default_signal(tree)
    if found is None and tree.closed:
        item = stxm_signal(tree.file, str(tree.path))
        item = cxi_signal(tree.file) if item is None else item
        found = None if item is None else Found(item, item.parent, item.name)
    if found is not None and found.item.ndim >= 2:
        return [found]
    every = tree.datasets
    movies = [
        Found(d, d.parent, name)
        for name, d in every
        if d.shape is not None and d.ndim >= 2 and d.dtype.kind in "biuf"
    ]
    if len(movies) > 1 and _numbered(movies):
        return sorted(movies, key=lambda m: int(re.split(r"(\d+)$", m.name)[1]))
    if not movies and tree.refused is not None:
        raise tree.refused
    if len(movies) != 1:
        what = f"{len(movies)} datasets that could be the movie" if movies else "no movie"
        raise InputError(
            f"{tree.path} holds {what} ({_listing(every)}): a movie needs real numbers [y, x] or "
            f"[t, y, x]; pick one with {tree.path}::/path/to/dataset."
        )
    return movies


def _numbered(movies: list[Found]) -> bool:
    """Whether datasets are parts of one movie: a name and a number with leading zeros, frames of one size and type."""
    names = [re.fullmatch(r"(.*\D)(0\d+|\d{6})", m.name) for m in movies]
    if not all(names) or len({n[1] for n in names if n}) > 1:
        return False
    kinds = {(m.item.ndim, m.item.shape[1:], m.item.dtype) for m in movies}
    return len(kinds) == 1 and movies[0].item.ndim == 3


def _default_signal(tree: Tree) -> Found | None:
    """Follow `default` attributes down to an NXdata; without them an only child of the right class."""
    group, path = tree.file["/"], ""
    for wanted in ("NXentry", "NXdata"):
        if text(group.attrs.get("NX_class")) == wanted:
            continue
        name = text(group.attrs.get("default"))
        child = tree.get(group, name) if name else None
        if not isinstance(child, h5py.Group):
            children = [
                (n, c)
                for n, c in tree.children(group)
                if isinstance(c, h5py.Group) and text(c.attrs.get("NX_class")) == wanted
            ]
            if len(children) != 1:
                return None
            name, child = children[0]
        group, path = child, f"{path}/{name}"
    return _signal(tree, group, path)


def _signal(tree: Tree, group: h5py.Group, path: str) -> Found | None:
    """The dataset that an NXdata group plots: its `signal`, or the older signal=1 on the dataset."""
    name = text(group.attrs.get("signal"))
    item = tree.get(group, name) if name else None
    if isinstance(item, h5py.Dataset):
        return Found(item, group, f"{path}/{name}")
    for name, child in tree.children(group):
        if isinstance(child, h5py.Dataset) and text(child.attrs.get("signal")) == "1":
            return Found(child, group, f"{path}/{name}")
    return None


def _listing(datasets: list[tuple[str, h5py.Dataset]]) -> str:
    """Names, shapes and number types for a message."""
    short = [(n if len(n) <= _LONGEST_NAME else f"...{n[-_LONGEST_NAME:]}", d) for n, d in datasets[:_LISTED]]  # fmt: skip
    shown = [f"{name} {d.shape} {d.dtype}" for name, d in short]
    shown += [f"and {len(datasets) - _LISTED} more"] * (len(datasets) > _LISTED)
    return ", ".join(shown) or "no dataset"


def _check(item: h5py.Dataset, label: str) -> None:
    if item.shape is None or item.dtype.kind not in "biuf":
        raise InputError(
            f"{label} holds {item.dtype if item.shape is not None else 'nothing'}: a movie needs real "
            "numbers; choose another dataset."
        )
    if item.ndim < 2:
        raise InputError(
            f"{label} has shape {item.shape}: a movie needs [y, x] or [t, y, x]; choose another dataset."
        )


def _read_boundary(item: h5py.Dataset, source: Source) -> None:
    """The condition at the frame edges, if the dataset or a group around it has an attribute for it."""
    places = [item, item.parent, item.file]
    said = next((text(p.attrs["boundary"]) for p in places if "boundary" in p.attrs), None)
    if said in ("periodic", "no-flux"):
        source.stored = {"boundary": said}
    elif said is not None:
        source.notes.append(f"The boundary '{said}' is not known (periodic, no-flux): ignored.")
