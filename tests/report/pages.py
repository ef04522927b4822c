"""What every report must be, whatever the chain."""

import csv
import re
from pathlib import Path

from phdenoise.report.definitions import defined


def assert_report(folder: Path) -> str:
    """The page of a folder: its parts in order, nothing from elsewhere, every number defined. Returns the page."""
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert_page(page)
    with (folder / "numbers.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    without = [(r["group"], r["name"]) for r in rows if not defined(r["group"], r["name"])]
    assert not without, f"numbers without definition: {without}"
    assert all(r["unit"] for r in rows)
    return page


def assert_page(page: str) -> None:
    """Headline first, then pictures, trust, numbers, origin; self-contained."""
    order = ["class='card", "<img src='data:image/png", "class='player'", "<h2>Trust", "<h2>How this was made"]  # fmt: skip
    places = [page.index(part) for part in order]
    assert places == sorted(places)
    for wanted in ("command", "version", "date", "Settings", "Cite:"):
        assert wanted in page[places[-1] :]
    plain = re.sub(r"data:[^'\"]*", "", page)
    assert not re.findall(r"(?:src|href)=['\"](?!#)[^'\"]+", plain)
    assert "http://" not in plain
    assert "https://" not in plain
