"""A bed of graphite: charge, the bound that keeps its steps stable, packing, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from phdenoise.grid import Grid
from phdenoise.physics.twins.graphite_bed import (
    BedConfig,
    bed_model,
    graphite_bed,
    packed_particles,
)
from phdenoise.types import InputError


@pytest.mark.slow
def test_radius_bounds_the_jacobian_where_an_empty_core_meets_full_cells(x64):
    """The mobility of a face is its neighbours' too; cells alone understated the radius where fronts are sharp."""
    grid = Grid((5, 6), 1.0, "no-flux", np.ones((5, 6), bool))
    model = bed_model(grid, np.full((5, 6), 0.2), 3e-4, 4.0)
    core = np.full((2, 5, 6), 0.5)
    core[:, 2, 2:4] = 1e-3
    core[1] = np.where(core[1] < 0.1, core[1], 0.9)
    c = jnp.asarray(core)
    jacobian = jax.jit(jax.jacfwd(lambda c: model.rhs(jnp.asarray(0.0), c, grid)))(c)
    largest = np.abs(np.linalg.eigvals(np.asarray(jacobian).reshape(c.size, c.size))).max()
    mobility, rows = np.asarray(model.mobility(c)), 1 / (core * (1 - core))
    cells_alone = 8 * (np.max(mobility * rows) + 8 * 4.0 * mobility.max())
    assert largest > 2 * cells_alone, "the case would not tell the bounds apart"
    assert largest <= float(jax.jit(lambda c: model.spectral_radius(c, grid))(c))


@pytest.mark.slow
def test_charge_passed_is_lithium_found_through_both_stages(x64):
    config = BedConfig(shape=(18, 34), particles=2, frames=8, duration=1200.0, kappa=3.0)
    bed = graphite_bed(config)
    inside = bed.labels > 0
    x = bed.fraction[:, inside]
    rate = (config.full - config.empty) / config.duration
    np.testing.assert_allclose(x.mean(1), x[0].mean() + rate * bed.times, rtol=0, atol=1e-9)
    assert np.all(bed.layers[:, :, ~inside] == 0)
    assert bed.layers.min() > -0.02
    assert bed.layers.max() < 1.02
    middle = ((x > 0.4) & (x < 0.6)).mean(axis=1)
    assert middle.max() > 0.5, "stage 2 comes in between"
    assert (x[-1] > 0.9).mean() > 0.7
    # Fronts run in from the rim: the rim is ahead of the middle while a particle fills.
    depth = ndimage.distance_transform_edt(inside)
    half = bed.fraction[len(x) // 2]
    assert half[(depth == 1)].mean() > half[depth > 5].mean()
    energy = [float(bed.model.energy(jnp.asarray(c), bed.grid)) for c in bed.layers[:2]]
    assert np.isfinite(energy).all()


def test_packing():
    labels = packed_particles(np.random.default_rng(3), (48, 60), 6, 2.0)
    assert labels.max() == 6
    for k in range(1, 7):
        assert ndimage.label(labels == k)[1] == 1
        others = (labels > 0) & (labels != k)
        assert ndimage.distance_transform_edt(~others)[labels == k].min() > 1.5
    rim = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    assert not rim.any()
    assert (labels > 0).mean() > 0.6


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (BedConfig(empty=0.9, full=0.1), "0 < empty < full"),
        (BedConfig(frames=1), "2 frames"),
        (BedConfig(shape=(12, 12), particles=30, gap=4.0), "do not fit"),
    ],
)
def test_impossible_beds_are_refused(config, words):
    with pytest.raises(InputError, match=words):
        graphite_bed(config)
