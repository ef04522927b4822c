"""Runs on a real Slurm of one node: none is lost and none counts twice, whatever happens to tasks and node."""

import csv
import time
from pathlib import Path

import pytest
from one_node_slurm import OneNode, missing
from small_runs import Small, run

from phdenoise.study.launchers.site import Site, read_site
from phdenoise.study.launchers.slurm import Slurm
from phdenoise.study.run import run_sweep
from phdenoise.study.state import status
from phdenoise.study.sweep import apply, param
from phdenoise.study.table import collect
from phdenoise.types import InputError

WHY_NOT = missing()
pytestmark = pytest.mark.xdist_group("slurm")
# Time limits are minutes; signals come as soon as they are sent.
SITE = Site(minutes=2, memory_gb=0.5, runs_per_task=5, array_limit=6, signal_seconds=30)


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    if WHY_NOT:
        pytest.skip(WHY_NOT)
    node = OneNode(tmp_path_factory.mktemp("slurm"), tasks=2)
    try:
        try:
            node.start()
        except TimeoutError as error:
            pytest.skip(f"Slurm is installed and does not run here: {error}")
        yield node
    finally:
        node.stop()


@pytest.mark.slow
def test_forty_runs_survive_a_kill_a_drained_node_and_a_time_out(slurm, tmp_path):
    notes = tmp_path / "notes"
    notes.mkdir()
    base = Small(seconds=1.5, notes=str(notes))
    configs = apply(base, param("seed", range(40)))
    runs, reference = tmp_path / "runs", tmp_path / "reference"
    run_sweep(run, apply(Small(), param("seed", range(40))), reference)
    # Eight tasks, in arrays of six and two.
    run_sweep(run, configs, runs, launcher=Slurm(SITE, wait=False))
    jobs = _jobs(runs)
    assert len(set(jobs.values())) == 8
    assert {j.split("_")[0] for j in jobs.values()} == {
        min(jobs.values()).split("_")[0],
        max(jobs.values()).split("_")[0],
    }
    _until(lambda: status(runs).done >= 2)
    # Submitted again while it is in the queue: nothing is.
    run_sweep(run, configs, runs, launcher=Slurm(SITE, wait=False))
    assert _jobs(runs).keys() <= jobs.keys()
    # One task comes to its time limit: it goes on in its place in the queue.
    _until(lambda: len(_running(slurm)) == 2)
    warned, killed = _running(slurm)
    slurm.sends("scancel", "--signal=USR2", warned)
    # One is killed, and its node drained: what waits, waits until the node is back.
    slurm.sends("scancel", "--signal=KILL", "--full", killed)
    slurm.says("scontrol", "update", f"nodename={slurm.node}", "state=drain", "reason=test")
    time.sleep(3)
    slurm.says("scontrol", "update", f"nodename={slurm.node}", "state=resume")
    # Slurm lets a requeued task wait for two minutes.
    _until(
        lambda: warned in slurm.says("squeue", "-h", "--array", "-t", "PD", "-o", "%F_%K").split()
    )
    slurm.says("scontrol", "update", f"jobid={warned}", "starttime=now")
    run_sweep(run, configs, runs, launcher=Slurm(SITE, wait=True, poll=0.5))
    _until(lambda: not slurm.says("squeue", "-h").strip())
    # What the killed task left is a row that failed, or none; it is repeated.
    run_sweep(run, configs, runs, retry=True, launcher=Slurm(SITE, wait=True, poll=0.5))
    found = status(runs)
    assert (found.done, found.total, found.failed, found.stale) == (40, 40, 0, 0)
    ours = collect(runs, tmp_path / "table.csv")
    theirs = collect(reference, tmp_path / "reference.csv")
    assert len({r["id"] for r in ours}) == len(ours) == 40
    assert [r["value"] for r in ours] == [r["value"] for r in theirs]
    # The log of the task says that it was requeued.
    log = (runs / "slurm" / f"{warned}_0_log.err").read_text()
    assert "Caught signal SIGUSR2" in log
    assert "DUE TO JOB REQUEUE" in log
    with (tmp_path / "table_about.csv").open() as file:
        durations = [float(r["duration"]) for r in csv.DictReader(file)]
    assert max(durations) < 30


@pytest.mark.slow
def test_a_task_may_submit_and_a_dead_run_costs_one_row(slurm, tmp_path, monkeypatch):
    # As inside a job: the settings of that job must not be taken for those of the new one.
    monkeypatch.setenv("SLURM_JOB_ID", "99999")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "7")
    configs = apply(Small(), param("what", ["number", "die", "raise"]))
    slurm.says("scancel", "--user=root")
    site = Site(minutes=12, memory_gb=0.5, launcher="pool")
    assert site.packed() == 3
    run_sweep(run, configs, tmp_path / "runs", launcher=Slurm(site, poll=0.5))
    outcomes = {r["what"]: r["outcome"] for r in collect(tmp_path / "runs", tmp_path / "t.csv")}
    assert outcomes["number"] == "done"
    assert "signal 9" in outcomes["die"]
    assert outcomes["raise"] == "failed: ValueError: no luck"


def test_the_settings_of_a_site(tmp_path):
    file = tmp_path / "site.toml"
    file.write_text('partition = "gpu"\nminutes = 240\nmemory_gb = 8\nsetup = ["module load x"]\n')
    site = read_site(file)
    assert (site.partition, site.memory_gb, site.setup) == ("gpu", 8.0, ("module load x",))
    assert site.packed() == 60
    for text, words in (
        ("minuts = 3", "unknown setting 'minuts'"),
        ('minutes = "3"', "should be a int"),
        ("minutes =", "is not TOML"),
    ):
        file.write_text(text)
        with pytest.raises(InputError, match=words):
            read_site(file)
    with pytest.raises(InputError, match="Cannot read"):
        read_site(tmp_path / "none.toml")


def test_where_there_is_no_slurm_a_sentence_says_so(tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="There is no Slurm here"):
        run_sweep(run, [Small()], tmp_path / "runs", launcher=Slurm())


def _running(slurm) -> list[str]:
    """Tasks under way, the one that began last first: it has most before it."""
    lines = slurm.says("squeue", "-h", "--array", "-t", "R", "-o", "%M %F_%K").split("\n")
    return [line.split()[1] for line in sorted(lines) if line.strip()]


def _jobs(runs: Path) -> dict[str, str]:
    import json

    return json.loads((runs / "slurm" / "jobs.json").read_text())


def _until(condition, seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.3)
