"""What a run may use while it is under way: a place for its checkpoint, and a log of its metrics.

    def run(config):
        estimate = ph.denoise(movie, checkpoint=checkpoint())        # goes on after a kill, to the same bits
        track(step=100, loss=0.3)                                    # a line of NAME.metrics.jsonl

Outside of a study both do nothing: `checkpoint` is None, and `track` returns.
"""

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from phdenoise.types import InputError


@runtime_checkable
class Writer(Protocol):
    """Where metrics go besides the file of lines; `tensorboardX.SummaryWriter` is one."""

    def add_scalar(self, tag: str, value: float, step: int | None = None) -> Any:
        """Note a number."""

    def close(self) -> None:
        """Write what is left."""


@dataclass
class Current:
    """The run that is under way.

    Attributes:
        path: of its result.
        steps: done, as far as it has said.
        writer: to TensorBoard, if wanted.
    """

    path: Path
    steps: int = 0
    writer: Writer | None = None
    start: float = field(default_factory=time.monotonic)

    @property
    def metrics(self) -> Path:
        """File of the metrics, a JSON line each."""
        return self.path.parent / "metrics" / f"{self.path.stem}.jsonl"

    @property
    def checkpoint(self) -> Path:
        """Folder of the checkpoint."""
        return self.path.parent / "checkpoints" / self.path.stem


_CURRENT: ContextVar[Current | None] = ContextVar("current", default=None)


def checkpoint() -> Path | None:
    """Folder in which the run under way may keep what it needs to go on after a kill; None outside of a study."""
    current = _CURRENT.get()
    return None if current is None else current.checkpoint


def track(step: int | None = None, **numbers: float) -> None:
    """Note numbers of the run under way, such as its loss; nothing happens outside of a study.

    Args:
        step: that they belong to.
        numbers: name -> number.
    """
    current = _CURRENT.get()
    if current is None:
        return
    current.steps = current.steps if step is None else max(current.steps, step)
    plain = {k: float(v) if math.isfinite(v) else None for k, v in numbers.items()}
    line = {"seconds": round(time.monotonic() - current.start, 3), "step": step, **plain}
    try:
        current.metrics.parent.mkdir(exist_ok=True)
        with current.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    except OSError:
        # A metric is not worth a run: the result says what the disk lacks.
        return
    if current.writer is not None:
        for name, value in numbers.items():
            current.writer.add_scalar(name, value, step)


@contextmanager
def running(path: Path, tensorboard: bool = False) -> Iterator[Current]:
    """Let a run be the one under way.

    Args:
        path: of its result.
        tensorboard: whether metrics also go to TensorBoard (extra `track`).

    Yields:
        The run, with the steps that it says it does.
    """
    current = Current(path, writer=_writer(path) if tensorboard else None)
    # A run that begins again begins its metrics again, unless a checkpoint lets it go on.
    if not current.checkpoint.exists():
        current.metrics.unlink(missing_ok=True)
    token = _CURRENT.set(current)
    try:
        yield current
    finally:
        _CURRENT.reset(token)
        if current.writer is not None:
            current.writer.close()


def check_tensorboard() -> None:
    """Refuse before the first run what cannot be done.

    Raises:
        InputError: tensorboardX is not installed.
    """
    try:
        import tensorboardX  # noqa: F401
    except ImportError as error:
        raise InputError(
            "Metrics for TensorBoard need the extra track: pip install 'phdenoise[track]', or leave out --tensorboard."
        ) from error


def _writer(path: Path) -> Writer:
    from tensorboardX import SummaryWriter

    writer: Writer = SummaryWriter(str(path.parent / "tensorboard" / path.stem))
    return writer
