"""Runs of a fraction of a second for the tests of launchers and faults; other processes import them from here."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from phdenoise.study.current import checkpoint, track


@dataclass(frozen=True)
class Small:
    seed: int = 0
    what: str = "number"
    """number, raise, print, die, or a folder: wait there until it holds a file `go`, then die the first time."""
    seconds: float = 0.0
    notes: str = ""
    """Folder in which every start of a run leaves a line."""


def run(config: Small) -> dict[str, float]:
    """A number that depends on the seed alone, in ten steps that a checkpoint keeps."""
    if config.notes:
        with (Path(config.notes) / f"{config.seed}.starts").open("a") as file:
            file.write(f"{os.getpid()}\n")
    if config.what == "raise":
        print("the last words")
        raise ValueError("no luck")
    if config.what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    kept = checkpoint()
    step, value = 0, float(config.seed)
    if kept is not None and (kept / "state").exists():
        text = (kept / "state").read_text().split()
        step, value = int(text[0]), float(text[1])
    while step < 10:
        time.sleep(config.seconds / 10)
        step, value = step + 1, value * 1.000001 + 0.1
        track(step, value=value)
        if kept is not None and config.seconds:
            kept.mkdir(parents=True, exist_ok=True)
            (kept / "new").write_text(f"{step} {value!r}")
            (kept / "new").replace(kept / "state")
    return {"value": value}
