"""Sweep algebra, run identity across processes, resuming, and tidy tables."""

import hashlib
import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from phdenoise.study import records
from phdenoise.study.compiled import clear_caches
from phdenoise.study.current import track
from phdenoise.study.identity import code_version, run_id
from phdenoise.study.rerun import rerun
from phdenoise.study.run import run_sweep
from phdenoise.study.state import status
from phdenoise.study.sweep import apply, chain, param, prod, reseeded, where, zip_
from phdenoise.study.table import collect, read_table
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
        "import sys; sys.path.insert(0, 'tests/study'); import test_runs as t;"
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


_CODE = """
from dataclasses import dataclass
SCALE = {factor}
SEEN = []
@dataclass(frozen=True)
class Config:
    seed: int = 0
    old: float = 1.0
{field}
def helper(x):
    {comment}
    return x * SCALE
def run(config):
    SEEN.append(config)
    return {{"x": helper(config.seed)}}
def draw():
    {drawing}
"""


def _module(folder, name, **changes):
    """A study in a file of its own."""
    import importlib.util

    text = {"factor": 2, "field": "", "comment": "# none", "drawing": "pass"} | changes
    file = folder / f"{name}.py"
    file.write_text(_CODE.format(**text))
    spec = importlib.util.spec_from_file_location(name, file)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_version_is_that_of_the_code_a_run_reaches(tmp_path):
    first = _module(tmp_path, "first")
    version = code_version(first.run)
    first.run(first.Config())
    assert code_version(first.run) == version
    same = _module(tmp_path, "same", comment='"""A docstring."""', drawing="return 7")
    assert code_version(same.run) == version
    other = [_module(tmp_path, "other", factor=3), _module(tmp_path, "more", comment="x = x + 1")]
    assert len({version, *(code_version(m.run) for m in other)}) == 3


def test_a_new_field_with_a_default_renames_and_recomputes_nothing(tmp_path):
    old = _module(tmp_path, "study_a")
    paths = run_sweep(old.run, apply(old.Config(), param("seed", range(3))), tmp_path / "runs")
    stamps = [p.stat().st_mtime_ns for p in paths]
    new = _module(tmp_path, "study_b", field="    new: str = 'default'")
    configs = apply(new.Config(), param("seed", range(3)))
    assert run_sweep(new.run, configs, tmp_path / "runs") == paths
    assert [p.stat().st_mtime_ns for p in paths] == stamps
    assert len(collect(tmp_path / "runs", tmp_path / "t.csv")) == 3
    changed = apply(new.Config(), [{"seed": 1, "new": "other"}])
    assert run_sweep(new.run, changed, tmp_path / "runs")[0] not in paths


def test_a_default_that_changes_makes_results_of_before_stale(tmp_path):
    old = _module(tmp_path, "study_c")
    (path,) = run_sweep(old.run, [old.Config(seed=1)], tmp_path / "runs")
    before = path.read_bytes()
    new = _module(tmp_path, "study_d")
    code = (tmp_path / "study_d.py").read_text().replace("old: float = 1.0", "old: float = 2.0")
    exec(compile(code, "study_d", "exec"), vars(new))
    # The function of before, so that only the default differs.
    run_sweep(old.run, [new.Config(seed=1)], tmp_path / "runs")
    assert records.load(path)["config"]["old"] == 2.0
    (kept,) = (tmp_path / "runs" / "replaced").iterdir()
    assert kept.read_bytes() == before


def test_code_that_changes_makes_results_stale_and_they_are_not_mixed(tmp_path):
    first, second = _module(tmp_path, "study_e"), _module(tmp_path, "study_f", factor=5)
    runs, table = tmp_path / "runs", tmp_path / "t.csv"
    run_sweep(first.run, apply(first.Config(), param("seed", range(3))), runs)
    run_sweep(second.run, apply(second.Config(), param("seed", range(1, 3))), runs)
    found = status(runs)
    assert (found.done, found.total, found.stale) == (2, 2, 3)
    assert "2 of 2 runs are done; 3 more are stale" in found.sentence
    assert [r["x"] for r in collect(runs, table)] == [5, 10]
    (runs / "plan.json").unlink()
    with pytest.raises(InputError, match=r"several versions of the code .* do not belong"):
        collect(runs, table)
    path = next(runs.glob(f"*-{code_version(first.run)}.json"))
    record = json.loads(path.read_text())
    record.pop("sha256")
    record["about"]["versions"]["jax"] = "0.1"
    records.write(
        path,
        records.make(
            first.Config(seed=record["config"]["seed"]), "done", record["result"], record["about"]
        ),
    )
    run_sweep(first.run, apply(first.Config(), param("seed", range(3))), runs)
    with pytest.raises(InputError, match="several jax"):
        collect(runs, table)
    assert len(collect(runs, table, mix=True)) == 3


def test_a_result_says_where_it_comes_from(tmp_path):
    movie = tmp_path / "movie.npy"
    movie.write_bytes(b"pixels")

    def run(config):
        track(7, loss=0.5)
        return {"x": 1.0}

    @dataclass(frozen=True)
    class WithInput:
        file: str = ""
        seed: int = 3

    (path,) = run_sweep(run, [WithInput(str(movie))], tmp_path / "runs")
    about = records.load(path)["about"]
    assert about["inputs"] == {str(movie): hashlib.sha256(b"pixels").hexdigest()}
    assert about["seeds"] == {"seed": 3}
    assert about["steps"] == 7
    assert about["versions"]["jax"] == jax.__version__
    assert "cpu" in about["versions"]["devices"]
    assert about["duration"] > 0
    assert about["peak_memory"] > 1e7
    assert about["code"] in path.stem
    assert about["date"].endswith("+00:00")
    assert len(about["git"].split("+")[0]) in (0, 40)
    (line,) = (tmp_path / "runs" / "metrics" / f"{path.stem}.jsonl").read_text().splitlines()
    assert json.loads(line)["loss"] == 0.5


def test_rerun_compares_and_names_what_changed(tmp_path):
    draw = [1.0, 2.0]

    def run(config):
        return {"same": 1.0, "other": draw.pop(0)}

    (path,) = run_sweep(run, [Outer()], tmp_path)
    found = rerun(run, Outer(), path, version="x")
    assert found.numbers == {"other": (1.0, 2.0)}
    assert not found.same
    assert "2 numbers, 1 differ" in found.lines()[0]
    draw[:] = [1.0]
    assert rerun(run, Outer(), path, version="x").same
    with pytest.raises(InputError, match="no finished result"):
        rerun(run, Outer(seed=9), tmp_path / "none.json", version="x")


def test_conditions_and_seeds_choose_runs():
    configs = apply(Outer(), prod(param("seed", range(3)), param("inner.rate", (0.1, 0.2))))
    assert [c.seed for c in where(configs, ["inner.rate=0.2", "seed=0,2"])] == [0, 2]
    assert len(where(configs, ["inner.shape=2x3"])) == 6
    for wrong, words in ((["rate=1"], "Unknown condition"), (["seed=7"], "No run of the study")):
        with pytest.raises(InputError, match=words):
            where(configs, wrong)
    again = reseeded(configs, [5, 6])
    assert [(c.seed, c.inner.rate) for c in again] == [(5, 0.1), (6, 0.1), (5, 0.2), (6, 0.2)]
    with pytest.raises(InputError, match="no field called seed"):
        reseeded([Inner()], [1])
