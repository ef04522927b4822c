"""How large is the package? Lines of code, docstrings, comments and blank lines, for each room.

python benchmarks/package_size.py                  (a line for each room, and the sum)
python benchmarks/package_size.py --files          (a line for each file too)
python benchmarks/package_size.py --folder tests
"""

import argparse
import ast
from collections import Counter, defaultdict
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "phdenoise"
KINDS = ("code", "docstrings", "comments", "blank")
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def lines_of(text: str) -> Counter[str]:
    """Lines of each kind. A blank line inside of a docstring belongs to the docstring.

    Args:
        text: source of a file.

    Returns:
        number of lines of each of `KINDS`.
    """
    docstring: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        first = node.body[0] if isinstance(node, DOCUMENTED) and node.body else None
        if isinstance(first, ast.Expr) and isinstance(getattr(first.value, "value", None), str):
            docstring |= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    found: Counter[str] = Counter()
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        comment = "comments" if bare.startswith("#") else "code"
        found["docstrings" if number in docstring else comment if bare else "blank"] += 1
    return found


def _row(name: str, found: Counter[str]) -> str:
    numbers = "".join(f"{found[kind]:12,}" for kind in KINDS)
    return f"{name:44}{sum(found.values()):10,}{numbers}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", action="store_true", help="print a line for each file")
    parser.add_argument("--folder", type=Path, default=PACKAGE, help="folder to count")
    given = parser.parse_args()
    rooms: defaultdict[str, Counter[str]] = defaultdict(Counter)
    print(f"{'':44}{'lines':>10}" + "".join(f"{kind:>12}" for kind in KINDS))
    for path in sorted(given.folder.rglob("*.py")):
        place = path.relative_to(given.folder)
        found = lines_of(path.read_text(encoding="utf-8"))
        rooms[place.parts[0]] += found
        if given.files:
            print(_row(str(place), found))
    for room, found in sorted(rooms.items(), key=lambda item: -item[1].total()):
        print(_row(room, found))
    print(_row("all", sum(rooms.values(), Counter())))


if __name__ == "__main__":
    main()
