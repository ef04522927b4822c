"""The simulation of the scheduler against what can be counted by hand."""

from dataclasses import replace

import pytest

from benchmarks.cluster_plan import Cluster, simulate

# Equal runs without failures on one slot.
PLAIN = Cluster(runs=20, minutes_per_run=10.0, spread=0.0, slots=1, packed=5, limit=240.0, fail=0.0)


def test_without_failures_the_time_is_that_of_the_work_and_the_starts():
    course = simulate(PLAIN)
    assert course.makespan == pytest.approx(20 * 10 + 4 * PLAIN.start)
    assert (course.lost, course.failures) == (0.0, (0, 0))
    assert simulate(replace(PLAIN, slots=4)).makespan == pytest.approx(50 + PLAIN.start)


def test_a_time_limit_costs_a_start_and_a_wait_and_no_work():
    # 39 minutes of work in a task: 50 minutes are two turns.
    course = simulate(replace(PLAIN, limit=40.0))
    assert course.failures == (0, 4)
    assert course.lost == 0.0
    assert course.overhead == pytest.approx(8 * PLAIN.start + 4 * PLAIN.requeue)
    assert (course.done == 1).all()
    # Where nothing is kept such a task never ends.
    assert simulate(replace(PLAIN, limit=40.0), "none").done.sum() == 0


def test_failures_lose_at_most_the_time_between_checkpoints():
    cluster = Cluster(runs=2000, fail=0.3)
    kept, runs, none = (simulate(cluster, k) for k in ("checkpoint", "runs", "none"))
    assert (kept.done == 1).all()
    assert kept.lost <= kept.failures[0] * cluster.checkpoint
    # Of a run that fails at any moment, half is lost on average; of a task, half a task.
    assert runs.lost / runs.failures[0] == pytest.approx(cluster.minutes_per_run / 2, rel=0.25)
    assert none.lost > 3 * runs.lost > 9 * kept.lost
