"""How much memory a movie may take, and which part of it fits: blocks to predict, and stretches to learn from.

Sizes were fitted to a few runs on a CPU and rounded up. tests/denoising/test_files.py checks the bound at one size; on larger
frames the peak may exceed it by some percent.
"""

import re

import numpy as np

from phdenoise.denoising.blocks import HALO
from phdenoise.io.limits import available
from phdenoise.networks.architecture import Architecture
from phdenoise.networks.context import REACH, BlindRegion
from phdenoise.networks.predict import AT_ONCE, TILE
from phdenoise.types import InputError

_UNITS = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
# Memory of a movie that is learned from (noise, training, calibration), of a block's surroundings, of its prediction, and of
# maps of the whole frame [bytes/px]; measured, as said above.
LEARNED_BYTES, READ_BYTES, PREDICTED_BYTES, MAP_BYTES = 330, 32, 130, 64
# Share of free memory that is planned with: freed memory is not always given back to the system.
PLANNED_SHARE = 0.8
# Memory of the program itself: libraries, compiled steps, one training step, normal equations [bytes]; measured.
PROGRAM_BYTES = 1.65e9
# Stretches to learn from: frames of each (twice the frames that a prediction depends on), their number, and the least side of
# their window [px] (three training crops of the smallest size).
STRETCH_FRAMES, STRETCHES, SMALLEST_SIDE = 64, 4, 48
# Sides of blocks that are considered [px]; the largest is a tile of the network.
_SIDES = (128, 192, 256, 384, TILE)
# Frames of a block: at least, since surroundings in space cost more than in time, and at most.
_LEAST_FRAMES, _MOST_FRAMES = 6, 64


def parse_memory(text: str | None) -> float:
    """Bytes that a text such as 500MB or 2GB means; None is half of the free memory.

    Raises:
        InputError: no such size.
    """
    if text is None:
        # A tiny movie is never refused.
        return max(available() / 2, 1.25 * PROGRAM_BYTES)
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([KMGT]?)i?B?\s*", text, re.IGNORECASE)
    if found is None or float(found[1]) == 0:
        raise InputError(f"--memory must be a size such as 500MB or 2GB, got '{text}'.")
    return float(found[1]) * _UNITS[found[2].upper()]


def whole_fits(shape: tuple[int, ...], memory: float) -> bool:
    """Whether a movie can be learned from and predicted as one block.

    Args:
        shape: of the movie [t, y, x].
        memory: limit [bytes].

    Returns:
        True if it fits.
    """
    t, ny, nx = shape
    return LEARNED_BYTES * t * ny * nx + PROGRAM_BYTES <= memory


def pieces(shape: tuple[int, int, int], memory: float) -> tuple[tuple[slice, slice, slice], ...]:
    """Evenly spread stretches of equal size, as large as memory allows, to learn from.

    Args:
        shape: of the movie [t, y, x].
        memory: limit [bytes].

    Returns:
        Frames, rows and columns of each.
    """
    return _pieces(shape, int(_free(shape, memory) / LEARNED_BYTES))


def block_size(
    shape: tuple[int, int, int],
    memory: float,
    region: BlindRegion,
    width: int,
    architecture: Architecture,
) -> tuple[int, int, float]:
    """The largest blocks that fit.

    Args:
        shape: of the movie [t, y, x].
        memory: limit [bytes].
        region: that the network hides.
        width: channels of the network.
        architecture: kind of network.

    Returns:
        Frames and side [px] of a block, and memory for the network's activations [bytes].

    Raises:
        InputError: not even the smallest would fit; the message says what would.
    """
    t, ny, nx = shape
    free = _free(shape, memory)
    active = architecture.memory_per_pixel(region, float(width))
    stride = architecture.stride
    least = -(-(2 * architecture.margin(region) + 32) // stride) * stride
    for side in sorted({least, *(s for s in _SIDES if s > least)}, reverse=True):
        tall, wide = architecture.padded_shape((min(side, ny), min(side, nx)))
        around = min(tall + 2 * HALO, ny) * min(wide + 2 * HALO, nx)
        each = READ_BYTES * around + PREDICTED_BYTES * tall * wide
        once = READ_BYTES * 2 * REACH[-1] * around + active * tall * wide
        frames = int((free - once) // each)
        if frames >= min(_LEAST_FRAMES, t):
            break
    smallest = max(LEARNED_BYTES * STRETCHES * 2 * REACH[-1] * SMALLEST_SIDE**2, once + each)
    if free < smallest:
        raise InputError(
            f"--memory {memory / 1e6:.0f}MB is too small for frames of {ny} x {nx} pixels: give at least "
            f"{np.ceil((memory + (smallest - free) / PLANNED_SHARE) / 10e6) * 10:.0f}MB."
        )
    frames = min(frames, t, _MOST_FRAMES)
    left = free - once - frames * each
    return frames, side, min(AT_ONCE, active * tall * wide + left)


def _free(shape: tuple[int, int, int], memory: float) -> float:
    """Memory beside the program and maps of the whole frame [bytes]."""
    return PLANNED_SHARE * (memory - PROGRAM_BYTES - MAP_BYTES * shape[1] * shape[2])


def _pieces(shape: tuple[int, int, int], pixels: int) -> tuple[tuple[slice, slice, slice], ...]:
    """Evenly spread windows of equal size with so many pixels in all."""
    t, ny, nx = shape
    each = pixels // STRETCHES
    frames = min(t, STRETCH_FRAMES)
    while frames > 2 * REACH[-1] and frames * SMALLEST_SIDE**2 > each:
        frames -= 1
    side = int((each / frames) ** 0.5)
    height = min(ny, side)
    width = min(nx, each // (frames * height))
    height = min(ny, each // (frames * width))
    if (height, width) == (ny, nx):
        frames = max(frames, min(t // STRETCHES, each // (ny * nx)))
    out = []
    # In time from the first to the last frame, in space in all four quarters.
    for k, (y, x) in enumerate(((0.25, 0.25), (0.75, 0.75), (0.25, 0.75), (0.75, 0.25))):
        first = round((t - frames) * k / (STRETCHES - 1))
        top, left = (int(f * (n - m)) for f, n, m in ((y, ny, height), (x, nx, width)))
        piece = (
            slice(first, first + frames),
            slice(top, top + height),
            slice(left, left + width),
        )
        if piece not in out:
            out.append(piece)
    return tuple(out)
