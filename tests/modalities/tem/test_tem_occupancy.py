"""Rates of a two-state chain: intervals cover, states are summed out exactly, no jump leaves a bound."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phdenoise.modalities.tem.occupancy import _log_likelihoods, _transitions, fit_rates
from phdenoise.types import InputError


def simulated(random, sites, frames, interval, rates, distance):
    """States and likelihood ratios of two Gaussians `distance` standard deviations apart."""
    on, off = rates
    chance = _transitions(np.array([on]), np.array([off]), interval)[0]
    state = np.zeros((sites, frames), int)
    state[:, 0] = random.random(sites) < chance[2, 1]
    for t in range(1, frames):
        state[:, t] = random.random(sites) < chance[state[:, t - 1], 1]
    score = random.standard_normal(state.shape) + distance * state
    return state, distance * score - distance**2 / 2


def test_likelihood_sums_over_all_paths():
    random = np.random.default_rng(0)
    ratio = random.normal(size=(1, 5))
    chance = _transitions(np.array([0.3]), np.array([0.8]), 1.0)
    total = 0.0
    for path in itertools.product((0, 1), repeat=5):
        p = chance[0, 2, path[0]]
        for a, b in itertools.pairwise(path):
            p *= chance[0, a, b]
        total += p * np.exp(np.sum(np.asarray(path) * ratio[0]))
    with jax.enable_x64(True):
        value = _log_likelihoods(jnp.asarray(chance), jnp.asarray(ratio))
    assert float(value[0]) == pytest.approx(np.log(total), rel=1e-9)


@pytest.mark.study
@pytest.mark.slow
def test_intervals_cover_and_occupancy_is_calibrated():
    random = np.random.default_rng(1)
    inside, runs, predicted, actual = 0, 40, [], []
    for _ in range(runs):
        state, ratio = simulated(random, 6, 40, 0.5, (0.12, 0.3), 2.5)
        rates = fit_rates(ratio, 0.5, level=0.9)
        for value, (low, high) in ((0.12, rates.on_interval), (0.3, rates.off_interval)):
            inside += low <= value <= high
        predicted.append(rates.probability)
        actual.append(state)
    # 80 intervals of 90 %: 72 expected, standard deviation 2.7.
    assert 64 <= inside <= 79
    p, s = np.concatenate(predicted), np.concatenate(actual)
    for low in (0.0, 0.25, 0.5, 0.75):
        bin_ = (p >= low) & (p < low + 0.25)
        assert s[bin_].mean() == pytest.approx(p[bin_].mean(), abs=0.07)
    # Frames of one site decide together: better than each frame by itself.
    single = [simulated(random, 6, 40, 0.5, (0.12, 0.3), 2.5) for _ in range(10)]
    wrong = np.mean([(fit_rates(r, 0.5).probability > 0.5) != s for s, r in single])
    alone = np.mean([(r > 0) != s for s, r in single])
    assert wrong < 0.8 * alone


def test_sites_that_never_change_give_a_bound_and_missing_frames_say_nothing():
    ratio = np.full((4, 50), -6.0)
    rates = fit_rates(ratio, 1.0)
    # Four sites, 50 frames, no arrival: the upper end of a rate is some 2 in 200 s.
    assert 0.003 < rates.on_interval[1] < 0.03
    assert rates.on_interval[0] < 1e-3
    assert rates.jumps[0] < 0.5
    assert rates.resolved
    hidden = ratio.copy()
    hidden[:, 10:20] = np.nan
    assert fit_rates(hidden, 1.0).probability.max() < 0.2
    with pytest.raises(InputError, match="two frames"):
        fit_rates(ratio[:, :1], 1.0)
    with pytest.raises(InputError, match="between frames"):
        fit_rates(ratio, 0.0)
    assert "arrive" in rates.sentences()[0]


def test_rates_faster_than_frames_are_said_to_be_so():
    _, ratio = simulated(np.random.default_rng(2), 5, 60, 1.0, (3.0, 3.0), 6.0)
    assert not fit_rates(ratio, 1.0).resolved
