"""What the U-Nets among the networks are made of: convolutions without bias, LeakyReLU, doubling."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from phdenoise.denoisers.convolution import convolve
from phdenoise.denoisers.initial import he_normal


def conv(
    inputs: int,
    outputs: int,
    side: int,
    rngs: nnx.Rngs,
    padding: Sequence[tuple[int, int]],
    gain: float = 1.0,
) -> nnx.Conv:
    """A convolution whose weights keep the variance through `act`, times `gain`.

    The default initialisation of most frameworks dies out over the 37 layers of UDVD.
    """
    return nnx.Conv(
        inputs,
        outputs,
        (side, side),
        padding=padding,
        use_bias=False,
        kernel_init=he_normal(gain),
        conv_general_dilated=convolve,
        rngs=rngs,
    )


def act(x: Array) -> Array:
    """LeakyReLU."""
    return jax.nn.leaky_relu(x, 0.1)


def run(layers: nnx.List, x: Array) -> Array:
    """Layers, each with its rectifier."""
    for layer in layers:
        x = act(layer(x))
    return x


def double(x: Float[Array, "n y x k"]) -> Float[Array, "n y2 x2 k"]:
    """Each pixel twice along both axes."""
    return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
