"""Zarr folders by the zarr package: the named array, the largest image of OME-Zarr, or the only movie.

OME-Zarr: Moore et al., Histochem. Cell Biol. 160, 223 (2023), doi:10.1007/s00418-023-02209-1. A writer may leave out chunks that
have the fill value everywhere, so that only whole frames without chunks are known to be without data.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from phdenoise.io import units
from phdenoise.io.limits import check_size, elsewhere, follows
from phdenoise.io.readers.extras import require
from phdenoise.io.readers.hdf5_values import packing
from phdenoise.io.source import Source
from phdenoise.types import InputError

# Arrays and groups that are looked at in search of a movie.
_MOST_MEMBERS = 10_000


def read_zarr(path: Path, dataset: str | None) -> Source:
    """One array of a Zarr folder, with its axes and units.

    Args:
        path: folder.
        dataset: path of the array in it; None takes the first image of OME-Zarr, or the only movie.

    Returns:
        The array with its axes, pixel size and frame interval; NaN where nothing was recorded.

    Raises:
        InputError: the optional package is missing, no such array, several that could be the movie, or a codec that is missing.
    """
    zarr = require("zarr", "zarr", path)
    if not path.is_dir():
        raise InputError(
            f"{path} is no folder: a Zarr array is a folder of chunks; copy all of it."
        )
    _check_links(path)
    root = zarr.open(str(path), mode="r")
    about = _multiscale(root)
    item = _find(zarr, root, path, dataset, about)
    label = f"{path}::{item.path}" if item.path else str(path)
    if item.dtype.kind not in "biuf":
        raise InputError(f"{label} holds {item.dtype}: a movie needs real numbers; choose another array.")  # fmt: skip
    inside = path / item.path
    stored = float(sum(f.stat().st_size for f in inside.rglob("*") if f.is_file()))
    check_size(label, item.shape, item.dtype, stored)
    attrs = dict(item.attrs)
    packed = packing(attrs, item.dtype, item.fill_value, ([], []), label)
    raw = packed.raw(_values(item, label))
    source = Source(packed.intensity(raw), dataset=item.path or None)
    _leave_out_absent(item, inside, source)
    missing = packed.missing(raw)
    if missing is not None:
        source.leave_out(missing, f"Values that stand for no measurement ({packed.rule()})")
    if packed.scaled:
        source.notes.append(packed.sentence())
    source.intensity_unit = str(attrs.get("units") or "") or None
    _read_axes(item, about, source)
    own = dict(root.attrs).get("phdenoise") if item.path == "0" else None
    source.take_own(own if isinstance(own, dict) else {})
    return source


def _check_links(path: Path) -> None:
    """Refuse links in the folder that lead out of it."""
    home = path.resolve()
    for file in path.rglob("*"):
        if file.is_symlink() and not follows() and home not in file.resolve().parents:
            raise elsewhere(path, str(file.resolve()))


def _multiscale(root: Any) -> Mapping[str, Any]:
    """What OME-Zarr says of the first image of a group; {} where it says nothing."""
    attrs = dict(root.attrs)
    inner = attrs.get("ome", attrs)
    images = inner.get("multiscales") if isinstance(inner, dict) else None
    first = images[0] if isinstance(images, list) and images else {}
    if not isinstance(first, dict):
        return {}
    labels = (inner.get("omero") or {}).get("channels") or []
    return {**first, "labels": [str(c.get("label", "")) for c in labels if isinstance(c, dict)]}


def _find(zarr: Any, root: Any, path: Path, dataset: str | None, about: Mapping[str, Any]) -> Any:
    """The named array, the largest scale of an image, or the only array with two or more axes."""
    if isinstance(root, zarr.Array):
        if dataset is not None:
            raise InputError(f"{path} holds a single array: leave out '::{dataset}'.")
        return root
    if dataset is None and about.get("datasets"):
        dataset = str(about["datasets"][0]["path"])
    found = _arrays(zarr, root)
    if dataset is not None:
        wanted = [a for a in found if a.path == dataset.strip("/")]
    else:
        wanted = [a for a in found if a.ndim >= 2 and a.dtype.kind in "biuf"]
    if len(wanted) == 1:
        return wanted[0]
    listing = ", ".join(f"{a.path} {a.shape} {a.dtype}" for a in found[:12]) or "nothing"
    what = f"no array '{dataset}'" if dataset else f"{len(wanted)} arrays that could be the movie"
    raise InputError(f"{path} holds {what} ({listing}): pick one with {path}::NAME.")


def _arrays(zarr: Any, root: Any) -> list[Any]:
    found = [item for _, item in root.members(max_depth=None)][:_MOST_MEMBERS]
    return [item for item in found if isinstance(item, zarr.Array)]


def _values(item: Any, label: str) -> np.ndarray:
    try:
        return np.asarray(item[...])
    except (KeyError, ValueError, ImportError) as error:
        if "codec" in f"{type(error).__name__} {error}".lower():
            raise InputError(
                f"{label} is packed with a codec that numcodecs does not have ({error}): install the package of that codec, "
                "such as imagecodecs-numcodecs."
            ) from error
        raise


def _leave_out_absent(item: Any, folder: Path, source: Source) -> None:
    """NaN in frames of which no chunk is stored; a note where single chunks are not."""
    chunks = item.shards or item.chunks
    grid = [-(-n // c) for n, c in zip(item.shape, chunks, strict=True)]
    check_size(item.path, tuple(grid), np.dtype(bool), math.inf)
    there = np.zeros(grid, bool)
    for at in np.ndindex(*grid):
        there[at] = (folder / item.metadata.encode_chunk_key(at)).exists()
    if there.all():
        return
    frames = there.reshape(len(there), -1).any(axis=1)
    if not frames.any():
        raise InputError(
            f"{folder} holds no chunk: nothing was ever written to it; choose another."
        )
    if not frames.all() and item.ndim > 2:
        source.leave_out(
            ~np.repeat(frames, chunks[0])[: item.shape[0]], "Frames without stored chunks"
        )
    rest = there[frames]
    if not rest.all():
        source.notes.append(
            f"{rest.size - rest.sum()} of {rest.size} chunks of the other frames are not stored and have the fill value "
            f"{item.fill_value}."
        )


def _read_axes(item: Any, about: Mapping[str, Any], source: Source) -> None:
    """Letters of the axes, pixel size, frame interval and channel names."""
    axes = [a if isinstance(a, dict) else {"name": a} for a in about.get("axes") or []]
    if len(axes) != item.ndim:
        names = getattr(item.metadata, "dimension_names", None) or item.attrs.get("_ARRAY_DIMENSIONS")  # fmt: skip
        axes = [{"name": n} for n in names or []]
    known = {"time": "T", "t": "T", "c": "C", "channel": "C", "z": "Z", "y": "Y", "x": "X"}
    letters = [known.get(str(a.get("name", "")).lower(), "") for a in axes]
    if len(letters) != item.ndim or not all(letters) or len(set(letters)) != len(letters):
        return
    source.axes = "".join(letters)
    if "C" in letters and len(about.get("labels", [])) == item.shape[letters.index("C")]:
        source.channels = tuple(about["labels"])
    scale = np.ones(item.ndim)
    datasets = about.get("datasets") or [{}]
    for change in (datasets[0].get("coordinateTransformations") or []) + (
        about.get("coordinateTransformations") or []
    ):
        if change.get("type") == "scale" and len(change.get("scale") or []) == item.ndim:
            scale = scale * np.asarray(change["scale"], float)
    unit = {k: str(a.get("unit") or "") for k, a in zip(letters, axes, strict=True)}
    size = {k: float(s) for k, s in zip(letters, scale, strict=True)}
    length = units.length_unit(unit["X"])
    if length != "px" and unit["X"] == unit["Y"] and size["Y"] > 0 and size["X"] > 0:
        source.pixel_size, source.length_unit = (size["Y"], size["X"]), length
    time = units.time_unit(unit.get("T", ""))
    if time != "frame" and size.get("T", 0) > 0:
        source.frame_interval, source.time_unit = size["T"], time
