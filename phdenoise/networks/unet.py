"""A plain U-Net without biases, whose prediction of a pixel depends on the measured pixel too.

    f(c, y) = L + U(c, y),      f(α c, α y) = α f(c, y)        L: best blind linear prediction among the context, or 0

Scale equivariance makes it independent of the noise level it was trained at (Mohan et al., ICLR 2020,
arXiv:1906.05478); without batch normalisation, means stay means. U-Net: Ronneberger et al., MICCAI 2015,
arXiv:1505.04597.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from phdenoise.networks.architecture import Architecture, check_window
from phdenoise.networks.centre_blind import BOOST
from phdenoise.networks.context import REACH, BlindRegion
from phdenoise.networks.layers import conv, double, run
from phdenoise.types import InputError

# Channels grow with the scale up to this multiple of the first.
WIDEST = 4
# Halvings of the resolution, at most: a frame of 256 pixels has eight cells left.
DEEPEST = 5
# Smallest stride [px]: crops and tiles start at multiples of it.
STRIDE = 4
# Memory of the activations in prediction, measured on a CPU for a depth of 2 and rounded up [bytes/px].
MEMORY = 600.0


@dataclass(frozen=True)
class Unet(Architecture):
    """A U-Net whose prediction of a pixel depends on the measured pixel too.

    Attributes:
        window: frames looked at on each side, at most 16; 0 for single images.
        depth: number of times that the resolution is halved.
    """

    window: int = REACH[-1]
    depth: int = 2

    name = "unet"
    objectives = ("noise2noise", "supervised", "sure", "pure")
    blind = False
    widths: ClassVar[Mapping[str, int]] = {"quick": 16, "default": 24, "best": 32}

    def __post_init__(self) -> None:
        check_window(self.window, 0)
        if not 1 <= self.depth <= DEEPEST:
            raise InputError(f"--depth must be 1 to {DEEPEST}, got {self.depth}.")

    @property
    def stride(self) -> int:  # type: ignore[override]
        """See `Architecture`."""
        return max(STRIDE, 2**self.depth)

    @property
    def radius(self) -> int:  # type: ignore[override]
        """See `Architecture`."""
        # Four convolutions at each scale, two at the coarsest, and the cells of that.
        return 7 * 2**self.depth - 4

    def module(
        self, region: BlindRegion, *, width: int, spread: float, rngs: nnx.Rngs
    ) -> nnx.Module:
        return UnetModule(self, width=width, spread=spread, rngs=rngs)

    def memory_per_pixel(self, region: BlindRegion, width: int | float) -> float:
        return MEMORY

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "depth": self.depth}


class UnetModule(nnx.Module):
    """U-Net on the context and the frame itself; mean and standard deviation out.

    Args:
        design: window (which sets the number of context channels) and depth.
        width: channels of the first scale; doubled with every halving up to fourfold.
        spread: standard deviation predicted at the start [scaled intensity].
        rngs: of the initial weights.
    """

    def __init__(
        self, design: Unet, *, width: int = 24, spread: float = 0.2, rngs: nnx.Rngs
    ) -> None:
        wide = [width * min(2**k, WIDEST) for k in range(design.depth + 1)]
        inputs = design.channels + 1

        def _block(first: int, second: int) -> nnx.List:
            return nnx.List([_conv(a, second, 3, rngs) for a in (first, second)])

        scales = range(design.depth)
        self.down = nnx.List([_block(inputs if k == 0 else wide[k - 1], wide[k]) for k in scales])
        self.bottom = _block(wide[-2], wide[-1])
        self.up = nnx.List([_block(wide[k + 1] + wide[k], wide[k]) for k in scales])
        # With a linear prediction to start from, the correction starts at zero.
        self.mean = _conv(width, 1, 1, rngs, 0.0 if design.linear else 0.1)
        self.spread = _conv(width, 1, 1, rngs, 0.1)
        self.log_spread = nnx.Param(jnp.asarray(np.log(np.expm1(spread)), jnp.float32))
        self.linear = design.linear

    def __call__(
        self,
        context: Float[Array, "n y x k"],
        centre: Float[Array, "n y x"],
        seen: Float[Array, "n y x"],
        region: BlindRegion,
    ) -> tuple[Float[Array, "n y x"], Float[Array, "n y x"]]:
        """Mean and standard deviation; see `Architecture.module`. The region is not used."""
        start = context[..., -1] if self.linear else jnp.zeros_like(centre)
        # A filled value is an average over neighbours; it is no measurement.
        own = jnp.where(seen > 0, centre, start)
        x = jnp.concatenate([context, own[..., None]], axis=-1)
        kept = []
        for layers in self.down:
            x = run(layers, x)
            kept.append(x)
            x = _halve(x)
        x = run(self.bottom, x)
        for layers, beside in reversed(list(zip(self.up, kept, strict=True))):
            x = run(layers, jnp.concatenate([double(x), beside], axis=-1))
        mean = start + BOOST * self.mean(x)[..., 0]
        return mean, jax.nn.softplus(self.spread(x) + self.log_spread[...])[..., 0]


def _conv(inputs: int, outputs: int, side: int, rngs: nnx.Rngs, gain: float = 1.0) -> nnx.Conv:
    half = side // 2
    return conv(inputs, outputs, side, rngs, [(half, half)] * 2, gain)


def _halve(x: Array) -> Array:
    n, h, w, k = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, k).mean((2, 4))
