"""Blindness: the Jacobian of an output pixel is exactly zero where it must not look, and not around it."""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from phdenoise.denoisers import Udvd, build, predict_blind, prepare
from phdenoise.denoisers.context import (
    REACH,
    TIME_REVERSED,
    context_weights,
    gather_context,
    window_weights,
)


def movie(t=6, side=16, seed=0):
    return np.random.default_rng(seed).normal(size=(t, side, side)).astype(np.float32)


@lru_cache
def slopes(region, frames):
    """d (mean + variance of the blind prediction at t, y, x) / d movie, compiled once."""
    denoiser = build(region, width=12, centre=0.0, spread=1.0, seed=1)
    weights = jnp.asarray(denoiser.context_weights(np.ones(frames, bool)))
    reach = REACH[-1]

    def output(movie, t, y, x):
        padded = jnp.pad(movie, ((reach, reach), (0, 0), (0, 0)))
        block = jax.lax.dynamic_slice_in_dim(padded, t, 2 * reach + 1)
        context = gather_context(block, weights[t])
        mean, var = denoiser(context[None], block[reach][None], jnp.ones((1, *movie.shape[1:])))
        return mean[0, y, x] + var[0, y, x]

    return jax.jit(jax.grad(output))


@pytest.mark.parametrize("t", [0, 2, 5])
@pytest.mark.parametrize("yx", [(8, 7), (0, 0), (15, 3)])
def test_pixel_region_hides_the_pixel_of_the_centre_frame_only(t, yx):
    y, x = yx
    slope = np.asarray(slopes("pixel", 6)(jnp.asarray(movie()), t, y, x))
    assert slope[t, y, x] == 0.0
    around = slope[t, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
    assert np.count_nonzero(around) == around.size - 1
    others = [k for k in range(6) if k != t]
    assert np.all(slope[others, y, x] != 0.0)


@pytest.mark.parametrize("t", [0, 2, 5])
def test_frame_region_hides_the_whole_centre_frame(t):
    slope = np.asarray(slopes("frame", 6)(jnp.asarray(movie()), t, 8, 7))
    assert np.all(slope[t] == 0.0)
    assert np.all(slope[[k for k in range(6) if k != t], 8, 7] != 0.0)


@pytest.mark.parametrize("frames", [1, 6])
def test_udvd_hides_the_pixel_in_all_frames(frames):
    t = frames // 2
    slope = np.asarray(slopes("udvd", frames)(jnp.asarray(movie(frames)), t, 8, 7))
    assert np.all(slope[:, 8, 7] == 0.0)
    for y, x in ((7, 7), (9, 7), (8, 6), (8, 8)):
        assert slope[t, y, x] != 0.0


@pytest.mark.parametrize("shift", [1, 2])
def test_udvd_shift_hides_a_square_of_side_2s_minus_1(shift):
    network = Udvd(width=6, shift=shift, rngs=nnx.Rngs(0))
    frames = jnp.asarray(np.moveaxis(movie(5), 0, -1))[None]
    centre = jnp.zeros((1, 16, 16))
    graph, state = nnx.split(network)
    output = lambda f, s: nnx.merge(graph, s)(f, centre, centre)[0][0, 8, 8]  # noqa: E731
    slope = jax.jit(jax.grad(output))(frames, state)[0]
    hidden = np.all(np.asarray(slope) == 0.0, axis=-1)
    reach = shift - 1
    inner = hidden[8 - reach : 9 + reach, 8 - reach : 9 + reach]
    assert inner.all()
    assert not hidden[8 - reach - 1, 8]
    assert not hidden[8, 8 + reach + 1]


def test_udvd_has_the_published_number_of_parameters():
    network = Udvd(width=48, outputs=1, rngs=nnx.Rngs(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(nnx.state(network))) == 2_123_664


def test_udvd_output_starts_at_the_scale_of_its_input():
    network = Udvd(width=24, outputs=1, rngs=nnx.Rngs(0))
    frames = jnp.asarray(np.moveaxis(movie(5, 32), 0, -1))[None]
    mean, _ = network(frames, frames[..., 2], frames[..., 2])
    assert 0.05 < float(jnp.std(mean)) < 5.0


@pytest.mark.parametrize("region", ["pixel", "frame"])
def test_whole_prediction_with_gaps_stays_blind(region):
    """Averaged over symmetries, padded, filled: still no response to the pixel's own value."""
    frames = movie(4, 14)
    valid = np.random.default_rng(3).random(frames.shape) > 0.3
    valid[1] = False
    valid[:, 5, 5] = False
    valid[2, 5, 5] = True
    denoiser = build(region, width=8, centre=0.1, spread=1.1, seed=0)
    before = predict_blind(denoiser, frames, valid, symmetries=4)
    changed = frames.copy()
    changed[2, 5, 5] += 10.0
    after = predict_blind(denoiser, changed, valid, symmetries=4)
    assert np.all(np.isfinite(before.mean))
    # A filled neighbour of the same frame may know the pixel, but it is not shown (seen = 0).
    assert after.mean[2, 5, 5] == before.mean[2, 5, 5]
    assert after.var[2, 5, 5] == before.var[2, 5, 5]
    assert np.any(after.mean[3] != before.mean[3])


def test_invalid_values_never_matter():
    frames = movie(4, 12)
    valid = np.random.default_rng(3).random(frames.shape) > 0.2
    for region in ("pixel", "frame", "udvd"):
        denoiser = build(region, width=6, centre=0.0, spread=1.0, seed=0)
        one, other = (
            prepare(denoiser, np.where(valid, frames, bad).astype(np.float32), valid)
            for bad in (np.nan, 1e9)
        )
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize("frames", [2, 3, 5, 12, 30])
def test_context_never_contains_the_centre_and_averages(frames):
    weights = context_weights(np.ones(frames, bool))
    assert np.all(weights[:, :, REACH[-1]] == 0.0)
    np.testing.assert_allclose(weights.sum(-1), 1.0, rtol=1e-6)
    for t in range(frames):
        used = np.flatnonzero(weights[t].any(0)) - REACH[-1] + t
        assert used.min() >= 0
        assert used.max() < frames
    reversed_in_time = weights[::-1, :, ::-1][:, np.array(TIME_REVERSED)]
    np.testing.assert_allclose(reversed_in_time, weights)
    assert np.all(window_weights(frames).sum(-1) == 1.0)


def test_context_leaves_out_missing_frames():
    present = np.array([True, True, False, True, True, False, True])
    weights = context_weights(present)
    padded = np.pad(present, REACH[-1])
    for t in range(7):
        assert np.all(weights[t][:, ~padded[t : t + 2 * REACH[-1] + 1]] == 0.0)
        np.testing.assert_allclose(weights[t].sum(-1), 1.0, rtol=1e-6)
