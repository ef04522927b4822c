"""The simulated cell: lithium is conserved, counts obey Beer-Lambert, every number has its gradient."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phdenoise.modalities.neutron.twin import (
    CellConfig,
    cell_times,
    instrument,
    simulate_cell,
)
from phdenoise.observation.lithium_change import AVOGADRO, LITHIUM_ABSORPTION
from phdenoise.types import InputError

pytestmark = pytest.mark.slow

SMALL = CellConfig(shape=(8, 32), margin=2, cycles=2, frames_per_cycle=8, rest=2, substeps=4)


@pytest.fixture(scope="module")
def cell():
    times, u = simulate_cell(SMALL)
    return times, np.asarray(u)


def test_lithium_moves_between_electrodes_and_is_conserved(cell):
    times, u = cell
    first, last = SMALL.columns
    total = u.sum((1, 2))
    assert np.ptp(total) < 1e-4 * total[0]
    assert np.ptp(u[: SMALL.rest], axis=0).max() == 0
    assert np.all(u[:, : SMALL.margin] == 0)
    assert np.all(u[:, :, first:last] == 0)
    assert times.size == u.shape[0] == SMALL.rest + 2 * 8 + 1
    assert u.min() >= -0.02
    assert u.max() < 1


def test_a_charge_fills_its_share_and_a_cycle_leaves_the_lost(cell):
    _, u = cell
    first, _ = SMALL.columns
    anode = u[:, SMALL.margin :, :first].mean((1, 2))
    start, half, end = (anode[SMALL.rest + k] for k in (0, 4, 8))
    # The current turns within 2 % of a period: half a corner is missing from a charge.
    assert half - start == pytest.approx(SMALL.capacity, rel=0.03)
    assert end - start == pytest.approx(SMALL.lost * SMALL.capacity, rel=0.2)
    assert u[-1, SMALL.margin :, :3].mean() > u[0, SMALL.margin :, :3].mean()


def test_counts_obey_beer_lambert():
    device = instrument(SMALL, 100.0, blur=0.0, dark=3.0, scatter=0.0)
    u = jnp.zeros((cell_times(SMALL).size, 10, 32)).at[5].set(0.5)
    counts = device.observe(u)
    ratio = (counts[5] - 3) / (counts[4] - 3) * device.dose[4] / device.dose[5]
    expected = LITHIUM_ABSORPTION * AVOGADRO * SMALL.thickness * SMALL.saturation * 0.5
    assert np.allclose(-np.log(ratio), expected, rtol=1e-4)


def test_instrument_gives_back_what_it_observed():
    device = instrument(SMALL, 1e4, blur=0.0)
    shape = (cell_times(SMALL).size, 10, 32)
    u = jnp.asarray(np.random.default_rng(0).uniform(0, 1, shape), jnp.float32)
    counts = device.observe(u)
    mean, var = device.quantify(counts, counts)
    assert np.allclose(mean, u, atol=1e-4)
    dose = np.asarray(device.dose)[:, None, None]
    net = np.asarray(counts) - np.asarray(device.dark) - dose * np.asarray(device.scatter)
    expected = np.asarray(counts) / (net * float(device.strength)) ** 2
    assert np.allclose(var, expected, rtol=1e-3)


@pytest.mark.study
@pytest.mark.slow
def test_gradients_reach_the_law_and_the_instrument(x64):
    config = replace(SMALL, cycles=1, frames_per_cycle=4)
    device = instrument(config, 50.0)
    diff, rest = eqx.partition(device, eqx.is_inexact_array)

    def loss(q, d):
        u = simulate_cell(config, q)[1]
        return jnp.sum(jnp.sin(eqx.combine(d, rest).observe(u) / 30))

    q = jnp.asarray(config.log_diffusivity)
    by_q, by_device = jax.grad(loss, argnums=(0, 1))(q, diff)
    assert all(np.all(np.isfinite(g)) for g in jax.tree.leaves(by_device))
    step = jnp.array([0.0, 1e-4])
    numeric = (loss(q + step, diff) - loss(q - step, diff)) / 2e-4
    # The implicit part of a step is chosen from the law and not differentiated: the steps' own error stays.
    assert by_q[1] == pytest.approx(float(numeric), rel=0.03)
    assert float(by_device.blur) != 0


def test_impossible_cells_are_refused():
    with pytest.raises(InputError, match="8 or more"):
        simulate_cell(replace(SMALL, shape=(8, 12)))
    with pytest.raises(InputError, match="at rest"):
        simulate_cell(replace(SMALL, rest=0))
