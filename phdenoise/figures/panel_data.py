"""The numbers of a figure, panel by panel, read from what is drawn: lines, points, bands, maps."""

import csv
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.container import BarContainer
from matplotlib.figure import Figure

from phdenoise.figures.marks import BAR

# Label of the axes that hold a colour bar.
_COLOUR_BAR = "<colorbar>"


class Panel(NamedTuple):
    """The table of one panel.

    Attributes:
        name: letter of the panel, with the number of the map where a row has several.
        head: names of the columns, with units as on the axes.
        rows: of as many values.
    """

    name: str
    head: list[str]
    rows: list[list[Any]]


def panels(figure: Figure) -> list[Axes]:
    """The panels of a figure without its colour bars and without those that show nothing."""
    return [a for a in figure.axes if a.get_label() != _COLOUR_BAR and a.axison]


def panel_tables(figure: Figure) -> list[Panel]:
    """A table for each panel that shows data.

    Args:
        figure: drawn with this package.

    Returns:
        Tables: of curves (series, x, y, low, high) in one table, of each map its values [y, x].
    """
    tables, letter, number = [], "a", 0
    for axis in panels(figure):
        found = axis.get_title(loc="left")
        letter, number = (found, 1) if found else (letter, number + 1)
        name = letter if number == 1 else f"{letter}{number}"
        if axis.images:
            image = np.asarray(axis.images[0].get_array(), float)
            if image.ndim == 2:
                head = [f"column {k}" for k in range(image.shape[1])]
                tables.append(Panel(name, head, np.ma.filled(image, np.nan).tolist()))
            continue
        rows = [*_lines(axis), *_points(axis), *_bands(axis), *_bars(axis)]
        if rows:
            x, y = axis.get_xlabel() or "x", axis.get_ylabel() or "y"
            tables.append(Panel(name, ["series", x, y, "low", "high"], rows))
    return tables


def write_panels(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write the table of each panel that shows data.

    Args:
        figure: drawn with this package.
        folder: that exists.
        name: of the figure; that of a table has the name of its panel added.

    Returns:
        The files written.
    """
    made = []
    for panel in panel_tables(figure):
        made.append(folder / f"{name}_{panel.name}.csv")
        with made[-1].open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([panel.head, *panel.rows])
    return made


def _lines(axis: Axes) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for number, line in enumerate(axis.lines):
        if line.get_gid() == BAR or not _is_data(axis, line):
            continue
        x, y = (np.atleast_1d(np.asarray(v, float)) for v in line.get_data(orig=False))
        name = _called(line, f"line {number + 1}")
        rows += [[name, float(a), float(b), "", ""] for a, b in zip(x, y, strict=True)]
    return rows


def _points(axis: Axes) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for number, points in enumerate(axis.collections):
        if isinstance(points, PathCollection):
            name = _called(points, f"points {number + 1}")
            rows += [
                [name, float(x), float(y), "", ""] for x, y in np.asarray(points.get_offsets())
            ]
    return rows


def _bands(axis: Axes) -> list[list[Any]]:
    """Bands of `fill_between`: for each x the lowest and the highest corner."""
    rows: list[list[Any]] = []
    number = 0
    for band in axis.collections:
        if not isinstance(band, PolyCollection):
            continue
        number += 1
        name = _called(band, f"band {number}")
        for path in band.get_paths():
            corners = np.asarray(path.vertices)
            for x in np.unique(corners[:, 0]):
                y = corners[corners[:, 0] == x, 1]
                rows.append([name, float(x), "", float(y.min()), float(y.max())])
    return rows


def _bars(axis: Axes) -> list[list[Any]]:
    """Bars: middle and height of each."""
    rows: list[list[Any]] = []
    for number, bars in enumerate(c for c in axis.containers if isinstance(c, BarContainer)):
        name = _called(bars, f"bars {number + 1}")
        rows += [[name, b.get_x() + b.get_width() / 2, b.get_height(), "", ""] for b in bars]
    return rows


def _is_data(axis: Axes, line: Any) -> bool:
    """Not a line across the panel, such as that at zero."""
    return bool(line.get_transform().contains_branch(axis.transData)) and (
        line.get_transform() == axis.transData
    )


def _called(artist: Any, otherwise: str) -> str:
    label = str(artist.get_label())
    return otherwise if label.startswith("_") or not label else label
