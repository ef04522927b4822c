"""Pages that MkDocs makes itself: the reference of each room, the notebooks, and the navigation of `extend`.

A new room, notebook or page of `extend` appears without a change of mkdocs.yml.
"""

import ast
import json
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "phdenoise"
# Modules that hold no public objects.
HIDDEN = {"__init__", "__main__"}


def on_config(config):
    """Add the generated pages to the navigation."""
    pages = sorted((ROOT / "docs/extend").glob("*.md"), key=lambda p: (p.stem != "index", p.stem))
    extend = [f"extend/{page.name}" for page in pages]
    notebooks = [f"notebooks/{p.stem}.md" for p in sorted((ROOT / "notebooks").glob("*.ipynb"))]
    reference = ["reference/index.md", *(f"reference/{room}.md" for room in _rooms())]
    nav = [entry for entry in config.nav if "Reference" not in entry]
    config.nav = [*nav, {"Extend": extend}, {"Notebooks": notebooks}, {"Reference": reference}]
    return config


def on_files(files, config):
    """Add a page for each room of the package and each notebook."""
    for room in _rooms():
        files.append(File.generated(config, f"reference/{room}.md", content=_reference(room)))
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        page = f"notebooks/{path.stem}.md"
        files.append(File.generated(config, page, content=_notebook(path)))
    return files


def _rooms() -> list[str]:
    """Folders and files of the package, in the order of the alphabet."""
    names = {p.stem for p in PACKAGE.glob("*.py")} | {
        p.parent.name for p in PACKAGE.glob("*/__init__.py")
    }
    return sorted(names - HIDDEN)


def _reference(room: str) -> str:
    """The modules of a room, each with what its docstrings say."""
    folder = PACKAGE / room
    files = sorted(folder.rglob("*.py")) if folder.is_dir() else [PACKAGE / f"{room}.py"]
    parts = [f"# phdenoise.{room}"]
    if folder.is_dir():
        parts.append(ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or "")
    for path in files:
        if path.stem not in HIDDEN:
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            parts += [f"## {module.removeprefix('phdenoise.')}", f"::: {module}"]
    return "\n\n".join(parts) + "\n"


def _notebook(path: Path) -> str:
    """A notebook as Markdown: text, code, and stored outputs (PNG or plain text)."""
    parts = []
    for cell in json.loads(path.read_text())["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            text = "".join(output.get("text", data.get("text/plain", "")))
            if "image/png" in data:
                png = "".join(data["image/png"]).replace("\n", "")
                parts.append(f'<img alt="figure of {path.stem}" src="data:image/png;base64,{png}">')
            elif text:
                parts.append(f"```text\n{text}\n```")
    parts.append(f"*This page is `notebooks/{path.name}` of the repository.*")
    return "\n\n".join(parts) + "\n"
