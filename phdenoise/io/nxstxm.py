"""Scans of X-ray microscopes in NeXus, application definition NXstxm: a group of NXdata for each detector.

    ENTRY/definition = "NXstxm",   ENTRY/DATA/{data [e, y, x], energy, sample_y, sample_x, stxm_scan_type}

The NeXus definition: manual.nexusformat.org, NXstxm; Könnecke et al., doi:10.1107/S1600576714027575.
"""

from typing import Any

import h5py
import numpy as np

from phdenoise.io import units
from phdenoise.io.source import Source

_LINES = ("point", "line", "spectrum")


def stxm_signal(file: h5py.File) -> h5py.Dataset | None:
    """The images of the first detector of the only NXstxm entry; None in any other file."""
    entries = [g for g in file.values() if isinstance(g, h5py.Group) and _is_stxm(g)]
    if len(entries) != 1:
        return None
    for group in entries[0].values():
        if isinstance(group, h5py.Group) and _word(group.attrs.get("NX_class")) == "NXdata":
            item = group.get("data")
            if isinstance(item, h5py.Dataset) and item.ndim in (2, 3):
                return item
    return None


def stxm_axes(item: h5py.Dataset, source: Source) -> None:
    """Energies as times, and the pixel size, where the file names them as NXstxm does and nothing else gave them."""
    group = item.parent
    if not ("stxm_scan_type" in group or _is_stxm(group.parent)):
        return
    kind = _word(group["stxm_scan_type"][()]) if "stxm_scan_type" in group else ""
    if any(word in kind for word in _LINES):
        source.notes.append(f"The scan is a '{kind}': its axes are not those of an image.")
    energy = group.get("energy")
    if source.times is None and item.ndim == 3 and _fits(energy, item.shape[0]):
        values = np.asarray(energy[()], float)
        if np.all(np.diff(values) > 0):
            source.times, source.time_unit = values, "eV"
    y, x = group.get("sample_y"), group.get("sample_x")
    if source.pixel_size is None and _fits(y, item.shape[-2]) and _fits(x, item.shape[-1]):
        steps = [_step(np.asarray(axis[()], float)) for axis in (y, x)]
        unit = _word(x.attrs.get("units")) or "um"
        if all(steps):
            source.pixel_size, source.length_unit = (steps[0], steps[1]), units.length_unit(unit)


def _is_stxm(group: h5py.Group) -> bool:
    definition = group.get("definition")
    return isinstance(definition, h5py.Dataset) and _word(definition[()]) == "NXstxm"


def _fits(axis: Any, size: int) -> bool:
    return isinstance(axis, h5py.Dataset) and axis.shape == (size,) and axis.dtype.kind in "iuf"


def _step(axis: np.ndarray) -> float:
    return abs(float(axis[-1] - axis[0])) / (axis.size - 1) if axis.size > 1 else 0.0


def _word(value: Any) -> str:
    if isinstance(value, np.ndarray):
        value = value.flat[0] if value.size else ""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")
