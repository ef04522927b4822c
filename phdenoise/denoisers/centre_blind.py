"""The centre-blind network: everything but the hidden part of the centre frame, at half resolution.

    m   = L + Σ_k a_k(context)·(context_k − L) + b(context)       the centre frame is not seen at all
    μ_p = m_p + Σ_{q visible} g(context)_p · h_{p−q} (y_q − m_q)     its visible pixels correct m
              + d(y_q − m_q, y_q; context_p)                         and so does, where movies move fast, a network of them

L is the best linear combination of the neighbouring frames, and other linear predictions are among the context. A
U-Net on all of them decides for each pixel which to prefer (a), corrects them (b), predicts the uncertainty and how
far to trust a bank of linear filters of the innovation y − m. The bank looks up, down, left and right from
beyond the hidden rectangle. m and the gates never see the centre frame, so blindness is exact. d, of which
the first of four convolutions is hollow and the others leap (dilated blind-spot networks: Wu et al., ECCV 2020, arXiv:2008.13711),
is asked where other frames tell little and only the pixel is hidden. Working at half
resolution (space to depth) makes it ten times cheaper than UDVD at the same width, and hiding one frame instead
of five keeps what the neighbours know.
Blind-spot idea: Laine et al., NeurIPS 2019, arXiv:1901.10277; Sheth et al., ICCV 2021, arXiv:2011.15045.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from phdenoise.denoisers.context import CHANNELS, LINEAR
from phdenoise.denoisers.initial import he_normal
from phdenoise.denoisers.layers import act
from phdenoise.denoisers.region import PIXEL, BlindRegion

# Depth and breadth of the half-plane filters that read the centre frame beyond the hidden rectangle.
DEPTH, BREADTH = 3, 7
# Distances of the pixels that the layers after the first of the part around the hidden pixel look at, and how far that looks [px].
LEAPS = (2, 4, 2)
AROUND = 1 + sum(LEAPS)
# The layers of that part.
LOOKS = ("rings", "beside", "together", "around_mean", "around_spread")
# The correction starts at zero and learns faster than the rest by this factor.
BOOST = 5.0
# Output pixels depend on inputs at most this far away, and frames are padded to multiples of STRIDE.
RADIUS = 24
STRIDE = 4


class CentreBlind(nnx.Module):
    """Bias-free U-Net with a gated bank of blind filters.

    Args:
        width: channels at half resolution.
        bank: number of blind filters on the innovation, each looking in four directions; 0 where the whole
            centre frame is hidden.
        around: channels of the network that looks at the innovation around the pixel, where that alone is hidden; 0 for none.
        spread: standard deviation predicted at the start.
    """

    def __init__(
        self,
        *,
        width: int = 32,
        bank: int = 6,
        around: int = 0,
        spread: float = 0.2,
        rngs: nnx.Rngs,
    ):
        deep, fine = width + width // 2, 16

        def conv(inputs: int, outputs: int, side: int, gain: float = 1.0) -> nnx.Conv:
            init = he_normal(gain)
            return nnx.Conv(
                inputs, outputs, (side, side), use_bias=False, kernel_init=init, rngs=rngs
            )

        inputs = CHANNELS + LINEAR
        self.enter = conv(4 * inputs, width, 3)
        self.half = conv(width, width, 3)
        self.down = conv(4 * width, deep, 1)
        self.quarter_1 = conv(deep, deep, 3)
        self.quarter_2 = conv(deep, deep, 3)
        self.up = conv(deep, 4 * width, 1)
        self.merge = conv(2 * width, width, 3)
        self.leave = conv(width, 4 * fine, 1)
        self.full_1 = conv(fine + inputs, fine, 3)
        self.full_2 = conv(fine, fine, 3)
        # The start is the linear prediction and its error: training only improves on it.
        self.mean = conv(fine, 1, 1, 0.0)
        self.spread = conv(fine, 1, 1, 0.1)
        self.log_spread = nnx.Param(jnp.asarray(np.log(np.expm1(spread)), jnp.float32))
        self.choice = conv(fine, inputs - 1, 1, 0.0)
        self.bank = bank
        if bank:
            self.gate = conv(fine, 4 * bank, 1, 0.0)
            kernel = he_normal(0.3)(rngs.params(), (DEPTH, BREADTH, 1, bank))
            self.filters = nnx.Param(kernel)
        self.around = around
        if around:
            self.rings = nnx.List(
                nnx.Param(he_normal()(rngs.params(), (3, 3, inputs, around)))
                for inputs in (2, *[around] * len(LEAPS))
            )
            self.beside = conv(fine, around, 1)
            self.together = conv(around + fine, fine, 1)
            self.around_mean = conv(fine, 1, 1, 0.0)
            self.around_spread = conv(fine, 1, 1, 0.0)

    def __call__(
        self,
        context: Float[Array, "n y x k"],
        centre: Float[Array, "n y x"],
        seen: Float[Array, "n y x"],
        region: BlindRegion,
    ) -> tuple[Float[Array, "n y x"], Float[Array, "n y x"]]:
        """Blind mean and standard deviation; y and x multiples of STRIDE, `seen` 1 where measured."""
        half = act(self.half(act(self.enter(space_to_depth(context)))))
        deep = act(self.down(space_to_depth(half)))
        deep = act(self.quarter_2(act(self.quarter_1(deep))))
        half = act(self.merge(jnp.concatenate([half, depth_to_space(self.up(deep))], axis=-1)))
        fine = jnp.concatenate([depth_to_space(self.leave(half)), context], axis=-1)
        fine = act(self.full_2(act(self.full_1(fine))))
        best = context[..., -1:]
        chosen = jnp.sum(self.choice(fine) * (context[..., :-1] - best), axis=-1, keepdims=True)
        mean = best + BOOST * (chosen + self.mean(fine))
        spread = self.spread(fine) + self.log_spread[...]
        if self.bank and not region.whole_frame:
            innovation = (centre[..., None] - mean) * seen[..., None]
            measured = jnp.concatenate([innovation, centre[..., None] * seen[..., None]], axis=-1)
            told = look_around(innovation, self.filters[...], region)
            mean = mean + jnp.sum(told * self.gate(fine), -1, keepdims=True)
            if self.around and region == PIXEL:
                first, *others = self.rings
                ring = act(rings(measured, first[...]) + self.beside(fine))
                for kernel, leap in zip(others, LEAPS, strict=True):
                    ring = act(rings(ring, kernel[...], leap))
                ring = act(self.together(jnp.concatenate([ring, fine], axis=-1)))
                mean = mean + BOOST * self.around_mean(ring)
                spread = spread + self.around_spread(ring)
        return mean[..., 0], jax.nn.softplus(spread)[..., 0]


def rings(
    image: Float[Array, "n y x k"], kernel: Float[Array, "3 3 k m"], leap: int = 1
) -> Float[Array, "n y x m"]:
    """A 3 x 3 convolution of pixels `leap` apart.

    Of several, the first is hollow and the leaps of the others are even: along one axis every input is then an odd number of
    pixels away, and the pixel itself is hidden.
    """
    if leap == 1:
        kernel = kernel.at[1, 1].set(0.0)
    return jax.lax.conv_general_dilated(
        image, kernel, (1, 1), [(leap, leap)] * 2,
        rhs_dilation=(leap, leap), dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )  # fmt: skip


def look_around(
    image: Float[Array, "n y x 1"], kernel: Float[Array, "d b 1 m"], region: BlindRegion
) -> Float[Array, "n y x m4"]:
    """Half-plane filters looking up, down, left and right from beyond the hidden rectangle."""
    rows, columns = region.shift
    up = jnp.pad(kernel, ((0, kernel.shape[0] + 2 * rows - 1), (0, 0), (0, 0), (0, 0)))
    left = jnp.pad(kernel, ((0, kernel.shape[0] + 2 * columns - 1), (0, 0), (0, 0), (0, 0)))
    left = jnp.swapaxes(left, 0, 1)
    vertical = jnp.concatenate([up, up[::-1]], axis=-1)
    horizontal = jnp.concatenate([left, left[:, ::-1]], axis=-1)
    # Zero padding: a mirrored edge would show a border pixel to itself.
    return jnp.concatenate(
        [
            jax.lax.conv_general_dilated(
                image, k, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            for k in (vertical, horizontal)
        ],
        axis=-1,
    )


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
