"""Imports go only downwards, and `import phdenoise` stays light."""

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "phdenoise"
# The rooms from the lowest to the highest; those on one line do not import each other.
FLOORS = (
    ("errors",),
    ("types", "summary"),
    ("grid", "movie", "selfcheck"),
    ("channels",),
    ("noise", "physics", "metrics"),
    ("networks", "observation", "simulation"),
    ("training", "io", "figures"),
    ("uncertainty",),
    ("denoising",),
    ("learn",),
    ("analysis", "study"),
    ("report",),
    ("modalities",),
    ("cli", "napari_plugin"),
    ("__main__",),
)
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}


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
            if LEVEL[other] >= LEVEL[room]:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {other}")
    assert not wrong, wrong


def test_every_room_has_a_level():
    rooms = {_room(p) for p in PACKAGE.rglob("*.py")} - {"__init__"}
    assert rooms <= set(LEVEL), rooms - set(LEVEL)


def _modules() -> dict[str, Path]:
    """Every file of the package, the benchmarks and the experiments, by each name that it is imported by."""
    root = PACKAGE.parent
    found = {}
    for folder in ("phdenoise", "benchmarks", "experiments"):
        for path in (root / folder).rglob("*.py"):
            name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
            found[name] = path
            if folder == "benchmarks":
                found.setdefault(path.stem, path)
    return found


def _imported(path: Path, modules: dict[str, Path]) -> set[Path]:
    """Files that a file imports, at its top or later, for types only or not."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            # A name may be a file of the folder; otherwise it is what the folder's __init__ has.
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= whole & modules.keys()
            names |= {node.module} if whole - modules.keys() else set()
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {modules[name] for name in names & modules.keys()} - {path}


def test_no_files_import_each_other_in_a_circle():
    modules = _modules()
    graph = {path: _imported(path, modules) for path in modules.values()}
    # Files without an import that is left are taken away; a circle never empties.
    while free := [path for path, others in graph.items() if not others & graph.keys()]:
        for path in free:
            graph.pop(path)
    left = {str(path): sorted(map(str, others & graph.keys())) for path, others in graph.items()}
    assert not left, left


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
            assert _room(path) in ("figures", "report", "selfcheck", "cli", "napari_plugin"), path


def test_import_is_light():
    code = (
        "import sys, phdenoise; "
        "heavy = {'matplotlib', 'orbax', 'flax', 'diffrax', 'tyro', 'h5py'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
