"""Scans of X-ray microscopes in NeXus, application definition NXstxm: a group of NXdata for each counter.

    ENTRY/definition = "NXstxm",   ENTRY/COUNTER/{data [e, y, x], energy, sample_y, sample_x, count_time, stxm_scan_type}

The NeXus definition: manual.nexusformat.org, NXstxm; Könnecke et al., doi:10.1107/S1600576714027575. The files of ALS (.stxm) name
their groups alike and put the lattice of the scan into ENTRY/default or ENTRY/binned_values.
"""

from dataclasses import dataclass
from itertools import permutations
from typing import Any

import h5py
import numpy as np

from phdenoise.io import units
from phdenoise.io.acquisition import Acquisition, parse_clock
from phdenoise.io.readers.scans import set_frame_axis, set_other_axis, set_pixels
from phdenoise.io.source import Source
from phdenoise.types import InputError

_NO_IMAGE = ("point", "line", "spectr", "focus", "osa", "detector", "motor")
_ENERGY = ("energy", "photon_energy")
# Groups that hold the images on the lattice of the scan where others hold raw samples of the same scan.
_PREFERRED = ("default", "binned_values")
# Names of the same quantity in the files of different beamlines.
_EXPOSURE = ("count_time", "dwell", "dwell_time", "exposure_time")
_CURRENT = ("ring_current", "storage_ring_current", "current")
_POLARISATION = ("polarization", "polarisation", "incident_polarization", "epu_polarization")
# Groups below an entry that are looked through for a quantity: instrument / device / quantity.
_DEPTH = 3


@dataclass(frozen=True)
class Scan:
    """How the images of a scan lie in their dataset.

    Attributes:
        source: what the file says; its array is a stand-in.
        shape: of the dataset, where points lie one after the other and their lattice must be restored; else None.
        axes: position of the frame, row and column axis in the dataset; without the first for one image.
        order: of the frames.
    """

    source: Source
    shape: tuple[int, ...] | None
    axes: tuple[int, ...]
    order: np.ndarray

    @property
    def as_stored(self) -> bool:
        """Whether the dataset is [t, y, x] in order."""
        in_order = bool(np.all(np.diff(self.order) == 1))
        return self.shape is None and self.axes == (0, 1, 2) and in_order

    def images(self, array: np.ndarray) -> np.ndarray:
        """The dataset as images [t, y, x] or [y, x] in the order of the frame axis."""
        array = array if self.shape is None else array.reshape(self.shape)
        array = array.transpose(self.axes)
        return array[self.order] if array.ndim == 3 and self.order.size == len(array) else array


def stxm_signal(file: h5py.File, label: str) -> h5py.Dataset | None:
    """The images of the only counter of the only scan in a file; None in a file that is no NXstxm.

    Args:
        file: open.
        label: names the file in messages.

    Returns:
        The dataset, or None.

    Raises:
        InputError: several entries or counters, none of which is the default.
    """
    entries = [g for g in file.values() if isinstance(g, h5py.Group) and _is_stxm(g)]
    groups = [g for entry in entries for g in _counters(entry)]
    if not groups:
        return None
    if len(groups) > 1:
        listed = ", ".join(f"{label}::{g.name}/data" for g in groups)
        raise InputError(f"{label} holds {len(groups)} counters or regions: pick one of {listed}.")
    return groups[0]["data"]


def stxm_scan(item: h5py.Dataset) -> Scan | None:
    """How the images of a scan lie in a dataset, and what the file says of them.

    Args:
        item: dataset of the images.

    Returns:
        The scan; None for a dataset that belongs to none.

    Raises:
        InputError: a scan that is no image of the sample, or whose points make no lattice.
    """
    group = item.parent
    over_energies = item.ndim == 3 and any(_vector(group.get(n)) is not None for n in _ENERGY)
    if not (over_energies or "stxm_scan_type" in group or _is_stxm(group.parent)):
        return None
    kind = _word(group["stxm_scan_type"][()]) if "stxm_scan_type" in group else ""
    if any(word in kind.lower() for word in _NO_IMAGE):
        raise InputError(
            f"{item.file.filename}::{item.name} is a '{kind}': an image or a stack of images of the sample is needed."
        )
    source = Source(np.empty((0, 0, 0), item.dtype))
    y, x = (_position(group, name) for name in "yx")
    shape, y, x = _lattice(item, y, x)
    sizes = item.shape if shape is None else shape
    frame_name, frames, unit = _frame_axis(group, sizes, y, x)
    letters = _letters(item, sizes, frames, y, x, frame_name, source.notes)
    axes = tuple(letters.index(a) for a in ("TYX" if "T" in letters else "YX"))
    count = sizes[axes[0]] if len(axes) == 3 else 1
    source.acquisition = _acquisition(group, count, frames if frame_name in _ENERGY else None, unit)
    order = np.arange(count)
    if frames is not None and count > 1 and frame_name not in _ENERGY:
        order = set_other_axis(source, frames, frame_name, unit)
    elif count > 1:
        found = set_frame_axis(source)
        order = found if found.size == count else order
    if y is not None and x is not None:
        set_pixels(source, y, x, _unit(group, "sample_x") or _unit(group, "x"))
    return Scan(source, shape, axes, order)


