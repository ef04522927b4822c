"""An instrument from outside: a dye that saturates, from two formulas to a fitted law."""

import jax.numpy as jnp
import numpy as np
import pytest

import phdenoise as ph
from phdenoise.observation import Blur, Pointwise


class SaturatingDye(Pointwise):
    """Fluorescence of a dye whose sites fill up: I = I_max c/(K + c)."""

    brightest: float
    half: float
    lower = 0.0
    upper = 1.0

    def observe(self, field):
        """Expected counts of a concentration."""
        c = jnp.asarray(field)
        return self.brightest * c / (self.half + c)

    def invert(self, counts):
        """Concentration of noise-free counts."""
        share = jnp.asarray(counts) / self.brightest
        return self.half * share / (1 - share)


DYE = SaturatingDye(brightest=4000.0, half=0.4)
DIFFUSIVITY = 2.0
CONFIG = ph.FitConfig(mobility_degree=0, concentration="as-is", boundary="no-flux", first_frame=0)


def counts_of_a_diffusing_field(frames=8, side=16):
    """Counts with noise of two waves that decay in a closed box, exact on the grid."""
    rng, t = np.random.default_rng(0), np.arange(frames)[:, None, None]
    angle = np.pi * (np.arange(side) + 0.5) / side
    c = 0.5
    for wave, (m, n) in ((0.25, (1, 2)), (0.2, (2, 1))):
        pattern = np.cos(m * angle)[:, None] * np.cos(n * angle)[None]
        rate = sum(2 - 2 * np.cos(np.pi * k / side) for k in (m, n))
        c = c + wave * pattern * np.exp(-DIFFUSIVITY * rate * t)
    return rng.poisson(np.asarray(DYE.observe(c))).astype(np.float32)


def test_both_directions_and_their_errors():
    c = jnp.asarray(np.random.default_rng(1).uniform(0.1, 0.9, (2, 8, 8)))
    counts = DYE.observe(c)
    mean, var = DYE.quantify(counts, counts)
    np.testing.assert_allclose(mean, c, rtol=1e-5)
    # dc/dI = (K + c)²/(K I_max), and the variance of Poisson counts is their number.
    np.testing.assert_allclose(var, ((0.4 + c) ** 2 / (0.4 * 4000)) ** 2 * counts, rtol=1e-4)


def test_it_composes():
    chain = DYE >> Blur(0.8)
    flat = jnp.full((1, 9, 9), 0.5)
    np.testing.assert_allclose(chain.quantify(chain.observe(flat), flat).mean, flat, rtol=1e-5)
    assert chain.upper == 1.0
    assert not chain.invertible


@pytest.mark.slow
def test_a_law_from_quantified_counts():
    counts = counts_of_a_diffusing_field()
    c = DYE.quantify(counts, counts).mean
    found = ph.fit(ph.Movie.from_array(np.asarray(c)), "fickian", CONFIG)
    np.testing.assert_allclose(found.curves["D"], DIFFUSIVITY, rtol=0.1)


@pytest.mark.study
@pytest.mark.slow
def test_a_law_through_the_instrument():
    movie = ph.Movie.from_array(counts_of_a_diffusing_field())
    found = ph.fit(movie, "fickian", CONFIG, observation=DYE)
    np.testing.assert_allclose(found.curves["D"], DIFFUSIVITY, rtol=0.1)
