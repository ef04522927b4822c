"""The centre-blind network: everything but the hidden part of the centre frame, at half resolution.

    m   = L + Σ_k a_k(context)·(context_k − L) + b(context)       the centre frame is not an input at all
    μ_p = m_p + Σ_{q visible} g(context)_p · h_{p−q} (y_q − m_q)     its visible pixels correct m
              + d(y_q − m_q, y_q; context_p)                         and so does, for fast movies, a dilated network of them

L is the best linear combination of the neighbouring frames; other linear predictions are among the context. A
U-Net on the context weighs the predictions at each pixel (a), corrects them (b), predicts the uncertainty, and weighs
a bank of linear filters of the innovation y − m (g). The bank reads pixels up, down, left and right of
the hidden rectangle. m and the gates do not depend on the centre frame, so blindness is exact. The first of the four
convolutions of d has no centre and the others are dilated (dilated blind-spot networks: Wu et al., ECCV 2020, arXiv:2008.13711);
d is used where other frames predict little and the pixel alone is hidden. Half
resolution (space to depth) makes the network ten times cheaper than UDVD at the same width, and hiding one frame instead
of five keeps what the neighbouring frames hold.
Blind-spot idea: Laine et al., NeurIPS 2019, arXiv:1901.10277; Sheth et al., ICCV 2021, arXiv:2011.15045.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from phdenoise.networks.architecture import Architecture, check_window
from phdenoise.networks.context import (
    CHANNELS,
    LINEAR,
    PIXEL,
    REACH,
    TIME_REVERSED,
    BlindRegion,
    context_weights,
)
from phdenoise.networks.layers import act, he_param, square_convs
from phdenoise.networks.udvd import Udvd
from phdenoise.types import InputError

# Rows away from the hidden rectangle, and pixels across, of the half-plane filters [px]; wider ones cost more than they add to
# the U-Net's own context.
DEPTH, BREADTH = 3, 7
# Dilations of the second, third and fourth layer of the dilated network [px]; even, so that no sum of steps leads back to the pixel.
DILATIONS = (2, 4, 2)
# Distance that the dilated network looks [px]: one for the first layer, and the dilations.
DILATED_RADIUS = 1 + sum(DILATIONS)
# Channels of the dilated network; as many as the U-Net has at full resolution.
DILATED_CHANNELS = 16
# Layers of the dilated network; the words are those of weights in files.
DILATED_LAYERS = ("rings", "beside", "together", "around_mean", "around_spread")
# Factor on the correction of the mean, dimensionless: it starts at zero and, under Adam, learns faster than the rest by this factor.
BOOST = 5.0
# Distance that the U-Net looks [px]: 3x3 layers at full (2), half (3) and quarter resolution (2), and the cells of the latter.
RADIUS = 24
# Two halvings of the resolution [px].
STRIDE = 4
# Memory of the activations in prediction, measured on a CPU and rounded up, and that of the dilated network apart [bytes/px].
MEMORY, DILATED_MEMORY = 400.0, 200.0
# Weights learned on simulated scenes.
PRIOR = Path(__file__).with_name("prior.npz")


@dataclass(frozen=True)
class CentreBlind(Architecture):
    """The default network: it hides a rectangle of the centre frame, or the whole centre frame.

    Attributes:
        window: frames looked at on each side, 1 to 16.
        dilated: channels of the dilated network around the hidden pixel; 0 for none.
    """

    window: int = REACH[-1]
    dilated: int = 0

    name = "blind"
    objectives = ("nll", "mse", "counts")
    stride = STRIDE
    radius = RADIUS
    frames_needed = 2
    teaches = True
    widths: ClassVar[Mapping[str, int]] = {"quick": 32, "default": 32, "best": 32}

    def __post_init__(self) -> None:
        check_window(self.window, 1)

    @property
    def prior(self) -> Path | None:
        """Weights for the usual window."""
        return PRIOR if self.window == REACH[-1] else None

    @property
    def channels(self) -> int:
        """Every channel is there whatever the window; those beyond it are zero."""
        return CHANNELS + LINEAR

    def context_weights(self, present: Bool[np.ndarray, " t"]) -> Float[np.ndarray, "t k r"]:
        """See `Architecture`; a movie of one frame is refused."""
        return context_weights(present, self.window)

    @property
    def time_reversed(self) -> tuple[int, ...]:
        return TIME_REVERSED

    def module(
        self, region: BlindRegion, *, width: int, spread: float, rngs: nnx.Rngs
    ) -> "CentreBlindModule":
        bank = 0 if region.whole_frame else 6
        return CentreBlindModule(
            width=width, bank=bank, dilated=self.dilated, spread=spread, rngs=rngs
        )

    def hiding(self, region: BlindRegion) -> Architecture:
        """This network, or UDVD for a region that is hidden in every frame."""
        if not region.all_frames:
            return self
        if self.window != REACH[-1]:
            raise InputError(
                f"--blind {region} is UDVD, which looks at five frames: leave --window out."
            )
        return Udvd()

    def default_region(self, asked: BlindRegion, extent: BlindRegion) -> BlindRegion:
        """What the noise asks for."""
        return asked

    def with_dilated_context(self, region: BlindRegion) -> "CentreBlind":
        """With the dilated network, where the pixel alone is hidden."""
        return replace(self, dilated=DILATED_CHANNELS) if region == PIXEL else self

    def matching(self, weights: Mapping[str, np.ndarray]) -> "CentreBlind":
        """With as large a dilated network as there are weights of it."""
        known = (w.shape[-1] for name, w in weights.items() if name.startswith("rings/0"))
        return replace(self, dilated=next(known, 0))

    def margin(self, region: BlindRegion) -> int:
        """See `Architecture`; the dilated network is on the innovation, which looks as far as the U-Net."""
        beyond = DILATED_RADIUS if region == PIXEL else max(region.shift)
        return self._on_stride(RADIUS + beyond)

    def memory_per_pixel(self, region: BlindRegion, width: int | float) -> float:
        """See `Architecture`; measured at the widths of the presets."""
        return MEMORY + DILATED_MEMORY * (region == PIXEL)


# The network where none is named.
DEFAULT = CentreBlind()


class CentreBlindModule(nnx.Module):
    """Bias-free U-Net with a gated bank of blind filters.

    Args:
        width: channels at half resolution.
        bank: number of blind filters on the innovation, each looking in four directions; 0 where the whole
            centre frame is hidden.
        dilated: channels of the dilated network on the innovation around the pixel, where the pixel alone is hidden; 0 for none.
        spread: standard deviation predicted at the start [scaled intensity].
        rngs: of the initial weights.
    """

    def __init__(
        self,
        *,
        width: int = 32,
        bank: int = 6,
        dilated: int = 0,
        spread: float = 0.2,
        rngs: nnx.Rngs,
    ):
        deep, fine = width + width // 2, 16

        inputs = CHANNELS + LINEAR
        self.enter, self.half, *deeper = square_convs(
            rngs,
            (4 * inputs, width, 3),
            (width, width, 3),
            (4 * width, deep, 1),
            (deep, deep, 3),
            (deep, deep, 3),
            (deep, 4 * width, 1),
            (2 * width, width, 3),
            (width, 4 * fine, 1),
            (fine + inputs, fine, 3),
            (fine, fine, 3),
            # The start is the linear prediction and its error: training only improves on it.
            (fine, 1, 1, 0.0),
            (fine, 1, 1, 0.1),
            (fine, inputs - 1, 1, 0.0),
            *[(fine, 4 * bank, 1, 0.0)] * (bank > 0),
        )
        self.down, self.quarter_1, self.quarter_2, self.up, self.merge, *finer = deeper
        self.leave, self.full_1, self.full_2, self.mean, self.spread, self.choice, *gate = finer
        self.log_spread = nnx.Param(jnp.asarray(np.log(np.expm1(spread)), jnp.float32))
        self.bank = bank
        if bank:
            (self.gate,) = gate
            self.filters = he_param(rngs, (DEPTH, BREADTH, 1, bank), 0.3)
        self.dilated = dilated
        if dilated:
            self.rings = nnx.List(
                he_param(rngs, (3, 3, inputs, dilated))
                for inputs in (2, *[dilated] * len(DILATIONS))
            )
            self.beside, self.together, self.around_mean, self.around_spread = square_convs(
                rngs,
                (fine, dilated, 1),
                (dilated + fine, fine, 1),
                (fine, 1, 1, 0.0),
                (fine, 1, 1, 0.0),
            )

    def __call__(
        self,
        context: Float[Array, "n y x k"],
        centre: Float[Array, "n y x"],
        seen: Float[Array, "n y x"],
        region: BlindRegion,
    ) -> tuple[Float[Array, "n y x"], Float[Array, "n y x"]]:
        """Blind mean and standard deviation; see `Architecture.module`."""
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
            filtered = _half_plane_filters(innovation, self.filters[...], region)
            mean = mean + jnp.sum(filtered * self.gate(fine), -1, keepdims=True)
            if self.dilated and region == PIXEL:
                correction, wider = self._dilated_context(measured, fine)
                mean, spread = mean + BOOST * correction, spread + wider
        return mean[..., 0], jax.nn.softplus(spread)[..., 0]

    def _dilated_context(self, measured: Array, fine: Array) -> tuple[Array, Array]:
        """Corrections of mean and spread from the pixels around the hidden one."""
        first, *others = self.rings
        x = act(_dilated_convolution(measured, first[...]) + self.beside(fine))
        for kernel, dilation in zip(others, DILATIONS, strict=True):
            x = act(_dilated_convolution(x, kernel[...], dilation))
        x = act(self.together(jnp.concatenate([x, fine], axis=-1)))
        return self.around_mean(x), self.around_spread(x)


def _dilated_convolution(
    image: Float[Array, "n y x k"], kernel: Float[Array, "3 3 k m"], dilation: int = 1
) -> Float[Array, "n y x m"]:
    """A 3 x 3 convolution of pixels `dilation` apart, without its centre where that is 1.

    After one of dilation 1 and any of even dilations, every input is an odd number of
    pixels away along one axis, so the pixel itself is hidden.
    """
    if dilation == 1:
        kernel = kernel.at[1, 1].set(0.0)
    return jax.lax.conv_general_dilated(
        image, kernel, (1, 1), [(dilation, dilation)] * 2,
        rhs_dilation=(dilation, dilation), dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )  # fmt: skip


def _half_plane_filters(
    image: Float[Array, "n y x 1"], kernel: Float[Array, "d b 1 m"], region: BlindRegion
) -> Float[Array, "n y x m4"]:
    """Filters that read the image up, down, left and right of the hidden rectangle."""
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
