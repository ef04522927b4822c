"""Pixels that are no targets of the training: the variance is calibrated on them, and training is judged by them."""

import numpy as np
from scipy import ndimage

from phdenoise.networks.architecture import Architecture
from phdenoise.networks.context import BlindRegion

# Share of pixels kept from the loss, to calibrate the variance on; the rest is learned.
HELD_OUT_SHARE = 0.05
# Held-out pixels from which on coverage is counted on them alone: its standard error at 90 % is then 1.3 %.
JUDGEABLE = 500
# Side of held-out blocks where noise correlates [px]; half of it in frames whose shorter side is less than SMALL_FRAME.
BLOCK, SMALL_FRAME = 16, 64


def held_out(
    shape: tuple[int, ...],
    seed: int,
    region: BlindRegion,
    architecture: Architecture | None = None,
    frames: slice | None = None,
) -> np.ndarray:
    """The pixels that are no targets of the training, of all or of some frames.

    Single pixels, or blocks where noise correlates: a pixel's noise would be known from its neighbours. Where the architecture
    predicts only some pixels in a pass, those.

    Args:
        shape: of the movie [t, y, x].
        seed: of the draw.
        region: that the network hides.
        architecture: of the network; None for one that predicts every pixel in a pass.
        frames: wanted ones; default all.

    Returns:
        Boolean array of those frames.
    """
    scored = (
        None if architecture is None else architecture.scored_pixels((shape[1], shape[2]), region)
    )
    if scored is not None:
        count = len(range(shape[0])[frames or slice(None)])
        return np.broadcast_to(scored, (count, *shape[1:])).copy()
    t, ny, nx = shape
    side = 1 if region.single_pixel else BLOCK if min(ny, nx) >= SMALL_FRAME else BLOCK // 2
    wanted = range(t)[frames or slice(None)]
    cells = (len(wanted), -(-ny // side), -(-nx // side))
    # One draw of the generator a cell: those of earlier frames are skipped.
    bits = np.random.PCG64([seed, 5]).advance(wanted.start * cells[1] * cells[2])
    chosen = np.random.Generator(bits).random(cells) < HELD_OUT_SHARE
    return chosen.repeat(side, axis=1).repeat(side, axis=2)[:, :ny, :nx]


def interior(test: np.ndarray, region: BlindRegion, reach: tuple[int, int]) -> np.ndarray:
    """The held-out pixels whose noise no learned pixel shares, or those that share the least.

    At the rim of a block, a network that has fitted the noise of its targets looks better than it is.

    Args:
        test: held-out pixels [t, y, x].
        region: that the network hides.
        reach: farthest lags (y, x) at which the noise correlates [px].

    Returns:
        Boolean array [t, y, x].
    """
    if region.single_pixel:
        return test
    for less in range(max(reach) + 1):
        near = np.ones((1, *(2 * max(r - less, 0) + 1 for r in reach)), bool)
        inner: np.ndarray = ndimage.binary_erosion(test, near, border_value=1)
        if inner.any():
            return inner
    return test
