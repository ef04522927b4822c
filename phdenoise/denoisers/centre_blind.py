"""The centre-blind network: everything but the hidden part of the centre frame, at half resolution.

    m  = U-Net(context)                               the centre frame is not seen at all
    μ_p = m_p + Σ_{q≠p} g(context)_p · h_{p−q} (y_q − m_q)     its other pixels correct m (region "pixel")

A U-Net on the neighbouring frames predicts the centre frame, its uncertainty, and how far to trust a bank of
linear filters of the innovation y − m whose own pixel is cut out. m and the gates never see the centre
frame, so blindness is exact. Working at half resolution (space to depth) makes it ten times cheaper than
UDVD at the same width, and hiding one frame instead of five keeps what the neighbours know.
Blind-spot idea: Laine et al., NeurIPS 2019, arXiv:1901.10277; Sheth et al., ICCV 2021, arXiv:2011.15045.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from phdenoise.denoisers.context import CHANNELS
from phdenoise.denoisers.initial import he_normal

# Side of the filters that read the centre frame around the hidden pixel.
BANK_SIDE = 7
# Output pixels depend on inputs at most this far away, and frames are padded to multiples of STRIDE.
RADIUS = 24
STRIDE = 4


class CentreBlind(nnx.Module):
    """Bias-free U-Net with a gated bank of blind filters.

    Args:
        width: channels at half resolution.
        bank: number of blind filters on the innovation; 0 hides the whole centre frame.
    """

    def __init__(self, *, width: int = 32, bank: int = 12, rngs: nnx.Rngs):
        deep, fine = width + width // 2, 16

        def conv(inputs: int, outputs: int, side: int, gain: float = 1.0) -> nnx.Conv:
            init = he_normal(gain)
            return nnx.Conv(
                inputs, outputs, (side, side), use_bias=False, kernel_init=init, rngs=rngs
            )

        self.enter = conv(4 * CHANNELS, width, 3)
        self.half = conv(width, width, 3)
        self.down = conv(4 * width, deep, 1)
        self.quarter_1 = conv(deep, deep, 3)
        self.quarter_2 = conv(deep, deep, 3)
        self.up = conv(deep, 4 * width, 1)
        self.merge = conv(2 * width, width, 3)
        self.leave = conv(width, 4 * fine, 1)
        self.full_1 = conv(fine + CHANNELS, fine, 3)
        self.full_2 = conv(fine, fine, 3)
        self.mean = conv(fine, 1, 1, 0.1)
        self.spread = conv(fine, 1, 1, 0.1)
        self.direct = nnx.Param(jnp.full((CHANNELS,), 1.0 / CHANNELS))
        # Starts wide: where noise hides the error it stays near here, and doubt is the safer side.
        self.log_spread = nnx.Param(jnp.asarray(-1.6))
        self.bank = bank
        if bank:
            self.gate = conv(fine, bank, 1, 0.1)
            self.filters = conv(1, bank, BANK_SIDE, 0.3)

    def __call__(
        self,
        context: Float[Array, "n y x k"],
        centre: Float[Array, "n y x"],
        seen: Float[Array, "n y x"],
    ) -> tuple[Float[Array, "n y x"], Float[Array, "n y x"]]:
        """Blind mean and standard deviation; y and x multiples of STRIDE, `seen` 1 where measured."""
        half = _act(self.half(_act(self.enter(space_to_depth(context)))))
        deep = _act(self.down(space_to_depth(half)))
        deep = _act(self.quarter_2(_act(self.quarter_1(deep))))
        half = _act(self.merge(jnp.concatenate([half, depth_to_space(self.up(deep))], axis=-1)))
        fine = jnp.concatenate([depth_to_space(self.leave(half)), context], axis=-1)
        fine = _act(self.full_2(_act(self.full_1(fine))))
        mean = self.mean(fine) + jnp.einsum("nyxk,km->nyxm", context, self.direct[...][:, None])
        spread = jax.nn.softplus(self.spread(fine) + self.log_spread[...])[..., 0]
        if not self.bank:
            return mean[..., 0], spread
        own = np.ones((BANK_SIDE, BANK_SIDE, 1, 1), np.float32)
        own[BANK_SIDE // 2, BANK_SIDE // 2] = 0
        # Zero padding: a mirrored edge would show a border pixel to itself.
        around = jax.lax.conv_general_dilated(
            (centre[..., None] - mean) * seen[..., None],
            self.filters.kernel[...] * own,
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return (mean + jnp.sum(around * self.gate(fine), -1, keepdims=True))[..., 0], spread


def space_to_depth(x: Float[Array, "n y x k"]) -> Float[Array, "n y2 x2 k4"]:
    """2×2 pixels become four channels."""
    n, h, w, k = x.shape
    x = x.reshape(n, h // 2, 2, w // 2, 2, k).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, h // 2, w // 2, 4 * k)


def depth_to_space(x: Float[Array, "n y x k4"]) -> Float[Array, "n y2 x2 k"]:
    """The inverse of `space_to_depth`."""
    n, h, w, k = x.shape
    x = x.reshape(n, h, w, 2, 2, k // 4).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, 2 * h, 2 * w, k // 4)


def _act(x: Array) -> Array:
    return jax.nn.leaky_relu(x, 0.1)
