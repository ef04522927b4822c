"""The plan of a folder of runs: the names of all, so that what is missing can be counted without the configs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from phdenoise.io.atomic import atomic

_FILE = "plan.json"


class Plan(NamedTuple):
    """What a folder is to hold.

    Attributes:
        version: of the code.
        names: of the runs.
    """

    version: str
    names: tuple[str, ...]


def write_plan(folder: Path, version: str, names: Sequence[str]) -> None:
    """Write what a folder is to hold.

    Args:
        folder: of the runs, made where it is missing.
        version: of the code.
        names: of the runs.

    Raises:
        InputError: the folder cannot be written.
    """
    if read_plan(folder) == Plan(version, tuple(names)):
        return
    with atomic(folder / _FILE, overwrite=True) as temporary:
        temporary.write_text(json.dumps({"version": version, "names": list(names)}))


def extend_plan(folder: Path, version: str, names: Sequence[str]) -> None:
    """Add runs to a plan; one of other code is replaced.

    Args:
        folder: of the runs.
        version: of the code.
        names: of the runs.

    Raises:
        InputError: the folder cannot be written.
    """
    old = read_plan(folder)
    before = old.names if old is not None and old.version == version else ()
    write_plan(folder, version, list(dict.fromkeys([*before, *names])))


def read_plan(folder: Path) -> Plan | None:
    """The plan of a folder; None where there is none, or it is damaged (`run` writes it anew)."""
    try:
        plan = json.loads((folder / _FILE).read_text())
        return Plan(str(plan["version"]), tuple(plan["names"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None
