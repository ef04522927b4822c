"""Many solves in one program: the same numbers as one by one, without compiling again."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phdenoise.grid import Grid
from phdenoise.physics import simulate
from phdenoise.physics.batched import simulate_many
from phdenoise.physics.equations.cahn_hilliard import CahnHilliard
from phdenoise.physics.free_energies.regular_solution import RegularSolution
from phdenoise.physics.mobility import ConstantMobility
from phdenoise.types import InputError

GRID = Grid((6, 5), 1.0)
TIMES = np.linspace(0.0, 2.0, 3)
START = 0.5 + 0.1 * np.random.default_rng(0).normal(size=(3, 6, 5))


def law(omega):
    return CahnHilliard(RegularSolution(omega), ConstantMobility(jnp.ones_like(omega)), 2 * omega)


@pytest.mark.slow
def test_groups_equal_single_solves_and_new_laws_compile_nothing(x64):
    omegas, starts = jnp.asarray([2.0, 2.5, 3.0]), jnp.asarray(START)
    traced = []

    @jax.jit
    def together(omegas, starts):
        traced.append(1)
        models = eqx.filter_vmap(law)(omegas)
        options = {"substeps": 4, "group": 2}
        return (
            simulate_many(models, GRID, starts[0], TIMES, over="laws", **options),
            simulate_many(models, GRID, starts, TIMES, over="both", **options),
            simulate_many(law(omegas[1]), GRID, starts, TIMES, over="fields", **options),
        )

    single = jax.jit(lambda omega, c: simulate(law(omega), GRID, c, TIMES, substeps=4))
    together(omegas - 0.3, starts)
    laws, both, fields = together(omegas, starts)
    assert len(traced) == 1
    for i in range(3):
        np.testing.assert_allclose(laws[i], single(omegas[i], starts[0]), atol=1e-12)
        np.testing.assert_allclose(both[i], single(omegas[i], starts[i]), atol=1e-12)
        np.testing.assert_allclose(fields[i], single(omegas[1], starts[i]), atol=1e-12)


def test_axes_that_do_not_fit_are_refused():
    model, starts = law(jnp.asarray(2.5)), jnp.asarray(START)
    for models, c0, over in (
        (model, starts[0], "laws"),
        (eqx.filter_vmap(law)(jnp.asarray([2.0, 2.5])), starts, "both"),
        (model, starts, "all"),
    ):
        with pytest.raises(InputError):
            simulate_many(models, GRID, c0, TIMES, over=over, substeps=1)
