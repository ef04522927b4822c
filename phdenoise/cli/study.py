"""`phdenoise study FILE WHAT`: a study of your own, in a file of Python."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from phdenoise.cli import study_command
from phdenoise.study.definition import load_study
from phdenoise.types import InputError


@dataclass(frozen=True)
class StudyCommand:
    """Run a study of your own, a FILE.py: list, run, status, collect, figure, rerun, cite."""

    file: tyro.conf.Positional[str]
    """File of Python with one `Study`."""
    rest: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="WHAT ...")] = ()
    """list, run, status, collect, figure, rerun or cite, and its options: `phdenoise study FILE --help` shows them."""

    def run(self) -> None:
        """Load the file, and do what is asked of its study."""
        if not self.file.endswith(".py"):
            raise InputError(f"{self.file} is not a file of Python: phdenoise study FILE.py run.")
        study_command.main(load_study(self.file), self.rest, prog=f"phdenoise study {self.file}")
