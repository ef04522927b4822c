"""The native file: HDF5 in NeXus layout, lossless, with everything needed to redo an estimate.

/entry                NXentry
  data                NXdata: the movie `frames` or the denoised `mean` over (time, y, x), the default plot;
                      an estimate adds variance, blind_mean, blind_variance and the noisy input
  phdenoise           NXcollection: name, pixel_size, mask, noise, provenance; an estimate adds log,
                      settings, `intervals` (JSON: probability -> half the interval's width in sd), history, the weights of the network and, if it was judged, the trust report:
                      `report` (JSON, what is not finite as null) and its arrays under their names
"""

import io
import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import h5py
import numpy as np

from phdenoise.io.jsonfile import to_json
from phdenoise.io.source import Source
from phdenoise.movie import TAILS, Estimate, Movie, half_width
from phdenoise.types import InputError, NoiseModel

FORMAT = "phdenoise_format"
_DATA, _OWN = "/entry/data", "/entry/phdenoise"


def native_bytes(result: Movie | Estimate) -> memoryview:
    """The whole file as bytes.

    It is built in memory because HDF5 on a full disk fails when the file is closed, and takes the
    interpreter with it (segmentation fault); plain bytes fail cleanly.
    """
    movie = result if isinstance(result, Movie) else result.movie
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        data, own = write_header(file, movie)
        if movie.mask is not None:
            _write_array(own, "mask", np.asarray(movie.mask, bool))
        if isinstance(result, Estimate):
            _write_estimate(data, own, result)
        else:
            data.attrs["signal"] = "frames"
            _write_array(data, "frames", movie.frames, movie.intensity_unit)
    return buffer.getbuffer()


def write_header(file: h5py.File, movie: Movie) -> tuple[h5py.Group, h5py.Group]:
    """The groups of a new file, `data` and `phdenoise`, with everything of a movie but frames and mask."""
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
    _write_movie(own, movie)
    return data, own


def read_extras(file: h5py.File, dataset: str, source: Source) -> None:
    """Add to a source what only a native file knows (name, noise, exact pixel size; not the mask)."""
    if dataset.rpartition("/")[0] != _DATA:
        return
    own = file[_OWN]
    source.pixel_size = _pixel_size(own)
    source.length_unit = own["pixel_size"].attrs["units"]
    source.stored = json.loads(own["provenance"][()])
    stem, name = own["name"][()].decode(), dataset.rsplit("/", 1)[-1]
    measured = name in ("frames", "noisy")
    source.name = stem if measured else f"{stem} {'denoised' if name == 'mean' else name}"
    for part in own["channels"].values() if "channels" in own else ():
        unit = part.attrs["units"]
        found = part.get("movie_noise" if name == "noisy" else "noise") if measured else None
        mask = part["mask"][()] if measured and "mask" in part else None
        source.each.append((mask, None if found is None else _read_noise(found), unit))
    noise = own.get("movie_noise" if name == "noisy" else "noise") if measured else None
    if noise is not None:
        source.noise = _read_noise(noise)
        if source.noise is None:
            source.notes.append(f"The noise model {noise.attrs['model']} is unknown here.")


def stored_mask(file: h5py.File, dataset: str) -> h5py.Dataset | None:
    """Where a native file keeps the mask of a movie, if it does."""
    if FORMAT not in file.attrs or dataset.rpartition("/")[0] != _DATA:
        return None
    return file[_OWN].get("mask")


def read_estimate(path: str | Path) -> Estimate:
    """Read back an `Estimate` that `write` wrote to HDF5, equal in every array and setting.

    Raises:
        InputError: not such a file, or one that is damaged.
    """
    try:
        with h5py.File(path, "r") as file:
            if "channels" in file.get(_OWN, {}):
                raise InputError(
                    f"{path} holds several channels: read it with read_channels_estimate; their networks start "
                    "no other."
                )
            if FORMAT not in file.attrs or "settings" not in file.get(_OWN, {}):
                raise InputError(
                    f"{path} holds no estimate: give the .h5 file that phdenoise denoise wrote."
                )
            return _read_estimate(file, path)
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path} cannot be read as an estimate ({str(error).splitlines()[0]}): give the .h5 file "
            "that phdenoise denoise wrote, or write it again."
        ) from error


def _read_estimate(file: h5py.File, path: str | Path) -> Estimate:
    data, own = file[_DATA], file[_OWN]
    own_noise = own.get("movie_noise")
    movie = Movie(
        frames=data["noisy"][()],
        times=data["time"][()],
        pixel_size=_pixel_size(own),
        time_unit=data["time"].attrs["units"],
        length_unit=own["pixel_size"].attrs["units"],
        intensity_unit=data["noisy"].attrs["units"],
        mask=own["mask"][()] if "mask" in own else None,
        noise=None if own_noise is None else _read_noise(own_noise),
        name=own["name"][()].decode(),
        provenance=json.loads(own["provenance"][()]),
    )
    return Estimate(
        movie=movie,
        mean=data["mean"][()],
        variance=data["variance"][()],
        blind_mean=data["blind_mean"][()] if "blind_mean" in data else None,
        blind_variance=data["blind_variance"][()] if "blind_variance" in data else None,
        **_read_record(own, path),
    )


