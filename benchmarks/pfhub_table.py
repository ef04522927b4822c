"""Tables of PFHub benchmark 1 runs: a row for each output time, in CSV."""

import csv
from pathlib import Path

# Times at which runs are compared, those that the uploads cover.
TABULATED = (1, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 3000, 10000)
COLUMNS = ("time", "free_energy", "mass", "steps", "rejected", "seconds")


def read(path: Path) -> list[dict[str, float]]:
    """Rows of a table."""
    with open(path, newline="") as file:
        return [{k: float(v) for k, v in line.items()} for line in csv.DictReader(file)]


def write(path: Path, rows: list[dict[str, float]]) -> None:
    """Write the whole table, or leave the old one."""
    part = path.with_suffix(".part")
    with open(part, "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    part.replace(path)
