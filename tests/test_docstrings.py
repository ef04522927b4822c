"""What the package says of itself, counted: arguments and results documented, constants explained, functions short."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "phdenoise"
SHARE = 0.95
LONGEST, MOST_PARAMETERS = 80, 8
Function = ast.FunctionDef | ast.AsyncFunctionDef


def _trees() -> Iterator[tuple[str, str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        yield str(path.relative_to(PACKAGE.parent)), text, ast.parse(text)


TREES = list(_trees())


def _parameters(function: Function) -> list[str]:
    a = function.args
    names = [x.arg for x in (*a.posonlyargs, *a.args, *a.kwonlyargs)]
    names += [x.arg for x in (a.vararg, a.kwarg) if x is not None]
    return [n for n in names if n not in ("self", "cls")]


def _section(doc: str, *titles: str) -> str:
    """The indented text of a section."""
    found = re.search(rf"^(?:{'|'.join(titles)}):[^\n]*\n((?:[ \t]+.*\n|\n)*)", doc + "\n", re.M)
    return found[0] if found else ""


def _documents(function: Function) -> bool:
    """Whether every parameter is named in Args, and the result in Returns."""
    doc = ast.get_docstring(function) or ""
    named: set[str] = set()
    for line in _section(doc, "Args").splitlines():
        head = re.match(r"\s+(\*{0,2}\w+(?:,\s*\*{0,2}\w+)*)(?:\s*\([^)]*\))?:", line)
        named |= {n.strip(" *") for n in head[1].split(",")} if head else set()
    returned = function.returns
    nothing = returned is None or (isinstance(returned, ast.Constant) and returned.value is None)
    decorators = {getattr(d, "id", getattr(d, "attr", "")) for d in function.decorator_list}
    # What a context manager yields is told in its first sentence.
    result = nothing or "contextmanager" in decorators or bool(_section(doc, "Returns", "Yields"))
    return set(_parameters(function)) <= named and result


def _methods() -> dict[str, tuple[list[str], dict[str, Function]]]:
    """Bases and methods of every class of the package, by its name."""
    return {
        node.name: (
            [ast.unparse(b).split("[")[0].split(".")[-1] for b in node.bases],
            {f.name: f for f in node.body if isinstance(f, Function)},
        )
        for _, _, tree in TREES
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }


CLASSES = _methods()


def _inherits(name: str, method: str) -> bool:
    """Whether a base class documents the method that a class overrides."""
    for base in CLASSES.get(name, ([], {}))[0]:
        found = CLASSES.get(base, ([], {}))[1].get(method)
        if (found is not None and _documents(found)) or _inherits(base, method):
            return True
    return False


def _public() -> Iterator[tuple[str, bool]]:
    """Every public function with two parameters or more, and whether it is documented."""
    for name, _, tree in TREES:
        places: list[tuple[str, list[ast.stmt]]] = [("", tree.body)]
        places += [
            (n.name, n.body)
            for n in tree.body
            if isinstance(n, ast.ClassDef) and not n.name.startswith("_")
        ]
        for owner, body in places:
            for f in body:
                public = isinstance(f, Function) and not f.name.startswith("_")
                if public and len(_parameters(f)) >= 2:
                    where = f"{name}:{f.lineno} {owner}{'.' * bool(owner)}{f.name}"
                    yield where, _documents(f) or _inherits(owner, f.name)


def _is_number(node: ast.expr | None) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int | float) and not isinstance(node.value, bool)
    if isinstance(node, ast.UnaryOp):
        return _is_number(node.operand)
    if isinstance(node, ast.BinOp):
        return _is_number(node.left) and _is_number(node.right)
    return isinstance(node, ast.Tuple) and bool(node.elts) and all(map(_is_number, node.elts))


def _constants() -> Iterator[tuple[str, bool]]:
    """Every number at module level, and whether a comment stands above or beside it, or a text below it."""
    for name, text, tree in TREES:
        lines = text.splitlines()
        assigned = [n for n in tree.body if isinstance(n, ast.Assign | ast.AnnAssign)]
        taken = {k for n in assigned for k in range(n.lineno, (n.end_lineno or n.lineno) + 1)}
        for node in assigned:
            if not _is_number(node.value):
                continue
            above = node.lineno - 1
            while above in taken:  # constants of one idea share a comment
                above -= 1
            beside = any(
                "#" in lines[k - 1] for k in range(node.lineno, (node.end_lineno or 0) + 1)
            )
            after = tree.body[tree.body.index(node) + 1 :][:1]
            text_below = (
                after
                and isinstance(after[0], ast.Expr)
                and isinstance(after[0].value, ast.Constant)
            )
            explained = lines[above - 1].startswith("#") or beside or bool(text_below)
            yield f"{name}:{node.lineno} {lines[node.lineno - 1]}", explained


def _share(found: list[tuple[str, bool]]) -> tuple[float, list[str]]:
    missing = [where for where, good in found if not good]
    return 1 - len(missing) / len(found), missing


def test_public_functions_document_arguments_and_results():
    share, missing = _share(list(_public()))
    assert share >= SHARE, (f"{100 * share:.1f} %", missing)


def test_numeric_constants_are_explained():
    share, missing = _share(list(_constants()))
    assert share >= SHARE, (f"{100 * share:.1f} %", missing)


def test_functions_are_short_and_take_few_parameters():
    wrong = []
    for name, _, tree in TREES:
        for f in ast.walk(tree):
            if isinstance(f, Function):
                length = (f.end_lineno or f.lineno) - f.lineno + 1
                if length > LONGEST:
                    wrong.append(f"{name}:{f.lineno} {f.name} has {length} lines")
                if len(_parameters(f)) > MOST_PARAMETERS:
                    wrong.append(f"{name}:{f.lineno} {f.name} has {len(_parameters(f))} parameters")
    assert not wrong, wrong
