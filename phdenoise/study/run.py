"""Run a sweep, and resume it where it stopped.

Each config is one JSON file, named by what it changes of the defaults and by the version of the code (`identity`), so
that a second call does only what is missing. Where and how runs are computed is a launcher (`launchers`).
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from phdenoise.io.atomic import check_writable
from phdenoise.study import records
from phdenoise.study.current import Current
from phdenoise.study.identity import code_version, run_id
from phdenoise.study.launchers.pool import Pool
from phdenoise.study.plan import extend_plan
from phdenoise.study.work import InProcess, Launcher, Task, Work
from phdenoise.types import InputError


def run_sweep(
    run: Callable[[Any], Mapping[str, float]],
    configs: Sequence[Any],
    folder: str | Path,
    *,
    processes: int = 1,
    retry: bool = False,
    progress: Callable[[int, int, str], None] | None = None,
    launcher: Launcher | None = None,
    tensorboard: bool = False,
) -> list[Path]:
    """Run each config that has no result yet; several processes may share a folder, and its work.

    Args:
        run: config -> named numbers; a module-level function if `processes` > 1.
        configs: frozen dataclasses.
        folder: one JSON a run goes here; made if absent.
        processes: runs at a time.
        retry: also repeat runs that failed before.
        progress: called with (runs done, runs in all, name and outcome of the last one).
        launcher: instead of `processes`.
        tensorboard: also write metrics for TensorBoard.

    Returns:
        Files of all configs, in order. A run that raises is recorded with its sentence, not raised.

    Raises:
        InputError: two configs are the same, a config has no name, the folder cannot be written, or `run` cannot be
            sent to other processes.
    """
    folder = Path(folder)
    work = Work(run, code_version(run), retry, tensorboard)
    tasks = tasks_of(work.version, configs, folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"Cannot make the folder {folder}: {error.strerror}; choose another (--output)."
        ) from error
    check_writable(folder / "plan.json", overwrite=True)
    extend_plan(folder, work.version, [t.path.stem for t in tasks])
    todo = [t for t in tasks if work.todo(t)]
    _tidy(tasks, todo)
    done = len(tasks) - len(todo)
    if launcher is None:
        launcher = InProcess() if processes <= 1 else Pool(processes)
    for task, outcome in launcher.launch(work, todo):
        done += 1
        if progress:
            progress(done, len(tasks), f"{task.path.stem}: {outcome}")
    return [t.path for t in tasks]


def _tidy(tasks: Sequence[Task], todo: Sequence[Task]) -> None:
    """Remove the checkpoints of finished runs whose process was killed before it could."""
    left = {t.path for t in todo}
    for task in tasks:
        kept = Current(task.path).checkpoint
        if task.path not in left and kept.exists():
            shutil.rmtree(kept, ignore_errors=True)


def tasks_of(version: str, configs: Sequence[Any], folder: Path) -> list[Task]:
    """Configs with the files of their results.

    Args:
        version: of the code.
        configs: frozen dataclasses.
        folder: of the runs.

    Returns:
        One a config, in order.

    Raises:
        InputError: two configs are the same, or a config has no name.
    """
    tasks = [Task(c, records.done_path(folder, f"{run_id(c)}-{version}")) for c in configs]
    if len({t.path for t in tasks}) < len(tasks):
        raise InputError("The sweep holds the same config twice.")
    return tasks
