"""Files of coherent X-ray imaging, .cxi: HDF5 with numbered entries, data and images.

    entry_1/data_1/data [t, y, x],   entry_1/image_1/{data [y, x], image_size},   entry_1/instrument_1/source_1/energy [J]

The format: F. Maia, doi:10.1038/nmeth.2110.
"""

import h5py
import numpy as np

from phdenoise.io import units
from phdenoise.io.acquisition import Acquisition
from phdenoise.io.source import Source


def cxi_signal(file: h5py.File) -> h5py.Dataset | None:
    """The images of the first entry, else its first reconstruction; None in a file of another kind."""
    if "cxi_version" not in file:
        return None
    for name in ("entry_1/data_1/data", "entry_1/image_1/data"):
        item = file.get(name)
        if isinstance(item, h5py.Dataset) and item.ndim >= 2:
            return item
    return None


def cxi_axes(item: h5py.Dataset, source: Source) -> None:
    """Add photon energy [eV] and, for a reconstruction, the pixel size [m].

    Args:
        item: dataset of the images.
        source: changed in place.
    """
    if "cxi_version" not in item.file:
        return
    energy = item.file.get("entry_1/instrument_1/source_1/energy")
    if isinstance(energy, h5py.Dataset) and energy.size == 1:
        joules = np.ravel(np.asarray(energy[()], float))
        source.acquisition = Acquisition(energy=joules * units.ELECTRONVOLTS_PER_JOULE)
    size = item.parent.get("image_size")
    if isinstance(size, h5py.Dataset) and size.size >= 2 and source.pixel_size is None:
        x, y = (float(v) for v in np.ravel(size[()])[:2])
        if x > 0 and y > 0:
            source.pixel_size = (y / item.shape[-2], x / item.shape[-1])
            source.length_unit = "m"
