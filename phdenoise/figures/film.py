"""Films: the layers of a scene side by side, a picture for each frame, with time, colour bars and scale bar."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from phdenoise.figures.marks import bare, letter, scale_bar, typeset
from phdenoise.figures.scene import Scene

# Width of a layer [inch], and dots per inch: four layers are 1,280 dots wide.
_SIDE, _DPI = 3.2, 100
# Video codecs take pictures whose sides are multiples of this [px].
_MULTIPLE = 16


def film(scene: Scene) -> Iterator[UInt8[np.ndarray, "y x 3"]]:
    """Pictures of a scene, frame by frame.

    Args:
        scene: what to show.

    Yields:
        Red, green and blue of each frame, all of one size.
    """
    _, ny, nx = scene.layers[0].frames.shape
    aspect = scene.pixel.dy / scene.pixel.dx
    height = _SIDE * float(np.clip(ny * aspect / nx, 0.3, 2.0)) + 0.6
    wide, high = (_whole(v) for v in (_SIDE * len(scene.layers), height))
    figure = Figure(figsize=(wide, high), dpi=_DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(scene.layers), squeeze=False)[0]
    shown = []
    for axis, layer in zip(axes, scene.layers, strict=True):
        low, high_end = layer.limits
        shown.append(
            axis.imshow(
                layer.frames[0], vmin=low, vmax=high_end, cmap=layer.colours, aspect=aspect,
                interpolation="nearest",
            )
        )  # fmt: skip
        bare(axis)
        axis.set_title(layer.name, fontsize=9)
        bar = figure.colorbar(shown[-1], ax=axis, location="bottom", shrink=0.8, aspect=25)
        bar.set_label(f"[{layer.unit}]", fontsize=8)
        bar.ax.tick_params(labelsize=7)
    scale_bar(axes[0], (ny, nx), scene.pixel)
    letter(axes)
    time = figure.suptitle("", fontsize=9)
    typeset(figure.findobj(match=type(time)))
    for t in range(len(scene.times)):
        for image, layer in zip(shown, scene.layers, strict=True):
            image.set_data(layer.frames[t])
        time.set_text(scene.when(t))
        if t == 1:
            # The panels keep the places of the first picture, so that nothing jumps.
            figure.set_layout_engine("none")
        canvas.draw()
        yield np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _whole(inches: float) -> float:
    return -(-inches * _DPI // _MULTIPLE) * _MULTIPLE / _DPI
