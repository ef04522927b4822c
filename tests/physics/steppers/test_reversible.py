"""Reverse mode under a mask: gradients of the stabilised steps agree with forward mode."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phdenoise.grid import Grid
from phdenoise.physics.equations.fickian import Fickian
from phdenoise.physics.mobility import ConstantMobility
from phdenoise.physics.particle import disc
from phdenoise.physics.simulate import simulate
from phdenoise.physics.steppers.diffrax_solver import solve_adaptive
from phdenoise.physics.steppers.variable_rkc2 import VariableRKC2

pytestmark = pytest.mark.usefixtures("x64")

START = 0.5 + 0.3 * np.sin(np.arange(81.0)).reshape(9, 9)
TIMES = np.asarray([0.0, 1.0, 2.0])


def domain():
    return Grid((9, 9), 1.0, "no-flux", disc((9, 9), 4.0)), jnp.asarray(START)


@pytest.mark.slow
def test_reverse_mode_of_equal_steps_is_that_of_forward_mode():
    def total(diffusivity, stepper):
        law = Fickian(ConstantMobility(diffusivity))
        return jnp.sum(simulate(law, *domain(), TIMES, substeps=1, stepper=stepper)[-1] ** 2)

    point, forward = jnp.asarray(0.8), VariableRKC2()
    value, slope = jax.jvp(lambda d: total(d, forward), (point,), (jnp.ones(()),))
    again, gradient = jax.value_and_grad(total)(point, forward.reversible())
    assert float(again) == pytest.approx(float(value), rel=1e-12)
    assert float(gradient) == pytest.approx(float(slope), rel=1e-9)


@pytest.mark.slow
def test_adaptive_steps_have_reverse_mode_under_a_mask():
    def total(diffusivity):
        law = Fickian(ConstantMobility(diffusivity))
        return jnp.sum(solve_adaptive(law, *domain(), TIMES, rtol=1e-6, atol=1e-8)[-1] ** 2)

    gradient = float(jax.grad(total)(jnp.asarray(0.8)))
    step = 1e-4
    difference = (float(total(jnp.asarray(0.8 + step))) - float(total(jnp.asarray(0.8 - step)))) / (
        2 * step
    )
    assert gradient == pytest.approx(difference, rel=1e-3)