def _read_record(own: h5py.Group, path: str | Path) -> dict[str, Any]:
    """What an estimate knows besides its arrays; see `write_findings`."""
    noise = _read_noise(own["noise"]) if "noise" in own else None
    if noise is None:
        raise InputError(
            f"{path} was made with a noise model that this version of phdenoise does not know: "
            "read it with the version that wrote it."
        )
    return {
        "noise": noise,
        "log": tuple(json.loads(own["log"][()])),
        "history": {k: v.tolist() for k, v in _read_named(own["history"]).items()},
        "settings": json.loads(own["settings"][()]),
        "weights": _read_named(own["weights"]),
        "trust": _read_trust(own["trust"]) if "trust" in own else {},
    }


def _pixel_size(own: h5py.Group) -> tuple[float, float]:
    dy, dx = own["pixel_size"][()]
    return float(dy), float(dx)


def _write_axes(data: h5py.Group, movie: Movie) -> None:
    data.attrs["axes"] = ["time", "y", "x"]
    data["time"] = movie.times
    data["time"].attrs["units"] = movie.time_unit
    for name, count, step in zip("yx", movie.shape[1:], movie.pixel_size, strict=True):
        data[name] = step * np.arange(count)
        data[name].attrs["units"] = movie.length_unit


def _write_movie(own: h5py.Group, movie: Movie) -> None:
    own["name"] = movie.name
    own["pixel_size"] = np.asarray(movie.pixel_size, np.float64)
    own["pixel_size"].attrs["units"] = movie.length_unit
    own["provenance"] = to_json(movie.provenance)
    if movie.noise is not None:
        _write_noise(own, "noise", movie.noise)


def _write_estimate(data: h5py.Group, own: h5py.Group, estimate: Estimate) -> None:
    unit = estimate.movie.intensity_unit
    arrays = {
        "mean": estimate.mean,
        "variance": estimate.variance,
        "blind_mean": estimate.blind_mean,
        "blind_variance": estimate.blind_variance,
        "noisy": estimate.movie.frames,
    }
    present = {name: array for name, array in arrays.items() if array is not None}
    data.attrs["signal"] = "mean"
    data.attrs["auxiliary_signals"] = [name for name in present if name != "mean"]
    for name, array in present.items():
        _write_array(data, name, array, f"{unit}^2" if "variance" in name else unit)
    write_findings(own, estimate)


def write_findings(own: h5py.Group, estimate: Estimate) -> None:
    """Everything of an estimate but its arrays over (time, y, x)."""
    if "noise" in own:
        own.move("noise", "movie_noise")
    _write_noise(own, "noise", estimate.noise)
    own["log"] = to_json(estimate.log)
    own["intervals"] = to_json({f"{p:g}": half_width(p, TAILS) for p in (0.5, 0.9, 0.99)})
    own["settings"] = to_json(estimate.settings)
    columns = {name: np.asarray(v, np.float64) for name, v in estimate.history.items()}
    _write_named(own.create_group("history"), columns)
    _write_named(own.create_group("weights"), estimate.weights)
    if estimate.trust:
        _write_trust(own.create_group("trust"), estimate.trust)


def _write_trust(group: h5py.Group, trust: Mapping[str, Any]) -> None:
    """Arrays of its sections as datasets (`bias/map`), the rest as JSON."""
    plain: dict[str, Any] = {}
    for name, value in trust.items():
        if isinstance(value, Mapping):
            arrays = {k: v for k, v in value.items() if isinstance(v, np.ndarray)}
            for key, array in arrays.items():
                _write_array(group, f"{name}/{key}", array)
            plain[name] = {k: v for k, v in value.items() if k not in arrays}
        else:
            plain[name] = value
    group["report"] = to_json(plain)


def _read_trust(group: h5py.Group) -> dict[str, Any]:
    trust: dict[str, Any] = json.loads(group["report"][()])
    for name in group:
        if name != "report":
            trust[name] |= {key: group[name][key][()] for key in group[name]}
    return trust


def _write_array(group: h5py.Group, name: str, array: np.ndarray, unit: str | None = None) -> None:
    array = np.asarray(array)
    large = array.nbytes > 2**16
    chunks = (*(1,) * (array.ndim - 2), *array.shape[-2:]) if large and array.ndim > 2 else None
    packed: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
    group.create_dataset(name, data=array, chunks=chunks, **(packed if large else {}))
    if unit is not None:
        group[name].attrs["units"] = unit


def _write_named(group: h5py.Group, arrays: Mapping[str, Any]) -> None:
    """Arrays under any names: a slash in a name is not a group."""
    for name, array in arrays.items():
        _write_array(group, quote(name, safe="[]' "), np.asarray(array))


def _read_named(group: h5py.Group) -> dict[str, np.ndarray]:
    return {unquote(name): group[name][()] for name in group}


def _write_noise(own: h5py.Group, name: str, noise: NoiseModel) -> None:
    group = own.create_group(name)
    group.attrs["model"] = type(noise).__name__
    for item in fields(noise):  # type: ignore[arg-type]
        value = getattr(noise, item.name)
        if hasattr(value, "__array__"):
            group[item.name] = np.asarray(value)
        else:
            group.attrs[item.name] = to_json(value)


def _read_noise(group: h5py.Group) -> NoiseModel | None:
    """The model from `phdenoise.noise`, or None for a class that is not there."""
    from phdenoise import noise

    name = str(group.attrs["model"])
    cls = getattr(noise, name, None) if name in noise.__all__ else None
    if cls is None:
        return None
    static = {k: json.loads(v) for k, v in group.attrs.items() if k != "model"}
    return cls(**{k: group[k][()] for k in group}, **static)
