"""Sweeps as a small algebra over nested frozen dataclasses.

    prod(param("sigma", [0.07, 0.15]), param("denoise.seed", range(3)))      6 sets of changes

A sweep is a list of changes {"field.subfield": value}; `prod` multiplies, `zip_` pairs, `chain` appends, and
`apply` makes the configs. Unknown fields are refused by name.
"""

import dataclasses
import itertools
from collections.abc import Iterable
from typing import Any, TypeVar

from phdenoise.types import InputError

Changes = dict[str, Any]
Sweep = list[Changes]
Config = TypeVar("Config")


def param(name: str, values: Iterable[Any]) -> Sweep:
    """One field over several values.

    Args:
        name: of the field; nested fields with dots.
        values: of the field.

    Returns:
        One set of changes a value.
    """
    return [{name: value} for value in values]


def prod(*sweeps: Sweep) -> Sweep:
    """Every combination; the last sweep varies fastest."""
    return [_merge(parts) for parts in itertools.product(*sweeps)]


def zip_(*sweeps: Sweep) -> Sweep:
    """Element by element.

    Raises:
        InputError: sweeps of different lengths.
    """
    lengths = {len(s) for s in sweeps}
    if len(lengths) > 1:
        raise InputError(f"zip_ needs sweeps of equal length, got {[len(s) for s in sweeps]}.")
    return [_merge(parts) for parts in zip(*sweeps, strict=True)]


def chain(*sweeps: Sweep) -> Sweep:
    """One after the other."""
    return [dict(c) for sweep in sweeps for c in sweep]


def apply(base: Config, sweep: Sweep) -> list[Config]:
    """The configs that a sweep makes.

    Args:
        base: frozen dataclass.
        sweep: sets of changes.

    Returns:
        A config for each set of changes.

    Raises:
        InputError: a path that the dataclass does not have, named with its alternatives.
    """
    return [_changed(base, changes) for changes in sweep]


def _merge(parts: Iterable[Changes]) -> Changes:
    merged: Changes = {}
    for part in parts:
        twice = merged.keys() & part.keys()
        if twice:
            raise InputError(f"A sweep sets {sorted(twice)} twice.")
        merged |= part
    return merged


def _changed(base: Any, changes: Changes) -> Any:
    for path, value in changes.items():
        base = _set(base, path, path.split("."), value)
    return base


def _set(config: Any, path: str, parts: list[str], value: Any) -> Any:
    names = [f.name for f in dataclasses.fields(config)] if dataclasses.is_dataclass(config) else []
    if parts[0] not in names:
        raise InputError(
            f"Unknown field '{path}' of {type(config).__name__}: it has {', '.join(names) or 'none'}."
        )
    if len(parts) > 1:
        value = _set(getattr(config, parts[0]), path, parts[1:], value)
    return dataclasses.replace(config, **{parts[0]: value})
