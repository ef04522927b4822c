"""The native file of several channels: the layout of `phdenoise.io.native` with one axis more.

/entry/data               the movie `frames` or the denoised `mean` over (time, channel, y, x), `channel` their numbers,
                          `channel_name` the names; an estimate adds variance, blind_mean, blind_variance and the noisy input
/entry/phdenoise          what all channels share; an estimate adds the correlation of their errors, log, settings and
                          the networks' weights
/entry/phdenoise/channels one group a channel, 00, 01, ...: unit, mask, noise, log, settings and trust report
"""

import io
import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from phdenoise.channels import Channels, ChannelsEstimate
from phdenoise.io.jsonfile import to_json
from phdenoise.io.native_groups import (
    DATA,
    OWN,
    attach_axes,
    channel_names,
    collection,
    read_findings,
    read_named,
    read_noise,
    read_pixel_size,
    write_array,
    write_errors,
    write_findings,
    write_header,
    write_movie,
    write_named,
)
from phdenoise.io.units import unit_of
from phdenoise.movie import Estimate, Movie
from phdenoise.types import InputError

_ARRAYS = ("mean", "variance", "blind_mean", "blind_variance")


def channels_bytes(result: Channels | ChannelsEstimate) -> memoryview:
    """The whole file as bytes; see `phdenoise.io.native.native_bytes` for why."""
    channels = result if isinstance(result, Channels) else result.channels
    first = channels.movies[0]
    units = [m.intensity_unit for m in channels.movies]
    unit = units[0] if len(set(units)) == 1 else "see channel_units"
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        data, own = write_header(file, replace(first, noise=None, name=channels.name))
        data.attrs["axes"] = ["time", "channel", "y", "x"]
        data["channel"] = np.arange(len(channels.names))
        data["channel"].make_scale("channel")
        data["channel_name"] = list(channels.names)
        data["channel_units"] = units
        groups = collection(own, "channels")
        for k, movie in enumerate(channels.movies):
            part = collection(groups, f"channel_{k:02d}")
            part.attrs["units"] = movie.intensity_unit
            write_movie(part, movie)
            if movie.mask is not None:
                write_array(part, "mask", np.asarray(movie.mask, bool))
            if isinstance(result, ChannelsEstimate):
                write_findings(part, result.estimates[k])
        frames = channels.frames.transpose(1, 0, 2, 3)
        if isinstance(result, Channels):
            data.attrs["signal"] = "frames"
            write_array(data, "frames", frames, unit)
        else:
            data.attrs["signal"] = "mean"
            data.attrs["auxiliary_signals"] = [*_ARRAYS[1:], "noisy"]
            for name in _ARRAYS:
                array = np.stack([getattr(e, name) for e in result.estimates], axis=1)
                write_array(data, name, array, unit, 2 if "variance" in name else 1)
            write_errors(data, "mean", result.variance.transpose(1, 0, 2, 3), unit)
            write_array(data, "noisy", frames, unit)
            own["error_correlation"] = result.correlation
            own["log"] = to_json(result.log)
            own["settings"] = to_json(result.settings)
            write_named(collection(own, "weights"), result.weights)
        attach_axes(data, ("time", "channel", "y", "x"))
    return buffer.getbuffer()


def read_channels_estimate(path: str | Path) -> ChannelsEstimate:
    """Read back a `ChannelsEstimate` that `write` wrote to HDF5, equal in every array and setting.

    Raises:
        InputError: not such a file, or one that is damaged.
    """
    try:
        with h5py.File(path, "r") as file:
            if "error_correlation" not in file.get(OWN, {}):
                raise InputError(
                    f"{path} holds no denoised channels: give the .h5 file that phdenoise denoise wrote of a "
                    "movie with several channels."
                )
            return _read(file, path)
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path} cannot be read as denoised channels ({str(error).splitlines()[0]}): write it again."
        ) from error


def _read(file: h5py.File, path: str | Path) -> ChannelsEstimate:
    data, own = file[DATA], file[OWN]
    estimates = []
    for k, part in enumerate(own["channels"].values()):
        noise = part.get("movie_noise")
        movie = Movie(
            frames=data["noisy"][:, k],
            times=data["time"][()],
            pixel_size=read_pixel_size(part),
            time_unit=unit_of(data["time"].attrs),
            length_unit=unit_of(part["pixel_size"].attrs),
            intensity_unit=part.attrs["units"],
            mask=part["mask"][()] if "mask" in part else None,
            noise=None if noise is None else read_noise(noise),
            name=part["name"][()].decode(),
            provenance=json.loads(part["provenance"][()]),
        )
        arrays = {name: data[name][:, k] for name in _ARRAYS}
        estimates.append(Estimate(movie=movie, **arrays, **read_findings(part, path)))
    return ChannelsEstimate(
        tuple(estimates),
        tuple(n.decode() for n in channel_names(data)[()]),
        own["name"][()].decode(),
        own["error_correlation"][()],
        tuple(json.loads(own["log"][()])),
        json.loads(own["settings"][()]),
        read_named(own["weights"]),
    )
