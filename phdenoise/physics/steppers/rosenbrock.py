"""Rosenbrock-W: third order with an embedded error, linearly implicit in a stand-in Jacobian.

    (1 − γ dt A) kᵢ = f(t + αᵢ dt, c + dt Σⱼ αᵢⱼ kⱼ) + dt A Σⱼ γᵢⱼ kⱼ,   c' = c + dt Σᵢ bᵢ kᵢ

A W-method keeps its order for any A, here the constant-coefficient symbol of the model, so each
stage is one transform, a product and one transform back. Coefficients ROS34PW2 (L-stable, stiffly
accurate): Rang & Angermann, BIT 45, 761 (2005), doi:10.1007/s10543-005-0035-y.
"""

from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from phdenoise.grid import Grid
from phdenoise.physics.equations.base import Law, Reference
from phdenoise.physics.steppers.base import Dense, Needs, Stepper
from phdenoise.physics.transforms import transforms
from phdenoise.types import Field, Scalar

# ROS34PW2 of Rang & Angermann: γ, αᵢⱼ, γᵢⱼ without their diagonal γ, the weights bᵢ of order 3 and those of
# the embedded method of order 2.
GAMMA = 4.3586652150845900e-01
ALPHA = np.array(
    [
        [0, 0, 0, 0],
        [8.7173304301691801e-01, 0, 0, 0],
        [8.4457060015369423e-01, -1.1299064236484185e-01, 0, 0],
        [0, 0, 1, 0],
    ]
)
COUPLING = np.array(
    [
        [0, 0, 0, 0],
        [-8.7173304301691801e-01, 0, 0, 0],
        [-9.0338057013044082e-01, 5.4180672388095326e-02, 0, 0],
        [2.4212380706095346e-01, -1.2232505839045147e00, 5.4526025533510214e-01, 0],
    ]
)
WEIGHTS = np.array([2.4212380706095346e-01, -1.2232505839045147e00, 1.5452602553351020e00, GAMMA])
EMBEDDED = np.array([3.7810903145819369e-01, -9.6042292212423178e-02, 0.5, 2.1793326075422950e-01])

_A = ALPHA.sum(axis=1)
_B = (ALPHA + COUPLING).sum(axis=1) + GAMMA
# Row i: bᵢ(x) in x, x², x³. Order two for every A, three in the powers of f, and WEIGHTS at x = 1.
DENSE = np.linalg.inv(np.stack([np.ones(4), _A, _B, _A**2])) @ np.array(
    [[1, 0, 0], [0, 1 / 2, 0], [0, 1 / 2, 0], [0, 0, 1 / 3]]
)


class RosenbrockW(Stepper):
    """Third order at eight transforms a step, with an error estimate for adaptive steps."""

    order: ClassVar[int] = 3
    error_order: ClassVar[int | None] = 3
    needs: ClassVar[Needs] = Needs(rectangle=True, implicit_symbol=True)

    def prepare(self, model: Law, grid: Grid, dt: Scalar, reference: Reference) -> Any:
        """z = dt A and 1/(1 − γz).

        Args:
            model, grid, dt, reference: as in `Stepper.prepare`.

        Returns:
            Both in the layout of `laplacian_symbol`.
        """
        z = dt * model.implicit_symbol(grid, reference)
        return z, 1 / (1 - GAMMA * z)

    def step(
        self, model: Law, grid: Grid, coefficients: Any, t: Scalar, c: Field, dt: Scalar
    ) -> Field:
        """The field one step later.

        Args:
            model, grid, coefficients, t, c, dt: as in `Stepper.step`.

        Returns:
            Field at t + dt [*cells].
        """
        return self.step_dense(model, grid, coefficients, t, c, dt)[0]

    def step_with_error(
        self, model: Law, grid: Grid, coefficients: Any, t: Scalar, c: Field, dt: Scalar
    ) -> tuple[Field, Field]:
        """The field one step later and its difference to the embedded second-order result.

        Args:
            model, grid, coefficients, t, c, dt: as in `Stepper.step_with_error`.

        Returns:
            Field at t + dt and its estimated error, each [*cells].
        """
        return self.step_dense(model, grid, coefficients, t, c, dt)[:2]

    def step_dense(
        self, model: Law, grid: Grid, coefficients: Any, t: Scalar, c: Field, dt: Scalar
    ) -> tuple[Field, Field, Dense]:
        """The field one step later, its error, and the field at a part of the step in [0, 1].

        The last is built of the implicit slopes, not of f, which amplifies rounding in stiff waves.

        Args:
            model, grid, coefficients, t, c, dt: as in `Stepper.step_dense`.

        Returns:
            Field at t + dt, its error, and the field as a function of the part of the step.
        """
        z, solve = coefficients
        forward, inverse = transforms(grid)
        slopes: list[Array] = []
        spectra: list[Array] = []
        for i in range(4):
            stage = _combine(c, [dt * float(a) for a in ALPHA[i]], slopes)
            f = model.rhs(t + dt * float(ALPHA[i].sum()), stage, grid)
            coupled = _combine(jnp.zeros_like(z), [float(g) for g in COUPLING[i]], spectra)
            spectra.append(solve * (forward(f) + z * coupled))
            slopes.append(inverse(spectra[i]))
        error = _combine(jnp.zeros_like(c), [dt * float(w) for w in WEIGHTS - EMBEDDED], slopes)

        def dense(x: Scalar) -> Field:
            weights = [dt * x * (float(p) + x * (float(q) + x * float(r))) for p, q, r in DENSE]
            return _combine(c, weights, slopes)

        return _combine(c, [dt * float(w) for w in WEIGHTS], slopes), error, dense


def _combine(start: Array, weights: list, terms: list[Array]) -> Array:
    for weight, term in zip(weights, terms, strict=False):
        start = start + weight * term
    return start
