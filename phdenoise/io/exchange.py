"""Movies as objects of xarray (extra `xarray`) and hyperspy (extra `em`), with coordinates and units, and back."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from phdenoise.io import units
from phdenoise.io.readers.extras import require
from phdenoise.io.units import unit_attributes, unit_of
from phdenoise.movie import Estimate, Movie
from phdenoise.types import InputError

_DIMENSIONS = ("time", "y", "x")
# Names of rows and columns, and of frames, in the arrays of others.
_NAMES = {"time": ("time", "t", "frame", "frames"), "y": ("y", "row", "rows", "lat"), "x": ("x", "column", "columns", "lon")}  # fmt: skip
# Steps of a coordinate that differ by less than this share are rounding.
_UNEVEN = 1e-3


def movie_to_xarray(movie: Movie) -> Any:
    """A movie as an `xarray.DataArray` over (time, y, x); where the mask is False stands NaN."""
    xarray = require("xarray", "xarray", Path("an xarray object"))
    frames = np.where(movie.valid(), movie.frames, np.nan).astype(movie.frames.dtype)
    return xarray.DataArray(
        frames,
        coords=_coordinates(movie, xarray),
        dims=_DIMENSIONS,
        name=movie.name,
        attrs=unit_attributes(movie.intensity_unit) | {"long_name": movie.name},
    )


def estimate_to_xarray(estimate: Estimate) -> Any:
    """An estimate as an `xarray.Dataset` of noisy, mean, sd and variance over (time, y, x)."""
    xarray = require("xarray", "xarray", Path("an xarray object"))
    movie, unit = estimate.movie, estimate.movie.intensity_unit
    arrays = {
        "noisy": (movie.frames, 1),
        "mean": (estimate.mean, 1),
        "sd": (np.sqrt(estimate.variance), 1),
        "variance": (estimate.variance, 2),
    }
    found = {name: (_DIMENSIONS, a, unit_attributes(unit, p)) for name, (a, p) in arrays.items()}
    log = "\n".join(estimate.log)
    return xarray.Dataset(found, _coordinates(movie, xarray), {"title": movie.name, "log": log})


def movie_from_xarray(array: Any, **changes: Any) -> Movie:
    """A movie from an `xarray.DataArray`.

    Args:
        array: over time, y, x in any order (or y, x), with coordinates of even pixels.
        **changes: attributes of the movie that go before those of the array.

    Returns:
        The movie, with times, pixel size and units as far as the coordinates have them.

    Raises:
        InputError: other dimensions, or pixels of uneven size.
    """
    found = {
        kind: next((d for d in array.dims if str(d).lower() in names), None)
        for kind, names in _NAMES.items()
    }
    present = [d for d in found.values() if d is not None]
    if found["y"] is None or found["x"] is None or len(present) != array.ndim:
        raise InputError(
            f"A movie has the dimensions time, y, x (or y, x), this array has {', '.join(map(str, array.dims))}: rename or "
            "select them (array.rename, array.isel)."
        )
    ordered = array.transpose(*(found[k] for k in _DIMENSIONS if found[k] is not None))
    about: dict[str, Any] = {"name": str(array.name or "movie")}
    if unit_of(array.attrs) is not None:
        about["intensity_unit"] = str(unit_of(array.attrs))
    sizes = [_step(array, found[k]) for k in "yx"]
    lengths = {_length(array, found[k]) for k in "yx"}
    if None not in sizes and len(lengths) == 1:
        about |= {"pixel_size": tuple(sizes), "length_unit": lengths.pop()}
    time = found["time"]
    if time is not None and time in array.coords:
        about["times"], about["time_unit"] = _times(array.coords[time])
    return Movie.from_array(np.asarray(ordered.values), **(about | changes))


def movie_to_hyperspy(movie: Movie) -> Any:
    """A movie as a `hyperspy` Signal2D whose navigation axis is the time.

    Uneven times become a data axis.
    """
    hyperspy = require("hyperspy.api", "em", Path("a hyperspy signal"))
    steps = np.diff(movie.times)
    time: dict[str, Any] = {"name": "time", "units": movie.time_unit, "navigate": True}
    if len(steps) and not np.allclose(steps, steps[0], rtol=_UNEVEN, atol=0):
        time["axis"] = movie.times
    else:
        time |= {"size": len(movie.times), "offset": float(movie.times[0]), "scale": float(steps[0]) if len(steps) else 1.0}  # fmt: skip
    space = [
        {"name": n, "size": count, "scale": float(size), "units": movie.length_unit, "navigate": False}
        for n, count, size in zip("yx", movie.shape[1:], movie.pixel_size, strict=True)
    ]  # fmt: skip
    signal = hyperspy.signals.Signal2D(movie.frames, axes=[time, *space])
    signal.metadata.General.title = movie.name
    signal.metadata.set_item("Signal.quantity", f"intensity ({movie.intensity_unit})")
    return signal


def movie_from_hyperspy(signal: Any, **changes: Any) -> Movie:
    """A movie from a `hyperspy` Signal2D.

    Args:
        signal: of one or no navigation axis.
        **changes: attributes of the movie that go before those of the signal.

    Returns:
        The movie, with times, pixel size and units of the axes.

    Raises:
        InputError: more than one navigation axis, or no image.
    """
    axes = signal.axes_manager
    if axes.signal_dimension != 2 or axes.navigation_dimension > 1:
        raise InputError(
            f"A movie is a Signal2D with one navigation axis, this signal has {axes.navigation_dimension} and "
            f"{axes.signal_dimension} signal axes: choose one with .inav or .transpose."
        )
    x, y = axes.signal_axes
    about: dict[str, Any] = {"name": str(signal.metadata.General.title or "movie")}
    unit = units.length_unit(str(x.units or "")) if str(x.units) == str(y.units) else "px"
    if unit not in ("px", "<undefined>"):
        about |= {
            "pixel_size": (abs(float(y.scale)), abs(float(x.scale))),
            "length_unit": unit,
        }
    quantity = str(signal.metadata.get_item("Signal.quantity", default=""))
    if quantity.endswith(")"):
        about["intensity_unit"] = quantity.rpartition("(")[2][:-1]
    if axes.navigation_dimension:
        (time,) = axes.navigation_axes
        told = str(time.units)
        about["times"] = np.asarray(time.axis, float)
        about["time_unit"] = "frame" if told == "<undefined>" else units.time_unit(told)
    return Movie.from_array(np.asarray(signal.data), **(about | changes))


def _coordinates(movie: Movie, xarray: Any) -> dict[str, Any]:
    found = {"time": ("time", movie.times, unit_attributes(movie.time_unit))}
    for name, count, size in zip("yx", movie.shape[1:], movie.pixel_size, strict=True):
        found[name] = (name, size * np.arange(count), unit_attributes(movie.length_unit))
    return {k: xarray.Variable(*v) for k, v in found.items()}


def _step(array: Any, name: Any) -> float | None:
    """Spacing of a coordinate; None where there is none."""
    if name not in array.coords or array.sizes[name] < 2:
        return None
    steps = np.diff(np.asarray(array.coords[name].values, float))
    if not np.allclose(steps, steps.mean(), rtol=_UNEVEN, atol=0) or math.isclose(steps.mean(), 0):
        raise InputError(
            f"The coordinate {name} has uneven steps, and a movie even pixels: interpolate it (array.interp)."
        )
    return float(abs(steps.mean()))


def _length(array: Any, name: Any) -> str | None:
    told = unit_of(array.coords[name].attrs) if name in array.coords else None
    return units.length_unit(str(told or ""))


def _times(coordinate: Any) -> tuple[np.ndarray, str]:
    """Times as numbers and their unit; dates become seconds from the first."""
    values = np.asarray(coordinate.values)
    if values.dtype.kind in "mM":
        return (values - values[0]) / np.timedelta64(1, "s"), "s"
    return values.astype(float), units.time_unit(str(unit_of(coordinate.attrs) or ""))
