"""Every law is built, stepped once and described; its numbers go to θ and back, and from units to units."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phdenoise.grid import Grid
from phdenoise.learn.config import FitConfig
from phdenoise.learn.laws import LAWS
from phdenoise.physics.equations.advected import Advected
from phdenoise.physics.equations.allen_cahn import AllenCahn
from phdenoise.physics.equations.anisotropic import Anisotropic
from phdenoise.physics.equations.base import Law
from phdenoise.physics.equations.cahn_hilliard import CahnHilliard
from phdenoise.physics.equations.fickian import Fickian
from phdenoise.physics.equations.forced import Forced
from phdenoise.physics.equations.heterogeneous import Heterogeneous
from phdenoise.physics.equations.reaction import (
    AllenCahnReaction,
    CahnHilliardReaction,
    HeldVoltage,
)
from phdenoise.physics.equations.sourced import Sourced
from phdenoise.physics.free_energies.networks import NetworkMobility, random_network
from phdenoise.physics.free_energies.redlich_kister import RedlichKister
from phdenoise.physics.free_energies.regular_solution import RegularSolution
from phdenoise.physics.free_energies.splines import SplineEnthalpy, SplineMobility
from phdenoise.physics.kinetics import ExchangeCurrent, SymmetricButlerVolmer
from phdenoise.physics.law_parameters import free_parameters, rescaled
from phdenoise.physics.mobility import ConstantMobility, DegenerateMobility, LegendreMobility
from phdenoise.physics.simulate import as_dtype, simulate

GRID = Grid((8, 6), 1.0, "periodic")
CONFIG = FitConfig(enthalpy_degree=3, mobility_degree=2)


def reaction(kind: type[Law], *more: object) -> Law:
    kinetics = SymmetricButlerVolmer(ExchangeCurrent(jnp.asarray(0.5), jnp.asarray(0.5)))
    return kind(RegularSolution(2.5), kinetics, HeldVoltage(0.1), 0.5, 0.05, *more)


MADE = {name: lambda make=make: make(CONFIG) for name, make in LAWS.items()} | {
    "regular": lambda: CahnHilliard(RegularSolution(3.0), DegenerateMobility(0.1), 1.0),
    "spline": lambda: CahnHilliard(
        SplineEnthalpy(jnp.asarray([1.0, 0.5, -0.5, -1.0])), SplineMobility(jnp.zeros(4)), 1.0
    ),
    "redlich-kister": lambda: AllenCahn(
        RedlichKister(jnp.asarray([2.5, 0.1])), ConstantMobility(0.1), 1.0
    ),
    "network": lambda: Fickian(NetworkMobility(random_network(jax.random.key(0), 3)), 0.01),
    "reaction": lambda: reaction(AllenCahnReaction),
    "reaction and transport": lambda: reaction(CahnHilliardReaction, DegenerateMobility(0.1)),
    "advected": lambda: Advected(Fickian(LegendreMobility(jnp.zeros(2))), (0.2, -0.1)),
    "anisotropic": lambda: Anisotropic(Fickian(ConstantMobility(0.3)), 2.0),
    "sourced": lambda: Sourced(Fickian(ConstantMobility(0.3)), 0.01, -0.1),
    "heterogeneous": lambda: Heterogeneous(
        CahnHilliard(RegularSolution(3.0), DegenerateMobility(0.1), 1.0)
    ),
    "forced": lambda: Forced(Fickian(ConstantMobility(0.3)), lambda t: 0.01 * jnp.ones(GRID.shape)),
}


@pytest.fixture(params=MADE)
def law(request: pytest.FixtureRequest, x64: None) -> Law:
    # Plain numbers become arrays of one type, as a fit makes them.
    return as_dtype(MADE[request.param](), jnp.result_type(float))


@pytest.mark.usefixtures("x64")
def test_a_law_steps_and_describes_itself(law):
    c = 0.5 + 0.2 * jax.random.uniform(jax.random.key(1), GRID.shape, minval=-1.0)
    frames = simulate(law, GRID, c, np.array([0.0, 0.05]), substeps=2, stepper="rkc2")
    assert np.isfinite(frames).all()
    assert float(jnp.abs(frames[1] - frames[0]).max()) > 0
    if law.conserved and law.label != "fickian":
        np.testing.assert_allclose(law.mass(frames[1], GRID), law.mass(c, GRID), rtol=1e-12)
    assert law.spectral_radius(c, GRID) > 0
    assert all(float(jnp.min(part)) >= 0 for part in law.reference(c, GRID))
    inside = jnp.linspace(0.05, 0.95, 19)
    for curve in law.curves():
        values = curve.function(inside)
        assert np.isfinite(values).all()
        assert not curve.logarithmic or (np.asarray(values) > 0).all()


@pytest.mark.usefixtures("x64")
def test_numbers_go_to_theta_and_back(law):
    free = free_parameters(law)
    assert len(set(free.names)) == len(free.components) == free.size == free.sd.size
    same = free.build(free.start)
    for a, b in zip(jax.tree.leaves(same), jax.tree.leaves(law), strict=True):
        if eqx.is_array(a):
            np.testing.assert_allclose(a, b, rtol=1e-14)
    # An argument of jitted functions: new numbers do not compile anew.
    traced = []

    @eqx.filter_jit
    def start(free, theta):
        traced.append(1)
        return type(free)(free.build(theta), free.fixed).start

    wild = free.start + jnp.cos(jnp.arange(free.size))
    np.testing.assert_allclose(start(free, wild), wild, rtol=1e-12)
    np.testing.assert_allclose(start(free_parameters(free.build(wild)), wild), wild, rtol=1e-12)
    assert len(traced) == 1


@pytest.mark.usefixtures("x64")
def test_a_law_in_other_units_moves_the_same_field(law):
    """In units of half a length and a third of a time, rates are a third, and cells twice as wide."""
    if law.label == "" or "Reaction" in type(law).__name__:
        pytest.skip("its parts do not state their dimensions")
    c = 0.5 + 0.2 * jax.random.uniform(jax.random.key(1), GRID.shape, minval=-1.0)
    other = rescaled(law, length=0.5, time=1 / 3)
    wide = Grid(GRID.shape, 2.0, "periodic")
    np.testing.assert_allclose(
        other.rhs(jnp.zeros(()), c, wide),
        law.rhs(jnp.zeros(()), c, GRID) / 3,
        rtol=1e-10,
        atol=1e-14,
    )
    back = rescaled(other, length=2.0, time=3.0)
    np.testing.assert_allclose(
        back.rhs(jnp.zeros(()), c, GRID), law.rhs(jnp.zeros(()), c, GRID), rtol=1e-10, atol=1e-14
    )
