"""What a blind network may look at: frames around the centre one, near ones singly, far ones averaged.

Channels, for the past and the future side each: t∓1, t∓2, mean of t∓(3..4), of t∓(5..8), of t∓(9..16).
Averages carry a slow movie's long memory at no cost, and are weighed against the near frames of a fast one. The centre frame is never among them: at the ends of a movie a missing side is replaced by the
other side, or by all frames around, never by the centre.
"""

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
# After them come linear predictions (`phdenoise.denoisers.linear`): from the past and from the future, then
# others, the best of all last.
LINEAR = 10
# Swapping past and future is time reversal; the other predictions stay.
TIME_REVERSED = (
    *(i ^ 1 for i in range(CHANNELS + 2)),
    *range(CHANNELS + 2, CHANNELS + LINEAR),
)


def context_weights(
    present: Bool[np.ndarray, " t"], window: int = REACH[-1]
) -> Float[np.ndarray, "t k r"]:
    """Weights [t, CHANNELS, 2·16 + 1] of the frames t−16..t+16 in each channel; zero at the centre.

    Args:
        present: False for frames without any measured pixel, which are never used.
        window: frames farther away than this are not used either; channels beyond it are zero.

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
    """The same layout for a plain window of `length` frames, centre included, mirrored at the ends."""
    half, reach = length // 2, REACH[-1]
    weights = np.zeros((frames, length, 2 * reach + 1), np.float32)
    for t in range(frames):
        for k in range(length):
            at = abs(t + k - half)
            at = min(max(2 * (frames - 1) - at if at >= frames else at, 0), frames - 1)
            weights[t, k, reach + at - t] = 1
    return weights


# Frames, rows and columns.
Window = tuple[slice, slice, slice]


class View(NamedTuple):
    """What a network is shown of one frame: context channels [y, x, k], the frame itself, 1 where measured."""

    context: Float[Array, "y x k"]
    centre: Float[Array, "y x"]
    seen: Float[Array, "y x"]


class MovieArrays(eqx.Module):
    """A movie as networks see it: scaled, filled and padded; see `phdenoise.denoisers.prepare`.

    Attributes:
        padded: frames with time and space padding [t + 32, Y, X].
        weights: context weights [t, k, 33].
        linear: blind linear predictions [t, LINEAR, Y, X], or None for networks that do without.
        coefficients: of those predictions; not used by networks.
        target, target_var: what seeing networks are trained on, scaled [t, Y, X], and its variance.
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
        """The window of frame t with its corner at (y, x) and the given sides."""

        def window(a: Array, frames: int) -> Array:
            return jax.lax.dynamic_slice(a, (t, y, x), (frames, *side))

        block = window(self.padded, 2 * REACH[-1] + 1)
        context = jnp.einsum("ryx,kr->yxk", block, self.weights[t])
        if self.linear is not None:
            linear = jax.lax.dynamic_slice(self.linear, (t, 0, y, x), (1, LINEAR, *side))[0]
            context = jnp.concatenate([context, jnp.moveaxis(linear, 0, -1)], axis=-1)
        return View(context, block[REACH[-1]], window(self.seen, 1)[0])
