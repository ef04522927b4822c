"""Surface of a particle as its outermost atomic columns, and how well a set of columns agrees with another.

    alpha shape: the Delaunay triangles whose circumscribed circle is smaller than α; its border is the surface
    precision = TP/(TP + FP),  recall = TP/(TP + FN),  F1 = 2 TP/(2 TP + FP + FN),  Jaccard = TP/(TP + FP + FN)

Alpha shape: Edelsbrunner, Kirkpatrick and Seidel, IEEE Trans. Inf. Theory 29, 551 (1983), doi:10.1109/TIT.1983.1056714.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment
from scipy.spatial import Delaunay, QhullError, cKDTree

# Radius of the shape over the distance of neighbours: triangles of a close-packed lattice have 0.58, of a square one 0.71,
# those across a missing column 1 and more.
ALPHA = 0.95
# Distance from the edge of the frame within which a column's neighbours may lie outside of it [spacings]: the larger distance of
# neighbours in a square lattice.
CUT_OFF = 1.5


class Agreement(NamedTuple):
    """Columns found against columns that are there.

    Attributes:
        true, false, missed: their numbers.
        pairs: index of the found and of the true column of each match [match, 2].
    """

    true: int
    false: int
    missed: int
    pairs: Int[np.ndarray, "match 2"]

    @property
    def precision(self) -> float:
        """Share of the found columns that are there."""
        return _ratio(self.true, self.true + self.false)

    @property
    def recall(self) -> float:
        """Share of the columns that are found."""
        return _ratio(self.true, self.true + self.missed)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return _ratio(2 * self.true, 2 * self.true + self.false + self.missed)

    @property
    def jaccard(self) -> float:
        """Intersection over union."""
        return _ratio(self.true, self.true + self.false + self.missed)


def agreement(
    found: Float[np.ndarray, "n 2"], truth: Float[np.ndarray, "m 2"], within: float
) -> Agreement:
    """Match columns one to one, the largest number of pairs first and then the smallest distances.

    Args:
        found, truth: positions [px].
        within: largest distance of a match [px].

    Returns:
        Counts and pairs.
    """
    if not (len(found) and len(truth)):
        return Agreement(0, len(found), len(truth), np.zeros((0, 2), int))
    distance = np.hypot(*(found[:, None] - truth[None]).transpose(2, 0, 1))
    # A pair too far apart costs more than all that are near together.
    cost = np.where(distance <= within, distance, within * (1 + min(len(found), len(truth))))
    i, j = linear_sum_assignment(cost)
    good = distance[i, j] <= within
    number = int(good.sum())
    pairs = np.stack([i[good], j[good]], axis=1)
    return Agreement(number, len(found) - number, len(truth) - number, pairs)


def spacing(position: Float[np.ndarray, "n 2"]) -> float:
    """Median distance to the nearest neighbour.

    Args:
        position: of columns [px].

    Returns:
        The distance [px]; NaN for fewer than two columns.
    """
    if len(position) < 2:
        return float("nan")
    return float(np.median(cKDTree(position).query(position, k=2)[0][:, 1]))


def surface_columns(
    position: Float[np.ndarray, "n 2"],
    *,
    alpha: float | None = None,
    shape: tuple[int, ...] | None = None,
) -> Bool[np.ndarray, " n"]:
    """Columns on the border of the alpha shape of all, single columns and rows included.

    Args:
        position: y, x of the columns [px].
        alpha: largest radius of a triangle's circle [px]; by default `ALPHA` times the larger distances of neighbours.
        shape: of the frame; columns nearer to its edge than their neighbours are cut off by it, and are no surface.

    Returns:
        True for columns at the surface.
    """
    number = len(position)
    surface = np.ones(number, bool)
    if number >= 4:
        if alpha is None:
            near = cKDTree(position).query(position, k=2)[0][:, 1]
            alpha = ALPHA * float(np.quantile(near, 0.9))
        surface = _border(position, alpha)
    if shape is not None and number >= 2:
        margin = CUT_OFF * spacing(position)
        edge = np.minimum(position, np.asarray(shape[-2:]) - 1 - position).min(axis=1)
        surface &= edge > margin
    return surface


def _border(position: np.ndarray, alpha: float) -> np.ndarray:
    try:
        triangles = Delaunay(position).simplices
    except QhullError:  # all in a row
        return np.ones(len(position), bool)
    corner = position[triangles]
    a, b, c = (np.hypot(*(corner[:, i] - corner[:, j]).T) for i, j in ((1, 2), (0, 2), (0, 1)))
    u, v = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    area = np.abs(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]) / 2
    inside = triangles[a * b * c < 4 * alpha * np.maximum(area, 1e-12)]
    edges = np.sort(np.concatenate([inside[:, [0, 1]], inside[:, [1, 2]], inside[:, [0, 2]]]))
    edge, count = np.unique(edges, axis=0, return_counts=True)
    surface = np.ones(len(position), bool)
    # Columns inside belong to triangles, and to no edge that has a triangle on one side only.
    surface[np.unique(inside)] = False
    surface[np.unique(edge[count == 1])] = True
    return surface


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
