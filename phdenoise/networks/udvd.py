"""UDVD: the blind-spot video network as published, the hidden pixel blind in all five frames.

Four rotations of five frames pass one half-plane network (convolutions of the rows above alone, shifted
down by one at the end), and 1×1 convolutions join the four half-planes that surround the hidden pixel.
Sheth et al., Unsupervised Deep Video Denoising, ICCV 2021, arXiv:2011.15045. 2,123,664 parameters for one
channel in and one out at width 48; a predicted standard deviation adds 96.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from phdenoise.networks.architecture import Architecture
from phdenoise.networks.context import REACH, UDVD, BlindRegion, window_weights
from phdenoise.networks.layers import act, conv, double, run

# Frames of the published network, centre included.
WINDOW = 5
# Two poolings [px].
STRIDE = 4
# Distance that the two half-plane networks together look beyond the hidden square [px]; each has 3x3 layers at three resolutions.
RADIUS = 144
# Memory of the activations in prediction for each channel of the first scale, measured on a CPU and rounded up [bytes/px].
MEMORY = 210.0


@dataclass(frozen=True)
class Udvd(Architecture):
    """UDVD hides a square in each of its five frames."""

    name = "blind"
    objectives = ("nll", "mse", "counts")
    # The settings of the family; the network itself looks at WINDOW frames.
    window = REACH[-1]
    stride = STRIDE
    radius = RADIUS
    centre_in_context = True
    square = True
    teaches = True
    widths: ClassVar[Mapping[str, int]] = {"quick": 12, "default": 24, "best": 48}
    widest = 8
    linear = False

    @property
    def channels(self) -> int:
        """One a frame."""
        return WINDOW

    def module(
        self, region: BlindRegion, *, width: int, spread: float, rngs: nnx.Rngs
    ) -> "UdvdModule":
        """See `Architecture`; the spread at the start is fixed."""
        return UdvdModule(width=width, rngs=rngs)

    def context_weights(self, present: Bool[np.ndarray, " t"]) -> Float[np.ndarray, "t k r"]:
        """Single frames, mirrored at the ends of the movie."""
        return window_weights(present.size, WINDOW)

    @property
    def time_reversed(self) -> tuple[int, ...]:
        return tuple(range(WINDOW))[::-1]

    def default_region(self, asked: BlindRegion, extent: BlindRegion) -> BlindRegion:
        """The pixel in every frame."""
        return UDVD

    def memory_per_pixel(self, region: BlindRegion, width: int | float) -> float:
        return MEMORY * width


class UdvdModule(nnx.Module):
    """The UDVD network, without biases.

    Args:
        width: channels of the encoder (48 as published); everything else scales with it.
        outputs: 1 for the mean, 2 for mean and standard deviation.
        rngs: of the initial weights.
    """

    def __init__(self, *, width: int = 48, outputs: int = 2, rngs: nnx.Rngs):
        triple = 2 * width // 3
        self.first = _HalfPlaneUNet(3, width, triple, rngs)
        self.second = _HalfPlaneUNet(3 * triple, width, 2 * width, rngs)
        joined = 8 * width
        self.join_1 = _conv(joined, joined, 1, rngs)
        self.join_2 = _conv(joined, 2 * width, 1, rngs)
        self.join_3 = _conv(2 * width, outputs, 1, rngs)
        self.outputs = outputs

    def __call__(
        self,
        frames: Float[Array, "n y x k"],
        centre: Float[Array, "n y x"],
        seen: Float[Array, "n y x"],
        region: BlindRegion,
    ) -> tuple[Float[Array, "n y x"], Float[Array, "n y x"]]:
        """Blind mean and standard deviation of five frames, the centre frame third; other arguments but the region are not used."""
        turned = jnp.concatenate([jnp.rot90(frames, k, axes=(1, 2)) for k in range(4)])
        triples = jnp.concatenate([turned[..., i : i + 3] for i in range(3)])
        features = jnp.concatenate(jnp.split(self.first(triples), 3), axis=-1)
        # A final shift of s rows hides a square of side 2s − 1; it needs no other weights.
        features = _down(self.second(features), region.shift[0])
        back = [jnp.rot90(part, -k, axes=(1, 2)) for k, part in enumerate(jnp.split(features, 4))]
        joined = jnp.concatenate(back, axis=-1)
        out = self.join_3(act(self.join_2(act(self.join_1(joined)))))
        # Without a second output the spread is the reference value of the noise-only start.
        spread = out[..., 1] - 2.0 if self.outputs == 2 else jnp.full_like(out[..., 0], -2.0)
        return out[..., 0], jax.nn.softplus(spread)


class _HalfPlaneUNet(nnx.Module):
    """U-Net whose every output row depends only on its own row and rows above."""

    def __init__(self, inputs: int, width: int, outputs: int, rngs: nnx.Rngs):
        wide = 2 * width

        def chain(*channels: int) -> nnx.List:
            return nnx.List([_conv(a, b, 3, rngs) for a, b in pairwise(channels)])

        self.enc_1 = chain(inputs, width, width, width)
        self.enc_2 = chain(width, width, width, width)
        self.enc_3 = chain(width, wide, wide, width)
        self.dec_2 = chain(wide, wide, wide, wide, wide)
        self.dec_1 = chain(wide + inputs, wide, wide, wide, outputs)

    def __call__(self, x: Float[Array, "n y x k"]) -> Float[Array, "n y x m"]:
        one = _pool(run(self.enc_1, x))
        two = _pool(run(self.enc_2, one))
        up = run(self.dec_2, jnp.concatenate([double(run(self.enc_3, two)), one], axis=-1))
        return run(self.dec_1, jnp.concatenate([double(up), x], axis=-1))


def _conv(inputs: int, outputs: int, side: int, rngs: nnx.Rngs) -> nnx.Conv:
    # Half-plane: pad a 3×3 filter by two rows above and none below.
    return conv(inputs, outputs, side, rngs, [(side - 1, 0), (side // 2, side // 2)])


def _down(x: Array, rows: int) -> Array:
    return jnp.pad(x, ((0, 0), (rows, 0), (0, 0), (0, 0)))[:, : x.shape[1]]


def _pool(x: Array) -> Array:
    # Shifted by one row first, or a pooled cell would show its lower row to its upper one.
    n, h, w, k = x.shape
    return _down(x, 1).reshape(n, h // 2, 2, w // 2, 2, k).max((2, 4))
