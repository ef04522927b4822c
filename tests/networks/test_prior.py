"""The network that was trained on simulated scenes: it fits what it should, and is better than a linear filter at once."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from phdenoise.networks.base import build, from_prior, save_prior
from phdenoise.networks.centre_blind import CentreBlind
from phdenoise.networks.context import FRAME, PIXEL, UDVD, parse_region
from phdenoise.networks.masked_unet import MaskedUnet
from phdenoise.networks.predict import predict_arrays, prepare
from phdenoise.networks.unet import Unet

WIDTH = CentreBlind.widths["default"]


def discs(frames=16, side=48):
    """Soft discs that move and grow: no scene that it was trained on."""
    t, y, x = np.mgrid[:frames, :side, :side].astype(float)
    rng = np.random.default_rng(1)
    out = np.zeros(t.shape)
    for _ in range(7):
        cy, cx = rng.uniform(0, side, 2)
        vy, vx = 0.3 * rng.normal(size=2)
        radius = rng.uniform(4, 8) + 0.15 * t
        away = np.hypot(y - cy - vy * t, x - cx - vx * t)
        out = np.maximum(out, 1 / (1 + np.exp(away - radius)))
    return out.astype(np.float32)


@pytest.mark.parametrize("region", [PIXEL, FRAME], ids=str)
def test_it_errs_less_than_the_linear_prediction(region):
    clean = discs()
    noise = np.random.default_rng(0).normal(size=clean.shape)
    if region.whole_frame:
        noise = 3 * ndimage.uniform_filter(noise, (0, 3, 3), mode="wrap")
    noisy = (clean + 0.3 * noise).astype(np.float32)
    scales = {"centre": float(noisy.mean()), "spread": float(noisy.std())}
    fresh = build(region, width=WIDTH, seed=0, **scales)
    arrays = prepare(fresh, noisy, np.ones(noisy.shape, bool))
    known = from_prior(fresh)
    assert known is not None
    errors = [
        np.mean((np.asarray(predict_arrays(d, arrays, clean.shape).mean) - clean) ** 2)
        for d in (fresh, known)
    ]
    assert errors[1] < 0.8 * errors[0], errors


@pytest.mark.parametrize(
    ("region", "width", "design"),
    [
        (PIXEL, 8, CentreBlind()),
        (UDVD, WIDTH, CentreBlind()),
        (parse_region("udvd-mf"), WIDTH, CentreBlind()),
        (PIXEL, WIDTH, CentreBlind(window=4)),
        (PIXEL, WIDTH, Unet()),
        (PIXEL, WIDTH, MaskedUnet()),
    ],
)
def test_other_networks_have_none(region, width, design):
    fresh = build(region, design, width=width, centre=0.0, spread=1.0, seed=0)
    assert from_prior(fresh) is None


def test_what_is_written_is_read_and_the_scale_is_the_movies(tmp_path):
    made = build(PIXEL, width=8, centre=0.0, spread=1.0, seed=3)
    moved = eqx.tree_at(
        lambda d: d.state, made, jax.tree.map(lambda w: w + jnp.float32(0.25), made.state)
    )
    save_prior(tmp_path / "prior.npz", moved)
    fresh = build(FRAME, width=8, centre=5.0, spread=2.0, seed=0, initial_sd=0.7)
    read = from_prior(fresh, tmp_path / "prior.npz")
    assert read is not None
    assert (float(read.centre), float(read.spread)) == (5.0, 2.0)
    for name in ("enter", "mean", "choice"):
        wanted = np.asarray(moved.state[name]["kernel"].get_value())
        np.testing.assert_allclose(read.state[name]["kernel"].get_value(), wanted, atol=1e-3)
    own = [d.state["log_spread"].get_value() for d in (fresh, read)]
    assert own[0] == own[1]
