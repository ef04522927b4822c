"""HDF5 and NeXus: the named dataset, the NeXus default plot, or the only movie in the file.

Default plots: NeXus manual, section "find the plottable data", doi:10.1107/S1600576714027575.
"""

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from phdenoise.io import units
from phdenoise.io.native import FORMAT, read_extras, stored_mask
from phdenoise.io.nxstxm import stxm_axes, stxm_signal
from phdenoise.io.source import TIME_NAMES, Source
from phdenoise.types import InputError


def read_hdf5(path: Path, dataset: str | None) -> Source:
    """Read one dataset with its axes and units; see `phdenoise.io.read` for which."""
    with h5py.File(path, "r") as file:
        item = find(file, path, dataset)
        mask = stored_mask(file, item.name)
        source = describe(file, item)
        source.array = np.asarray(item[()])
        source.mask = None if mask is None else mask[()]
        return source


def find(file: h5py.File, path: Path, dataset: str | None) -> h5py.Dataset:
    """The named or the only movie of an open file."""
    item = _named(file, path, dataset) if dataset else _default(file, path)
    _check(item, f"{path}::{item.name}")
    return item


def describe(file: h5py.File, item: h5py.Dataset) -> Source:
    """What the file says about a dataset; the array is a stand-in without rows and columns."""
    source = Source(np.empty((item.shape[0], 0, 0), item.dtype), dataset=item.name)
    source.intensity_unit = _text(item.attrs.get("units")) or None
    _read_axes(item, source)
    stxm_axes(item, source)
    _read_boundary(item, source)
    if FORMAT in file.attrs:
        read_extras(file, item.name, source)
    return source


def _named(file: h5py.File, path: Path, dataset: str) -> h5py.Dataset:
    item = file.get(dataset)
    if isinstance(item, h5py.Group):
        signal = _signal(item)
        if signal is not None:
            return signal
    if not isinstance(item, h5py.Dataset):
        what = "is a group without a default signal" if item is not None else "does not exist"
        raise InputError(f"{path}::{dataset} {what}: the file holds {_listing(file)}.")
    return item


def _default(file: h5py.File, path: Path) -> h5py.Dataset:
    """Default plot, else the only numeric dataset with two or more axes."""
    item = _default_signal(file)
    item = stxm_signal(file) if item is None else item
    if item is not None and item.ndim >= 2:
        return item
    movies = [d for d in _datasets(file) if d.ndim >= 2 and d.dtype.kind in "biuf"]
    if len(movies) != 1:
        what = f"{len(movies)} datasets that could be the movie" if movies else "no movie"
        raise InputError(
            f"{path} holds {what} ({_listing(file)}): a movie needs real numbers [y, x] or "
            f"[t, y, x]; pick one with {path}::/path/to/dataset."
        )
    return movies[0]


def _default_signal(group: h5py.Group) -> h5py.Dataset | None:
    """Follow `default` attributes down to an NXdata; without them an only child of the right class."""
    for wanted in ("NXentry", "NXdata"):
        kind = _text(group.attrs.get("NX_class"))
        if kind == wanted:
            continue
        child = group.get(_text(group.attrs.get("default")) or " ")
        if not isinstance(child, h5py.Group):
            children = [
                c
                for c in _children(group)
                if isinstance(c, h5py.Group) and _text(c.attrs.get("NX_class")) == wanted
            ]
            if len(children) != 1:
                return None
            child = children[0]
        group = child
    return _signal(group)


def _signal(group: h5py.Group) -> h5py.Dataset | None:
    """The dataset that an NXdata group plots: its `signal`, or the older signal=1 on the dataset."""
    item = group.get(_text(group.attrs.get("signal")) or " ")
    if isinstance(item, h5py.Dataset):
        return item
    marked = (
        c
        for c in _children(group)
        if isinstance(c, h5py.Dataset) and str(c.attrs.get("signal")) in ("1", "b'1'")
    )
    return next(marked, None)


def _children(group: h5py.Group) -> list[Any]:
    """Members that exist: a link to nowhere is left out."""
    return [item for item in (group.get(name) for name in group) if item is not None]


