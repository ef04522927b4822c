"""Results on disk: a JSON file for each run, `NAME.json` where it is done and `NAME.failed.json` where it failed.

A file holds a hash of its own content, so that one that was cut short or damaged is known and computed again. Its
whole config is compared with the one that asks: where a default has changed since, the name is the same and the result
is not, and it is moved aside.
"""

import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phdenoise.io.atomic import atomic
from phdenoise.study.identity import flatten

FAILED = ".failed.json"
# Folder within that of the runs for results of other defaults.
ASIDE = "replaced"


def done_path(folder: Path, name: str) -> Path:
    """File of a result.

    Args:
        folder: of the runs.
        name: of the run.

    Returns:
        The path, whether it exists or not.
    """
    return folder / f"{name}.json"


def failed_path(path: Path) -> Path:
    """File of a failure, from that of the result."""
    return path.with_name(path.stem + FAILED)


def make(
    config: Any, outcome: str, result: Mapping[str, float], about: Mapping[str, Any]
) -> dict[str, Any]:
    """The content of a file.

    Args:
        config: of the run.
        outcome: "done" or "failed: ...".
        result: named numbers.
        about: where they come from.

    Returns:
        Plain values, with their hash.
    """
    # Keys in the config's own order: it becomes the order of the table's columns.
    record = {
        "config": plain_config(config),
        "outcome": outcome,
        "result": {k: float(v) if math.isfinite(v) else None for k, v in result.items()},
        "about": dict(about),
    }
    return record | {"sha256": _digest(record)}


def write(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record where it belongs, and take away what it replaces.

    Args:
        path: of the result, which a failure is written beside.
        record: of `make`.

    Raises:
        InputError: the folder cannot be written.
    """
    failed = record["outcome"] != "done"
    target = failed_path(path) if failed else path
    with atomic(target, overwrite=True) as temporary:
        temporary.write_text(json.dumps(record, indent=1, default=str), encoding="utf-8")
    if not failed:
        failed_path(path).unlink(missing_ok=True)


def load(path: Path, config: Any = None) -> dict[str, Any]:
    """A record of either outcome.

    Args:
        path: of the result, also where the run failed.
        config: that the record must be of; None asks for any.

    Returns:
        The record; nothing where there is none, it is damaged, or it is of another config.
    """
    for candidate in (path, failed_path(path)):
        record = read(candidate)
        if record and (config is None or _is_of(record, config)):
            return record
    return {}


def read(path: Path) -> dict[str, Any]:
    """One file; nothing where it is absent, cut short or damaged."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        own = record.pop("sha256")
        return record if own == _digest(record) else {}
    except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError):
        return {}


def move_aside(path: Path, config: Any) -> str:
    """Keep, elsewhere, a record that is sound but of other defaults.

    Args:
        path: of the result.
        config: that asks.

    Returns:
        What happened, in a sentence; empty where nothing is there.
    """
    if not path.exists():
        return ""
    record = read(path)
    if not record:
        return f"{path.name} was damaged and is computed again."
    if _is_of(record, config):
        return ""
    kept = path.parent / ASIDE / f"{path.stem}-{_digest(record)[:8]}.json"
    kept.parent.mkdir(exist_ok=True)
    os.replace(path, kept)
    return f"{path.name} is of other defaults and was moved to {kept}."


def plain_config(config: Any) -> dict[str, Any]:
    """A config as flat JSON values, in its own order."""
    plain: dict[str, Any] = json.loads(json.dumps(flatten(config), default=_number))
    return plain


def _number(value: Any) -> Any:
    return value.item() if getattr(value, "ndim", None) == 0 else str(value)


def _is_of(record: Mapping[str, Any], config: Any) -> bool:
    """Whether a record is of a config: a field that it does not have yet counts as the default, which the name says."""
    own = plain_config(config)
    return all(v == own[k] for k, v in record["config"].items() if k in own)


def _digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(
        json.dumps(record, separators=(",", ":"), sort_keys=True, default=str).encode()
    ).hexdigest()
