"""A model that leaves nothing behind has the same values and gradients, whatever the equation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phdenoise.grid import Fixed, Grid, NoFlux
from phdenoise.physics import simulate
from phdenoise.physics.equations.allen_cahn import AllenCahn
from phdenoise.physics.equations.cahn_hilliard import CahnHilliard
from phdenoise.physics.equations.fickian import Fickian
from phdenoise.physics.free_energies.regular_solution import DoubleWell, RegularSolution
from phdenoise.physics.mobility import ConstantMobility, DegenerateMobility, LegendreMobility
from phdenoise.physics.rematerialise import Rematerialised, recompute_in_reverse
from phdenoise.physics.steppers.rkc2 import RKC2

MASK = np.ones((6, 7), bool)
MASK[0, :3] = False
OPEN = Grid((6, 7), 1.0, ((Fixed(0.2), NoFlux()), ("periodic", "periodic")))
CASES = {
    "mask": (CahnHilliard(RegularSolution(2.5), DegenerateMobility(1.0), 1.0),
             Grid((6, 7), 1.0, "no-flux", mask=MASK), RKC2(8)),
    "split": (CahnHilliard(RegularSolution(2.5), ConstantMobility(1.0), 1.0), Grid((6, 7), 1.0), "krogstad"),
    "wells": (AllenCahn(DoubleWell(5.0, 0.3, 0.7), ConstantMobility(1.0), 2.0), Grid((6, 7), 1.0, "no-flux"), "etdrk4"),
    "open": (Fickian(LegendreMobility(jnp.asarray([0.0, 0.5])), 0.01), OPEN, "rosenbrock"),
}  # fmt: skip


@pytest.mark.parametrize(
    "name", ["mask", *(pytest.param(n, marks=pytest.mark.slow) for n in ("split", "wells", "open"))]
)
def test_gradients_are_those_of_the_model(x64, name):
    model, grid, stepper = CASES[name]
    c0 = jnp.where(jnp.asarray(MASK), 0.5 + 0.1 * jnp.sin(jnp.arange(42.0)).reshape(6, 7), 0.5)

    def loss(model, c0, checkpoint):
        frames = simulate(
            model,
            grid,
            c0,
            np.array([0.0, 0.2]),
            substeps=5,
            stepper=stepper,
            checkpoint=checkpoint,
        )
        return jnp.sum(frames[-1] ** 2 * jnp.cos(jnp.arange(42.0)).reshape(6, 7))

    gradient = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)), static_argnums=2)
    rematerialised, plain = gradient(model, c0, "nested"), gradient(model, c0, True)
    for ours, theirs in zip(jax.tree.leaves(rematerialised), jax.tree.leaves(plain), strict=True):
        assert float(jnp.max(jnp.abs(theirs))) > 0
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


def test_all_that_a_stepper_asks_is_answered_by_the_model():
    model, grid, _ = CASES["split"]
    c = jnp.full((6, 7), 0.4) + 0.1 * jnp.eye(6, 7)
    rematerialised = Rematerialised(model)
    for method in ("spectral_radius", "energy", "mass", "admissible"):
        np.testing.assert_array_equal(
            getattr(rematerialised, method)(c, grid), getattr(model, method)(c, grid)
        )
    assert rematerialised.reference(c, grid) == model.reference(c, grid)


def test_a_gradient_that_is_not_finite_is_not_hidden():
    slope = jax.grad(lambda x: recompute_in_reverse(jnp.sqrt, x))(jnp.zeros(()))
    assert not np.isfinite(slope)
    with pytest.raises(TypeError, match="forward"):
        jax.jvp(lambda x: recompute_in_reverse(jnp.sin, x), (1.0,), (1.0,))
