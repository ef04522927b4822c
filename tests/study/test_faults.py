"""Kills, damage, full and read-only folders, two launchers, file systems without locks: nothing lost, nothing twice."""

import errno
import io
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from small_runs import Small, run

from phdenoise.figures.plots import residual_autocorrelation, save
from phdenoise.study import claims, records
from phdenoise.study.claims import claim
from phdenoise.study.run import run_sweep
from phdenoise.study.state import status
from phdenoise.study.sweep import apply, param
from phdenoise.study.table import collect
from phdenoise.types import InputError

HERE = Path(__file__).resolve().parent
SCRIPT = """
import sys
sys.path.insert(0, {here!r})
from small_runs import Small, run
from phdenoise.study.run import run_sweep
from phdenoise.study.sweep import apply, param
if __name__ == "__main__":
    configs = apply(Small(seconds={seconds}, notes={notes!r}), param("seed", range({count})))
    run_sweep(run, configs, {folder!r}, processes={processes})
"""


def _launch(tmp_path, **settings):
    given = {"here": str(HERE), "seconds": 0.2, "count": 12, "processes": 1} | settings
    given |= {"folder": str(tmp_path / "runs"), "notes": str(tmp_path)}
    script = tmp_path / "launch.py"
    script.write_text(SCRIPT.format(**given))
    return subprocess.Popen([sys.executable, str(script)], stderr=subprocess.PIPE, text=True)


def _table(runs: Path, table: Path) -> list[str]:
    collect(runs, table)
    # Notes and seconds are how, not what.
    return [
        ",".join(c for c in line.split(",") if "/" not in c) for line in table.read_text().split()
    ]


@pytest.mark.slow
def test_twenty_kills_at_random_moments_lose_nothing_and_change_nothing(tmp_path):
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    configs = apply(Small(seconds=0.2, notes=str(tmp_path)), param("seed", range(40)))
    run_sweep(run, configs, undisturbed)
    moments, kills = random.Random(27), 0
    while kills < 20:
        process = _launch(tmp_path, count=40)
        started = len(_starts(tmp_path))
        while len(_starts(tmp_path)) == started and process.poll() is None:
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.5))
        kills += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert "Traceback" not in process.stderr.read()
        for path in (tmp_path / "runs").glob("*.json"):
            assert path.name == "plan.json" or records.read(path), path
        if status(tmp_path / "runs").done == 40:
            break
    assert kills >= 15
    assert _launch(tmp_path, count=40).wait() == 0
    found = status(tmp_path / "runs")
    assert (found.done, found.total, found.running) == (40, 40, 0)
    assert _table(tmp_path / "runs", tmp_path / "a.csv") == _table(undisturbed, tmp_path / "b.csv")
    assert not list((tmp_path / "runs" / "checkpoints").iterdir())


def _starts(folder: Path) -> list[str]:
    return [line for p in folder.glob("*.starts") for line in p.read_text().split()]


@pytest.mark.slow
def test_two_launchers_share_the_runs(tmp_path):
    both = [_launch(tmp_path, seconds=0.3, count=20) for _ in range(2)]
    assert [p.wait() for p in both] == [0, 0]
    starts = {p.stem: p.read_text().split() for p in tmp_path.glob("*.starts")}
    assert sorted(map(len, starts.values())) == [1] * 20
    assert len({process for started in starts.values() for process in started}) == 2
    assert status(tmp_path / "runs").done == 20


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: text.replace('"value": 1', '"value": 2'),
        lambda text: json.dumps({"config": 3, "outcome": "done", "result": [], "sha256": "0"}),
        lambda text: '{"config": {}, "outcome": "done", "result": {}}',
        lambda text: "[" * 100_000,
    ],
    ids=["cut", "empty", "a digit", "other kinds", "right keys", "deep"],
)
def test_a_damaged_result_is_said_and_computed_again(tmp_path, capsys, damage):
    (path,) = run_sweep(run, [Small()], tmp_path)
    good, stamp = records.read(path)["result"], path.stat().st_ino
    path.write_text(damage(path.read_text()))
    if not records.read(path):
        assert collect_or_refusal(tmp_path) == "holds no finished run"
    run_sweep(run, [Small()], tmp_path)
    assert records.read(path)["result"] == good
    assert path.stat().st_ino != stamp
    assert "was damaged and is computed again" in capsys.readouterr().err


def collect_or_refusal(folder: Path) -> str:
    with pytest.raises(InputError, match="holds no finished run"):
        collect(folder, folder / "t.csv")
    return "holds no finished run"


def test_a_damaged_plan_is_written_anew(tmp_path):
    configs = apply(Small(), param("seed", range(3)))
    run_sweep(run, configs, tmp_path)
    for damage in ("", "[]", '{"version": 1}', '{"version": "x", "names": 3}'):
        (tmp_path / "plan.json").write_text(damage)
        with pytest.raises(InputError, match="holds no study"):
            status(tmp_path)
        run_sweep(run, configs, tmp_path)
        assert status(tmp_path).done == 3


