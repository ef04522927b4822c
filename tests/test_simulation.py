"""Simulated movies: of laws with a name, and of any law as an object."""

import jax.numpy as jnp
import numpy as np
import pytest

import phdenoise as ph
from phdenoise.physics.twins.transport import TwinConfig
from phdenoise.simulation import true_curves

SMALL = ph.SimulateConfig(size=(16, 16), frames=4, sigma=0.0, duration=0.05, pixel_size=0.02)


def _law():
    return TwinConfig(omega=3.0, kappa=0.002).model


def test_a_law_object_gives_the_movie_of_the_law_of_that_name():
    named = ph.simulate("cahn-hilliard", SMALL).clean
    field = jnp.asarray(named.frames[0])
    found = ph.simulate(_law(), SMALL, initial=field)
    np.testing.assert_allclose(found.clean.frames, named.frames, atol=2e-3)
    np.testing.assert_array_equal(found.clean.times, named.times)
    assert found.movie.pixel_size == named.pixel_size == (0.02, 0.02)
    assert found.movie.provenance["boundary"] == "periodic"
    assert "omega=3" in found.movie.provenance["simulated"]["law"]
    assert true_curves(found.movie.provenance, np.array([0.5])) is None


def test_a_grid_and_its_noise_are_those_asked_for():
    config = ph.SimulateConfig(frames=3, duration=0.01, dose=200.0, skip=1)
    grid = ph.Grid((12, 9), (0.02, 0.03), "no-flux")
    movie, clean = ph.simulate(_law(), config, grid=grid)
    assert movie.shape == (2, 12, 9)
    assert movie.pixel_size == (0.02, 0.03)
    assert movie.intensity_unit == "counts"
    # The law conserves mass, and the mean of counts is the clean movie.
    np.testing.assert_allclose(clean.frames.mean((1, 2)), clean.frames[0].mean(), rtol=1e-4)
    expected = np.sqrt(clean.frames.sum())
    assert abs(movie.frames.sum() - clean.frames.sum()) < 5 * expected


def test_what_cannot_be_simulated_is_refused():
    with pytest.raises(ph.InputError, match="duration"):
        ph.simulate(_law(), ph.SimulateConfig(size=(8, 8), frames=3))
    with pytest.raises(ph.InputError, match="initial field"):
        ph.simulate("fickian", SMALL, initial=jnp.zeros((16, 16)))
    with pytest.raises(ph.InputError, match="--frames 1"):
        ph.simulate(_law(), ph.SimulateConfig(frames=1, duration=1.0))


@pytest.mark.parametrize(
    ("law", "expected"),
    [
        ("cahn-hilliard", (3 * (1 - 0.5) + np.log(1 / 3), 0.1875)),
        ("fickian", (0.0, np.exp(0.7 * -0.5))),
        ("allen-cahn", (np.log(1 / 3) + 0.02 + 1.5, 1.0)),
    ],
)
def test_true_curves(law, expected):
    settings = {"cahn-hilliard": {"omega": 3.0}, "fickian": {}, "allen-cahn": {"omega": 3.0}}[law]
    twin = {"cahn-hilliard": TwinConfig().__dict__}.get(law, {})
    twin |= {"log_diffusivity": (0.0, 0.7), "drive": 0.02, "mobility": 1.0} | settings
    curves = true_curves({"simulated": {"model": law, "twin": twin}}, np.array([0.25, 0.5]))
    assert curves is not None
    np.testing.assert_allclose((curves["mu_h"][0], curves["D"][0]), expected, rtol=1e-12)
