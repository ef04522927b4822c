"""A report as one self-contained HTML page: sentences, tables and figures, readable offline and printed."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from matplotlib.figure import Figure

from phdenoise.figures.plots import save, superscripts

REPORT = "report.html"
"""Name of the page in the folder of a chain."""

_CSS = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 60em; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 2em; border-bottom: 1px solid #ddd; }
img { max-width: 100%; height: auto; } figure { margin: 1em 0; } figcaption { color: #555; font-size: .9em; }
table { border-collapse: collapse; font-size: .9em; margin: 1em 0; }
td, th { padding: .25em .8em; border-bottom: 1px solid #ddd; text-align: left; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
"""


@dataclass(frozen=True)
class Section:
    """A heading with sentences, tables (list of rows as mappings) and figures with captions."""

    heading: str
    sentences: Sequence[str] = ()
    tables: Sequence[Sequence[Mapping[str, object]]] = ()
    figures: Sequence[tuple[Figure, str]] = field(default_factory=tuple)


def report_html(title: str, sections: Sequence[Section]) -> str:
    """The page; figures are embedded as PNG.

    Args:
        title: heading of the page.
        sections: in order.

    Returns:
        HTML.
    """
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width'>",
        f"<title>{html.escape(title)}</title><style>{_CSS}</style></head><body>",
        f"<h1>{html.escape(title)}</h1>",
    ]
    for section in sections:
        parts.append(f"<h2>{html.escape(section.heading)}</h2>")
        parts += [f"<p>{html.escape(superscripts(sentence))}</p>" for sentence in section.sentences]
        parts += [_table(rows) for rows in section.tables if rows]
        for figure, caption in section.figures:
            alt = html.escape(caption)
            parts.append(
                f"<figure><img src='data:image/png;base64,{_png(figure)}' alt='{alt}'>"
                f"<figcaption>{alt}</figcaption></figure>"
            )
    return "\n".join([*parts, "</body></html>\n"])


def _table(rows: Sequence[Mapping[str, object]]) -> str:
    head = "".join(f"<th>{html.escape(superscripts(str(name)))}</th>" for name in rows[0])
    body = "".join("<tr>" + "".join(_cell(v) for v in row.values()) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"<td>{html.escape(superscripts(str(value)))}</td>"
    text = "–" if value != value else f"{value:.4g}"
    return f"<td class='number'>{text}</td>"


def _png(figure: Figure) -> str:
    buffer = io.BytesIO()
    save(figure, buffer, dpi=130, kind="png")
    return base64.b64encode(buffer.getvalue()).decode("ascii")
