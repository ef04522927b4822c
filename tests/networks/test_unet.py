"""The U-Nets: scale and constants pass through, masks hide what they say, sizes are counted, tiles agree."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import phdenoise.networks.predict as prediction
from phdenoise.networks.base import build, from_settings, weights_of
from phdenoise.networks.centre_blind import CentreBlind
from phdenoise.networks.context import LINEAR, PIXEL, parse_region
from phdenoise.networks.masked_unet import MaskedUnet
from phdenoise.networks.masking import choices_fixed, choices_random, grid, period, replaced
from phdenoise.networks.predict import predict_blind
from phdenoise.networks.table import architecture_of
from phdenoise.networks.unet import Unet, UnetModule
from phdenoise.noise.models import Gaussian
from phdenoise.training.objectives import Crops, pixel_loss
from phdenoise.types import InputError

DESIGNS = [Unet(2, 1), MaskedUnet(0, 1), MaskedUnet(1, 2)]


def awake(denoiser, size=0.2):
    """With every weight off its first value."""
    rng = np.random.default_rng(7)
    state = jax.tree.map(
        lambda w: w + size * jnp.asarray(rng.normal(size=w.shape), w.dtype), denoiser.state
    )
    return replace(denoiser, state=state)


def network(design, region="pixel", **scales):
    given = {"centre": 0.0, "spread": 1.0} | scales
    return awake(build(parse_region(region), design, width=8, seed=0, **given))


def movie(t=5, side=16, seed=0):
    return np.random.default_rng(seed).normal(size=(t, side, side)).astype(np.float32)


@pytest.mark.parametrize("design", DESIGNS, ids=str)
def test_a_constant_movie_stays_constant(design):
    frames = np.full((5, 14, 17), 7.3, np.float32)
    denoiser = network(design, centre=7.3, spread=0.4)
    mean = np.asarray(predict_blind(denoiser, frames, np.ones(frames.shape, bool)).mean)
    np.testing.assert_allclose(mean, 7.3, rtol=1e-5)


@pytest.mark.parametrize("design", DESIGNS, ids=str)
def test_twice_the_contrast_is_twice_the_result(design):
    rng = np.random.default_rng(0)
    inputs = design.channels
    denoiser, seen = network(design), jnp.ones((2, 16, 16))
    context, centre = (
        jnp.asarray(rng.normal(size=(2, 16, 16, *n)), jnp.float32) for n in ((inputs,), ())
    )
    one, two = (np.asarray(denoiser(s * context, s * centre, seen).mean) for s in (1.0, 2.0))
    np.testing.assert_allclose(two, 2 * one, atol=1e-5 * np.abs(one).max())
    assert np.std(one) > 0.01


@pytest.mark.slow
def test_a_unet_looks_at_its_own_pixel_and_at_its_window_only():
    denoiser = network(Unet(2, 1))
    weights = denoiser.context_weights(np.ones(9, bool))
    assert weights.shape == (9, 4, 33)
    used = np.flatnonzero(weights[4].any(0)) - 16
    np.testing.assert_array_equal(used, [-2, -1, 1, 2])
    context, frame = jnp.zeros((1, 16, 16, 4 + LINEAR)), jnp.asarray(movie(1))

    def out(centre):
        return denoiser(context, centre, jnp.ones_like(centre)).mean[0, 8, 7]

    slope = np.asarray(jax.grad(out)(frame))[0]
    assert slope[8, 7] != 0.0
    blank = denoiser(context, frame, jnp.zeros_like(frame)).mean
    np.testing.assert_array_equal(blank, 0.0)


@pytest.mark.parametrize(
    ("design", "width", "count"),
    [
        # 3x3 convolutions: two at each scale down, two at the bottom, two at each scale up; two heads and a level.
        (Unet(2, 1), 8, 9 * (15 * 8 + 64 + 128 + 256 + 192 + 64) + 16 + 1),
        (MaskedUnet(0, 1), 8, 9 * (8 + 64 + 128 + 256 + 192 + 64) + 16 + 1),
        (
            Unet(16, 2),
            24,
            9 * (504 + 576 + 1152 + 2304 + 4608 + 9216 + 1728 + 576 + 6912 + 2304) + 49,
        ),
    ],
)
def test_number_of_parameters(design, width, count):
    denoiser = build(PIXEL, design, width=width, centre=0.0, spread=1.0, seed=0)
    assert sum(leaf.size for leaf in jax.tree.leaves(denoiser.state)) == count


@pytest.mark.parametrize("name", ["pixel", "3x3", "1x11", "5x1"])
def test_masks_hide_their_rectangles_and_only_them(name):
    region, image = parse_region(name), jnp.asarray(movie(2, 24))
    rows, columns = period(region)
    centred = np.zeros((24, 24), int)
    for phase in np.ndindex(rows, columns):
        at = jnp.asarray(phase)
        centres, hidden = (np.asarray(a) for a in grid((24, 24), region, at))
        centred += centres
        for choice in (
            choices_fixed(image.shape, region, at),
            choices_random(jax.random.key(0), image.shape),
        ):
            new = np.asarray(replaced(image, region, at, choice))
            # No hidden value is anywhere in what is shown, not even elsewhere.
            assert not np.isin(new, np.asarray(image)[:, hidden]).any()
            np.testing.assert_array_equal(new[:, ~hidden], np.asarray(image)[:, ~hidden])
            # Only beyond a corner of the frame is there nothing to replace it with.
            assert np.mean(new[:, hidden] == 0.0) < 0.25
    np.testing.assert_array_equal(centred, 1)


@pytest.mark.slow
def test_noise2void_never_sees_the_value_it_is_trained_on():
    denoiser = network(MaskedUnet(0, 1), "1x3")
    frame = jnp.asarray(movie(2))

    def losses(centre):
        empty, ones = jnp.zeros((*centre.shape, 0)), jnp.ones_like(centre)
        crops = Crops(empty, centre, ones, ones)
        return pixel_loss(denoiser, crops, Gaussian(1.0), "mse", jax.random.key(3))

    loss, weight = losses(frame)
    _, y, x = np.argwhere((np.asarray(weight) > 0) & (np.arange(16) % 15 > 0))[3]
    slope = np.asarray(jax.grad(lambda c: losses(c)[0][0, y, x])(frame))[0]
    # Its measured value is in the squared error as the target alone: the slope is 2 (y − f). Its rectangle is not at all.
    assert abs(slope[y, x]) == pytest.approx(2 * np.sqrt(float(loss[0, y, x])), rel=1e-4)
    np.testing.assert_array_equal(slope[y, [x - 1, x + 1]], 0.0)
    assert np.count_nonzero(slope) > 8


@pytest.mark.parametrize("design", [Unet(1, 2), MaskedUnet(0, 1)], ids=str)
def test_tiles_agree_with_the_whole(design, monkeypatch):
    frames = movie(3, 100)[:, :52]
    denoiser, ok = network(design), np.ones(frames.shape, bool)
    whole = predict_blind(denoiser, frames, ok, symmetries=1)
    monkeypatch.setattr(prediction, "TILE", 72)
    assert len(prediction.tiles((52, 100), denoiser.region, design, 72)) > 1
    tiled = predict_blind(denoiser, frames, ok, symmetries=1)
    np.testing.assert_allclose(tiled.mean, whole.mean, atol=1e-5 * np.abs(whole.mean).max())


def test_an_estimate_knows_its_network():
    design = Unet(3, 1)
    denoiser = build(PIXEL, design, width=8, centre=0.0, spread=2.0, seed=0)
    settings = {"network": "unet", "window": 3, "depth": 1, "width": 8, "region": "none"}
    again = from_settings(weights_of(denoiser), settings)
    assert again.architecture == design
    assert float(again.spread) == 2.0
    assert architecture_of({"region": "pixel", "width": 8}) == CentreBlind()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((CentreBlind, 0), "--window"),
        ((Unet, 17, 2), "--window"),
        ((Unet, 2, 0), "--depth"),
    ],
)
def test_impossible_designs_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        values[0](*values[1:])


def test_a_unet_starts_from_the_linear_prediction():
    denoiser = build(PIXEL, Unet(1, 1), width=8, centre=0.0, spread=1.0, seed=0)
    unet = nnx.merge(denoiser.graph, denoiser.state)
    assert isinstance(unet, UnetModule)
    context = jnp.asarray(np.random.default_rng(0).normal(size=(1, 8, 8, 2 + LINEAR)), jnp.float32)
    frame = jnp.ones((1, 8, 8))
    mean, sd = unet(context, frame, frame, PIXEL)
    np.testing.assert_array_equal(mean, context[..., -1])
    assert np.all(np.asarray(sd) > 0)
