"""Blindness: the Jacobian of an output pixel is exactly zero where it must not look, and not around it."""

from dataclasses import replace
from functools import lru_cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import ndimage

from phdenoise.networks.base import build
from phdenoise.networks.centre_blind import DEFAULT, CentreBlind
from phdenoise.networks.context import (
    CHANNELS,
    LINEAR,
    REACH,
    TIME_REVERSED,
    UDVD,
    MovieArrays,
    context_weights,
    parse_region,
    window_weights,
)
from phdenoise.networks.linear_filter import apply_linear, fit_linear
from phdenoise.networks.masked_unet import MaskedUnet
from phdenoise.networks.predict import predict_arrays, prepare
from phdenoise.networks.udvd import UdvdModule
from phdenoise.types import InputError


def movie(t=6, side=16, seed=0):
    return np.random.default_rng(seed).normal(size=(t, side, side)).astype(np.float32)


def awake(denoiser):
    """With every weight off its first value: the correction of the linear prediction starts at zero."""
    rng = np.random.default_rng(7)
    state = jax.tree.map(
        lambda w: w + 0.05 * jnp.asarray(rng.normal(size=w.shape), w.dtype), denoiser.state
    )
    return replace(denoiser, state=state)


@lru_cache
def slopes(trained, shown, frames, architecture=DEFAULT):
    """d (mean + variance of the blind prediction at t, y, x) / d movie, compiled once.

    The linear prediction is fitted to the movie by least squares, outside of the Jacobian, and has a test of
    its own below; here it is a sum of the frames around.
    """
    region = parse_region(trained)
    denoiser = build(region, architecture, width=12, centre=0.0, spread=1.0, seed=1)
    denoiser = awake(replace(denoiser, region=parse_region(shown)))
    weights = jnp.asarray(denoiser.context_weights(np.ones(frames, bool)))
    reach = REACH[-1]

    def output(movie, t, y, x):
        padded = jnp.pad(movie, ((reach, reach), (0, 0), (0, 0)))
        linear = None
        if denoiser.architecture.linear:
            blocks = jnp.stack([padded[k : k + 2 * reach + 1] for k in range(frames)])
            some = weights[:, np.arange(LINEAR) % weights.shape[1]]
            linear = jnp.einsum("tryx,tmr->tmyx", blocks, some)
        arrays = MovieArrays(padded, weights, linear, jnp.ones(movie.shape))
        view = arrays.view(t, 0, 0, movie.shape[1:])
        mean, var = denoiser(*(a[None] for a in view))
        return mean[0, y, x] + var[0, y, x]

    return jax.jit(jax.grad(output))


def blind_linear(frames, weights, target):
    """Blind linear predictions [t, LINEAR, y, x] of every frame."""
    padded = np.pad(frames, ((REACH[-1], REACH[-1]), (0, 0), (0, 0)))
    return apply_linear(padded, weights, fit_linear(frames, weights, target))


def hidden_pixels(shape, region, t, y, x):
    """The set that must not matter, by definition."""
    hidden = np.zeros(shape, bool)
    if region.whole_frame:
        hidden[t] = True
        return hidden
    rows, columns = region.rows // 2, region.columns // 2
    part = (slice(max(y - rows, 0), y + rows + 1), slice(max(x - columns, 0), x + columns + 1))
    hidden[(slice(None) if region.all_frames else t, *part)] = True
    return hidden


CASES = [
    *[(name, name) for name in ("pixel", "3x3", "1x5", "7x1", "frame", "udvd", "udvd-mf")],
    ("3x3", "pixel"),
    ("pixel", "1x5"),
    ("all:5x5", "udvd-mf"),
]


# Some also with the dilated part, which uses the pixels around the hidden one.
DILATED = [*((*case, 0) for case in CASES), *((*case, 4) for case in CASES if "pixel" in case)]


