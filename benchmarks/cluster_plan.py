"""A study of many runs on a cluster, planned and simulated: time, storage, and the work that failures cost.

    python -m benchmarks.cluster_plan --runs 10000 --minutes-per-run 12 --terabytes 10

The scheduler is simulated: tasks of packed runs in arrays, a number of slots, a start that takes a while, a time limit. A task fails
at a random moment with a probability; it is then requeued. Finished runs are on disk; of the run under way, the work since
its last checkpoint is lost. "None" is a launcher that keeps nothing of a task that fails.
"""

import heapq
from dataclasses import dataclass

import numpy as np
import tyro


@dataclass(frozen=True)
class Cluster:
    """The plan."""

    runs: int = 10_000
    """Runs of the study."""
    minutes_per_run: float = 12.0
    """Median of a run [minutes]."""
    spread: float = 0.3
    """Standard deviation of the logarithm of that."""
    slots: int = 64
    """Tasks at a time."""
    packed: int = 0
    """Runs in a task; 0: a quarter of the time limit, as `phdenoise.study.launchers.site` does."""
    limit: float = 240.0
    """Time limit of a task [minutes]."""
    array_limit: int = 1000
    """Tasks of an array."""
    start: float = 1.0
    """Start of a task: queue, Python, compilation [minutes]."""
    requeue: float = 2.0
    """Wait of a task that is requeued [minutes]."""
    requeues: int = 20
    """Times that a task is requeued."""
    fail: float = 0.01
    """Probability that a task fails."""
    checkpoint: float = 2.0
    """Time between checkpoints of a run [minutes]."""
    terabytes: float = 10.0
    """Movies to read, in all."""
    result_kb: float = 4.0
    """Result, metrics and log of a run [kB]."""
    checkpoint_mb: float = 40.0
    """Two checkpoints of a run under way [MB]."""
    seed: int = 0
    """Of the simulation."""

    @property
    def size(self) -> int:
        """Runs in a task."""
        return self.packed or max(1, int(self.limit / 4 / self.minutes_per_run))


@dataclass(frozen=True)
class Course:
    """What became of it.

    Attributes:
        makespan: until the last run ended [minutes].
        useful: work of the runs [minutes].
        lost: work that was done twice [minutes].
        overhead: starts and waits [minutes].
        failures: tasks that failed, and time limits that were met.
        done: how often each run was finished [run].
    """

    makespan: float
    useful: float
    lost: float
    overhead: float
    failures: tuple[int, int]
    done: np.ndarray


def simulate(cluster: Cluster, keeps: str = "checkpoint") -> Course:
    """The study on the cluster.

    Args:
        cluster: the plan.
        keeps: of a task that fails: "checkpoint" (runs and the state of the one under way), "runs", or "none".

    Returns:
        Its course.
    """
    rng = np.random.default_rng(cluster.seed)
    length = cluster.minutes_per_run * np.exp(cluster.spread * rng.normal(size=cluster.runs))
    done = np.zeros(cluster.runs, int)
    left = length.copy()
    tasks = [
        list(range(k, min(k + cluster.size, cluster.runs)))
        for k in range(0, cluster.runs, cluster.size)
    ]
    free = [0.0] * cluster.slots
    heapq.heapify(free)
    waiting = [(0.0, k) for k in range(len(tasks))]
    requeues = np.zeros(len(tasks), int)
    heapq.heapify(waiting)
    lost = overhead = makespan = 0.0
    failed = limits = 0
    while waiting:
        ready, number = heapq.heappop(waiting)
        now = max(heapq.heappop(free), ready)
        todo = [r for r in tasks[number] if not done[r]]
        work = float(left[todo].sum())
        span = min(work, cluster.limit - cluster.start)
        # A start of a task fails with the given probability, at any moment of it.
        moment = rng.uniform(0, cluster.start + span) if rng.random() < cluster.fail else np.inf
        ends = min(cluster.start + span, moment)
        worked = max(0.0, ends - cluster.start)
        overhead += min(cluster.start, ends)
        finished, spent = [], 0.0
        for run in todo:
            if spent + left[run] > worked + 1e-9:
                break
            spent += left[run]
            finished.append(run)
        stopped = moment < np.inf or len(finished) < len(todo)
        failed += moment < np.inf
        limits += stopped and moment == np.inf
        partial = worked - spent
        if stopped and keeps == "none":
            lost += worked
        else:
            done[finished] += 1
            left[finished] = 0.0
            if stopped and len(finished) < len(todo):
                # At a time limit the warning lets the run come to a checkpoint of its own.
                saved = (
                    partial
                    if moment == np.inf
                    else partial // cluster.checkpoint * cluster.checkpoint
                )
                saved = saved if keeps == "checkpoint" else 0.0
                left[todo[len(finished)]] -= saved
                lost += partial - saved
        heapq.heappush(free, now + ends)
        makespan = max(makespan, now + ends)
        again = stopped and (keeps == "none" or len(finished) < len(todo))
        requeues[number] += again
        if again and requeues[number] <= cluster.requeues:
            overhead += cluster.requeue
            heapq.heappush(waiting, (now + ends + cluster.requeue, number))
    return Course(makespan, float(length.sum()), lost, overhead, (failed, limits), done)


def main(cluster: Cluster) -> None:
    """The plan as a table."""
    tasks = -(-cluster.runs // cluster.size)
    hours = cluster.runs * cluster.minutes_per_run / 60
    print(f"{cluster.runs} runs of {cluster.minutes_per_run:g} min: {hours:.0f} h of a slot, {cluster.size} in a task, {tasks} tasks in "
          f"{-(-tasks // cluster.array_limit)} arrays, {cluster.slots} at a time")  # fmt: skip
    print(f"storage: results {cluster.runs * cluster.result_kb / 1e6:.2f} GB in {cluster.runs} to {3 * cluster.runs} files, checkpoints "
          f"{cluster.slots * cluster.checkpoint_mb / 1e3:.1f} GB at a time; reading {cluster.terabytes:g} TB once, "
          f"{cluster.terabytes * 1e6 / (hours * 3600 / cluster.slots):.0f} MB/s on average")  # fmt: skip
    print(
        "| what is kept of a task that fails | time [h] | work lost [%] | starts and waits [%] | failed | at the limit | runs done |"
    )
    print("|---|---|---|---|---|---|---|")
    for keeps in ("checkpoint", "runs", "none"):
        c = simulate(cluster, keeps)
        assert (c.done <= 1).all(), "a run is done twice"
        print(f"| {keeps} | {c.makespan / 60:.1f} | {100 * c.lost / c.useful:.3f} | {100 * c.overhead / c.useful:.1f} | {c.failures[0]} | "
              f"{c.failures[1]} | {int(c.done.sum())} |")  # fmt: skip


if __name__ == "__main__":
    main(tyro.cli(Cluster))
