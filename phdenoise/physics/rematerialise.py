"""A law whose right-hand side stores nothing for reverse mode but its arguments (rematerialisation).

    forward   y = f(x), x kept          reverse   x̄ = (∂f/∂x)ᵀ ȳ, f computed again at x + 0·ȳ₀

`jax.checkpoint` says the same, but XLA sees that what is computed again was computed before and keeps it.
Here the second computation depends on the cotangent, so that XLA can neither merge it with the first nor begin it
early: the reverse of a step holds one stage, and of that stage one function, at a time. Plain forward mode
does not apply.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from phdenoise.grid import Grid
from phdenoise.physics.equations.base import Law, Reference, Wrapped
from phdenoise.types import Field, Scalar

# Fields of a model that hold a cellwise law.
_LAWS = ("free_energy", "mobility", "diffusivity")


class Rematerialised(Wrapped):
    """The same equation."""

    def rhs(self, t: Scalar, c: Field, grid: Grid) -> Field:
        """dc/dt, computed again in reverse mode.

        Args:
            t: time.
            c: field [*cells].
            grid: domain.

        Returns:
            dc/dt [*cells] [1/time].
        """

        def rhs(model: Law, t: Scalar, c: Field, grid: Grid) -> Field:
            return _with_rematerialised_laws(model).rhs(t, c, grid)

        return recompute_in_reverse(rhs, self.model, t, c, grid)

    def homogeneous(self, c: Field) -> Field:
        """The cellwise part of the law."""
        return recompute_in_reverse(lambda model, c: model.homogeneous(c), self.model, c)

    def split(
        self, grid: Grid, reference: Reference
    ) -> tuple[Float[Array, "*k"], Float[Array, "*k"]] | None:
        """As the law says.

        Args:
            grid: domain.
            reference: constant coefficients.

        Returns:
            (G, R) of `Law.split`.
        """
        return self.model.split(grid, reference)


def recompute_in_reverse(function: Callable[..., Any], *args: Any) -> Any:
    """function(*args), in reverse mode computed again once its cotangent is there.

    Args:
        function: closes over no array.
        args: pytrees; floating-point arrays are differentiated.

    Returns:
        What the function returns.
    """
    arrays, rest = eqx.partition(args, eqx.is_array)

    def value(arrays: Any) -> Any:
        return function(*eqx.combine(arrays, rest))

    def reverse(arrays: Any, cotangent: Any) -> tuple[Any]:
        # Zero, unless the cotangent is not finite, and then the result is not either.
        zero = 0 * jnp.ravel(jax.tree.leaves(cotangent)[0])[0]
        again = jax.tree.map(
            lambda x: x + zero.astype(x.dtype) if eqx.is_inexact_array(x) else x, arrays
        )
        return jax.vjp(value, again)[1](cotangent)

    held = jax.custom_vjp(value)
    held.defvjp(lambda arrays: (value(arrays), arrays), reverse)
    return held(arrays)


class _RematerialisedLaw(eqx.Module):
    """A law of one field, called or asked for its potential."""

    law: Any

    def __call__(self, c: Field) -> Field:
        return recompute_in_reverse(lambda law, c: law(c), self.law, c)

    def chemical_potential(self, c: Field) -> Field:
        return recompute_in_reverse(lambda law, c: law.chemical_potential(c), self.law, c)

    def density(self, c: Field) -> Field:
        return self.law.density(c)

    def curvature(self, c: Field) -> Field:
        return self.law.curvature(c)


def _with_rematerialised_laws(model: Law) -> Law:
    laws: dict[str, Any] = {
        name: _RematerialisedLaw(getattr(model, name)) for name in _LAWS if hasattr(model, name)
    }
    return dataclasses.replace(model, **laws)
