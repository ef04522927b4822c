"""Results as JSON: plain values, sorted keys, NaN as null."""

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from phdenoise.io.atomic import atomic
from phdenoise.types import InputError


def write_json(obj: Any, path: str | Path, overwrite: bool = False) -> Path:
    """Write any result as JSON.

    Args:
        obj: mappings, sequences, dataclasses (their `to_dict` where they have one), numpy and jax
            arrays and scalars, paths; what is not finite becomes null.
        path: file ending in .json.
        overwrite: whether an existing file may be replaced.

    Returns:
        The path.

    Raises:
        InputError: another suffix, a value that JSON cannot hold, or a file that cannot be written.
    """
    path = json_path(path)
    text = to_json(obj, indent=2)
    with atomic(path, overwrite) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    return path


def json_path(path: str | Path) -> Path:
    """The path of a file of results.

    Raises:
        InputError: another suffix than .json.
    """
    if Path(path).suffix.lower() != ".json":
        raise InputError(f"{path}: tables of results are JSON; give a name ending in .json.")
    return Path(path)


def to_json(obj: Any, indent: int | None = None) -> str:
    """JSON text of any result, with sorted keys.

    Args:
        obj: see `write_json`.
        indent: spaces a level; None writes one line.

    Returns:
        The text.

    Raises:
        InputError: a value that JSON cannot hold.
    """
    return json.dumps(
        plain(obj), sort_keys=True, indent=indent, allow_nan=False, ensure_ascii=False
    )


def plain(obj: Any, where: str = "") -> Any:
    """The same value from None, bool, int, float, str, list and dict only.

    Args:
        obj: see `write_json`.
        where: its place in the whole, for messages.

    Returns:
        The plain value.

    Raises:
        InputError: a value of another kind, named by its place.
    """
    if obj is None or (isinstance(obj, bool | int | str) and not isinstance(obj, Enum)):
        return obj
    if isinstance(obj, float):
        return float(obj) if math.isfinite(obj) else None
    if isinstance(obj, Enum):
        return obj.name
    if isinstance(obj, Path):
        return str(obj)
    if hasattr(obj, "to_dict"):
        return plain(obj.to_dict(), where)
    if is_dataclass(obj) and not isinstance(obj, type):
        return {f.name: plain(getattr(obj, f.name), f"{where}.{f.name}") for f in fields(obj)}
    if isinstance(obj, Mapping):
        return {str(key): plain(value, f"{where}.{key}") for key, value in obj.items()}
    if isinstance(obj, list | tuple | set | frozenset):
        items = sorted(obj) if isinstance(obj, set | frozenset) else obj
        return [plain(item, f"{where}[{i}]") for i, item in enumerate(items)]
    if hasattr(obj, "__array__"):
        array = np.asarray(obj)
        if array.dtype.kind == "f":
            array = array.astype(np.float64)
        if array.dtype.kind in "biufU":
            return plain(array.tolist(), where)
    raise InputError(
        f"A value of type {type(obj).__name__} at '{where or 'top'}' cannot be written as JSON: "
        "give numbers, text, lists, mappings or arrays of real numbers."
    )
