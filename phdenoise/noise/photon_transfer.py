"""The photon-transfer line: variance of the noise against mean intensity, and the model that it asks for.

    var = read² + gain · (mean − offset)

Janesick, Photon Transfer, SPIE 2007, doi:10.1117/3.725073. Pixels are sorted by what lies around them, not by
their own value: the noise of a pixel must not choose its bin, or the slope is biased.
"""

from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from phdenoise.noise.differences import (
    HIGHPASS,
    SMALLEST_HIGHPASS_SHARE,
    Difference,
    highpass_share,
    spaced,
)
from phdenoise.noise.levels import Levels
from phdenoise.noise.models.base import NoiseModel
from phdenoise.noise.models.gaussian import Gaussian
from phdenoise.noise.models.poisson import Poisson
from phdenoise.noise.models.poisson_gaussian import PoissonGaussian
from phdenoise.types import InputError

NoiseKind = Literal["auto", "gaussian", "poisson", "poisson-gaussian"]

# Bins of equal population along the intensity.
_BINS = 16
# Squares [variance] above which a difference is a hit of a gamma ray, not noise: six standard deviations.
_LARGEST_SQUARE = 36.0
# Read noise's variance, as a share of the darkest pixels' variance, where the line does not tell it; and how far below zero,
# as a share of the intercept, the darkest pixels may lie for the intercept to be taken as read noise.
_SMALLEST_READ_SHARE = 0.1
# Pixels between those of the high-pass [px]: at the first of these where enough of the noise passes, it is measured.
_HIGHPASS_SPACINGS = (1, 2, 3)
# Standard deviations by which the variance must be less in the high-pass than elsewhere to be taken from there.
_MOTION_DEVIATIONS = 4.0
# Deviation of variance over mean from the step of the values [1] at which they are counts, however well or badly it is known; between
# these, so many of its standard deviations. The same number bounds the misfit.
_SMALLEST_GAIN_ERROR, _LARGEST_GAIN_ERROR, _COUNT_DEVIATIONS = 0.04, 0.12, 4.0
# Mean count below which binning is offered: above it, one count a value is hardly more than there is.
_DARK_RATE = 0.8
# Samples that a set of pixels, and one bin, need at least.
_SMALLEST_SAMPLE, _SMALLEST_BIN = 64, 8
# Smallest deviation of a bin's variance, as a share of the mean variance: no bin rules the line alone.
_SMALLEST_BIN_ERROR = 1e-3


def transfer_points(found: Difference, motion: float, rho: np.ndarray) -> tuple[np.ndarray, float]:
    """Variance of the noise against the intensity, in bins of equal population.

    Motion has little of the finest structure of a frame: where differences have less variance after a high-pass than
    before, the variance of the noise is measured after it.

    Args:
        found: differences of the movie.
        motion: share of their variance that is not noise.
        rho: autocorrelation of the noise [lag_y, lag_x].

    Returns:
        Mean intensity, variance and its standard deviation [bins, 3]; and the share of motion.
    """
    usable = found.usable & found.quiet[:, None, None]
    usable = usable if usable.sum() >= _SMALLEST_SAMPLE else found.usable
    place = _surroundings(found.mean, found.usable)
    points = _binned(found, place, found.noise, usable, found.share)
    points[:, 1] *= 1 - motion
    for spacing in _HIGHPASS_SPACINGS:
        seen, shared = highpass_share(rho, spacing)
        if not seen > SMALLEST_HIGHPASS_SHARE:
            continue
        inner = ndimage.binary_erosion(usable, np.ones((1, 2 * spacing + 1, 2 * spacing + 1)))
        if inner.sum() >= _SMALLEST_SAMPLE:
            break
    else:
        return points, motion
    filtered = ndimage.convolve(
        np.where(found.usable, found.noise, 0.0), spaced(HIGHPASS, spacing)[None]
    )
    share = found.share / shared
    others = _binned(found, place, filtered / np.sqrt(seen), inner, share)
    part = others[:, 1].mean() / max(float(points[:, 1].mean()), np.finfo(float).tiny)
    if part > 1 - _MOTION_DEVIATIONS * np.sqrt(2 / (inner.sum() * share)):
        return points, motion
    return others, 1 - (1 - motion) * part


