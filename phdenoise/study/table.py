"""Results to one tidy table; provenance to another beside it."""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from phdenoise.io.atomic import atomic
from phdenoise.study import records
from phdenoise.study.plan import read_plan
from phdenoise.types import InputError

Row = dict[str, Any]
# Columns of the second table.
_ABOUT = ("code", "git", "date", "host", "duration", "processor_time", "peak_memory", "steps")
# Versions that change numbers: results of two of them are not put in one table.
_COMPUTE = ("phdenoise", "jax", "jaxlib", "devices")


def collect(
    folder: str | Path, table: str | Path, *, names: Sequence[str] | None = None, mix: bool = False
) -> list[Row]:
    """Gather a folder of runs into one tidy table, and where they come from into another (*_about.csv).

    Args:
        folder: of `run_sweep`.
        table: CSV file to write.
        names: of the runs to take; None takes those of the folder's plan.
        mix: take results of several versions of the packages, or kinds of device.

    Returns:
        The rows, one a run, sorted by configuration.

    Raises:
        InputError: no finished run in the folder, or results that do not belong together.
    """
    folder, plan = Path(folder), read_plan(Path(folder))
    if names is None and plan is not None:
        names = plan.names
    found = list(_found(folder, names))
    if not found:
        raise InputError(f"{folder} holds no finished run: run the sweep first.")
    if names is None:
        _refuse(
            "versions of the code", Counter(r["about"].get("code", "") for _, r in found), folder
        )
    if not mix:
        for name in _COMPUTE:
            kinds = Counter(
                str(r["about"]["versions"][name]) for _, r in found if "versions" in r["about"]
            )
            _refuse(name, kinds, folder)
    rows = [{"id": name, **r["config"], "outcome": r["outcome"]} | r["result"] for name, r in found]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    rows.sort(key=lambda row: [str(row.get(c, "")) for c in columns[1:]])
    table = Path(table)
    _write(table, columns, rows)
    about = [{"id": name} | _provenance(r["about"]) for name, r in sorted(found)]
    _write(
        table.with_name(f"{table.stem}_about.csv"),
        list(dict.fromkeys(column for row in about for column in row)),
        about,
    )
    return rows


def read_table(path: str | Path) -> list[dict[str, str]]:
    """Rows of a CSV as text.

    Raises:
        InputError: the file does not exist.
    """
    if not Path(path).exists():
        raise InputError(f"{path} does not exist: collect the sweep first.")
    with Path(path).open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _found(folder: Path, names: Sequence[str] | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Sound records by name; a result before a failure of the same run."""
    if names is None:
        paths = sorted(folder.glob("*.json"))
        names = list(
            dict.fromkeys(p.name.removesuffix(records.FAILED).removesuffix(".json") for p in paths)
        )
    for name in names:
        record = records.load(records.done_path(folder, name))
        if record:
            yield name, record


def _refuse(what: str, kinds: Counter[str], folder: Path) -> None:
    if len(kinds) > 1:
        listed = ", ".join(f"{n} with {kind or 'none'}" for kind, n in kinds.most_common())
        raise InputError(
            f"{folder} holds results of several {what} ({listed}), which do not belong in one table: run again in a new "
            "folder, or take them as they are (--mix, mix=True)."
        )


def _provenance(about: dict[str, Any]) -> Row:
    row: Row = {k: about.get(k) for k in _ABOUT}
    row |= about.get("versions", {})
    row["inputs"] = " ".join(f"{k}={v}" for k, v in about.get("inputs", {}).items())
    return row


def _write(table: Path, columns: Sequence[str], rows: Sequence[Row]) -> None:
    try:
        table.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"Cannot make the folder {table.parent}: {error.strerror}.") from error
    with (
        atomic(table, overwrite=True) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as stream,
    ):
        writer = csv.DictWriter(stream, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
