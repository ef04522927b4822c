"""How the frames of a file were taken, as far as the file says: energy, exposure, ring current, polarisation, clock, counter."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from phdenoise.movie import Movie

PROVENANCE = "acquisition"
"""Key of `Movie.provenance` under which the record lies."""

# Spellings of a date and time in the headers of microscopes; Xradia writes the month first.
_CLOCKS = (
    "%Y %b %d %H:%M:%S",
    "%Y %B %d %H:%M:%S",
    "%Y %b %d",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%y %H:%M:%S",
    "%a %b %d %H:%M:%S %Y",
)
# Numbers that `facts` shows one by one; more are shown as a range.
_SHOWN = 4


@dataclass(frozen=True)
class Acquisition:
    """What a file says of its frames; None where it does not say.

    Attributes:
        energy: photon energy of each frame [t] [eV].
        exposure: exposure or dwell time of each frame [t] [s].
        current: ring current of each frame [t] [mA].
        polarisation: of each frame [t], in the number or unit of the file.
        started: clock time at which each frame began [t] [s since 1970, UTC where the file names no zone].
        counter: name of the detector, counter or channel.
    """

    energy: np.ndarray | None = None
    exposure: np.ndarray | None = None
    current: np.ndarray | None = None
    polarisation: np.ndarray | None = None
    started: np.ndarray | None = None
    counter: str | None = None

    def taken(self, index: np.ndarray) -> "Acquisition":
        """The record of some frames, in another order.

        Args:
            index: numbers of the frames [n].

        Returns:
            The record; a value that the file gives once for all frames stays one.
        """
        changes = {
            f.name: value[index]
            for f in fields(self)
            if isinstance(value := getattr(self, f.name), np.ndarray) and value.size > 1
        }
        return replace(self, **changes)

    def one(self, name: str) -> float | None:
        """The value of a field that all frames share; None where they differ or the file does not say."""
        values = getattr(self, name)
        if values is None or not values.size or not np.all(values == values.flat[0]):
            return None
        return float(values.flat[0])

    def to_dict(self) -> dict[str, Any]:
        """Plain values of the fields that the file gives, for provenance."""
        return {
            f.name: value.tolist() if isinstance(value, np.ndarray) else value
            for f in fields(self)
            if (value := getattr(self, f.name)) is not None
        }

    def facts(self) -> dict[str, str]:
        """Each field that the file gives, in a few words with its unit."""
        units = {"energy": " eV", "exposure": " s", "current": " mA", "polarisation": ""}
        found = {
            name: f"{_listed(values)}{unit}"
            for name, unit in units.items()
            if (values := getattr(self, name)) is not None
        }
        if self.started is not None and np.isfinite(self.started).any():
            first, last = np.nanmin(self.started), np.nanmax(self.started)
            found["started"] = _clock(first) + (f" to {_clock(last)}" if last > first else "")
        if self.counter is not None:
            found["counter"] = self.counter
        return found


def acquisition_of(movie: Movie) -> Acquisition:
    """The record in the provenance of a movie; empty where there is none."""
    return from_dict(movie.provenance.get(PROVENANCE) or {})


def from_dict(stored: Mapping[str, Any]) -> Acquisition:
    """The record of `Acquisition.to_dict`.

    Args:
        stored: plain values.

    Returns:
        The record; unknown names are left out.
    """
    arrays: dict[str, Any] = {
        f.name: np.asarray(stored[f.name], float)
        for f in fields(Acquisition)
        if f.name != "counter" and stored.get(f.name) is not None
    }
    return Acquisition(counter=stored.get("counter"), **arrays)


def parse_clock(text: str) -> float:
    """A date and time as a microscope writes it.

    Args:
        text: such as "2020 Oct 15 12:00:35", "10/15/2020 12:00:35" or ISO 8601.

    Returns:
        Seconds since 1970, UTC where no zone is named; NaN where the text is no date.
    """
    text = text.strip().strip("\x00")
    found = None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        for form in _CLOCKS:
            try:
                found = datetime.strptime(text.split(".")[0], form)
            except ValueError:
                continue
            break
    if found is None:
        return float("nan")
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _listed(values: np.ndarray) -> str:
    """A few different values one by one, more as a range; "?" where a frame has none."""
    finite = values[np.isfinite(values)]
    different = list(dict.fromkeys(finite.tolist()))
    if not different:
        return "?"
    if len(different) <= _SHOWN:
        text = ", ".join(f"{v:.6g}" for v in different)
    else:
        text = f"{finite.min():.6g} to {finite.max():.6g}, {len(different)} values"
    return text + ", ?" * (finite.size < values.size)


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(float(seconds), UTC).strftime("%Y-%m-%d %H:%M:%S")
