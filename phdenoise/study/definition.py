"""A study: a config, a function from it to named numbers, a sweep, and what is drawn of the table."""

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from phdenoise.study.identity import canonical, code_version, differences
from phdenoise.types import InputError

# What is done with the rows of the finished runs: (rows, folder, the sweep).
After = Callable[[list[dict[str, str]], Path, Sequence[Any]], None]


@dataclass(frozen=True)
class Study:
    """What a study is made of.

    Attributes:
        name: of its folder.
        run: makes the numbers of one config; where it `keeps` arrays it also takes the folder for them, `store`.
        configs: makes the sweep from whether it is the fast one, and from the folder of real movies where it takes `data`.
        draw: makes figures in a folder.
        tell: prints what the table comes to.
        check: raises InputError where a config cannot be run; asked of all before the first run.
        keeps: whether `run` keeps arrays.
        data: whether `configs` takes the folder of real movies.
        cites: keys of published methods (`methods`) that the configs do not show.
    """

    name: str
    run: Callable[..., Mapping[str, float]]
    configs: Callable[..., Sequence[Any]]
    draw: After | None = None
    tell: After | None = None
    check: Callable[[Any], None] | None = None
    keeps: bool = False
    data: bool = False
    cites: tuple[str, ...] = ()

    def sweep(self, fast: bool, data: str = "") -> list[Any]:
        """The configs, each of which has a name and can be run.

        Args:
            fast: the short version.
            data: folder of real movies.

        Returns:
            One a run.

        Raises:
            InputError: a config that cannot be named or run, named by what it changes.
        """
        every = list(self.configs(fast, data) if self.data else self.configs(fast))
        for config in every:
            changes = differences(config)
            canonical(changes)
            if self.check is not None:
                try:
                    self.check(config)
                except ValueError as error:
                    said = ", ".join(f"{k}={v}" for k, v in changes.items()) or "defaults"
                    raise InputError(
                        f"The config of the run ({said}) cannot be used: {error}"
                    ) from error
        return every

    def runner(self, folder: Path) -> Callable[[Any], Mapping[str, float]]:
        """The function of a config alone.

        Args:
            folder: of the study.

        Returns:
            `run`, with its folder of arrays where it keeps some.
        """
        return partial(self.run, store=folder / "arrays") if self.keeps else self.run

    @property
    def version(self) -> str:
        """Of the code of `run`."""
        return code_version(self.run)


def load_study(file: str | Path) -> Study:
    """The study of a file of Python: its one `Study`.

    Args:
        file: ending in .py; its folder is where its imports are looked for.

    Returns:
        The study, whose functions other processes find by the name of the file.

    Raises:
        InputError: no such file, one that cannot be imported, or without a study.
    """
    path = Path(file).resolve()
    if path.suffix != ".py" or not path.is_file():
        raise InputError(f"{file} is not a file of Python: give the FILE.py of a study.")
    loaded = sys.modules.get(path.stem)
    taken = loaded is not None and Path(getattr(loaded, "__file__", None) or ".").resolve() != path
    if not path.stem.isidentifier() or taken or path.stem in sys.stdlib_module_names:
        raise InputError(
            f"A study cannot be called {path.stem}, which is no name for a module or is another's: rename {file}."
        )
    sys.path.insert(0, str(path.parent))
    try:
        module = importlib.import_module(path.stem)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{file} cannot be imported ({type(error).__name__}: {error}): try `python {file}`."
        ) from error
    found = [v for v in vars(module).values() if isinstance(v, Study)]
    if len(found) != 1:
        raise InputError(
            f"{file} has {len(found)} studies: give it one, `study = Study(name, run, configs, draw)`."
        )
    return found[0]


def by_module_name(study: Study) -> Study:
    """The study as other processes find it, where it is that of the program that runs (`python -m NAME`)."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is None or study.run.__module__ != "__main__":
        return study
    module = importlib.import_module(spec.name.removesuffix(".__main__"))
    functions = {
        k: getattr(module, f.__name__)
        for k in ("run", "configs", "draw", "tell", "check")
        if (f := getattr(study, k)) is not None and hasattr(module, getattr(f, "__name__", ""))
    }
    return replace(study, **functions)
