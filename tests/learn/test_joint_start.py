"""A joint fit's start is the law that goes on to fit, not the one that fits the first frames a little better."""

import jax.numpy as jnp
import numpy as np
import pytest
from families import family

from phdenoise.grid import Grid
from phdenoise.learn import gauss_newton as gn
from phdenoise.learn import joint
from phdenoise.learn.laws import weak_prior
from phdenoise.learn.objective import MeasuredConcentration, field_prior

FRAMES = 10
SPACE = family("cahn-hilliard", 1, 0)
WILD = 9.0
# Costs of laws, told by their first number, on 2, 5 and all frames.
COSTS = {
    0.0: (12.0, 40.0, 300.0),
    1.0: (9.0, 60.0, 500.0),
    2.0: (11.0, 31.0, 90.0),
    3.0: (10.0, 70.0, 200.0),
    WILD: (1.0, 1.0, np.inf),
}


@pytest.fixture
def problem():
    frames = jnp.zeros((FRAMES, 4, 4))
    grid = Grid((4, 4), 1.0, "periodic")
    observation = MeasuredConcentration(
        frames, jnp.ones(frames.shape), jnp.arange(FRAMES + 0.0), grid
    )
    prior = field_prior(np.zeros((4, 4)), grid, sd=0.1, waves=1, dtype=np.dtype(np.float32))
    law = weak_prior(SPACE, np.zeros(SPACE.size))
    return joint.Problem(SPACE, observation, prior, law, 1, 0)


def _chosen(problem, monkeypatch, laws, expected=1.0):
    """Law that a fit goes on from where every descent stays where it began, and the laws that were descended from."""

    def frames(at):
        return int(np.sum(np.asarray(at.observation.weights) > 0, axis=0)[0, 0])

    def cost(at, x):
        return COSTS[x[0]][{2: 0, 5: 1, FRAMES: 2}[frames(at)]]

    began = []

    def descend(at, x, *_, **__):
        began.append((frames(at), x[0]))
        return gn.Minimum(x, cost(at, x), True, "", (cost(at, x),)), None

    monkeypatch.setattr(joint, "cost", cost)
    monkeypatch.setattr(joint, "descend", descend)
    starts = [np.append(law, np.zeros(SPACE.size - 1)) for law in laws]
    return joint.fit_law_and_field(problem, starts, iterations=1, expected=expected), began


def test_a_law_that_misses_later_frames_is_left(problem, monkeypatch):
    found, began = _chosen(problem, monkeypatch, [0.0, 1.0, 2.0, 3.0])
    assert found.point[0] == 2.0
    assert began[-1] == (FRAMES, 2.0)
    # Its own way only.
    assert found.history == (11.0, 31.0, 90.0)


def test_a_law_that_diverges_is_no_start(problem, monkeypatch):
    found, began = _chosen(problem, monkeypatch, [0.0, WILD, 2.0])
    assert found.point[0] == 2.0
    assert not any(law == WILD for _, law in began)


def test_the_nearest_law_is_kept_where_descents_lead_astray(problem, monkeypatch):
    monkeypatch.setitem(COSTS, 2.0, (99.0, 99.0, 90.0))
    monkeypatch.setattr(joint, "HORIZONS", ((0.2, 1), (0.5, 1)))
    assert _chosen(problem, monkeypatch, [0.0, 1.0, 2.0, 3.0])[0].point[0] == 2.0


def test_a_law_that_is_near_is_fitted_at_once(problem, monkeypatch):
    found, began = _chosen(problem, monkeypatch, [1.0, 2.0], expected=1000.0)
    # A few steps tell that it is near, and the descent goes on from there.
    assert began == [(FRAMES, 2.0), (FRAMES, 2.0)]
    assert found.history == (90.0, 90.0)
