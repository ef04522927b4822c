"""Intensity to lithium fraction when all that is known is the movie: c = (I − I₀)/(I₁ − I₀)."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from phdenoise.types import InputError

Quantification = Literal["auto", "as-is", "scaled"]


@dataclass(frozen=True)
class ConcentrationScale:
    """Intensities of c = 0 and c = 1, and the sentence that says where they come from."""

    low: float
    high: float
    sentence: str


def choose_concentration(
    smooth: np.ndarray,
    valid: np.ndarray,
    *,
    how: Quantification = "auto",
    limits: tuple[float, float] | None = None,
) -> ConcentrationScale:
    """Find the affine map from intensity to concentration.

    Args:
        smooth: denoised or smoothed intensities [t, y, x].
        valid: True where measured.
        how: "as-is" (already a fraction), "scaled" (robust range mapped to 0.05..0.95), or "auto".
        limits: intensities of c = 0 and c = 1, when known.

    Raises:
        InputError: equal limits, or no contrast to scale by.
    """
    if limits is not None:
        low, high = limits
        if not (np.isfinite([low, high]).all() and low != high):
            raise InputError(f"--concentration-range needs two different numbers, got {limits}.")
        return ConcentrationScale(low, high, f"c = 0 at {low:g} and c = 1 at {high:g}, as given.")
    bottom, top = np.quantile(smooth[valid], [0.01, 0.99])
    fraction = bottom > -0.1 and top < 1.1 and top - bottom > 0.02
    if how == "as-is" or (how == "auto" and fraction):
        return ConcentrationScale(0.0, 1.0, "Intensities are taken as the lithium fraction.")
    if top <= bottom:
        raise InputError("The movie has no contrast to turn into a concentration.")
    span = (top - bottom) / 0.9
    low = float(bottom - 0.05 * span)
    return ConcentrationScale(
        low,
        low + float(span),
        f"No calibration given: the range {bottom:.4g} to {top:.4g} is mapped to c = 0.05 to 0.95, so "
        "the law is in units of that assumption.",
    )
