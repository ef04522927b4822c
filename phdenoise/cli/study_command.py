"""The command line of a study: `python -m experiments.NAME WHAT`, and `phdenoise study FILE WHAT`."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from phdenoise.figures.published import published
from phdenoise.study import records
from phdenoise.study.about import git_revision, inputs
from phdenoise.study.current import check_tensorboard
from phdenoise.study.definition import Study, by_module_name
from phdenoise.study.identity import at_version, differences
from phdenoise.study.launchers.pool import Pool
from phdenoise.study.launchers.site import Site, read_site
from phdenoise.study.launchers.slurm import Slurm
from phdenoise.study.launchers.vmapped import Vmapped
from phdenoise.study.methods import cited
from phdenoise.study.plan import write_plan
from phdenoise.study.rerun import chosen, rerun
from phdenoise.study.run import run_sweep, tasks_of
from phdenoise.study.state import status
from phdenoise.study.sweep import reseeded, where
from phdenoise.study.table import collect, read_table
from phdenoise.study.work import InProcess, Launcher, Task
from phdenoise.types import InputError

What = Literal["list", "run", "status", "collect", "figure", "rerun", "cite"]


@dataclass(frozen=True)
class Arguments:
    """What to do, and where."""

    what: tyro.conf.Positional[What]
    """list the runs; run those without a result; status of all; collect the table; draw the figure; rerun and compare; cite the methods."""
    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """Of runs, or the files of their results: for rerun and cite."""
    fast: bool = False
    """A minute-long version of the study."""
    where: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FIELD=VALUE ...")] = ()
    """Only the runs with field=value, or field=value,value; several must all hold."""
    seeds: tuple[int, ...] = ()
    """These seeds in place of the study's."""
    launcher: Literal["inprocess", "pool", "vmapped", "slurm"] | None = None
    """Where runs are computed; by default here, one after another, or in a pool where --processes says more than one."""
    processes: int = 1
    """Runs at a time."""
    site: Path | None = None
    """Settings of the cluster (TOML), for --launcher slurm."""
    wait: bool = False
    """Wait for the results of the cluster."""
    retry: bool = False
    """Also repeat what failed."""
    tensorboard: bool = False
    """Metrics also for TensorBoard (extra track)."""
    mix: bool = False
    """Collect results of several versions of the packages or kinds of device."""
    output: Path | None = None
    """Folder of runs, table and figures; default results/NAME."""


@dataclass(frozen=True)
class WithData(Arguments):
    """What to do, and where; the study also looks at real movies."""

    data: str = os.environ.get("PHDENOISE_DATA", "")
    """Folder of the real movies."""


