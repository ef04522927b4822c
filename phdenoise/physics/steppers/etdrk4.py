"""Exponential Runge-Kutta of order four, the default for equal steps.

    dc/dt = Lc + N(c),   L diagonal in the transform of the grid (`Reference` of the law)

L is taken exactly and N by four explicit stages, written in the transformed space: nine transforms a step.
Stages of Cox & Matthews, J. Comput. Phys. 176, 430 (2002), doi:10.1006/jcph.2002.6995, or of Krogstad,
J. Comput. Phys. 203, 72 (2005), doi:10.1016/j.jcp.2004.08.006: two to seven times more accurate at equal
steps, and stable in fewer cases. A fit, which tries many laws with few steps, takes the former.
"""

from functools import reduce
from operator import add
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from phdenoise.grid import Grid
from phdenoise.physics.equations.base import Law, Reference
from phdenoise.physics.steppers.base import Needs, Stepper
from phdenoise.physics.transforms import transforms
from phdenoise.types import Field, Scalar

# Cox and Matthews' explicit remainder is stable where L is at least 0.5 of the largest rate, as every law's
# `reference` provides; Krogstad's needs 0.595 of it, so L is made 1.2 times larger.
KROGSTAD_MARGIN = 1.2
# Terms of the Taylor series of φ₃ within |z| < 1: 1/18! is below the rounding of float64.
TAYLOR_TERMS = 18


class ETDRK4(Stepper):
    """Fourth order for smooth fields; the choice for periodic and no-flux boxes.

    Args:
        krogstad: Krogstad's stages instead of those of Cox and Matthews.
    """

    order: ClassVar[int] = 4
    needs: ClassVar[Needs] = Needs(rectangle=True, implicit_symbol=True)

    krogstad: bool = eqx.field(static=True, default=False)

    def prepare(self, model: Law, grid: Grid, dt: Scalar, reference: Reference) -> Any:
        """exp(z/2), exp(z), the weights of the slopes in each stage, z = dt L, and N in the transformed space.

        Args:
            model, grid, dt, reference: as in `Stepper.prepare`.

        Returns:
            Arrays in the layout of `laplacian_symbol`.
        """
        split = model.split(grid, reference)
        if self.krogstad and split is None:
            reference = jax.tree.map(lambda r: KROGSTAD_MARGIN * r, reference)
        symbol = model.implicit_symbol(grid, reference)
        z = dt * symbol
        e_half, e_full = jnp.exp(z / 2), jnp.exp(z)
        half, half2, _ = phi_functions(z / 2)
        p1, p2, p3 = phi_functions(z)
        first = 0.5 * dt * half
        krogstad = None
        if self.krogstad:
            krogstad = first - dt * half2, dt * half2, dt * (p1 - 2 * p2), 2 * dt * p2
        last = dt * (p1 - 3 * p2 + 4 * p3), 2 * dt * (p2 - 2 * p3), dt * (4 * p3 - p2)
        return e_half, e_full, first, krogstad, last, symbol, split

    def step(
        self, model: Law, grid: Grid, coefficients: Any, t: Scalar, c: Field, dt: Scalar
    ) -> Field:
        """The four stages.

        Args:
            model, grid, coefficients, t, c, dt: as in `Stepper.step`.

        Returns:
            Field at t + dt [*cells].
        """
        e_half, e_full, first, krogstad, (last_u, last_ab, last_d), symbol, split = coefficients
        forward, inverse = transforms(grid)

        def remainder(stage_time: Scalar, spectrum: Array, field: Field) -> Array:
            if split is None:
                return forward(model.rhs(stage_time, field, grid)) - weighted((symbol, spectrum))
            gain, rest = split
            return weighted((gain, forward(model.homogeneous(field))), (rest, spectrum))

        u = forward(c)
        n_u = remainder(t, u, c)
        a = weighted((e_half, u), (first, n_u))
        n_a = remainder(t + dt / 2, a, inverse(a))
        if krogstad is None:
            b = weighted((e_half, u), (first, n_a))
        else:
            second_u, second_a, third_u, third_b = krogstad
            b = weighted((e_half, u), (second_u, n_u), (second_a, n_a))
        n_b = remainder(t + dt / 2, b, inverse(b))
        if krogstad is None:
            d = weighted((e_half, a), (first, n_b + n_b - n_u))
        else:
            d = weighted((e_full, u), (third_u, n_u), (third_b, n_b))
        n_d = remainder(t + dt, d, inverse(d))
        return inverse(weighted((e_full, u), (last_u, n_u), (last_ab, n_a + n_b), (last_d, n_d)))


def weighted(*terms: tuple[Array, Array]) -> Array:
    """Sum of real weights times spectra, real or complex.

    XLA would make the weights complex, twice as large and held through all steps, and multiply by their zeros.

    Args:
        terms: pairs of weights and spectrum, of shapes that broadcast.

    Returns:
        Spectrum.
    """
    return reduce(add, (_times(weight, spectrum) for weight, spectrum in terms))


def _times(weight: Array, spectrum: Array) -> Array:
    if not jnp.iscomplexobj(spectrum):
        return weight * spectrum
    return jax.lax.complex(weight * jnp.real(spectrum), weight * jnp.imag(spectrum))


def phi_functions(z: Float[Array, "*s"]) -> tuple[Array, Array, Array]:
    """φ₁ = (eᶻ−1)/z, φ₂ = (φ₁−1)/z, φ₃ = (φ₂−½)/z for z ≤ 0, to a few ulp.

    Taylor series inside |z| < 1, where the quotients cancel; the recurrence outside.
    """
    near = jnp.abs(z) < 1
    small, large = jnp.where(near, z, 0), jnp.where(near, -1, z)
    series = jnp.zeros_like(z)
    for n in range(TAYLOR_TERMS, 2, -1):
        # Horner: (1 + z(…))/n down to n = 3 leaves 2! φ₃ = Σ 2! zʲ/(j+3)!.
        series = (1 + small * series) / n
    s3 = series / 2
    s2 = small * s3 + 0.5
    s1 = small * s2 + 1
    p1 = jnp.expm1(large) / large
    p2 = (p1 - 1) / large
    p3 = (p2 - 0.5) / large
    return jnp.where(near, s1, p1), jnp.where(near, s2, p2), jnp.where(near, s3, p3)
