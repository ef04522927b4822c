"""Files of a neutron experiment: radiographs, open beam, dark field, black bodies and the cell's current."""

from dataclasses import dataclass

import numpy as np

from phdenoise.modalities.inputs import frames_like, number_table
from phdenoise.modalities.neutron.corrections import average, scatter_behind
from phdenoise.modalities.neutron.radiograph import Calibration, calibration
from phdenoise.modalities.settings import flag
from phdenoise.movie import Movie
from phdenoise.types import InputError


@dataclass(frozen=True)
class NeutronFiles:
    """Where the measurements are; each a stack or a folder of .tif or .fits frames."""

    open_beam: str | None = None
    """Exposures without the sample."""
    dark: str | None = None
    """Exposures without beam."""
    black_body: str | None = None
    """Exposures of the sample with black bodies in front: what is scattered shows in their shadows."""
    black_body_open: str | None = None
    """Exposures of black bodies without the sample."""
    black_body_mask: str | None = None
    """Image that is not 0 well inside the shadows of the black bodies."""
    black_body_leak: float = 0.0
    """Share of the beam that passes through a black body."""
    current: str | None = None
    """CSV of two columns, time (in the unit of the movie) and current, > 0 where lithium enters the electrode."""

    def paths(self) -> list[str]:
        """Every file named."""
        named = (
            self.open_beam,
            self.dark,
            self.black_body,
            self.black_body_open,
            self.black_body_mask,
            self.current,
        )
        return [p for p in named if p is not None]


def read_calibration(files: NeutronFiles, movie: Movie, gain: float) -> Calibration | None:
    """Open beam, dark field and scatter in the shape of the movie; None where there is no open beam.

    Args:
        files: where they are.
        movie: radiographs [t, y, x].
        gain: camera counts per neutron.

    Returns:
        What a frame is compared with, or None.

    Raises:
        InputError: files that cannot be read, do not fit each other, or are given without what they need.
    """
    if files.open_beam is None:
        for name in ("dark", "black_body", "black_body_open"):
            if getattr(files, name) is not None:
                raise InputError(
                    f"{flag(name)} is used together with an open beam: give --open-beam too."
                )
        return None
    beam = frames_like(files.open_beam, "--open-beam", movie)
    dark = None if files.dark is None else frames_like(files.dark, "--dark", movie)
    under = _scatter(files, files.black_body, "--black-body", movie, beam, dark)
    open_ = _scatter(files, files.black_body_open, "--black-body-open", movie, beam, dark)
    return calibration(
        beam,
        dark,
        gain=gain,
        scatter=None if under is None else under[0],
        scatter_open=None if open_ is None else open_[0],
        scatter_variance=sum((s[1] for s in (under, open_) if s is not None), 0.0),
    )


def read_current(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Times and values of a current; a heading is skipped.

    Raises:
        InputError: no such file, fewer than two rows of two numbers, or times that do not increase.
    """
    table = number_table(path, "a current", ("time", "current"))
    if np.any(np.diff(table[:, 0]) <= 0):
        raise InputError(f"{path}: a current needs two rows or more, with increasing times.")
    if not np.any(table[:, 1]):
        raise InputError(f"{path}: the current is 0 throughout; leave out --current.")
    return table[:, 0], table[:, 1]


def _scatter(
    files: NeutronFiles,
    path: str | None,
    named: str,
    movie: Movie,
    beam: np.ndarray,
    dark: np.ndarray | None,
) -> tuple[np.ndarray, float] | None:
    if path is None:
        return None
    if files.black_body_mask is None:
        raise InputError(
            f"{named} needs --black-body-mask, an image of where the black bodies are."
        )
    bodies = frames_like(files.black_body_mask, "--black-body-mask", movie)[0] != 0
    exposure = average(frames_like(path, named, movie)).mean
    black = np.zeros(movie.shape[1:]) if dark is None else average(dark).mean
    return scatter_behind(
        exposure, black, bodies, leak=files.black_body_leak, open_beam=average(beam).mean
    )
