"""Figures of a study as they are published: PNG and PDF with fonts, the data of each panel as CSV, and their origin within.

    with published({"study": "twin", "git": ...}):
        save(figure, folder / "error.png")         # also error.pdf, error_a.csv ...

Outside of it, `save` writes one file.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from phdenoise.figures.panel_data import write_panels

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
    write_panels(figure, path.parent, path.stem)
