"""Imports go only downwards, and `import phdenoise` stays light."""

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "phdenoise"
LEVEL = {
    "types": 0,
    "grid": 0,
    "movie": 0,
    "channels": 0,
    "selfcheck": 0,
    "noise": 1,
    "physics": 1,
    "metrics": 1,
    "trust": 2,
    "denoisers": 2,
    "modalities": 2,
    "training": 3,
    "io": 3,
    "learn": 4,
    "hallucination": 5,
    "pipeline": 5,
    "streaming": 5,
    "study": 6,
    "figures": 7,
    "demo": 8,
    "law_files": 8,
    "chains": 8,
    "cli": 9,
    "__main__": 10,
}


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(path: Path) -> set[str]:
    """Rooms imported anywhere in a file, lazily or not."""
    rooms: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            if module == "phdenoise":
                rooms |= {alias.name for alias in node.names}
            elif module.startswith("phdenoise."):
                rooms.add(module.split(".")[1])
        elif isinstance(node, ast.Import):
            rooms |= {a.name.split(".")[1] for a in node.names if a.name.startswith("phdenoise.")}
    return rooms


def test_imports_go_only_downwards():
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        room = _room(path)
        if room == "__init__":
            continue
        for other in _imports(path) - {room}:
            if other not in LEVEL:
                continue  # a name of the top-level package itself, such as __version__
            if LEVEL[other] >= LEVEL[room] and LEVEL[room] > 0:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {other}")
    assert not wrong, wrong


def test_every_room_has_a_level():
    rooms = {_room(p) for p in PACKAGE.rglob("*.py")} - {"__init__"}
    assert rooms <= set(LEVEL), rooms - set(LEVEL)


def test_only_checkpoint_imports_orbax_and_only_figures_import_matplotlib():
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        if "orbax" in text and "import" in text:
            tops = [
                n
                for n in ast.walk(ast.parse(text))
                if (isinstance(n, ast.ImportFrom) and (n.module or "").startswith("orbax"))
            ]
            assert not tops or path.name == "checkpoint.py", path
        if "matplotlib" in text:
            assert _room(path) in ("figures", "selfcheck", "cli", "demo"), path


def test_import_is_light():
    code = (
        "import sys, phdenoise; "
        "heavy = {'matplotlib', 'orbax', 'flax', 'diffrax', 'tyro', 'h5py'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
