"""How figures are written; apart from what draws, so that the command line need not import it."""

from dataclasses import dataclass
from typing import Literal

FigureKind = Literal["png", "svg", "pdf", "csv"]


@dataclass(frozen=True)
class FigureConfig:
    """How figures are written beside a report."""

    figures: tuple[FigureKind, ...] = ("png",)
    """Formats of the figures beside the report: png, svg, pdf; csv writes the data of each panel as NAME_a.csv, NAME_b.csv ..."""
