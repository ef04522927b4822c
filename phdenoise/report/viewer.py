"""What `phdenoise view` shows: the layers of any result, and the page that plays them."""

import html
from dataclasses import replace
from pathlib import Path

import numpy as np

from phdenoise.channels import ChannelsEstimate
from phdenoise.figures.scene import Scene, estimate_scene, movie_scene, spread
from phdenoise.io.atomic import MARKER
from phdenoise.io.native import holds_estimate, read_estimate
from phdenoise.io.native_channels import read_channels_estimate
from phdenoise.movie import Movie
from phdenoise.report.page import page_html
from phdenoise.report.player import ALONE, player_html
from phdenoise.types import InputError

# The result in the folder of a chain, the first that is there.
_RESULTS = ("results.h5", "lithium.h5", "fraction.h5", "denoised.h5", "counts.h5", "channels.h5")


def result_file(path: str) -> str:
    """The file to show: of the folder of a chain its main result.

    Args:
        path: file, `FILE::DATASET` or folder.

    Returns:
        The file; folders of frames are left as they are.
    """
    folder = Path(path)
    if not (folder / MARKER).is_file():
        return path
    found = [folder / name for name in _RESULTS if (folder / name).is_file()]
    return str(found[0]) if found else path


def result_scene(path: str) -> Scene | None:
    """The layers of a file that holds an estimate.

    Args:
        path: file.

    Returns:
        Noisy, denoised, sd and residual, of each channel where there are several; None for any other file.
    """
    kind = holds_estimate(path)
    if kind == "channels":
        return _channels_scene(read_channels_estimate(path))
    return estimate_scene(read_estimate(path)) if kind == "estimate" else None


def movie_with_sd(movie: Movie, sd: Movie | None) -> Scene:
    """The layers of a movie that is no estimate.

    Args:
        movie: to show.
        sd: its standard deviation, of a TIFF that came with one.

    Returns:
        The scene.
    """
    scene = movie_scene(movie)
    if sd is None or sd.shape != movie.shape:
        return scene
    layer = spread("sd", np.asarray(sd.frames), movie.intensity_unit)
    return replace(scene, layers=(*scene.layers, layer))


def chosen(scene: Scene, names: tuple[str, ...]) -> Scene:
    """Some of the layers, in the order asked for.

    Args:
        scene: with all layers.
        names: of the layers; none takes all.

    Returns:
        The scene.

    Raises:
        InputError: no such layer.
    """
    known = {layer.name: layer for layer in scene.layers}
    wrong = [n for n in names if n not in known]
    if wrong:
        raise InputError(
            f"There is no layer '{wrong[0]}': this result has {', '.join(known)}; name them with --layers."
        )
    return replace(scene, layers=tuple(known[n] for n in names)) if names else scene


def viewer_html(scene: Scene, title: str) -> str:
    """A page that plays a scene.

    Args:
        scene: what to show.
        title: of the page.

    Returns:
        HTML.
    """
    about = "Drag the slider or press Play; type limits for the colours; move over a picture to read its values."
    body = [f"<h1>{html.escape(title)}</h1>", f"<p>{about}</p>", player_html(scene, ALONE)]
    return page_html(title, body)


def _channels_scene(result: ChannelsEstimate) -> Scene:
    scenes = [estimate_scene(e) for e in result.estimates]
    layers = tuple(
        replace(layer, name=f"{name} {layer.name}", scale=f"{name} {layer.scale}")
        for name, scene in zip(result.names, scenes, strict=True)
        for layer in scene.layers
    )
    return replace(scenes[0], layers=layers)
