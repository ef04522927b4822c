"""Formats of electron microscopes and of neutron and astronomy cameras, by optional packages."""

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from phdenoise.io import units
from phdenoise.io.source import Source
from phdenoise.types import InputError

_READERS = {
    ".mrc": "rsciio.mrc",
    ".dm3": "rsciio.digitalmicrograph",
    ".dm4": "rsciio.digitalmicrograph",
    ".emd": "rsciio.emd",
}


def read_em(path: Path, dataset: str | None) -> Source:
    """MRC, DM3, DM4 and EMD by RosettaSciIO; a number after '::' picks one of several signals."""
    reader = _require(_READERS[path.suffix.lower()], "em", path)
    signals = [s for s in reader.file_reader(str(path)) if np.ndim(s["data"]) >= 2]
    signal = signals[_pick([str(np.shape(s["data"])) for s in signals], path, dataset)]
    source = Source(np.asarray(signal["data"]), dataset=dataset)
    axes: list[dict[str, Any]] = sorted(signal["axes"], key=lambda a: a.get("index_in_array", 0))
    y, x = axes[-2:]
    if units.length_unit(str(x.get("units") or "")) != "px" and y.get("scale") and x.get("scale"):
        source.pixel_size = abs(float(y["scale"])), abs(float(x["scale"]))
        source.length_unit = units.length_unit(str(x["units"]))
    if len(axes) == 3 and units.time_unit(str(axes[0].get("units") or "")) in ("s", "ms", "min"):
        source.frame_interval = abs(float(axes[0]["scale"]))
        source.time_unit = units.time_unit(str(axes[0]["units"]))
    return source


def read_fits(path: Path, dataset: str | None) -> Source:
    """FITS by astropy; a number after '::' picks one of several images."""
    fits = _require("astropy.io.fits", "neutron", path)
    with fits.open(path, memmap=False) as units_:
        images = [u for u in units_ if u.is_image and u.data is not None and u.data.ndim >= 2]
        image = images[_pick([str(u.data.shape) for u in images], path, dataset)]
        return Source(np.asarray(image.data), dataset=dataset)


def _require(module: str, extra: str, path: Path) -> ModuleType:
    try:
        return import_module(module)
    except ImportError as error:
        raise InputError(
            f"{path}: reading {path.suffix} needs an optional package: "
            f"pip install 'phdenoise[{extra}]'."
        ) from error


def _pick(shapes: list[str], path: Path, dataset: str | None) -> int:
    if dataset is None and len(shapes) == 1:
        return 0
    if dataset is not None and dataset.isdigit() and int(dataset) < len(shapes):
        return int(dataset)
    raise InputError(
        f"{path} holds {len(shapes)} images ({', '.join(shapes) or 'none'}): pick one by its number, "
        f"{path}::0 to ::{max(len(shapes) - 1, 0)}."
    )
