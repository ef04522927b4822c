"""The native file: HDF5 in NeXus layout, lossless, with everything needed to redo an estimate.

/entry                NXentry
  data                NXdata: the movie `frames` or the denoised `mean` over (time, y, x), the default plot;
                      an estimate adds variance, mean_errors (its root, where NeXus looks for it), blind_mean, blind_variance
                      and the noisy input. Units are as UDUNITS reads them; `phdenoise_unit` has the movie's own name
  phdenoise           NXcollection: name, pixel_size, mask, noise, provenance; an estimate adds log,
                      settings, `intervals` (JSON: probability -> half the interval's width in sd), history, the weights of the network and, if it was judged, the trust report:
                      `report` (JSON, what is not finite as null) and its arrays under their names
"""

import io
import json
from pathlib import Path

import h5py
import numpy as np

from phdenoise.io.native_groups import (
    DATA,
    FORMAT,
    OWN,
    attach_axes,
    channel_names,
    read_findings,
    read_noise,
    read_pixel_size,
    write_array,
    write_errors,
    write_findings,
    write_header,
)
from phdenoise.io.source import Source
from phdenoise.io.units import unit_of
from phdenoise.movie import Estimate, Movie
from phdenoise.types import InputError


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
            write_array(own, "mask", np.asarray(movie.mask, bool))
        if isinstance(result, Estimate):
            _write_estimate(data, own, result)
        else:
            data.attrs["signal"] = "frames"
            write_array(data, "frames", movie.frames, movie.intensity_unit)
        attach_axes(data)
    return buffer.getbuffer()


def read_extras(file: h5py.File, dataset: str, source: Source) -> None:
    """Add to a source what only a native file knows: name, noise, exact pixel size; not the mask.

    Args:
        file: a native file.
        dataset: that was read.
        source: changed in place.
    """
    if dataset.rpartition("/")[0] != DATA:
        return
    own = file[OWN]
    source.pixel_size = read_pixel_size(own)
    source.length_unit = unit_of(own["pixel_size"].attrs)
    source.stored = json.loads(own["provenance"][()])
    stem, name = own["name"][()].decode(), dataset.rsplit("/", 1)[-1]
    if "channel_name" in file[DATA]:
        source.channels = tuple(n.decode() for n in channel_names(file[DATA])[()])
    measured = name in ("frames", "noisy")
    source.name = stem if measured else f"{stem} {'denoised' if name == 'mean' else name}"
    for part in own["channels"].values() if "channels" in own else ():
        unit = unit_of(part.attrs)
        found = part.get("movie_noise" if name == "noisy" else "noise") if measured else None
        mask = part["mask"][()] if measured and "mask" in part else None
        source.each.append((mask, None if found is None else read_noise(found), unit))
    noise = own.get("movie_noise" if name == "noisy" else "noise") if measured else None
    if noise is not None:
        source.noise = read_noise(noise)
        if source.noise is None:
            source.notes.append(
                f"The noise model {noise.attrs['model']} is not known here: phdenoise.noise.register_noise adds one."
            )


def stored_mask(file: h5py.File, dataset: str) -> h5py.Dataset | None:
    """Where a native file keeps the mask of a movie.

    Args:
        file: any HDF5 file.
        dataset: of the movie.

    Returns:
        The dataset of the mask; None where there is none.
    """
    if FORMAT not in file.attrs or dataset.rpartition("/")[0] != DATA:
        return None
    return file[OWN].get("mask")


def holds_estimate(path: str | Path) -> str:
    """What a native file holds: "estimate", "channels" (an estimate of several), or "" for anything else."""
    try:
        with h5py.File(path, "r") as file:
            if FORMAT not in file.attrs or "settings" not in file.get(OWN, {}):
                return ""
            return "channels" if "channels" in file[OWN] else "estimate"
    except OSError:
        return ""


def read_estimate(path: str | Path) -> Estimate:
    """Read back an `Estimate` that `write` wrote to HDF5, equal in every array and setting.

    Raises:
        InputError: not such a file, or one that is damaged.
    """
    try:
        with h5py.File(path, "r") as file:
            if "channels" in file.get(OWN, {}):
                raise InputError(
                    f"{path} holds several channels: read it with read_channels_estimate; their networks start "
                    "no other."
                )
            if FORMAT not in file.attrs or "settings" not in file.get(OWN, {}):
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
    data, own = file[DATA], file[OWN]
    own_noise = own.get("movie_noise")
    movie = Movie(
        frames=data["noisy"][()],
        times=data["time"][()],
        pixel_size=read_pixel_size(own),
        time_unit=unit_of(data["time"].attrs),
        length_unit=unit_of(own["pixel_size"].attrs),
        intensity_unit=unit_of(data["noisy"].attrs),
        mask=own["mask"][()] if "mask" in own else None,
        noise=None if own_noise is None else read_noise(own_noise),
        name=own["name"][()].decode(),
        provenance=json.loads(own["provenance"][()]),
    )
    return Estimate(
        movie=movie,
        mean=data["mean"][()],
        variance=data["variance"][()],
        blind_mean=data["blind_mean"][()] if "blind_mean" in data else None,
        blind_variance=data["blind_variance"][()] if "blind_variance" in data else None,
        **read_findings(own, path),
    )


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
        write_array(data, name, array, unit, 2 if "variance" in name else 1)
    write_errors(data, "mean", estimate.variance, unit)
    write_findings(own, estimate)
