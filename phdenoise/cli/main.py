"""`phdenoise COMMAND`: the command line, generated from a dataclass for each command.

Everything a command can be told is a field with its unit and default; `phdenoise COMMAND --help` shows them.
A user's mistake ends with one sentence on standard error and exit code 2.
"""

import os
import shlex
import sys
import threading
from difflib import get_close_matches
from importlib import import_module
from typing import Annotated, Any, NamedTuple, Protocol, Union, runtime_checkable

import phdenoise
from phdenoise.cli import compilation_cache
from phdenoise.cli.help_text import short_help
from phdenoise.errors import InputError
from phdenoise.report.origin import COMMAND


@runtime_checkable
class Command(Protocol):
    """A frozen dataclass whose fields are the options of a command."""

    def run(self) -> None:
        """Do the work, print what was found, and write the results."""
        ...


class Entry(NamedTuple):
    """Where a command is, and what it does: its module is imported when it is asked for, which takes seconds.

    Attributes:
        module, name: of the dataclass.
        summary: first line of its docstring.
    """

    module: str
    name: str
    summary: str

    def load(self) -> Any:
        """The dataclass, a `Command`."""
        return getattr(import_module(f"phdenoise.cli.{self.module}"), self.name)


# The one table of commands, in the order in which the help lists them.
COMMANDS: dict[str, Entry] = {
    "info": Entry("info", "Info", "Versions and devices; for a file: shape, units, times, noise estimate, suggested settings."),
    "denoise": Entry("denoise", "Denoise", "Denoise movies, each from itself; writes mean and variance with everything needed to redo it."),
    "view": Entry("view", "View", "Show a result: a player in one HTML page, a film (.mp4 .gif) or a strip of frames (.png .svg .pdf)."),
    "simulate": Entry("simulate", "Simulate", "Simulate a noisy twin movie of a known law; the clean one is written beside it (*_clean)."),
    "fit": Entry("fit", "Fit", "Fit a law of motion to a movie; writes parameters and curves with standard deviations."),
    "demo": Entry("demo", "Demo", "The whole chain on a simulated twin, or with --movie on yours; writes a report with figures."),
    "study": Entry("study", "StudyCommand", "Run a study of your own, a FILE.py: list, run, status, collect, figure, rerun, cite."),
    "neutron": Entry("neutron", "Neutron", "Neutron radiographs to lithium: maps, profiles, transport and accumulation, with a report."),
    "stxm": Entry("stxm", "Stxm", "X-ray scans of a particle to its lithium fraction, denoised, and the law of its reaction, with a report."),
    "optical": Entry("optical", "Optical", "Colour movie of graphite to phases, state of charge and fronts of its particles, with a report."),
    "tem": Entry("tem", "Tem", "TEM images of a nanoparticle to columns with errors, and which surface atoms to believe, with a report."),
}  # fmt: skip
# Time after which the first line is written where loading is slow [s]: a reader of a pipe waits no longer than three seconds.
_SILENT = 1.5
_HELP = {"-h", "--help", "--help-all"}
_ABOUT = "Denoise an operando movie without clean labels and learn the law that moved it."


def main(arguments: list[str] | None = None) -> None:
    """Entry point; exits with 2 after one sentence on a user's mistake.

    Args:
        arguments: of the command line; None takes those of the process.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments == ["--version"]:
        print(f"phdenoise {phdenoise.__version__}")
        return
    if arguments and arguments[0] in ("-h", "--help"):
        print(_help())
        sys.exit(0)
    command: Command | None = None
    try:
        COMMAND.set(shlex.join(["phdenoise", *arguments]))
        command = _parse(arguments)
        compilation_cache.use()
        _selfcheck()
        command.run()
        _keep_options(arguments[0], command)
    except InputError as error:
        print(f"phdenoise: {error}", file=sys.stderr)
        sys.exit(2)
    except MemoryError:
        print("phdenoise: out of memory: crop the movie or use fewer frames.", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"phdenoise: interrupted; {_kept(command)}", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read the output (`| head`) has gone; what is still in the buffer has no reader either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


def _keep_options(name: str, command: Command) -> None:
    """Leave the options beside the result."""
    from phdenoise.cli.config_file import write_run

    write_run(name, command)


def _kept(command: Command | None) -> str:
    """What an interrupted command leaves, and how to go on."""
    said: Any = getattr(command, "interrupted", None)
    return said() if said is not None else "nothing was written."


def _parse(arguments: list[str]) -> Command:
    """The command that was asked for; only its own module is imported."""
    name = arguments[0] if arguments else ""
    if name == "study" and len(arguments) > 1 and not arguments[1].startswith("-"):
        # What comes after FILE is for the study, whose options its file decides.
        study: Command = COMMANDS[name].load()(arguments[1], tuple(arguments[2:]))
        return study
    if name in COMMANDS:
        # Loading takes seconds on a slow disk: the first line must not wait for it.
        waiting = threading.Timer(_SILENT, _say_loading, [name])
        waiting.daemon = True
        if not _HELP & set(arguments):
            waiting.start()
        try:
            kind = COMMANDS[name].load()
        finally:
            waiting.cancel()
        return _command(name, kind, arguments[1:])
    if name.startswith("--tyro-"):
        return _completion(arguments)
    near = get_close_matches(name, COMMANDS, n=1)
    meant = f"did you mean {near[0]}?" if near else f"use one of {', '.join(COMMANDS)}."
    said = f"There is no command '{name}': {meant}" if name else f"No command: {meant}"
    raise InputError(f"{said} `phdenoise --help` says what they do.")


def _say_loading(name: str) -> None:
    print(f"phdenoise {name}: loading", file=sys.stderr, flush=True)


def _command(name: str, kind: Any, words: list[str]) -> Command:
    """The command with the options of its file and its line; help is shown in two lengths."""
    import tyro

    from phdenoise.cli.config_file import read_run, take_config

    def parse(args: list[str], default: Any = None) -> Command:
        start = {} if default is None else {"default": default}
        command: Command = tyro.cli(kind, prog=f"phdenoise {name}", args=args, **start)
        return command

    if "--help-all" in words:
        return parse(["--help"])
    basic = getattr(kind, "basic", None)
    if basic is not None and _HELP & set(words):
        print(short_help(lambda: parse(["--help"]), basic, name))
        sys.exit(0)
    path, rest = take_config(words)
    if path is None:
        return parse(rest)
    default, given = read_run(path, name, kind)
    return parse([*given, *rest], default)


def _completion(arguments: list[str]) -> Command:
    """What a shell completes, which is of all commands."""
    import tyro

    kinds = [Annotated[e.load(), tyro.conf.subcommand(n)] for n, e in COMMANDS.items()]
    every: Any = Union[tuple(kinds)]  # noqa: UP007
    command: Command = tyro.cli(every, prog="phdenoise", description=_ABOUT, args=arguments)
    return command


def _selfcheck() -> None:
    from phdenoise import selfcheck

    selfcheck.check()


def _help() -> str:
    """The list of commands."""
    wide = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:<{wide}}  {entry.summary}" for name, entry in COMMANDS.items())
    return (
        f"usage: phdenoise [-h] [--version] COMMAND ...\n\n{_ABOUT}\n\ncommands:\n{listed}\n\n"
        "`phdenoise COMMAND --help` shows the options that most runs need, --help-all every one. Every command takes\n"
        "--config run.toml, which an earlier run wrote beside its result. `phdenoise --tyro-print-completion bash` prints\n"
        "the completion of the shell (bash, zsh, tcsh)."
    )
