"""Intensity to lithium fraction when all that is known is the movie: c = (I − I₀)/(I₁ − I₀)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from phdenoise.observation.affine import AffineConcentration
from phdenoise.types import InputError

Quantification = Literal["auto", "as-is", "scaled"]

# Quantiles of the intensity of a frame that are taken as its range: one in two hundred pixels may be an outlier at each end.
_RANGE_QUANTILES = (0.005, 0.995)
# Concentrations that this range is mapped to: laws with an entropy need 0 < c < 1 with room for what lies beyond the range.
RANGE_CONCENTRATIONS = (0.05, 0.95)
# Intensities that may be fractions already: within 0 to 1 but for noise of a tenth, and with a contrast of 2 %.
_FRACTION_LIMITS, _FRACTION_CONTRAST = (-0.1, 1.1), 0.02


@dataclass(frozen=True)
class ConcentrationScale:
    """Intensities of c = 0 and c = 1, and the sentence that says where they come from."""

    low: float
    high: float
    sentence: str

    @property
    def observation(self) -> AffineConcentration:
        """The instrument with these two intensities."""
        return AffineConcentration(self.low, self.high)


def choose_concentration(
    smooth: Float[np.ndarray, "t y x"],
    valid: Bool[np.ndarray, "t y x"],
    *,
    how: Quantification = "auto",
    limits: tuple[float, float] | None = None,
) -> ConcentrationScale:
    """Find the affine map from intensity to concentration.

    Args:
        smooth: denoised or smoothed intensities [t, y, x].
        valid: True where measured [t, y, x].
        how: a name of `CONCENTRATIONS`.
        limits: intensities of c = 0 and c = 1, when known; they replace `how`.

    Returns:
        The two intensities and how they were found.

    Raises:
        InputError: equal limits, or no contrast to scale by.
    """
    if limits is None:
        return CONCENTRATIONS[how](*intensity_range(smooth, valid))
    low, high = limits
    if not (np.isfinite([low, high]).all() and low != high):
        raise InputError(f"--concentration-range needs two different numbers, got {limits}.")
    return ConcentrationScale(low, high, f"c = 0 at {low:g} and c = 1 at {high:g}, as given.")


def intensity_range(
    smooth: Float[np.ndarray, "t y x"], valid: Bool[np.ndarray, "t y x"]
) -> tuple[float, float]:
    """Lowest and highest intensity of any frame, but for outliers: no frame is clipped, though most of a movie be near rest.

    Args:
        smooth: denoised or smoothed intensities [t, y, x].
        valid: True where measured [t, y, x].

    Returns:
        Lowest and highest intensity.
    """
    used = np.where(valid, smooth, np.nan)[valid.any((1, 2))]
    bottom, top = np.nanquantile(used, _RANGE_QUANTILES, axis=(1, 2))
    return float(bottom.min()), float(top.max())


def _as_fraction(bottom: float, top: float) -> ConcentrationScale:
    return ConcentrationScale(0.0, 1.0, "Intensities are taken as the lithium fraction.")


def _by_range(bottom: float, top: float) -> ConcentrationScale:
    if top <= bottom:
        raise InputError("The movie has no contrast to turn into a concentration.")
    first, last = RANGE_CONCENTRATIONS
    span = (top - bottom) / (last - first)
    low = float(bottom - first * span)
    return ConcentrationScale(
        low,
        low + float(span),
        f"No calibration given: the range {bottom:.4g} to {top:.4g} is mapped to c = {first} to {last}, so "
        "the law is in units of that assumption.",
    )


def _fraction_or_range(bottom: float, top: float) -> ConcentrationScale:
    low, high = _FRACTION_LIMITS
    fraction = bottom > low and top < high and top - bottom > _FRACTION_CONTRAST
    return _as_fraction(bottom, top) if fraction else _by_range(bottom, top)


# The names of the command line and of settings: what each makes of the range of intensities.
CONCENTRATIONS: dict[str, Callable[[float, float], ConcentrationScale]] = {
    "as-is": _as_fraction,
    "scaled": _by_range,
    "auto": _fraction_or_range,
}
