"""Isolated values: outliers of either sign are found, noise and moving edges are not."""

import numpy as np
import pytest

from phdenoise.noise.defects import isolated


def edge(rng, sigma):
    """A steep edge that moves by a pixel a frame, with noise."""
    t, y, x = np.mgrid[:16, :40, :40].astype(float)
    return np.tanh((x - 8 - t + 3 * np.sin(y / 5)) / 0.7) + sigma * rng.normal(size=t.shape)


@pytest.mark.parametrize("sigma", [0.0, 0.02, 0.3])
def test_noise_and_edges_are_no_outliers(sigma):
    movie = edge(np.random.default_rng(1), sigma)
    assert isolated(movie, np.ones(movie.shape, bool)).mean() < 1e-3


def test_outliers_of_either_sign_are_found():
    rng = np.random.default_rng(2)
    movie = 0.3 * np.sin(np.mgrid[:16, :40, :40][2] / 6.0) + 0.05 * rng.normal(size=(16, 40, 40))
    hits = rng.random(movie.shape) < 0.02
    movie[hits] += rng.choice([-2.0, 2.0], hits.sum())
    found = isolated(movie, np.ones(movie.shape, bool))
    assert found[1:-1][hits[1:-1]].mean() > 0.85
    # With one neighbour in time.
    assert found[[0, -1]][hits[[0, -1]]].mean() > 0.8
    assert found[~hits].mean() < 1e-3


def test_a_rough_frame_and_a_droplet_are_no_outliers():
    movie = np.zeros((8, 20, 20))
    movie[0] = 0.01 * np.random.default_rng(3).normal(size=(20, 20))
    movie[1:5, 8, 9] = 0.7
    valid = np.ones(movie.shape, bool)
    assert not isolated(movie, valid).any()
    # What a model leaves of a movie shows no droplets.
    assert isolated(movie, valid, residual=True)[1:5, 8, 9].all()
    valid[2, 8, 8] = False
    assert isolated(movie, valid, residual=True)[2, 8, 9]


@pytest.mark.parametrize("roughness", [2.0, 4.0, 30.0])
def test_a_mixture_before_it_separates_is_no_crowd_of_outliers(roughness):
    rng = np.random.default_rng(4)
    movie = 0.01 * rng.normal(size=(8, 24, 24))
    movie[0] *= roughness
    assert isolated(movie, np.ones(movie.shape, bool))[0].mean() < 0.002


def test_a_movie_of_one_frame_is_not_judged():
    movie = np.zeros((1, 9, 9))
    movie[0, 4, 4] = 5.0
    assert not isolated(movie, np.ones(movie.shape, bool)).any()


def test_what_is_not_valid_is_not_judged():
    movie = np.zeros((5, 9, 9))
    movie[2, 4, 4] = np.nan
    movie[1, 2, 2] = 7.0
    valid = np.ones(movie.shape, bool)
    valid[1, 2, 2] = False
    assert not isolated(movie, valid).any()
