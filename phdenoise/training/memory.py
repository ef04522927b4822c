"""How much memory a movie may take, and what of it fits: one block at a time, and a part to learn from.

Sizes were fitted to a few runs on a CPU and rounded up: a bound to plan with, which tests/test_streaming.py checks at one
size. The peak may pass it by some percent on larger frames.
"""

import os
import re
from pathlib import Path

import numpy as np

from phdenoise.denoisers import BlindRegion
from phdenoise.denoisers.chunks import HALO
from phdenoise.denoisers.context import REACH
from phdenoise.denoisers.predict import (
    AT_ONCE,
    BLIND,
    TILE,
    activations,
    margin,
    padded_side,
)
from phdenoise.types import InputError

_UNITS = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
# Bytes a pixel: of a movie that is learned (noise, training, calibration), of a block's surroundings, of its
# prediction, of maps of the whole frame.
LEARNED, READ, PREDICTED, MAPS = 330, 32, 130, 64
# Share of what is left that may be planned with: freed memory is not always given back.
ROOM = 0.8
# The program itself: libraries, compiled steps, one training step, normal equations.
PROGRAM = 1.65e9
# Frames of a stretch to learn from, number of stretches, least side of their window [px].
STRETCH, STRETCHES, SMALLEST = 64, 4, 48


def parse_memory(text: str | None) -> float:
    """Bytes that a text such as 500MB or 2GB means; None is half of what is free.

    Raises:
        InputError: no such size.
    """
    if text is None:
        # A tiny movie is never refused.
        return max(available() / 2, 1.25 * PROGRAM)
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([KMGT]?)i?B?\s*", text, re.IGNORECASE)
    if found is None or float(found[1]) == 0:
        raise InputError(f"--memory must be a size such as 500MB or 2GB, got '{text}'.")
    return float(found[1]) * _UNITS[found[2].upper()]


def available() -> float:
    """Free memory of this machine or container [bytes]."""
    sizes = [float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))]
    table = Path("/proc/meminfo")
    if table.exists():
        found = re.search(r"MemAvailable:\s+(\d+) kB", table.read_text())
        sizes += [1024.0 * int(found[1])] if found else []
    group = Path("/sys/fs/cgroup")
    limit, used = group / "memory.max", group / "memory.current"
    if limit.exists() and used.exists() and limit.read_text().strip().isdigit():
        sizes.append(max(float(limit.read_text()) - float(used.read_text()), 0.0))
    return min(sizes)


def whole_fits(shape: tuple[int, ...], memory: float) -> bool:
    """Whether a movie [t, y, x] can be denoised in one go."""
    t, ny, nx = shape
    return LEARNED * t * ny * nx + PROGRAM <= memory


def pieces(shape: tuple[int, int, int], memory: float) -> tuple[tuple[slice, slice, slice], ...]:
    """Evenly spread parts (frames, rows, columns) of equal size, as large as memory allows, to learn from."""
    return _pieces(shape, int(_free(shape, memory) / LEARNED))


def block_size(
    shape: tuple[int, int, int], memory: float, region: BlindRegion, width: int
) -> tuple[int, int, float]:
    """Frames and side [px] of the largest blocks that fit, and what the network may take of it [bytes].

    Args:
        shape: of the movie [t, y, x].
        memory: limit [bytes].
        region: that the network hides.
        width: channels of the network.

    Raises:
        InputError: not even the smallest would fit; the message says what would.
    """
    t, ny, nx = shape
    free = _free(shape, memory)
    active = activations(region, width)
    least = -(-(2 * margin(region) + 32) // BLIND.stride) * BLIND.stride
    for side in sorted(
        {least, *(s for s in (128, 192, 256, 384, TILE) if s > least)}, reverse=True
    ):
        tall, wide = padded_side((min(side, ny), min(side, nx)), region.everywhen)
        around = min(tall + 2 * HALO, ny) * min(wide + 2 * HALO, nx)
        each = READ * around + PREDICTED * tall * wide
        once = READ * 2 * REACH[-1] * around + active * tall * wide
        frames = int((free - once) // each)
        # Surroundings cost more in space than in time.
        if frames >= min(6, t):
            break
    smallest = max(LEARNED * STRETCHES * 2 * REACH[-1] * SMALLEST**2, once + each)
    if free < smallest:
        raise InputError(
            f"--memory {memory / 1e6:.0f}MB is too small for frames of {ny} x {nx} pixels: give at least "
            f"{np.ceil((memory + (smallest - free) / ROOM) / 10e6) * 10:.0f}MB."
        )
    frames = min(frames, t, 64)
    left = free - once - frames * each
    return frames, side, min(AT_ONCE, active * tall * wide + left)


def _free(shape: tuple[int, int, int], memory: float) -> float:
    """What is left beside maps of the whole frame."""
    return ROOM * (memory - PROGRAM - MAPS * shape[1] * shape[2])


def _pieces(shape: tuple[int, int, int], pixels: int) -> tuple[tuple[slice, slice, slice], ...]:
    """Evenly spread windows of equal size with so many pixels in all."""
    t, ny, nx = shape
    each = pixels // STRETCHES
    frames = min(t, STRETCH)
    while frames > 2 * REACH[-1] and frames * SMALLEST**2 > each:
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
