"""Execute notebooks in this process and store their outputs, small enough for the repository.

    python notebooks/run.py quickstart neutron

Needs no Jupyter. The last expression of a cell is stored as in Jupyter: a figure as PNG, another value as text.
"""

import ast
import base64
import json
import sys
from contextlib import redirect_stdout
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

FOLDER = Path(__file__).resolve().parent
# Resolutions of stored figures [px per inch]: the first that stays below `LARGEST` is taken.
RESOLUTIONS = (90, 70, 55, 40)
# Largest stored figure [bytes]; tests/test_documentation.py holds it.
LARGEST = 100_000


def run(path: Path) -> None:
    """Execute the cells of one notebook in order and write their outputs into it."""
    notebook = json.loads(path.read_text())
    names: dict[str, Any] = {"__name__": "__main__"}
    count = 0
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            count += 1
            cell["execution_count"] = count
            cell["outputs"] = _outputs("".join(cell["source"]), names, count)
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")


def _outputs(source: str, names: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """What a cell prints and what its last expression is."""
    # Magic commands ("%matplotlib inline") are for Jupyter alone.
    lines = [line for line in source.splitlines() if not line.startswith("%")]
    body = ast.parse("\n".join(lines)).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    printed, value = StringIO(), None
    with redirect_stdout(printed):
        exec(compile(ast.Module(body, []), "cell", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": printed.getvalue()})
    if value is not None:
        outputs.append(
            {
                "output_type": "execute_result",
                "execution_count": count,
                "metadata": {},
                "data": _shown(value),
            }
        )
    return outputs


def _shown(value: Any) -> dict[str, str]:
    """A figure as PNG, a list of sentences line by line, another value as its repr."""
    if not isinstance(value, Figure):
        lines = (
            value if isinstance(value, list) and all(isinstance(v, str) for v in value) else None
        )
        return {"text/plain": "\n".join(lines) if lines else repr(value)}
    for resolution in RESOLUTIONS:
        stream, small = BytesIO(), BytesIO()
        value.savefig(stream, dpi=resolution, format="png")
        # 128 colours are a third of the size, and no difference to the eye.
        Image.open(stream).convert("RGB").quantize(128).save(small, "png", optimize=True)
        if len(small.getvalue()) < LARGEST:
            break
    return {"image/png": base64.b64encode(small.getvalue()).decode(), "text/plain": repr(value)}


if __name__ == "__main__":
    for name in sys.argv[1:]:
        run(FOLDER / f"{name}.ipynb")
