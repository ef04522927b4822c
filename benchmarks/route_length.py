"""How long is the route of a movie through the code? Files that denoising a small movie passes, and switches between them.

    python benchmarks/route_length.py                 (48 x 48 pixels, 16 frames, a few training steps)
    python benchmarks/route_length.py --files         (each file too, with the functions entered and the switches into it)

A switch is a call of, or a return to, Python code of another file of the package. Code of libraries in between does not
count. In the first run JAX traces functions of the package, once for each shape; the second run is the route of the data alone.
"""

import argparse
import collections
import sys
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

import numpy as np

import phdenoise as ph

PACKAGE = str(Path(ph.__file__).parent) + "/"
# Size of the movie [frames, rows, columns] and training steps: every stage runs, and the run takes seconds.
SHAPE, STEPS = (16, 48, 48), 5


class Route(NamedTuple):
    """Where the control flow went.

    Attributes:
        functions: functions entered, by file.
        switches: changes of file that ended in a file.
    """

    functions: dict[str, set[CodeType]]
    switches: collections.Counter[str]


def traced(work: Any) -> Route:
    """Run a function without arguments and follow it through the files of the package."""
    functions: dict[str, set[CodeType]] = collections.defaultdict(set)
    switches: collections.Counter[str] = collections.Counter()
    here = [""]

    def follow(frame: FrameType, event: str, _: Any) -> None:
        if event not in ("call", "return"):
            return
        at = frame if event == "call" else frame.f_back
        # A return to a library goes on to the nearest caller in the package.
        while at is not None and not at.f_code.co_filename.startswith(PACKAGE):
            if event == "call":
                return
            at = at.f_back
        # Bodies of modules and classes run once, when a file is imported.
        if at is None or at.f_code.co_name == "<module>":
            return
        name = at.f_code.co_filename.removeprefix(PACKAGE)
        if event == "call" and not at.f_code.co_name.startswith("<"):
            functions[name].add(at.f_code)
        if name != here[0]:
            switches[name] += 1
            here[0] = name

    sys.setprofile(follow)
    try:
        work()
    finally:
        sys.setprofile(None)
    return Route(dict(functions), switches)


def small_movie() -> ph.Movie:
    """A disc that grows, with Gaussian noise."""
    t, y, x = np.indices(SHAPE)
    clean = 1 / (1 + np.exp(np.hypot(y - 24, x - 24) - 8 - 0.5 * t))
    noisy = clean + 0.2 * np.random.default_rng(0).standard_normal(SHAPE)
    return ph.Movie.from_array(noisy.astype(np.float32))


def main() -> None:
    """Print files, functions and switches."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", action="store_true", help="print a line for each file")
    given = parser.parse_args()
    config = ph.DenoiseConfig(preset="quick", steps=STEPS, seconds=1e6)
    movie, denoise = small_movie(), ph.denoise
    for run in ("first run, with JAX's tracing", "second run, compiled"):
        route = traced(lambda: denoise(movie, config))
        if given.files:
            for name in sorted(route.functions):
                count = len(route.functions[name])
                print(f"{name:48} {count:4d} functions {route.switches[name]:5d} switches")
        entered = sum(len(codes) for codes in route.functions.values())
        switches = sum(route.switches.values())
        print(
            f"{run}: {len(route.functions)} files, {entered} functions, {switches} switches",
            flush=True,
        )


if __name__ == "__main__":
    main()
