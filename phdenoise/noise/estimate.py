"""The noise of a movie, estimated from the movie alone.

Differences in time of second order, d = (y₋ − 2y + y₊)/√6, or of a higher one where that finds less motion,
cancel whatever is still or moves steadily and keep the noise variance. Their mean square against the local mean intensity is the photon-transfer line
var = read² + gain · (mean − offset) (Janesick, Photon Transfer, SPIE 2007, doi:10.1117/3.725073); their
correlation between neighbouring pixels is that of the noise, and decides what a denoiser must not see.
What correlates over more than `FAR` pixels is taken for motion and subtracted.
"""

from dataclasses import dataclass
from math import comb
from typing import Literal

import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from phdenoise.noise.models import Gaussian, Poisson, PoissonGaussian
from phdenoise.types import InputError, NoiseModel

NoiseKind = Literal["auto", "gaussian", "poisson", "poisson-gaussian"]
Blind = Literal["pixel", "frame", "udvd"]

LAGS = 5
FAR = 9
BINS = 16
# Correlation of neighbouring pixels above which the whole centre frame is hidden.
CORRELATED = 0.08
# Correlation of successive frames above which neighbouring frames carry the same noise.
PERSISTENT = 0.3
# Orders of temporal difference tried, and the frames that a movie must have before the higher ones are.
ORDERS, ENOUGH = (2, 3, 4), 8


@dataclass(frozen=True)
class NoiseEstimate:
    """Noise model of a movie with the evidence for it.

    Attributes:
        model: Gaussian, Poisson or PoissonGaussian.
        sd: standard deviation of each of the model's parameters.
        correlation: noise correlation at lags 0..5 along "x" and "y", and 0..1 along "t".
        transfer: photon-transfer points, columns mean intensity, variance, sd of the variance [bins, 3].
        blind: region to hide by default.
        sentences: what was found and decided.
    """

    model: NoiseModel
    sd: dict[str, float]
    correlation: dict[str, np.ndarray]
    transfer: np.ndarray
    blind: Blind
    sentences: tuple[str, ...]


def estimate_noise(
    frames: np.ndarray, valid: np.ndarray | None = None, kind: NoiseKind = "auto"
) -> NoiseEstimate:
    """Estimate the noise of frames [t, y, x].

    Args:
        frames: measured intensities; NaN allowed where not valid.
        valid: True where a pixel may be used [t, y, x]; default all finite.
        kind: family to fit; auto lets the photon-transfer line decide.

    Raises:
        InputError: no valid pixel, an unknown kind, or no noise at all (constant or noiseless frames).
    """
    if kind not in ("auto", "gaussian", "poisson", "poisson-gaussian"):
        raise InputError(
            f"Unknown noise '{kind}': use auto, gaussian, poisson or poisson-gaussian."
        )
    data = np.asarray(frames, np.float64)
    good = np.isfinite(data) if valid is None else valid & np.isfinite(data)
    if not good.any():
        raise InputError("The movie has no valid pixel: every value is NaN or masked.")
    data = np.where(good, data, data[good].mean())
    saturated = _saturated(data, good)
    difference, mean, usable, how = _differences(data, good & ~saturated)
    if usable.sum() < 16:
        usable = np.ones_like(usable)
    noise = np.where(usable, difference, 0.0)
    clipped = _clip(noise, usable)
    correlation_x, correlation_y, motion = _spatial(clipped, usable)
    if data.shape[0] == 1:
        # The high-pass that removes the image also shapes the noise: nothing is known.
        correlation_x[1:] = correlation_y[1:] = np.nan
    transfer = _transfer(noise, mean, usable, motion)
    model, sd, sentence = _fit_line(transfer, kind, data[good])
    correlation_t = _temporal(data, good) if data.shape[0] >= 4 else np.array([1.0, np.nan])
    blind, reason = _choose_blind(
        data.shape[0], correlation_x[1], correlation_y[1], correlation_t[1]
    )
    share = float(saturated.sum() / data.size)
    extra = (f"{100 * share:.2g} % of the pixels look saturated and were left out.",) * (share > 0)
    return NoiseEstimate(
        model=model,
        sd=sd,
        correlation={"x": correlation_x, "y": correlation_y, "t": correlation_t},
        transfer=transfer,
        blind=blind,
        sentences=(f"Noise ({how}): {sentence}", reason, *extra),
    )


