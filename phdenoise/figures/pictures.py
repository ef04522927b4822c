"""Small pictures of movies, estimates and laws beside their description in notebooks, as PNG."""

from collections.abc import Mapping, Sequence
from io import BytesIO

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from phdenoise.figures.plots import COLOURS, save
from phdenoise.summary import Panel

# Side of a panel [inch] and resolution [dots per inch]: three panels fill half the width of a notebook.
_SIDE, _DPI = 1.7, 100
# Largest side of an image that is drawn [px]; of a larger one every second, third ... pixel is shown.
_MOST_PIXELS = 256
# Pairs of pictures side by side: six of them fill a page.
_IN_A_ROW = 6


def images_png(rows: Sequence[Sequence[Panel]]) -> bytes:
    """Rows of images; those of one row share a grey scale, taken from the last, and each sd has one of its own.

    Args:
        rows: of panels.

    Returns:
        A PNG file.
    """
    columns = max(len(row) for row in rows)
    ny, nx = rows[0][0].image.shape
    height = _SIDE * min(max(ny / nx, 0.3), 2.0)
    figure = Figure(figsize=(_SIDE * columns, (height + 0.25) * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for line, panels in zip(axes, rows, strict=True):
        values = [p.image for p in panels if not p.spread]
        low, high = _limits(values[-1]) if values else (0.0, 1.0)
        for axis in line:
            axis.axis("off")
        for axis, panel in zip(line, panels, strict=False):
            step = -(-max(panel.image.shape) // _MOST_PIXELS)
            image = np.asarray(panel.image, float)[::step, ::step]
            top = _limits(panel.image)[1]
            span = {"vmin": 0.0, "vmax": top} if panel.spread else {"vmin": low, "vmax": high}
            axis.imshow(image, cmap="magma" if panel.spread else "viridis", **span)
            axis.set_title(panel.title, fontsize=8)
    return _png(figure)


def pairs(shown: Mapping[str, tuple[Float[np.ndarray, "y x"], Float[np.ndarray, "y x"]]]) -> Figure:
    """Pairs of frames, noisy above denoised, six in a row; those of a pair share a grey scale.

    Args:
        shown: name -> (noisy, denoised) [y, x].

    Returns:
        The figure.
    """
    wide = min(_IN_A_ROW, len(shown))
    lines = -(-len(shown) // wide)
    figure = Figure(figsize=(_SIDE * wide, 2.2 * _SIDE * lines), layout="constrained")
    axes = figure.subplots(2 * lines, wide, squeeze=False)
    for axis in axes.ravel():
        axis.axis("off")
    for k, (name, images) in enumerate(shown.items()):
        low, high = _limits(images[-1])
        for row, image in enumerate(images):
            axis = axes[2 * (k // wide) + row, k % wide]
            axis.imshow(np.asarray(image, float), cmap="viridis", vmin=low, vmax=high)
        axes[2 * (k // wide), k % wide].set_title(name.replace("$", r"\$"), fontsize=7)
    return figure


def bands_png(curves: Mapping[str, Float[np.ndarray, " n"]]) -> bytes:
    """Curves with their 90 % bands, a panel for each.

    Args:
        curves: every NAME with NAME_low and NAME_high is drawn, against the first that has none.

    Returns:
        A PNG file.
    """
    names = [n for n in curves if f"{n}_low" in curves and f"{n}_high" in curves]
    edges = {f"{n}_{edge}" for n in names for edge in ("low", "high", "sd")}
    x_name = next(n for n in curves if n not in edges and n not in names)
    names = names or [x_name]
    figure = Figure(figsize=(2.4 * len(names), 1.9), layout="constrained")
    axes = figure.subplots(1, len(names), squeeze=False)[0]
    x = np.asarray(curves[x_name])
    for axis, name, colour in zip(axes, names, COLOURS, strict=False):
        value = np.asarray(curves[name])
        axis.plot(x, value, color=colour, lw=1.2)
        if f"{name}_low" in curves:
            band = (np.asarray(curves[f"{name}_{edge}"]) for edge in ("low", "high"))
            axis.fill_between(x, *band, color=colour, alpha=0.2, lw=0)
        axis.set_xlabel(x_name, fontsize=8)
        axis.set_title(name, fontsize=8)
        axis.tick_params(labelsize=7)
    return _png(figure)


def _limits(image: np.ndarray) -> tuple[float, float]:
    """A scale without the 0.2 % of darkest and brightest pixels."""
    values = np.asarray(image, float)
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = np.quantile(values, [0.002, 0.998])
    return float(low), float(max(high, low + 1e-12 * (1 + abs(low))))


def _png(figure: Figure) -> bytes:
    buffer = BytesIO()
    save(figure, buffer, dpi=_DPI, kind="png")
    return buffer.getvalue()
