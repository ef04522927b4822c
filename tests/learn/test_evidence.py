"""The strength of a law's prior is that of the terms that are there."""

import numpy as np
import pytest
from families import family, point

from phdenoise.learn.evidence import groups, marginal, strength, strengthen
from phdenoise.learn.gauss_newton import Normal, inverse
from phdenoise.learn.laws import weak_prior

SPACE = family("cahn-hilliard", 5, 6)


def seen(truth, sd, seed=0):
    """Normal equations at the weak fit of a law of which the movie shows `truth` with errors `sd`."""
    rng = np.random.default_rng(seed)
    fitted = truth + sd * rng.standard_normal(truth.size)
    return Normal(
        0.0, np.zeros(truth.size), np.diag(np.broadcast_to(sd, truth.shape) ** -2.0)
    ), fitted


def test_terms_that_are_not_there_are_held():
    centre = point(SPACE, 1.0, 2.0, 3.0)
    truth = centre.copy()
    truth[np.array(SPACE.names) == "q_2"] = -1.5
    normal, fitted = seen(truth, 0.05)
    held = strengthen(SPACE, weak_prior(SPACE, centre), normal, fitted)
    for _ in range(3):
        held = strengthen(SPACE, held, normal, fitted)
    s = strength(SPACE, held)
    assert 0.2 < s["p"] < 0.6
    assert 1.0 < s["q"] < 3.0


def test_terms_that_are_there_are_left():
    centre = point(SPACE, 1.0, 2.0, 3.0)
    truth = centre.copy()
    truth[np.array(SPACE.names) == "p_3"] = 1.0
    normal, fitted = seen(truth, 0.02)
    held = strengthen(SPACE, weak_prior(SPACE, centre), normal, fitted)
    # √12 × 1 kT, shared by four terms and the one that every group has.
    assert strength(SPACE, held)["p"] == pytest.approx(np.sqrt(12 / 5), rel=0.2)


def test_what_the_movie_does_not_show_is_not_counted():
    """A term without data says nothing of how large the others are."""
    centre = point(SPACE, 1.0, 2.0, 3.0)
    truth = centre.copy()
    truth[np.array(SPACE.names) == "p_2"] = 1.0
    blind = np.where(np.isin(SPACE.names, ("p_3", "p_4", "p_5")), 1e4, 0.02)
    normal, fitted = seen(truth, blind)
    fitted[np.isin(SPACE.names, ("p_3", "p_4", "p_5"))] = 0.0
    s = strength(SPACE, strengthen(SPACE, weak_prior(SPACE, centre), normal, fitted))
    # √6 × 1 kT, shared by one term and the one that every group has.
    assert s["p"] == pytest.approx(np.sqrt(6 / 2), rel=0.2)


def test_slopes_and_scales_are_never_held():
    centre = point(SPACE, 1.0, 2.0, 3.0)
    normal, fitted = seen(centre, 0.01)
    prior = weak_prior(SPACE, centre)
    held = strengthen(SPACE, prior, normal, fitted)
    free = np.isin(SPACE.names, ("p_1", "q_0", "ln_kappa"))
    np.testing.assert_array_equal(held.sd[free], prior.sd[free])
    assert np.all(held.sd[~free] < prior.sd[~free])


def test_a_fickian_law_has_one_group():
    assert list(groups(family("fickian", 5, 3))) == ["q"]
    assert groups(family("fickian", 5, 0)) == {}


def test_the_marginal_is_the_block_of_the_inverse():
    rng = np.random.default_rng(0)
    root = rng.standard_normal((7, 7))
    normal = Normal(1.0, rng.standard_normal(7), root @ root.T + np.eye(7))
    few = marginal(normal, 3)
    inverse = np.linalg.inv(normal.hessian)
    np.testing.assert_allclose(np.linalg.inv(few.hessian), inverse[:3, :3])
    np.testing.assert_allclose(
        np.linalg.solve(few.hessian, few.gradient), (inverse @ normal.gradient)[:3]
    )


def test_a_law_far_off_is_no_reason_to_stop():
    """One direction that is felt 10³⁰ times as much as the prior holds it: the rest of the matrix drowns in rounding."""
    centre = point(SPACE, 1.0, 2.0, 3.0)
    normal = Normal(0.0, np.zeros(SPACE.size), 1e30 * np.ones((SPACE.size,) * 2))
    held = strengthen(SPACE, weak_prior(SPACE, centre), normal, centre + 0.1)
    assert np.isfinite(held.sd).all()
    assert (held.sd > 0).all()


@pytest.mark.parametrize("seed", [3, 6])
def test_rounding_leaves_no_information_less_than_none(seed):
    """A law of which the field explains all but a part in 10¹⁷, and a number that nothing shows."""
    rows = np.random.default_rng(seed).normal(size=(3, 40))
    rows[0] = 1e8 * (rows[1] + 2 * rows[2])
    jacobian = np.vstack([rows[:1], np.zeros((1, 40)), rows[1:]])
    whole = Normal(1.0, jacobian @ np.ones(40), jacobian @ jacobian.T)
    shown = marginal(whole, 2)
    assert np.linalg.eigvalsh(shown.hessian).min() > -1e-15 * whole.hessian[0, 0]
    assert shown.hessian[1, 1] == 0.0
    assert np.isfinite(inverse(shown.hessian + np.eye(2))).all()
