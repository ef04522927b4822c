"""Clear compiled programs before a long process meets the system's limit of memory mappings.

Every program that XLA compiles for the CPU keeps a few mappings. Linux allows a process 65,530 of them by default, some
thousand programs, after which the next compilation aborts the process.
"""

from pathlib import Path

import jax

_MAPPINGS = Path("/proc/self/maps")
_LIMIT = Path("/proc/sys/vm/max_map_count")


def clear_caches(share: float = 0.5) -> bool:
    """Clear compiled programs where the process holds many memory mappings; they compile again when called.

    Args:
        share: of the mappings that a process may hold, above which the caches are cleared.

    Returns:
        Whether they were cleared; never where the system does not tell (no Linux).
    """
    try:
        limit = int(_LIMIT.read_text())
        with _MAPPINGS.open("rb") as lines:
            held = sum(1 for _ in lines)
    except (OSError, ValueError):
        return False
    if held <= share * limit:
        return False
    jax.clear_caches()
    return True