def _datasets(file: h5py.File) -> list[h5py.Dataset]:
    found: list[h5py.Dataset] = []
    file.visititems(lambda _, item: found.append(item) if isinstance(item, h5py.Dataset) else None)
    return found


def _listing(file: h5py.File) -> str:
    names = [f"{d.name} {d.shape} {d.dtype}" for d in _datasets(file)]
    shown = names[:12] + [f"and {len(names) - 12} more"] * (len(names) > 12)
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


def _read_axes(item: h5py.Dataset, source: Source) -> None:
    """Times and pixel size from NeXus axes, or times from a sibling called time."""
    group = item.parent
    _read_channel_axis(item, source)
    names = [_text(n) for n in np.atleast_1d(group.attrs.get("axes", []))]
    named = names if len(names) == item.ndim else []
    axes = [group.get(n) if n not in ("", ".") else None for n in named]
    axes = [a if isinstance(a, h5py.Dataset) and a.ndim == 1 else None for a in axes]
    if item.ndim > 2:
        time = axes[0] if axes and named[0].lower() in [n.lower() for n in TIME_NAMES] else None
        sibling = next((group[n] for n in TIME_NAMES if not axes and n in group), None)
        time = sibling if time is None and isinstance(sibling, h5py.Dataset) else time
        if time is not None and time.shape == item.shape[:1] and time.dtype.kind in "iuf":
            source.times = np.asarray(time[()], np.float64)
            unit = _text(time.attrs.get("units"))
            energy = "energy" in time.name.rsplit("/", 1)[-1]
            source.time_unit = units.time_unit(unit) if unit else "eV" if energy else None
    if (
        axes
        and (item.ndim in (2, 3) or source.axes)
        and axes[-1] is not None
        and axes[-2] is not None
    ):
        steps = [_step(axis) for axis in axes[-2:]]
        unit = _text(axes[-1].attrs.get("units"))
        if unit and steps[0] and steps[1] and unit == _text(axes[-2].attrs.get("units")):
            source.pixel_size = (steps[0], steps[1])
            source.length_unit = units.length_unit(unit)


def _read_channel_axis(item: h5py.Dataset, source: Source) -> None:
    """Which of four named axes are time, rows and columns; the other one is the channel, with names or energies."""
    names = [_text(n).lower() for n in np.atleast_1d(item.parent.attrs.get("axes", []))]
    if item.ndim != 4 or len(names) != 4:
        return
    known = {"y": "Y", "x": "X", "time": "T", "times": "T"}
    letters = "".join(known.get(n, "C") for n in names)
    if sorted(letters) != ["C", "T", "X", "Y"]:
        return
    source.axes = letters
    axis = item.parent.get(names[letters.index("C")])
    if isinstance(axis, h5py.Dataset) and axis.shape == (item.shape[letters.index("C")],):
        unit = _text(axis.attrs.get("units"))
        numbers = axis.dtype.kind in "iuf"
        values = [f"{v:g} {unit}".strip() if numbers else _text(v) for v in axis[()]]
        source.channels = tuple(values)


def _read_boundary(item: h5py.Dataset, source: Source) -> None:
    """The condition at the frame edges, if the dataset or a group around it has an attribute for it."""
    places = [item, item.parent, item.file]
    said = next((_text(p.attrs["boundary"]) for p in places if "boundary" in p.attrs), None)
    if said in ("periodic", "no-flux"):
        source.stored = {"boundary": said}
    elif said is not None:
        source.notes.append(f"The boundary '{said}' is not known (periodic, no-flux): ignored.")


def _step(axis: h5py.Dataset) -> float:
    """Spacing of a uniform axis; 0 where it has none."""
    if axis.dtype.kind not in "iuf" or axis.size < 2:
        return 0.0
    values = np.asarray(axis[()], np.float64)
    steps = np.diff(values)
    mean = float(steps.mean())
    return abs(mean) if np.allclose(steps, mean, rtol=1e-3, atol=0) else 0.0


def _text(value: Any) -> str:
    """An attribute as text: HDF5 has text, bytes, and arrays of one of either."""
    if isinstance(value, np.ndarray):
        value = value.flat[0] if value.size == 1 else ""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")
