"""Arrays in blocks, for sums and means over them."""

from typing import Any

import numpy as np
from jaxtyping import Shaped


def in_blocks(
    values: Shaped[np.ndarray, "..."], size: tuple[int, ...]
) -> Shaped[np.ndarray, "..."]:
    """The last axes in blocks: each axis becomes two, its blocks and the values of a block.

    Args:
        values: [..., *axes].
        size: values along each of the last axes of a block; what does not fill a block at the end of an axis is left out.

    Returns:
        Values [..., blocks, size, blocks, size, ...].
    """
    first = values.ndim - len(size)
    counts = [n // b for n, b in zip(values.shape[first:], size, strict=True)]
    where: tuple[Any, ...] = (..., *(slice(n * b) for n, b in zip(counts, size, strict=True)))
    parts = [n for pair in zip(counts, size, strict=True) for n in pair]
    return values[where].reshape(*values.shape[:first], *parts)


def binned(frames: Shaped[np.ndarray, "*t y x"], factor: int) -> Shaped[np.ndarray, "*t cy cx"]:
    """Means of factor × factor pixels; rows and columns that do not fill a bin are left out.

    Args:
        frames: [..., y, x].
        factor: pixels along the side of a bin.

    Returns:
        Means [..., y/factor, x/factor]; the frames themselves for a factor of 1.
    """
    return frames if factor == 1 else in_blocks(frames, (factor, factor)).mean((-3, -1))
