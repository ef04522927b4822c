"""Every network of the table is built, run once, blind where it says so, and looks no farther than it says."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phdenoise.networks.base import build, from_settings, weights_of
from phdenoise.networks.context import PIXEL, UDVD, View
from phdenoise.networks.table import NETWORKS, architecture_of, named, trained_by
from phdenoise.networks.udvd import Udvd
from phdenoise.training.objectives import _LOSSES

WIDTH = 6


def shipped():
    for name, make in NETWORKS.items():
        yield pytest.param((make(None, 1), PIXEL), id=name)
    yield pytest.param((Udvd(), UDVD), id="udvd")


@pytest.fixture(scope="module", params=list(shipped()))
def network(request):
    architecture, region = request.param
    denoiser = build(region, architecture, width=WIDTH, centre=2.0, spread=3.0, seed=0)
    rng = np.random.default_rng(0)
    state = jax.tree.map(
        lambda w: w + 0.05 * jnp.asarray(rng.normal(size=w.shape), w.dtype), denoiser.state
    )
    return replace(denoiser, state=state)


def images(denoiser, side):
    rng = np.random.default_rng(1)
    context, centre = (
        jnp.asarray(rng.normal(size=(1, side, side, *k)), jnp.float32)
        for k in ((denoiser.architecture.channels,), ())
    )
    return View(context, centre, jnp.ones_like(centre))


def test_it_runs_and_is_blind_where_it_says_so(network):
    architecture, side = network.architecture, 16
    shown = images(network, side)
    middle = len(architecture.time_reversed) // 2

    def output(centre):
        # UDVD has the centre frame in the middle of its context.
        context = shown.context
        if architecture.centre_in_context:
            context = context.at[..., middle].set(centre)
        mean, var = network(context, centre, shown.seen)
        return mean[0, 8, 7] + var[0, 8, 7], (mean, var)

    slope, (mean, var) = jax.jit(jax.grad(output, has_aux=True))(shown.centre)
    assert mean.shape == var.shape == shown.centre.shape
    assert np.all(np.asarray(var) > 0)
    assert (slope[0, 8, 7] == 0.0) == architecture.blind
    # The linear filter does not look at the centre frame.
    assert np.count_nonzero(slope) > 4 or not architecture.trains


def test_the_contract_fits_together(network):
    architecture, region = network.architecture, network.region
    weights = architecture.context_weights(np.ones(9, bool))
    channels = weights.shape[1] + 10 * architecture.linear
    assert channels == architecture.channels == len(architecture.time_reversed)
    assert sorted(architecture.time_reversed) == list(range(channels))
    assert np.all(weights[:, :, 16] == 0) != architecture.centre_in_context or not weights.size
    assert architecture.margin(region) % architecture.stride == 0
    assert architecture.margin(region) >= architecture.radius
    height, width = architecture.padded_shape((21, 30))
    assert height % architecture.stride == width % architecture.stride == 0
    assert (height == width) >= architecture.square
    assert architecture.memory_per_pixel(region, 8) > 0
    assert set(architecture.objectives) <= set(_LOSSES)
    assert architecture.hiding(region) == architecture
    assert {"quick", "default", "best"} <= set(architecture.widths)


def test_it_is_found_again_by_its_settings(network):
    settings = {**network.architecture.settings(), "width": WIDTH, "region": str(network.region)}
    again = from_settings(weights_of(network), settings)
    assert again.architecture == network.architecture
    for one, other in zip(jax.tree.leaves(again), jax.tree.leaves(network), strict=True):
        np.testing.assert_array_equal(one, other)


def test_every_objective_has_a_network_and_a_loss():
    for objective in set(_LOSSES) - {"distil"}:
        assert objective in trained_by(objective).objectives
    assert named("auto") is None
    # Files of the first versions do not name the network.
    assert architecture_of({"region": "pixel"}) == trained_by("nll")
