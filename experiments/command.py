"""The command line of a study: run what is missing, collect its table, draw its figures.

python -m experiments.NAME run|collect|figure [--fast] [--output FOLDER] [--processes N]
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from phdenoise.study.run import collect, read_table, run_sweep
from phdenoise.types import InputError


@dataclass(frozen=True)
class Arguments:
    """What to do, and where."""

    what: tyro.conf.Positional[Literal["run", "collect", "figure"]]
    """run the sweep (resumes), collect its CSV, or draw figures from the CSV."""
    fast: bool = False
    """A minute-long version of the study."""
    output: Path | None = None
    """Folder of runs, table and figures; default results/NAME."""
    processes: int = 1
    """Runs at a time."""


def command(
    name: str,
    run: Callable[[Any], Mapping[str, float]],
    configs: Callable[[bool], Sequence[Any]],
    draw: Callable[[list[dict[str, str]], Path], None],
    arguments: Arguments | None = None,
) -> None:
    """Run, collect or draw a study; a mistake ends with one sentence and exit code 2.

    Args:
        name: of the study.
        run: makes the numbers of one configuration.
        configs: the sweep, the fast one or the whole.
        draw: makes figures in a folder from the rows of the finished runs.
        arguments: default those of the command line.
    """
    asked = tyro.cli(Arguments) if arguments is None else arguments
    folder = (asked.output or Path("results") / name) / ("fast" if asked.fast else "full")
    table = folder / "table.csv"
    try:
        if asked.what == "run":
            run_sweep(
                run,
                configs(asked.fast),
                folder / "runs",
                processes=asked.processes,
                progress=lambda i, n, text: print(f"{i}/{n} {text}", flush=True),
            )
            print(f"Runs: {(folder / 'runs').resolve()}")
        elif asked.what == "collect":
            print(f"{len(collect(folder / 'runs', table))} rows: {table.resolve()}")
        else:
            rows = [r for r in read_table(table) if r["outcome"] == "done"]
            if not rows:
                raise InputError(
                    f"{table} holds no finished run: see its column outcome, and run again."
                )
            draw(rows, folder)
            print(f"Figures: {folder.resolve()}")
    except InputError as error:
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(2)
