"""What studies cost: overhead of a run, vmapped fits, a pool, status and collect of many runs.

python -m benchmarks.study_overhead                                # all
python -m benchmarks.study_overhead overhead fits pool status      # some
python -m benchmarks.study_overhead slurm                          # on a Slurm of this machine or cluster
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import tyro

from phdenoise.study import records
from phdenoise.study.identity import code_version
from phdenoise.study.launchers.pool import Pool
from phdenoise.study.launchers.site import Site
from phdenoise.study.launchers.slurm import Slurm
from phdenoise.study.launchers.vmapped import Vmapped
from phdenoise.study.plan import write_plan
from phdenoise.study.run import run_sweep, tasks_of
from phdenoise.study.state import status
from phdenoise.study.sweep import apply, param
from phdenoise.study.table import collect
from phdenoise.study.work import InProcess

What = Literal["overhead", "fits", "pool", "status", "collect", "slurm"]


@dataclass(frozen=True)
class Arguments:
    """What to measure, and how much of it."""

    what: tyro.conf.Positional[tuple[What, ...]] = ("overhead", "fits", "pool", "status", "collect")
    """Measurements."""
    runs: int = 200
    """Runs without work, for the overhead."""
    fits: int = 64
    """Small fits."""
    many: int = 100_000
    """Runs of the folder whose status is asked."""
    seconds: float = 1.0
    """Work of a run in the pool [s of one processor]."""
    asleep: bool = False
    """Runs of the pool sleep instead, which shows what the pool itself costs on a machine with other work."""


@dataclass(frozen=True)
class Decay:
    """A diffusivity from a noisy one-dimensional movie."""

    diffusivity: float = 1.0
    noise: float = 0.02
    seed: int = 0
    cells: int = 64
    steps: int = 400


@dataclass(frozen=True)
class Nothing:
    """A run without work, or with some."""

    seed: int = 0
    seconds: float = 0.0
    asleep: bool = False


def fit(config: Decay) -> dict[str, jax.Array]:
    """Gauss-Newton for ln D from snapshots of u_t = D u_xx, ten steps."""
    x = jnp.linspace(0, 1, config.cells)
    h = 1.0 / config.cells

    def movie(log_d: jax.Array) -> jax.Array:
        rate = 0.2 * jnp.exp(log_d) / 2  # stable below D = 5

        def step(u: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
            wide = jnp.pad(u, 1, mode="edge")
            u = u + rate * (wide[2:] - 2 * u + wide[:-2])
            return u, u

        return jax.lax.scan(
            step, jnp.exp(-((x - 0.5) ** 2) / (40 * h) ** 2 * 16), None, config.steps
        )[1]

    clean = movie(jnp.log(jnp.asarray(config.diffusivity)))
    noisy = clean + config.noise * jax.random.normal(jax.random.key(config.seed), clean.shape)

    def newton(_: int, log_d: jax.Array) -> jax.Array:
        residual, slope = jax.jvp(lambda p: movie(p) - noisy, (log_d,), (jnp.ones(()),))
        return log_d - jnp.clip(jnp.vdot(slope, residual) / jnp.vdot(slope, slope), -0.5, 0.5)

    return {"diffusivity": jnp.exp(jax.lax.fori_loop(0, 10, newton, jnp.zeros(())))}


def nothing(config: Nothing) -> dict[str, float]:
    """Nothing, or work of one processor."""
    if config.asleep:
        time.sleep(config.seconds)
        return {"seed": float(config.seed)}
    end = time.process_time() + config.seconds
    while time.process_time() < end:
        pass
    return {"seed": float(config.seed)}


def timed(work: Callable[[], object]) -> float:
    """Seconds of a piece of work."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def overhead(asked: Arguments, folder: Path) -> None:
    run_sweep(nothing, [Nothing(seed=-1)], folder / "warm")
    configs = apply(Nothing(), param("seed", range(asked.runs)))
    took = timed(lambda: run_sweep(nothing, configs, folder / "runs"))
    print(f"overhead in this process: {1e3 * took / asked.runs:.1f} ms a run ({asked.runs} runs)")