def _binned(
    found: Difference, place: np.ndarray, noise: np.ndarray, usable: np.ndarray, share: float
) -> np.ndarray:
    """Mean intensity, mean square of noise where usable, and its standard deviation [bins, 3]."""
    around, level, square = place[usable], found.mean[usable], noise[usable] ** 2
    edges = np.unique(np.quantile(around, np.linspace(0, 1, _BINS + 1)))
    index = np.clip(np.searchsorted(edges, around, side="right") - 1, 0, max(edges.size - 2, 0))
    points = []
    for k in range(max(edges.size - 1, 1)):
        inside = index == k
        s, m = square[inside], level[inside]
        if s.size < _SMALLEST_BIN:
            continue
        for _ in range(5):
            kept = s < max(_LARGEST_SQUARE * float(s.mean()), found.dark**2, np.finfo(float).tiny)
            if kept.all() or not kept.any():
                break
            s, m = s[kept], m[kept]
        spread = s.std() / np.sqrt(max(s.size * share, 1.0))
        points.append((m.mean(), s.mean(), spread))
    return np.asarray(points or [(level.mean(), square.mean(), square.mean())])


def fit_line(
    transfer: np.ndarray, kind: NoiseKind, levels: Levels
) -> tuple[NoiseModel, dict[str, float], str]:
    """The model that the photon-transfer points ask for, its parameters' deviations, and a sentence.

    Args:
        transfer: see `transfer_points`.
        kind: family to fit; auto lets the points decide.
        levels: the steps of the movie's values.

    Returns:
        Noise model, standard deviation of each of its parameters, and the sentence.

    Raises:
        InputError: no variance anywhere.
    """
    mean, variance, sd = transfer.T
    if not np.any(variance > 0):
        raise InputError(
            "The movie shows no noise (neighbouring frames are identical): nothing to denoise."
        )
    level = max(float(np.average(variance)), np.finfo(float).tiny)
    sd = np.maximum(sd, _SMALLEST_BIN_ERROR * level)
    line = _line(mean, variance, sd)
    counts = [c for zero in levels.zeros if (c := _counts(transfer, zero, levels.step, line.chi2))]
    if kind == "poisson" or (kind == "auto" and counts):
        zero, ratio, ratio_sd = counts[0] if counts else (0.0, line.slope, line.slope_sd)
        gain = levels.step if counts else ratio
        if gain > 0:
            shift = f", offset = {zero:.4g}" if zero else ""
            sentence = f"Poisson, gain = {gain:.4g}{shift} (variance over mean {ratio:.4g} +- {ratio_sd:.1g})."
            spread = {"gain": ratio_sd, "offset": 0.0}
            return Poisson(jnp.float32(gain), jnp.float32(zero)), spread, sentence
    rise = line.slope * np.ptp(mean)
    significant = line.slope > 4 * line.slope_sd and rise > 0.3 * level and mean.size >= 3
    if kind == "gaussian" or line.slope <= 0 or (kind == "auto" and not significant):
        sigma = float(np.sqrt(level))
        sigma_sd = sigma * float(np.sqrt(np.mean(sd**2) / mean.size)) / (2 * level)
        sentence = f"Gaussian, sigma = {sigma:.4g} +- {sigma_sd:.1g}."
        return Gaussian(jnp.float32(sigma)), {"sigma": sigma_sd}, sentence
    return _poisson_gaussian(line, mean, variance)


def binning_sentence(model: NoiseModel, mean: float) -> str:
    """What binning of a dark scene would give and cost.

    Args:
        model: noise of the movie.
        mean: of the movie [intensity].

    Returns:
        A sentence; empty unless the movie counts less than about one event a value.
    """
    if not isinstance(model, Poisson):
        return ""
    rate = (mean - float(model.offset)) / float(model.gain)
    if not 0 < rate < _DARK_RATE:
        return ""
    frames, side = int(np.ceil(1 / rate)), int(np.ceil(rate**-0.5))
    return (
        f"Dark: {rate:.2g} counts a value, whose noise is {100 * rate**-0.5:.0f} % of it. Binning {frames} frames, or {side} x {side} "
        f"pixels, gives one count a value (100 %) and costs resolution: {frames} times in time, or {side} times along y and x."
    )


