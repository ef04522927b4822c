"""Our convolution is XLA's, and so are its gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phdenoise.networks.layers import convolve
from phdenoise.types import InputError


@pytest.mark.parametrize(
    ("side", "padding"),
    [((3, 3), ((2, 0), (1, 1))), ((1, 1), ((0, 0), (0, 0))), ((3, 5), ((1, 1), (2, 2)))],
)
def test_value_and_gradients_are_those_of_xla(side, padding):
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (2, 9, 12, 4))
    kernel = jax.random.normal(keys[1], (*side, 4, 6))
    slope = jax.random.normal(keys[2], (2, 9, 12, 6))

    def plain(x, kernel):
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=layout)

    expected, back = jax.vjp(plain, x, kernel)
    found, ours = jax.vjp(lambda x, k: convolve(x, k, (1, 1), padding), x, kernel)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    for a, b in zip(ours(slope), back(slope), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_another_kind_of_convolution_is_refused():
    x, kernel = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 2))
    with pytest.raises(InputError, match="one group"):
        convolve(x, kernel, (1, 1), ((1, 1), (1, 1)), feature_group_count=2)
    with pytest.raises(InputError, match="strides"):
        convolve(x, kernel, (2, 2), ((1, 1), (1, 1)))
