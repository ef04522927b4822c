"""What a file may ask of this machine: memory before it is taken, and other files before they are opened."""

import math
import os
import re
import resource
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np

from phdenoise.types import InputError

FOLLOW = "PHDENOISE_FOLLOW_LINKS"
"""Environment variable: 1 follows links out of the folder of a file, which are refused otherwise."""

# Largest ratio of numbers to bytes of a file that is believed, and size [bytes] below which it is not asked: deflate packs at
# most 1032 to 1 (zlib, "maximum compression factor"), and noise packs far less.
_MOST_PACKED, _SMALL = 1032, 2**28


def available() -> float:
    """Free memory of this machine, container or process [bytes]."""
    sizes = [float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))]
    table = Path("/proc/meminfo")
    if table.exists():
        found = re.search(r"MemAvailable:\s+(\d+) kB", table.read_text())
        sizes += [1024.0 * int(found[1])] if found else []
    group = Path("/sys/fs/cgroup")
    limit, used = group / "memory.max", group / "memory.current"
    if limit.exists() and used.exists() and limit.read_text().strip().isdigit():
        sizes.append(max(float(limit.read_text()) - float(used.read_text()), 0.0))
    most, status = resource.getrlimit(resource.RLIMIT_AS)[0], Path("/proc/self/statm")
    if most != resource.RLIM_INFINITY and status.exists():
        taken = int(status.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        sizes.append(max(float(most - taken), 0.0))
    return min(sizes)


def check_size(label: object, shape: tuple[int, ...], dtype: np.dtype, stored: int | float) -> None:
    """Refuse an array that memory cannot hold, or that its file cannot hold.

    Args:
        label: names the file in messages.
        shape: of the array that the file announces.
        dtype: of its numbers.
        stored: size of what is on disk [bytes].

    Raises:
        InputError: more than the free memory, or more than any packing makes of the bytes on disk.
    """
    numbers = math.prod(int(n) for n in shape)
    size = numbers * dtype.itemsize
    if size > _SMALL and size > _MOST_PACKED * stored:
        raise InputError(
            f"{label} announces {size / 1e9:.3g} GB of numbers of shape {shape}, but only {stored:.0f} bytes are stored: "
            "it is damaged, or nearly nothing was recorded; give the part that was recorded."
        )
    # The numbers, and their copy as floating point.
    need, free = size + numbers * (8 if dtype.itemsize > 4 else 4), available()
    if need > free:
        raise InputError(
            f"{label} does not fit in memory: it needs {need / 1e9:.3g} GB and {free / 1e9:.3g} GB are free; "
            "cut it to a smaller region."
        )


def check_inside(label: object, target: str) -> None:
    """Refuse another file that lies outside the folder of the file that names it, unless the user asked for it.

    Args:
        label: names the file in messages.
        target: path of the other file, as written in the file.

    Raises:
        InputError: an absolute path or one through a parent folder, without the environment variable `FOLLOW`.
    """
    if follows():
        return
    for kind in (PurePosixPath, PureWindowsPath):
        path = kind(target)
        if path.is_absolute() or path.drive or ".." in path.parts or "://" in target:
            raise elsewhere(label, target)


def elsewhere(label: object, target: str) -> InputError:
    """The error for a file that takes its numbers from a place that is not followed.

    Args:
        label: names the file in messages.
        target: path of the other file, as written in the file.

    Returns:
        The error.
    """
    return InputError(
        f"{label} takes its numbers from another file, {target}, which is not followed: set {FOLLOW}=1 if you trust "
        "the file, or write it again with its numbers inside."
    )


def follows() -> bool:
    """Whether the user asked to follow links out of the folder of a file."""
    return os.environ.get(FOLLOW, "") not in ("", "0")
