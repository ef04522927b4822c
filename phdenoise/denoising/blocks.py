"""Prediction of a movie in blocks, a stretch of frames in a tile of space, each read with its surroundings.

A prediction depends on frames at most `REACH` away and on pixels at most `margin` away; the linear prediction and the
filling of gaps depend on `HALO` more pixels. Blocks read that much more than they keep, so that the prediction does not depend
on the choice of blocks.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from phdenoise.denoising.source import Read
from phdenoise.networks.architecture import Architecture
from phdenoise.networks.base import Denoiser
from phdenoise.networks.context import REACH, BlindRegion, MovieArrays, Window
from phdenoise.networks.linear_filter import (
    BLUR_RADIUS,
    Fit,
    Normal,
    fitted_window,
    normal_equations,
    solve,
)
from phdenoise.networks.predict import (
    AT_ONCE,
    FILL_RADIUS,
    Tile,
    assemble,
    predict_tile,
    scale,
    tiles,
)
from phdenoise.types import Moments
from phdenoise.uncertainty.predictive_variance import PredictiveVariance

# Pixels around a block that its linear predictions and filled gaps depend on.
HALO = BLUR_RADIUS + FILL_RADIUS


class FittedDenoiser(NamedTuple):
    """A denoiser with what its input of every frame of a movie needs.

    Attributes:
        denoiser: its scale and region are used.
        shape: of the movie [t, y, x].
        weights: of the context.
        coefficients: of the linear predictions; None for a region hidden in every frame.
        absent: frames of the movie without any measured pixel; None: not known.
    """

    denoiser: Denoiser
    shape: tuple[int, int, int]
    weights: Float[np.ndarray, "t k r"]
    coefficients: Float[np.ndarray, "m t f"] | None
    absent: Bool[np.ndarray, " t"] | None = None


class Block(NamedTuple):
    """Frames that are prepared together, those whose prediction is kept, and the tile."""

    frames: slice
    kept: slice
    tile: Tile


def blocks(
    shape: tuple[int, int, int],
    region: BlindRegion,
    architecture: Architecture,
    *,
    frames: int,
    side: int,
) -> list[Block]:
    """Blocks of one size whose kept parts make the movie [t, y, x].

    Args:
        shape: of the movie.
        region: that the network hides.
        architecture: kind of network.
        frames: in a block, at most.
        side: of a tile, at most [px]; see `tiles`.

    Returns:
        The blocks, in order of time.
    """
    count = shape[0]
    length = min(frames, count)
    out = []
    for first in range(0, count, length):
        start = min(first, count - length)
        kept = slice(first, min(first + length, count))
        out += [
            Block(slice(start, start + length), kept, tile)
            for tile in tiles(shape[1:], region, architecture, side)
        ]
    return out


def _prepare_block(fitted: FittedDenoiser, read: Read, block: Block) -> MovieArrays:
    """The network's input in a block."""
    denoiser, shape, weights, coefficients, absent = fitted
    first, last = block.frames.start, block.frames.stop
    near = _surroundings(block.frames, REACH[-1], shape[0])
    halo = 0 if denoiser.architecture.centre_in_context else HALO
    windows = (block.tile.rows, block.tile.columns)
    around = [_surroundings(w, halo, n) for w, n in zip(windows, shape[1:], strict=True)]
    part = read(near, *around)
    inside = tuple(
        slice(w.start - a.start, min(w.stop, n) - a.start)
        for w, a, n in zip(windows, around, shape[1:], strict=True)
    )
    arrays = assemble(
        denoiser,
        _in_time(scale(denoiser, part.values, part.seen), near, block.frames),
        part.seen[first - near.start : last - near.start],
        weights[first:last],
        None if coefficients is None else coefficients[:, first:last],
        (inside[0], inside[1]),
        (windows[0].stop - windows[0].start, windows[1].stop - windows[1].start),
    )
    return arrays if absent is None else replace(arrays, absent=absent[first:last])


