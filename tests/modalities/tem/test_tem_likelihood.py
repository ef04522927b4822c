"""Tests of sites: tails of Poisson counts, power, false claims over a map, better than the mean of a disc."""

import numpy as np
import pytest
from scipy import stats

from phdenoise.modalities.tem.likelihood import (
    Sites,
    judge_sites,
    matched_power,
    ratio_map,
    sentence,
    verdicts,
)
from phdenoise.types import InputError

LEVEL = 0.45


def column_sites(number: int, height: float = -0.10, width: float = 9.0, side: int = 61) -> Sites:
    """Equal sites on vacuum: one column each."""
    t = np.arange(side) - side // 2
    bump = np.exp(-(t[:, None] ** 2 + t**2) / (2 * width**2))
    absent = np.full((number, side, side), LEVEL)
    corner = np.stack([np.zeros(number, int), side * np.arange(number)], axis=1)
    return Sites(corner, absent + height * bump, absent)


def draws(sites: Sites, present: np.ndarray, seed: int, frames: int = 1) -> np.ndarray:
    """Counts of a strip of sites [t, y, x]."""
    mean = np.where(present[:, None, None], sites.present, sites.absent)
    strip = np.concatenate(list(mean), axis=1)
    return np.random.default_rng(seed).poisson(strip, (frames, *strip.shape)).astype(float)


def test_tail_of_one_pixel_is_that_of_poisson_counts():
    absent, present = np.full((1, 1, 1), 20.0), np.full((1, 1, 1), 32.0)
    sites = Sites(np.zeros((1, 2), int), present, absent)
    for n in (20, 28, 35, 45):
        test = judge_sites(np.full((1, 1), float(n)), sites)
        # A continuous law between the two of counts above and counts at or above.
        low, high = stats.poisson.sf(n, 20), stats.poisson.sf(n - 1, 20)
        assert low * 0.98 < test.p_absent[0] < high * 1.02
        low, high = stats.poisson.cdf(n - 1, 32), stats.poisson.cdf(n, 32)
        assert low * 0.98 < test.p_present[0] < high * 1.02


def test_false_alarms_and_power_are_as_stated():
    sites = column_sites(200)
    test = judge_sites(draws(sites, np.zeros(200, bool), 0)[0], sites)
    assert np.mean(test.p_absent < 0.05) == pytest.approx(0.05, abs=0.045)
    there = judge_sites(draws(sites, np.ones(200, bool), 1)[0], sites)
    assert np.mean(there.p_absent < 0.05) == pytest.approx(there.power[0], abs=0.08)
    assert there.power[0] == pytest.approx(matched_power(there.distance, 0.05)[0], abs=0.03)
    assert there.map_power[0] < there.power[0]
    two = judge_sites(draws(sites, np.ones(200, bool), 2, frames=2), sites)
    assert two.frames == 2
    assert two.distance[0] == pytest.approx(np.sqrt(2) * there.distance[0], rel=1e-6)


def test_the_matched_template_beats_the_mean_of_a_disc():
    sites = column_sites(300)
    t = np.arange(61) - 30
    disc = np.hypot(t[:, None], t) <= 9 * np.sqrt(2)
    scores = []
    for present, seed in ((False, 3), (True, 4)):
        counts = draws(sites, np.full(300, present), seed)[0]
        ratio = judge_sites(counts, sites).ratio
        parts = np.stack(np.split(counts, 300, axis=1))
        scores.append((ratio, -parts[:, disc].sum(axis=1)))
    matched, mean = (
        (scores[1][k].mean() - scores[0][k].mean())
        / np.sqrt((scores[0][k].var() + scores[1][k].var()) / 2)
        for k in (0, 1)
    )
    assert matched > 1.05 * mean


@pytest.mark.slow
def test_claims_over_a_map_keep_their_share_of_false_ones_and_state_their_power():
    sites = column_sites(100, height=-0.16)
    present = np.arange(100) < 50
    false, claims, right = 0, 0, 0
    for seed in range(8):
        said = np.asarray(verdicts(judge_sites(draws(sites, present, 10 + seed)[0], sites)))
        claimed = said != "cannot tell"
        wrong = ((said == "present") & ~present) | ((said == "absent") & present)
        false, claims, right = (
            false + wrong.sum(),
            claims + claimed.sum(),
            right + (claimed & ~wrong).sum(),
        )
    assert false / claims < 0.08
    assert right / 800 > 0.8
    weak = column_sites(5, height=-0.03)
    test = judge_sites(draws(weak, np.zeros(5, bool), 1)[0], weak)
    said = verdicts(test)
    assert said.count("cannot tell") >= 3
    assert "cannot tell" in sentence(test, 0, "cannot tell")
    assert f"{100 * test.power[0]:.0f} %" in sentence(test, 0, "cannot tell")


def test_map_and_refusals():
    n = np.random.default_rng(0).poisson(0.4, (6, 7)).astype(float)
    assert np.allclose(ratio_map(n, np.full_like(n, 0.3), np.full_like(n, 0.3)), 0)
    total = ratio_map(n, np.full_like(n, 0.3), np.full_like(n, 0.5)).sum()
    assert total == pytest.approx(n.sum() * np.log(0.6) + 0.2 * n.size)
    with pytest.raises(InputError, match="one shape"):
        ratio_map(n, n[1:], n)
    with pytest.raises(InputError, match="inside"):
        judge_sites(n, column_sites(1))
    with pytest.raises(InputError, match="false-alarm"):
        judge_sites(n, column_sites(1), level=1.5)
    empty = judge_sites(n, Sites(np.zeros((0, 2), int), np.zeros((0, 3, 3)), np.zeros((0, 3, 3))))
    assert verdicts(empty) == []
