"""Pixels of a movie that no detector measured: frames that never were recorded, and borders that registration left.

An acquisition that stopped leaves frames of one value. Registration shifts or turns frames and fills what is left with one value:
runs of zero, or of the smallest or largest value of the movie, that begin at the frame's border. Noise does not repeat one value so
often; how often it does by chance is counted beyond the runs, next to them and in the middle of the frames.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Integer, Real

from phdenoise.noise.duplicates import SHOWN
from phdenoise.summary import first_few

# Frames, or borders, expected to be taken for unmeasured by chance, in the whole movie.
_FALSE_FINDS = 1e-3
# How many times less likely than a chance find, on a log scale, a border is: values next to a border repeat more often than elsewhere.
_SURPRISES = 2.0
# Share of the middle's values [1] that may equal the fill value for its runs to be borders; above it only whole rows and columns are.
_RARE = 0.05
# Times that a value repeats along a frame's border, at least, to be examined.
_FEWEST_REPEATS = 2
# Pixels beyond the end of a run whose values are compared with it [px].
_NEAR = 4
# Share of a movie's pixels [1] that its borders have at least to be spoken of.
_SMALLEST_SHARE = 1e-5


class FrameBorder(NamedTuple):
    """What one frame tells of its border.

    Attributes:
        value: most frequent value along the frame's border; NaN where none repeats.
        low, high: smallest and largest value.
        rows: pixels of this value at the left and at the right end of each row [y, 2].
        columns: pixels of this value at the top and at the bottom of each column [x, 2].
        rows_near, columns_near: how many of the next pixels beyond each run equal it [y, 2], [x, 2].
        equal, pixels: values beyond the runs that equal it, and their number: next to the runs, and in the middle of the frame [2].
        constant: whether all values of the frame are one.
    """

    value: float
    low: float
    high: float
    rows: Integer[np.ndarray, "y 2"]
    columns: Integer[np.ndarray, "x 2"]
    rows_near: Integer[np.ndarray, "y 2"]
    columns_near: Integer[np.ndarray, "x 2"]
    equal: Integer[np.ndarray, " 2"]
    pixels: Integer[np.ndarray, " 2"]
    constant: bool


class Unmeasured(NamedTuple):
    """Where a movie was not measured.

    Attributes:
        empty: frames of one value [t].
        rows: unmeasured pixels at the left and at the right end of each row [t, y, 2].
        columns: unmeasured pixels at the top and at the bottom of each column [t, x, 2].
        size: rows and columns of the movie [px].
    """

    empty: Bool[np.ndarray, " t"]
    rows: Integer[np.ndarray, "t y 2"]
    columns: Integer[np.ndarray, "t x 2"]
    size: tuple[int, int]

    def any(self) -> bool:
        """Whether anything was not measured."""
        return bool(self.empty.any() or self.rows.any() or self.columns.any())

    def mask(
        self,
        frames: slice = slice(None),
        rows: slice = slice(None),
        columns: slice = slice(None),
    ) -> Bool[np.ndarray, "t y x"]:
        """Where a part of the movie was measured.

        Args:
            frames, rows, columns: the part; default all.

        Returns:
            True where it was.
        """
        y, x = (np.arange(n)[part] for n, part in zip(self.size, (rows, columns), strict=True))
        left, right = np.moveaxis(self.rows[frames, rows], -1, 0)[..., None]
        top, bottom = np.moveaxis(self.columns[frames, columns], -1, 0)[:, :, None]
        within = (x >= left) & (x < self.size[1] - right)
        within &= (y[:, None] >= top) & (y[:, None] < self.size[0] - bottom)
        measured: np.ndarray = within & ~self.empty[frames, None, None]
        return measured

    def sentences(self) -> list[str]:
        """What was found; empty where everything was measured."""
        said = []
        found = np.flatnonzero(self.empty)
        if found.size:
            said.append(
                f"Masked: {found.size} frame(s) hold one value only and were never recorded ({first_few(found, SHOWN)})."
            )
        if self.rows.any() or self.columns.any():
            share = 1 - float(self.mask()[~self.empty].mean())
            if share > _SMALLEST_SHARE:
                said.append(
                    f"Masked: {100 * share:.2g} % of the pixels are borders of one value, as registration leaves them."
                )
        return said


def nothing_unmeasured(shape: tuple[int, int, int]) -> Unmeasured:
    """A movie that was measured everywhere.

    Args:
        shape: of the movie [t, y, x].

    Returns:
        No empty frame and no border.
    """
    rows, columns = (np.zeros((shape[0], n, 2), np.int32) for n in shape[1:])
    return Unmeasured(np.zeros(shape[0], bool), rows, columns, shape[1:])


def frame_border(frame: Real[np.ndarray, "y x"], good: Bool[np.ndarray, "y x"]) -> FrameBorder:
    """What one frame tells of its border.

    Args:
        frame: measured intensities.
        good: pixels that may be used.

    Returns:
        The most frequent value of its border, and where it is.
    """
    ny, nx = frame.shape
    values = frame[good]
    low, high = (float(values.min()), float(values.max())) if values.size else (np.nan, np.nan)
    constant = low == high
    rim = np.concatenate([frame[0], frame[-1], frame[:, 0], frame[:, -1]])
    rim = rim[np.concatenate([good[0], good[-1], good[:, 0], good[:, -1]])]
    levels, counts = np.unique(rim, return_counts=True)
    rows, rows_near = np.zeros((2, ny, 2), np.int32)
    columns, columns_near = np.zeros((2, nx, 2), np.int32)
    lines = (rows, columns, rows_near, columns_near)
    equal, pixels = np.zeros((2, 2), np.int64)
    if not counts.size or counts.max() < _FEWEST_REPEATS:
        return FrameBorder(np.nan, low, high, *lines, equal, pixels, constant)
    value = float(levels[np.argmax(counts)])
    filled = (frame == value) & good
    sides = (rows, rows_near, filled, good), (columns, columns_near, filled.T, good.T)
    for out, beyond, along, used in sides:
        for side, step in enumerate((1, -1)):
            turned, counted = along[:, ::step], used[:, ::step]
            out[:, side] = _run(turned)
            # The pixel after a run differs from it; the next ones tell.
            near = out[:, side, None] + np.arange(1, 1 + _NEAR)
            inside = near < turned.shape[1]
            near = np.minimum(near, turned.shape[1] - 1)
            inside &= np.take_along_axis(counted, near, axis=1)
            beyond[:, side] = np.sum(inside & np.take_along_axis(turned, near, axis=1), axis=1)
            equal[0] += beyond[:, side].sum()
            pixels[0] += inside.sum()
    middle = slice(ny // 4, max(ny - ny // 4, ny // 4 + 1)), slice(nx // 4, nx - nx // 4)
    inner = good[middle]
    equal[1], pixels[1] = np.sum(inner & (frame[middle] == value)), inner.sum()
    return FrameBorder(value, low, high, *lines, equal, pixels, constant)


def _run(lines: np.ndarray) -> np.ndarray:
    """Number of True values with which each line begins."""
    ends = np.argmin(lines, axis=1)
    return np.where(lines.all(axis=1), lines.shape[1], ends).astype(np.int32)


def from_borders(borders: list[FrameBorder]) -> Unmeasured:
    """Where a movie was not measured, from its frames' borders.

    Args:
        borders: of every frame, in order.

    Returns:
        Empty frames and borders.
    """
    rows, columns, rows_near, columns_near = (
        np.stack([getattr(b, k) for b in borders])
        for k in ("rows", "columns", "rows_near", "columns_near")
    )
    size, count = (rows.shape[1], columns.shape[1]), len(borders)
    constant = np.array([b.constant for b in borders])
    empty = np.zeros(count, bool)
    values = np.array([b.value for b in borders])
    lows, highs = (np.array([getattr(b, k) for b in borders]) for k in ("low", "high"))
    fills = {0.0, float(np.nanmin(lows, initial=np.inf)), float(np.nanmax(highs, initial=-np.inf))}
    for value in np.unique(values[np.isfinite(values)]):
        here = values == value
        share = _share(borders, value)
        if share is None or float(value) not in fills:
            rows[here], columns[here] = 0, 0
            continue
        log_share = np.log(share)
        tries = np.log(_FALSE_FINDS / count)
        empty |= here & constant & (size[0] * size[1] * log_share < tries)
        for runs, near, length in ((rows, rows_near, size[1]), (columns, columns_near, size[0])):
            found = runs[here]
            # A value that is not rare makes chance runs: then only whole lines count.
            found = found if share < _RARE else np.where(found == length, found, 0)
            needed = -_SURPRISES * (tries - np.log(2 * runs.shape[1]))
            runs[here] = _improbable(found, near[here], share, needed)
    rows[~np.isfinite(values)], columns[~np.isfinite(values)] = 0, 0
    rows[constant], columns[constant] = 0, 0
    return Unmeasured(empty, rows, columns, size)


def _improbable(
    runs: Integer[np.ndarray, "t lines 2"],
    near: Integer[np.ndarray, "t lines 2"],
    share: float,
    needed: float,
) -> Integer[np.ndarray, "t lines 2"]:
    """Runs of adjacent lines that are together improbable; the others are zero.

    Args:
        runs: their lengths [px].
        near: how many of the next pixels beyond equal them: many do in a dark corner of the scene, none beyond a border.
        share: of the values that equal them by chance anywhere.
        needed: minus log of the probability that is small enough.
    """
    flat, beyond = (np.moveaxis(a, 1, -1).reshape(-1) for a in (runs, near))
    first = runs > 0
    first[:, 1:] &= runs[:, :-1] == 0
    # Numbers of the groups of adjacent lines, from one on; a line without a run belongs to none.
    number = np.cumsum(np.moveaxis(first, 1, -1).reshape(-1)) * (flat > 0)
    pixels, equal, lines = (np.bincount(number, weights=w) for w in (flat, beyond, flat > 0))
    local = np.maximum(equal / np.maximum(_NEAR * lines, 1), share)
    kept = -pixels * np.log(local) >= needed
    kept[0] = False
    back = np.where(kept[number], flat, 0).reshape(len(runs), 2, runs.shape[1])
    return np.moveaxis(back, -1, 1)


def find_unmeasured(
    frames: Real[np.ndarray, "t y x"], valid: Bool[np.ndarray, "t y x"]
) -> Unmeasured:
    """Where a movie was not measured.

    Args:
        frames: measured intensities; anything where not valid.
        valid: True where a pixel was measured.

    Returns:
        Empty frames and borders.
    """
    return from_borders([frame_border(f, v) for f, v in zip(frames, valid, strict=True)])


def _share(borders: list[FrameBorder], value: float) -> float | None:
    """Share of the values that equal a fill value by chance; None where no frame tells."""
    pixels, equal = np.zeros((2, 2))
    for border in borders:
        if border.constant:
            continue
        pixels += border.pixels
        # Another fill value is rare in the middle of its own frames.
        equal += border.equal * (border.value == value)
    return None if not pixels.any() else float(np.max((equal + 1) / (pixels + 2)))
