"""A model whose right-hand side leaves nothing behind for reverse mode but the fields it was given.

    forward   y = f(x), x kept          reverse   x̄ = (∂f/∂x)ᵀ ȳ, f computed again at x + 0·ȳ₀

`jax.checkpoint` says the same, but XLA sees that what is computed again was computed before and keeps it.
Here the second computation depends on the cotangent, so that it can neither be merged with the first nor begin
before it is its turn: the reverse of a step holds one stage, and of that one law, at a time. Plain forward mode
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
from phdenoise.physics.models import Model, Reference, Wrapped
from phdenoise.types import Field, Scalar

# Fields of a model that hold a cellwise law.
_LAWS = ("free_energy", "mobility", "diffusivity")


class Sparing(Wrapped):
    """The same equation."""

    def rhs(self, t: Scalar, c: Field, grid: Grid) -> Field:
        """dc/dt [1/time]."""

        def rhs(model: Model, t: Scalar, c: Field, grid: Grid) -> Field:
            return _with_late_laws(model).rhs(t, c, grid)

        return late(rhs, self.model, t, c, grid)

    def homogeneous(self, c: Field) -> Field:
        """The cellwise part of the law."""
        return late(lambda model, c: model.homogeneous(c), self.model, c)

    def split(
        self, grid: Grid, reference: Reference
    ) -> tuple[Float[Array, "*k"], Float[Array, "*k"]] | None:
        """As the model says."""
        return self.model.split(grid, reference)


def late(function: Callable[..., Any], *args: Any) -> Any:
    """function(*args), in reverse mode computed again once its cotangent is there.

    Args:
        function: closes over no array.
        args: pytrees; floating-point arrays are differentiated.
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


class _LateLaw(eqx.Module):
    """A law of one field, called or asked for its potential."""

    law: Any

    def __call__(self, c: Field) -> Field:
        return late(lambda law, c: law(c), self.law, c)

    def chemical_potential(self, c: Field) -> Field:
        return late(lambda law, c: law.chemical_potential(c), self.law, c)

    def density(self, c: Field) -> Field:
        return self.law.density(c)

    def curvature(self, c: Field) -> Field:
        return self.law.curvature(c)


def _with_late_laws(model: Model) -> Model:
    laws = {name: _LateLaw(getattr(model, name)) for name in _LAWS if hasattr(model, name)}
    return dataclasses.replace(model, **laws)
