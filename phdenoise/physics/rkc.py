"""RKC2: stabilised explicit Runge-Kutta-Chebyshev of order two, for masks and much else.

    stable while dt ρ ≤ ⅔ (s² − 1)(1 − 2ε/15),   ρ the spectral radius of the Jacobian, ε = 2/13

s stages reach a step that grows as s², against s for s explicit Euler steps; no transform, no
solve. Sommeijer, Shampine & Verwer, J. Comput. Appl. Math. 88, 315 (1998),
doi:10.1016/S0377-0427(97)00219-7.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.polynomial import chebyshev

from phdenoise.grid import Grid
from phdenoise.physics.models import Model, Reference
from phdenoise.physics.steppers import Stepper
from phdenoise.types import Field, InputError, Scalar

DAMPING = 2 / 13


class RKC2(Stepper):
    """Second order in `stages` evaluations of the right-hand side.

    Args:
        stages: s ≥ 2; take it from `stages_for`.
    """

    stages: int = eqx.field(static=True, default=16)

    def __check_init__(self) -> None:
        if self.stages < 2:
            raise InputError(f"RKC2 needs at least 2 stages, got {self.stages}.")

    def prepare(self, model: Model, grid: Grid, dt: Scalar, reference: Reference) -> Any:
        """Chebyshev recurrence of stages 2 … s."""
        return _recurrence(self.stages, dt.dtype)

    def step(
        self, model: Model, grid: Grid, coefficients: Any, t: Scalar, c: Field, dt: Scalar
    ) -> Field:
        """Three-term recurrence over the stages."""
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
    return 2 / 3 * (stages**2 - 1) * (1 - 2 / 15 * DAMPING)


def stages_for(model: Model, grid: Grid, c: Field, dt: float) -> int:
    """Fewest stages stable at this field and step, with a fifth to spare."""
    radius = float(model.spectral_radius(c, grid))
    if not np.isfinite(radius):
        raise InputError(
            "The spectral radius is not finite at this field: check the field and the law."
        )
    need = 1.2 * dt * radius
    return max(2, int(np.ceil(np.sqrt(1 + 1.5 * need / (1 - 2 / 15 * DAMPING)))))


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
