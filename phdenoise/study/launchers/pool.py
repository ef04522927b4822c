"""Several processes: each takes one run after another; one that dies costs one run, and none outlives its launcher.

A worker is spawned, not forked: JAX's threads do not survive a fork. It ends with its launcher, also where that is killed
(SIGKILL): a thread of its own waits for the launcher's end.
"""

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from phdenoise.study.launchers.sending import check_sendable
from phdenoise.study.work import Task, Work, failure, perform
from phdenoise.types import InputError

# Time that a worker has to end by itself when all is done [s].
_FAREWELL = 5.0
_FOR_THE_LAUNCHER = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    task: Task | None = None


class Pool:
    """Runs in several processes of this machine.

    Args:
        processes: at a time.

    Raises:
        InputError: fewer than one.
    """

    def __init__(self, processes: int):
        if processes < 1:
            raise InputError(f"A pool of {processes} processes runs nothing: give one or more.")
        self.processes = processes

    def launch(self, work: Work, tasks: Sequence[Task]) -> Iterator[tuple[Task, str]]:
        work = replace(work, quiet=True)
        check_sendable(work)
        waiting = deque(tasks)
        workers: list[_Worker] = []
        try:
            for _ in range(min(self.processes, len(waiting))):
                workers.append(_started(work))
            for worker in workers:
                _give(worker, waiting)
            while any(w.task is not None for w in workers):
                ready = wait([w.pipe for w in workers if w.task is not None])
                for worker in [w for w in workers if w.pipe in ready]:
                    task, worker.task = worker.task, None
                    assert task is not None
                    outcome = _answer(worker)
                    if outcome is None:
                        workers.remove(worker)
                        outcome = failure(work, task, _death(worker.process))
                        if waiting:
                            worker = _started(work)
                            workers.append(worker)
                    elif isinstance(outcome, InputError):
                        raise outcome
                    _give(worker, waiting)
                    yield task, outcome
        finally:
            _end(workers)


def _started(work: Work) -> _Worker:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, work), daemon=False)
    # Signals that a terminal or Slurm sends to all processes are for the launcher, which ends its workers. A worker inherits
    # what is held back here.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_THE_LAUNCHER)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    # So that the end of the worker ends the pipe.
    theirs.close()
    return _Worker(process, ours)


def _give(worker: _Worker, waiting: deque[Task]) -> None:
    """The next run; a worker that has died says so when its answer is awaited."""
    if not waiting or worker.task is not None:
        return
    worker.task = waiting.popleft()
    try:
        worker.pipe.send(worker.task)
    except OSError:
        return


def _answer(worker: _Worker) -> Any:
    """How the run ended; an error that ends the sweep; None where the worker died."""
    try:
        return worker.pipe.recv()
    except (EOFError, OSError):
        worker.process.join()
        return None


def _death(process: BaseProcess) -> str:
    code = process.exitcode or 0
    if code == -signal.SIGKILL:
        return "the process was killed (signal 9), as happens when memory runs out"
    if code < 0:
        return f"the process ended by signal {-code}"
    return f"the process ended with exit code {code}"


def _end(workers: list[_Worker]) -> None:
    for worker in workers:
        if worker.task is not None:
            worker.process.kill()
        worker.pipe.close()
    for worker in workers:
        worker.process.join(_FAREWELL)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()


def _serve(pipe: Connection, work: Work) -> None:
    """Answer each task with its outcome until the pipe ends."""
    end_with_parent()
    while True:
        try:
            task = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            answer: Any = perform(work, task)
        except InputError as error:
            answer = error
        try:
            pipe.send(answer)
        except OSError:
            return


def end_with_parent() -> None:
    """End this process when the one that started it ends, however that does."""
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        sys.stderr.flush()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