def main(study: Study, arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Do what the command line asks of a study; a mistake ends with one sentence and exit code 2.

    Args:
        study: of the program, or of a file.
        arguments: of the command line; None takes those of the process.
        prog: what the program is called in the help.
    """
    kind = WithData if study.data else Arguments
    asked = tyro.cli(kind, prog=prog, args=None if arguments is None else list(arguments))
    try:
        do(by_module_name(study), asked)
    except InputError as error:
        print(f"{study.name}: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(
            f"{study.name}: interrupted; finished runs are kept, run again to go on.",
            file=sys.stderr,
        )
        sys.exit(130)


def do(study: Study, asked: Arguments) -> None:
    """Do one thing with a study.

    Args:
        study: what it is made of.
        asked: what to do.

    Raises:
        InputError: it cannot be done.
    """
    job = _Job(study, asked)
    if asked.what != "status":
        job.prepare()
    actions: dict[What, Callable[[], None]] = {
        "list": job.list_runs,
        "run": job.run,
        "status": job.status,
        "collect": job.collect,
        "figure": job.figure,
        "rerun": job.rerun,
        "cite": job.cite,
    }
    actions[asked.what]()


class _Job:
    """A study, the folder it is in, and the runs that are meant."""

    def __init__(self, study: Study, asked: Arguments):
        self.study, self.asked = study, asked
        self.folder = (asked.output or Path("results") / study.name) / (
            "fast" if asked.fast else "full"
        )
        self.runs, self.table = self.folder / "runs", self.folder / "table.csv"

    def prepare(self) -> None:
        """All configs of the study, and of them those that are meant."""
        data = self.asked.data if isinstance(self.asked, WithData) else ""
        self.every = self.study.sweep(self.asked.fast, data)
        if self.asked.seeds:
            self.every = reseeded(self.every, self.asked.seeds)
        self.meant = where(self.every, self.asked.where)
        self.version = self.study.version
        self.tasks = tasks_of(self.version, self.meant, self.runs)

    def list_runs(self) -> None:
        for task in self.tasks:
            changes = (
                ", ".join(f"{k}={v}" for k, v in differences(task.config).items()) or "defaults"
            )
            print(f"{task.path.stem}  {_state(task)}  {changes}")
        print(f"{len(self.tasks)} runs, code version {self.version}.")

    def run(self) -> None:
        if self.asked.tensorboard:
            check_tensorboard()
        launcher = _launcher(self.asked)
        every = [t.path.stem for t in tasks_of(self.version, self.every, self.runs)]
        if self.runs.is_dir():
            write_plan(self.runs, self.version, every)
        run_sweep(
            self.study.runner(self.folder), self.meant, self.runs, retry=self.asked.retry,
            progress=_say, launcher=launcher, tensorboard=self.asked.tensorboard,
        )  # fmt: skip
        write_plan(self.runs, self.version, every)
        print(status(self.runs).sentence)
        print(f"Runs: {self.runs.resolve()}")

    def status(self) -> None:
        for line in status(self.runs).lines():
            print(line)

    def collect(self) -> None:
        names = [t.path.stem for t in self.tasks]
        rows = collect(self.runs, self.table, names=names, mix=self.asked.mix)
        done = sum(r["outcome"] == "done" for r in rows)
        print(
            f"{done} of {len(names)} runs are in the table{_missing(rows, names)}: {self.table.resolve()}"
        )
        stale = status(self.runs).stale
        if stale:
            print(
                f"{stale} results in {self.runs} are stale (of other code or settings) and left out."
            )
        revisions = {r["git"] for r in read_table(self.table.with_name("table_about.csv"))}
        if len(revisions) > 1:
            print(
                f"The runs are of {len(revisions)} git revisions; the code that they reach is the same."
            )
        if self.study.tell is not None:
            with at_version(self.version):
                self.study.tell(_done(self.table), self.folder, self.meant)

    def figure(self) -> None:
        if self.study.draw is None:
            raise InputError(
                "This study draws nothing: give its Study a function draw(rows, folder, configs)."
            )
        rows = _done(self.table)
        if not rows:
            raise InputError(
                f"{self.table} holds no finished run: see its column outcome, and run again."
            )
        (digest,) = inputs({"table": self.table}).values()
        manifest = {
            "study": self.study.name,
            "code": self.version,
            "git": git_revision(),
            "table": f"{self.table.name} sha256 {digest[:16]}",
            "runs": str(len(rows)),
        }
        with at_version(self.version), published(manifest):
            self.study.draw(rows, self.folder, self.meant)
        print(f"Figures: {self.folder.resolve()}")

    def rerun(self) -> None:
        if not self.asked.names:
            raise InputError("Which run? Give its name, or the file of its result: rerun NAME.")
        differ = []
        for task in chosen(self.tasks, self.asked.names):
            found = rerun(
                self.study.runner(self.folder / "rerun"),
                task.config,
                task.path,
                version=self.version,
            )
            print("\n".join(found.lines()))
            if not found.same:
                differ.append(found.name)
        if differ:
            raise InputError(f"{len(differ)} runs did not come out as before: {', '.join(differ)}.")

    def cite(self) -> None:
        tasks = chosen(self.tasks, self.asked.names) if self.asked.names else self.tasks
        for method in cited([records.plain_config(t.config) for t in tasks], self.study.cites):
            print(f"% {method.what}\n{method.bibtex}\n")


def _launcher(asked: Arguments) -> Launcher:
    site = Site() if asked.site is None else read_site(asked.site)
    kinds: dict[str, Callable[[], Launcher]] = {
        "inprocess": InProcess,
        "pool": partial(Pool, max(asked.processes, 2)),
        "vmapped": Vmapped,
        "slurm": partial(Slurm, site, wait=asked.wait),
    }
    return kinds[asked.launcher or ("pool" if asked.processes > 1 else "inprocess")]()


def _say(done: int, total: int, text: str) -> None:
    """A line a run; where nobody watches, a line a percent."""
    step = 1 if sys.stdout.isatty() else max(1, total // 100)
    if done % step == 0 or done == total or ": done" not in text:
        print(f"{done}/{total} {text}", flush=True)


def _state(task: Task) -> str:
    record = records.load(task.path, task.config)
    return str(record["outcome"]).split(":")[0] if record else "waiting"


def _missing(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> str:
    failed = sum(r["outcome"] != "done" for r in rows)
    absent = len(names) - len(rows)
    parts = [f"{n} {what}" for n, what in ((failed, "failed"), (absent, "not run")) if n]
    return f" ({', '.join(parts)})" if parts else ""


def _done(table: Path) -> list[dict[str, str]]:
    return [r for r in read_table(table) if r["outcome"] == "done"]
