"""RKC2 with as many stages as each step needs, and an error estimate: adaptive steps on masks.

    s = ⌈√(1 + 1.5 dt ρ/(1 − 2ε/15))⌉,   e = 0.8 (c − c') + 0.4 dt (f(c) + f(c'))

The number of stages is a value, not a shape, so steps of any size share one compilation; such a
loop has no reverse mode. Coefficients in closed form and the estimate: Sommeijer, Shampine &
Verwer, J. Comput. Appl. Math. 88, 315 (1998), doi:10.1016/S0377-0427(97)00219-7.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from phdenoise.grid import Grid
from phdenoise.physics.models import Model
from phdenoise.physics.rkc import DAMPING
from phdenoise.types import Field, Scalar

# A fifth to spare: the radius is an estimate, and the field changes within a step.
MARGIN = 1.2


class VariableRKC2(eqx.Module):
    """Second order, stabilised explicit; for masks, reactions, and what has no transform.

    Args:
        most: largest number of stages of a step; rounding grows as its square.
    """

    most: int = eqx.field(static=True, default=400)

    # The radius is cheap beside the stages, and stability hangs on it.
    refresh: ClassVar[int] = 1

    def linearise(self, model: Model, grid: Grid, c: Field) -> Scalar:
        """Spectral radius at the field [1/time]."""
        return model.spectral_radius(c, grid)

    def limit(self, grid: Grid, radius: Scalar, dt: Scalar) -> Scalar:
        """The step, shortened to what `most` stages reach."""
        reach = (self.most**2 - 1) * (1 - 2 / 15 * DAMPING) / (1.5 * MARGIN)
        return jnp.minimum(dt, reach / radius)

    def prepare(self, model: Model, grid: Grid, dt: Scalar, radius: Scalar) -> Scalar:
        """The number of stages."""
        need = jnp.sqrt(1 + 1.5 * MARGIN * dt * radius / (1 - 2 / 15 * DAMPING))
        return jnp.clip(jnp.ceil(need), 2, self.most)

    def step_dense(
        self, model: Model, grid: Grid, stages: Scalar, t: Scalar, c: Field, dt: Scalar
    ) -> tuple[Field, Field, Callable[[Scalar], Field]]:
        """The field one step later, its error, and the cubic through both ends and slopes."""
        f0 = model.rhs(t, c, grid)
        after = _stages(model, grid, stages, t, c, f0, dt)
        f1 = model.rhs(t + dt, after, grid)
        error = 0.8 * (c - after) + 0.4 * dt * (f0 + f1)

        def dense(x: Scalar) -> Field:
            rise = after - c
            bend = (1 - 2 * x) * rise + (x - 1) * dt * f0 + x * dt * f1
            return (1 - x) * c + x * after + x * (x - 1) * bend

        return after, error, dense


def _stages(
    model: Model, grid: Grid, s: Scalar, t: Scalar, c: Field, f0: Field, dt: Scalar
) -> Field:
    """The recurrence of `RKC2` with Tⱼ, Tⱼ', Tⱼ'' at w₀ carried along."""
    w0 = 1 + DAMPING / s**2
    root = jnp.sqrt((w0 - 1) * (w0 + 1))
    angle = s * jnp.log1p((w0 - 1) + root)
    # T_s'/T_s'' with T_s = cosh(angle).
    w1 = jnp.sinh(angle) * root**2 / (jnp.cosh(angle) * s * root - w0 * jnp.sinh(angle))
    b1 = 1 / (4 * w0**2)
    one, zero = jnp.ones_like(w0), jnp.zeros_like(w0)

    def stage(_: Array, carry: Any) -> Any:
        before, current, (z2, d2, q2), (z1, d1, q1), b2, b1, place = carry
        z = 2 * w0 * z1 - z2
        d = 2 * w0 * d1 - d2 + 2 * z1
        q = 2 * w0 * q1 - q2 + 4 * d1
        b = q / d**2
        mu, nu, gain = 2 * w0 * b / b1, -b / b2, 2 * w1 * b / b1
        slope = dt * model.rhs(t + place * dt, current, grid)
        shift = -(1 - z1 * b1) * gain * dt
        after = (1 - mu - nu) * c + mu * current + nu * before + gain * slope + shift * f0
        return current, after, (z1, d1, q1), (z, d, q), b1, b, w1 * q / d

    place = w1 * b1
    first = c + place * dt * f0
    chebyshev = (one, zero, zero), (w0, one, zero)
    carry = (c, first, *chebyshev, b1, b1, place)
    return jax.lax.fori_loop(0, s.astype(int) - 1, stage, carry)[1]
