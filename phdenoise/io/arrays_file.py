"""Arrays with units as a NeXus file, for what is no movie: maps, positions, rates."""

from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from phdenoise.io.native_groups import write_array


def write_arrays(path: Path, arrays: Mapping[str, tuple[np.ndarray, str]], title: str) -> None:
    """Write arrays under /entry; each has a group of its own class, and the first is the default plot.

    Args:
        path: HDF5 file.
        arrays: name, such as "columns/position" -> values and unit.
        title: of the file.
    """
    with h5py.File(path, "w") as file:
        file.attrs.update(NX_class="NXroot", default="entry", creator="phdenoise")
        entry = file.create_group("entry")
        entry.attrs["NX_class"] = "NXentry"
        entry["title"] = title
        for name, (values, unit) in arrays.items():
            group_name, _, last = name.rpartition("/")
            group = entry.require_group(group_name or "maps")
            if "NX_class" not in group.attrs:
                group.attrs.update(NX_class="NXdata", signal=last)
                entry.attrs.setdefault("default", group_name or "maps")
            stored = values.astype(np.float32) if values.dtype == float else values
            write_array(group, last, stored, unit)
