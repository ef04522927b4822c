"""The best blind linear filter alone: nothing to train, the whole of preset "instant".

The prediction is the last of the linear predictions that every network is shown (`phdenoise.networks.linear_filter`): least
squares over other frames at several blurs, in closed form. Its error is known from its residuals and its response to noise
(`phdenoise.uncertainty.calibrate`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from phdenoise.networks.architecture import Architecture, check_window
from phdenoise.networks.context import REACH, BlindRegion
from phdenoise.networks.linear_filter import BLUR_RADIUS
from phdenoise.types import InputError

# Memory of one frame's context and linear predictions [bytes/px], measured on a CPU and rounded up.
MEMORY = 250.0


@dataclass(frozen=True)
class LinearFilter(Architecture):
    """The best blind linear filter of a movie.

    Attributes:
        window: frames looked at on each side, 1 to 16.
    """

    window: int = REACH[-1]

    name = "linear"
    objectives = ("nll", "mse")
    trains = False
    stride = 4
    radius = BLUR_RADIUS
    frames_needed = 2
    widths: ClassVar[Mapping[str, int]] = dict.fromkeys(("instant", "quick", "default", "best"), 1)

    def __post_init__(self) -> None:
        check_window(self.window, 1)

    def default_region(self, asked: BlindRegion, extent: BlindRegion) -> BlindRegion:
        """What the noise asks for: no pixel of the centre frame is looked at."""
        return asked

    def hiding(self, region: BlindRegion) -> "LinearFilter":
        """This filter; a region that is hidden in every frame is refused."""
        if region.all_frames:
            raise InputError(
                "The linear filter (--preset instant) predicts a frame from other frames: a single image, or a region hidden "
                "in every frame, needs --preset quick."
            )
        return self

    def module(
        self, region: BlindRegion, *, width: int, spread: float, rngs: nnx.Rngs
    ) -> nnx.Module:
        return LinearModule(spread)

    def memory_per_pixel(self, region: BlindRegion, width: int | float) -> float:
        return MEMORY


class LinearModule(nnx.Module):
    """The best linear prediction, with one standard deviation everywhere.

    Args:
        spread: that standard deviation [scaled intensity].
    """

    def __init__(self, spread: float) -> None:
        self.log_spread = nnx.Param(jnp.asarray(np.log(np.expm1(spread)), jnp.float32))

    def __call__(
        self,
        context: Float[Array, "n y x k"],
        centre: Float[Array, "n y x"],
        seen: Float[Array, "n y x"],
        region: BlindRegion,
    ) -> tuple[Float[Array, "n y x"], Float[Array, "n y x"]]:
        """Mean and standard deviation; see `Architecture.module`. Neither centre nor region is used."""
        mean = context[..., -1]
        return mean, jnp.full_like(mean, jax.nn.softplus(self.log_spread[...]))
