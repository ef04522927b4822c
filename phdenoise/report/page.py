"""A report as one self-contained HTML page, the same for all chains, readable offline and printed.

What was measured, with interval and verdict; pictures; the law; trust as traffic lights whose details are folded away;
all numbers with their definitions; where it all comes from.
"""

import base64
import html
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from importlib.resources import files

from matplotlib.figure import Figure

from phdenoise.figures.marks import HALF_WIDTH, superscripts, typeset_text
from phdenoise.figures.plots import save
from phdenoise.figures.scene import Scene
from phdenoise.io.jsonfile import to_json
from phdenoise.report.definitions import defined
from phdenoise.report.origin import Origin
from phdenoise.report.player import IN_REPORT, player_html

# Logarithm of the factor of an interval, at most: exp of more overflows.
_LARGEST_EXPONENT = 700.0

REPORT = "report.html"
"""Name of the page in the folder of a chain."""


class Verdict(Enum):
    """How far a finding may be trusted: class of its colour, mark, and word."""

    GOOD = ("good", "●", "good")
    LOOK = ("look", "▲", "look at this")
    BAD = ("bad", "■", "do not trust")
    NONE = ("none", "○", "not judged")

    @property
    def html(self) -> str:
        """Mark and word, so that colour is not all that tells them apart."""
        kind, mark, word = self.value
        return f"<span class='mark {kind}'>{mark} {word}</span>"

    @classmethod
    def of(cls, holds: bool | None) -> "Verdict":
        """Verdict on something that holds, does not, or may."""
        return {True: cls.GOOD, False: cls.BAD, None: cls.LOOK}[holds]


@dataclass(frozen=True)
class Section:
    """A heading with sentences, tables (list of rows as mappings), figures with captions, and a player."""

    heading: str
    sentences: Sequence[str] = ()
    tables: Sequence[Sequence[Mapping[str, object]]] = ()
    figures: Sequence[tuple[Figure, str]] = field(default_factory=tuple)
    scene: Scene | None = None


@dataclass(frozen=True)
class Finding:
    """What was measured.

    Attributes:
        what: quantity.
        value: with unit.
        interval: its 90 % interval with unit; "" where it has none.
        verdict: whether to trust it.
        why: one sentence.
    """

    what: str
    value: str
    interval: str = ""
    verdict: Verdict = Verdict.NONE
    why: str = ""


@dataclass(frozen=True)
class Light:
    """One check of the result: verdict, name, one sentence, and the evidence for it."""

    verdict: Verdict
    name: str
    sentence: str
    details: Section | None = None


@dataclass(frozen=True)
class Report:
    """A report.

    Attributes:
        title: heading of the page.
        findings: what was measured, first of all.
        origin: where it comes from.
        pictures: the movie.
        law: what was learned of it; empty where no law was asked for.
        trust: checks.
        details: shown folded.
        numbers: rows of group, name, value, sd, unit.
    """

    title: str
    findings: Sequence[Finding]
    origin: Origin
    pictures: Sequence[Section] = ()
    law: Sequence[Section] = ()
    trust: Sequence[Light] = ()
    details: Sequence[Section] = ()
    numbers: Sequence[Mapping[str, object]] = ()


def measured(
    what: str,
    value: float,
    sd: float,
    unit: str,
    verdict: Verdict,
    why: str = "",
    *,
    positive: bool = False,
) -> Finding:
    """A finding whose errors are Gaussian.

    Args:
        what: quantity.
        value: of it [unit].
        sd: its standard deviation [unit]; NaN where it is not known.
        unit: of both; "1" for a pure number.
        verdict: whether to trust it.
        why: one sentence.
        positive: the errors are those of its logarithm: a rate is never negative.

    Returns:
        The finding with its 90 % interval.
    """
    low, high = value - HALF_WIDTH * sd, value + HALF_WIDTH * sd
    if positive and value > 0:
        factor = math.exp(min(HALF_WIDTH * sd / value, _LARGEST_EXPONENT))
        low, high = value / factor, value * factor
    return between(what, value, (low, high), unit, verdict, why)


def between(
    what: str,
    value: float,
    interval: tuple[float, float],
    unit: str,
    verdict: Verdict,
    why: str = "",
) -> Finding:
    """A finding with an interval that is given.

    Args:
        what: quantity.
        value: of it [unit].
        interval: its 90 % interval [unit]; NaN where it is not known.
        unit: of all; "1" for a pure number.
        verdict: whether to trust it.
        why: one sentence.

    Returns:
        The finding.
    """
    shown = "" if unit == "1" else f" {unit}"
    low, high = interval
    bounds = "" if low != low or high != high else f"90 %: {low:.3g} to {high:.3g}{shown}"
    if low < 0 < high:
        why = f"{why} The interval holds zero.".strip()
    return Finding(what, f"{value:.3g}{shown}", bounds, verdict, why)


