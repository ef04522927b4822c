"""Strict numerics for every test, and the one place that knows where shared data may lie."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

# As on the command line: XLA warns of every stored program that the machine lacks what is no feature of a machine.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# Two processes on two cores: threads of the linear algebra that wait for one another by spinning take 100 times as long.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import numpy as np
import pytest

# Compiling is most of the time of small tests, running that of the slow ones. The level that users get: XLA_FLAGS= pytest
MARKS = sys.argv[sys.argv.index("-m") + 1] if "-m" in sys.argv[:-1] else ""
LEVEL = 1 if MARKS.startswith(("slow", "study")) else 0
os.environ.setdefault("XLA_FLAGS", f"--xla_backend_optimization_level={LEVEL}")
# What one process has compiled serves the others, which inherit the folder; it lives as long as this run.
CACHE = "JAX_COMPILATION_CACHE_DIR"
OWN = None if CACHE in os.environ else tempfile.mkdtemp(prefix="compiled-")
if OWN:
    os.environ[CACHE] = OWN
jax.config.update("jax_compilation_cache_dir", os.environ[CACHE])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.05)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

# A silent broadcast of a row over frames is a wrong answer, not a convenience.
jax.config.update("jax_numpy_rank_promotion", "raise")

ROOT = Path(__file__).resolve().parents[1]
# For experiments/, which is not installed; last, so that the phdenoise tested is the installed one.
sys.path.append(str(ROOT))


# Tests after which it is asked how much one process has compiled.
OFTEN = 10
_since = 0


def pytest_runtest_teardown() -> None:
    """Hundreds of tests in one process compile more than the system lets it keep."""
    global _since
    _since += 1
    if _since >= OFTEN:
        # Not at the top: jaxtyping's hook must see the package imported.
        from phdenoise.study.compiled import clear_caches

        _since = 0
        clear_caches()


def pytest_unconfigure() -> None:
    if OWN:
        shutil.rmtree(OWN, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share a process first: begun last, one process would end long after the others."""
    for item in items:
        assert not item.get_closest_marker("study") or item.get_closest_marker("slow"), item.nodeid
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)


def _shared(folder: str) -> Path | None:
    """$PHDENOISE_DATA is the data folder; the reference curves lie beside it."""
    data = Path(os.environ.get("PHDENOISE_DATA", ROOT.parent / "shared" / "data"))
    path = data if folder == "data" else data.parent / folder
    return path if path.is_dir() else None


@pytest.fixture(scope="session")
def shared_path() -> Callable[[str], Path]:
    """Path of a shared file, e.g. `shared_path("data/ch_clean.npz")`; skips where it is absent."""

    def find(relative: str) -> Path:
        folder, _, name = relative.partition("/")
        base = _shared(folder)
        if base is None or not (base / name).exists():
            pytest.skip(f"shared file {relative} not found (set PHDENOISE_DATA)")
        return base / name

    return find


@pytest.fixture(scope="session")
def shared_data(shared_path: Callable[[str], Path]) -> Callable[[str, str], np.ndarray]:
    """Array of a shared archive, e.g. `shared_data("ch_clean", "clean")`; skips where absent."""

    def load(stem: str, key: str) -> np.ndarray:
        with np.load(shared_path(f"data/{stem}.npz"), allow_pickle=False) as archive:
            return archive[key]

    return load


@pytest.fixture
def x64():
    """Double precision within one test."""
    with jax.enable_x64(True):
        yield
