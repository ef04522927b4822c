"""Widths of interfaces: of profiles with a known width, and how blur and noise change them."""

import numpy as np
import pytest
from scipy import ndimage

from phdenoise.metrics.interface import interface_width
from phdenoise.types import InputError


def stripes(xi, angle=0.0, side=96):
    y, x = np.mgrid[:side, :side].astype(float)
    along = x * np.cos(angle) + y * np.sin(angle)
    # A wall every 32 px, far from the next.
    return 0.5 + 0.4 * np.tanh((np.abs(along % 64 - 32) - 16) / xi)[None]


@pytest.mark.parametrize("xi", [3.0, 4.0, 5.0])
@pytest.mark.parametrize("angle", [0.0, 0.4, np.pi / 4, np.pi / 2])
def test_a_tanh_is_two_lengths_wide(xi, angle):
    width = interface_width(stripes(xi, angle))
    assert width.shape == (1,)
    assert float(width[0]) == pytest.approx(2 * xi, rel=0.1)


def test_spacing_is_that_of_the_axes():
    c = stripes(4.0)
    plain = float(interface_width(c)[0])
    assert float(interface_width(c, (0.5, 0.1))[0]) == pytest.approx(0.1 * plain, rel=1e-4)
    turned = np.swapaxes(c, 1, 2)
    assert float(interface_width(turned, (0.5, 0.1))[0]) == pytest.approx(0.5 * plain, rel=1e-4)


def test_blur_widens_and_noise_narrows():
    c = stripes(4.0)
    plain = float(interface_width(c)[0])
    assert float(interface_width(ndimage.gaussian_filter(c, (0, 3, 3)))[0]) > 1.2 * plain
    noisy = c + 0.2 * np.random.default_rng(0).normal(size=c.shape)
    assert float(interface_width(noisy)[0]) < 0.7 * plain


def test_a_frame_without_interfaces_has_no_width():
    width = interface_width(np.concatenate([stripes(4.0), np.full((1, 96, 96), 0.2)]))
    assert np.isfinite(width[0])
    assert np.isnan(width[1])
    with pytest.raises(InputError, match="3 x 3"):
        interface_width(np.zeros((2, 2, 9)))