def report_html(report: Report) -> str:
    """The page; figures are embedded as PNG, movies as players.

    Args:
        report: what to show.

    Returns:
        HTML.
    """
    body = [
        f"<h1>{_text(report.title)}</h1>",
        f"<p>{_text(report.origin.date)}, phdenoise {_text(report.origin.version)}</p>",
        *_cards(report.findings),
        *_sections(report.pictures),
        *_sections(report.law),
    ]
    if report.trust:
        body += ["<h2>Trust</h2>", *(_light(light) for light in report.trust)]
    body += [_folded(section) for section in report.details]
    if report.numbers:
        rows = [
            {**row, "definition": defined(str(row["group"]), str(row["name"]))}
            for row in report.numbers
        ]
        body += [
            "<h2>Numbers</h2>",
            f"<details class='plain'><summary>{len(rows)} numbers with one standard deviation and their definition"
            f"</summary>{_table(rows)}</details>",
        ]
    return page_html(report.title, [*body, *_made(report.origin)])


def page_html(title: str, body: Sequence[str]) -> str:
    """A page with the style and the script of reports.

    Args:
        title: of the window.
        body: HTML.

    Returns:
        HTML.
    """
    style, script = (
        files("phdenoise.report").joinpath(name).read_text(encoding="utf-8")
        for name in ("page.css", "player.js")
    )
    head = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width'>",
        # Nothing is asked of a server, not even the little picture of the window.
        "<link rel='icon' href='data:,'>",
        f"<title>{_text(title)}</title><style>{style}</style></head><body>",
    ]
    return "\n".join([*head, *body, f"<script>{script}</script></body></html>\n"])


def _text(text: object) -> str:
    return html.escape(superscripts(str(text)))


def _cards(findings: Sequence[Finding]) -> list[str]:
    parts = ["<div class='cards'>"]
    for one in findings:
        kind = one.verdict.value[0]
        value, interval = typeset_text(one.value), typeset_text(one.interval)
        parts.append(
            f"<div class='card {kind}'><div>{_text(one.what)}</div><div class='value'>{_text(value)}</div>"
            f"<div class='interval'>{_text(interval)}</div>{one.verdict.html}"
            f"<div class='why'>{_text(one.why)}</div></div>"
        )
    return [*parts, "</div>"]


def _sections(sections: Sequence[Section]) -> list[str]:
    return [
        part for section in sections for part in (f"<h2>{_text(section.heading)}</h2>", *_body(section))
    ]  # fmt: skip


def _body(section: Section) -> list[str]:
    parts = [f"<p>{_text(sentence)}</p>" for sentence in section.sentences]
    parts += [_figure(figure, caption) for figure, caption in section.figures]
    if section.scene is not None:
        parts.append(player_html(section.scene, IN_REPORT))
    return parts + [_table(rows) for rows in section.tables if rows]


def _figure(figure: Figure, caption: str) -> str:
    alt = _text(caption)
    return (
        f"<figure><img src='data:image/png;base64,{_png(figure)}' alt='{alt}'>"
        f"<figcaption>{alt}</figcaption></figure>"
    )


def _light(light: Light) -> str:
    said = f"{light.verdict.html} <b>{_text(light.name)}</b>: {_text(light.sentence)}"
    inside = _body(light.details) if light.details is not None else ["<p>No further details.</p>"]
    return f"<details class='{light.verdict.value[0]}'><summary>{said}</summary>{''.join(inside)}</details>"


def _folded(section: Section) -> str:
    inside = "".join(_body(section))
    return f"<details class='plain'><summary>{_text(section.heading)}</summary>{inside}</details>"


def _made(origin: Origin) -> list[str]:
    rows = [{"what": name, "value": value} for name, value in origin.facts().items()]
    settings = _text(to_json(origin.settings, indent=2))
    return [
        "<h2>How this was made</h2>",
        _table(rows),
        f"<details class='plain'><summary>Settings</summary><pre>{settings}</pre></details>",
        f"<p><b>Cite:</b> {_text(origin.citation)}</p>",
    ]


def _table(rows: Sequence[Mapping[str, object]]) -> str:
    head = "".join(f"<th>{_text(name)}</th>" for name in rows[0])
    body = "".join("<tr>" + "".join(_cell(v) for v in row.values()) + "</tr>" for row in rows)
    return f"<div class='wide'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _cell(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"<td>{_text(value)}</td>"
    text = "–" if value != value else f"{value:.4g}"
    return f"<td class='number'>{text}</td>"


def _png(figure: Figure) -> str:
    buffer = io.BytesIO()
    save(figure, buffer, dpi=130, kind="png")
    return base64.b64encode(buffer.getvalue()).decode("ascii")
