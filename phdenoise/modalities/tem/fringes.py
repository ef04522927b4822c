"""Spots beside a particle that defocus makes where no atoms are.

The edge of a particle, out of focus, has Fresnel fringes around it, and where they cross they look like columns that
follow the lattice. They are weaker than columns: a column at the surface has a good part of the atoms of its neighbours
inside. So a spot on the outside that is far weaker than the columns within is no column that could be claimed; it may be
a fringe, or a column of a few atoms.
"""

from collections.abc import Callable

import numpy as np
from scipy.spatial import cKDTree

from phdenoise.modalities.tem.columns import Columns

# Height below which a spot outside may be a fringe [height of columns inside it]; on the standard
# particle at 187 e/Å² a frame fringes have at most 0.36 of the median height inside, columns at the surface at least 0.89.
# What it costs on random particles: `benchmarks/tem_fringes.py`.
FRINGE_HEIGHT = 0.45
# Standard deviations by which a spot must be weaker.
_DEVIATIONS = 2.0
# Columns inside that a spot is compared with, how many there must be, and the quantile of their heights that is the usual one: of
# several rings of fringes the inner ones are among them.
_COMPARED, _FEWEST, _USUAL = 12, 3, 0.75


def find_fringes(columns: Columns, surface: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Spots outside that are too weak to be told from fringes, taken away from the outside inwards.

    Args:
        columns: found.
        surface: positions [n, 2] [px] -> True for those at the surface [n].

    Returns:
        True for such spots [column].
    """
    height = np.abs(columns.height)
    doubt = height / np.maximum(columns.score, 1e-9)
    weak = np.zeros(len(height), bool)
    while True:
        kept = np.nonzero(~weak)[0]
        outside = np.zeros(len(height), bool)
        outside[kept] = surface(columns.position[kept])
        inside = np.nonzero(~weak & ~outside)[0]
        if len(inside) < _FEWEST:
            return weak
        count = min(_COMPARED, len(inside))
        at = np.nonzero(outside)[0]
        _, near = cKDTree(columns.position[inside]).query(columns.position[at], k=count)
        usual = np.quantile(height[inside][near.reshape(len(at), count)], _USUAL, axis=1)
        found = height[at] + _DEVIATIONS * doubt[at] < FRINGE_HEIGHT * usual
        if not found.any():
            return weak
        weak[at[found]] = True
