"""A law with one more effect, such as advection, that is fitted together with it.

    ∂c/∂t = F(t, c; law, effect)

The numbers of the law keep their names, so that a fit reports "kappa" whether or not there is an effect. What a
stepper, a fit or a report asks is what the law answers, unless the effect changes it.
"""

from typing import ClassVar, TypeVar

import equinox as eqx
import numpy as np
from jaxtyping import Float

from phdenoise.grid import Grid
from phdenoise.physics.equations.base import Law, Starts, Wrapped
from phdenoise.physics.law_parameters import Parameters, whole
from phdenoise.types import Field

Kind = TypeVar("Kind", bound="Extended")


class Extended(Wrapped):
    """A law with one more effect. A new effect states `effect` and `phrase`, and its `rhs` and `spectral_radius`.

    Args:
        model: the law; any, also an extended one.

    Attributes:
        effect: adjective for tables, such as "advected".
        phrase: what follows the name of the law in a sentence, such as "with advection".
    """

    model: Law = whole()

    effect: ClassVar[str] = ""
    phrase: ClassVar[str] = ""

    @property
    def label(self) -> str:  # type: ignore[override]
        """Effect and law."""
        return f"{self.effect} {self.model.label or type(self.model).__name__}"

    @property
    def title(self) -> str:  # type: ignore[override]
        """Law and effect in a sentence."""
        name = self.model.title or self.model.label or type(self.model).__name__
        return f"{name} {self.phrase}"

    @property
    def conserved(self) -> bool:  # type: ignore[override]
        """That of the law."""
        return self.model.conserved

    @property
    def own_width(self) -> bool:  # type: ignore[override]
        """That of the law."""
        return self.model.own_width

    @property
    def product(self) -> bool:  # type: ignore[override]
        """That of the law."""
        return self.model.product

    def having(self: Kind, model: Law) -> Kind:
        """The same effect on another law of the same kind."""
        return eqx.tree_at(lambda law: law.model, self, model)

    def guess(
        self: Kind, frames: Float[np.ndarray, "t y x"], times: Float[np.ndarray, " t"], grid: Grid
    ) -> Kind:
        """The effect as a movie suggests it; by default as it was given.

        Args:
            frames: concentration [t, y, x].
            times: of the frames [frame intervals].
            grid: in cells.

        Returns:
            The law in cells and frame intervals.
        """
        return self

    def starts(
        self, frames: Float[np.ndarray, "t y x"], times: Float[np.ndarray, " t"], grid: Grid
    ) -> Starts:
        """Those of the law, with the effect as the movie suggests it."""
        own = self.guess(frames, times, grid)
        found = self.model.starts(frames, times, grid)
        return Starts(own.having(found.guess), tuple(own.having(law) for law in found.around))

    def long_step(self, free: Parameters, theta: np.ndarray, step: np.ndarray) -> np.ndarray:
        """That of the law; straight in the numbers of the effect."""
        return self.model.long_step(free, theta, step)

    def error_step(self, free: Parameters, theta: np.ndarray, step: np.ndarray) -> np.ndarray:
        """That of the law; straight in the numbers of the effect."""
        return self.model.error_step(free, theta, step)

    def caveat(self, held: tuple[str, ...]) -> str:
        """That of the law."""
        return self.model.caveat(held)

    def over(self: Kind, low: float, high: float) -> Kind:
        """The same effect on the law with its series over these concentrations."""
        return self.having(self.model.over(low, high))

    def with_place(self: Kind, factor: Field) -> Kind:
        """The same effect on the law with this factor of its mobility [y, x]."""
        return self.having(self.model.with_place(factor))
