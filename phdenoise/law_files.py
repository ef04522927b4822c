"""What a fit leaves on disk: FIT.json with everything, and beside it tables and figures of the same name.

FIT.json   FIT_curves.csv   FIT_curves.png   and of a comparison   FIT_comparison.csv   FIT_comparison.png
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from phdenoise.io import write_json
from phdenoise.io.atomic import atomic
from phdenoise.io.tables import write_table
from phdenoise.learn import FitResult


def law_paths(output: str | Path, compared: bool) -> list[Path]:
    """Files that `write_law` makes for FIT.json."""
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
    """Write a fit; the files made.

    Args:
        result: of `phdenoise.fit`, with its comparison if one was made.
        output: FIT.json.
        provenance: added to the fit's own.
        overwrite: replace existing files.
    """
    from phdenoise.figures import comparison, law_curves, save

    plain = result.to_dict()
    plain["provenance"] |= dict(provenance or {})
    paths = law_paths(output, bool(result.comparison))
    table = paths[1]
    columns = {k: np.asarray(v) for k, v in result.curves.items()}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    _write_table(rows, table, overwrite)
    unit = str(result.settings["diffusivity_unit"])
    with atomic(paths[2], overwrite) as file:
        label = f"{result.model}, 90 %"
        # Written aside: the suffix is no guide.
        save(law_curves({label: result.curves}, diffusivity_unit=unit), file, kind="png")
    if result.comparison:
        candidates = result.comparison["candidates"]
        _write_table(candidates, paths[3], overwrite)
        with atomic(paths[4], overwrite) as file:
            save(comparison(candidates, unit=result.comparison["unit"]), file, kind="png")
    write_json(plain, output, overwrite=overwrite)
    return paths


def _write_table(rows: Sequence[Mapping[str, Any]], path: Path, overwrite: bool) -> None:
    with atomic(path, overwrite) as file:
        write_table(file, rows)
