"""The joint loss is one jitted function whose gradient reaches the network, the law and the field."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phdenoise.grid import Grid
from phdenoise.learn.couple import joint_loss, network_problem
from phdenoise.learn.laws import LawSpace
from phdenoise.learn.objective import JointParameters, Observation, field_prior
from phdenoise.movie import Movie
from phdenoise.training import DenoiseConfig, denoise

pytestmark = pytest.mark.slow

SPACE = LawSpace("cahn-hilliard", 3, 2)
# Fine steps: the implicit part is chosen from the law but not differentiated, which leaves a difference of
# the order of the time step's own error between slopes and finite differences.
STATIC = {"space": SPACE, "substeps": 8, "burn_in": 1, "batch": 2, "side": (16, 16)}


def _problem():
    """A small movie, a briefly trained network and a law, in double precision."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:16, :16] * 2 * np.pi / 16
    clean = 0.5 + 0.3 * np.sin(y)[None] * np.cos(x + 0.2 * np.arange(6)[:, None, None])
    movie = Movie.from_array((clean + 0.1 * rng.normal(size=clean.shape)).astype(np.float32))
    estimate = denoise(movie, DenoiseConfig(steps=5, width=8, crop=16))
    network = network_problem(estimate, 1, estimate.mean[1].astype(float), 1.0, 0.0)
    double = jax.tree.map(
        lambda a: a.astype(jnp.float64) if eqx.is_inexact_array(a) else a, network
    )
    frames = jnp.asarray(movie.frames[1:5], jnp.float64)
    observation = Observation(
        frames, jnp.full(frames.shape, 100.0), jnp.arange(4.0), Grid((16, 16), 1.0, "periodic")
    )
    prior = field_prior(
        movie.frames[1].astype(float), observation.grid, sd=0.1, waves=5, dtype=np.dtype(float)
    )
    theta = jnp.asarray(SPACE.start(0.05, 4.0, 2.8))
    # Untrained networks are the linear prediction: the filters behind their closed gates have no slope.
    opened = jax.tree.map(
        lambda w: w if w.any() else 1e-3 * jax.random.normal(jax.random.key(1), w.shape, w.dtype),
        double.denoiser.state,
    )
    parameters = JointParameters(opened, theta, 0.1 * jax.random.normal(jax.random.key(2), (5, 5)))
    rest = (double, observation, prior, theta + 0.1, jnp.ones_like(theta), jax.random.key(3))
    return parameters, rest


@pytest.fixture(scope="module")
def problem():
    with jax.enable_x64(True):
        parameters, rest = _problem()
        value = jax.jit(lambda p, r: joint_loss(p, *r, **STATIC)[0])
        gradient = jax.jit(jax.grad(lambda p, r: joint_loss(p, *r, **STATIC)[0]))
        yield parameters, rest, value, gradient(parameters, rest)


@pytest.mark.parametrize("group", ["network", "theta", "z"])
def test_gradient_matches_finite_differences_and_is_not_zero(problem, group, x64):
    parameters, rest, value, gradient = problem
    leaves, tree = jax.tree.flatten(getattr(parameters, group))
    slopes = jax.tree.leaves(getattr(gradient, group))
    assert all(float(jnp.abs(s).max()) > 0 for s in slopes)
    # One random direction through every number of the group, scaled to each leaf.
    keys = jax.random.split(jax.random.key(5), len(leaves))
    direction = [
        jax.random.normal(k, leaf.shape, leaf.dtype) for k, leaf in zip(keys, leaves, strict=True)
    ]
    predicted = sum(float(jnp.vdot(s, d)) for s, d in zip(slopes, direction, strict=True))

    def at(step: float) -> float:
        moved = [leaf + step * d for leaf, d in zip(leaves, direction, strict=True)]
        changed = eqx.tree_at(lambda p: getattr(p, group), parameters, tree.unflatten(moved))
        return float(value(changed, rest))

    step = 1e-6
    measured = (at(step) - at(-step)) / (2 * step)
    assert measured == pytest.approx(predicted, rel=2e-4, abs=1e-6 * abs(at(0.0)))


def test_network_reaches_the_misfit_through_the_pde(problem, x64):
    """Without the blind likelihood the network still feels the law, through the initial field."""
    parameters, rest, _, _ = problem
    slope = jax.jit(jax.grad(lambda p, r: joint_loss(p, *r, **STATIC)[1].misfit))(parameters, rest)
    assert any(float(jnp.abs(s).max()) > 0 for s in jax.tree.leaves(slope.network))
