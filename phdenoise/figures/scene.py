"""Versions of a movie side by side: noisy, denoised, sd, residual; what a strip, a player and a film show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Shaped
from matplotlib.figure import Figure

from phdenoise.figures.marks import Picture, Pixel, bare, letter, scale_bar
from phdenoise.movie import Estimate, Movie

# Width of a page of a journal [inch].
_WIDE = 7.0
# Share of values below and above the colours' limits: single hot pixels do not set the scale.
_CUT = 0.002
# Height of a row [inch]: of a very flat map, and at most.
_LOWEST, _HIGHEST = 0.55, 1.6


@dataclass(frozen=True)
class Layer:
    """One version of a movie.

    Attributes:
        name: such as "noisy".
        frames: values [t, y, x] [unit], NaN where not known.
        unit: of the values.
        colours: name of the matplotlib colour map.
        limits: values of its ends [unit].
        scale: layers of one scale keep their limits together.
    """

    name: str
    frames: Shaped[np.ndarray, "t y x"]
    unit: str
    colours: str
    limits: tuple[float, float]
    scale: str


@dataclass(frozen=True)
class Scene:
    """Layers of the same pixels at the same times.

    Attributes:
        layers: one or more.
        times: of the frames [t] [time_unit].
        time_unit: of the times.
        pixel: size of a pixel.
    """

    layers: tuple[Layer, ...]
    times: np.ndarray
    time_unit: str
    pixel: Pixel

    def when(self, t: int) -> str:
        """The time of a frame in words."""
        return f"{self.times[t]:.4g} {self.time_unit}"

    def without(self, *names: str) -> "Scene":
        """The scene without some of its layers."""
        return replace(self, layers=tuple(x for x in self.layers if x.name not in names))


def values(name: str, frames: np.ndarray, unit: str, like: np.ndarray | None = None) -> Layer:
    """A layer of intensities.

    Args:
        name: of the layer.
        frames: values [t, y, x] [unit].
        unit: of the values.
        like: frames whose range gives the colours' limits; by default its own.

    Returns:
        The layer.
    """
    return Layer(
        name, frames, unit, "viridis", _range(frames if like is None else like), "intensity"
    )


def spread(name: str, frames: np.ndarray, unit: str) -> Layer:
    """A layer of standard deviations, from 0.

    Args:
        name: of the layer.
        frames: standard deviations [t, y, x] [unit].
        unit: of the values.

    Returns:
        The layer.
    """
    return Layer(name, frames, unit, "magma", (0.0, _range(frames)[1]), name)


def signed(
    name: str, frames: np.ndarray, unit: str, like: np.ndarray | None = None, scale: str = ""
) -> Layer:
    """A layer of values about zero.

    Args:
        name: of the layer.
        frames: values [t, y, x] [unit].
        unit: of the values.
        like: frames whose range gives the colours' limits; by default its own.
        scale: layers of one scale keep their limits together; by default on its own.

    Returns:
        The layer.
    """
    top = _range(np.abs(frames if like is None else like))[1]
    return Layer(name, frames, unit, "RdBu_r", (-top, top), scale or name)


def scene_of(movie: Movie, layers: Sequence[Layer]) -> Scene:
    """Layers with the times and pixels of a movie.

    Args:
        movie: that the layers belong to.
        layers: of the shape of the movie.

    Returns:
        The scene.
    """
    return Scene(tuple(layers), movie.times, movie.time_unit, pixel_of(movie))


def pixel_of(movie: Movie) -> Pixel:
    """Size of the pixels of a movie."""
    return Pixel(*movie.pixel_size, movie.length_unit)


def movie_scene(movie: Movie) -> Scene:
    """A movie alone."""
    return scene_of(movie, [values("measured", movie.frames, movie.intensity_unit)])


def estimate_scene(estimate: Estimate, truth: np.ndarray | None = None) -> Scene:
    """Noisy, denoised, sd and residual of an estimate, and the truth where there is one.

    Args:
        estimate: denoised movie.
        truth: clean frames [t, y, x].

    Returns:
        The scene.
    """
    movie, mean = estimate.movie, estimate.mean
    unit = movie.intensity_unit
    layers = [
        values("noisy", movie.frames, unit, mean),
        values("denoised", mean, unit),
        spread("sd", np.sqrt(estimate.variance), unit),
        signed("residual", movie.frames - mean, unit),
    ]
    if truth is not None:
        layers.insert(2, values("truth", truth, unit, mean))
    return scene_of(movie, layers)


def movie_strip(scene: Scene, columns: int = 4, rows: Mapping[str, str] | None = None) -> Figure:
    """Frames of each layer from the first to the last, each scale with its colour bar.

    Args:
        scene: what to show.
        columns: how many times to show.
        rows: name of a layer -> label of its row; by default the name.

    Returns:
        The figure, with times above, a scale bar and letters for the rows.
    """
    layers = scene.layers
    count, ny, nx = layers[0].frames.shape
    spaced = np.linspace(0, count - 1, min(columns, count)).round().astype(int)
    pick = [int(t) for t in np.unique(spaced)]
    shape = ny * scene.pixel.dy / (nx * scene.pixel.dx)
    height = float(np.clip(shape * 0.85 * _WIDE / len(pick), _LOWEST, _HIGHEST))
    figure = Picture(figsize=(_WIDE, height * len(layers) + 0.5), layout="constrained")
    axes = figure.subplots(len(layers), len(pick), squeeze=False)
    for line, layer in zip(axes, layers, strict=True):
        low, high = layer.limits
        for axis, t in zip(line, pick, strict=True):
            axis.imshow(
                layer.frames[t], vmin=low, vmax=high, cmap=layer.colours, interpolation="nearest",
                aspect=scene.pixel.dy / scene.pixel.dx,
            )  # fmt: skip
            bare(axis)
        line[0].set_ylabel((rows or {}).get(layer.name, layer.name), fontsize=8)
    for axis, t in zip(axes[0], pick, strict=True):
        axis.set_title(scene.when(t), fontsize=8)
    scale_bar(axes[0, 0], (ny, nx), scene.pixel)
    letter(axes[:, 0])
    scales = [layer.scale for layer in layers]
    for scale in dict.fromkeys(scales):
        same = [k for k, name in enumerate(scales) if name == scale]
        layer = layers[same[0]]
        beside = axes[same].ravel().tolist()
        bar = figure.colorbar(
            axes[same[0], 0].images[0], ax=beside, shrink=0.9, aspect=10 * len(same)
        )
        # Along one row there is room for a word a line.
        unit = layer.unit.replace(" ", "\n") if len(same) == 1 else layer.unit
        bar.set_label(f"[{unit}]", fontsize=7)
        bar.ax.tick_params(labelsize=7)
    return figure


def plot_movie(movie: Movie, columns: int = 4) -> Figure:
    """Frames of a movie from the first to the last.

    Args:
        movie: to show.
        columns: how many frames.

    Returns:
        The figure.
    """
    return movie_strip(movie_scene(movie), columns)


def plot_estimate(estimate: Estimate, columns: int = 4) -> Figure:
    """Noisy, denoised, sd and residual from the first to the last frame.

    Args:
        estimate: to show.
        columns: how many frames.

    Returns:
        The figure.
    """
    return movie_strip(estimate_scene(estimate), columns)


def _range(frames: np.ndarray) -> tuple[float, float]:
    """Ends of the values without the outermost; never equal."""
    known = frames[np.isfinite(frames)]
    if not known.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.quantile(known, [_CUT, 1 - _CUT]))
    return low, max(high, low + 1e-12 * (1 + abs(low)))
