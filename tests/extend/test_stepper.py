"""A stepper from outside the package, through every way to solve; docs/extend/stepper.md shows the same code."""

from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phdenoise import physics
from phdenoise.grid import Grid
from phdenoise.physics.steppers.base import Needs, Stepper
from phdenoise.physics.steppers.diffrax_solver import solve_adaptive
from phdenoise.types import InputError

pytestmark = pytest.mark.usefixtures("x64")


class Heun(Stepper):
    """c' = c + dt/2 ( f(t, c) + f(t + dt, c + dt f(t, c)) ), explicit, of order two."""

    order: ClassVar[int] = 2
    needs: ClassVar[Needs] = Needs(spectral_radius=True)

    def limit(self, reference: Any, dt: Any) -> Any:
        """Stable while dt ρ ≤ 2."""
        return jnp.minimum(dt, 2 / reference)

    def prepare(self, model: Any, grid: Grid, dt: Any, reference: Any) -> None:
        """No constants."""

    def step(self, model: Any, grid: Grid, coefficients: None, t: Any, c: Any, dt: Any) -> Any:
        """Two slopes."""
        first = model.rhs(t, c, grid)
        second = model.rhs(t + dt, c + dt * first, grid)
        return c + dt / 2 * (first + second)


MODEL = physics.Fickian(physics.LegendreMobility(np.array([-1.0, 0.5])))
MASK = np.ones((5, 6), bool)
MASK[0, 0] = False
GRIDS = {"periodic": Grid((5, 6), 1.0), "mask": Grid((5, 6), 1.0, "no-flux", MASK)}
TIMES = np.array([0.0, 0.7, 2.0])


def test_the_page_shows_this_code(capsys):
    here = Path(__file__)
    page = (here.parents[2] / "docs/extend/stepper.md").read_text()
    code = page.split("```python\n")[1].split("```")[0]
    written = code[code.index("class Heun") : code.index("law = ")].rstrip()
    assert written in here.read_text()
    assert len(code.splitlines()) <= 40
    exec(compile(code, "stepper.md", "exec"), {"__name__": "stepper"})
    assert "last time was reached" in capsys.readouterr().out


def start():
    return jnp.asarray(0.5 + 0.3 * np.cos(np.arange(30.0)).reshape(5, 6))


def exact(model, grid):
    return physics.simulate(model, grid, start(), TIMES, substeps=64, stepper="variable-rkc2")


@pytest.mark.parametrize("domain", GRIDS)
def test_equal_steps_converge_with_its_order(domain):
    ends = [
        physics.simulate(MODEL, GRIDS[domain], start(), TIMES, substeps=n, stepper=Heun())[-1]
        for n in (8, 16, 32)
    ]
    coarse, fine = (float(jnp.linalg.norm(a - b)) for a, b in pairwise(ends))
    assert 1.8 < np.log2(coarse / fine) < 2.4
    np.testing.assert_allclose(ends[-1], exact(MODEL, GRIDS[domain])[-1], atol=1e-3)


@pytest.mark.parametrize("domain", GRIDS)
def test_adaptive_steps_meet_the_tolerance(domain):
    grid = GRIDS[domain]
    for tolerance in (1e-3, 1e-5):
        result = physics.integrate(
            MODEL, grid, start(), TIMES, rtol=tolerance, atol=tolerance, stepper=Heun()
        )
        error = jnp.abs(result.checked() - exact(MODEL, grid)).max()
        assert float(error) < 10 * tolerance + 1e-5


def test_a_batch_is_a_loop():
    grid, scales = GRIDS["mask"], jnp.asarray([0.5, 1.0])
    models = eqx.filter_vmap(lambda s: physics.Fickian(physics.ConstantMobility(s)))(scales)
    together = physics.simulate_many(
        models, grid, start(), TIMES, over="laws", substeps=6, stepper=Heun()
    )
    for i, scale in enumerate(scales):
        model = physics.Fickian(physics.ConstantMobility(scale))
        single = physics.simulate(model, grid, start(), TIMES, substeps=6, stepper=Heun())
        np.testing.assert_allclose(together[i], single, atol=1e-13)


def test_diffrax_takes_it():
    grid = GRIDS["mask"]
    solve = jax.jit(lambda c: solve_adaptive(MODEL, grid, c, TIMES, rtol=1e-5, atol=1e-5, stepper=Heun(),
                                             adjoint=diffrax.ForwardMode()))  # fmt: skip
    np.testing.assert_allclose(solve(start()), exact(MODEL, grid), atol=1e-4)


def test_it_refuses_in_one_sentence_what_it_cannot_do():
    class OnlyRate(physics.Law):
        def rhs(self, t, c, grid):
            return -c

    with pytest.raises(InputError, match="Heun needs a bound on the rates of the law but OnlyRate"):
        physics.simulate(OnlyRate(), GRIDS["mask"], start(), TIMES, substeps=2, stepper=Heun())

    class Everywhere(Heun):
        needs: ClassVar[Needs] = Needs(periodic=True)

    with pytest.raises(InputError, match="Everywhere needs periodic faces but the grid is no-flux"):
        physics.simulate(MODEL, GRIDS["mask"], start(), TIMES, substeps=2, stepper=Everywhere())
