"""What all chains share: a table of numbers, findings and their verdicts, derived quantities as movies, provenance."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np

from phdenoise import selfcheck
from phdenoise.io.reading import fingerprint
from phdenoise.movie import Estimate, Movie
from phdenoise.noise.models import Gaussian
from phdenoise.report.page import Finding, Verdict, measured


@runtime_checkable
class Outcome(Protocol):
    """What the result of any chain holds for a reader."""

    @property
    def estimate(self) -> Any:
        """The denoised movie or channels."""

    @property
    def impossible(self) -> tuple[str, ...]:
        """What no sample can be; where there is any, nothing is stated as a finding."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What may be wrong."""

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found."""


class NumberTable:
    """Numbers as rows: group, name, value, sd, unit."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def add(
        self, group: str, name: str, value: Any, sd: Any = float("nan"), unit: str = "1"
    ) -> None:
        """Append a row.

        Args:
            group: what the number belongs to; "law, joint" belongs to the group "law".
            name: of the number.
            value: of the number [unit].
            sd: its standard deviation [unit]; NaN where it has none.
            unit: of both.
        """
        row = {"group": group, "name": name, "value": float(value), "sd": float(sd), "unit": unit}
        self.rows.append(row)

    def of(self, *groups: str) -> list[dict[str, Any]]:
        """Rows of these groups."""
        return [r for r in self.rows if r["group"].split(",")[0] in groups]


def said(outcome: Outcome) -> list[str]:
    """Warnings first, then what was found; nothing was found where the result is impossible."""
    found = () if outcome.impossible else outcome.sentences
    return [*(f"Warning: {w}" for w in outcome.warnings), *found]


_ADVICE = (
    "This movie is not what the chain takes it for, or a calibration is wrong. No law, rate or charge is stated; maps and tables "
    "below are there to find the cause."
)


def verdict(outcome: Outcome, holds: bool | None = True) -> Verdict:
    """How far a finding of a chain may be trusted.

    Args:
        outcome: of the chain.
        holds: what the finding's own test says.

    Returns:
        Bad where the result is impossible, a closer look where the chain warns, else what the test says.
    """
    if outcome.impossible:
        return Verdict.BAD
    own = Verdict.of(holds)
    return Verdict.LOOK if own is Verdict.GOOD and outcome.warnings else own


def opening(outcome: Outcome, findings: Sequence[Finding]) -> list[Finding]:
    """What a report begins with: its findings, or that its result is impossible, which lets nothing be found.

    Args:
        outcome: of the chain.
        findings: what was measured.

    Returns:
        The findings.
    """
    if not outcome.impossible:
        return list(findings)
    reason = " ".join([*outcome.impossible, _ADVICE])
    return [Finding("This result is impossible", "nothing is stated", "", Verdict.BAD, reason)]


def finding(
    table: "NumberTable", outcome: Outcome, group: str, name: str, what: str = "", why: str = ""
) -> list[Finding]:
    """A number of the table as a finding.

    Args:
        table: of numbers.
        outcome: of the chain.
        group, name: of the number.
        what: what it is called; by default its name.
        why: one sentence.

    Returns:
        The finding; none where the table does not have the number.
    """
    found = [r for r in table.rows if r["group"] == group and r["name"] == name]
    return [
        measured(what or f"{name[0].upper()}{name[1:]}", r["value"], r["sd"], r["unit"], verdict(outcome), why)
        for r in found[:1]
        if np.isfinite(r["value"])
    ]  # fmt: skip


def derived_estimate(
    outcome: Outcome,
    movie: Movie,
    name: str,
    unit: str,
    measured: tuple[np.ndarray, np.ndarray],
    denoised: tuple[np.ndarray, np.ndarray],
) -> Estimate:
    """A quantity derived from a movie as a movie of its own, with its denoised mean and variance.

    Args:
        outcome: of the chain; its sentences become the log.
        movie: with the times and pixels of the quantity.
        name: of the quantity's movie.
        unit: of the quantity.
        measured: value and sd from the measured frames [t, y, x] [unit], NaN where not known.
        denoised: value and sd from the denoised frames [t, y, x] [unit].

    Returns:
        The quantity with its typical noise as noise model.
    """
    (raw, raw_sd), (mean, sd) = measured, denoised
    return Estimate(
        movie.with_frames(
            raw.astype(np.float32), intensity_unit=unit, mask=None, noise=None, name=name
        ),
        mean.astype(np.float32),
        (sd.astype(float) ** 2).astype(np.float32),
        Gaussian(jnp.float32(np.nanmedian(raw_sd))),
        log=(*outcome.impossible, *said(outcome)),
        settings=dict(outcome.estimate.settings),
    )


def provenance(
    settings: Any, source: Mapping[str, Any], files: Sequence[str] = ()
) -> dict[str, Any]:
    """What a result was made of: versions, settings, the movie's origin, and fingerprints of files.

    Args:
        settings: dataclass.
        source: provenance of the movie.
        files: paths; those that are no files (folders) are left out.

    Returns:
        Plain values, for a JSON file.
    """
    return {
        "versions": selfcheck.versions(),
        "settings": asdict(settings),
        "input": dict(source),
        "files": {p: fingerprint(Path(p)) for p in files if Path(p).is_file()},
    }