def _counters(entry: h5py.Group) -> list[h5py.Group]:
    """Groups of an entry that hold images: the default one alone, where there is one."""
    found = [
        g
        for g in entry.values()
        if isinstance(g, h5py.Group)
        and isinstance(g.get("data"), h5py.Dataset)
        and g["data"].ndim in (2, 3)
        and ("stxm_scan_type" in g or _word(g.attrs.get("NX_class")) == "NXdata")
    ]
    named = _word(entry.attrs.get("default"))
    for name in (named, *_PREFERRED):
        chosen = [g for g in found if g.name.rsplit("/", 1)[-1] == name]
        if chosen:
            return chosen
    varying = [g for g in found if _varies(g["data"])]
    return varying or found


def _varies(item: h5py.Dataset) -> bool:
    """Whether the last image, or line of points, is not constant: an unconnected counter is."""
    values = np.asarray(item[-1])
    return bool(np.any(values != values.flat[0])) if values.size else False


def _lattice(
    item: h5py.Dataset, y: np.ndarray | None, x: np.ndarray | None
) -> tuple[tuple[int, ...] | None, np.ndarray | None, np.ndarray | None]:
    """Shape, rows and columns of a scan whose points lie one after the other; as they are for any other."""
    points = item.shape[-1]
    if y is None or x is None or y.size != points or x.size != points or points < 2:
        return None, y, x
    if item.ndim == 3 or (item.ndim == 2 and item.shape[0] == points):
        return None, y, x
    rows = 1 + int(np.count_nonzero(np.diff(y)))
    columns = points // rows
    even = rows * columns == points
    if not even or np.any(y.reshape(rows, columns) != y[::columns, None]) or np.any(x.reshape(rows, columns) != x[None, :columns]):  # fmt: skip
        raise InputError(
            f"{item.file.filename}::{item.name} lists {points} points that make no lattice of rows and columns: an image is needed."
        )
    return (*item.shape[:-1], rows, columns), y[::columns], x[:columns]


def _frame_axis(
    group: h5py.Group, sizes: tuple[int, ...], y: np.ndarray | None, x: np.ndarray | None
) -> tuple[str, np.ndarray | None, str]:
    """Name, values and unit of what changes from frame to frame: energy where the file has one, else what it names."""
    names = [_word(n) for n in np.atleast_1d(group.attrs.get("axes", []))]
    others = [n for n in names if n not in (".", "") and _letter(n) == "T"]
    for name in (*others, *_ENERGY):
        values = _vector(group.get(name))
        if values is not None and (values.size in sizes or values.size == 1):
            return name, values, _unit(group, name)
    return (others[0] if others else ""), None, ""


