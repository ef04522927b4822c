"""Sweep algebra, run identity across processes, resuming, and tidy tables."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from phdenoise.study.compiled import clear_caches
from phdenoise.study.run import collect, read_table, run_id, run_sweep
from phdenoise.study.sweep import apply, chain, param, prod, zip_
from phdenoise.types import InputError


@dataclass(frozen=True)
class Inner:
    rate: float = 0.1
    shape: tuple[int, int] = (2, 3)


@dataclass(frozen=True)
class Outer:
    seed: int = 0
    inner: Inner = field(default_factory=Inner)


def test_algebra():
    seeds, rates = param("seed", range(3)), param("inner.rate", (0.1, 0.2))
    assert len(prod(seeds, rates)) == 6
    assert len(chain(seeds, rates)) == 5
    configs = apply(Outer(), prod(seeds, rates))
    assert len({run_id(c) for c in configs}) == 6
    assert configs[-1].inner.rate == 0.2
    assert configs[-1].inner.shape == (2, 3)
    assert zip_(param("seed", (1, 2)), param("inner.rate", (3.0, 4.0)))[1] == {
        "seed": 2,
        "inner.rate": 4.0,
    }
    with pytest.raises(InputError, match="equal length"):
        zip_(seeds, rates)
    with pytest.raises(InputError, match=r"Unknown field 'inner\.rat'"):
        apply(Outer(), param("inner.rat", (1,)))
    with pytest.raises(InputError, match="twice"):
        prod(seeds, seeds)


def test_run_id_is_the_same_in_another_process():
    code = (
        "import sys; sys.path.insert(0, 'tests/study'); import test_study as t;"
        "print(t.run_id(t.Outer(seed=4)))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=_root()
    )
    assert out.stdout.strip() == run_id(Outer(seed=4))


def test_resume_failure_and_table(tmp_path):
    calls = []

    def run(config):
        calls.append(config.seed)
        if config.seed == 1:
            raise ValueError("no luck")
        return {"error": config.seed / 10, "nan": float("nan")}

    configs = apply(Outer(), param("seed", range(3)))
    runs, table = tmp_path / "runs", tmp_path / "table.csv"
    paths = run_sweep(run, configs, runs)
    assert calls == [0, 1, 2]
    paths[2].write_text(paths[2].read_text()[:20])  # a run that was cut short
    run_sweep(run, configs, runs)
    assert calls == [0, 1, 2, 2]
    run_sweep(run, configs, runs, retry=True)
    assert calls == [0, 1, 2, 2, 1]
    rows = collect(runs, table)
    assert [r["seed"] for r in rows] == [0, 1, 2]
    text = read_table(table)
    assert text[1]["outcome"] == "failed: ValueError: no luck"
    assert text[0]["error"] == "0.0"
    assert text[0]["nan"] == ""
    assert json.loads(paths[0].read_text())["config"]["inner.shape"] == [2, 3]
    with pytest.raises(InputError, match="same config twice"):
        run_sweep(run, [Outer(), Outer()], runs)
    with pytest.raises(InputError, match="no finished run"):
        collect(tmp_path, table)


def test_processes_share_a_folder_and_no_run_is_done_twice(tmp_path):
    configs = apply(Outer(), param("seed", range(3)))
    ran, said = [], []

    def slow(config):
        # While this run is under way, another process takes up the same sweep.
        ran.append(config.seed)
        if ran == [0]:
            run_sweep(slow, configs, tmp_path, progress=lambda i, n, text: said.append(text))
        return {"by": 1.0 + (config.seed > 0)}

    paths = run_sweep(slow, configs, tmp_path)
    assert ran == [0, 1, 2]
    assert said[0].endswith("left to the process that is at it")
    assert [json.loads(p.read_text())["result"]["by"] for p in paths] == [1.0, 2.0, 2.0]
    assert not list(tmp_path.glob("*.lock"))


def _root():
    return Path(__file__).resolve().parents[2]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no Linux")
def test_compiled_programs_are_forgotten_when_they_are_many():
    double = jax.jit(lambda x: 2 * x)
    double(jnp.ones(3))
    assert not clear_caches(1.0)
    assert double._cache_size() == 1
    assert clear_caches(0.0)
    assert double._cache_size() == 0
    assert float(double(jnp.ones(3))[0]) == 2
