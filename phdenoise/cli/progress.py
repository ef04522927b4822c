"""Progress of a command on standard error."""

import sys
import time
from typing import Any, Literal

import numpy as np

# Time between two lines of progress where there is no terminal [s]: an hour of training is then 360 lines of a log.
_SECONDS_BETWEEN_LINES = 10


class ProgressBar:
    """Progress on standard error: a bar on a terminal, a line every ten seconds in a batch job."""

    def __enter__(self) -> "ProgressBar":
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._console = Console(stderr=True)
        self._rich = Progress(
            TextColumn("{task.description:<28}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}  {task.fields[value]}"),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._rich.start()
        self._tasks: dict[str, Any] = {}
        self._start = self._last = time.monotonic()
        return self

    def __exit__(self, *_: object) -> Literal[False]:
        self._rich.stop()
        return False

    def __call__(self, stage: str, step: int, steps: int, value: float) -> None:
        """Show how far a stage has come.

        Args:
            stage: its name.
            step, steps: how many of how many are done.
            value: of its objective; NaN shows none.
        """
        if self._console.is_terminal:
            if stage not in self._tasks:
                self._tasks[stage] = self._rich.add_task(stage, total=steps, value="")
            shown = "" if np.isnan(value) else f"{value:.5g}"
            self._rich.update(self._tasks[stage], completed=step, total=steps, value=shown)
            return
        now = time.monotonic()
        if now - self._last >= _SECONDS_BETWEEN_LINES or stage not in self._tasks:
            self._tasks[stage] = None
            self._last = now
            elapsed = now - self._start
            print(
                f"[{elapsed:5.0f} s] {stage}: {step}/{steps}"
                + f", {value:.5g}" * bool(value == value),
                file=sys.stderr,
                flush=True,
            )
