"""What the networks are made of: initial weights, convolutions without bias, LeakyReLU, doubling.

    w ~ N(0, 2 gain² / fan_in)                                     keeps the variance of a signal through rectified layers
    y = x ∗ w,     ∂L/∂w[a, b] = Σ_n Σ_p x[n, p + (a, b)] ⊗ ∂L/∂y[n, p]

Initial weights: He et al., ICCV 2015, arXiv:1502.01852. They are drawn by numpy: XLA compiles a random draw anew for every
shape of weight, ten seconds for a network that is then initialised in a millisecond.

The kernel gradient of `convolve` is a matrix product: on CPU three times as fast as XLA's own, a convolution with a kernel as
large as the image, for which its CPU backend has no fast path. The images of a batch are taken in turn, each as one matrix
product a kernel row, so that memory grows by one image's neighbourhoods only. Value and input gradient are XLA's.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from phdenoise.types import InputError


def conv(
    inputs: int,
    outputs: int,
    side: int,
    rngs: nnx.Rngs,
    padding: Sequence[tuple[int, int]],
    gain: float = 1.0,
) -> nnx.Conv:
    """A convolution whose weights keep the variance through `act`, times `gain`.

    With the default initialisation of most frameworks the signal vanishes over the 37 layers of UDVD.

    Args:
        inputs, outputs: channels.
        side: of the filters [px].
        rngs: of the initial weights.
        padding: zeros before and after each axis [px].
        gain: factor on the initial weights.

    Returns:
        The layer, without bias.
    """
    return nnx.Conv(
        inputs,
        outputs,
        (side, side),
        padding=padding,
        use_bias=False,
        kernel_init=_he_normal(gain),
        conv_general_dilated=convolve,
        rngs=rngs,
    )


def square_convs(
    rngs: nnx.Rngs, *sizes: tuple[int, int, int] | tuple[int, int, int, float]
) -> list[nnx.Conv]:
    """Convolutions without bias that keep the size of an image.

    Args:
        rngs: of the initial weights.
        sizes: of each layer, input channels, output channels, side of the filters [px], and the gain where it is not one.

    Returns:
        The layers.
    """
    return [
        nnx.Conv(
            inputs, outputs, (side, side), use_bias=False, kernel_init=_he_normal(*gain), rngs=rngs
        )
        for inputs, outputs, side, *gain in sizes
    ]


def he_param(rngs: nnx.Rngs, shape: tuple[int, ...], gain: float = 1.0) -> nnx.Param:
    """Filters with initial weights of `_he_normal`.

    Args:
        rngs: of the initial weights.
        shape: rows, columns, input and output channels.
        gain: factor on the initial weights.

    Returns:
        The parameter.
    """
    return nnx.Param(_he_normal(gain)(rngs.params(), shape))


def run(layers: nnx.List, x: Array) -> Array:
    """Layers, each with its rectifier.

    Args:
        layers: applied in turn.
        x: images [n, y, x, k].

    Returns:
        Images [n, y, x, m].
    """
    for layer in layers:
        x = act(layer(x))
    return x


def double(x: Float[Array, "n y x k"]) -> Float[Array, "n y2 x2 k"]:
    """Each pixel twice along both axes."""
    return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)


def _he_normal(gain: float = 1.0) -> Callable[..., Array]:
    """Initialiser (key, shape, dtype) -> weights; for concrete keys, so not inside a jitted function."""

    def _draw(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32, **_: Any) -> Array:
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
        sd = gain * np.sqrt(2.0 / np.prod(shape[:-1]))
        return jnp.asarray(sd * rng.standard_normal(shape), dtype)

    return _draw


Padding = tuple[tuple[int, int], tuple[int, int]]
# The rectifier of all networks: LeakyReLU of slope 0.1 below zero.
act = partial(jax.nn.leaky_relu, negative_slope=0.1)
_LAYOUT = ("NHWC", "HWIO", "NHWC")


def convolve(
    x: Float[Array, "n y x i"],
    kernel: Float[Array, "a b i o"],
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    **kwargs: Any,
) -> Float[Array, "n y2 x2 o"]:
    """The `conv_general_dilated` of `flax.nnx.Conv`, for strides of 1 and one group; reverse mode only.

    Args:
        x: images.
        kernel: filters.
        strides: 1 along each axis.
        padding: zeros before and after each axis.
        kwargs: must keep their defaults (dilations 1, one group, channels last).

    Returns:
        Filtered images.

    Raises:
        InputError: another kind of convolution.
    """
    plain = all(s == 1 for s in strides) and kwargs.get("feature_group_count", 1) == 1
    dilated = (kwargs.get(key) or (1,) for key in ("lhs_dilation", "rhs_dilation"))
    if not plain or any(d != 1 for dilation in dilated for d in dilation):
        raise InputError("This convolution has strides and dilations of 1 and one group.")
    (top, bottom), (left, right) = padding
    return _convolve(x, kernel, ((top, bottom), (left, right)))


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _convolve(x: Array, kernel: Array, padding: Padding) -> Array:
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=_LAYOUT)


def _forward(x: Array, kernel: Array, padding: Padding) -> tuple[Array, tuple[Array, Array]]:
    return _convolve(x, kernel, padding), (x, kernel)


def _backward(padding: Padding, kept: tuple[Array, Array], slope: Array) -> tuple[Array, Array]:
    x, kernel = kept

    def _of_input(x: Array) -> Array:
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=_LAYOUT)

    (dx,) = jax.linear_transpose(_of_input, x)(slope)
    return dx, _kernel_gradient(x, slope, kernel.shape, padding)


def _kernel_gradient(x: Array, slope: Array, shape: tuple[int, ...], padding: Padding) -> Array:
    rows, columns, inputs, outputs = shape
    height, width = slope.shape[1:3]

    def _add(total: Array, image: tuple[Array, Array]) -> tuple[Array, None]:
        padded = jnp.pad(image[0], (*padding, (0, 0)))
        beside = jnp.concatenate([padded[:, b : b + width] for b in range(columns)], axis=-1)
        flat = image[1].reshape(-1, outputs)
        products = [
            beside[a : a + height].reshape(-1, columns * inputs).T @ flat for a in range(rows)
        ]
        return total + jnp.stack(products), None

    start = jnp.zeros((rows, columns * inputs, outputs), x.dtype)
    total, _ = jax.lax.scan(_add, start, (x, slope))
    return total.reshape(shape)


_convolve.defvjp(_forward, _backward)
