"""An equation with a source that knows the time: drives, and manufactured solutions.

∂c/∂t = (right-hand side of the model) + S(t, x)
"""

from collections.abc import Callable

from jaxtyping import Array, Bool

from phdenoise.grid import Grid
from phdenoise.physics.models import Model, Reference
from phdenoise.types import Field, Scalar


class Forced(Model):
    """A model plus S(t, x).

    Args:
        model: what it is added to.
        source: S at a time on the cells [1/time]; an `eqx.Module` if it holds arrays, so that they
            are arguments of a jitted solve.
    """

    model: Model
    source: Callable[[Scalar], Field]

    def rhs(self, t: Scalar, c: Field, grid: Grid) -> Field:
        """dc/dt [1/time]."""
        return self.model.rhs(t, c, grid) + self.source(t)

    def reference(self, c: Field, grid: Grid) -> Reference:
        """That of the model: S does not depend on c."""
        return self.model.reference(c, grid)

    def spectral_radius(self, c: Field, grid: Grid) -> Scalar:
        """That of the model."""
        return self.model.spectral_radius(c, grid)

    def admissible(self, c: Field, grid: Grid) -> Bool[Array, ""]:
        """That of the model."""
        return self.model.admissible(c, grid)

    def energy(self, c: Field, grid: Grid) -> Scalar:
        """That of the model; a source may raise it."""
        return self.model.energy(c, grid)
