"""The name of a run: what its config changes of the defaults, and a version of the code that computes it.

    name = SHA-256(class, {field: value that differs from its default})[:16] - SHA-256(code)[:8]

A new field with a default changes no name. The same config has the same name on every machine and in every process.
A change of the code that a run is computed by gives a new name, so that old and new results are never taken for one.
"""

import ast
import dataclasses
import hashlib
import inspect
import json
import sys
import sysconfig
import textwrap
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache, partial
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, cast

import phdenoise
from phdenoise.types import InputError

# Version of the code in whose name `run_name` speaks; empty outside of studies.
_VERSION: ContextVar[str] = ContextVar("version", default="")
_ROOT = Path(__file__).resolve().parents[1]


def differences(config: Any) -> dict[str, Any]:
    """What a config changes of its defaults, flat.

    Args:
        config: dataclass of plain values and of such dataclasses.

    Returns:
        Dotted name of a field -> value. A field without a default always differs; a nested dataclass of another class
        than its default also has its class, under its own name.
    """
    return _differences(config, None, "")


def run_id(config: Any) -> str:
    """First 16 hexadecimal digits of the SHA-256 of a config's class name and its differences from the defaults."""
    return _digest(f"{type(config).__name__}:{canonical(differences(config))}")[:16]


def run_name(config: Any) -> str:
    """The id of a config with the version of the code that computes it, where a study has set one."""
    version = _VERSION.get()
    return f"{run_id(config)}-{version}" if version else run_id(config)


@contextmanager
def at_version(version: str) -> Iterator[None]:
    """Let `run_name` speak of results of one version of the code."""
    token = _VERSION.set(version)
    try:
        yield
    finally:
        _VERSION.reset(token)


