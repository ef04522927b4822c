"""Arrays in blocks."""

import numpy as np

from phdenoise.learn.blocks import binned, in_blocks


def test_sums_of_blocks_are_those_of_a_loop():
    values = np.random.default_rng(0).normal(size=(3, 7, 9, 11))
    found = in_blocks(values, (2, 4, 3)).sum((-5, -3, -1))
    assert found.shape == (3, 3, 2, 3)
    for t, y, x in np.ndindex(3, 2, 3):
        part = values[:, 2 * t : 2 * t + 2, 4 * y : 4 * y + 4, 3 * x : 3 * x + 3]
        np.testing.assert_allclose(found[:, t, y, x], part.sum((1, 2, 3)))


def test_bins_are_means_and_one_pixel_is_itself():
    values = np.arange(42.0).reshape(6, 7)
    np.testing.assert_allclose(binned(values, 3)[0, 0], values[:3, :3].mean())
    assert binned(values, 3).shape == (2, 2)
    assert binned(values, 1) is values
