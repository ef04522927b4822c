"""`phdenoise COMMAND`: the command line, generated from a dataclass for each command.

Everything a command can be told is a field with its unit and default; `phdenoise COMMAND --help` shows them.
A user's mistake ends with one sentence on standard error and exit code 2.
"""

import os
import sys
from typing import Annotated, Any, Protocol, Union

import tyro

import phdenoise
from phdenoise import selfcheck
from phdenoise.cli.demo import Demo
from phdenoise.cli.denoise import Denoise
from phdenoise.cli.fit import Fit
from phdenoise.cli.info import Info
from phdenoise.cli.neutron import Neutron
from phdenoise.cli.optical import Optical
from phdenoise.cli.simulate import Simulate
from phdenoise.cli.stxm import Stxm
from phdenoise.types import InputError


class Command(Protocol):
    """A frozen dataclass whose fields are the options of a command."""

    def run(self) -> None:
        """Do the work, print what was found, and write the results."""
        ...


# The one table of commands, in the order in which the help lists them.
COMMANDS: dict[str, type[Command]] = {
    "info": Info,
    "denoise": Denoise,
    "simulate": Simulate,
    "fit": Fit,
    "demo": Demo,
    "neutron": Neutron,
    "stxm": Stxm,
    "optical": Optical,
}


def main(arguments: list[str] | None = None) -> None:
    """Entry point; exits with 2 after one sentence on a user's mistake.

    Args:
        arguments: of the command line; None takes those of the process.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments == ["--version"]:
        print(f"phdenoise {phdenoise.__version__}")
        return
    try:
        kinds: Any = Union[  # noqa: UP007
            tuple(Annotated[c, tyro.conf.subcommand(n)] for n, c in COMMANDS.items())
        ]
        command: Command = tyro.cli(
            kinds,
            prog="phdenoise",
            description="Denoise an operando movie without clean labels and learn the law that moved it.",
            args=arguments,
        )
        selfcheck.check()
        command.run()
    except InputError as error:
        print(f"phdenoise: {error}", file=sys.stderr)
        sys.exit(2)
    except MemoryError:
        print("phdenoise: out of memory: crop the movie or use fewer frames.", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("phdenoise: interrupted; nothing was written.", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read the output (`| head`) has gone; what is still in the buffer has no reader either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