def _poisson_gaussian(
    line: "_Line", mean: np.ndarray, variance: np.ndarray
) -> tuple[NoiseModel, dict[str, float], str]:
    """Model, deviations and sentence of a line that rises."""
    slope, intercept = line.slope, line.intercept
    # Counts begin at zero, unless the darkest pixels, below it, or the line's own zero say that they begin elsewhere: then
    # where the line has come down to little. Down to nothing, it would call the darkest pixels noiseless.
    least = _SMALLEST_READ_SHARE * float(variance.min())
    known = intercept >= least and slope * mean.min() > -_SMALLEST_READ_SHARE * intercept
    read = float(np.sqrt(intercept if known else least))
    offset = 0.0 if known else (least - intercept) / slope
    sentence = (
        f"Poisson-Gaussian, gain = {slope:.4g} +- {line.slope_sd:.1g}, offset = {offset:.4g}, "
        f"read noise = {read:.4g}."
    )
    model = PoissonGaussian(jnp.float32(slope), jnp.float32(offset), jnp.float32(read))
    spread = {
        "gain": line.slope_sd,
        "offset": line.intercept_sd / slope,
        "read_sigma": line.intercept_sd / max(2 * read, float(np.sqrt(variance.mean()))),
    }
    return model, spread, sentence


def _counts(
    transfer: np.ndarray, zero: float, step: float, free: float
) -> tuple[float, float, float] | None:
    """Zero, variance over mean and its deviation, if the points are those of counts of one step above a zero; else None.

    Bins of few counts have a small variance and a small deviation by the same chance, so that ratio and misfit weigh all bins alike.
    """
    mean, variance, sd = transfer.T
    above = mean - zero
    if not above.sum() > 0:
        return None
    expected = step * above
    ratio = float(variance.sum() / above.sum())
    ratio_sd = float(np.sqrt(np.sum(sd**2)) / above.sum())
    sure = np.maximum(sd, sd.mean()) + _SMALLEST_BIN_ERROR * variance.mean()
    chi2 = float(np.sum(((variance - expected) / sure) ** 2))
    flat = float(np.sum(((variance - variance.mean()) / sure) ** 2))
    allowed = np.clip(
        _COUNT_DEVIATIONS * ratio_sd / step, _SMALLEST_GAIN_ERROR, _LARGEST_GAIN_ERROR
    )
    fits = chi2 < _COUNT_DEVIATIONS**2 * max(1.0, free) + mean.size * max(1.0, free)
    # Read noise, or a pedestal, whose line is much nearer to the points than the one through zero.
    close = np.abs(variance - expected).mean() < _LARGEST_GAIN_ERROR * variance.mean()
    like = chi2 < flat + _COUNT_DEVIATIONS**2 * max(1.0, free)
    if abs(ratio / step - 1) < allowed and like and (fits or close):
        return zero, ratio, ratio_sd
    return None


def _surroundings(mean: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Mean over 7x7 pixels without the inner 3x3, whose noise may be that of the pixel itself."""

    def ring(values: np.ndarray) -> np.ndarray:
        wide, inner = (
            side**2 * ndimage.uniform_filter(values, (0, side, side), mode="nearest")
            for side in (7, 3)
        )
        return wide - inner

    centre = float(mean[usable].mean()) if usable.any() else 0.0
    weight = ring(usable.astype(float))
    total = ring(np.where(usable, mean - centre, 0.0))
    return centre + np.where(weight > 0.5, total / np.maximum(weight, 0.5), 0.0)


class _Line(NamedTuple):
    """A straight line: its slope and intercept, their deviations, and its reduced misfit."""

    slope: float
    intercept: float
    slope_sd: float
    intercept_sd: float
    chi2: float


def _line(mean: np.ndarray, variance: np.ndarray, sd: np.ndarray) -> _Line:
    """Weighted straight line; the means are centred, so that neither unit nor pedestal of the movie matters."""
    weight = 1 / sd**2
    total = float(weight.sum())
    middle, height = float(weight @ mean) / total, float(weight @ variance) / total
    away = mean - middle
    square = float(weight @ away**2)
    if mean.size < 2 or np.ptp(mean) <= np.finfo(float).eps * np.abs(mean).max() or square <= 0:
        return _Line(0.0, float(variance.mean()), np.inf, float(np.sqrt(np.mean(sd**2))), 1.0)
    slope = float(weight @ (away * variance)) / square
    left = variance - height - slope * away
    chi2 = float(weight @ left**2) / max(mean.size - 2, 1)
    excess = max(1.0, chi2)
    slope_sd = float(np.sqrt(excess / square))
    intercept_sd = float(np.sqrt(excess * (1 / total + middle**2 / square)))
    return _Line(slope, height - slope * middle, slope_sd, intercept_sd, chi2)
