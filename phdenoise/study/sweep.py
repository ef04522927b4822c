"""Sweeps as a small algebra over nested frozen dataclasses.

    prod(param("sigma", [0.07, 0.15]), param("denoise.seed", range(3)))      6 sets of changes

A sweep is a list of changes {"field.subfield": value}; `prod` multiplies, `zip_` pairs, `chain` appends, and
`apply` makes the configs. Unknown fields are refused by name.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from phdenoise.study.identity import flatten, run_id
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


def where(configs: Sequence[Config], conditions: Sequence[str]) -> list[Config]:
    """The configs that meet conditions.

    Args:
        configs: of a sweep.
        conditions: "field=value" or "field=value,value"; each must hold. Nested fields with dots.

    Returns:
        Those configs, in order.

    Raises:
        InputError: a condition without "=", a field that no config has, or no config that is left.
    """
    left = list(configs)
    for condition in conditions:
        name, equals, text = condition.partition("=")
        known = {k for c in configs for k in flatten(c)}
        if not equals or name not in known:
            raise InputError(
                f"Unknown condition '{condition}': give field=value, with one of {', '.join(sorted(known))}."
            )
        wanted = [text, *text.split(",")]
        left = [c for c in left if any(_is(flatten(c).get(name), w) for w in wanted)]
    if conditions and not left:
        raise InputError(f"No run of the study has {' and '.join(conditions)}.")
    return left


def reseeded(configs: Sequence[Config], seeds: Sequence[int]) -> list[Config]:
    """Each config with each seed in place of its own.

    Args:
        configs: of a sweep; those that differ only in seeds count once.
        seeds: for every field that is called seed.

    Returns:
        Seeds vary fastest.

    Raises:
        InputError: a config without a seed.
    """
    found: dict[str, Config] = {}
    for config in configs:
        names = [n for n in flatten(config) if n.split(".")[-1] == "seed"]
        if not names:
            raise InputError(
                f"{type(config).__name__} has no field called seed: leave --seeds out."
            )
        for seed in seeds:
            changed = _changed(config, dict.fromkeys(names, seed))
            found.setdefault(run_id(changed), changed)
    return list(found.values())


def _is(value: Any, text: str) -> bool:
    """Whether a value is written so, or is that number."""
    if str(value) == text:
        return True
    try:
        return not isinstance(value, bool) and float(value) == float(text)
    except (TypeError, ValueError):
        # (64, 64) is also written 64x64 and [64, 64].
        return isinstance(value, list | tuple) and "x".join(map(str, value)) == text


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
