"""Seconds of a whole fit of the law to a clean movie, and of the same optimiser on the published fits' own scheme.

    python benchmarks/law_speed.py [--size 64] [--frames 101] [--peer-iterations 0]

Twelve parameters, three stretches, double precision, compilation included. The scheme is first order with a fixed step,
c + dt F⁻¹[ F(rhs) / (1 + ½ dt κ k⁴) ], and takes the fewest steps a frame that hold the accuracy ours is asked for. Those
are thousands: it is stopped after --peer-iterations of the optimiser, and its time is a lower bound.
"""

import time
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from law_recovery import COLUMNS, line, measure
from physics_speed import FixedStep

from phdenoise import selfcheck
from phdenoise.grid import Grid
from phdenoise.learn import fit
from phdenoise.learn.config import FitConfig
from phdenoise.learn.result import FitResult
from phdenoise.movie import Movie
from phdenoise.physics.simulate import substeps_for
from phdenoise.physics.steppers.table import STEPPERS
from phdenoise.simulation import SimulateConfig, simulate

# The package's name for it is that of the function.


@dataclass(frozen=True)
class Arguments:
    """What to time."""

    size: int = 64
    """Rows and columns [px]."""
    frames: int = 101
    """Frames over the window [0, 0.2]."""
    peer_iterations: int = 1
    """Iterations of the optimiser on the fixed-step scheme; 0 leaves it out."""


def timed(movie: Movie, config: FitConfig) -> tuple[FitResult, float]:
    """A fit that compiles everything anew, and its seconds."""
    jax.clear_caches()
    begin = time.perf_counter()
    return fit(movie, config=config), time.perf_counter() - begin


def main(arguments: Arguments) -> None:
    """Fit with both, print what they found and how long they took."""
    jax.config.update("jax_enable_x64", True)
    made = SimulateConfig(
        size=(arguments.size, arguments.size), frames=arguments.frames, sigma=0.0, seed=0
    )
    _, clean = simulate("cahn-hilliard", made)
    config = FitConfig(windows=3, enthalpy_degree=4, mobility_degree=6)
    print(selfcheck.versions())
    print(
        f"clean twin {arguments.size}x{arguments.size}, {arguments.frames} frames, {config.windows} stretches"
    )
    print(" " * 12 + "".join(f"{n:>10}" for n in COLUMNS))
    found, ours = timed(clean, config)
    whole = found.convergence["iterations"]
    steps = int(found.statistics["substeps"])
    print(f"{found.theta.size} parameters")
    print(line("ours", measure(found, made, ours)), f"  {steps} steps a frame", flush=True)
    if not arguments.peer_iterations:
        return
    separated = jnp.asarray(clean.frames[sum(found.frames_used) // 2], jnp.float64)
    needed = substeps_for(
        found.law,
        Grid(separated.shape, clean.pixel_size),
        separated,
        float(np.median(np.diff(clean.times))),
        config.solver_tolerance,
        stepper=FixedStep(),
        most=2**16,
    )
    print(f"the fixed-step scheme needs {needed} steps a frame", flush=True)
    STEPPERS["etdrk4"] = FixedStep()
    few = replace(config, substeps=needed, iterations=arguments.peer_iterations)
    found, theirs = timed(clean, few)
    print(line("fixed-step", measure(found, made, theirs)))
    said = f"after {arguments.peer_iterations} iterations of {whole}"
    print(f"{said}: {theirs / ours:.1f} times as long as the whole fit")


if __name__ == "__main__":
    main(tyro.cli(Arguments))