def _differences(
    data: np.ndarray, good: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    """Differences with the variance of the noise, the local mean, usable pixels, and how."""
    frames = data.shape[0]
    if frames == 1:
        mask = np.array([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]]) / 6.0
        inside = ndimage.binary_erosion(good[0], np.ones((3, 3)), border_value=1)
        high = ndimage.convolve(data[0], mask, mode="reflect")
        return high[None], _local(data), inside[None], "one image, high-passed"
    orders = ORDERS if frames >= ENOUGH else (min(frames - 1, 2),)
    found = [_difference(data, good, order) for order in orders]
    # Every order carries the noise alike; motion adds to each, and least to the best of them.
    power = [float(np.mean(_clip(d, ok)[ok] ** 2)) if ok.any() else np.inf for d, _, ok in found]
    best = int(np.argmin(power))
    # A higher order has fewer samples: not for a few per mille.
    best = 0 if power[best] > 0.98 * power[0] else best
    difference, mean, usable = found[best]
    name = {1: "first", 2: "second", 3: "third", 4: "fourth"}[orders[best]]
    return difference, _local(mean), usable, f"{name} differences in time"


def _difference(
    data: np.ndarray, good: np.ndarray, order: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Finite difference over time scaled to unit noise gain, mean of its frames, usable pixels."""
    weights = np.array([(-1.0) ** k * comb(order, k) for k in range(order + 1)])
    weights /= np.sqrt(np.sum(weights**2))
    count = data.shape[0] - order
    pieces = [slice(k, k + count) for k in range(order + 1)]
    difference = sum(w * data[piece] for w, piece in zip(weights, pieces, strict=True))
    mean = sum(data[piece] for piece in pieces) / (order + 1)
    usable = np.logical_and.reduce([good[piece] for piece in pieces])
    return np.asarray(difference), np.asarray(mean), usable


def _local(mean: np.ndarray) -> np.ndarray:
    return ndimage.uniform_filter(mean, (1, 5, 5), mode="nearest")


def _saturated(data: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Pixels at the very top value when implausibly many share it."""
    top = data[good].max()
    at_top = good & (data == top)
    many = at_top.sum() > max(16, 2e-3 * good.sum()) and np.unique(data[good][:100_000]).size > 16
    return at_top if many else np.zeros_like(good)


def _clip(values: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Values limited to five standard deviations, so that gamma spots do not rule the correlation."""
    limit = 5.0 * np.sqrt(np.mean(values[usable] ** 2))
    for _ in range(3):
        kept = np.abs(values[usable]) < limit
        limit = 5.0 * np.sqrt(np.mean(values[usable][kept] ** 2)) if kept.any() else limit
    return np.clip(values, -limit, limit)


def _spatial(values: np.ndarray, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Correlation along x and y at lags 0..LAGS, and the share of variance that is motion."""

    def covariance(axis: int, lag: int) -> float:
        n = values.shape[axis]
        if lag >= n:
            return 0.0
        a, b = (np.take(values, range(*r), axis) for r in ((0, n - lag), (lag, n)))
        u, v = (np.take(usable, range(*r), axis) for r in ((0, n - lag), (lag, n)))
        both = u & v
        return float((a * b)[both].mean()) if both.any() else 0.0

    total = max(covariance(1, 0), np.finfo(float).tiny)
    far = min(covariance(axis, FAR) for axis in (1, 2)) if min(values.shape[1:]) > 2 * FAR else 0.0
    motion = float(np.clip(far / total, 0.0, 0.9))
    noise = total * (1 - motion)
    along_x = np.array([covariance(2, lag) for lag in range(LAGS + 1)]) - total * motion
    along_y = np.array([covariance(1, lag) for lag in range(LAGS + 1)]) - total * motion
    return along_x / noise, along_y / noise, motion


def _transfer(noise: np.ndarray, mean: np.ndarray, usable: np.ndarray, motion: float) -> np.ndarray:
    """Photon-transfer points: mean, variance and its sd in bins of equal population."""
    m, squares = mean[usable], noise[usable] ** 2
    edges = np.unique(np.quantile(m, np.linspace(0, 1, BINS + 1)))
    index = np.clip(np.searchsorted(edges, m, side="right") - 1, 0, max(edges.size - 2, 0))
    points = []
    for k in range(max(edges.size - 1, 1)):
        s, level = squares[index == k], m[index == k]
        if s.size < 8:
            continue
        for _ in range(5):
            kept = s < 25.0 * max(s.mean(), np.finfo(float).tiny)
            if kept.all() or not kept.any():
                break
            s = s[kept]
        # Second differences reuse frames, which leaves about half as many independent squares.
        points.append((level.mean(), s.mean() * (1 - motion), s.std() / np.sqrt(s.size / 2)))
    return np.asarray(points or [(m.mean(), squares.mean(), squares.mean())])


def _fit_line(
    transfer: np.ndarray, kind: NoiseKind, values: np.ndarray
) -> tuple[NoiseModel, dict[str, float], str]:
    """The model that the photon-transfer points ask for."""
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
    counts = bool(np.all(values >= 0) and np.all(values == np.round(values)))
    significant = slope > 4 * np.sqrt(cov[0, 0]) and rise > 0.3 * level and mean.size >= 3
    if kind == "auto":
        # Pure counting: unit gain, and no variance left where no counts are expected.
        pure = counts and abs(slope - 1) < 0.12 and abs(intercept) < 0.1 * level
        kind = "gaussian" if not significant else "poisson" if pure else "poisson-gaussian"
    if kind == "gaussian" or slope <= 0:
        sigma_sd = sigma * float(np.sqrt(np.mean(sd**2) / mean.size)) / (2 * level)
        sentence = f"Gaussian, sigma = {sigma:.4g} +- {sigma_sd:.1g}."
        return Gaussian(jnp.float32(sigma)), {"sigma": sigma_sd}, sentence
    gain_sd, read_sd = (float(np.sqrt(cov[i, i])) for i in (0, 1))
    if kind == "poisson":
        gain = 1.0 if counts and abs(slope - 1) < 0.12 else float(slope)
        sentence = (
            f"Poisson, gain = {gain:.4g} (photon-transfer slope {slope:.4g} +- {gain_sd:.1g})."
        )
        return (
            Poisson(jnp.float32(gain), jnp.float32(0)),
            {"gain": gain_sd, "offset": 0.0},
            sentence,
        )
    # A line through zero above the darkest pixels would call those noiseless.
    read = float(np.sqrt(max(intercept, 0.1 * float(variance.min()))))
    offset = max(0.0, -intercept / slope)
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


def _temporal(data: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Correlation of the noise between successive frames, from high-passed frames at lags 1 and 2."""
    high = data - ndimage.uniform_filter(data, (1, 3, 3), mode="nearest")
    one = good[1:] & good[:-1]
    two = good[2:] & good[:-2]
    first = np.mean((high[1:] - high[:-1])[one] ** 2)
    second = np.mean((high[2:] - high[:-2])[two] ** 2)
    return np.array([1.0, 1.0 - first / second if second > 0 else 0.0])


def _choose_blind(frames: int, along_x: float, along_y: float, along_t: float) -> tuple[Blind, str]:
    if frames < 2:
        return "udvd", f"{frames} frame(s): the pixel is hidden and its own frame fills it in."
    found = f"noise correlation of neighbours {along_x:.2f} (x), {along_y:.2f} (y)"
    white = max(along_x, along_y) <= CORRELATED
    if white and along_t > PERSISTENT:
        return "udvd", (
            f"{found}, of successive frames {along_t:.2f}: the pixel is hidden in all frames."
        )
    warning = ""
    if along_t > PERSISTENT:
        warning = f"; successive frames correlate too ({along_t:.2f}), so some noise may stay"
    if not white:
        return "frame", f"{found}: the whole centre frame is hidden{warning}."
    return "pixel", f"{found}: white, only the pixel itself is hidden in its frame{warning}."
