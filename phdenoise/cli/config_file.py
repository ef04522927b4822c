"""A run as a file: every option of a command as TOML, written beside its result and read back by --config.

command = "denoise"
[options]
preset = "quick"
"""

import json
import tomllib
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

from phdenoise.errors import InputError
from phdenoise.io.atomic import atomic

# Options that say where and how to write, which the next run decides anew.
_NOT_KEPT = ("overwrite",)


class Option(NamedTuple):
    """One option of a command.

    Attributes:
        flag: as on the command line, without hyphens: "denoise.steps".
        value: of the option.
        positional: whether it has no flag.
    """

    flag: str
    value: Any
    positional: bool


def options_of(command: Any) -> list[Option]:
    """All options of a command, with the flags that the command line gives them."""
    return list(_options(command, ""))


def _options(value: Any, prefix: str) -> Iterator[Option]:
    hints = get_type_hints(type(value), include_extras=True)
    for item in fields(value):
        inside, hint = getattr(value, item.name), hints[item.name]
        marks = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
        name = item.name.replace("_", "-")
        if is_dataclass(inside):
            bare = any(getattr(m, "name", None) == "" for m in marks)
            yield from _options(inside, prefix if bare else f"{prefix}{name}.")
            continue
        positional = any("POSITIONAL" in repr(m).upper() for m in marks)
        yield Option(f"{prefix}{name}", inside, positional)


def run_file(output: str) -> Path:
    """Where the options of a run are kept: run.toml in a folder, NAME.run.toml beside a file."""
    path = Path(output)
    # A .zarr is a folder that other programs read: nothing is put into it.
    inside = path.is_dir() and path.suffix.lower() != ".zarr"
    return path / "run.toml" if inside else path.with_name(f"{path.stem}.run.toml")


def write_run(name: str, command: Any) -> Path | None:
    """Write the options of a run beside its result.

    Args:
        name: of the command.
        command: that ran.

    Returns:
        The file; None where the command has no result.
    """
    output = getattr(command, "output", None)
    if not output or not Path(output).exists():
        return None
    lines = [
        f"# phdenoise {name} --config FILE runs this again; options on the command line go before those here.",
        f'command = "{name}"',
        f'version = "{version("phdenoise")}"',
        "[options]",
    ]
    lines += [
        f"{_key(o.flag)} = {_toml(o.value)}"
        for o in options_of(command)
        if o.value is not None and o.flag not in _NOT_KEPT
    ]
    path = run_file(output)
    with atomic(path, overwrite=True) as aside:
        aside.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _key(flag: str) -> str:
    return json.dumps(flag) if "." in flag else flag


def _toml(value: Any) -> str:
    """A value as TOML, whose text, numbers and lists are written as in JSON."""
    if isinstance(value, Path):
        return json.dumps(str(value))
    if isinstance(value, tuple | list):
        return f"[{', '.join(_toml(v) for v in value)}]"
    if isinstance(value, float) and value != value:
        return "nan"
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return "inf" if value > 0 else "-inf"
    return json.dumps(value, ensure_ascii=False)


def take_config(arguments: list[str]) -> tuple[str | None, list[str]]:
    """Take --config FILE out of the arguments.

    Args:
        arguments: of a command.

    Returns:
        The file, or None, and the other arguments.

    Raises:
        InputError: no file after --config.
    """
    rest, path = [], None
    words = iter(arguments)
    for word in words:
        if word == "--config":
            path = next(words, None)
            if path is None:
                raise InputError("--config needs a file: give the run.toml of an earlier run.")
        elif word.startswith("--config="):
            path = word.partition("=")[2]
        else:
            rest.append(word)
    return path, rest


def read_run(path: str, name: str, kind: type) -> tuple[Any, list[str]]:
    """The options of an earlier run.

    Args:
        path: TOML file.
        name: of the command that is asked for.
        kind: its dataclass.

    Returns:
        The command with the positional arguments of the file, or None where it has none; and the other options as arguments.

    Raises:
        InputError: no such file, one of another command, or an option that there is not.
    """
    try:
        told = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise InputError(
            f"--config {path} cannot be read ({reason}): give the run.toml of an earlier run."
        ) from error
    if told.get("command", name) != name:
        raise InputError(
            f"{path} holds a run of phdenoise {told['command']}, not of {name}: run `phdenoise {told['command']} --config {path}`."
        )
    given = told.get("options", {})
    plain = _blank(kind)
    known = {o.flag: o for o in options_of(plain)}
    for flag in given:
        if flag not in known:
            near = get_close_matches(flag, known, n=1)
            meant = (
                f"did you mean {near[0]}?" if near else f"`phdenoise {name} --help-all` lists all."
            )
            raise InputError(
                f"{path} names the option '{flag}', which {name} does not have: {meant}"
            )
    positional = {f: v for f, v in given.items() if known[f].positional}
    default = _blank(kind, **positional) if positional else None
    # Lists first: an open list would take what the user names next as its own.
    order = sorted(set(given) - set(positional), key=lambda f: not isinstance(given[f], list))
    return default, [w for f in order for w in _words(f, given[f])]


def _blank(kind: type, **given: Any) -> Any:
    """A command of which only some arguments are given; what it must be told is marked as missing."""
    import tyro

    # Not by its constructor, which would have to accept what is missing.
    command: Any = object.__new__(kind)
    for item in fields(kind):
        value: Any = tyro.MISSING
        if item.default is not MISSING:
            value = item.default
        elif item.default_factory is not MISSING:
            value = item.default_factory()
        value = given.get(item.name, value)
        object.__setattr__(command, item.name, tuple(value) if isinstance(value, list) else value)
    return command


def _words(flag: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        head, _, last = flag.rpartition(".")
        return [f"--{flag}" if value else f"--{head + '.' * bool(head)}no-{last}"]
    if isinstance(value, list):
        return [f"--{flag}", *(str(v) for v in value)] if value else []
    return [f"--{flag}", str(value)]
