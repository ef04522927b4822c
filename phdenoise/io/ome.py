"""OME-TIFF (time of every plane) and OME-Zarr 0.4: a movie, or the mean and standard deviation of an estimate.

Goldberg et al., Genome Biology 6, R47 (2005), doi:10.1186/gb-2005-6-5-r47; Moore et al., Histochem. Cell Biol. 160, 223 (2023),
doi:10.1007/s00418-023-02209-1. What these formats have no place for (name, units of the intensity, times that are uneven,
provenance) is kept under `phdenoise`, and our reader gives it back.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from phdenoise.io.imagej import about
from phdenoise.io.jsonfile import plain, to_json
from phdenoise.io.readers.extras import require
from phdenoise.movie import Movie

# Names of the units in OME-XML, and in OME-Zarr (those of UDUNITS).
_LENGTHS = {"um": ("µm", "micrometer"), "nm": ("nm", "nanometer"), "mm": ("mm", "millimeter"), "m": ("m", "meter"), "Å": ("Å", "angstrom")}  # fmt: skip
_TIMES = {"s": ("s", "second"), "ms": ("ms", "millisecond"), "us": ("µs", "microsecond"), "min": ("min", "minute"), "h": ("h", "hour")}  # fmt: skip
# Rows and columns of a chunk at most [px]: a viewer loads a part of a large frame.
_CHUNK = 512


def write_ome_tiff(
    path: Path, movie: Movie, images: Mapping[str, np.ndarray], notes: Mapping[str, object]
) -> None:
    """Write images one after the other, each an OME image with its own planes.

    Args:
        path: file to write.
        movie: gives pixel size, times and units.
        images: name -> frames [t, y, x].
        notes: anything worth keeping.
    """
    told = to_json({**about(movie), **notes})
    # Above 2 GB the offsets of a plain TIFF may not reach.
    large = sum(f.nbytes for f in images.values()) > 2**31
    with tifffile.TiffWriter(path, ome=True, bigtiff=large) as file:
        for name, frames in images.items():
            metadata: dict[str, Any] = {
                "axes": "TYX",
                "Name": f"{movie.name} {name}".strip(),
                "Description": told,
            }
            if movie.length_unit in _LENGTHS:
                unit = _LENGTHS[movie.length_unit][0]
                for axis, size in zip("YX", movie.pixel_size, strict=True):
                    metadata |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": unit}
            if movie.time_unit in _TIMES:
                unit = _TIMES[movie.time_unit][0]
                count = len(movie.times)
                metadata["Plane"] = {"DeltaT": movie.times.tolist(), "DeltaTUnit": [unit] * count}
                if count > 1:
                    metadata["TimeIncrement"] = float(np.diff(movie.times).mean())
                    metadata["TimeIncrementUnit"] = unit
            file.write(np.asarray(frames), photometric="minisblack", metadata=metadata)


def write_ome_zarr(
    path: Path, movie: Movie, images: Mapping[str, np.ndarray], notes: Mapping[str, object]
) -> None:
    """Write the first image as the folder's own, the others as groups in it.

    Args:
        path: folder to write.
        movie: gives pixel size, times and units.
        images: name -> frames [t, y, x].
        notes: anything worth keeping.
    """
    zarr = require("zarr", "zarr", path)
    if path.exists():
        shutil.rmtree(path)
    root = zarr.open_group(str(path), mode="w", zarr_format=2)
    told = plain({**about(movie), **notes})
    for number, (name, frames) in enumerate(images.items()):
        group = root if number == 0 else root.create_group(name)
        chunks = (1, *(min(n, _CHUNK) for n in frames.shape[1:]))
        group.create_array(
            "0", data=np.asarray(frames), chunks=chunks, chunk_key_encoding={"name": "v2", "separator": "/"}
        )  # fmt: skip
        group.attrs["multiscales"] = [_multiscale(movie, name)]
        group.attrs["phdenoise"] = told


def _multiscale(movie: Movie, name: str) -> dict[str, Any]:
    time, length = _TIMES.get(movie.time_unit), _LENGTHS.get(movie.length_unit)
    axes: list[dict[str, str]] = [{"name": "t", "type": "time"}]
    axes += [{"name": n, "type": "space"} for n in "yx"]
    if time:
        axes[0]["unit"] = time[1]
    for axis in axes[1:] if length else ():
        axis["unit"] = length[1]  # type: ignore[index]
    step = float(np.diff(movie.times).mean()) if len(movie.times) > 1 else 1.0
    scale = {"type": "scale", "scale": [step, *(float(p) for p in movie.pixel_size)]}
    return {
        "version": "0.4",
        "name": name,
        "axes": axes,
        "datasets": [{"path": "0", "coordinateTransformations": [scale]}],
    }
