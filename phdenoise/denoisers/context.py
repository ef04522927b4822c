"""What a blind network may look at: frames around the centre one, near ones singly, far ones averaged.

Channels, for the past and the future side each: t∓1, t∓2, mean of t∓(3..4), mean of t∓(5..8). Averages
carry a slow movie's long memory at no cost, and the network weighs them against the near frames of a
fast one. The centre frame is never among them: at the ends of a movie a missing side is replaced by the
other side, never by the centre.
"""

from itertools import pairwise

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.types import InputError

# Distances of successive levels: level k averages frames at REACH[k] < distance <= REACH[k + 1].
REACH = (0, 1, 2, 4, 8)
CHANNELS = 2 * (len(REACH) - 1)
# Swapping past and future is time reversal.
TIME_REVERSED = tuple(i ^ 1 for i in range(CHANNELS))


def context_weights(frames: int) -> np.ndarray:
    """Weights [t, CHANNELS, 2·8 + 1] of the frames t−8..t+8 in each channel; zero at the centre."""
    if frames < 2:
        raise InputError("Temporal context needs at least 2 frames.")
    reach = REACH[-1]
    weights = np.zeros((frames, CHANNELS, 2 * reach + 1), np.float32)
    for t in range(frames):
        for level, (near, far) in enumerate(pairwise(REACH)):
            for side, sign in enumerate((-1, 1)):
                steps = [sign * d for d in range(near + 1, far + 1) if 0 <= t + sign * d < frames]
                for step in steps:
                    weights[t, 2 * level + side, reach + step] = 1 / len(steps)
            past, future = 2 * level, 2 * level + 1
            for empty, other in ((past, future), (future, past)):
                if not weights[t, empty].any():
                    weights[t, empty] = weights[t, other]
            if not weights[t, past].any():
                weights[t, past : future + 1] = weights[t, past - 2 : future - 1]
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


def pad_time(frames: Float[Array, "t y x"]) -> Float[Array, "t2 y x"]:
    """Frames with room for the reach on both sides (those rows always carry zero weight)."""
    return jnp.pad(frames, ((REACH[-1], REACH[-1]), (0, 0), (0, 0)))


def gather_context(
    block: Float[Array, "r y x"], weights: Float[Array, "k r"]
) -> Float[Array, "y x k"]:
    """Context channels of the frame in the middle of a block of 2·8 + 1 frames."""
    return jnp.einsum("ryx,kr->yxk", block, weights)
