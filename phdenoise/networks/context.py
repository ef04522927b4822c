"""What a blind network is shown and what is hidden from it: frames around the centre one, and a region around each pixel.

Context channels, for the past and the future side each: t∓1, t∓2, mean of t∓(3..4), of t∓(5..8), of t∓(9..16). Averages carry a
slow movie's long memory at no cost, and are weighed against the near frames of a fast one. The centre frame is never among
them: at the ends of a movie a missing side is replaced by the other side, or by all frames around, never by the centre.

    hidden(p) = { q : |q_y − p_y| ≤ (rows−1)/2, |q_x − p_x| ≤ (columns−1)/2 }    in the centre frame, or in every frame

rows = columns = 0 hides the whole frame. White noise asks for the pixel alone; noise that correlates along a
scan line for a line as long as the correlation (StructN2V, Broaddus et al., ISBI 2020,
doi:10.1109/ISBI45749.2020.9098336); noise that correlates everywhere, but not in time, for the whole centre
frame; UDVD (arXiv:2011.15045) hides a square in all five frames.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from phdenoise.types import InputError

# Distances of successive levels: level k averages frames at REACH[k] < distance <= REACH[k + 1].
REACH = (0, 1, 2, 4, 8, 16)
CHANNELS = 2 * (len(REACH) - 1)
# After them come linear predictions (`phdenoise.networks.linear_filter`): from the past and from the future, then
# others, the best of all last.
LINEAR = 10
# Frames, rows and columns.
Window = tuple[slice, slice, slice]


def levels(window: int) -> int:
    """Number of distances, near to far, that have a channel of the past and one of the future within a window [frames]."""
    return sum(near < window for near in REACH[:-1])


def time_reversal(count: int, linear: bool) -> tuple[int, ...]:
    """Order of the context channels when time runs backwards: past and future swap, the other predictions stay.

    Args:
        count: number of distances; see `levels`.
        linear: whether the linear predictions follow.

    Returns:
        For each channel the one that takes its place.
    """
    sides = 2 * count
    predictions = (sides + 1, sides, *range(sides + 2, sides + LINEAR)) if linear else ()
    return (*(k ^ 1 for k in range(sides)), *predictions)


TIME_REVERSED = time_reversal(len(REACH) - 1, linear=True)


def context_weights(
    present: Bool[np.ndarray, " t"], window: int = REACH[-1]
) -> Float[np.ndarray, "t k r"]:
    """Weights [t, CHANNELS, 2·16 + 1] of the frames t−16..t+16 in each channel; zero at the centre.

    Args:
        present: False for frames without any measured pixel, which are never used.
        window: frames farther away than this are not used either; channels beyond it are zero.

    Returns:
        Weight of each frame, by frame, channel and distance in time.

    Raises:
        InputError: fewer than two frames are present.
    """
    if present.sum() < 2:
        raise InputError("Temporal context needs at least 2 frames with valid pixels.")
    frames, reach = present.size, REACH[-1]
    weights = np.zeros((frames, CHANNELS, 2 * reach + 1), np.float32)
    others = np.flatnonzero(present)
    for t in range(frames):
        # Frames by distance; a gap longer than the reach leaves the channels at zero, the movie's mean.
        near_first = sorted(
            (abs(d), d) for d in (others - t).tolist() if 0 < abs(d) <= min(reach, window)
        )
        for level, (near, far) in enumerate(pairwise(REACH)):
            band = [d for distance, d in near_first if near < distance <= far]
            past, future = ([d for d in band if d * sign > 0] for sign in (-1, 1))
            spare = past or future or [d for _, d in near_first if near < window]
            for side, steps in enumerate((past or spare, future or spare)):
                for step in steps:
                    weights[t, 2 * level + side, reach + step] = 1 / len(steps)
    return weights


def window_weights(frames: int, length: int = 5) -> np.ndarray:
    """Weights of a plain window of frames, one frame a channel, centre included, mirrored at the ends of the movie.

    Args:
        frames: of the movie.
        length: of the window, odd [frames].

    Returns:
        Weights [t, length, 2·16 + 1], laid out as in `context_weights`.
    """
    half, reach = length // 2, REACH[-1]
    weights = np.zeros((frames, length, 2 * reach + 1), np.float32)
    for t in range(frames):
        for k in range(length):
            at = abs(t + k - half)
            at = min(max(2 * (frames - 1) - at if at >= frames else at, 0), frames - 1)
            weights[t, k, reach + at - t] = 1
    return weights


class View(NamedTuple):
    """What a network is shown of one frame, or of a batch with one axis more in front.

    Attributes:
        context: channels [y, x, k].
        centre: the frame itself [y, x].
        seen: 1 where the frame was measured, 0 where a value was filled in [y, x].
    """

    context: Float[Array, "y x k"]
    centre: Float[Array, "y x"]
    seen: Float[Array, "y x"]


class MovieArrays(eqx.Module):
    """A movie as networks see it: scaled, filled and padded; see `phdenoise.networks.prepare`.

    Attributes:
        padded: frames with time and space padding [t + 32, Y, X].
        weights: context weights [t, k, 33].
        linear: blind linear predictions [t, LINEAR, Y, X], or None for networks that do without.
        coefficients: of those predictions; not used by networks.
        target, target_var: what networks with a target are trained on, scaled [t, Y, X], and its variance.
        seen: 1 where measured, 0 where filled or padding [t, Y, X].
        absent: True for frames without any measured pixel, in the whole frame [t].
    """

    padded: Float[Array, "r y x"]
    weights: Float[Array, "t k w"]
    linear: Float[Array, "t m y x"] | None
    seen: Float[Array, "t y x"]
    coefficients: np.ndarray | None = None
    target: Float[Array, "t y x"] | None = None
    target_var: Float[Array, "t y x"] | None = None
    absent: np.ndarray | None = None

    def view(self, t: Array | int, y: Array | int, x: Array | int, side: tuple[int, int]) -> View:
        """What the network is shown of a window of one frame.

        Args:
            t: the frame.
            y, x: row and column of the window's corner [px].
            side: its height and width [px].

        Returns:
            Context, centre frame and mask.
        """

        def _window(a: Array, frames: int) -> Array:
            return jax.lax.dynamic_slice(a, (t, y, x), (frames, *side))

        block = _window(self.padded, 2 * REACH[-1] + 1)
        context = jnp.einsum("ryx,kr->yxk", block, self.weights[t])
        if self.linear is not None:
            linear = jax.lax.dynamic_slice(self.linear, (t, 0, y, x), (1, LINEAR, *side))[0]
            context = jnp.concatenate([context, jnp.moveaxis(linear, 0, -1)], axis=-1)
        return View(context, block[REACH[-1]], _window(self.seen, 1)[0])


@dataclass(frozen=True)
class BlindRegion:
    """A hidden rectangle around the predicted pixel.

    Attributes:
        rows, columns: its odd sides [px]; 0 and 0 for the whole frame.
        all_frames: hidden in every frame that the network is shown, not in the centre frame only.
    """

    rows: int
    columns: int
    all_frames: bool = False

    def __post_init__(self) -> None:
        whole = self.rows == 0 and self.columns == 0
        odd = self.rows > 0 and self.columns > 0 and self.rows % 2 and self.columns % 2
        if not (whole or odd) or (whole and self.all_frames):
            raise InputError(
                f"A blind region of {self.rows} x {self.columns} pixels is impossible: both sides "
                "are odd, or the whole centre frame is hidden."
            )
        if self.all_frames and self.rows != self.columns:
            raise InputError("A region hidden in every frame must be a square (all:3x3).")

    @cached_property
    def whole_frame(self) -> bool:
        """Whether the whole centre frame is hidden."""
        return self.rows == 0

    @cached_property
    def single_pixel(self) -> bool:
        """Whether one pixel is hidden, in the centre frame or in every frame."""
        return self.rows == 1 and self.columns == 1

    def same_kind(self, other: "BlindRegion") -> bool:
        """Whether both are rectangles of the same frames, or both the whole frame."""
        return self.all_frames == other.all_frames and self.whole_frame == other.whole_frame

    def contains(self, other: "BlindRegion") -> bool:
        """Whether what another region hides is hidden by this one too."""
        if self.whole_frame:
            return not other.all_frames
        wide = self.rows >= other.rows and self.columns >= other.columns
        return wide and not other.whole_frame and self.all_frames >= other.all_frames

    def turns(self, side: tuple[int, int]) -> bool:
        """Whether a window may be turned by a quarter: it keeps its sides [px], and the same pixels are hidden."""
        return side[0] == side[1] and self.rows == self.columns

    @cached_property
    def shift(self) -> tuple[int, int]:
        """Rows and columns by which half planes are moved away from the pixel; s hides 2s − 1."""
        return (self.rows + 1) // 2, (self.columns + 1) // 2

    def __str__(self) -> str:
        named = {v: k for k, v in NAMED.items()}
        text = f"{self.rows}x{self.columns}"
        return named.get(self, f"all:{text}" if self.all_frames else text)


PIXEL = BlindRegion(1, 1)
FRAME = BlindRegion(0, 0)
UDVD = BlindRegion(1, 1, all_frames=True)
NAMED = {"pixel": PIXEL, "frame": FRAME, "udvd": UDVD, "udvd-mf": BlindRegion(3, 3, True)}


def parse_region(text: str) -> BlindRegion:
    """The region that a word names: pixel, frame, udvd, udvd-mf, ROWSxCOLUMNS or all:3x3.

    Raises:
        InputError: the word names none.
    """
    if text in NAMED:
        return NAMED[text]
    found = re.fullmatch(r"(all:)?(\d+)x(\d+)", text)
    if found is None:
        raise InputError(
            f"Unknown blind region '{text}': use auto, pixel, frame, udvd, udvd-mf, "
            "ROWSxCOLUMNS such as 1x9 (of the centre frame) or all:3x3 (of every frame)."
        )
    return BlindRegion(int(found[2]), int(found[3]), all_frames=found[1] is not None)
