"""Movies of one shape by one batch, and by one command for each.

python -m benchmarks.batch_speed --movies 8
"""

import os
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from phdenoise.study import read_table


@dataclass(frozen=True)
class Arguments:
    """How many movies, and what is done with each."""

    movies: int = 8
    """Movies."""
    shape: tuple[int, int, int] = (12, 32, 32)
    """Frames, rows, columns."""
    options: str = "--preset instant"
    """Of `phdenoise denoise`, in one word: --options='--steps 3 --width 8'."""


def seconds(commands: Sequence[Sequence[str]]) -> tuple[float, float]:
    """Seconds of commands one after another, and of processors that they used."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    for command in commands:
        subprocess.run(
            [sys.executable, "-m", "phdenoise", *command], check=True, capture_output=True
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, used


def main(asked: Arguments) -> None:
    """Measure both, after one command that fills the cache of compiled programs, as a user's is."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rng = np.random.default_rng(0)
        files = [str(folder / f"m{k:03d}.npy") for k in range(asked.movies)]
        for file in files:
            np.save(file, rng.poisson(100, asked.shape).astype(np.float32))
        options = [*shlex.split(asked.options), "--overwrite"]
        seconds([["denoise", files[0], "-o", str(folder / "warm.h5"), *options]])
        single = [["denoise", f, "-o", f.replace(".npy", ".h5"), *options] for f in files]
        alone, alone_used = seconds(single)
        batch, batch_used = seconds([["denoise", *files, "-o", str(folder / "out"), *options]])
        done = [r["outcome"] for r in read_table(folder / "out" / "summary.csv")]
        assert done == ["done"] * asked.movies
    print(
        f"{asked.movies} movies of {asked.shape}: {asked.movies} commands {alone:.1f} s ({alone_used:.1f} s of processor), one "
        f"batch {batch:.1f} s ({batch_used:.1f} s): {alone / batch:.1f} times faster ({alone_used / batch_used:.1f} in "
        f"processor time); load {os.getloadavg()[0]:.1f}"
    )


if __name__ == "__main__":
    main(tyro.cli(Arguments))
