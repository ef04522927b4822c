"""Progress of a command on standard error: stage k of n, how far it is, its score, and the time that is left."""

import shlex
import sys
import time
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from phdenoise.denoising.config import DenoiseConfig

# Time between two lines of progress where there is no terminal [s]: an hour of training is then 360 lines of a log.
_SECONDS_BETWEEN_LINES = 10
# Share of a stage that must be done before the time left is told: before, compiling tells nothing of the rest.
_KNOWN_FROM = 0.1
# What the number of a stage is, by a word of its name.
_SCORES = {
    "training": "blind −log likelihood",
    "law": "cost",
    "network": "loss",
    "outliers": "cost",
    "priors": "cost",
    "steps": "cost",
}


# Stages of denoising with a network, and of the linear filter; some need several rounds.
_NETWORK = (
    "survey",
    "training",
    "prediction",
    "prediction from other frames",
    "with noise added",
    "parametric bootstrap",
)
_LINEAR = (
    "survey",
    "prediction",
    "prediction from other frames",
    "at the start",
    "with noise added",
)


def denoising_stages(config: DenoiseConfig) -> tuple[str, ...]:
    """Stages that denoising is expected to have."""
    from phdenoise.denoising.plan import asked_network

    network = asked_network(config)
    return _NETWORK if network is None or network.trains else _LINEAR


class ProgressBar:
    """Progress on standard error: a bar on a terminal and in notebooks, a line every ten seconds in a batch job.

        with ph.ProgressBar() as bar:
            estimate = ph.denoise(movie, progress=bar)

    Args:
        stages: names of the stages that are expected, in order; a stage with another name is counted when it begins.
    """

    def __init__(self, stages: Sequence[str] = ()) -> None:
        self._expected = list(stages)

    def __enter__(self) -> "ProgressBar":
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._console = Console(stderr=True)
        # Notebooks draw the bar as well.
        self._drawn = self._console.is_terminal or self._console.is_jupyter
        self._rich = Progress(
            TextColumn("{task.description:<44}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}  {task.fields[value]}"),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._drawn,
        )
        self._rich.start()
        self._tasks: dict[str, Any] = {}
        self._begun: dict[str, float] = {}
        self._rounds: dict[str, tuple[int, int]] = {}
        self._start = self._last = time.monotonic()
        if not self._drawn:
            self._say("started: compiling comes first; a line follows every ten seconds")
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
        now = time.monotonic()
        stage = self._round(stage, step)
        fresh = stage not in self._begun
        self._begun.setdefault(stage, now)
        shown = "" if np.isnan(value) else f"{score_name(stage)} {value:.5g}"
        left = self._left(stage, step, steps, now)
        if self._drawn:
            if fresh:
                self._tasks[stage] = self._rich.add_task(self.place(stage), total=steps, value="")
            text = "  ".join(t for t in (shown, left) if t)
            self._rich.update(self._tasks[stage], completed=step, total=steps, value=text)
            return
        if fresh or now - self._last >= _SECONDS_BETWEEN_LINES:
            self._last = now
            about = ", ".join(t for t in (f"{step}/{steps}", shown, left) if t)
            self._say(f"{self.place(stage)}: {about}")

    def place(self, stage: str) -> str:
        """The stage with its number: "stage 2 of 5, training"."""
        number = list(self._begun).index(stage) + 1
        known = [name for name in self._expected if not self._seen(name)]
        total = len(self._begun) + len(known)
        return f"stage {number} of {total}, {stage}"

    def _round(self, stage: str, step: int) -> str:
        """The stage, or where it starts again its next round."""
        count, last = self._rounds.get(stage, (1, 0))
        count += step < last
        self._rounds[stage] = (count, step)
        return stage if count == 1 else f"{stage}, round {count}"

    def _seen(self, expected: str) -> bool:
        """Whether an expected stage, or one that ends with its name, has begun."""
        return any(s == expected or s.endswith(f": {expected}") for s in self._begun)

    def _left(self, stage: str, step: int, steps: int, now: float) -> str:
        """Time that the stage still needs, from its pace so far."""
        done = step / steps if steps else 0.0
        if done < _KNOWN_FROM or done >= 1:
            return ""
        seconds = (now - self._begun[stage]) * (1 - done) / done
        return f"about {spoken(seconds)} left"

    def _say(self, text: str) -> None:
        print(f"[{time.monotonic() - self._start:5.0f} s] {text}", file=sys.stderr, flush=True)


def score_name(stage: str) -> str:
    """What the number beside a stage is."""
    last = stage.rsplit(": ", 1)[-1]
    return next((name for word, name in _SCORES.items() if word in last), "score")


def spoken(seconds: float) -> str:
    """A time in words: "40 s", "3 min", "1.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def quoted(*words: str) -> str:
    """A command that a shell takes as it stands, also with spaces in names."""
    return shlex.join(words)
