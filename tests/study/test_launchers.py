"""Launchers give the same numbers; a dead worker costs one run, and none outlives its launcher."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from small_runs import Small, run

from phdenoise.study import records
from phdenoise.study.launchers.pool import Pool
from phdenoise.study.launchers.vmapped import Vmapped
from phdenoise.study.run import run_sweep
from phdenoise.study.sweep import apply, chain, param, prod
from phdenoise.study.table import collect
from phdenoise.types import InputError

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Start:
    low: float = 0.5


@dataclass(frozen=True)
class Fit:
    """Decay of a noisy exponential, by Newton's method."""

    rate: float = 1.0
    noise: float = 0.01
    points: int = 20
    seed: int = 0
    weights: tuple[float, ...] = (1.0, 1.0)
    start: Start = field(default_factory=Start)

    def __post_init__(self):
        if self.rate <= 0:
            raise InputError("A rate is above zero.")


COMPILED = []


def fit(config):
    """Least squares of exp(-rate t), ten steps."""
    COMPILED.append(config.points)
    t = jnp.linspace(0, 2, config.points)
    noise = config.noise * jax.random.normal(jax.random.key(config.seed), t.shape)
    y = jnp.exp(-config.rate * t) + noise

    def step(_, k):
        r, slope = jnp.exp(-k * t) - y, -t * jnp.exp(-k * t)
        return k - jnp.sum(r * slope) / jnp.sum(slope**2)

    found = jax.lax.fori_loop(0, 10, step, jnp.asarray(config.start.low))
    return {"rate": found, "weighted": found * config.weights[1], "given": config.rate}


def test_one_program_gives_the_numbers_of_single_runs(tmp_path):
    COMPILED.clear()
    sweep = chain(
        prod(param("rate", [0.5, 1.0, 2.0]), param("seed", range(4))),
        prod(param("weights", [(1.0, 2.0), (1.0, 3.0)]), param("start.low", [0.4, 0.6])),
    )
    configs = apply(Fit(), sweep) + apply(Fit(points=40), param("seed", range(3)))
    run_sweep(fit, configs, tmp_path / "vmapped", launcher=Vmapped(batch=7))
    # A program for each number of points.
    assert COMPILED == [20, 40]
    run_sweep(fit, configs, tmp_path / "single")
    ours, single = (collect(tmp_path / n, tmp_path / f"{n}.csv") for n in ("vmapped", "single"))
    assert len(ours) == len(single) == len(configs)
    for a, b in zip(ours, single, strict=True):
        assert a["id"] == b["id"]
        assert a["rate"] == pytest.approx(b["rate"], rel=1e-5)
        assert a["weighted"] == pytest.approx(b["weighted"], rel=1e-5)
        assert a["given"] == pytest.approx(b["given"], rel=1e-6)


def test_a_function_that_is_not_of_arrays_is_refused_and_a_bad_config_found(tmp_path):
    def python(config):
        return {"x": 1.0 if config.rate > 1 else 2.0}

    with pytest.raises(InputError, match="not one of JAX arrays"):
        run_sweep(
            python, apply(Fit(), param("rate", [0.5, 2.0])), tmp_path / "a", launcher=Vmapped()
        )

    def shape(config):
        if not isinstance(config.rate, float) or config.rate == 2.0:
            raise ValueError("no such rate")
        return {"x": 1.0}

    run_sweep(shape, apply(Fit(), param("rate", [0.5, 2.0])), tmp_path / "b", launcher=Vmapped())
    rows = collect(tmp_path / "b", tmp_path / "b.csv")
    assert [r["outcome"] for r in rows] == ["done", "failed: ValueError: no such rate"]


@pytest.mark.slow
def test_a_worker_that_dies_is_one_failed_row(tmp_path):
    sweep = chain(param("seed", range(4)), param("what", ["die", "raise"]))
    paths = run_sweep(run, apply(Small(), sweep), tmp_path, launcher=Pool(2))
    outcomes = [records.load(p)["outcome"] for p in paths]
    assert outcomes[:4] == ["done"] * 4
    assert "killed (signal 9), as happens when memory runs out" in outcomes[4]
    assert outcomes[5] == "failed: ValueError: no luck"
    assert not list(tmp_path.glob("*.lock")) or all(not _held(p) for p in tmp_path.glob("*.lock"))


def test_what_cannot_be_sent_is_refused_before_a_process_starts(tmp_path):
    with pytest.raises(InputError, match="cannot be sent to other processes"):
        run_sweep(lambda c: {}, [Small()], tmp_path, processes=2)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").exists(), reason="no Linux")
def test_no_worker_outlives_a_killed_launcher(tmp_path):
    code = (
        f"import sys; sys.path.insert(0, {str(HERE)!r})\n"
        "from small_runs import Small, run\n"
        "from phdenoise.study.run import run_sweep\n"
        "from phdenoise.study.sweep import apply, param\n"
        "if __name__ == '__main__':\n"
        f"    configs = apply(Small(seconds=60.0, notes={str(tmp_path)!r}), param('seed', range(4)))\n"
        f"    run_sweep(run, configs, {str(tmp_path / 'runs')!r}, processes=2)\n"
    )
    script = tmp_path / "launch.py"
    script.write_text(code)
    launcher = subprocess.Popen([sys.executable, str(script)])
    _until(lambda: len(list(tmp_path.glob("*.starts"))) == 2)
    workers = [int(p.read_text()) for p in tmp_path.glob("*.starts")]
    assert all(_alive(w) for w in workers)
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    _until(lambda: not any(_alive(w) for w in workers), 10)


def _alive(process: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().split(")")[1].split()[0]
    except OSError:
        return False


def _held(lock: Path) -> bool:
    from phdenoise.study.claims import is_held

    return is_held(lock)


def _until(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, os.listdir()
        time.sleep(0.1)
