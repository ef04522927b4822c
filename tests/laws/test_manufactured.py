"""Order of convergence in space and in time by manufactured solutions, every model and boundary.

In space the source is what the equation in the continuum leaves of a chosen u(t, x), by automatic
differentiation; in time it is what the difference equations leave, so nothing but the steps errs.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phdenoise.grid import Fixed, Flux, Grid
from phdenoise.physics.equations.allen_cahn import AllenCahn
from phdenoise.physics.equations.base import Law
from phdenoise.physics.equations.cahn_hilliard import CahnHilliard
from phdenoise.physics.equations.fickian import Fickian
from phdenoise.physics.equations.forced import Forced
from phdenoise.physics.free_energies.regular_solution import DoubleWell, RegularSolution
from phdenoise.physics.mobility import DegenerateMobility, LegendreMobility
from phdenoise.physics.simulate import advance
from phdenoise.physics.steppers.etdrk4 import ETDRK4
from phdenoise.physics.steppers.rkc2 import RKC2
from phdenoise.physics.steppers.rosenbrock import RosenbrockW

pytestmark = pytest.mark.usefixtures("x64")

MODELS: dict[str, Law] = {
    "fickian": Fickian(LegendreMobility(np.array([-2.0, 0.5]))),
    "cahn-hilliard": CahnHilliard(RegularSolution(2.5), DegenerateMobility(1.0), 0.02),
    "allen-cahn": AllenCahn(DoubleWell(4.0, 0.0, 1.0), DegenerateMobility(2.0), 0.1),
}

# Solutions on [0, 1] whose boundary values do not move; those of a flux are filled in by `faces`.
SOLUTIONS: dict[str, Callable] = {
    "periodic": lambda t, x: 0.5 + 0.1 * jnp.exp(-t) * jnp.cos(2 * jnp.pi * x + 0.3),
    "no-flux": lambda t, x: 0.5 + 0.1 * jnp.exp(-t) * jnp.cos(jnp.pi * x),
    "fixed": lambda t, x: 0.4 + 0.2 * x + 0.1 * jnp.exp(-t) * jnp.sin(2 * jnp.pi * x),
    "flux": lambda t, x: (
        0.4 + 2 * (x * (1 - x)) ** 2 + 0.1 * jnp.exp(-t) * jnp.sin(jnp.pi * x) ** 4
    ),
    "fixed and flux": lambda t, x: (
        0.5 - 0.3 * x + 0.1 * x**3 + 0.5 * jnp.exp(-t) * x * (1 - x) ** 2
    ),
}
CASES = [
    *((name, boundary) for name in MODELS for boundary in ("periodic", "no-flux", "fixed")),
    ("cahn-hilliard", "flux"),
    ("fickian", "fixed and flux"),
]
QUICK = {("cahn-hilliard", "fixed"), ("fickian", "fixed and flux"), ("allen-cahn", "periodic")}
FURTHER = [pytest.mark.slow, pytest.mark.study]
MARKED = [pytest.param(*c, marks=[] if c in QUICK else FURTHER) for c in CASES]


def slope(u):
    return jax.grad(u, argnums=1)


def flow(model, u):
    """What the equation transports to larger x, or for Allen-Cahn the rate itself."""
    if isinstance(model, Fickian):
        return lambda t, x: -model.diffusivity(u(t, x)) * slope(u)(t, x)

    def mu(t, x):
        bent = model.kappa * slope(slope(u))(t, x)
        return model.free_energy.chemical_potential(u(t, x)) - bent

    if isinstance(model, AllenCahn):
        return lambda t, x: -model.mobility(u(t, x)) * mu(t, x)
    return lambda t, x: -model.mobility(u(t, x)) * slope(mu)(t, x)


def faces(model, boundary, u):
    if boundary in ("periodic", "no-flux"):
        return boundary
    low, high = (u(0.0, x) for x in (0.0, 1.0))
    inward, outward = (float(flow(model, u)(0.0, x)) for x in (0.0, 1.0))
    return [
        {
            "fixed": (Fixed(low), Fixed(high)),
            "flux": (Flux(inward), Flux(-outward)),
            "fixed and flux": (Fixed(low), Flux(-outward)),
        }[boundary]
    ]


class Continuum(eqx.Module):
    """u_t minus the right-hand side of the equation."""

    model: Law
    x: jax.Array
    u: Callable = eqx.field(static=True)

    def __call__(self, t):
        rate = flow(self.model, self.u)
        if not isinstance(self.model, AllenCahn):
            transported = slope(rate)
            rate = lambda t, x: -transported(t, x)  # noqa: E731

        def point(x):
            return jax.grad(self.u)(t, x) - rate(t, x)

        return jax.vmap(point)(self.x)


class Difference(eqx.Module):
    """u_t minus the right-hand side of the difference equations."""

    model: Law
    grid: Grid
    x: jax.Array
    u: Callable = eqx.field(static=True)

    def __call__(self, t):
        value, rate = jax.jvp(lambda t: self.u(t, self.x), (t,), (jnp.ones_like(t),))
        return rate - self.model.rhs(t, value, self.grid)


def setting(name, boundary, n):
    model, u = MODELS[name], SOLUTIONS[boundary]
    x = (jnp.arange(n) + 0.5) / n
    return model, u, x, Grid((n,), 1 / n, faces(model, boundary, u))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "boundary"), MARKED)
def test_order_in_space_is_two(name, boundary):
    end, errors = 0.5, []
    for n in (16, 32):
        model, u, x, grid = setting(name, boundary, n)
        forced = Forced(model, Continuum(model, x, u))
        c = advance(forced, grid, u(0.0, x), jnp.asarray(end), jnp.asarray(64), RosenbrockW())
        errors.append(float(jnp.linalg.norm(c - u(end, x))) / np.sqrt(n))
    assert errors[0] < 0.02
    order = np.log2(errors[0] / errors[1])
    assert 1.75 < order < 2.4, (order, errors)


IN_TIME = [
    *(pytest.param(*c.values, RosenbrockW(), 3, marks=c.marks) for c in MARKED),
    *(pytest.param(*c, ETDRK4(), 4, marks=pytest.mark.slow) for c in sorted(QUICK)),
    *(pytest.param(*c, RKC2(40), 2, marks=pytest.mark.slow) for c in sorted(QUICK)),
]


@pytest.mark.parametrize(("name", "boundary", "stepper", "expected"), IN_TIME)
def test_order_in_time(name, boundary, stepper, expected):
    end, errors = 0.5, []
    model, u, x, grid = setting(name, boundary, 10)
    forced = Forced(model, Difference(model, grid, x, u))
    for steps in (24, 48):
        c = advance(forced, grid, u(0.0, x), jnp.asarray(end), jnp.asarray(steps), stepper)
        errors.append(float(jnp.linalg.norm(c - u(end, x))))
    order = np.log2(errors[0] / errors[1])
    assert expected - 0.4 < order < expected + 1, (order, errors)
