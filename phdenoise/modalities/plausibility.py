"""What no sample can be: quantities outside the values that they can have, by more than their errors explain.

A chain turns any movie into numbers. Where they are impossible, the movie is not what the chain takes it for, or a calibration is
wrong; its report then opens with a sentence for each, and states no law, rate or charge.
"""

from dataclasses import dataclass

import numpy as np

# A value is outside if it lies beyond the limit by so many standard deviations, which one in 740 does by chance.
_BEYOND = 3.0
# Share of the values that may be outside: edges of particles and single spots are, in sound measurements.
_STRAY = 0.05


@dataclass(frozen=True)
class Limits:
    """Values that a quantity can have.

    Attributes:
        name: of the quantity, as a sentence begins.
        low, high: smallest and largest possible value [unit].
        slack: by how much calibrations may miss [unit].
        unit: of the values, "" for a share.
        why: what sets the limits.
    """

    name: str
    low: float
    high: float
    slack: float
    unit: str = ""
    why: str = ""


def impossible(values: np.ndarray, sd: np.ndarray, limits: Limits) -> tuple[str, ...]:
    """A sentence where a quantity is outside its limits.

    Args:
        values: of any shape [unit]; NaN where not known.
        sd: of the values, of the same shape [unit].
        limits: of the quantity.

    Returns:
        One sentence, or none.
    """
    known = np.isfinite(values) & np.isfinite(sd)
    if not known.any():
        return ()
    v, reach = values[known], limits.slack + _BEYOND * sd[known]
    outside = (v < limits.low - reach) | (v > limits.high + reach)
    share = float(outside.mean())
    if share <= _STRAY:
        return ()
    first, last = np.quantile(v, [_STRAY / 2, 1 - _STRAY / 2])
    unit, why = f" {limits.unit}" * bool(limits.unit), f" ({limits.why})" * bool(limits.why)
    can = f"{limits.low:.3g}" + f" to {limits.high:.3g}" * (limits.high > limits.low)
    return (
        f"{limits.name} runs from {first:.3g} to {last:.3g}{unit}, and can only be {can}{unit}{why}: "
        f"{100 * share:.0f} % of the values lie outside by more than {_BEYOND:g} standard deviations.",
    )
