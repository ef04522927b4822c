"""What a fit leaves on disk: FIT.json with everything, and beside it tables and figures of the same name.

FIT.json   FIT_curves.csv   FIT_curves.png   and of a comparison   FIT_comparison.csv   FIT_comparison.png

Where nothing moves there is no law: FIT.json says so, and there are no curves.
"""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from phdenoise.io.atomic import atomic, check_writable
from phdenoise.io.jsonfile import json_path, to_json
from phdenoise.io.tables import write_table
from phdenoise.learn.derived import Derived
from phdenoise.learn.result import FitResult, Parameter
from phdenoise.types import InputError


def law_paths(output: str | Path, compared: bool) -> list[Path]:
    """Files that `write_law` makes for FIT.json.

    Args:
        output: FIT.json.
        compared: whether laws were compared.

    Returns:
        FIT.json itself, the table and the figure of its curves, then those of the comparison.
    """
    path = Path(output)
    names = ["_curves.csv", "_curves.png"]
    names += ["_comparison.csv", "_comparison.png"] * compared
    return [path, *(path.with_name(path.stem + name) for name in names)]


def write_law(
    result: FitResult,
    output: str | Path,
    *,
    provenance: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write a fit.

    Args:
        result: of `phdenoise.fit`, with its comparison if one was made.
        output: FIT.json.
        provenance: added to the fit's own.
        overwrite: replace existing files.

    Returns:
        The files made.

    Raises:
        InputError: a file exists or cannot be written.
    """
    plain = result.to_dict()
    plain["provenance"] |= dict(provenance or {})
    paths = law_paths(json_path(output), bool(result.comparison))
    curves, compared = paths[1:3], paths[3:]
    made = [paths[0], *(curves if result.curves else []), *compared]
    for path in curves:
        check_writable(path, overwrite)
    # All of them are written aside before the first takes its place; FIT.json, which names what there is, takes it last.
    with ExitStack() as aside:
        file = {path: aside.enter_context(atomic(path, overwrite)) for path in made}
        file[paths[0]].write_text(to_json(plain, indent=2) + "\n", encoding="utf-8")
        if result.curves:
            _write_curves(result, *(file[path] for path in curves))
        if compared:
            _write_comparison(result, *(file[path] for path in compared))
    if not result.curves:
        for path in curves:
            # The curves of the fit that this one replaces.
            path.unlink(missing_ok=True)
    return made


def _write_curves(result: FitResult, table: Path, picture: Path) -> None:
    """The curves of a law as a table and as a figure."""
    from phdenoise.figures.plots import law_curves, save

    write_table(table, curve_rows(result))
    label = result.model
    figure = law_curves(
        {label: result.curves},
        diffusivity_unit=str(result.settings["diffusivity_unit"]),
        refuted=[label] if result.holds is False else [],
    )
    # Written aside: the suffix is no guide.
    save(figure, picture, kind="png")


def _write_comparison(result: FitResult, table: Path, picture: Path) -> None:
    """The laws that were compared as a table and as a figure."""
    from phdenoise.figures.law_plots import comparison
    from phdenoise.figures.plots import save

    candidates = result.comparison["candidates"]
    write_table(table, candidates)
    save(comparison(candidates, unit=result.comparison["unit"]), picture, kind="png")


def curve_rows(result: FitResult) -> list[dict[str, Any]]:
    """The curves of a law as rows of a table, a column for each curve."""
    columns = {k: np.asarray(v) for k, v in result.curves.items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def read_law(path: str | Path) -> FitResult:
    """Read back what `write_law` wrote to FIT.json; the predicted movie is not in that file.

    Args:
        path: FIT.json.

    Returns:
        The fit without trajectory; fields that a newer version added to the file are left out.

    Raises:
        InputError: not such a file.
    """
    try:
        known = {f.name for f in fields(FitResult)}
        stored = json.loads(Path(path).read_text(encoding="utf-8"))
        found = {name: value for name, value in stored.items() if name in known}
        kappa = found["kappa"]
        found |= {
            "parameters": tuple(Parameter(**_numbers(p)) for p in found["parameters"]),
            "curves": {k: np.asarray(v, float) for k, v in found["curves"].items()},
            "kappa": None if kappa is None else Parameter(**_numbers(kappa)),
            "theta": np.asarray(found["theta"], float),
            "covariance": np.asarray(found["covariance"], float),
            "frames_used": tuple(found["frames_used"]),
            "history": tuple(found["history"]),
            "intervals": {k: tuple(v) for k, v in found["intervals"].items()},
            "derived": tuple(Derived(**_numbers(d)) for d in found["derived"]),
        }
        return FitResult(**found)
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path} holds no fitted law: give the FIT.json that phdenoise fit wrote."
        ) from error


def _numbers(row: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no nan: a number that a law does not have is null in the file."""
    return {k: float("nan") if v is None else v for k, v in row.items()}
