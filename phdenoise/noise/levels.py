"""The steps in which a detector counts: values that are whole multiples of one step above a zero.

    y = zero + step · n,    n = 0, 1, 2 ...

Counts of a known zero have one free property less: their variance is the step times the mean above the zero.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

# Different values of a movie whose steps are examined, at most: with more, a step is lost in rounding.
LARGEST_LEVELS = 4096
# Values that are examined, at most; their steps are those of all.
_EXAMINED = 2**18
# Distance of a value from a multiple of the step [steps] that is still rounding.
_ROUNDING = 0.02
# Counts above the mean that a single value of a dark scene may hold: of 0.1 expected counts, five happen once in 1e7 values.
DARK_COUNTS = 4.0
# Mean above the lowest value [steps] up to which that value counts nothing: of four expected counts, 2 % of the values are zero.
LARGEST_DARK_MEAN = 4.0


class Levels(NamedTuple):
    """Values that are counts times a step.

    Attributes:
        step: smallest difference of two values [intensity]; 0 where values are continuous.
        zeros: intensities at which the counts may be zero [intensity].
    """

    step: float
    zeros: tuple[float, ...]

    @property
    def dark(self) -> float:
        """Difference that a few counts in a dark scene make [intensity]."""
        return DARK_COUNTS * self.step


CONTINUOUS = Levels(0.0, ())


def levels_of(values: Float[np.ndarray, " n"]) -> Levels:
    """The step of values, and where their counts may begin.

    Args:
        values: measured, finite.

    Returns:
        The step with each zero that is possible: the intensity zero, and the smallest value; none where values are continuous.
    """
    whole = bool(values.size and np.all(values >= 0) and np.all(values == np.round(values)))
    found = np.unique(values[:: max(values.size // _EXAMINED, 1)])
    if not 2 <= found.size <= LARGEST_LEVELS:
        return Levels(1.0, (0.0,)) if whole else CONTINUOUS
    gaps = np.diff(found)
    step = float(gaps.min())
    step = float(found[-1] - found[0]) / round(float(found[-1] - found[0]) / step)
    away = (found - found[0]) / step
    if whole:
        step = 1.0
    elif np.abs(away - np.round(away)).max() > _ROUNDING:
        return CONTINUOUS
    lowest, steps = float(found[0]), float(found[0]) / step
    natural = steps > -_ROUNDING and abs(steps - round(steps)) < _ROUNDING
    # The lowest value is the zero of a scene so dark that some pixels count nothing.
    dark = steps > _ROUNDING or not natural
    dark &= float(values.mean()) - lowest < LARGEST_DARK_MEAN * step
    return Levels(step, (0.0,) * natural + (lowest,) * dark)
