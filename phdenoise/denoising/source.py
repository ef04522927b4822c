"""A movie as a source of blocks: read part by part, whether it lies in memory or in a file.

A part has its frames, rows and columns of the movie. A movie in memory is a source that can be read in one part.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float

from phdenoise.movie import Movie
from phdenoise.networks.architecture import Architecture
from phdenoise.networks.context import BlindRegion, Window
from phdenoise.noise.unmeasured import Unmeasured
from phdenoise.training.held_out import held_out
from phdenoise.types import Moments

Place = tuple[slice, ...]
_Arrays = TypeVar("_Arrays", "Part", Moments)

# Pixels whose held-out draw is made at once: eight bytes each, some 30 MB, whatever the size of the frames.
_DRAWN_AT_ONCE = 2**22


class Part(NamedTuple):
    """Some frames in some window of a movie.

    Attributes:
        values: measured intensities [t, y, x].
        seen: True where they are inputs of the network; the others may be anything.
        good: True where they were measured without defect, a subset of `seen`.
    """

    values: Float[np.ndarray, "t y x"]
    seen: Bool[np.ndarray, "t y x"]
    good: Bool[np.ndarray, "t y x"]

    @property
    def saturated(self) -> Bool[np.ndarray, "t y x"]:
        """Where the measured value is only a lower bound: an input, but no example of the scene's intensity."""
        return self.seen & ~self.good


# Frames, rows and columns -> that part of the movie.
Read = Callable[[slice, slice, slice], Part]
# Receives the window, the measured part, its blind prediction (None: there is none) and its posterior.
Keep = Callable[[Window, Part, Moments | None, Moments], None]


def whole_window(shape: tuple[int, int, int]) -> Window:
    """Frames, rows and columns of a whole movie [t, y, x]."""
    return slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2])


@runtime_checkable
class Source(Protocol):
    """A movie that is read in parts.

    Attributes:
        header: everything but the frames, whose shape and type alone count.
    """

    header: Movie

    def read(self, frames: slice, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
        """Read a part.

        Args:
            frames, rows, columns: of the movie.

        Returns:
            Intensities, and where they are valid, both [t, y, x].
        """
        ...


class MovieSource(Source):
    """A movie in memory as a source."""

    def __init__(self, movie: Movie):
        self.header = movie

    def read(self, frames: slice, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
        """Intensities, and where they are valid, both [t, y, x]."""
        movie, window = self.header, (frames, rows, columns)
        values = movie.frames[window]
        valid = np.isfinite(values)
        if movie.mask is not None:
            valid &= movie.mask[window] if movie.mask.ndim == 3 else movie.mask[window[1:]]
        return values, valid


class Measured(Source):
    """A source some of whose frames and borders do not count as measured.

    A pixel that no frame measured stays: the outside of an aperture is part of the movie.
    """

    def __init__(self, source: Source, left_out: Bool[np.ndarray, " t"], borders: Unmeasured):
        self.header = source.header
        self._source, self._left_out, self._borders = source, left_out | borders.empty, borders
        measured = np.zeros(borders.size, bool)
        for t in np.flatnonzero(~self._left_out):
            measured |= borders.mask(slice(t, t + 1))[0]
        self._never = ~measured

    def read(self, frames: slice, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
        """Intensities, and where they are valid and not left out, both [t, y, x]."""
        values, valid = self._source.read(frames, rows, columns)
        within = self._borders.mask(frames, rows, columns) | self._never[rows, columns]
        return values, valid & within & ~self._left_out[frames, None, None]


@dataclass(frozen=True)
class HeldOut:
    """The held-out pixels of a movie, window by window; see `phdenoise.training.held_out`.

    Attributes:
        shape: of the movie [t, y, x].
        seed: of the draw.
        region: hidden in training.
        architecture: of the network.
    """

    shape: tuple[int, int, int]
    seed: int
    region: BlindRegion
    architecture: Architecture

    def __call__(self, frames: slice, rows: slice, columns: slice) -> Bool[np.ndarray, "t y x"]:
        """The pixels of a window that training does not see as targets.

        Args:
            frames, rows, columns: of the movie.

        Returns:
            True for these pixels.
        """
        step = max(_DRAWN_AT_ONCE // (self.shape[1] * self.shape[2]), 1)
        drawn = [
            held_out(
                self.shape, self.seed, self.region, self.architecture,
                frames=slice(first, min(first + step, frames.stop)),
            )[:, rows, columns]
            for first in range(frames.start, frames.stop, step)
        ]  # fmt: skip
        return np.concatenate(drawn)


class Collector:
    """Collects the result of one window of a movie from the blocks that meet it.

    Attributes:
        window: frames, rows and columns of the movie.
        part: measured there.
        result, blind: mean and variance there, as arrays in memory.
    """

    def __init__(self, header: Movie, window: Window):
        self._header, self.window = header, window
        self.part: Part | None = None
        self.result: Moments | None = None
        self.blind: Moments | None = None

    def add(self, window: Window, part: Part, blind: Moments | None, result: Moments) -> None:
        """Keep the part of a block that lies in the window.

        Args:
            window: frames, rows and columns of the block.
            part: measured there.
            blind: its prediction without the pixel's own measurement; None: there is none.
            result: its mean and variance.
        """
        if window == self.window:
            # The case of one block: nothing is copied.
            self.part, self.result, self.blind = part, result, blind
            return
        common = [
            (max(a.start, b.start), min(a.stop, b.stop))
            for a, b in zip(window, self.window, strict=True)
        ]
        if any(a >= b for a, b in common):
            return
        here, there = (
            tuple(slice(a - o.start, b - o.start) for (a, b), o in zip(common, origin, strict=True))
            for origin in (window, self.window)
        )
        self.part = _written(self.part, there, part, here, self.window)
        self.result = _written(self.result, there, result, here, self.window)
        if blind is not None:
            self.blind = _written(self.blind, there, blind, here, self.window)

    def movie(self) -> Movie:
        """The measured window, its mask True where it was measured without defect."""
        assert self.part is not None
        times, good = self._header.times[self.window[0]], self.part.good
        mask = None if good.all() else good
        return replace(self._header, frames=self.part.values, mask=mask, times=times)

    @property
    def sentence(self) -> str:
        """Which part of the movie the window is."""
        t, y, x = self.window
        return (
            f"Judged on frames {t.start} to {t.stop - 1}, rows {y.start} to {y.stop - 1} and columns {x.start} to "
            f"{x.stop - 1}; frames and positions that follow count from there."
        )


def _written(
    old: _Arrays | None, there: Place, new: _Arrays, here: Place, window: Window
) -> _Arrays:
    """Arrays of the window, made where there are none yet, with a part of new ones written into them."""
    shape = tuple(s.stop - s.start for s in window)
    if old is None:
        arrays = [np.zeros(shape, np.asarray(array).dtype) for array in new]
        old = type(new)(*arrays)  # type: ignore[arg-type]
    for array, values in zip(old, new, strict=True):
        array[there] = np.asarray(values)[here]
    return old
