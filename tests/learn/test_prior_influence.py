"""A prior of the field that is wrong does not bias the law; one that is right costs nothing."""

import numpy as np
import pytest

from phdenoise.learn.gauss_newton import normal_equations
from phdenoise.learn.prior_influence import without_field_prior

LAW, FIELD, DATA = 2, 30, 400


def _trials(true_sd, seed, trials=300):
    """z of the law's numbers before and after, and their squared errors, over linear problems with white noise."""
    rng = np.random.default_rng(seed)
    before, after, weights = [], [], []
    for _ in range(trials):
        design = rng.normal(size=(LAW + FIELD, DATA)) / 4
        # The law is felt much as the field is: what the prior does to one, the other makes up for.
        design[:LAW] += design[LAW : LAW + 8].sum(axis=0) * 0.7
        sd = np.r_[np.full(LAW, 100.0), np.full(FIELD, 0.05)]
        x = np.r_[rng.normal(size=LAW), true_sd * rng.normal(size=FIELD)]
        data = design.T @ x + rng.normal(size=DATA)
        hessian = design @ design.T + np.diag(sd**-2.0)
        found = np.linalg.solve(hessian, design @ data)
        residual = design.T @ found - data
        equations = normal_equations(residual, design)
        law = without_field_prior(equations, found, (np.zeros(x.size), sd), LAW)
        own = np.sqrt(np.diag(np.linalg.inv(hessian))[:LAW])
        before.append((found[:LAW] - x[:LAW]) / own)
        after.append((law.theta - x[:LAW]) / np.sqrt(np.diag(law.covariance)))
        weights.append(law.weight)
    return np.array(before), np.array(after), np.array(weights)


def _held(z):
    return float(np.mean(np.abs(z) < 1.645))


def test_a_prior_that_is_too_narrow_is_taken_back():
    before, after, weights = _trials(1.0, 0)
    assert _held(before) < 0.65
    assert _held(after) > 0.77
    assert weights.mean() > 0.5


def test_a_prior_that_is_right_stays():
    before, after, weights = _trials(0.05, 1)
    assert _held(before) == pytest.approx(0.9, abs=0.04)
    assert _held(after) == pytest.approx(0.9, abs=0.05)
    assert weights.mean() < 0.35


def test_a_solve_that_diverged_changes_nothing():
    rows = np.full((3, 5), np.nan)
    equations = normal_equations(np.ones(5), rows)
    law = without_field_prior(equations, np.arange(3.0), (np.zeros(3), np.ones(3)), 1)
    assert law.theta.tolist() == [0.0]
    assert law.weight == 0
    assert not law.sentences
