"""Our files as layers of napari, with times, pixel size and units."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from phdenoise.figures.scene import Scene, estimate_scene, movie_scene
from phdenoise.io.native import holds_estimate, read_estimate
from phdenoise.io.reading import read
from phdenoise.movie import Movie
from phdenoise.types import InputError

# Colour maps of napari for those of our figures.
_COLOURS = {"viridis": "viridis", "magma": "magma", "RdBu_r": "PiYG"}
# Units that napari's pint knows; others are pixels to it.
_KNOWN = ("um", "nm", "mm", "m", "s", "ms", "us", "min", "h")

LayerData = tuple[Any, dict[str, Any], str]


def reader_of(path: str | list[str]) -> Callable[[str | list[str]], list[LayerData]] | None:
    """The reader of a file, or None for one that holds no movie.

    Args:
        path: file; of several, none.

    Returns:
        The reader as napari calls it.
    """
    if not isinstance(path, str) or not Path(path).is_file():
        return None
    return read_layers


def read_layers(path: str | list[str]) -> list[LayerData]:
    """Layers of a file: noisy, denoised, sd and residual of an estimate, or the movie.

    Args:
        path: file.

    Returns:
        Data, attributes and kind of each layer.

    Raises:
        InputError: the file holds no movie.
    """
    file = path if isinstance(path, str) else path[0]
    if holds_estimate(file) == "estimate":
        estimate = read_estimate(file)
        return layers_of(estimate_scene(estimate), estimate.movie)
    movie = read(file)
    return layers_of(movie_scene(movie), movie)


def layers_of(scene: Scene, movie: Movie) -> list[LayerData]:
    """A scene as layers.

    Args:
        scene: to show.
        movie: that the layers belong to; kept in their metadata.

    Returns:
        Data, attributes and kind of each layer.
    """
    steps = np.diff(scene.times)
    interval = float(steps.mean()) if len(steps) else 1.0
    spelled = [u if u in _KNOWN else "pixel" for u in (scene.time_unit, *[scene.pixel.unit] * 2)]
    shared = {
        "scale": (interval, scene.pixel.dy, scene.pixel.dx),
        "axis_labels": ("t", "y", "x"),
        "units": tuple(spelled),
    }
    return [
        (
            layer.frames,
            {
                **shared,
                "name": layer.name,
                "colormap": _COLOURS[layer.colours],
                "contrast_limits": layer.limits,
                "metadata": {"movie": movie, "unit": layer.unit},
            },
            "image",
        )
        for layer in scene.layers
    ]


def movie_of(layer: Any) -> Movie:
    """The movie behind an image layer.

    Args:
        layer: of napari, with data [t, y, x].

    Returns:
        The movie; that of our own file where the layer came from one.

    Raises:
        InputError: the layer is no movie.
    """
    kept = layer.metadata.get("movie")
    if isinstance(kept, Movie):
        return kept
    data = np.asarray(layer.data)
    if data.ndim != 3 or getattr(layer, "rgb", False):
        raise InputError(
            f"The layer {layer.name} has the shape {data.shape}: choose a grey movie with the axes t, y, x."
        )
    interval, dy, dx = (float(s) for s in layer.scale[-3:])
    told = [str(u) for u in layer.units[-3:]]
    names = {"micrometer": "um", "nanometer": "nm", "millimeter": "mm", "meter": "m", "second": "s", "millisecond": "ms", "minute": "min", "hour": "h"}  # fmt: skip
    time, length = names.get(told[0], "frame"), names.get(told[1], "px")
    return Movie.from_array(
        data, times=interval * np.arange(len(data)), pixel_size=(dy, dx), time_unit=time, length_unit=length, name=layer.name
    )  # fmt: skip