def canonical(value: Any) -> str:
    """Canonical JSON of plain values: sorted keys, no spaces, tuples as lists.

    Raises:
        InputError: a value that JSON does not hold, such as an array or nan.
    """
    try:
        return json.dumps(
            value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_plain
        )
    except (TypeError, ValueError) as error:
        raise InputError(
            f"A config of a study holds a value that cannot name it ({error}): give finite numbers, text, and tuples of them."
        ) from error


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dataclass fields as dotted columns.

    Args:
        config: dataclass.
        prefix: of the names.

    Returns:
        Name -> value.
    """
    row: dict[str, Any] = {}
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        if dataclasses.is_dataclass(value):
            row |= flatten(value, f"{prefix}{f.name}.")
        else:
            row[prefix + f.name] = value
    return row


def code_version(run: Callable[..., Any]) -> str:
    """Eight hexadecimal digits that stand for the code of a run.

    The code is the function, every function, class and constant that it reaches outside of this package and of
    installed ones, and the version of this package. Comments, docstrings, layout and what the run does not reach
    (figures, other studies) do not count.

    Args:
        run: function, or a `functools.partial` of one.

    Returns:
        The digits.
    """
    parts = {f"phdenoise {phdenoise.__version__}"}
    _reach(_unwrapped(run), parts, set())
    return _digest(canonical(sorted(parts)))[:8]


def _differences(config: Any, default: Any, prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if default is not None and type(config) is not type(default):
        default = None
    for f, own in _defaults(cast(Hashable, type(config))):
        value = getattr(config, f)
        standard = own if default is None else getattr(default, f)
        if isinstance(standard, float) and type(value) is int:
            value = float(value)
        name = f"{prefix}{f}"
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            if standard is not dataclasses.MISSING and type(value) is not type(standard):
                found[name] = type(value).__name__
            found |= _differences(value, standard, f"{name}.")
        elif standard is dataclasses.MISSING or not _same(value, standard):
            found[name] = value
    return found


@lru_cache(maxsize=256)
def _defaults(kind: Any) -> tuple[tuple[str, Any], ...]:
    """Fields of a dataclass with their defaults, MISSING where there is none."""
    return tuple(
        (
            f.name,
            f.default_factory() if f.default_factory is not dataclasses.MISSING else f.default,
        )
        for f in dataclasses.fields(kind)
    )


def _same(value: Any, standard: Any) -> bool:
    """Equal and written alike: a list and a tuple are, a number and a truth value are not."""
    if value is standard or (type(value) is type(standard) and value == standard):
        return True
    return canonical(value) == canonical(standard)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if getattr(value, "ndim", None) == 0:
        return value.item()
    raise TypeError(f"{type(value).__name__} {value!r}")


def _unwrapped(run: Any) -> Any:
    while isinstance(run, partial):
        run = run.func
    return inspect.unwrap(run) if callable(run) else run


def _reach(thing: Any, parts: set[str], seen: set[Any]) -> None:
    """Note the code of a function or class and of what its body names, once each."""
    if id(thing) in seen:
        return
    seen.add(id(thing))
    parts.add(_source(thing))
    functions = [thing]
    if inspect.isclass(thing):
        functions = [_unwrapped(getattr(f, "fget", f)) for f in vars(thing).values()]
    for function in functions:
        if isinstance(function, FunctionType):
            for cell in function.__closure__ or ():
                _reach_value(cell.cell_contents, parts, seen)
            for name in _names(function.__code__):
                _reach_name(name, function.__globals__, parts, seen)


def _reach_name(name: str, names: Mapping[str, Any], parts: set[str], seen: set[Any]) -> None:
    """Note what a name of a module stands for: code, or the line that sets it, since what it holds may change."""
    if name not in names or (id(names), name) in seen:
        return
    seen.add((id(names), name))
    line = _assignments(names.get("__file__") or "").get(name)
    if line is None:
        _reach_value(names[name], parts, seen)
        return
    parts.add(line)
    for node in ast.walk(ast.parse(line)):
        if isinstance(node, ast.Name):
            _reach_name(node.id, names, parts, seen)


def _reach_value(value: Any, parts: set[str], seen: set[Any]) -> None:
    value = _unwrapped(value)
    if isinstance(value, FunctionType) or inspect.isclass(value):
        if _is_own(value):
            _reach(value, parts, seen)
    elif isinstance(value, str | int | float | tuple | frozenset | type(None)):
        text = repr(sorted(map(repr, value)) if isinstance(value, frozenset) else value)
        # An object may be written with its address, which is another in every process.
        parts.add(type(value).__name__ if " at 0x" in text else text)


@lru_cache(maxsize=256)
def _assignments(file: str) -> dict[str, str]:
    """The statements at the top of a file that set a name."""
    try:
        tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return {}
    found: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                for name in ast.walk(target):
                    if isinstance(name, ast.Name):
                        found[name.id] = ast.unparse(node)
    return found


def _names(code: CodeType) -> set[str]:
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _names(constant)
    return found


def _is_own(thing: Any) -> bool:
    """Whether code is neither of this package nor installed nor of Python itself."""
    module = sys.modules.get(getattr(thing, "__module__", ""))
    file = getattr(module, "__file__", None)
    if file is None:
        return getattr(thing, "__module__", "") == "__main__"
    path = Path(file).resolve()
    installed = [Path(sysconfig.get_paths()[k]).resolve() for k in ("stdlib", "purelib", "platlib")]
    return not any(path.is_relative_to(folder) for folder in (_ROOT, *installed))


def _source(thing: Any) -> str:
    """Code without comments, docstrings and layout; where the source is not at hand, its compiled form."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(thing)))
    except (OSError, TypeError, SyntaxError):
        code = getattr(thing, "__code__", None)
        return "" if code is None else _compiled(code)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [
                n
                for n in body
                if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))
            ]
            node.body = kept or [ast.Pass()]  # type: ignore[attr-defined]
    return ast.unparse(tree)


def _compiled(code: CodeType) -> str:
    inner = [_compiled(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return f"{code.co_code.hex()} {code.co_names} {inner}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
