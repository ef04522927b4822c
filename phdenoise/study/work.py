"""One run: claimed, computed, measured and written; what every launcher does with a task, wherever it is.

A run that raises is a record with its sentence, and its traceback is in its log. A result that cannot be written (a full
disk) is kept in another folder, which the error names.
"""

import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO, runtime_checkable

from phdenoise.study import records
from phdenoise.study.about import measured
from phdenoise.study.claims import claim
from phdenoise.study.compiled import clear_caches
from phdenoise.study.current import running
from phdenoise.study.identity import at_version, run_id
from phdenoise.types import InputError

LEFT = "left to the process that is at it"


@dataclass(frozen=True)
class Task:
    """A config and the file that its result goes to."""

    config: Any
    path: Path


@dataclass(frozen=True)
class Work:
    """What is done with each config.

    Attributes:
        run: config -> named numbers.
        version: of its code.
        retry: whether to repeat what failed before.
        tensorboard: whether metrics go there as well.
        quiet: whether what a run prints goes to its log only.
    """

    run: Callable[[Any], Mapping[str, float]]
    version: str
    retry: bool = False
    tensorboard: bool = False
    quiet: bool = False

    def todo(self, task: Task) -> bool:
        """Whether a task has no sound result of its config yet."""
        record = records.load(task.path, task.config)
        return not record or (self.retry and record["outcome"] != "done")


@runtime_checkable
class Launcher(Protocol):
    """Where and how the runs of a sweep are computed."""

    def launch(self, work: Work, tasks: Sequence[Task]) -> Iterator[tuple[Task, str]]:
        """Compute each task.

        Args:
            work: what to do with a task.
            tasks: without a result.

        Yields:
            A task, and how it ended; in any order.
        """


class InProcess:
    """One run after another in this process."""

    def launch(self, work: Work, tasks: Sequence[Task]) -> Iterator[tuple[Task, str]]:
        for task in tasks:
            yield task, perform(work, task)


def perform(work: Work, task: Task) -> str:
    """Compute a task, unless another process is at it or it has a result.

    Args:
        work: what to do.
        task: with what.

    Returns:
        How it ended: "done", "failed: ..." or that another process is at it.

    Raises:
        InputError: the folder cannot be written; a result is then kept elsewhere, and named.
    """
    try:
        with claim(task.path) as claimed:
            if not claimed:
                return LEFT
            if not work.todo(task):
                return str(records.load(task.path, task.config)["outcome"])
            return _compute(work, task)
    except OSError as error:
        raise InputError(
            f"Cannot write in {task.path.parent}: {error.strerror or error}; free space or choose another folder "
            "(--output), and run again: finished runs are kept."
        ) from error


def keep(task: Task, record: Mapping[str, Any]) -> None:
    """Write a record; where that cannot be, keep it elsewhere.

    Args:
        task: that it is of.
        record: of `records.make`.

    Raises:
        InputError: it could not be written where it belongs; says where it is.
    """
    try:
        records.write(task.path, record)
    except InputError as error:
        elsewhere = Path(tempfile.gettempdir()) / task.path.name
        try:
            records.write(elsewhere, record)
        except InputError:
            elsewhere = Path.home() / task.path.name
            records.write(elsewhere, record)
        raise InputError(
            f"{str(error).split(';')[0]}; the result of this run is kept in {elsewhere}: free space, move it to {task.path}, "
            "and run again."
        ) from error


def failure(work: Work, task: Task, reason: str, about: Mapping[str, Any] | None = None) -> str:
    """Record that a task failed.

    Args:
        work: that was done.
        task: that failed.
        reason: a sentence.
        about: what was measured of it.

    Returns:
        The outcome.

    Raises:
        InputError: see `keep`.
    """
    outcome = f"failed: {reason}"
    keep(task, records.make(task.config, outcome, {}, {"code": work.version, **(about or {})}))
    return outcome


def log_path(path: Path) -> Path:
    """The file of what a run printed, and of its traceback."""
    return path.parent / "logs" / f"{path.stem}.log"


def _compute(work: Work, task: Task) -> str:
    clear_caches()
    log = _Log(log_path(task.path))
    note = records.move_aside(task.path, task.config)
    if note:
        print_line(note)
    with at_version(work.version), running(task.path, work.tensorboard) as current:
        about: dict[str, Any]
        with measured(records.plain_config(task.config)) as about, log.captured(work.quiet):
            try:
                numbers = work.run(task.config)
                result = {k: float(v) for k, v in numbers.items()}
                outcome = "done"
            except (
                Exception
            ) as error:  # a failed run is a row of the table, and must not end the sweep
                result, outcome = {}, f"failed: {type(error).__name__}: {error}"
                log.write(traceback.format_exc())
        about |= {"code": work.version, "id": run_id(task.config), "steps": current.steps or None}
        keep(task, records.make(task.config, outcome, result, about))
        if outcome == "done":
            shutil.rmtree(current.checkpoint, ignore_errors=True)
    log.close()
    return outcome


def print_line(text: str) -> None:
    """A sentence for whoever watches the sweep, on standard error."""
    sys.stderr.write(text + "\n")


class _Log:
    """Standard output and error of a run, in a file that is made when something is written."""

    def __init__(self, path: Path):
        self.path = path
        self.file: TextIO | None = None
        self.screen: TextIO | None = None

    def write(self, text: str) -> int:
        try:
            if self.file is None:
                self.path.parent.mkdir(exist_ok=True)
                self.file = self.path.open("w", encoding="utf-8")
            self.file.write(text)
            self.file.flush()
        except OSError:
            pass  # what a run prints is not worth the run
        if self.screen is not None:
            self.screen.write(text)
        return len(text)

    def flush(self) -> None:
        if self.screen is not None:
            self.screen.flush()

    def isatty(self) -> bool:
        return self.screen is not None and self.screen.isatty()

    def close(self) -> None:
        if self.file is not None:
            self.file.close()

    @contextmanager
    def captured(self, quiet: bool) -> Iterator[None]:
        self.screen = None if quiet else sys.stdout
        with redirect_stdout(self), redirect_stderr(self):
            yield
        self.screen = None
