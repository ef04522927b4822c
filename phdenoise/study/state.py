"""How far a study is: done, running, failed, waiting, stale, and when it will end.

Read from the names of files, not from their content, so that a hundred thousand runs take a second; the content is read of
a few failures, and of some of the last results for their duration.
"""

import json
import os
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phdenoise.study import records
from phdenoise.study.claims import is_held
from phdenoise.study.plan import read_plan
from phdenoise.study.work import log_path
from phdenoise.types import InputError

# Results whose durations say how long the next take.
_TIMED = 100
# Failures that are shown, and last lines of the log of each.
_SHOWN, _LINES = 5, 5


@dataclass(frozen=True)
class Failure:
    """A run that failed.

    Attributes:
        name: of the run.
        changes: its config, as far as it differs between the runs that are shown.
        reason: its sentence.
        log: last lines that it printed.
    """

    name: str
    changes: dict[str, Any]
    reason: str
    log: tuple[str, ...]


@dataclass(frozen=True)
class Status:
    """Counts of runs, and what they need.

    Attributes:
        total, done, running, failed, waiting: runs of the plan.
        stale: results of other code or of another sweep in the same folder.
        failures: some of those that failed.
        seconds_left: until the last run ends, with as many at a time as now; None where nothing tells.
    """

    total: int
    done: int
    running: int
    failed: int
    waiting: int
    stale: int
    failures: tuple[Failure, ...]
    seconds_left: float | None

    @property
    def sentence(self) -> str:
        """N of M, and what became of the rest."""
        parts = [f"{self.done} of {self.total} runs are done"]
        for count, what in (
            (self.running, "running"),
            (self.failed, "failed"),
            (self.waiting, "waiting"),
        ):
            if count:
                parts.append(f"{count} {what}")
        text = ", ".join(parts)
        if self.stale:
            text += f"; {self.stale} more are stale (of other code or settings) and not counted"
        return text + "."

    def lines(self) -> list[str]:
        """The sentence, the time left, and the failures with the last lines of their logs."""
        lines = [self.sentence]
        if self.seconds_left is not None:
            lines.append(f"Time left: about {_duration(self.seconds_left)}.")
        for failure in self.failures:
            changes = ", ".join(f"{k}={v}" for k, v in failure.changes.items())
            lines.append(f"{failure.name} ({changes}) {failure.reason}")
            lines += [f"    {line}" for line in failure.log]
        if self.failed > len(self.failures):
            lines.append(f"and {self.failed - len(self.failures)} more failures.")
        return lines


def status(folder: str | Path) -> Status:
    """Count the runs of a folder.

    Args:
        folder: of `run_sweep`.

    Returns:
        The counts.

    Raises:
        InputError: nothing was run there.
    """
    folder = Path(folder)
    plan = read_plan(folder)
    if plan is None:
        raise InputError(f"{folder} holds no study: run it first.")
    planned = set(plan.names)
    done, failed, locks = set(), set(), []
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name.endswith(records.FAILED):
                failed.add(name.removesuffix(records.FAILED))
            elif name.endswith(".json") and not name.startswith("."):
                done.add(name.removesuffix(".json"))
            elif name.endswith(".lock"):
                locks.append(name.removesuffix(".lock"))
    done.discard("plan")
    running = {n for n in locks if n in planned and is_held(folder / f"{n}.lock")} - done
    stale = len((done | failed) - planned)
    done, failed = done & planned, (failed & planned) - done - running
    waiting = len(planned) - len(done) - len(failed) - len(running)
    return Status(
        len(planned),
        len(done),
        len(running),
        len(failed),
        waiting,
        stale,
        _failures(folder, sorted(failed)[:_SHOWN]),
        _left(folder, done, waiting, len(running)),
    )


def _failures(folder: Path, names: list[str]) -> tuple[Failure, ...]:
    found = {n: records.read(folder / f"{n}{records.FAILED}") for n in names}
    found = {n: r for n, r in found.items() if r}
    every = [r["config"] for r in found.values()]
    # A field in which no two of them differ says nothing, unless there is only one.
    shown = {
        k for config in every for k, v in config.items()
        if len(every) == 1 or any(json.dumps(v) != json.dumps(o.get(k)) for o in every)
    }  # fmt: skip
    return tuple(
        Failure(
            name,
            {k: v for k, v in record["config"].items() if k in shown},
            record["outcome"],
            tail(log_path(folder / f"{name}.json"), _LINES),
        )
        for name, record in found.items()
    )


def tail(path: Path, lines: int) -> tuple[str, ...]:
    """Last lines of a log; none where there is no log.

    Args:
        path: of the log.
        lines: at most.

    Returns:
        The lines.
    """
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            # A line of a log is shorter than a kilobyte.
            file.seek(max(0, file.tell() - 1024 * lines))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ()
    return tuple(line for line in text.splitlines() if line.strip())[-lines:]


def _left(folder: Path, done: set[str], waiting: int, running: int) -> float | None:
    """From the median duration: a clock that is set back does not matter."""
    if not done or not waiting + running:
        return None
    sample = sorted(done)[:: max(1, len(done) // _TIMED)]
    durations = [
        r["about"]["duration"]
        for r in (records.read(folder / f"{n}.json") for n in sample)
        if r and "duration" in r["about"]
    ]
    if not durations:
        return None
    # A run under way has half its time left on average.
    return statistics.fmean(durations) * (waiting + running / 2) / max(running, 1)


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
