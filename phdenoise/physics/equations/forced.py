"""An equation with a source that knows the time: drives, and manufactured solutions.

∂c/∂t = (right-hand side of the model) + S(t, x)
"""

from collections.abc import Callable

from phdenoise.grid import Grid
from phdenoise.physics.equations.base import Wrapped
from phdenoise.types import Field, Scalar


class Forced(Wrapped):
    """A model plus S(t, x).

    Args:
        model: what it is added to; its reference serves, since S does not depend on c, and S may raise its energy.
        source: S at a time on the cells [1/time]; an `eqx.Module` if it holds arrays, so that they
            are arguments of a jitted solve.
    """

    source: Callable[[Scalar], Field]

    def rhs(self, t: Scalar, c: Field, grid: Grid) -> Field:
        """dc/dt [1/time]."""
        return self.model.rhs(t, c, grid) + self.source(t)
