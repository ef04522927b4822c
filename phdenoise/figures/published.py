"""Figures of a study as they are published: PNG and PDF with fonts, the data of each panel as CSV, and their origin within.

    with published({"study": "twin", "git": ...}):
        save(figure, folder / "error.png")         # also error.pdf, error_panel1.csv ...

Outside of it, `save` writes one file.
"""

import csv
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

_MANIFEST: ContextVar[Mapping[str, str] | None] = ContextVar("manifest", default=None)
# Type 42: fonts are embedded as fonts, which journals ask for.
_EMBEDDED: Any = {"pdf.fonttype": 42, "ps.fonttype": 42}


@contextmanager
def published(manifest: Mapping[str, str]) -> Iterator[None]:
    """Let figures that are saved as PNG tell their origin, and lie beside their PDF and their data.

    Args:
        manifest: name -> what to tell.
    """
    token = _MANIFEST.set(manifest)
    try:
        yield
    finally:
        _MANIFEST.reset(token)


def metadata(kind: str) -> dict[str, str]:
    """What a file of a kind holds of its origin; nothing outside of `published`."""
    manifest = _MANIFEST.get()
    if manifest is None:
        return {}
    text = json.dumps(dict(manifest))
    return {"png": {"Description": text}, "pdf": {"Subject": text}}.get(kind, {})


def write_beside(figure: Figure, path: Path) -> None:
    """The PDF of a figure and the data of its panels, where figures are `published`.

    Args:
        figure: whose PNG was written.
        path: of the PNG.
    """
    if _MANIFEST.get() is None:
        return
    with mpl.rc_context(_EMBEDDED):
        figure.savefig(path.with_suffix(".pdf"), metadata=metadata("pdf"))
    for number, axes in enumerate(figure.axes, 1):
        rows = panel_data(axes)
        if rows:
            with (path.parent / f"{path.stem}_panel{number}.csv").open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(["series", axes.get_xlabel() or "x", axes.get_ylabel() or "y"])
                writer.writerows(rows)


def panel_data(axes: Axes) -> list[tuple[str, float, float]]:
    """What a panel shows: points of its lines and edges of its bands.

    Args:
        axes: of the panel.

    Returns:
        (label of the series, x, y), in the order of drawing.
    """
    rows: list[tuple[str, float, float]] = []
    for k, line in enumerate(axes.get_lines()):
        rows += _rows(_name(line.get_label(), f"line {k + 1}"), line.get_xydata())
    for k, band in enumerate(c for c in axes.collections if isinstance(c, PolyCollection)):
        for path in band.get_paths():
            rows += _rows(_name(band.get_label(), f"band {k + 1}"), path.vertices)
    for k, container in enumerate(axes.containers):
        for patch in container:
            if hasattr(patch, "get_height"):
                at = np.asarray([[patch.get_x() + patch.get_width() / 2, patch.get_height()]])
                rows += _rows(_name(container.get_label(), f"bars {k + 1}"), at)
    return rows


def _name(label: object, otherwise: str) -> str:
    text = str(label)
    return otherwise if re.match(r"_|$", text) else text


def _rows(name: str, points: object) -> list[tuple[str, float, float]]:
    return [(name, float(x), float(y)) for x, y in np.asarray(points, float)]
