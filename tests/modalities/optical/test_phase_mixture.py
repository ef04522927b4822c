"""Phases from colour: colours found through noise, honest probabilities, refusals."""

import numpy as np
import pytest

from phdenoise.modalities.optical.phase_mixture import classify_colours, fit_phases, overlap
from phdenoise.modalities.optical.twin import GRAPHITE_COLOURS, graphite_colour
from phdenoise.types import InputError

COLOURS = np.asarray(GRAPHITE_COLOURS)


def _pixels(sd, n=6000, seed=0, phases=3, front=0.15):
    """Pixels of phases in unequal shares, some on fronts between them."""
    random = np.random.default_rng(seed)
    x = random.choice(
        np.linspace(0, 1, phases), n, p=[0.5, 0.3, 0.2][:phases] if phases == 3 else None
    )
    x = np.where(random.random(n) < front, random.random(n), x)
    rho = np.array([[1, 0.3, 0], [0.3, 1, 0.2], [0, 0.2, 1]])
    spread = sd * random.uniform(0.7, 1.3, (n, 3))
    covariance = spread[:, :, None] * spread[:, None] * rho
    noise = np.einsum("nab,nb->na", np.linalg.cholesky(covariance), random.standard_normal((n, 3)))
    return x, graphite_colour(x, COLOURS[:phases]) + noise, covariance


@pytest.fixture(scope="module")
def noisy():
    """At noise of the size of the steps between colours."""
    x, colour, covariance = _pixels(0.15)
    return x, colour, covariance, fit_phases(colour, covariance, seed=1)


def test_colours_are_found_through_the_noise(noisy):
    mixture = noisy[3]
    z = (mixture.colours - COLOURS) / np.sqrt(np.einsum("kaa->ka", mixture.covariance))
    assert np.abs(mixture.colours - COLOURS).max() < 0.03
    # The regression's errors leave out that of the shares: they are too small, but not by much.
    assert np.sqrt(np.mean(z**2)) < 3
    # Pixels scatter by 0.26, of which nothing is the phases own.
    assert np.sqrt(np.trace(mixture.scatter)) < 0.08
    np.testing.assert_allclose(mixture.shares.sum(), 1)
    np.testing.assert_allclose(mixture.shares, [0.46, 0.33, 0.21], atol=0.06)


def test_probabilities_mean_what_they_say(noisy):
    x, colour, covariance, mixture = noisy
    maps = classify_colours(mixture, colour, covariance)
    np.testing.assert_allclose(maps.probability.sum(axis=0), 1)
    right = maps.probability.argmax(axis=0) == np.digitize(x, [0.25, 0.75])
    sure = maps.probability.max(axis=0)
    assert right.mean() == pytest.approx(sure.mean(), abs=0.02)
    for low, high in ((0.4, 0.7), (0.7, 0.9), (0.9, 1.01)):
        chosen = (sure >= low) & (sure < high)
        assert right[chosen].mean() == pytest.approx(sure[chosen].mean(), abs=0.05)
    assert np.sqrt(np.mean((maps.fraction - x) ** 2)) == pytest.approx(
        np.sqrt(np.mean(maps.sd**2)), rel=0.06
    )


def test_more_variance_makes_less_certain(noisy):
    _, colour, covariance, mixture = noisy
    near, far = (classify_colours(mixture, colour[:200], s * covariance[:200]) for s in (0.1, 1e4))
    assert near.probability.max(axis=0).mean() > 0.9
    # With no information left, the shares of the mixture remain.
    np.testing.assert_allclose(
        far.probability, np.repeat(mixture.shares[:, None], 200, 1), atol=0.02
    )


def test_two_phases_end_at_stage_two():
    x, colour, covariance = _pixels(0.05, phases=2)
    mixture = fit_phases(colour, covariance, 2, top=0.5)
    np.testing.assert_allclose(mixture.fractions, [0, 0.5])
    maps = classify_colours(mixture, colour, covariance)
    assert np.sqrt(np.mean((maps.fraction - x / 2) ** 2)) < 0.05


def test_overlap_of_equal_and_of_distant_colours(noisy):
    mixture = noisy[3]
    assert overlap(mixture, 1e-6 * np.eye(3)).max() < 0.01
    assert overlap(mixture, 1e4 * np.eye(3)).min() > 0.99


def test_refusals():
    random = np.random.default_rng(0)
    grey = random.normal(0.5, 0.1, (500, 3))
    covariance = np.broadcast_to(0.01 * np.eye(3), (500, 3, 3))
    with pytest.raises(InputError, match="no more than their noise"):
        fit_phases(grey, covariance)
    with pytest.raises(InputError, match="too few"):
        fit_phases(grey[:20], covariance[:20])
    with pytest.raises(InputError, match="told apart by colour"):
        fit_phases(grey[:, :1], covariance[:, :1, :1])
