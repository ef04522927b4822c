"""Where a result comes from: versions, devices, git revision, inputs, seeds, duration, memory, date."""

import hashlib
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from phdenoise import selfcheck

# Files above this are known by size and time, not by content: hashing takes about a second a gigabyte [bytes].
_LARGEST_HASHED = 2**30
_RESET_PEAK, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def seeds_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The seeds of a flat configuration: fields whose name ends with "seed"."""
    return {k: v for k, v in config.items() if k.split(".")[-1].endswith("seed")}


@contextmanager
def measured(config: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Measure what happens within: a dict that is full when it ends.

    Args:
        config: flat, for its seeds and for the files that it names.

    Yields:
        duration [s], processor_time [s], peak_memory [bytes] of this process, date and host; seeds, inputs (file ->
        SHA-256), versions, devices, git revision.
    """
    about: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seeds": seeds_of(config),
        "inputs": inputs(config),
    }
    _reset_peak()
    start, processor = time.perf_counter(), time.process_time()
    try:
        yield about
    finally:
        about |= {
            "duration": time.perf_counter() - start,
            "processor_time": time.process_time() - processor,
            "peak_memory": peak_memory(),
            **_here(),
        }


def inputs(config: Mapping[str, Any]) -> dict[str, str]:
    """The files that a config names, with the SHA-256 of each.

    Args:
        config: flat.

    Returns:
        Path -> hash; of folders and of files above 1 GB that of names, sizes and times.
    """
    found = {}
    for value in config.values():
        for name in value if isinstance(value, list | tuple) else (value,):
            # A movie may be FILE::DATASET.
            path = str(name).split("::")[0] if isinstance(name, str | Path) else ""
            if path and os.path.exists(path):
                found[path] = _hash(path)
    return found


def peak_memory() -> int:
    """Most memory that this process held since a measurement began (where the system tells, else since it began) [bytes]."""
    try:
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@lru_cache(maxsize=1)
def git_revision(folder: str = "") -> str:
    """Commit of the code in a folder, with "+changes" where files differ from it; empty outside of a repository.

    Args:
        folder: by default the one this process began in.

    Returns:
        Forty hexadecimal digits, with or without "+changes", or nothing.
    """
    command = ["git", *(("-C", folder) if folder else ())]
    try:
        revision = subprocess.run(
            [*command, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()
        changes = subprocess.run(
            [*command, "status", "--porcelain", "--untracked-files=no"],
            capture_output=True, text=True, timeout=10, check=True,
        ).stdout.strip()  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return revision + "+changes" * bool(changes)


@lru_cache(maxsize=1)
def _here() -> dict[str, Any]:
    """What does not change while a process lives."""
    return {
        "host": socket.gethostname(),
        "git": git_revision(),
        "versions": selfcheck.versions(),
    }


def _reset_peak() -> None:
    try:
        _RESET_PEAK.write_text("5")
    except OSError:
        return


def _hash(path: str) -> str:
    stat = os.stat(path)
    return _hash_of(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=1024)
def _hash_of(path: str, size: int, _: int) -> str:
    """Kept for a file of one size and time: a sweep asks for the same input in every run."""
    digest = hashlib.sha256()
    if os.path.isdir(path):
        for entry in sorted(os.scandir(path), key=lambda e: e.name):
            stat = entry.stat()
            digest.update(f"{entry.name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
        return f"listing {digest.hexdigest()}"
    if size > _LARGEST_HASHED:
        return f"size {size}, time {os.stat(path).st_mtime_ns}"
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"unreadable: {error.strerror}"
