"""Where a report comes from: command, version, date, settings, movie, and how to cite it."""

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

COMMAND: ContextVar[str] = ContextVar("COMMAND", default="")
"""The command line that is running; empty in Python. `phdenoise.cli.main` sets it."""

CITATION = (
    "phdenoise {version}: differentiable physics for operando microscopy (CITATION.cff of the repository has the "
    "authors). Name this version and the command above."
)


@dataclass(frozen=True)
class Origin:
    """What a reader needs to redo a result.

    Attributes:
        movie: name of the movie.
        settings: of the chain.
        source: provenance of the movie.
        command: command line; empty for a call from Python.
        version: of phdenoise.
        date: of the report, in UTC.
    """

    movie: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)
    command: str = field(default_factory=COMMAND.get)
    version: str = field(default_factory=lambda: version("phdenoise"))
    date: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))

    @property
    def citation(self) -> str:
        """How to cite the result."""
        return CITATION.format(version=self.version)

    def facts(self) -> dict[str, str]:
        """Name and value of everything but the settings."""
        told = {
            "command": self.command or "called from Python",
            "version": f"phdenoise {self.version}",
            "date": self.date,
            "movie": self.movie,
        }
        kept = ("path", "dataset", "sha256")
        return told | {k: str(self.source[k]) for k in kept if self.source.get(k)}