@pytest.mark.parametrize(("trained", "shown", "dilated"), DILATED)
@pytest.mark.parametrize(("t", "y", "x"), [(0, 8, 7), (2, 8, 7), (5, 0, 0), (2, 15, 3)])
def test_jacobian_is_zero_on_the_hidden_set_and_only_there(trained, shown, dilated, t, y, x):
    slope = np.asarray(
        slopes(trained, shown, 6, CentreBlind(dilated=dilated))(jnp.asarray(movie()), t, y, x)
    )
    region = parse_region(shown)
    hidden = hidden_pixels(slope.shape, region, t, y, x)
    assert np.all(slope[hidden] == 0.0)
    rows, columns = max(region.rows // 2, 0) + 1, max(region.columns // 2, 0) + 1
    ring = np.zeros(slope.shape, bool)
    inside = (slice(max(y - rows, 0), y + rows + 1), slice(max(x - columns, 0), x + columns + 1))
    others = [k for k in range(6) if k != t and abs(k - t) <= 2]
    ring[(others, *inside)] = True
    ring[(t, *inside)] = True
    # Every pixel around the hidden set is looked at, in the centre frame and in its neighbours.
    assert np.all(slope[ring & ~hidden] != 0.0)


@pytest.mark.parametrize(("name", "window"), [("pixel", 0), ("3x3", 0), ("1x5", 2)])
@pytest.mark.parametrize(("t", "y", "x"), [(0, 8, 7), (2, 0, 0), (2, 15, 3)])
def test_a_masked_network_is_blind_by_its_grids(name, window, t, y, x):
    """Noise2Void's prediction, every pixel from its own pass: exactly blind, single images and with frames around."""
    network = MaskedUnet(window, 1)
    slope = np.asarray(slopes(name, name, 4, network)(jnp.asarray(movie(4)), t, y, x))
    hidden = hidden_pixels(slope.shape, parse_region(name), t, y, x)
    assert np.all(slope[hidden] == 0.0)
    assert np.count_nonzero(slope[t] * ~hidden[t]) > 8
    others = np.arange(4) != t
    assert np.any(slope[others] != 0.0) == (window > 0)
    # Of the frames around, the pixel itself counts.
    assert window == 0 or slope[others, y, x].any()


@pytest.mark.parametrize("name", ["pixel", "frame", "udvd", "udvd-mf", "1x9", "9x1", "all:9x9"])
def test_a_region_is_named_as_it_is_parsed(name):
    assert str(parse_region(name)) == name


def test_regions_contain_what_they_hide():
    pixel, line, frame, udvd = (parse_region(n) for n in ("pixel", "1x5", "frame", "udvd"))
    for outer, inner in ((frame, line), (line, pixel), (udvd, pixel), (pixel, pixel)):
        assert outer.contains(inner)
    for outer, inner in ((line, frame), (pixel, line), (frame, udvd), (pixel, udvd)):
        assert not outer.contains(inner)
    assert [pixel.same_kind(other) for other in (line, frame, udvd)] == [True, False, False]
    assert [region.single_pixel for region in (pixel, udvd, frame)] == [True, True, False]


@pytest.mark.parametrize("name", ["2x3", "0x3", "all:1x3", "all:0x0", "hole", "3x"])
def test_impossible_regions_are_refused(name):
    with pytest.raises(InputError, match="region"):
        parse_region(name)


def test_a_single_image_is_seen_around_the_hidden_pixel():
    slope = np.asarray(slopes("udvd", "udvd", 1)(jnp.asarray(movie(1)), 0, 8, 7))
    assert slope[0, 8, 7] == 0.0
    for y, x in ((7, 7), (9, 7), (8, 6), (8, 8)):
        assert slope[0, y, x] != 0.0


def test_linear_prediction_does_not_follow_a_pixel_that_it_was_not_fitted_on():
    frames = movie(9, 24)
    weights = context_weights(np.ones(9, bool))
    target = np.random.default_rng(1).random(frames.shape) > 0.2
    target[4, 10, 11] = False
    changed = frames.copy()
    changed[4, 10, 11] += 5.0
    before, after = (blind_linear(f, weights, target) for f in (frames, changed))
    np.testing.assert_allclose(after[4], before[4], atol=0.05)
    # As a neighbour it counts.
    assert np.max(np.abs(after[3] - before[3])) > 0.05


def test_linear_prediction_beats_every_gaussian_filter_that_knows_the_truth():
    t, y, x = np.mgrid[:16, :48, :48].astype(float)
    clean = np.sin((x - 0.3 * t) / 4) * np.cos((y + 0.2 * t) / 5)
    noisy = (clean + 0.5 * np.random.default_rng(0).normal(size=clean.shape)).astype(np.float32)
    linear = blind_linear(noisy, context_weights(np.ones(16, bool)), np.ones(clean.shape, bool))
    best = min(
        np.mean((ndimage.gaussian_filter(noisy, (a, b, b)) - clean) ** 2)
        for a in (0.5, 1, 1.5, 2, 3)
        for b in (0, 0.5, 1, 1.5, 2)
    )
    assert np.mean((linear[:, -1] - clean) ** 2) < best


def test_udvd_has_the_published_number_of_parameters():
    network = UdvdModule(width=48, outputs=1, rngs=nnx.Rngs(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(nnx.state(network))) == 2_123_664


def test_udvd_output_starts_at_the_scale_of_its_input():
    network = UdvdModule(width=24, outputs=1, rngs=nnx.Rngs(0))
    frames = jnp.asarray(np.moveaxis(movie(5, 32), 0, -1))[None]
    mean, _ = network(frames, frames[..., 2], frames[..., 2], UDVD)
    assert 0.05 < float(jnp.std(mean)) < 5.0


@pytest.mark.parametrize("region", ["pixel", "frame"])
def test_whole_prediction_with_gaps_stays_blind(region):
    """Averaged over symmetries, padded, filled: still no response to the pixel's own value."""
    frames = movie(4, 14)
    valid = np.random.default_rng(3).random(frames.shape) > 0.3
    valid[1] = False
    valid[:, 5, 5] = False
    valid[2, 5, 5] = True
    denoiser = awake(build(parse_region(region), width=8, centre=0.1, spread=1.1, seed=0))
    changed = frames.copy()
    changed[2, 5, 5] += 10.0
    first, second = (prepare(denoiser, f, valid) for f in (frames, changed))
    # Like the weights, the coefficients of the linear prediction are fitted to the whole movie; held here.
    second = eqx.tree_at(lambda a: a.linear, second, first.linear)
    before, after = (
        predict_arrays(denoiser, a, frames.shape, symmetries=4) for a in (first, second)
    )
    assert np.all(np.isfinite(before.mean))
    # A filled neighbour of the same frame may know the pixel, but it is not shown (seen = 0).
    assert after.mean[2, 5, 5] == before.mean[2, 5, 5]
    assert after.var[2, 5, 5] == before.var[2, 5, 5]
    assert np.any(after.mean[3] != before.mean[3])


def test_invalid_values_never_matter():
    frames = movie(4, 12)
    valid = np.random.default_rng(3).random(frames.shape) > 0.2
    for region in ("pixel", "frame", "udvd"):
        denoiser = build(parse_region(region), width=6, centre=0.0, spread=1.0, seed=0)
        one, other = (
            prepare(denoiser, np.where(valid, frames, bad).astype(np.float32), valid)
            for bad in (np.nan, 1e9)
        )
        jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize("frames", [2, 3, 5, 12, 30])
def test_context_never_contains_the_centre_and_averages(frames):
    weights = context_weights(np.ones(frames, bool))
    assert np.all(weights[:, :, REACH[-1]] == 0.0)
    np.testing.assert_allclose(weights.sum(-1), 1.0, rtol=1e-6)
    for t in range(frames):
        used = np.flatnonzero(weights[t].any(0)) - REACH[-1] + t
        assert used.min() >= 0
        assert used.max() < frames
    reversed_in_time = weights[::-1, :, ::-1][:, np.array(TIME_REVERSED)[:CHANNELS]]
    np.testing.assert_allclose(reversed_in_time, weights)
    assert np.all(window_weights(frames).sum(-1) == 1.0)


def test_context_leaves_out_missing_frames():
    present = np.array([True, True, False, True, True, False, True])
    weights = context_weights(present)
    padded = np.pad(present, REACH[-1])
    for t in range(7):
        assert np.all(weights[t][:, ~padded[t : t + 2 * REACH[-1] + 1]] == 0.0)
        np.testing.assert_allclose(weights[t].sum(-1), 1.0, rtol=1e-6)
