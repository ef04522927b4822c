"""Sites at the surface of a particle: columns that were found there, and places of the lattice beside them where none was.

Every site is asked the same question: is a column there that adds as much as columns at this surface do? The column asked
for has the median height and width of the surface's columns, not those that were fitted at the site, which the noise of
the same counts has raised.
"""

from typing import NamedTuple

import numpy as np

from phdenoise.modalities.tem.columns import Columns
from phdenoise.modalities.tem.likelihood import Sites
from phdenoise.modalities.tem.surface import spacing
from phdenoise.modalities.tem.tracking import Lattice

# Half the window of a site [widths of a column]: 0.3 % of its height lies beyond.
_REACH = 3.4
# A place of the lattice is empty if no column is nearer than this [share of the distance of neighbours].
_EMPTY = 0.6
# Least expected counts, as a share of the background.
_FLOOR = 0.02


class SurfaceSites(NamedTuple):
    """Sites at the surface.

    Attributes:
        position: [site, 2] [px].
        column: index of the column found there, −1 where there is none [site].
        windows: expected counts of one frame with and without a column, on binned pixels.
    """

    position: np.ndarray
    column: np.ndarray
    windows: Sites


def surface_sites(
    columns: Columns,
    surface: np.ndarray,
    lattice: Lattice | None,
    shape: tuple[int, ...],
    frames: int,
) -> SurfaceSites:
    """Sites with and without a column.

    Args:
        columns: found.
        surface: True for those at the surface.
        lattice: whose empty places beside the surface are sites too.
        shape: of the frame [px].
        frames: that the columns were found in together.

    Returns:
        The sites whose windows lie inside the frame.
    """
    on = np.nonzero(surface)[0]
    position = columns.position[on]
    if lattice is not None:
        position = np.concatenate([position, _empty(columns, surface, lattice)])
    column = np.r_[on, np.full(len(position) - len(on), -1)].astype(int)
    b = columns.binning
    small = (shape[0] // b, shape[1] // b)
    width = float(np.median(columns.width[on] if len(on) else [columns.filter_width])) / b
    height = float(np.median(columns.height[on] if len(on) else [0.0])) * b**2
    reach = int(np.ceil(_REACH * width))
    centre = (position + 0.5) / b - 0.5
    corner = np.round(centre).astype(int) - reach
    inside = ((corner >= 0) & (corner + 2 * reach + 1 <= np.asarray(small))).all(axis=1)
    position, column, centre, corner = (a[inside] for a in (position, column, centre, corner))
    mean = np.maximum(columns.background * b**2, 0) + _image(columns, small)
    span = 2 * reach + 1
    present, absent = np.zeros((2, len(position), span, span))
    for k, (c, at) in enumerate(zip(centre, corner, strict=True)):
        rows, cols = at[0] + np.arange(span), at[1] + np.arange(span)
        here = mean[np.ix_(rows, cols)]
        if column[k] >= 0:
            here = here - _one(columns, int(column[k]), rows, cols)
        floor = _FLOOR * float(columns.background.mean()) * b**2
        absent[k] = np.maximum(here, floor)
        bump = np.exp(-((rows[:, None] - c[0]) ** 2 + (cols - c[1]) ** 2) / (2 * width**2 + 1 / 6))
        present[k] = np.maximum(here + height * bump, floor)
    return SurfaceSites(position, column, Sites(corner, present / frames, absent / frames))


def _empty(columns: Columns, surface: np.ndarray, lattice: Lattice) -> np.ndarray:
    """Places of the lattice beside columns at the surface where no column is."""
    a, b = lattice.vectors
    third = a - b if np.hypot(*(a - b)) < np.hypot(*(a + b)) else a + b
    steps = [s * v for v in (a, b, third) for s in (1, -1) if np.hypot(*v) < 1.3 * np.hypot(*a)]
    starts = columns.position[surface & lattice.member]
    if not len(starts):
        return np.zeros((0, 2))
    apart = _EMPTY * spacing(columns.position)
    kept: list[np.ndarray] = []
    for place in (starts[:, None] + np.asarray(steps)).reshape(-1, 2):
        taken = np.hypot(*(columns.position - place).T).min() < apart
        if not taken and all(np.hypot(*(place - other)) >= apart for other in kept):
            kept.append(place)
    return np.asarray(kept).reshape(-1, 2)


def _one(columns: Columns, k: int, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """Counts of one column on binned pixels."""
    b = columns.binning
    y, x = (columns.position[k] + 0.5) / b - 0.5
    square = 2 * ((columns.width[k] / b) ** 2 + 1 / 12)
    share = (columns.width[k] / b) ** 2 / (square / 2)
    bump = np.exp(-((rows[:, None] - y) ** 2 + (cols - x) ** 2) / square)
    return columns.height[k] * b**2 * share * bump


def _image(columns: Columns, shape: tuple[int, int]) -> np.ndarray:
    """Counts of all columns on binned pixels."""
    out = np.zeros(shape)
    for k in range(len(columns.position)):
        out += _one(columns, k, np.arange(shape[0]), np.arange(shape[1]))
    return out
