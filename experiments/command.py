"""The command line of a study of this folder, and the arrays that its runs keep.

python -m experiments.NAME list|run|status|collect|figure|rerun|cite [--fast] [--where FIELD=VALUE] [--launcher pool]
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from phdenoise.cli.study_command import main
from phdenoise.io import atomic
from phdenoise.study.definition import After, Study
from phdenoise.study.identity import run_name
from phdenoise.types import InputError


def command(
    name: str,
    run: Callable[..., Mapping[str, float]],
    configs: Callable[..., Sequence[Any]],
    draw: After,
    *,
    tell: After | None = None,
    keeps: bool = False,
    data: bool = False,
    cites: tuple[str, ...] = (),
) -> None:
    """Do what the command line asks of a study; a mistake ends with one sentence and exit code 2.

    Args:
        name: of the study.
        run: makes the numbers of one configuration.
        configs: the sweep, the fast one or the whole, and of which data where it takes `data`.
        draw: makes figures in a folder.
        tell: prints what the table comes to.
        keeps: whether `run` also takes the folder for its arrays, `store`; see `kept`.
        data: whether the study also looks at real movies.
        cites: keys of methods that the configs do not show.
    """
    main(Study(name, run, configs, draw, tell, keeps=keeps, data=data, cites=cites))


def keep(store: Path, config: Any, arrays: Mapping[str, Any]) -> None:
    """Keep what a run found, for `kept`.

    Args:
        store: folder of the arrays.
        config: of the run.
        arrays: name -> array.
    """
    store.mkdir(parents=True, exist_ok=True)
    with (
        atomic(store / f"{run_name(config)}.npz", overwrite=True) as temporary,
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
    path = folder / "arrays" / f"{run_name(config)}.npz"
    if not path.is_file():
        raise InputError(f"{path} does not exist: run the study first.")
    with np.load(path, allow_pickle=False) as archive:
        return {k: archive[k] for k in archive.files}


def rms(values: np.ndarray) -> float:
    """Root mean square of what is there."""
    return float(np.sqrt(np.nanmean(np.asarray(values, float) ** 2)))
