"""The joint loss is one jitted function whose gradient reaches the network, the law and the field."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from families import family, point

from phdenoise.denoising import denoise
from phdenoise.denoising.config import DenoiseConfig
from phdenoise.learn.config import FitConfig
from phdenoise.learn.joint_loss import joint_data, joint_loss
from phdenoise.movie import Movie
from phdenoise.physics.law_parameters import rescaled

pytestmark = pytest.mark.slow

SPACE = family("cahn-hilliard", 3, 2)


def _problem():
    """A small movie, a briefly trained network and a law, in double precision."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:16, :16] * 2 * np.pi / 16
    clean = 0.5 + 0.3 * np.sin(y)[None] * np.cos(x + 0.2 * np.arange(6)[:, None, None])
    movie = Movie.from_array((clean + 0.1 * rng.normal(size=clean.shape)).astype(np.float32))
    estimate = denoise(movie, DenoiseConfig(steps=5, width=8, crop=16))
    theta = jnp.asarray(point(SPACE, 0.05, 4.0, 2.8))
    law = SPACE.build(theta)
    # Fine steps: the implicit part is chosen from the law but not differentiated, which leaves a difference of
    # the order of the time step's own error between slopes and finite differences.
    config = FitConfig(substeps=8, field_waves=5, concentration="as-is", boundary="periodic")
    data = joint_data(movie, estimate, law, config)
    data = jax.tree.map(lambda a: a.astype(jnp.float64) if eqx.is_inexact_array(a) else a, data)
    # Untrained networks are the linear prediction: the filters behind their closed gates have no slope.
    opened = jax.tree.map(
        lambda w: w if w.any() else 1e-3 * jax.random.normal(jax.random.key(1), w.shape, w.dtype),
        data.network,
    )
    field = 0.1 * jax.random.normal(jax.random.key(2), (5, 5), jnp.float64)
    return {"network": opened, "theta": theta + 0.1, "field": field}, data


def total(parameters, data, key=None):
    """The public loss, with the law as the vector of its free numbers."""
    law = SPACE.build(parameters["theta"])
    return joint_loss(parameters["network"], law, parameters["field"], data, key)


@pytest.fixture(scope="module")
def problem():
    with jax.enable_x64(True):
        parameters, data = _problem()
        value = jax.jit(lambda p, d: total(p, d).total)
        gradient = jax.jit(jax.grad(lambda p, d: total(p, d).total))
        yield parameters, data, value, gradient(parameters, data)


@pytest.mark.parametrize("group", ["network", "theta", "field"])
def test_gradient_matches_finite_differences_and_is_not_zero(problem, group, x64):
    parameters, data, value, gradient = problem
    leaves, tree = jax.tree.flatten(parameters[group])
    slopes = jax.tree.leaves(gradient[group])
    assert all(float(jnp.abs(s).max()) > 0 for s in slopes)
    # One random direction through every number of the group, scaled to each leaf.
    keys = jax.random.split(jax.random.key(5), len(leaves))
    direction = [
        jax.random.normal(k, leaf.shape, leaf.dtype) for k, leaf in zip(keys, leaves, strict=True)
    ]
    predicted = sum(float(jnp.vdot(s, d)) for s, d in zip(slopes, direction, strict=True))

    def at(step: float) -> float:
        moved = [leaf + step * d for leaf, d in zip(leaves, direction, strict=True)]
        return float(value(parameters | {group: tree.unflatten(moved)}, data))

    step = 1e-6
    measured = (at(step) - at(-step)) / (2 * step)
    assert measured == pytest.approx(predicted, rel=2e-4, abs=1e-6 * abs(at(0.0)))


@pytest.mark.study
def test_network_reaches_the_misfit_through_the_pde(problem, x64):
    """Without the blind likelihood the network still has a slope, through the initial field."""
    parameters, data, _, _ = problem
    slope = jax.jit(jax.grad(lambda p, d: total(p, d).misfit))(parameters, data)
    assert any(float(jnp.abs(s).max()) > 0 for s in jax.tree.leaves(slope["network"]))


def test_crops_estimate_the_blind_term_of_the_whole_movie(problem, x64):
    parameters, data, _, _ = problem
    whole = float(total(parameters, data).blind)
    crops = [float(total(parameters, data, jax.random.key(k)).blind) for k in range(8)]
    assert np.mean(crops) == pytest.approx(whole, abs=4 * np.std(crops) / np.sqrt(8) + 1e-6)


@pytest.mark.study
def test_units_of_the_movie_do_not_change_the_loss(x64):
    """The same movie with other units of length and time, and the law in these units."""
    rng = np.random.default_rng(1)
    frames = (0.5 + 0.1 * rng.normal(size=(5, 12, 12))).astype(np.float32)
    law = SPACE.build(jnp.asarray(point(SPACE, 0.05, 4.0, 2.8)))
    terms = []
    for length, time in ((1.0, 1.0), (2e-3, 50.0)):
        movie = Movie.from_array(frames, times=time * np.arange(5.0), pixel_size=(length, length))
        estimate = denoise(movie, DenoiseConfig(steps=1, width=8, crop=16))
        own = rescaled(law, 1 / length, 1 / time)
        config = FitConfig(substeps=2, field_waves=4, concentration="as-is", first_frame=0)
        data = joint_data(movie, estimate, own, config)
        terms.append(joint_loss(data.network, own, data.field, data))
    for one, other in zip(*map(jax.tree.leaves, terms), strict=True):
        assert float(other) == pytest.approx(float(one), rel=1e-6, abs=1e-9)
