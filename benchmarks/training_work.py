"""How many floating-point operations does a training step take, and how many of them does this machine do in a second?

    python -m benchmarks.training_work [--presets quick default] [--steps 25]

Presets count the work of a training in operations, so that a result does not depend on the machine. This table relates them
to seconds. Printed for each preset on 40 x 128 x 128 pixels: operations and median seconds of a step, operations in a second,
and the seconds that the work of the preset takes.
"""

import argparse
import time
from dataclasses import replace
from typing import Any, cast

import jax
import numpy as np

import phdenoise as ph
from phdenoise.denoising.config import PRESETS, Preset
from phdenoise.training import loop

SHAPE, SIGMA = (40, 128, 128), 0.3


class _Timed:
    """The training step, with the operations of its program and the seconds of every call."""

    def __init__(self, step: Any) -> None:
        self._step = step
        self.work = np.nan
        self.seconds: list[float] = []

    def lower(self, *arguments: Any) -> Any:
        """As that of the step."""
        return self._step.lower(*arguments)

    def __call__(self, *arguments: Any) -> Any:
        if not self.seconds:
            self.work = float(self._step.lower(*arguments).cost_analysis()["flops"])
        begin = time.perf_counter()
        result = jax.block_until_ready(self._step(*arguments))
        self.seconds.append(time.perf_counter() - begin)
        return result


def main() -> None:
    """A row for each preset."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--presets", nargs="+", default=["quick", "default"])
    parser.add_argument("--steps", type=int, default=25, help="steps that are timed")
    args = parser.parse_args()
    frames, *size = SHAPE
    movie, _ = ph.simulate(
        "cahn-hilliard",
        ph.SimulateConfig(size=(size[0], size[1]), frames=frames, sigma=SIGMA, duration=0.2),
    )
    step = loop._train_step
    print("preset, operations of a step, seconds, operations a second, seconds that its work takes")
    for name in args.presets:
        preset = cast(Preset, name)
        timed = _Timed(step)
        loop._train_step = cast(Any, timed)
        config = ph.DenoiseConfig(preset=preset, symmetries=1)
        ph.denoise(movie, replace(config, steps=args.steps))
        each = float(np.median(timed.seconds[2:]))
        work = PRESETS[preset].work
        spent = np.nan if work is None else work * each / timed.work
        print(
            f"{name}  {timed.work:.3g}  {each:.4f}  {timed.work / each:.3g}  {spent:.0f}",
            flush=True,
        )
    loop._train_step = step


if __name__ == "__main__":
    main()
