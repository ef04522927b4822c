"""Any blocks give what the whole movie gives, and constant movies stay constant."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phdenoise.denoising.blocks import FittedDenoiser, blocks, fit_blocks, predict_blocks
from phdenoise.denoising.source import Part
from phdenoise.networks import linear_filter as linear_module
from phdenoise.networks.base import build
from phdenoise.networks.centre_blind import CentreBlind
from phdenoise.networks.context import parse_region
from phdenoise.networks.predict import predict_arrays, prepare
from phdenoise.uncertainty.predictive_variance import PredictiveVariance

pytestmark = pytest.mark.xdist_group("denoise")

SHAPE = (18, 104, 30)


def movie(seed=0):
    t, y, x = np.mgrid[tuple(slice(n) for n in SHAPE)].astype(float)
    clean = np.sin((x - 0.3 * t) / 4) * np.cos((y + 0.2 * t) / 5)
    rng = np.random.default_rng(seed)
    frames = 7.0 + clean + 0.4 * rng.normal(size=SHAPE)
    seen = rng.random(SHAPE) > 0.02
    seen[:, 30:50, 10:20] = False
    seen[7] = False
    frames[~seen] = np.nan
    return frames.astype(np.float32), seen


def awake(region, width=8):
    """A network whose every part matters: the fresh one only passes on its linear prediction."""
    scales = {"centre": 7.0, "spread": 0.8, "seed": 0}
    denoiser = build(parse_region(region), CentreBlind(dilated=4), width=width, **scales)
    rng = np.random.default_rng(1)
    leaves, tree = jax.tree_util.tree_flatten(denoiser.state)
    leaves = [w + 0.02 * jnp.asarray(rng.normal(size=w.shape), jnp.float32) for w in leaves]
    return replace(denoiser, state=jax.tree_util.tree_unflatten(tree, leaves))


def reader(frames, seen):
    return lambda *window: Part(frames[window], seen[window], seen[window])


def in_blocks(denoiser, movie, seen, coefficients, *, symmetries=2, doubt=None, **size):
    weights = denoiser.context_weights(seen.any((1, 2)))
    mean, var = (np.full(movie.shape, np.nan, np.float32) for _ in range(2))
    chosen = blocks(movie.shape, denoiser.region, denoiser.architecture, **size)
    for block, found, _ in predict_blocks(
        FittedDenoiser(denoiser, movie.shape, weights, coefficients, ~seen.any((1, 2))),
        reader(movie, seen),
        chosen,
        symmetries=symmetries,
        variance=doubt,
    ):
        mean[block.kept, *block.tile.kept], var[block.kept, *block.tile.kept] = found
    return mean, var


@pytest.fixture(scope="module")
def whole():
    frames, seen = movie()
    denoiser = awake("pixel")
    arrays = prepare(denoiser, frames, seen)
    return frames, seen, denoiser, arrays, predict_arrays(denoiser, arrays, SHAPE, symmetries=2)


@pytest.mark.parametrize(("frames", "side"), [(18, 576), (7, 576), (9, 96)])
def test_blocks_do_not_matter(whole, frames, side):
    movie_, seen, denoiser, arrays, expected = whole
    mean, var = in_blocks(denoiser, movie_, seen, arrays.coefficients, frames=frames, side=side)
    assert len(blocks(SHAPE, denoiser.region, denoiser.architecture, frames=frames, side=side)) > (
        frames < 18
    )
    np.testing.assert_allclose(mean, expected.mean, rtol=0, atol=1e-5 * 0.8)
    # A linear prediction that rounds to the other side moves a variance by some 1e-5 of itself.
    np.testing.assert_allclose(var, expected.var, rtol=3e-5)


@pytest.mark.parametrize(("frames", "side"), [(7, 576), (9, 96)])
def test_parts_of_the_variance_do_not_depend_on_blocks(whole, frames, side):
    movie_, seen, denoiser, arrays, raw = whole
    doubt = PredictiveVariance(0.5, 0.1, np.linspace(1, 2, SHAPE[0]))
    expected = doubt(arrays, raw, (slice(SHAPE[1]), slice(SHAPE[2])))
    _, var = in_blocks(
        denoiser, movie_, seen, arrays.coefficients, doubt=doubt, frames=frames, side=side
    )
    np.testing.assert_allclose(var, expected.var, rtol=1e-4)
    assert np.ptp(var) > 0.1 * np.mean(var)


@pytest.mark.parametrize("length", [5, 18])
def test_coefficients_do_not_depend_on_the_stretches(whole, length, monkeypatch):
    frames, seen, denoiser, arrays, _ = whole
    weights = denoiser.context_weights(seen.any((1, 2)))
    # A window smaller than the frame, so that gaps are filled from outside it.
    monkeypatch.setattr(linear_module, "FITTED_PIXELS", 900)
    out = np.zeros(SHAPE, bool)
    out[:, ::7] = True
    found = fit_blocks(
        denoiser, reader(frames, seen), SHAPE, weights, lambda *w: out[w], frames=length
    ).coefficients
    expected = prepare(denoiser, frames, seen, seen & ~out).coefficients
    predicted, wanted = (
        linear_module.apply_linear(np.asarray(arrays.padded), weights, c) for c in (found, expected)
    )
    np.testing.assert_allclose(predicted, wanted, atol=1e-6)


def test_long_movies_are_solved_in_segments(monkeypatch):
    rng = np.random.default_rng(0)
    frames = (
        np.sin(np.arange(24) / 9)[:, None, None] + 0.3 * rng.normal(size=(24, 16, 16))
    ).astype(np.float32)
    weights = build(parse_region("pixel"), width=8, centre=0.0, spread=1.0, seed=0).context_weights(
        np.ones(24, bool)
    )
    everything = linear_module.fit_linear(frames, weights, np.ones(frames.shape, bool))
    monkeypatch.setattr(linear_module, "SEGMENT", 8)
    monkeypatch.setattr(linear_module, "POOLED_AROUND", 24)
    pieces = linear_module.fit_linear(frames, weights, np.ones(frames.shape, bool))
    np.testing.assert_array_equal(pieces, everything)


@pytest.mark.parametrize(
    "region", [pytest.param("udvd", marks=[pytest.mark.slow, pytest.mark.study]), "frame"]
)
def test_blocks_do_not_matter_to_other_networks(region):
    frames, seen = movie()
    frames, seen = frames[:4], seen[:4]
    if region == "udvd":
        frames, seen = (np.tile(a[:1], (1, 5, 1)) for a in (frames, seen))
    denoiser = awake(region, 2 if region == "udvd" else 8)
    arrays = prepare(denoiser, frames, seen)
    expected = predict_arrays(denoiser, arrays, frames.shape, symmetries=1)
    mean, _ = in_blocks(
        denoiser,
        frames,
        seen,
        arrays.coefficients,
        symmetries=1,
        frames=2,
        side=360 if region == "udvd" else 72,
    )
    scale = float(np.ptp(np.asarray(expected.mean)))
    np.testing.assert_allclose(mean, expected.mean, rtol=0, atol=1e-5 * max(scale, 1.0))


@pytest.mark.parametrize("count", [2, 12])
def test_a_constant_movie_stays_constant_at_both_ends(count):
    """The network's start, the linear prediction, adds up to one at the ends too."""
    frames = np.full((count, 20, 20), 3.25, np.float32)
    seen = np.ones(frames.shape, bool)
    denoiser = build(parse_region("pixel"), width=8, centre=0.0, spread=1.0, seed=0)
    coefficients = prepare(denoiser, frames, seen).coefficients
    mean, _ = in_blocks(denoiser, frames, seen, coefficients, frames=5, side=576)
    np.testing.assert_allclose(mean, 3.25, rtol=1e-5)
