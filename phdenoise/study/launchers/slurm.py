"""Runs on a cluster: arrays of Slurm tasks, each of several runs, through submitit (extra `slurm`).

A task that comes to its time limit, or is preempted, is requeued by submitit and goes on: finished runs are files, and the one
under way goes on from its checkpoint. A task that starts again after its node failed reads the same files, so that it never
starts over from what it was submitted with. A run that is in the queue already is not submitted again.

The machine that submits only writes names and settings: nothing is imported by runs, compiled or computed there.
"""

import json
import os
import shlex
import shutil
import signal
import site
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from phdenoise.io.atomic import atomic
from phdenoise.study import records
from phdenoise.study.launchers.pool import Pool
from phdenoise.study.launchers.sending import check_sendable
from phdenoise.study.launchers.site import Site
from phdenoise.study.launchers.vmapped import Vmapped
from phdenoise.study.state import tail
from phdenoise.study.work import InProcess, Launcher, Task, Work, failure, print_line
from phdenoise.types import InputError

# Submitted runs with the job that has each.
_JOBS = "jobs.json"
# By which Slurm warns of the time limit and of preemption, as submitit asks it to.
_WARNINGS = (signal.SIGUSR2,)


@dataclass(frozen=True)
class Pack:
    """Some runs of a sweep: what one task does.

    Attributes:
        work: what is done with each.
        tasks: in order.
        inner: how they are computed there.
    """

    work: Work
    tasks: tuple[Task, ...]
    inner: Launcher

    def __call__(self) -> int:
        """Compute what has no result yet, and return how many that were."""
        # Held back since the task began: before submitit listened, it would have ended the task.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WARNINGS)
        left = [t for t in self.tasks if self.work.todo(t)]
        return sum(1 for _ in self.inner.launch(self.work, left))

    def checkpoint(self) -> Any:
        """The same again: what is done is on disk."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class Slurm:
    """Runs as arrays of a Slurm cluster.

    Args:
        site: settings of the cluster.
        wait: whether to wait for the results; else the sweep goes on when this process has ended.
        poll: time between two looks at the queue [s].
    """

    def __init__(self, site: Site | None = None, *, wait: bool = True, poll: float = 10.0):
        self.site = Site() if site is None else site
        self.wait = wait
        self.poll = poll

    def launch(self, work: Work, tasks: Sequence[Task]) -> Iterator[tuple[Task, str]]:
        if not tasks:
            return
        check_sendable(work)
        folder = tasks[0].path.parent / "slurm"
        folder.mkdir(exist_ok=True)
        jobs = _queued(folder)
        new = [t for t in tasks if t.path.stem not in jobs]
        if work.retry:
            # Else the failure of before is taken for the outcome.
            for task in new:
                records.failed_path(task.path).unlink(missing_ok=True)
        for task, job in zip(new, self._submit(work, new, folder), strict=True):
            jobs[task.path.stem] = job
        with atomic(folder / _JOBS, overwrite=True) as temporary:
            temporary.write_text(json.dumps(jobs))
        arrays = sorted({j.split("_")[0] for j in jobs.values()})
        print_line(
            f"Submitted {len(new)} runs ({len(tasks) - len(new)} were in the queue); jobs: {', '.join(arrays)}."
        )
        if self.wait:
            yield from self._watch(work, tasks, jobs, folder)

    def _submit(self, work: Work, tasks: Sequence[Task], folder: Path) -> list[str]:
        """Submit arrays no longer than the site takes, and return the job of each task."""
        if not tasks:
            return []
        site, size = self.site, self.site.packed()
        packs = [
            Pack(replace(work, quiet=True), tuple(tasks[k : k + size]), _inner(site))
            for k in range(0, len(tasks), size)
        ]
        executor = _executor(folder, site)
        ids: list[str] = []
        from submitit.helpers import clean_env

        # Without the settings of the job that this process may itself be in, but with those of the cluster.
        cluster = {k: os.environ[k] for k in ("SLURM_CONF",) if k in os.environ}
        with clean_env():
            os.environ.update(cluster)
            for k in range(0, len(packs), site.array_limit):
                some = packs[k : k + site.array_limit]
                try:
                    with executor.batch():
                        jobs = [executor.submit(p) for p in some]
                except Exception as error:
                    raise InputError(
                        f"Slurm did not take the jobs ({_last_line(error)}): see `sinfo`, and the settings of the site."
                    ) from error
                ids += [j.job_id for j, p in zip(jobs, some, strict=True) for _ in p.tasks]
        return ids

    def _watch(
        self, work: Work, tasks: Sequence[Task], jobs: dict[str, str], folder: Path
    ) -> Iterator[tuple[Task, str]]:
        """Results as they come; a run whose task has left the queue without one has failed."""
        left = list(tasks)
        while left:
            # Before the look at the results: a task that ends between the two has written them.
            queued = _in_queue()
            still = []
            for task in left:
                record = records.load(task.path, task.config)
                job = jobs[task.path.stem]
                if record:
                    yield task, record["outcome"]
                elif queued is None or job in queued:
                    still.append(task)
                else:
                    said = " ".join(tail(folder / f"{job}_0_log.err", 1))
                    reason = f"its Slurm task {job} ended without a result{': ' * bool(said)}{said}"
                    yield task, failure(work, task, reason)
            left = still
            if left:
                time.sleep(self.poll)


def _inner(site: Site) -> Launcher:
    kinds: dict[str, Callable[[], Launcher]] = {
        "pool": lambda: Pool(site.cpus),
        "inprocess": InProcess,
        "vmapped": Vmapped,
    }
    if site.launcher not in kinds:
        raise InputError(f"A task cannot launch by '{site.launcher}': give {', '.join(kinds)}.")
    return kinds[site.launcher]()


def _executor(folder: Path, site: Site) -> Any:
    try:
        import submitit
    except ImportError as error:
        raise InputError(
            "Slurm needs the extra slurm: pip install 'phdenoise[slurm]', or choose another --launcher."
        ) from error
    if shutil.which("sbatch") is None:
        raise InputError("There is no Slurm here (no command sbatch): choose another --launcher.")
    executor = submitit.SlurmExecutor(
        folder=folder, max_num_timeout=site.requeues, python=_python()
    )
    optional = {"partition": site.partition, "account": site.account, "qos": site.qos}
    if site.gpus:
        optional["gpus_per_node"] = site.gpus  # type: ignore[assignment]
    executor.update_parameters(
        time=site.minutes,
        mem=f"{int(1024 * site.memory_gb)}M",
        cpus_per_task=site.cpus,
        signal_delay_s=site.signal_seconds,
        array_parallelism=site.parallel,
        job_name="phdenoise",
        setup=[f"export PYTHONPATH={_python_path()}", *site.setup],
        additional_parameters={"requeue": True, **site.extra},
        **{k: v for k, v in optional.items() if v},
    )
    return executor


def _python() -> str:
    """Python, with the warning of the time limit held back until there is somebody to hear it."""
    held = ",".join(s.name.removeprefix("SIG") for s in _WARNINGS)
    return f"env --block-signal={held} {shlex.quote(sys.executable)}"


def _python_path() -> str:
    """Folders from which this process imports, without those of Python and of installed packages."""
    installed = [sys.prefix, sys.base_prefix, *site.getsitepackages()]
    own = [os.path.abspath(p) for p in sys.path if not p or os.path.isdir(p)]
    kept = [p for p in own if not any(p == i or p.startswith(i + os.sep) for i in installed)]
    return ":".join(f"'{p}'" for p in dict.fromkeys(kept))


def _queued(folder: Path) -> dict[str, str]:
    """Runs that were submitted before and are still in the queue, with their jobs."""
    try:
        before = json.loads((folder / _JOBS).read_text())
    except (OSError, ValueError):
        return {}
    queued = _in_queue() or set()
    return {name: job for name, job in before.items() if job in queued}


def _in_queue() -> set[str] | None:
    """Tasks of this user that wait, run or will be requeued; None where the controller does not answer."""
    command = ["squeue", "--me", "--array", "--noheader", "--format", "%F_%K"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    # A task that is not of an array has no index.
    return {job.removesuffix("_N/A") for job in done.stdout.split()}


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
