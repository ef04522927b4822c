"""Compiled programs are kept in the user's cache folder: a second run of a command need not compile them again.

PHDENOISE_CACHE=FOLDER      another folder; empty: none
JAX_COMPILATION_CACHE_DIR   JAX's own setting, which goes before
"""

import os
from pathlib import Path

# Programs that compile faster than this are kept as well: a run has dozens of them, seconds together [s].
_SHORTEST = 0.05
# Size of the folder above which JAX removes what was used least recently [bytes].
_LARGEST = 2**30


def use() -> None:
    """Let JAX keep compiled programs, where nothing says otherwise and the folder can be written."""
    import jax

    if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return
    asked = os.environ.get("PHDENOISE_CACHE")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = home / "phdenoise" / "compiled" if asked is None else Path(asked)
    if asked == "":
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        # A read-only home costs time, and nothing else.
        return
    if os.access(folder, os.W_OK):
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", _SHORTEST)
        jax.config.update("jax_compilation_cache_max_size", _LARGEST)
