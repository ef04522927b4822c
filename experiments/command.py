"""The command line of a study: run what is missing, collect its table, draw its figures.

python -m experiments.NAME run|collect|figure [--fast] [--output FOLDER] [--processes N]
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro

from phdenoise.io import atomic
from phdenoise.study.run import collect, read_table, run_id, run_sweep
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


@dataclass(frozen=True)
class WithData(Arguments):
    """What to do, and where; the study also looks at real movies."""

    data: str = os.environ.get("PHDENOISE_DATA", "")
    """Folder of the real movies."""


# What is done with the rows of the finished runs: (rows, folder, the sweep).
After = Callable[[list[dict[str, str]], Path, Sequence[Any]], None]


def command(
    name: str,
    run: Callable[..., Mapping[str, float]],
    configs: Callable[..., Sequence[Any]],
    draw: After,
    *,
    tell: After | None = None,
    keeps: bool = False,
    arguments: type[Arguments] = Arguments,
) -> None:
    """Run, collect or draw a study; a mistake ends with one sentence and exit code 2.

    Args:
        name: of the study.
        run: makes the numbers of one configuration.
        configs: the sweep, the fast one or the whole, and of which data where the arguments have some.
        draw: makes figures in a folder.
        tell: prints what the table comes to.
        keeps: whether `run` also takes the folder for its arrays, `store`; see `kept`.
        arguments: of the command line.
    """
    asked = tyro.cli(arguments)
    folder = (asked.output or Path("results") / name) / ("fast" if asked.fast else "full")
    table = folder / "table.csv"
    every = configs(asked.fast, asked.data) if isinstance(asked, WithData) else configs(asked.fast)
    try:
        if asked.what == "run":
            run_sweep(
                partial(run, store=folder / "arrays") if keeps else run,
                every,
                folder / "runs",
                processes=asked.processes,
                progress=lambda i, n, text: print(f"{i}/{n} {text}", flush=True),
            )
            print(f"Runs: {(folder / 'runs').resolve()}")
        elif asked.what == "collect":
            print(f"{len(collect(folder / 'runs', table))} rows: {table.resolve()}")
            if tell is not None:
                tell(_done(table), folder, every)
        else:
            rows = _done(table)
            if not rows:
                raise InputError(
                    f"{table} holds no finished run: see its column outcome, and run again."
                )
            draw(rows, folder, every)
            print(f"Figures: {folder.resolve()}")
    except InputError as error:
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(2)


def keep(store: Path, config: Any, arrays: Mapping[str, Any]) -> None:
    """Keep what a run found, for `kept`.

    Args:
        store: folder of the arrays.
        config: of the run.
        arrays: name -> array.
    """
    store.mkdir(parents=True, exist_ok=True)
    with (
        atomic(store / f"{run_id(config)}.npz", overwrite=True) as temporary,
        temporary.open("wb") as file,
    ):
        single: dict[str, Any] = {k: np.asarray(v, np.float32) for k, v in arrays.items()}
        np.savez_compressed(file, **single)


def kept(folder: Path, config: Any) -> dict[str, np.ndarray]:
    """What a run kept in the folder of its study.

    Args:
        folder: of the study.
        config: of the run.

    Returns:
        Name -> array.

    Raises:
        InputError: it has not been run.
    """
    path = folder / "arrays" / f"{run_id(config)}.npz"
    if not path.is_file():
        raise InputError(f"{path} does not exist: run the study first.")
    with np.load(path, allow_pickle=False) as archive:
        return {k: archive[k] for k in archive.files}


def rms(values: np.ndarray) -> float:
    """Root mean square of what is there."""
    return float(np.sqrt(np.nanmean(np.asarray(values, float) ** 2)))


def _done(table: Path) -> list[dict[str, str]]:
    return [r for r in read_table(table) if r["outcome"] == "done"]
