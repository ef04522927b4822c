"""RKC2: stabilised explicit Runge-Kutta-Chebyshev of order two, for masks and much else.

    stable while dt ρ ≤ ⅔ (s² − 1)(1 − 2ε/15),   ρ the spectral radius of the Jacobian, ε = 2/13

s stages reach a step that grows as s², against s for s explicit Euler steps; no transform, no
solve. Sommeijer, Shampine & Verwer, J. Comput. Appl. Math. 88, 315 (1998),
doi:10.1016/S0377-0427(97)00219-7.
"""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.polynomial import chebyshev

from phdenoise.grid import Grid
from phdenoise.physics.equations.base import Law
from phdenoise.physics.steppers.base import Needs, Stepper
from phdenoise.types import Field, InputError, Scalar

# ε, the damping of the stability polynomial, of Sommeijer, Shampine & Verwer: stiff waves shrink by ε/3, 5 % a step.
DAMPING = 2 / 13
# The largest stable dt ρ of s stages over s² − 1, same source.
REACH = 2 / 3 * (1 - 2 / 15 * DAMPING)
# Factor on the spectral radius: it is an estimate, and the field changes within a step. Chosen as a fifth to spare;
# it costs a tenth more stages.
RADIUS_MARGIN = 1.2


class RKC2(Stepper):
    """Second order in `stages` evaluations of the right-hand side.

    Args:
        stages: s ≥ 2; take it from `stages_for`.
    """

    order: ClassVar[int] = 2
    needs: ClassVar[Needs] = Needs(spectral_radius=True)

    stages: int = eqx.field(static=True, default=16)

    def __check_init__(self) -> None:
        if self.stages < 2:
            raise InputError(f"RKC2 needs at least 2 stages, got {self.stages}.")

    def limit(self, reference: Scalar, dt: Scalar) -> Scalar:
        """The step, shortened to what the stages reach.

        Args:
            reference: spectral radius [1/time].
            dt: wanted step size [time].

        Returns:
            Allowed step size [time].
        """
        return jnp.minimum(dt, stability_limit(self.stages) / (RADIUS_MARGIN * reference))

    def prepare(self, model: Law, grid: Grid, dt: Scalar, reference: Any) -> Any:
        """Chebyshev recurrence of stages 2 … s.

        Args:
            model, grid, dt, reference: as in `Stepper.prepare`.

        Returns:
            Weights of the first stage and of the others.
        """
        return _recurrence(self.stages, dt.dtype)

    def step(
        self, model: Law, grid: Grid, coefficients: Any, t: Scalar, c: Field, dt: Scalar
    ) -> Field:
        """Three-term recurrence over the stages.

        Args:
            model, grid, coefficients, t, c, dt: as in `Stepper.step`.

        Returns:
            Field at t + dt [*cells].
        """
        first, rows = coefficients
        f0 = dt * model.rhs(t, c, grid)

        def stage(carry: tuple[Field, Field], row: Any) -> tuple[tuple[Field, Field], None]:
            before, current = carry
            keep, mu, nu, mu_f, gamma_f, place = row
            f = dt * model.rhs(t + place * dt, current, grid)
            after = keep * c + mu * current + nu * before + mu_f * f + gamma_f * f0
            return (current, after), None

        (_, result), _ = jax.lax.scan(stage, (c, c + first * f0), rows)
        return result


def stability_limit(stages: int) -> float:
    """Largest stable dt ρ."""
    return REACH * (stages**2 - 1)


def stages_for(model: Law, grid: Grid, c: Field, dt: float) -> int:
    """Fewest stages stable at this field and step, with a fifth to spare.

    Args:
        model: law.
        grid: domain.
        c: field [*cells].
        dt: step size [time].

    Returns:
        Stages, at least 2.

    Raises:
        InputError: the spectral radius is not finite.
    """
    radius = float(model.spectral_radius(c, grid))
    if not np.isfinite(radius):
        raise InputError(
            "The spectral radius is not finite at this field: check the field and the law."
        )
    return max(2, int(np.ceil(np.sqrt(1 + RADIUS_MARGIN * dt * radius / REACH))))


def _recurrence(s: int, dtype: Any) -> tuple[Any, tuple[Any, ...]]:
    w0 = 1 + DAMPING / s**2
    unit = np.eye(s + 1)
    t0 = np.array([chebyshev.chebval(w0, unit[j]) for j in range(s + 1)])
    t1 = np.array([chebyshev.chebval(w0, chebyshev.chebder(unit[j])) for j in range(s + 1)])
    t2 = np.array([chebyshev.chebval(w0, chebyshev.chebder(unit[j], 2)) for j in range(s + 1)])
    w1 = t1[s] / t2[s]
    b = np.empty(s + 1)
    b[2:] = t2[2:] / t1[2:] ** 2
    b[:2] = b[2]
    a = 1 - b * t0
    place = np.empty(s + 1)
    place[2:] = w1 * t2[2:] / t1[2:]
    place[1] = place[2] / t1[2]
    j = np.arange(2, s + 1)
    mu, nu, mu_f = 2 * b[j] * w0 / b[j - 1], -b[j] / b[j - 2], 2 * b[j] * w1 / b[j - 1]
    # Stage j evaluates f at the place of stage j − 1.
    rows = (1 - mu - nu, mu, nu, mu_f, -a[j - 1] * mu_f, place[j - 1])
    return jnp.asarray(b[1] * w1, dtype), tuple(jnp.asarray(row, dtype) for row in rows)
