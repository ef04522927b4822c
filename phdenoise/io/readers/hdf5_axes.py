"""Axes of an HDF5 dataset: times or energies, pixel size and channels, from NeXus, netCDF or a dataset beside it."""

from typing import Any

import h5py
import numpy as np

from phdenoise.io import units
from phdenoise.io.readers.hdf5_tree import Tree
from phdenoise.io.source import TIME_NAMES, Source

# Names of axes along rows and columns in the conventions of NeXus, NXstxm and netCDF.
_ROWS = ("y", "sample_y", "row", "rows", "height", "y_axis", "axis_y", "dim_y")
_COLUMNS = ("x", "sample_x", "column", "columns", "width", "x_axis", "axis_x", "dim_x")
_TIMES = ("time", "times", "t", "frame", "frames")
# Numbers of an axis that is read at most: more frames than any camera has recorded.
_LONGEST_AXIS = 10_000_000
# Deviation of the steps of an axis from their mean that counts as rounding.
_UNEVEN = 1e-3


def read_axes(tree: Tree, item: h5py.Dataset, group: h5py.Group, source: Source) -> None:
    """Times, pixel size and channels from named axes, or times from a dataset called time beside the movie.

    Args:
        tree: the open file.
        item: dataset of the movie.
        group: in which it was found.
        source: changed in place.
    """
    names = _names(item, group)
    letters = _letters(names)
    source.axes = letters if letters not in ("", "YX", "TYX") else ""
    axes = [_axis(tree, item, group, name, k) for k, name in enumerate(names)]
    frame = letters.find("T") if letters else 0
    _read_channels(letters, axes, source)
    if item.ndim > 2 and frame >= 0:
        named = axes[frame] if axes else None
        if named is not None and not _is_frame_axis(names[frame], named):
            named = None
        beside = [tree.get(group, n) for n in TIME_NAMES if not axes]
        time = next((t for t in [named, *beside] if isinstance(t, h5py.Dataset)), None)
        if time is not None and _is_numbers(time, item.shape[frame]):
            source.times = np.asarray(time[()], np.float64)
            source.time_unit = _time_unit(time)
    rows, columns = (letters.find("Y"), letters.find("X")) if letters else (-2, -1)
    if len(axes) == item.ndim and (item.ndim in (2, 3) or source.axes):
        _read_pixel_size(axes[rows], axes[columns], source)


def _names(item: h5py.Dataset, group: h5py.Group) -> list[str]:
    """Names of the axes: of the NXdata group, of the dataset (older NeXus), or of netCDF dimensions; [] without."""
    for owner in (group, item.parent):
        names = [text(n) for n in np.atleast_1d(owner.attrs.get("axes", []))]
        if len(names) == item.ndim:
            return names
    older = text(item.attrs.get("axes")).replace("[", "").replace("]", "").replace(",", ":")
    if older.count(":") == item.ndim - 1 and item.ndim > 1:
        return older.split(":")
    try:
        scales = [next(iter(d.keys()), "") for d in item.dims]
    except (RuntimeError, KeyError, ValueError):  # scales that are not there
        return []
    return [name.rsplit("/", 1)[-1] for name in scales] if all(scales) else []


def _letters(names: list[str]) -> str:
    """One letter an axis where rows and columns are named; of a fourth axis beside time, C."""
    plain = [n.lower().strip() for n in names]
    letters = ["Y" if n in _ROWS else "X" if n in _COLUMNS else "T" if n in _TIMES else "?" for n in plain]  # fmt: skip
    if letters.count("?") == 1:
        letters[letters.index("?")] = "C" if "T" in letters else "T"
    found = "".join(letters)
    return found if sorted(found) in (["X", "Y"], ["T", "X", "Y"], ["C", "T", "X", "Y"]) else ""


def _axis(tree: Tree, item: h5py.Dataset, group: h5py.Group, name: str, k: int) -> Any:
    """The 1-D dataset of an axis, or None."""
    if name in ("", "."):
        return None
    found = tree.get(group, name)
    found = tree.get(item.parent, name) if found is None else found
    return found if isinstance(found, h5py.Dataset) and found.shape == (item.shape[k],) else None


def _is_frame_axis(name: str, axis: h5py.Dataset) -> bool:
    """Whether an axis has times or energies, by its name or unit."""
    unit = text(units.unit_of(axis.attrs))
    return (
        name.lower() in [n.lower() for n in TIME_NAMES]
        or "energy" in name.lower()
        or units.time_unit(unit.split(" since ")[0]) in ("s", "ms", "us", "min", "h")
        or unit.lower() in ("ev", "kev")
    )


def _is_numbers(axis: h5py.Dataset, count: int) -> bool:
    return axis.shape == (count,) and axis.dtype.kind in "iuf" and count <= _LONGEST_AXIS


def _time_unit(axis: h5py.Dataset) -> str | None:
    """Unit of a frame axis: its own, without the date that netCDF counts from; eV for an energy without one."""
    unit = text(units.unit_of(axis.attrs)).split(" since ")[0]
    if unit:
        return units.time_unit(unit)
    return "eV" if "energy" in axis.name.rsplit("/", 1)[-1].lower() else None


def _read_pixel_size(rows: Any, columns: Any, source: Source) -> None:
    if rows is None or columns is None:
        return
    steps = [_step(axis) for axis in (rows, columns)]
    unit = text(units.unit_of(columns.attrs))
    if unit and steps[0] and steps[1] and unit == text(units.unit_of(rows.attrs)):
        source.pixel_size = (steps[0], steps[1])
        source.length_unit = units.length_unit(unit)


def _read_channels(letters: str, axes: list[Any], source: Source) -> None:
    """Names or energies of the channels of four named axes."""
    axis = axes[letters.index("C")] if "C" in letters else None
    if axis is None or len(axis) > _LONGEST_AXIS:
        return
    unit = text(units.unit_of(axis.attrs))
    numbers = axis.dtype.kind in "iuf"
    source.channels = tuple(f"{v:g} {unit}".strip() if numbers else text(v) for v in axis[()])


def _step(axis: h5py.Dataset) -> float:
    """Spacing of a uniform axis; 0 where it has none."""
    if axis.dtype.kind not in "iuf" or axis.size < 2 or axis.size > _LONGEST_AXIS:
        return 0.0
    steps = np.diff(np.asarray(axis[()], np.float64))
    mean = float(steps.mean())
    return abs(mean) if np.allclose(steps, mean, rtol=_UNEVEN, atol=0) else 0.0


def text(value: Any) -> str:
    """An attribute as text: HDF5 has text, bytes, and arrays of one of either."""
    if isinstance(value, np.ndarray):
        value = value.flat[0] if value.size == 1 else ""
    if value is None or isinstance(value, h5py.Empty):
        return ""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
