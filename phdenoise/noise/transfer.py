"""The photon-transfer line: variance of the noise against mean intensity, and the model that it asks for.

    var = read² + gain · (mean − offset)

Janesick, Photon Transfer, SPIE 2007, doi:10.1117/3.725073. Pixels are sorted by what lies around them, not by
their own value: the noise of a pixel must not choose its bin, or the slope is biased.
"""

from typing import Literal

import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from phdenoise.noise.differences import ENOUGH, FINEST, Difference, of_the_finest, spaced
from phdenoise.noise.models import Gaussian, Poisson, PoissonGaussian
from phdenoise.types import InputError

NoiseKind = Literal["auto", "gaussian", "poisson", "poisson-gaussian"]

_BINS = 16
# Squares above so many variances are spots, not noise.
_SPOT = 36.0
# Read noise's variance where nothing tells it, of the darkest pixels'; how much of it may be missed below zero.
_LEAST = 0.1
# Pixels between those of the finest structure; sd by which noise has to be less there than elsewhere.
_SPACINGS, _SURE = (1, 2, 3), 4.0
# Deviation from unit gain at which integers are still counts.
_UNIT = 0.12


def transfer_points(found: Difference, motion: float, rho: np.ndarray) -> tuple[np.ndarray, float]:
    """Mean intensity, variance and its standard deviation [bins, 3], in bins of equal population; and the share of motion.

    What moves has little of the finest structure of a frame: where differences have less noise there than elsewhere, it is the
    noise of that structure which counts.

    Args:
        found: differences of the movie.
        motion: share of their variance that is not noise.
        rho: autocorrelation of the noise [lag_y, lag_x].
    """
    usable = found.usable & found.quiet[:, None, None]
    usable = usable if usable.sum() >= 64 else found.usable
    place = _surroundings(found.mean, found.usable)
    points = _binned(found, place, found.noise, usable, found.share)
    points[:, 1] *= 1 - motion
    for spacing in _SPACINGS:
        seen, shared = of_the_finest(rho, spacing)
        if not seen > ENOUGH:
            continue
        inner = ndimage.binary_erosion(usable, np.ones((1, 2 * spacing + 1, 2 * spacing + 1)))
        if inner.sum() >= 64:
            break
    else:
        return points, motion
    finest = ndimage.convolve(
        np.where(found.usable, found.noise, 0.0), spaced(FINEST, spacing)[None]
    )
    share = found.share / shared
    others = _binned(found, place, finest / np.sqrt(seen), inner, share)
    part = others[:, 1].mean() / max(float(points[:, 1].mean()), np.finfo(float).tiny)
    if part > 1 - _SURE * np.sqrt(2 / (inner.sum() * share)):
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
        if s.size < 8:
            continue
        for _ in range(5):
            kept = s < _SPOT * max(float(s.mean()), np.finfo(float).tiny)
            if kept.all() or not kept.any():
                break
            s, m = s[kept], m[kept]
        spread = s.std() / np.sqrt(max(s.size * share, 1.0))
        points.append((m.mean(), s.mean(), spread))
    return np.asarray(points or [(level.mean(), square.mean(), square.mean())])


def fit_line(
    transfer: np.ndarray, kind: NoiseKind, counts: bool
) -> tuple[Gaussian | Poisson | PoissonGaussian, dict[str, float], str]:
    """The model that the photon-transfer points ask for, its parameters' deviations, and a sentence.

    Args:
        transfer: see `transfer_points`.
        kind: family to fit; auto lets the points decide.
        counts: the movie holds whole non-negative numbers.

    Raises:
        InputError: no variance anywhere.
    """
    mean, variance, sd = transfer.T
    if not np.any(variance > 0):
        raise InputError(
            "The movie shows no noise (neighbouring frames are identical): nothing to denoise."
        )
    level = max(float(np.average(variance)), np.finfo(float).tiny)
    sd = np.maximum(sd, 1e-3 * level)
    slope, intercept, cov = _line(mean, variance, sd)
    sigma = float(np.sqrt(level))
    rise = slope * np.ptp(mean)
    significant = slope > 4 * np.sqrt(cov[0, 0]) and rise > 0.3 * level and mean.size >= 3
    unit = counts and abs(slope - 1) < _UNIT
    if kind == "auto":
        # Pure counting: unit gain, and no variance left where no counts are expected.
        pure = unit and abs(intercept) < 0.1 * level
        kind = "gaussian" if not significant else "poisson" if pure else "poisson-gaussian"
    if kind == "gaussian" or slope <= 0:
        sigma_sd = sigma * float(np.sqrt(np.mean(sd**2) / mean.size)) / (2 * level)
        sentence = f"Gaussian, sigma = {sigma:.4g} +- {sigma_sd:.1g}."
        return Gaussian(jnp.float32(sigma)), {"sigma": sigma_sd}, sentence
    gain_sd, read_sd = (float(np.sqrt(cov[i, i])) for i in (0, 1))
    if kind == "poisson":
        gain = 1.0 if unit else float(slope)
        sentence = (
            f"Poisson, gain = {gain:.4g} (photon-transfer slope {slope:.4g} +- {gain_sd:.1g})."
        )
        spread = {"gain": gain_sd, "offset": 0.0}
        return Poisson(jnp.float32(gain), jnp.float32(0)), spread, sentence
    # Counts begin at zero, unless the darkest pixels, below it, or the line's own zero say that they begin elsewhere: then
    # where the line has come down to little. Down to nothing, it would call the darkest pixels noiseless.
    least = _LEAST * float(variance.min())
    known = intercept >= least and slope * mean.min() > -_LEAST * intercept
    read = float(np.sqrt(intercept if known else least))
    offset = 0.0 if known else (least - intercept) / slope
    sentence = (
        f"Poisson-Gaussian, gain = {slope:.4g} +- {gain_sd:.1g}, offset = {offset:.4g}, "
        f"read noise = {read:.4g}."
    )
    model = PoissonGaussian(jnp.float32(slope), jnp.float32(offset), jnp.float32(read))
    spread = {
        "gain": gain_sd,
        "offset": read_sd / slope,
        "read_sigma": read_sd / max(2 * read, sigma),
    }
    return model, spread, sentence


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


def _line(
    mean: np.ndarray, variance: np.ndarray, sd: np.ndarray
) -> tuple[float, float, np.ndarray]:
    """Weighted straight line: slope, intercept, covariance."""
    if mean.size < 2 or np.ptp(mean) == 0:
        return 0.0, float(variance.mean()), np.diag([np.inf, float(np.mean(sd**2))])
    design = np.stack([mean, np.ones_like(mean)], axis=1) / sd[:, None]
    cov = np.linalg.pinv(design.T @ design)
    slope, intercept = cov @ design.T @ (variance / sd)
    misfit = np.sum((design @ [slope, intercept] - variance / sd) ** 2) / max(mean.size - 2, 1)
    return float(slope), float(intercept), cov * max(1.0, misfit)
