"""What every report leaves in a folder: the page, its figures and their data, the numbers and their origin."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from phdenoise.figures.panel_data import write_panels
from phdenoise.figures.plots import save
from phdenoise.io.jsonfile import write_json
from phdenoise.io.tables import write_table
from phdenoise.report.figure_config import FigureConfig, FigureKind
from phdenoise.report.page import REPORT, Report, report_html

# Name of a file -> figure and caption.
Drawn = Mapping[str, tuple[Figure, str]]
# Resolution of figures as pixels [dots per inch]: what print asks for.
_DPI = 300


def write_report(
    folder: Path,
    report: Report,
    drawn: Drawn,
    provenance: Mapping[str, Any],
    config: FigureConfig | None = None,
) -> None:
    """Write report.html, the figures, numbers.csv and provenance.json.

    Args:
        folder: that exists.
        report: the page.
        drawn: figures by the name of their file.
        provenance: versions, settings and inputs; command, version and date are added.
        config: formats of the figures.
    """
    write_table(folder / "numbers.csv", report.numbers)
    about = {k: getattr(report.origin, k) for k in ("command", "version", "date")}
    write_json({**about, **provenance}, folder / "provenance.json")
    figures = {name: figure for name, (figure, _) in drawn.items()}
    write_figures(folder, figures, (config or FigureConfig()).figures)
    (folder / REPORT).write_text(report_html(report), encoding="utf-8")


def write_figures(
    folder: Path, figures: Mapping[str, Figure], kinds: Sequence[FigureKind]
) -> list[Path]:
    """Write figures, and the data of their panels.

    Args:
        folder: that exists.
        figures: by the name of their file.
        kinds: formats.

    Returns:
        The files written.
    """
    made = []
    for name, figure in figures.items():
        for kind in kinds:
            if kind == "csv":
                made += write_panels(figure, folder, name)
                continue
            made.append(folder / f"{name}.{kind}")
            save(figure, made[-1], dpi=_DPI, kind=kind)
    return made
