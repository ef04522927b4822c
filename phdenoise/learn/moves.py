"""Does anything in a movie move beyond its noise?

The slow changes of pixels and of blocks of pixels over time are compared with the fast ones, whose power is the noise's:

    F = mean |cosine modes 1 ... T/4|² / mean |cosine modes above T/2|²

Where nothing moves F is distributed as Fisher's. No model of the noise is needed; noise that is white in time is assumed, and
noise that lasts counts as motion, of which the misfit tests of the law then judge.
"""

import numpy as np
from scipy import fft, stats

from phdenoise.learn.blocks import in_blocks
from phdenoise.learn.fit_problem import FitProblem
from phdenoise.types import InputError

# Sides of the blocks [px], from what is sharp to what is broad.
SIDES = (1, 2, 4, 8)
# Probability that a movie in which nothing moves is fitted all the same.
FALSE_ALARM = 0.05


class NothingMoves(InputError):
    """Nothing in the movie moves beyond its noise, which tells no laws apart."""


def moves(fit_problem: FitProblem) -> bool:
    """Whether the change over time is more than noise.

    Args:
        fit_problem: the movie as concentration.

    Returns:
        False where it is not.
    """
    valid, frames = fit_problem.valid, fit_problem.observed
    seen = np.maximum(valid.sum(0), 1)
    still = np.sum(np.where(valid, frames, 0.0), axis=0) / seen
    change = np.where(valid, frames - still, 0.0)
    chances = [_chance(change, side) for side in SIDES]
    return min(chances) * len(chances) < FALSE_ALARM


def _chance(change: np.ndarray, side: int) -> float:
    """Probability of slow changes as large in blocks of this side, where there is only noise."""
    t = change.shape[0]
    if min(change.shape[1:]) < side:
        return 1.0
    blocks = in_blocks(change, (side, side)).mean((-3, -1)).reshape(t, -1)
    blocks = blocks[:, np.any(blocks != 0, axis=0)]
    modes = fft.dct(blocks, axis=0, norm="ortho")[1:]
    slow, fast = modes[: max(1, (t - 1) // 4)] ** 2, modes[(t - 1) // 2 :] ** 2
    if not blocks.size or not fast.mean() > 0:
        return 1.0 if not slow.any() else 0.0
    return float(stats.f.sf(slow.mean() / fast.mean(), slow.size, fast.size))
