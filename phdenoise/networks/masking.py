"""Masks of Noise2Void and StructN2V: a grid of pixels hidden, with a rectangle around each, behind their neighbours' values.

    ỹ_q = y_{p + e},   q in the rectangle around the grid's centre p,   e outside the rectangle

The grid is wider than the rectangle, so that what replaces a hidden pixel is never itself hidden, by any rectangle: the
value of p, and of all its rectangle, is exactly absent from ỹ. Training draws the grid's phase and every e at random;
prediction goes through all phases. Krull et al., CVPR 2019, arXiv:1811.10980; Broaddus et al., ISBI 2020,
doi:10.1109/ISBI45749.2020.9098336; grids: Batson and Royer, ICML 2019, arXiv:1901.11365.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from phdenoise.networks.context import BlindRegion

# The grid's period is a multiple of this, the smallest stride, so that tiles of a frame have the same grids as the whole [px].
_STEP = 4
# Visible pixels between rectangles, at least [px]: one on each side of a rectangle, and one more to choose from.
_BETWEEN = 3
# Phase (row, column) of the grid that held-out pixels lie on; any one serves, and training is never scored there.
JUDGED_PHASE = (1, 2)


def period(region: BlindRegion) -> tuple[int, int]:
    """Rows and columns from one hidden pixel to the next [px]."""
    rows, columns = (-(-(n + _BETWEEN) // _STEP) * _STEP for n in (region.rows, region.columns))
    return rows, columns


def grid(
    shape: tuple[int, int], region: BlindRegion, phase: Int[Array, "2"]
) -> tuple[Bool[Array, "y x"], Bool[Array, "y x"]]:
    """Where the grid's centres are, and where its rectangles are.

    Args:
        shape: of the frame [px].
        region: rectangle around each hidden pixel.
        phase: row and column of the grid's first centre, below `period`.

    Returns:
        Masks of the centres and of the rectangles.
    """
    dy, dx = _from_centre(shape, region, phase)
    centres = (dy == 0)[:, None] & (dx == 0)[None]
    hidden = (abs(dy) <= region.rows // 2)[:, None] & (abs(dx) <= region.columns // 2)[None]
    return centres, hidden


def replaced(
    image: Float[Array, "n y x"],
    region: BlindRegion,
    phase: Int[Array, "2"],
    choice: Int[Array, "n y x"],
) -> Float[Array, "n y x"]:
    """The image with all rectangles of the grid replaced from around them.

    Args:
        image: scaled frames.
        region: rectangle around each hidden pixel.
        phase: row and column of the grid's first centre, below `period`.
        choice: which of the visible pixels of a period replaces each pixel; any integer not negative.

    Returns:
        Frames that hold no value of a hidden pixel.
    """
    n, height, width = image.shape
    dy, dx = _from_centre((height, width), region, phase)
    _, hidden = grid((height, width), region, phase)
    around = jnp.asarray(_around(region))
    step = around[choice % len(around)]
    # Centre of the rectangle, and a visible pixel around it; on the opposite side where the frame ends.
    y, x = (jnp.arange(height) - dy)[:, None], (jnp.arange(width) - dx)[None]
    rows, inside_y = _mirrored(y[None], step[..., 0], height)
    columns, inside_x = _mirrored(x[None], step[..., 1], width)
    values = image[jnp.arange(n)[:, None, None], rows, columns]
    # Beyond a corner there may be nothing: then the movie's mean, which is zero here.
    return jnp.where(hidden[None], jnp.where(inside_y & inside_x, values, 0), image)


def choices_random(key: PRNGKeyArray, shape: tuple[int, ...]) -> Int[Array, "n y x"]:
    """Choices for training, drawn at random.

    Args:
        key: of the draw.
        shape: of the frames.

    Returns:
        Integers for `replaced`.
    """
    return jax.random.randint(key, shape, 0, np.iinfo(np.int32).max)


def choices_fixed(
    shape: tuple[int, ...], region: BlindRegion, phase: Int[Array, "2"]
) -> Int[Array, "n y x"]:
    """Choices for prediction: the same wherever the frame was cut, another for each pixel and phase.

    Args:
        shape: of the frames.
        region, phase: see `grid`.

    Returns:
        Integers for `replaced`.
    """
    dy, dx = _from_centre((shape[1], shape[2]), region, phase)
    # Odd numbers without a common factor mix rows, columns and phases.
    mixed = 7 * (phase[0] + dy)[:, None] ** 2 + 13 * (phase[1] + dx)[None] ** 2
    return jnp.broadcast_to(mixed + 3 * phase[0] + 5 * phase[1], shape)


def _from_centre(
    shape: tuple[int, int], region: BlindRegion, phase: Array
) -> tuple[Int[Array, " y"], Int[Array, " x"]]:
    """Rows and columns from the nearest centre of the grid."""
    out = []
    for size, p, first in zip(shape, period(region), phase, strict=True):
        out.append((jnp.arange(size) - first + p // 2) % p - p // 2)
    return out[0], out[1]


def _around(region: BlindRegion) -> np.ndarray:
    """Steps (rows, columns) from a centre to the visible pixels of its period, nearest first."""
    py, px = period(region)
    y, x = np.meshgrid(range(1 - py // 2, py // 2), range(1 - px // 2, px // 2), indexing="ij")
    visible = (abs(y) > region.rows // 2) | (abs(x) > region.columns // 2)
    steps = np.stack([y[visible], x[visible]], axis=-1)
    return steps[np.argsort((steps**2).sum(1), kind="stable")]


def _mirrored(centre: Array, step: Array, size: int) -> tuple[Array, Array]:
    """Pixel at a step from the centre, or at its opposite, and whether either lies inside."""
    there, opposite = centre + step, centre - step
    inside = (there >= 0) & (there < size)
    at = jnp.where(inside, there, opposite)
    return jnp.clip(at, 0, size - 1), (at >= 0) & (at < size)
