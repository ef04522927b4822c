"""Repeat a run of a study and compare every number with the stored one."""

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phdenoise.study import records
from phdenoise.study.work import Task, Work, perform
from phdenoise.types import InputError


@dataclass(frozen=True)
class Comparison:
    """A stored result and its repetition.

    Attributes:
        name: of the run.
        numbers: name -> (stored, repeated), of those that differ.
        count: numbers that were compared.
        changed: what is not as it was: version, device, input -> (then, now).
        tolerance: relative difference that counts as equal.
    """

    name: str
    numbers: Mapping[str, tuple[float | None, float | None]]
    count: int
    changed: Mapping[str, tuple[str, str]]
    tolerance: float

    @property
    def same(self) -> bool:
        """Whether every number came out within the tolerance."""
        return all(_close(a, b, self.tolerance) for a, b in self.numbers.values())

    def lines(self) -> list[str]:
        """What was compared, what differs, and what may be the cause."""
        said = "bit by bit the same"
        if self.numbers:
            said = (
                f"equal within {self.tolerance:g}" if self.same else f"{len(self.numbers)} differ"
            )
        lines = [f"{self.name}: {self.count} numbers, {said}."]
        for name, (then, now) in self.numbers.items():
            lines.append(f"    {name}: {_text(then)} then, {_text(now)} now")
        for name, (before, after) in self.changed.items():
            lines.append(f"    {name} has changed: {before} then, {after} now")
        return lines


def rerun(
    run: Callable[[Any], Mapping[str, float]],
    config: Any,
    path: Path,
    *,
    version: str,
    tolerance: float = 1e-6,
) -> Comparison:
    """Repeat a run, beside its stored result, which stays.

    Args:
        run: config -> named numbers.
        config: of the run.
        path: of the stored result.
        version: of the code of `run`.
        tolerance: relative difference that counts as equal.

    Returns:
        What differs.

    Raises:
        InputError: there is no sound result, or the repetition failed.
    """
    stored = records.load(path, config)
    if not stored or stored["outcome"] != "done":
        raise InputError(f"{path} holds no finished result of this config: run the study first.")
    with tempfile.TemporaryDirectory() as folder:
        again = Path(folder) / path.name
        outcome = perform(Work(run, version), Task(config, again))
        if outcome != "done":
            raise InputError(f"The repetition of {path.stem} {outcome}")
        repeated = records.read(again)
    before, now = stored["result"], repeated["result"]
    names = list(dict.fromkeys([*before, *now]))
    return Comparison(
        path.stem,
        {n: (before.get(n), now.get(n)) for n in names if before.get(n) != now.get(n)},
        len(names),
        _changed(stored["about"], repeated["about"]),
        tolerance,
    )


def chosen(tasks: Sequence[Task], names: Sequence[str]) -> list[Task]:
    """The tasks that names stand for.

    Args:
        tasks: of the study.
        names: results as paths, or the beginnings of their names.

    Returns:
        One or more for each name.

    Raises:
        InputError: a name that no run has.
    """
    found: list[Task] = []
    for name in names:
        stem = Path(name).name.removesuffix(".json")
        some = [t for t in tasks if t.path.stem.startswith(stem)]
        if not some:
            raise InputError(
                f"No run of this study is called {name}, or it is of other code or settings: `list` says the names."
            )
        found += some
    return list({t.path: t for t in found}.values())


def _changed(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    pairs = {"git": (then.get("git", ""), now.get("git", ""))}
    for group in ("versions", "inputs"):
        for name in {**then.get(group, {}), **now.get(group, {})}:
            pairs[name] = tuple(str(w.get(group, {}).get(name, "none")) for w in (then, now))  # type: ignore[assignment]
    return {k: v for k, v in pairs.items() if v[0] != v[1]}


def _close(a: float | None, b: float | None, tolerance: float) -> bool:
    if a is None or b is None:
        return a is b
    return math.isclose(a, b, rel_tol=tolerance, abs_tol=0.0)


def _text(value: float | None) -> str:
    return "none" if value is None else repr(value)
