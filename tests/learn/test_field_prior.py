"""The prior of the initial field: how wide it is, where, when, and what the evidence makes of it."""

import jax.numpy as jnp
import numpy as np
import pytest
from families import family, point

from phdenoise.grid import Grid
from phdenoise.learn.empirical_bayes import choose_prior_strengths
from phdenoise.learn.joint import Problem, refine
from phdenoise.learn.laws import weak_prior
from phdenoise.learn.objective import FIELD_SD, MeasuredConcentration, field_prior, first_field

GRID = Grid((16, 16), 1.0, "no-flux")
SPACE = family("fickian", 0, 0)


def blurring(times, rate):
    """An edge across 24 x 16 cells that diffusion blurs."""
    x = np.arange(24.0) - 11.5
    width = np.sqrt(1e-6 + 2 * rate * np.asarray(times))
    profile = 0.5 + 0.3 * np.tanh(x[None] / width[:, None])
    return np.repeat(profile[:, :, None], 16, axis=2)


def test_a_fast_edge_is_doubted_where_it_is():
    variance = np.full((24, 16), 1e-4)
    spread = first_field(blurring((0.0, 1.0), 1.0), variance)
    assert spread[12].mean() > 4 * spread[2].mean()
    assert spread[2].mean() == pytest.approx(0.02, rel=0.1)
    assert first_field(blurring((100.0, 101.0), 1e-3), variance).max() < 0.03


def test_the_spread_stays_within_its_bounds():
    frames = np.stack([np.zeros((8, 8)), np.ones((8, 8))])
    np.testing.assert_allclose(first_field(frames, np.zeros((8, 8))), FIELD_SD[1])
    np.testing.assert_allclose(first_field(np.zeros((2, 8, 8)), np.zeros((8, 8))), FIELD_SD[0])


def still_problem(truth, noise, sd, seed):
    """A field that hardly moves, measured in 6 frames."""
    rng = np.random.default_rng(seed)
    frames = 0.5 + truth + noise * rng.normal(size=(6, 16, 16))
    observation = MeasuredConcentration(
        frames=jnp.asarray(frames, jnp.float32),
        weights=jnp.full(frames.shape, noise**-2.0, jnp.float32),
        times=jnp.arange(6, dtype=jnp.float32),
        grid=GRID,
    )
    prior = field_prior(np.full((16, 16), 0.5), GRID, sd=sd, waves=12, dtype=np.dtype(np.float32))
    return Problem(SPACE, observation, prior, weak_prior(SPACE, point(SPACE, 1e-3, 1.0, 0.0)), 1, 0)


def test_the_evidence_finds_how_wide_each_band_is():
    """Long waves of three times the prior's spread beside short ones that are not there."""
    prior = still_problem(0.0, 0.02, 0.03, 0).prior
    rng = np.random.default_rng(1)
    long = np.zeros((12, 12))
    long[:4, :4] = rng.choice([-3.0, 3.0], size=(4, 4))
    amplitude = float(prior.amplitude)
    y, x = np.asarray(prior.waves.y), np.asarray(prior.waves.x)
    truth = amplitude * (y @ long @ x.T)
    problem = still_problem(truth, 0.02, 0.03, 2)
    weighed = choose_prior_strengths(
        problem, refine(problem, problem.start, iterations=5), field=True, iterations=5
    )
    spectrum = np.asarray(weighed.problem.prior.spectrum)
    assert 2 < spectrum[1, 1] < 3.5
    assert 2 < spectrum[2, 1] < 3.5
    assert spectrum[9, 9] < 0.5
    field = np.asarray(
        weighed.problem.prior.field(jnp.asarray(weighed.problem.split(weighed.minimum.point)[1]))
    )
    assert np.sqrt(np.mean((field - 0.5 - truth) ** 2)) < 0.5 * 0.02
