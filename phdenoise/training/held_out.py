"""Pixels that training does not see as targets: the variance is calibrated on them, and training is judged by them."""

import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from phdenoise.denoisers import PIXEL, UDVD, BlindRegion, Design
from phdenoise.denoisers.masking import grid
from phdenoise.training.objectives import JUDGED_PHASE

# Share of pixels kept from the loss, to calibrate the variance on.
_HELD_OUT = 0.05
# Held-out pixels from which on coverage is counted on them alone.
JUDGEABLE = 500
# Side of held-out blocks where noise correlates [px]; half of it in frames of less than SMALL.
BLOCK, SMALL = 16, 64


def held_out(
    shape: tuple[int, ...],
    seed: int,
    region: BlindRegion,
    design: Design | None = None,
    frames: slice | None = None,
) -> np.ndarray:
    """The pixels that training does not see as targets [t, y, x], of all or of some frames.

    Single pixels, or blocks where noise correlates: a pixel's noise would be known from its neighbours. A grid for
    masked networks, which predict one in each pass.
    """
    if design is not None and design.network == "n2v":
        centres, _ = grid((shape[1], shape[2]), region, jnp.asarray(JUDGED_PHASE))
        return np.broadcast_to(np.asarray(centres), shape).copy()
    t, ny, nx = shape
    side = 1 if region in (PIXEL, UDVD) else BLOCK if min(ny, nx) >= SMALL else BLOCK // 2
    wanted = range(t)[frames or slice(None)]
    cells = (len(wanted), -(-ny // side), -(-nx // side))
    # One draw of the generator a cell: those of earlier frames are skipped.
    bits = np.random.PCG64([seed, 5]).advance(wanted.start * cells[1] * cells[2])
    chosen = np.random.Generator(bits).random(cells) < _HELD_OUT
    return chosen.repeat(side, axis=1).repeat(side, axis=2)[:, :ny, :nx]


def interior(test: np.ndarray, region: BlindRegion, reach: tuple[int, int]) -> np.ndarray:
    """The held-out pixels whose noise no learned pixel shares, or those that share the least [t, y, x].

    A network that learns its targets' noise by heart looks better at the rim of a block than it is.
    """
    if region in (PIXEL, UDVD):
        return test
    for less in range(max(reach) + 1):
        near = np.ones((1, *(2 * max(r - less, 0) + 1 for r in reach)), bool)
        inner: np.ndarray = ndimage.binary_erosion(test, near, border_value=1)
        if inner.any():
            return inner
    return test