def fits(asked: Arguments, folder: Path) -> None:
    sweep = [{"diffusivity": 0.5 + k / asked.fits, "seed": k} for k in range(asked.fits)]
    configs = apply(Decay(), sweep)
    together = timed(lambda: run_sweep(fit, configs, folder / "vmapped", launcher=Vmapped()))
    # As a user writes it: every run compiles its own program, or, at best, all share one.
    single = timed(lambda: run_sweep(fit, configs, folder / "single", launcher=InProcess()))
    shared = jax.jit(lambda d, s: fit(_with(d, s)), static_argnums=())
    shared(1.0, 0)
    jitted = timed(lambda: [jax.block_until_ready(shared(c.diffusivity, c.seed)) for c in configs])
    ours = {r["seed"]: r["diffusivity"] for r in collect(folder / "vmapped", folder / "v.csv")}
    theirs = {r["seed"]: r["diffusivity"] for r in collect(folder / "single", folder / "s.csv")}
    off = max(abs(ours[k] / theirs[k] - 1) for k in ours)
    print(
        f"{asked.fits} small fits: vmapped {together:.2f} s (with compilation), one after another {single:.2f} s: "
        f"{single / together:.1f} times faster; already compiled, one after another without a study {jitted:.2f} s; "
        f"largest relative difference {off:.1e}"
    )


def _with(diffusivity: jax.Array, seed: jax.Array) -> Decay:
    config = Decay()
    object.__setattr__(config, "diffusivity", diffusivity)
    object.__setattr__(config, "seed", seed)
    return config


def pool(asked: Arguments, folder: Path) -> None:
    from benchmarks.study_overhead import Nothing as Config  # found by name in other processes
    from benchmarks.study_overhead import nothing as work

    configs = apply(Config(seconds=asked.seconds, asleep=asked.asleep), param("seed", range(40)))
    one = timed(lambda: run_sweep(work, configs, folder / "one"))
    two = timed(lambda: run_sweep(work, configs, folder / "two", launcher=Pool(2)))
    print(
        f"40 runs of {asked.seconds:g} s: one process {one:.1f} s, pool of two {two:.1f} s (with its start): {one / two:.2f} times "
        f"faster; load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
    )


def many(asked: Arguments, folder: Path, what: What) -> None:
    """Status, or collect, of a folder of many runs; made without running them."""
    for count in (
        (asked.many,)
        if what == "status"
        else (asked.many // 40, asked.many // 20, asked.many // 10)
    ):
        runs = folder / f"{what}{count}"
        runs.mkdir()
        configs = apply(Nothing(), param("seed", range(count)))
        version = code_version(nothing)
        tasks = tasks_of(version, configs, runs)
        write_plan(runs, version, [t.path.stem for t in tasks])
        for k, task in enumerate(tasks):
            outcome = "failed: ValueError: no luck" if k % 100 == 99 else "done"
            record = records.make(task.config, outcome, {"seed": 1.0}, {"duration": 1.0})
            path = task.path if outcome == "done" else records.failed_path(task.path)
            if k % 100 != 98:
                path.write_text(json.dumps(record))
        if what == "status":
            took = timed(lambda r=runs: status(r))
            print(f"status of {count} runs: {took:.2f} s. {status(runs).sentence}")
        else:
            took = timed(lambda r=runs: collect(r, folder / "table.csv"))
            print(f"collect of {count} runs: {took:.2f} s, {1e6 * took / count:.0f} µs a run")


def slurm(asked: Arguments, folder: Path) -> None:
    from benchmarks.study_overhead import Nothing as Config
    from benchmarks.study_overhead import nothing as work

    configs = apply(Config(), param("seed", range(100)))
    site = Site(minutes=10, memory_gb=1.0, runs_per_task=50)
    took = timed(lambda: run_sweep(work, configs, folder / "slurm", launcher=Slurm(site, poll=0.5)))
    print(
        f"100 runs without work in 2 Slurm tasks: {took:.1f} s, {took / 100:.2f} s a run, with queue and start"
    )


def main(asked: Arguments) -> None:
    """Measure what is asked."""
    revision = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    ).stdout.strip()
    print(
        f"commit {revision}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}",
        file=sys.stderr,
    )
    with tempfile.TemporaryDirectory() as folder:
        for what in asked.what:
            own = Path(folder) / what
            own.mkdir()
            if what in ("status", "collect"):
                many(asked, own, what)
            else:
                {"overhead": overhead, "fits": fits, "pool": pool, "slurm": slurm}[what](asked, own)


if __name__ == "__main__":
    main(tyro.cli(Arguments))
