"""Parts of native files that one movie and several channels share: header, axes, noise, findings of an estimate."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import h5py
import numpy as np

from phdenoise.io.jsonfile import to_json
from phdenoise.io.units import OWN_UNIT, unit_attributes
from phdenoise.movie import ERROR_DEGREES_OF_FREEDOM, Estimate, Movie, half_width
from phdenoise.noise.models import noise_from_parameters
from phdenoise.types import InputError, NoiseModel

FORMAT = "phdenoise_format"
"""Attribute of every native file: the version of its layout."""

DATA, OWN = "/entry/data", "/entry/phdenoise"
"""Groups of the arrays over (time, y, x), and of everything else."""

# Size [bytes] above which an array is compressed and stored by frames: smaller ones are read faster as they are.
_COMPRESS_ABOVE = 2**16
# Dataset of the autocorrelation of an estimate's errors.
_ERRORS = "error_autocorrelation"
# Attribute with the name of an array that NeXus does not allow as the name of a dataset.
_NAME = "name"
# Class of groups whose content NeXus leaves open.
_COLLECTION = "NXcollection"


def write_header(file: h5py.File, movie: Movie) -> tuple[h5py.Group, h5py.Group]:
    """Write everything of a movie but frames and mask.

    Args:
        file: a new file.
        movie: to describe.

    Returns:
        The groups `data` and `phdenoise`.
    """
    file.attrs.update(NX_class="NXroot", default="entry", creator="phdenoise")
    file.attrs[FORMAT] = 1
    entry = file.create_group("entry")
    entry.attrs.update(NX_class="NXentry", default="data")
    entry["title"] = movie.name
    own = entry.create_group("phdenoise")
    own.attrs["NX_class"] = _COLLECTION
    data = entry.create_group("data")
    data.attrs["NX_class"] = "NXdata"
    _write_axes(data, movie)
    write_movie(own, movie)
    return data, own


def _write_axes(data: h5py.Group, movie: Movie) -> None:
    """Write times, rows and columns, and name them as axes."""
    data.attrs["axes"] = ["time", "y", "x"]
    data["time"] = movie.times
    set_unit(data["time"], movie.time_unit)
    for name, count, step in zip("yx", movie.shape[1:], movie.pixel_size, strict=True):
        data[name] = step * np.arange(count)
        set_unit(data[name], movie.length_unit)
    for name in ("time", "y", "x"):
        data[name].make_scale(name)


def attach_axes(data: h5py.Group, names: Sequence[str] = ("time", "y", "x")) -> None:
    """Link the axes to every array over them, as HDF5 does it: netCDF and xarray read names from there.

    Args:
        data: group of the arrays.
        names: of the axes, in the order of the arrays.
    """
    shape = tuple(len(data[name]) for name in names)
    for item in data.values():
        if item.shape == shape:
            for dimension, name in zip(item.dims, names, strict=True):
                dimension.label = name
                dimension.attach_scale(data[name])


def set_unit(item: h5py.Dataset, unit: str, power: int = 1) -> None:
    """Say the unit of a dataset twice: as other programs read it, and as it is called here.

    Args:
        item: dataset.
        unit: of the numbers, or of their root.
        power: 2 for a variance, whose unit is the square.
    """
    item.attrs.update(unit_attributes(unit, power))
    if item.attrs["units"] == "1" and unit not in ("1", ""):
        name = item.name.rsplit("/", 1)[-1]
        item.attrs["long_name"] = f"{name} [{item.attrs[OWN_UNIT]}]"


def write_errors(data: h5py.Group, name: str, variance: np.ndarray, unit: str) -> None:
    """The standard deviation of an array where NeXus looks for it, `NAME_errors`.

    Args:
        data: group of the arrays.
        name: of the array.
        variance: of it.
        unit: of the array.
    """
    write_array(data, f"{name}_errors", np.sqrt(variance), unit)


def collection(group: h5py.Group, name: str) -> h5py.Group:
    """A new group whose content NeXus leaves open.

    Args:
        group: to make it in.
        name: of the new group.

    Returns:
        The group.
    """
    made = group.create_group(name)
    made.attrs["NX_class"] = _COLLECTION
    return made


def write_movie(own: h5py.Group, movie: Movie) -> None:
    """Write name, pixel size, provenance and noise.

    Args:
        own: group of a movie.
        movie: to describe.
    """
    own["name"] = movie.name
    own["pixel_size"] = np.asarray(movie.pixel_size, np.float64)
    set_unit(own["pixel_size"], movie.length_unit)
    own["provenance"] = to_json(movie.provenance)
    if movie.noise is not None:
        _write_noise(own, "noise", movie.noise)


def write_findings(own: h5py.Group, estimate: Estimate) -> None:
    """Write everything of an estimate but its arrays over (time, y, x).

    Args:
        own: group `phdenoise` of a native file.
        estimate: to write.
    """
    if "noise" in own:
        own.move("noise", "movie_noise")
    _write_noise(own, "noise", estimate.noise)
    own["log"] = to_json(estimate.log)
    own["intervals"] = to_json(
        {f"{p:g}": half_width(p, ERROR_DEGREES_OF_FREEDOM) for p in (0.5, 0.9, 0.99)}
    )
    own["settings"] = to_json(estimate.settings)
    columns = {name: np.asarray(v, np.float64) for name, v in estimate.history.items()}
    write_named(collection(own, "history"), columns)
    write_named(collection(own, "weights"), estimate.weights)
    if estimate.error_autocorrelation is not None:
        write_array(own, _ERRORS, estimate.error_autocorrelation)
    if estimate.trust:
        _write_trust(collection(own, "trust"), estimate.trust)


def _write_trust(group: h5py.Group, trust: Mapping[str, Any]) -> None:
    """Arrays of its sections as datasets (`bias/map`), the rest as JSON."""
    plain: dict[str, Any] = {}
    for name, value in trust.items():
        if isinstance(value, Mapping):
            arrays = {k: v for k, v in value.items() if isinstance(v, np.ndarray)}
            inside = collection(group, name) if arrays else group
            for key, array in arrays.items():
                write_array(inside, key, array)
            plain[name] = {k: v for k, v in value.items() if k not in arrays}
        else:
            plain[name] = value
    group["report"] = to_json(plain)


def write_array(
    group: h5py.Group, name: str, array: np.ndarray, unit: str | None = None, power: int = 1
) -> None:
    """Write an array, compressed where it is large.

    Args:
        group: to write into.
        name: of the dataset.
        array: of any type and rank.
        unit: of the numbers (or of their root), or None.
        power: 2 for a variance, whose unit is the square.
    """
    array = np.asarray(array)
    large = array.nbytes > _COMPRESS_ABOVE
    chunks = (*(1,) * (array.ndim - 2), *array.shape[-2:]) if large and array.ndim > 2 else None
    packed: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
    group.create_dataset(name, data=array, chunks=chunks, **(packed if large else {}))
    if unit is not None:
        set_unit(group[name], unit, power)


def write_named(group: h5py.Group, arrays: Mapping[str, Any]) -> None:
    """Write arrays under any names: a slash in a name is not a group.

    Args:
        group: to write into.
        arrays: name -> array.
    """
    for number, (name, array) in enumerate(arrays.items()):
        # NeXus allows letters, digits and underscores: the name itself is an attribute.
        write_array(group, f"array_{number:04d}", np.asarray(array))
        group[f"array_{number:04d}"].attrs[_NAME] = name


def _write_noise(own: h5py.Group, name: str, noise: NoiseModel) -> None:
    group = collection(own, name)
    group.attrs["model"] = type(noise).__name__
    for item in fields(noise):  # type: ignore[arg-type]
        value = getattr(noise, item.name)
        if hasattr(value, "__array__"):
            group[item.name] = np.asarray(value)
        else:
            group.attrs[item.name] = to_json(value)


def read_findings(own: h5py.Group, path: str | Path) -> dict[str, Any]:
    """Read what `write_findings` wrote.

    Args:
        own: group of an estimate.
        path: names the file in messages.

    Returns:
        Fields of an `Estimate` but its movie and arrays.

    Raises:
        InputError: a noise model that this version does not know.
    """
    noise = read_noise(own["noise"]) if "noise" in own else None
    if noise is None:
        name = own["noise"].attrs["model"] if "noise" in own else "(none)"
        raise InputError(
            f"{path} was made with the noise model {name}, which is not known here: register its class first "
            "(phdenoise.noise.register_noise), or read it with the version that wrote it."
        )
    return {
        "noise": noise,
        "log": tuple(json.loads(own["log"][()])),
        "history": {k: v.tolist() for k, v in read_named(own["history"]).items()},
        "settings": json.loads(own["settings"][()]),
        "weights": read_named(own["weights"]),
        "trust": _read_trust(own["trust"]) if "trust" in own else {},
        "error_autocorrelation": own[_ERRORS][()] if _ERRORS in own else None,
    }


def _read_trust(group: h5py.Group) -> dict[str, Any]:
    trust: dict[str, Any] = json.loads(group["report"][()])
    for name in group:
        if name != "report":
            trust[name] |= {key: group[name][key][()] for key in group[name]}
    return trust


def read_named(group: h5py.Group) -> dict[str, np.ndarray]:
    """Arrays that `write_named` wrote."""
    # Files of 0.1.0 have the names themselves, with slashes as %2F.
    return {str(item.attrs.get(_NAME, unquote(key))): item[()] for key, item in group.items()}


def read_noise(group: h5py.Group) -> NoiseModel | None:
    """The model of the registered class, or None for a class that is not registered."""
    static = {k: json.loads(v) for k, v in group.attrs.items() if k not in ("model", "NX_class")}
    arrays = {k: group[k][()] for k in group}
    return noise_from_parameters(str(group.attrs["model"]), arrays | static)


def channel_names(data: h5py.Group) -> h5py.Dataset:
    """Where the names of the channels are: files of 0.1.0 have them as the axis itself."""
    return data["channel_name"] if "channel_name" in data else data["channel"]


def read_pixel_size(own: h5py.Group) -> tuple[float, float]:
    """(dy, dx) of a movie."""
    dy, dx = own["pixel_size"][()]
    return float(dy), float(dx)
