"""The domain of a movie's law: which cells move by the law, and which pixels were merely not measured.

    inside = movie.mask, else the pixels that are measured in some frame and the few that a detector lost

No flux crosses the rim of the domain. A domain of several parts is that of several particles: they share the law,
and nothing passes between them.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool
from scipy import ndimage

from phdenoise.learn.blocks import binned
from phdenoise.movie import Movie
from phdenoise.types import InputError

# A hole of at most so many pixels, and a strip at most so many pixels wide, are defects of a detector: a cluster of 3 x 3 hot
# pixels, a double row. Larger ones are places without sample.
DEFECT_PIXELS, DEFECT_WIDTH = 9, 2
# Fewest cells of a domain: a law moves neighbours.
FEWEST_CELLS = 9


class Domain(NamedTuple):
    """Where a law holds.

    Attributes:
        pixels: True inside [y, x]; None for the whole frame.
        sentence: what was taken for the domain, for the report; empty for a whole frame that is measured everywhere.
    """

    pixels: Bool[np.ndarray, "y x"] | None
    sentence: str

    def binned(self, factor: int) -> Bool[np.ndarray, "y x"] | None:
        """The cells of a binned grid that belong to the domain: most of their pixels do.

        Cells of different parts never touch: of two that would, the one with fewer pixels is left out.

        Args:
            factor: pixels along the side of a cell.

        Returns:
            True inside; None for the whole frame.
        """
        if self.pixels is None or factor == 1:
            return self.pixels
        part, count = ndimage.label(self.pixels)
        shares = np.stack([binned(part == n, factor) for n in range(1, count + 1)])
        inside = binned(self.pixels, factor) > 0.5
        own, weight = shares.argmax(axis=0), shares.max(axis=0)
        for axis in (0, 1):
            low, high = (_ends(axis, side) for side in (0, 1))
            touch = inside[low] & inside[high] & (own[low] != own[high])
            inside[low] &= ~(touch & (weight[low] <= weight[high]))
            inside[high] &= ~(touch & (weight[low] > weight[high]))
        return inside


def find_domain(movie: Movie, measured: Bool[np.ndarray, "t y x"]) -> Domain:
    """The domain of a movie.

    Args:
        movie: its mask, if it has one, is taken as it is.
        measured: True where a value was measured [t, y, x].

    Returns:
        The domain.

    Raises:
        InputError: hardly a pixel belongs to it.
    """
    seen = np.asarray(measured.any(axis=0))
    if movie.mask is not None:
        inside = movie.mask if movie.mask.ndim == 2 else movie.mask.any(axis=0)
        where, inside = "the movie's mask", np.asarray(inside, bool)
    else:
        inside, where = ~_outside(~seen), "the pixels that were measured"
    lost = int(np.sum(inside & ~seen))
    if inside.sum() < FEWEST_CELLS:
        raise InputError(
            f"{movie.name}: {int(inside.sum())} pixels were measured: a law needs at least {FEWEST_CELLS}."
        )
    missing = f" {lost} pixel(s) inside were never measured and have no weight." if lost else ""
    if inside.all():
        return Domain(None, missing.strip())
    parts = ndimage.label(inside)[1]
    several = f" in {parts} parts that do not touch" if parts > 1 else ""
    return Domain(
        inside,
        f"The law holds inside {where}, {100 * inside.mean():.3g} % of the frame{several}; "
        f"nothing flows through the rim.{missing}",
    )


def _outside(missing: Bool[np.ndarray, "y x"]) -> Bool[np.ndarray, "y x"]:
    """Pixels without sample: the missing ones but for small holes, narrow strips, and single lines of the detector."""
    lines = [_lines(missing, axis) for axis in (0, 1)]
    rest = missing & ~lines[0] & ~lines[1]
    labels, _ = ndimage.label(rest, np.ones((3, 3)))
    outside: np.ndarray = np.zeros(missing.shape, bool)
    for n, box in enumerate(ndimage.find_objects(labels), start=1):
        here = labels[box] == n
        enclosed = all(
            side.start > 0 and side.stop < size
            for side, size in zip(box, missing.shape, strict=True)
        )
        narrow = enclosed and min(here.shape) <= DEFECT_WIDTH
        outside[box] |= here & (not (narrow or here.sum() <= DEFECT_PIXELS))
    for axis, line in enumerate(lines):
        # A line goes on through the sample and beside it.
        beside = np.roll(outside, 1, axis) & np.roll(outside, -1, axis)
        outside |= line & beside
    return outside


def _lines(missing: Bool[np.ndarray, "y x"], axis: int) -> Bool[np.ndarray, "y x"]:
    """Whole rows (axis 0) or columns that are missing alone: the lines on either side are measured somewhere."""
    whole = np.asarray(missing.all(axis=1 - axis))
    alone = np.zeros(whole.size, bool)
    alone[1:-1] = whole[1:-1] & ~whole[:-2] & ~whole[2:]
    return missing & np.expand_dims(alone, 1 - axis)


def _ends(axis: int, side: int) -> tuple[slice, slice]:
    """All cells but the last (side 0) or the first (side 1) along an axis."""
    part = slice(side, None if side else -1)
    return (part, slice(None)) if axis == 0 else (slice(None), part)
