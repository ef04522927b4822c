"""What a cluster asks for, in a file of TOML.

partition = "gpu"
minutes = 240
gpus = 1
array_limit = 1000
setup = ["module load cuda", "source ~/venv/bin/activate"]
"""

import dataclasses
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phdenoise.types import InputError


@dataclass(frozen=True)
class Site:
    """Settings of a cluster for the runs of a study."""

    partition: str = ""
    """Partition; empty: the cluster's own."""
    account: str = ""
    """Account that is charged."""
    qos: str = ""
    """Quality of service."""
    minutes: int = 60
    """Time limit of a task [minutes]; a task that reaches it goes on where it was in another."""
    signal_seconds: int = 90
    """Warning before the limit [s]: within it a run must come to a point where Python sees signals."""
    memory_gb: float = 4.0
    """Memory of a task [GB]."""
    cpus: int = 1
    """Processors of a task."""
    gpus: int = 0
    """Accelerators of a task."""
    runs_per_task: int = 0
    """Runs in one task, one after another; 0: as many as fill a quarter of the time limit at minutes_per_run."""
    minutes_per_run: float = 1.0
    """What a run takes [minutes], for packing; `status` of a fast run tells it."""
    array_limit: int = 1000
    """Tasks of one array (MaxArraySize of the cluster, see `scontrol show config`)."""
    parallel: int = 256
    """Tasks of one array at a time."""
    requeues: int = 20
    """Times that a task may reach its time limit."""
    launcher: str = "pool"
    """Inside a task: pool (a process for each processor), inprocess or vmapped."""
    setup: tuple[str, ...] = ()
    """Lines of shell before Python starts."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Other options of sbatch, without dashes."""

    def packed(self) -> int:
        """Runs in one task."""
        # A quarter: a run may take four times as long as thought before its task needs a second turn.
        return self.runs_per_task or max(1, int(self.minutes / 4 / self.minutes_per_run))


def read_site(file: str | Path) -> Site:
    """Settings of a cluster from a file.

    Args:
        file: of TOML, with the fields of `Site`.

    Returns:
        The settings.

    Raises:
        InputError: no such file, no TOML, or a setting that is not known or not of its kind.
    """
    path = Path(file)
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"Cannot read {file}: {error.strerror}; give a file of TOML.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is not TOML ({error}).") from error
    known = {f.name: getattr(Site(), f.name) for f in dataclasses.fields(Site)}
    for name, value in given.items():
        if name not in known:
            raise InputError(f"{file}: unknown setting '{name}'; there are {', '.join(known)}.")
        default = known[name]
        value = tuple(value) if isinstance(default, tuple) and isinstance(value, list) else value
        value = float(value) if isinstance(default, float) and type(value) is int else value
        if type(value) is not type(default):
            raise InputError(
                f"{file}: {name} = {value!r} should be a {type(default).__name__}, such as {default!r}."
            )
        given[name] = value
    return Site(**given)