def _letters(
    item: h5py.Dataset,
    sizes: tuple[int, ...],
    frames: np.ndarray | None,
    y: np.ndarray | None,
    x: np.ndarray | None,
    frame_name: str,
    notes: list[str],
) -> str:
    """One letter an axis: as the file names them, else as the lengths of the axes say, else [t, y, x]."""
    names = [_word(n) for n in np.atleast_1d(item.parent.attrs.get("axes", []))]
    named = "".join(_letter(n) for n in names)
    usual = "TYX"[-len(sizes) :]
    if len(named) == len(sizes) and sorted(named) == sorted(usual):
        return named
    if len(sizes) not in (2, 3):
        raise InputError(
            f"{item.file.filename}::{item.name} has the axes {', '.join(names) or sizes}: a movie has rows, columns and one "
            "axis of frames; save one part of it."
        )
    length = {"T": frames, "Y": y, "X": x}

    def fits(letters: str) -> bool:
        known = ((length[a], n) for a, n in zip(letters, sizes, strict=True))
        return all(v is None or v.size == n or (v.size == 1 and a == "T") for a, (v, n) in zip(letters, known, strict=True))  # fmt: skip

    if fits(usual):
        return usual
    possible = [p for p in map("".join, permutations(usual)) if fits(p)]
    if len(possible) != 1:
        raise InputError(
            f"{item.file.filename}::{item.name} has shape {item.shape}, which does not fit its {frame_name or 'frames'}, sample_y "
            "and sample_x: it is no image."
        )
    notes.append(f"By their lengths the axes are {possible[0]}.")
    return possible[0]


def _letter(name: str) -> str:
    """Y or X of a position of the sample, T of anything else."""
    return {"sample_y": "Y", "y": "Y", "sample_x": "X", "x": "X"}.get(name.lower(), "T")


def _acquisition(
    group: h5py.Group, count: int, energy: np.ndarray | None, unit: str
) -> Acquisition:
    """What an entry says of its images, each value once or for every frame."""
    entry = group.parent
    if energy is None:
        name = next((n for n in _ENERGY if n in group), "")
        energy, unit = _vector(group.get(name or " ")), _unit(group, name)
    factor = units.electronvolts(unit) if unit else 1.0
    exposure, current, polarisation = (
        _quantity(group, entry, names, count) for names in (_EXPOSURE, _CURRENT, _POLARISATION)
    )
    started = parse_clock(_word(entry["start_time"][()])) if "start_time" in entry else np.nan
    return Acquisition(
        energy=energy * factor if energy is not None and factor and energy.size in (1, count) else None,
        exposure=exposure,
        current=current,
        polarisation=polarisation,
        started=np.array([started]) if np.isfinite(started) else None,
        counter=group.name.rsplit("/", 1)[-1],
    )  # fmt: skip


def _quantity(
    group: h5py.Group, entry: h5py.Group, names: tuple[str, ...], count: int
) -> np.ndarray | None:
    """A quantity beside the images or in the instrument, in s or mA where its unit says so."""
    item = next((group[n] for n in names if n in group), None)
    item = _below(entry, names, _DEPTH) if item is None else item
    values = _vector(item)
    if (
        item is None
        or values is None
        or values.size not in (1, count)
        or not np.isfinite(values).any()
    ):
        return None
    factors = {**units.SECONDS, "A": 1e3, "a": 1e3}
    return values * factors.get(units.time_unit(_word(item.attrs.get("units"))), 1.0)


def _below(group: h5py.Group, names: tuple[str, ...], depth: int) -> h5py.Dataset | None:
    """The first dataset of one of some names in the groups below; other scans' data is left out."""
    for child in group.values():
        if not isinstance(child, h5py.Group) or "data" in child:
            continue
        found = next((child[n] for n in names if isinstance(child.get(n), h5py.Dataset)), None)
        if found is None and depth > 1:
            found = _below(child, names, depth - 1)
        if found is not None:
            return found
    return None


def _is_stxm(group: h5py.Group) -> bool:
    """Whether a group is an entry of NXstxm, by its definition or by what its groups hold."""
    definition = group.get("definition")
    if isinstance(definition, h5py.Dataset) and _word(definition[()]) == "NXstxm":
        return True
    return any(isinstance(g, h5py.Group) and "stxm_scan_type" in g for g in group.values())


def _position(group: h5py.Group, name: str) -> np.ndarray | None:
    """Positions of the rows (y) or columns (x)."""
    found = _vector(group.get(f"sample_{name}"))
    return _vector(group.get(name)) if found is None else found


def _vector(item: Any) -> np.ndarray | None:
    """Numbers of a scalar or an axis."""
    if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "iuf" or item.ndim > 1:
        return None
    return np.atleast_1d(np.asarray(item[()], float))


def _unit(group: h5py.Group, name: str) -> str:
    item = group.get(name or " ")
    return _word(item.attrs.get("units")) if isinstance(item, h5py.Dataset) else ""


def _word(value: Any) -> str:
    if isinstance(value, np.ndarray):
        value = value.flat[0] if value.size else ""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")
