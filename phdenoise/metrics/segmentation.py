"""Scores of outlines and classes: intersection over union of particles, accuracy and F1 of phases.

IoU = |A ∩ B| / |A ∪ B|,   F1_k = 2 TP_k / (2 TP_k + FP_k + FN_k)
"""

import numpy as np
from jaxtyping import Bool, Int
from scipy.optimize import linear_sum_assignment


def particle_iou(found: Int[np.ndarray, "y x"], truth: Int[np.ndarray, "y x"]) -> np.ndarray:
    """IoU of every true particle with the found one that it is paired with.

    Pairs are the assignment of largest total IoU, so a found particle is used once.

    Args:
        found, truth: number of the particle at each pixel, 0 for none.

    Returns:
        IoU of each true particle in the order of their numbers, 0 where it has no pair [particle].
    """
    names, others = np.unique(truth[truth > 0]), np.unique(found[found > 0])
    table = np.zeros((names.size, others.size))
    for i, a in enumerate(names):
        for j, b in enumerate(others):
            one, two = truth == a, found == b
            table[i, j] = (one & two).sum() / (one | two).sum()
    out = np.zeros(names.size)
    rows, columns = linear_sum_assignment(-table)
    out[rows] = table[rows, columns]
    return out


def accuracy(
    found: Int[np.ndarray, "..."], truth: Int[np.ndarray, "..."], where: Bool[np.ndarray, "..."]
) -> float:
    """Share of the pixels with the right class.

    Args:
        found, truth: class of each pixel.
        where: pixels that count.

    Returns:
        The share, 0 to 1.
    """
    return float(np.mean((found == truth)[where]))


def f1_scores(
    found: Int[np.ndarray, "..."],
    truth: Int[np.ndarray, "..."],
    where: Bool[np.ndarray, "..."],
    classes: int,
) -> np.ndarray:
    """F1 of each class.

    Args:
        found, truth: class of each pixel, 0 .. classes − 1.
        where: pixels that count.
        classes: their number.

    Returns:
        F1 [class]; NaN for a class that neither has.
    """
    out = np.full(classes, np.nan)
    for k in range(classes):
        one, two = (found == k) & where, (truth == k) & where
        total = one.sum() + two.sum()
        if total:
            out[k] = 2 * (one & two).sum() / total
    return out
