"""Equivalent filters are the derivative of the prediction, blind where it is, and say what moved."""

import numpy as np
import pytest
from scipy.ndimage import shift

from phdenoise.networks import linear_filter as linear
from phdenoise.networks.base import build
from phdenoise.networks.context import parse_region
from phdenoise.networks.equivalent_filter import equivalent_filters, implicit_motion
from phdenoise.networks.predict import predict_blind
from phdenoise.types import InputError

SHAPE = (7, 22, 25)
ALL = np.ones(SHAPE, bool)


def movie(seed=0):
    t, y, x = np.mgrid[tuple(slice(n) for n in SHAPE)].astype(float)
    clean = 3 + np.sin((x - t) / 3) + np.cos(y / 4)
    return (clean + 0.3 * np.random.default_rng(seed).normal(size=SHAPE)).astype(np.float32)


def denoiser(region):
    return build(parse_region(region), width=8, centre=3.0, spread=1.2, seed=1)


@pytest.mark.parametrize("region", [pytest.param("udvd", marks=pytest.mark.slow), "pixel", "frame"])
def test_filter_predicts_what_a_small_change_does(region, monkeypatch):
    """At a corner that is padded, with the fitted coefficients held, as the filter says."""
    network, frames, pixel = denoiser(region), movie(), (3, 20, 24)
    found = equivalent_filters(network, frames, ALL, [pixel], symmetries=2)[0]
    scaled = ((frames - 3.0) / 1.2).astype(np.float32)
    weights = network.context_weights(np.ones(7, bool))
    if region != "udvd":
        held = linear.whole_normal_equations(scaled, weights, ALL)
        monkeypatch.setattr(linear, "whole_normal_equations", lambda *_: held)
    random, moved = np.random.default_rng(1), []
    for _ in range(2):
        step = np.zeros(SHAPE, np.float32)
        step[2:5, 14:22, 17:25] = random.normal(size=(3, 8, 8))
        up, down = (
            float(predict_blind(network, frames + s * 1e-3 * step, ALL, symmetries=2).mean[pixel])
            for s in (1, -1)
        )
        # The rectifiers have kinks: only a small step is in the linear range.
        expected = float(np.sum(found.weights * step[found.frames]))
        size = float(np.sqrt(np.sum(found.weights**2)))
        assert (up - down) / (2 * 1e-3) == pytest.approx(expected, abs=0.015 * size)
        moved.append(abs(expected) / size)
    assert max(moved) > 0.05


@pytest.mark.slow
def test_filter_is_blind_where_the_network_is():
    for region, hidden in (("pixel", (3, 9, 9)), ("frame", (3,)), ("udvd", (slice(None), 9, 9))):
        found = equivalent_filters(denoiser(region), movie(), ALL, [(3, 9, 9)], symmetries=4)[0]
        assert np.all(found.weights[hidden] == 0.0)
        assert np.count_nonzero(found.weights) > 50


def test_untrained_network_averages_and_preserves_intensity():
    """Before training the prediction is the best linear filter."""
    found = equivalent_filters(denoiser("frame"), movie(), ALL, [(3, 9, 9), (0, 0, 0)])
    for one in found:
        assert one.weights.shape == (7, 22, 25)
        assert 3 < one.effective < 2000
        assert one.total == pytest.approx(1.0, abs=0.15)


def test_motion_is_where_the_weights_lie():
    y, x = np.mgrid[:31, :33]
    spot = np.exp(-((y - 15) ** 2 + (x - 16) ** 2) / 8)
    weights = np.stack([shift(spot, (0.5 * k, -1.5 * k), order=3) for k in (-2, -1, 0, 1)])
    weights = np.concatenate([weights, 1e-4 * spot[None]])
    motion, sd = implicit_motion(weights, (15, 16))
    np.testing.assert_allclose(motion[:4], [(0.5 * k, -1.5 * k) for k in (-2, -1, 0, 1)], atol=0.02)
    assert np.all((sd[:4] > 0.05) & (sd[:4] < 1))
    assert np.isnan(motion[4]).all()
    assert np.isnan(sd[4]).all()


def test_a_pixel_outside_is_refused():
    with pytest.raises(InputError, match="outside"):
        equivalent_filters(denoiser("udvd"), movie(), ALL, [(7, 0, 0)])
