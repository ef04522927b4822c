"""What an adaptive solve returns: frames, which of them were reached, and how the solve ended."""

from enum import IntEnum
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from phdenoise.types import Field, Frames, InputError, Scalar


class Outcome(IntEnum):
    """How a solve ended; `sentence` says it in words."""

    reached = 0
    too_many_steps = 1
    step_too_small = 2
    not_finite = 3
    bad_start = 4
    left_range = 5
    bad_times = 6

    @property
    def sentence(self) -> str:
        """What happened and what to do."""
        return _SENTENCES[self]


_SENTENCES = {
    Outcome.reached: "The last time was reached.",
    Outcome.too_many_steps: (
        "The steps ran out before the last time: raise max_steps or the tolerances, or end earlier."
    ),
    Outcome.step_too_small: (
        "The steps shrank to nothing although the field stayed finite: the tolerance is below the "
        "rounding of this dtype, or the law is ill-posed (a mobility or gradient coefficient below "
        "zero)."
    ),
    Outcome.not_finite: (
        "Every step from here on, however small, gives values that are not finite: the law is "
        "ill-posed or undefined at this field."
    ),
    Outcome.bad_start: "The first field, or its rate of change, is not finite.",
    Outcome.left_range: (
        "The field lies outside the range in which the law drives it (for a reaction, more than "
        "100 eps outside [0, 1]): begin inside, with noise mapped into (0, 1), or end before the "
        "current has filled or emptied the particle."
    ),
    Outcome.bad_times: (
        "The times do not increase in this precision: count them from the first frame, or call "
        "outside jit with NumPy float64 times."
    ),
}


class Solution(NamedTuple):
    """Frames and how far they can be trusted; always finite if the first field was.

    Attributes:
        frames: solution at the requested times [t, *cells]; those not reached repeat `last`.
        valid: which frames were reached, all of them finite [t].
        outcome: how it ended, the number of an `Outcome`.
        elapsed: time from the first frame to `last` [time].
        last: field there [*cells].
        dt: next step size it would have tried [time].
        accepted, rejected: numbers of steps.
    """

    frames: Frames
    valid: Bool[Array, " t"]
    outcome: Int[Array, ""]
    elapsed: Scalar
    last: Field
    dt: Scalar
    accepted: Int[Array, ""]
    rejected: Int[Array, ""]

    def explain(self) -> str:
        """One sentence: when and why it stopped (outside jit)."""
        return (
            f"Stopped at t = {float(self.elapsed):.6g} from the first frame after {int(self.accepted)} steps "
            f"({int(self.rejected)} rejected). {Outcome(int(self.outcome)).sentence}"
        )

    def checked(self) -> Frames:
        """The frames (outside jit).

        Raises:
            InputError: if not all times were reached.
        """
        if not bool(jnp.all(self.valid)):
            raise InputError(self.explain())
        return self.frames
