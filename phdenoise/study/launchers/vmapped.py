"""Configs that differ only in numbers and seeds as one compiled program.

    {name: numbers [n]} = jit(vmap(n ↦ run(config with the numbers n)))

The function of the study must be one of JAX arrays: fits, solves and small trainings are. Real fields, tuples of them
and seeds that differ between the configs become arrays; all else, such as a number of steps, must be equal, and makes a
program of its own where it is not. The configs themselves were made one by one, so that their checks have been done.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from phdenoise.study import records
from phdenoise.study.about import measured, seeds_of
from phdenoise.study.claims import claim
from phdenoise.study.compiled import clear_caches
from phdenoise.study.identity import at_version, canonical, flatten, run_id
from phdenoise.study.work import LEFT, Task, Work, keep, perform
from phdenoise.types import InputError

# Configs in one program. Chosen for memory; results do not depend on it.
_BATCH = 64
_NOT_OF_ARRAYS = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerBoolConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.UnexpectedTracerError,
)


class Vmapped:
    """Runs that differ in numbers and seeds as one program.

    Args:
        batch: configs at a time.

    Raises:
        InputError: fewer than one.
    """

    def __init__(self, batch: int = _BATCH):
        if batch < 1:
            raise InputError(f"A batch of {batch} configs runs nothing: give one or more.")
        self.batch = batch

    def launch(self, work: Work, tasks: Sequence[Task]) -> Iterator[tuple[Task, str]]:
        for group in _groups(tasks):
            program = _Program(work.run, [t.config for t in group])
            size = min(self.batch, len(group))
            for k in range(0, len(group), size):
                yield from _together(work, group[k : k + size], program, size)


class _Program:
    """The function of a group of configs, vectorised over what differs between them."""

    def __init__(self, run: Callable[[Any], Mapping[str, Any]], configs: Sequence[Any]):
        flat = [_numbers(c) for c in configs]
        self.names = [k for k in flat[0] if any(f[k] != flat[0][k] for f in flat)]
        base = configs[0]

        def one(values: dict[str, Any]) -> dict[str, Any]:
            changed = base
            for name, value in values.items():
                changed = _with(changed, name.split("."), value)
            return {k: jnp.asarray(v, float) for k, v in run(changed).items()}

        self._call = jax.jit(jax.vmap(one))

    def __call__(self, configs: Sequence[Any], size: int) -> dict[str, np.ndarray]:
        """Name -> number of each config; a program of a given size compiles once."""
        padded = [*configs, *[configs[-1]] * (size - len(configs))]
        flat = [_numbers(c) for c in padded]
        # A tuple stays a tuple, of arrays.
        values = {
            name: jax.tree.map(lambda *v: jnp.asarray(v), *[f[name] for f in flat])
            for name in self.names
        }
        if not values:
            raise InputError("The configs of a group are equal.")
        found = jax.block_until_ready(self._call(values))
        return {k: np.asarray(v)[: len(configs)] for k, v in found.items()}


def _groups(tasks: Sequence[Task]) -> list[list[Task]]:
    """Tasks that may share a program, in the order in which they come."""
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        fixed = flatten(task.config) | {
            k: len(v) if isinstance(v, tuple) else None for k, v in _numbers(task.config).items()
        }
        groups.setdefault(f"{type(task.config).__name__} {canonical(fixed)}", []).append(task)
    return list(groups.values())


def _numbers(config: Any) -> dict[str, Any]:
    """Fields that may become arrays."""
    return {k: v for k, v in flatten(config).items() if _is_number(k, v)}


def _is_number(name: str, value: Any) -> bool:
    if isinstance(value, tuple):
        return bool(value) and all(type(v) is float for v in value)
    return isinstance(value, float) or (bool(seeds_of({name: value})) and type(value) is int)


def _with(config: Any, path: list[str], value: Any) -> Any:
    """A copy with an array in it, without the checks of the dataclass, which ask for numbers."""
    changed = copy.copy(config)
    inner = value if len(path) == 1 else _with(getattr(config, path[0]), path[1:], value)
    object.__setattr__(changed, path[0], inner)
    return changed


def _together(
    work: Work, tasks: Sequence[Task], program: _Program, size: int
) -> Iterator[tuple[Task, str]]:
    """Claim, compute and write some tasks; where the whole fails, each by itself, so that the one at fault is found."""
    with ExitStack() as stack:
        mine = []
        for task in tasks:
            if stack.enter_context(claim(task.path)) and work.todo(task):
                mine.append(task)
            else:
                yield task, LEFT
        if len(mine) > 1:
            done = _compute(work, mine, program, size)
            if done:
                yield from ((task, "done") for task in mine)
                return
    for task in mine:
        yield task, perform(work, task)


def _compute(work: Work, tasks: Sequence[Task], program: _Program, size: int) -> bool:
    clear_caches()
    for task in tasks:
        records.move_aside(task.path, task.config)
    try:
        with at_version(work.version), measured(records.plain_config(tasks[0].config)) as about:
            found = program([t.config for t in tasks], size)
    except _NOT_OF_ARRAYS as error:
        raise InputError(
            f"The function of the study is not one of JAX arrays ({str(error).splitlines()[0]}): launch it in a pool "
            "(--launcher pool) instead."
        ) from error
    except Exception:  # which config is at fault is found one by one
        return False
    # Each has its share of the whole.
    about |= {
        "duration": about["duration"] / len(tasks),
        "processor_time": about["processor_time"] / len(tasks),
        "together": len(tasks),
        "code": work.version,
        "steps": None,
    }
    for k, task in enumerate(tasks):
        seeds = seeds_of(records.plain_config(task.config))
        result = {name: float(values[k]) for name, values in found.items()}
        own = about | {"seeds": seeds, "id": run_id(task.config)}
        keep(task, records.make(task.config, "done", result, own))
    return True
