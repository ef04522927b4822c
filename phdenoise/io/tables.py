"""Tables of numbers as CSV."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def write_rows(path: Path, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Write a table.

    Args:
        path: CSV file.
        head: names of the columns.
        rows: of as many values.
    """
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(head)
        writer.writerows(rows)


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a table of named values.

    Args:
        path: CSV file.
        rows: that all have the columns of the first.
    """
    write_rows(path, list(rows[0]), [[row[name] for name in rows[0]] for row in rows])
