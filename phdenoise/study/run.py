"""Run a sweep, resume it where it stopped, and collect a tidy table.

Each config is one JSON file named by the SHA-256 of its canonical JSON: the same config has the same name on
every machine and in every process, so a second call does only what is missing.
"""

import csv
import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from phdenoise.io import atomic
from phdenoise.study.compiled import clear_caches
from phdenoise.types import InputError

try:
    import fcntl
except ImportError:  # Windows, where a folder is for one process
    fcntl = None  # type: ignore[assignment]

Row = dict[str, Any]


def _canonical(config: Any) -> str:
    """Canonical JSON of a dataclass of plain values: sorted keys, no spaces, tuples as lists."""
    return json.dumps(
        dataclasses.asdict(config), sort_keys=True, separators=(",", ":"), allow_nan=False
    )


def run_id(config: Any) -> str:
    """First 16 hexadecimal digits of the SHA-256 of a config's class name and canonical JSON."""
    text = f"{type(config).__name__}:{_canonical(config)}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def flatten(config: Any, prefix: str = "") -> Row:
    """Nested dataclass fields as dotted columns.

    Args:
        config: dataclass.
        prefix: of the names.

    Returns:
        Name -> value.
    """
    row: Row = {}
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        if dataclasses.is_dataclass(value):
            row |= flatten(value, f"{prefix}{f.name}.")
        else:
            row[prefix + f.name] = value
    return row


def run_sweep(
    run: Callable[[Any], Mapping[str, float]],
    configs: Sequence[Any],
    folder: str | Path,
    *,
    processes: int = 1,
    retry: bool = False,
    progress: Callable[[int, int, str], None] | None = None,
) -> list[Path]:
    """Run each config that has no result yet; several processes may share a folder, and its work.

    Args:
        run: config -> named numbers; a module-level function if `processes` > 1.
        configs: frozen dataclasses.
        folder: one JSON a run goes here; made if absent.
        processes: runs at a time.
        retry: also repeat runs that failed before.
        progress: called with (runs done, runs in all, id and outcome of the last one).

    Returns:
        Files of all configs, in order. A run that raises is recorded with its sentence, not raised.

    Raises:
        InputError: two configs are the same.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{run_id(c)}.json" for c in configs]
    if len(set(paths)) < len(paths):
        raise InputError("The sweep holds the same config twice.")
    todo = [(c, p) for c, p in zip(configs, paths, strict=True) if not _finished(p, retry)]
    done = len(configs) - len(todo)

    def report(path: Path) -> None:
        nonlocal done
        done += 1
        if progress:
            outcome = _load(path).get("outcome", "left to the process that is at it")
            progress(done, len(configs), f"{path.stem}: {outcome}")

    if processes <= 1:
        for config, path in todo:
            _run_one(run, config, path, retry)
            report(path)
        return paths
    # Spawned, not forked: JAX's threads do not survive a fork.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        pending = {pool.submit(_run_one, run, c, p, retry): p for c, p in todo}
        for future in as_completed(pending):
            future.result()
            report(pending[future])
    return paths


def collect(folder: str | Path, table: str | Path) -> list[Row]:
    """Gather a folder of runs into one tidy table.

    Args:
        folder: of `run_sweep`.
        table: CSV file to write.

    Returns:
        The rows, one a run, sorted by configuration.

    Raises:
        InputError: no finished run in the folder.
    """
    rows = []
    for path in sorted(Path(folder).glob("*.json")):
        record = _load(path)
        if record:
            rows.append(
                {"id": path.stem, **record["config"], "outcome": record["outcome"]}
                | record["result"]
            )
    if not rows:
        raise InputError(f"{folder} holds no finished run: run the sweep first.")
    columns = list(dict.fromkeys(name for row in rows for name in row))
    rows.sort(key=lambda row: [str(row.get(c, "")) for c in columns[1:]])
    table = Path(table)
    table.parent.mkdir(parents=True, exist_ok=True)
    with (
        atomic(table, overwrite=True) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as stream,
    ):
        writer = csv.DictWriter(stream, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return rows


def read_table(path: str | Path) -> list[dict[str, str]]:
    """Rows of a CSV as text.

    Raises:
        InputError: the file does not exist.
    """
    if not Path(path).exists():
        raise InputError(f"{path} does not exist: collect the sweep first.")
    with Path(path).open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _run_one(
    run: Callable[[Any], Mapping[str, float]], config: Any, path: Path, retry: bool
) -> None:
    """Run one config, unless another process is at it or has finished it."""
    with _claim(path) as claimed:
        if claimed and not _finished(path, retry):
            _record(run, config, path)


@contextmanager
def _claim(path: Path) -> Iterator[bool]:
    """Whether this process is the only one at a run; a process that ends gives its claims back, however it ends."""
    if fcntl is None:
        yield True
        return
    lock = path.with_suffix(".lock")
    with lock.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError:
            pass  # a file system without locks: a folder is for one process
        try:
            yield True
        finally:
            lock.unlink(missing_ok=True)


def _record(run: Callable[[Any], Mapping[str, float]], config: Any, path: Path) -> None:
    clear_caches()
    try:
        result = {k: float(v) for k, v in run(config).items()}
        outcome = "done"
    except Exception as error:  # a failed run is a row of the table, and must not end the sweep
        result, outcome = {}, f"failed: {type(error).__name__}: {error}"
    record = {
        "config": {k: _plain(v) for k, v in flatten(config).items()},
        "outcome": outcome,
        "result": {k: v if math.isfinite(v) else None for k, v in result.items()},
    }
    # Keys in the config's own order: it becomes the order of the table's columns.
    with atomic(path, overwrite=True) as temporary:
        temporary.write_text(json.dumps(record, indent=1), encoding="utf-8")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _finished(path: Path, retry: bool) -> bool:
    record = _load(path)
    return bool(record) and not (retry and record["outcome"].startswith("failed"))


def _load(path: Path) -> dict[str, Any]:
    """A record, or nothing where the file is absent or was cut short."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return record if {"config", "outcome", "result"} <= record.keys() else {}
    except (OSError, ValueError, AttributeError):
        return {}
