"""What kind of network a denoiser is, in plain values: what it sees, and how far it reaches.

blind   hides a region by its construction: UDVD, UDVD-MF, the centre-blind network
unet    sees the pixel it predicts: for targets with noise of their own (Noise2Noise, distillation), for clean
        targets, and for risks that need none (SURE, PURE)
n2v     a U-Net whose hidden pixels are replaced before it looks: Noise2Void, StructN2V
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from phdenoise.denoisers.centre_blind import RADIUS, STRIDE
from phdenoise.denoisers.context import REACH, TIME_REVERSED, context_weights
from phdenoise.types import InputError

Network = Literal["blind", "unet", "n2v"]
# Scales beyond which a microscopist's frame has no pixels left.
_DEEPEST = 5


@dataclass(frozen=True)
class Design:
    """Kind, temporal window and depth of a network.

    Attributes:
        network: see the module's text.
        window: frames looked at on each side, at most 16; 0 for single images.
        depth: number of times that the U-Net halves its resolution.
    """

    network: Network = "blind"
    window: int = REACH[-1]
    depth: int = 2

    def __post_init__(self) -> None:
        if self.network not in ("blind", "unet", "n2v"):
            raise InputError(f"Unknown network '{self.network}': use auto, blind, unet or n2v.")
        if not 0 <= self.window <= REACH[-1] or (self.window == 0 and self.network == "blind"):
            raise InputError(
                f"--window {self.window} is impossible: it is 1 to {REACH[-1]} frames each way (0, a single "
                "image, with --network unet or n2v)."
            )
        if not 1 <= self.depth <= _DEEPEST:
            raise InputError(f"--depth must be 1 to {_DEEPEST}, got {self.depth}.")

    @property
    def sees(self) -> bool:
        """Whether the network looks at the very pixel that it predicts."""
        return self.network == "unet"

    @property
    def linear(self) -> bool:
        """Whether the blind linear predictions are among its inputs."""
        return self.window > 0

    @property
    def levels(self) -> int:
        """Number of distances, near to far, at which it has a channel of the past and one of the future."""
        return sum(near < self.window for near in REACH[:-1])

    @property
    def stride(self) -> int:
        """Frames are padded, and tiles start, at multiples of this [px]."""
        return STRIDE if self.network == "blind" else max(STRIDE, 2**self.depth)

    @property
    def radius(self) -> int:
        """Output pixels depend on inputs at most this far away [px]."""
        # Four convolutions at each scale, two at the coarsest, and the cells of that.
        return RADIUS if self.network == "blind" else 7 * 2**self.depth - 4

    def context_weights(self, present: Bool[np.ndarray, " t"]) -> Float[np.ndarray, "t k r"]:
        """Weights of the frames in each context channel; see `phdenoise.denoisers.context`.

        The U-Nets have no channel beyond their window, and need no second frame.
        """
        if self.network == "blind":
            return context_weights(present, self.window)
        if present.sum() < 2:
            return np.zeros((present.size, 2 * self.levels, 2 * REACH[-1] + 1), np.float32)
        return context_weights(present, self.window)[:, : 2 * self.levels]

    @property
    def time_reversed(self) -> tuple[int, ...]:
        """Order of the context channels, linear predictions last, when time runs backwards."""
        channels = 2 * len(REACH[1:])
        linear = TIME_REVERSED[channels:] if self.linear else ()
        sides = tuple(range(2 * self.levels if self.network != "blind" else channels))
        return (*(k ^ 1 for k in sides), *(k - channels + len(sides) for k in linear))
