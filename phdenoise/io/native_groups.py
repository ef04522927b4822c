"""Parts of native files that one movie and several channels share: header, axes, noise, findings of an estimate."""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import h5py
import numpy as np

from phdenoise.io.jsonfile import to_json
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
    own.attrs["NX_class"] = "NXcollection"
    data = entry.create_group("data")
    data.attrs["NX_class"] = "NXdata"
    _write_axes(data, movie)
    write_movie(own, movie)
    return data, own


def _write_axes(data: h5py.Group, movie: Movie) -> None:
    """Write times, rows and columns, and name them as axes."""
    data.attrs["axes"] = ["time", "y", "x"]
    data["time"] = movie.times
    data["time"].attrs["units"] = movie.time_unit
    for name, count, step in zip("yx", movie.shape[1:], movie.pixel_size, strict=True):
        data[name] = step * np.arange(count)
        data[name].attrs["units"] = movie.length_unit


def write_movie(own: h5py.Group, movie: Movie) -> None:
    """Write name, pixel size, provenance and noise.

    Args:
        own: group of a movie.
        movie: to describe.
    """
    own["name"] = movie.name
    own["pixel_size"] = np.asarray(movie.pixel_size, np.float64)
    own["pixel_size"].attrs["units"] = movie.length_unit
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
    write_named(own.create_group("history"), columns)
    write_named(own.create_group("weights"), estimate.weights)
    if estimate.error_autocorrelation is not None:
        write_array(own, _ERRORS, estimate.error_autocorrelation)
    if estimate.trust:
        _write_trust(own.create_group("trust"), estimate.trust)


def _write_trust(group: h5py.Group, trust: Mapping[str, Any]) -> None:
    """Arrays of its sections as datasets (`bias/map`), the rest as JSON."""
    plain: dict[str, Any] = {}
    for name, value in trust.items():
        if isinstance(value, Mapping):
            arrays = {k: v for k, v in value.items() if isinstance(v, np.ndarray)}
            for key, array in arrays.items():
                write_array(group, f"{name}/{key}", array)
            plain[name] = {k: v for k, v in value.items() if k not in arrays}
        else:
            plain[name] = value
    group["report"] = to_json(plain)


def write_array(group: h5py.Group, name: str, array: np.ndarray, unit: str | None = None) -> None:
    """Write an array, compressed where it is large.

    Args:
        group: to write into.
        name: of the dataset.
        array: of any type and rank.
        unit: of the numbers, or None.
    """
    array = np.asarray(array)
    large = array.nbytes > _COMPRESS_ABOVE
    chunks = (*(1,) * (array.ndim - 2), *array.shape[-2:]) if large and array.ndim > 2 else None
    packed: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
    group.create_dataset(name, data=array, chunks=chunks, **(packed if large else {}))
    if unit is not None:
        group[name].attrs["units"] = unit


def write_named(group: h5py.Group, arrays: Mapping[str, Any]) -> None:
    """Write arrays under any names: a slash in a name is not a group.

    Args:
        group: to write into.
        arrays: name -> array.
    """
    for name, array in arrays.items():
        write_array(group, quote(name, safe="[]' "), np.asarray(array))


def _write_noise(own: h5py.Group, name: str, noise: NoiseModel) -> None:
    group = own.create_group(name)
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
    return {unquote(name): group[name][()] for name in group}


def read_noise(group: h5py.Group) -> NoiseModel | None:
    """The model of the registered class, or None for a class that is not registered."""
    static = {k: json.loads(v) for k, v in group.attrs.items() if k != "model"}
    arrays = {k: group[k][()] for k in group}
    return noise_from_parameters(str(group.attrs["model"]), arrays | static)


def read_pixel_size(own: h5py.Group) -> tuple[float, float]:
    """(dy, dx) of a movie."""
    dy, dx = own["pixel_size"][()]
    return float(dy), float(dx)