def test_a_full_disk_keeps_the_result_elsewhere_and_names_it(tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    real = os.fsync

    def full(file):
        if "runs" in os.readlink(f"/proc/self/fd/{file}") and "plan" not in os.readlink(
            f"/proc/self/fd/{file}"
        ):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(file)

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match="no space left on device") as caught:
        run_sweep(run, apply(Small(), param("seed", range(3))), tmp_path / "runs")
    monkeypatch.setattr("os.fsync", real)
    (kept,) = elsewhere.iterdir()
    assert str(kept) in str(caught.value)
    (tmp_path / "runs" / kept.name).write_bytes(kept.read_bytes())
    assert status(tmp_path / "runs").done == 1
    run_sweep(run, apply(Small(), param("seed", range(3))), tmp_path / "runs")
    assert status(tmp_path / "runs").done == 3


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounts need root")
def test_a_folder_that_is_read_only_or_full_is_one_sentence(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no mounts here")
    try:
        configs = apply(Small(), param("seed", range(100)))
        with pytest.raises(InputError, match=r"(?i)no space left"):
            run_sweep(run, configs, disk / "runs")
        done = status(disk / "runs").done
        assert 0 < done < 100
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        for folder in (disk / "runs", disk / "other"):
            with pytest.raises(InputError, match=r"(?i)read-only file system|write-protected"):
                run_sweep(run, configs, folder)
        subprocess.run(["mount", "-o", "remount,rw,size=4m", str(disk)], check=True)
        run_sweep(run, configs, disk / "runs")
        assert status(disk / "runs").done == 100
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_claims_hold_without_locks(tmp_path):
    path = tmp_path / "run.json"
    with claim(path, locks=False) as first, claim(path, locks=False) as second:
        assert (first, second) == (True, False)
    with claim(path, locks=False) as again:
        assert again
    # A holder that was killed on another machine renews nothing: its claim becomes void.
    lock = claims.lock_path(path)
    lock.write_text("{}")
    with claim(path, locks=False, void=60.0) as held:
        assert not held
    long_ago = time.time() - 100
    os.utime(lock, (long_ago, long_ago))
    with claim(path, locks=False, void=60.0) as held:
        assert held
    # A clock that is set back makes no claim void, and none of the future eternal for its own holder.
    later = time.time() + 10_000
    lock.write_text("{}")
    os.utime(lock, (later, later))
    with claim(path, locks=False, void=60.0) as held:
        assert not held
    assert [p.name for p in tmp_path.iterdir()] == ["run.lock"]


@pytest.mark.parametrize("locks", [True, False])
def test_one_of_many_gets_a_claim(tmp_path, locks):
    path, got, ready = tmp_path / "run.json", [], threading.Barrier(8)

    def ask():
        ready.wait()
        with claim(path, locks=locks) as held:
            got.append(held)
            ready.wait()

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(got) == [False] * 7 + [True]


def test_a_claim_is_renewed(tmp_path):
    path = tmp_path / "run.json"
    with claim(path, locks=False, void=0.4):
        time.sleep(1.0)
        with claim(path, locks=False, void=0.4) as other:
            assert not other


def test_a_clock_that_is_set_back_changes_nothing(tmp_path, monkeypatch):
    configs = apply(Small(), param("seed", range(4)))
    run_sweep(run, configs[:2], tmp_path)
    real = time.time
    monkeypatch.setattr("time.time", lambda: real() - 1e6)
    run_sweep(run, configs, tmp_path)
    found = status(tmp_path)
    assert found.done == 4
    assert all(r["outcome"] == "done" for r in collect(tmp_path, tmp_path / "t.csv"))


def test_status_shows_the_failing_config_and_its_last_words(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdout", io.StringIO())
    run_sweep(run, apply(Small(), param("what", ["number", "raise"])), tmp_path)
    found = status(tmp_path)
    assert (found.done, found.failed, found.waiting) == (1, 1, 0)
    text = "\n".join(found.lines())
    assert "what=raise" in text
    assert "failed: ValueError: no luck" in text
    assert 'raise ValueError("no luck")' in text
    (log,) = (tmp_path / "logs").iterdir()
    assert log.read_text().startswith("the last words\n")


def test_time_left_follows_from_the_runs_that_are_done(tmp_path):
    configs = apply(Small(seconds=0.1), param("seed", range(4)))
    run_sweep(run, configs, tmp_path)
    for path in list(tmp_path.glob("*-*.json"))[:3]:
        path.unlink()
    left = status(tmp_path).seconds_left
    assert left == pytest.approx(0.33, rel=0.3)


@pytest.mark.parametrize(
    "unit", [r"$\frac{$", "$", "$$", r"$x", r"\$5$", "µm^2/s", r"$\undefined$"]
)
def test_a_unit_that_is_no_tex_ends_no_figure(tmp_path, unit):
    import numpy as np

    lags = {k: np.array([1.0, 0.1, -0.05]) for k in "xyt"}
    figure = residual_autocorrelation(lags, lags)
    figure.axes[0].set_ylabel(f"D [{unit}]")
    figure.axes[1].set_ylabel(rf"$\mu_h(c)$ [{unit}]")
    save(figure, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 1000