def predict_blocks(
    fitted: FittedDenoiser,
    read: Read,
    chosen: list[Block],
    *,
    symmetries: int,
    at_once: float = AT_ONCE,
    variance: PredictiveVariance | None = None,
    find_outliers: Callable[[MovieArrays, Window], Bool[np.ndarray, "t y x"]] | None = None,
) -> Iterator[tuple[Block, Moments, Bool[np.ndarray, "t y x"] | None]]:
    """Predict block by block.

    Args:
        fitted: the denoiser.
        read: gives parts of the movie.
        chosen: the blocks.
        symmetries: averaged by the prediction.
        at_once: memory for activations [bytes].
        variance: makes the variance from that of the network; None keeps the network's.
        find_outliers: finds outliers in a window of arrays; None: there are none.

    Yields:
        Each block, blind mean and variance of its kept part [t, y, x], and which pixels of that are outliers.
    """
    shape = fitted.shape
    for block in chosen:
        arrays = _prepare_block(fitted, read, block)
        kept = block.kept
        start = block.frames.start
        # In the arrays the window begins at zero.
        tile = block.tile
        here = Tile(
            slice(0, tile.rows.stop - tile.rows.start),
            slice(0, tile.columns.stop - tile.columns.start),
            (_moved(tile.kept[0], tile.rows.start), _moved(tile.kept[1], tile.columns.start)),
        )
        frames = range(kept.start - start, kept.stop - start)
        found = list(predict_tile(fitted.denoiser, arrays, here, frames, symmetries, at_once))
        out = Moments(*(jnp.asarray(np.stack(each)) for each in zip(*found, strict=True)))
        if variance is not None:
            extent = tuple(
                slice(0, min(w.stop, n) - w.start)
                for w, n in zip((tile.rows, tile.columns), shape[1:], strict=True)
            )
            place = kept.start - start, kept.start
            out = variance(arrays, out, here.kept, (extent[0], extent[1]), place)
        window = (slice(frames.start, frames.stop), *here.kept)
        yield block, out, None if find_outliers is None else find_outliers(arrays, window)


def fit_blocks(
    denoiser: Denoiser,
    read: Read,
    shape: tuple[int, int, int],
    weights: Float[np.ndarray, "t k r"],
    held_out: Callable[[slice, slice, slice], Bool[np.ndarray, "t y x"]],
    *,
    frames: int,
    progress: Callable[[int, int], None] | None = None,
) -> Fit:
    """The linear predictions of every frame, as `fit_linear` finds them in the whole movie.

    Args:
        denoiser, shape, weights: as in `FittedDenoiser`.
        read: gives parts of the movie.
        held_out: True for the pixels that are not fitted on, of frames, rows and columns.
        frames: read at once.
        progress: called with (frames done, frames).

    Returns:
        Coefficients, and of each frame the residual of the best prediction.
    """
    window = fitted_window(*shape[1:])
    around = [_surroundings(w, FILL_RADIUS, n) for w, n in zip(window, shape[1:], strict=True)]
    inside = tuple(_moved(w, a.start) for w, a in zip(window, around, strict=True))

    def stretch(wanted: slice) -> Normal:
        near = _surroundings(wanted, REACH[-1], shape[0])
        part = read(near, *around)
        scaled = scale(denoiser, part.values, part.seen)[:, *inside]
        good = part.good[wanted.start - near.start : wanted.stop - near.start, *inside]
        if progress is not None:
            progress(wanted.stop, shape[0])
        return normal_equations(
            _in_time(scaled, near, wanted),
            weights[wanted],
            good & ~held_out(wanted, *window),
            (window[0].start, window[1].start),
            denoiser.sharing,
        )

    def normal(low: int, high: int) -> Normal:
        pieces = [stretch(slice(a, min(a + frames, high))) for a in range(low, high, frames)]
        return Normal(*(np.concatenate(p) for p in zip(*pieces, strict=True)))

    return solve(normal, weights, denoiser.sharing)


def _surroundings(inner: slice, reach: int, size: int) -> slice:
    return slice(max(inner.start - reach, 0), min(inner.stop + reach, size))


def _moved(inner: slice, origin: int) -> slice:
    return slice(inner.start - origin, inner.stop - origin)


def _in_time(scaled: np.ndarray, near: slice, wanted: slice) -> np.ndarray:
    """Frames in reach of the wanted ones, zero beyond the ends of the movie."""
    before = near.start - (wanted.start - REACH[-1])
    after = wanted.stop + REACH[-1] - near.stop
    return np.pad(scaled, ((before, after), (0, 0), (0, 0))) if before or after else scaled
