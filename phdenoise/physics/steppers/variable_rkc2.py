"""RKC2 with as many stages as each step needs, and an error estimate: the default under a mask.

    s = ⌈√(1 + 1.5 dt ρ/(1 − 2ε/15))⌉,   e = 0.8 (c − c') + 0.4 dt (f(c) + f(c'))

The number of stages is a value, not a shape, so steps of any size share one compilation; such a
loop has no reverse mode unless it is `reversible`, and then no forward mode. Coefficients in closed form and the estimate: Sommeijer, Shampine &
Verwer, J. Comput. Appl. Math. 88, 315 (1998), doi:10.1016/S0377-0427(97)00219-7.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jaxtyping import Array

from phdenoise.grid import Grid
from phdenoise.physics.equations.base import Law
from phdenoise.physics.steppers.base import Dense, Needs, Stepper, hermite
from phdenoise.physics.steppers.rkc2 import DAMPING, RADIUS_MARGIN, REACH
from phdenoise.types import Field, Scalar


class VariableRKC2(Stepper):
    """Second order, stabilised explicit; for masks, reactions, and laws without a transform.

    Args:
        most: largest number of stages of a step; rounding grows as its square.
        reverse: a loop of stages with reverse mode in place of forward mode; its checkpoints are chosen as it runs (Stumm and
            Walther, SIAM J. Sci. Comput. 32, 836 (2010), doi:10.1137/080742439).
    """

    order: ClassVar[int] = 2
    error_order: ClassVar[int | None] = 3
    needs: ClassVar[Needs] = Needs(spectral_radius=True)
    # The radius is cheap beside the stages, and stability depends on it.
    refresh: ClassVar[int] = 1

    most: int = eqx.field(static=True, default=400)
    reverse: bool = eqx.field(static=True, default=False)

    def reversible(self) -> "VariableRKC2":
        """The same steps with reverse mode."""
        return VariableRKC2(self.most, reverse=True)

    @property
    def _most(self) -> int | None:
        """Bound of the loop of stages where it must have reverse mode."""
        return self.most if self.reverse else None

    def limit(self, reference: Scalar, dt: Scalar) -> Scalar:
        """The step, shortened to what `most` stages reach.

        Args:
            reference: spectral radius [1/time].
            dt: wanted step size [time].

        Returns:
            Allowed step size [time].
        """
        return jnp.minimum(dt, REACH / RADIUS_MARGIN * (self.most**2 - 1) / reference)

    def prepare(self, model: Law, grid: Grid, dt: Scalar, reference: Scalar) -> Scalar:
        """The number of stages.

        Args:
            model, grid, dt: as in `Stepper.prepare`.
            reference: spectral radius [1/time].

        Returns:
            Stages s, a whole number of the dtype of dt.
        """
        need = jnp.sqrt(1 + RADIUS_MARGIN / REACH * dt * reference)
        return jnp.clip(jnp.ceil(need), 2, self.most)

    def step(
        self, model: Law, grid: Grid, coefficients: Scalar, t: Scalar, c: Field, dt: Scalar
    ) -> Field:
        """The stages, as many as the field c needs: equal steps keep the coefficients of their first field.

        Args:
            model, grid, t, c, dt: as in `Stepper.step`.
            coefficients: not used.

        Returns:
            Field at t + dt [*cells].
        """
        stages = self.prepare(model, grid, dt, self.linearise(model, grid, c))
        return _stages(model, grid, stages, t, c, model.rhs(t, c, grid), dt, self._most)

    def step_with_error(
        self, model: Law, grid: Grid, coefficients: Scalar, t: Scalar, c: Field, dt: Scalar
    ) -> tuple[Field, Field]:
        """The field one step later and its error.

        Args:
            model, grid, coefficients, t, c, dt: as in `Stepper.step_with_error`.

        Returns:
            Field at t + dt and its estimated error, each [*cells].
        """
        return self.step_dense(model, grid, coefficients, t, c, dt)[:2]

    def step_dense(
        self, model: Law, grid: Grid, coefficients: Scalar, t: Scalar, c: Field, dt: Scalar
    ) -> tuple[Field, Field, Dense]:
        """The field one step later, its error, and the cubic through both ends and slopes.

        Args:
            model, grid, coefficients, t, c, dt: as in `Stepper.step_dense`.

        Returns:
            Field at t + dt, its error, and the field as a function of the part of the step in [0, 1].
        """
        f0 = model.rhs(t, c, grid)
        after = _stages(model, grid, coefficients, t, c, f0, dt, self._most)
        f1 = model.rhs(t + dt, after, grid)
        error = 0.8 * (c - after) + 0.4 * dt * (f0 + f1)
        return after, error, partial(hermite, c, after, dt * f0, dt * f1)


def _repeated(stage: Callable[[Any], Any], carry: Any, count: Array, most: int | None) -> Any:
    """The stage so many times; with reverse mode where at most `most` are known to be needed."""
    if most is None:
        return jax.lax.fori_loop(0, count, lambda _, carry: stage(carry), carry)
    begin = jnp.zeros_like(count), carry
    return eqxi.while_loop(
        lambda state: state[0] < count,
        lambda state: (state[0] + 1, stage(state[1])),
        begin,
        max_steps=most,
        kind="checkpointed",
    )[1]


def _stages(
    model: Law,
    grid: Grid,
    s: Scalar,
    t: Scalar,
    c: Field,
    f0: Field,
    dt: Scalar,
    most: int | None,
) -> Field:
    """The recurrence of `RKC2` with Tⱼ, Tⱼ', Tⱼ'' at w₀ carried along."""
    w0 = 1 + DAMPING / s**2
    root = jnp.sqrt((w0 - 1) * (w0 + 1))
    angle = s * jnp.log1p((w0 - 1) + root)
    # T_s'/T_s'' with T_s = cosh(angle).
    w1 = jnp.sinh(angle) * root**2 / (jnp.cosh(angle) * s * root - w0 * jnp.sinh(angle))
    b1 = 1 / (4 * w0**2)
    one, zero = jnp.ones_like(w0), jnp.zeros_like(w0)

    def stage(carry: Any) -> Any:
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
    return _repeated(stage, carry, jax.lax.stop_gradient(s).astype(int) - 1, most)[1]
