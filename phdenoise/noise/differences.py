"""Differences in time that cancel motion and keep the noise, and differences in space that keep the finest structure.

    d_t = Σ_k w_k y_{t+k},   w_k ∝ (−1)ᵏ C(n, k),   Σ w_k² = 1
    E d² = Σ w_k² v(x_{t+k})          noise of variance v, white in time, keeps its variance; smooth motion cancels
    h = [[1, −2, 1], [−2, 4, −2], [1, −2, 1]]/6,    Σ h² = 1        so does noise that is white in space

Hall, Kay and Titterington, Biometrika 77, 521 (1990), doi:10.1093/biomet/77.3.521.
"""

from math import comb
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import ndimage, signal

# Orders of difference that are compared; an order n needs 2 n frames, so that half of the movie's noise is left to measure.
ORDERS = (2, 3, 4, 6, 8)
# Share of the power [1] that a higher order must have less to be taken: it has fewer independent samples.
SMALLEST_POWER_GAIN = 0.01
# Standard deviations of a power by which a higher order must have less, where these are more.
_GAIN_DEVIATIONS = 2.0
# Standard deviations beyond which a difference is limited. Of Gaussian noise one value in two million is.
CLIP_DEVIATIONS = 5.0
# Side of the squares [px] whose mean is the broad part of differences.
BROAD_SIDE = 5
# Usable pixels that a frame needs for its flicker, two numbers, to be fitted.
SMALLEST_FLICKER_SAMPLE = 16
# Second differences along y and x; the squares sum to one.
HIGHPASS = np.array([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]]) / 6.0
# Smallest share of the noise's variance [1] that must pass the high-pass for its variance to be measured there: below it
# errors of the autocorrelation, by which one divides, would dominate.
SMALLEST_HIGHPASS_SHARE = 0.3


class Difference(NamedTuple):
    """Differences in time, scaled so that white noise keeps its variance.

    Attributes:
        noise: the difference, without flicker: each frame's mean and its multiple of the mean image removed [n, y, x].
        mean: what E[noise²] is a linear function of under counting noise, Σ w² y [n, y, x].
        usable: pixels whose every frame is valid [n, y, x].
        quiet: difference frames with no more motion than the best of them [n].
        share: independent samples per difference frame.
        name: how it was made.
        motion_log_variance: log of the power of the lowest order over that of the order with least power; large where motion may be left.
        kept: weights of the noise's correlation at lags 0, 1 ... in time, whose sum is E[noise²] over the noise's variance.
        dark: difference that a few counts in a dark scene make, which is never an outlier.
    """

    noise: np.ndarray
    mean: np.ndarray
    usable: np.ndarray
    quiet: np.ndarray
    share: float
    name: str
    motion_log_variance: float = 0.0
    kept: np.ndarray = np.ones(1)
    dark: float = 0.0


def difference(data: np.ndarray, good: np.ndarray, dark: float = 0.0) -> Difference:
    """The lowest order of temporal difference that leaves no more motion than any other.

    Args:
        data: finite intensities [t, y, x].
        good: pixels that may be used [t, y, x].
        dark: difference that a few counts in a dark scene make [intensity]; 0 where values are continuous.

    Returns:
        The difference; of a single image its high-pass.
    """
    frames = data.shape[0]
    if frames == 1:
        inside = ndimage.binary_erosion(good[0], np.ones((3, 3)), border_value=1)
        high = ndimage.convolve(data[0], HIGHPASS, mode="reflect")
        # The filter's squares sum to one, its samples are a third as many as pixels.
        return Difference(
            high[None],
            data,
            inside[None],
            np.ones(1, bool),
            1 / 3,
            "one image, high-passed",
            dark=dark,
        )
    allowed = [n for n in ORDERS if n == 2 or 2 * n <= frames]
    orders = allowed if frames > 2 else [1]
    power, counts = [], []
    # One at a time: the differences of every order together would be several movies.
    for order in orders:
        found = difference_of_order(data, good, order, dark)
        power.append(_power(found))
        counts.append(found.usable.sum() * found.share)
    # The least of several powers is too low by chance where few values tell it.
    count = max(min(counts), 1.0)
    gain = max(SMALLEST_POWER_GAIN, _GAIN_DEVIATIONS * np.sqrt(2 / count))
    best = next(i for i, p in enumerate(power) if p <= (1 + gain) * min(power))
    excess = float(np.log(power[0] / min(power))) if 0 < min(power) < power[0] < np.inf else 0.0
    chosen = difference_of_order(data, good, orders[best], dark)
    return chosen._replace(motion_log_variance=excess)


def difference_of_order(
    data: np.ndarray, good: np.ndarray, order: int, dark: float = 0.0
) -> Difference:
    """The temporal difference of one order.

    Args:
        data: finite intensities [t, y, x].
        good: pixels that may be used [t, y, x].
        order: 1 for y_{t+1} − y_t, and so on; less than t.
        dark: difference that a few counts in a dark scene make [intensity].

    Returns:
        The difference, with t − order frames.
    """
    weights = np.array([(-1.0) ** k * comb(order, k) for k in range(order + 1)])
    weights /= np.sqrt(np.sum(weights**2))
    count = data.shape[0] - order
    pieces = [slice(k, k + count) for k in range(order + 1)]
    noise, mean = np.zeros((2, count, *data.shape[1:]))
    usable = np.ones((count, *data.shape[1:]), bool)
    for weight, piece in zip(weights, pieces, strict=True):
        noise += weight * data[piece]
        mean += weight**2 * data[piece]
        usable &= good[piece]
    noise = _without_flicker(noise, usable, data.mean(axis=0))
    lags = [float(np.sum(weights[: order + 1 - k] * weights[k:])) for k in range(1, order + 1)]
    shared = sum(2 * r**2 * max(1 - k / count, 0.0) for k, r in enumerate(lags, start=1))
    name = {1: "first", 2: "second", 3: "third", 4: "fourth", 6: "sixth", 8: "eighth"}[order]
    quiet = _quiet(noise, usable, dark)
    return Difference(
        noise, mean, usable, quiet, 1 / (1 + shared), f"{name} differences in time",
        kept=np.append(1.0, 2 * np.array(lags)), dark=dark,
    )  # fmt: skip


def clip(values: np.ndarray, usable: np.ndarray, dark: float = 0.0) -> np.ndarray:
    """Values limited to five standard deviations, so that gamma hits do not dominate averages.

    Args:
        values: of mean zero, any shape.
        usable: values that the standard deviation is taken of, same shape.
        dark: difference that a few counts in a dark scene make [intensity]: it is not limited.

    Returns:
        The limited values.
    """
    limit = CLIP_DEVIATIONS * np.sqrt(np.mean(values[usable] ** 2)) if usable.any() else 0.0
    for _ in range(3):
        kept = np.abs(values[usable]) < limit
        limit = (
            CLIP_DEVIATIONS * np.sqrt(np.mean(values[usable][kept] ** 2)) if kept.any() else limit
        )
    limit = max(float(limit), dark)
    return np.clip(values, -limit, limit)


def split_by_scale(
    noise: np.ndarray, usable: np.ndarray, sides: tuple[int, ...], dark: float = 0.0
) -> list[np.ndarray]:
    """Fine and broad parts of differences.

    Args:
        noise: differences [n, y, x].
        usable: where they may be used [n, y, x].
        sides: sides of squares [px].
        dark: difference that a few counts in a dark scene make [intensity].

    Returns:
        The deviation from the mean over the first square, then the means over each of the squares [n, y, x].
    """
    values = np.where(usable, clip(noise, usable, dark), 0.0)
    means = [ndimage.uniform_filter(values, (0, s, s), mode="nearest") for s in sides]
    return [values - means[0], *means]


def spaced(weights: Float[np.ndarray, "n n"], spacing: int) -> Float[np.ndarray, "m m"]:
    """A filter that acts on every so many pixels.

    Args:
        weights: of the filter on neighbouring pixels.
        spacing: distance between the pixels used [px].

    Returns:
        The weights with zeros in between.
    """
    single = np.zeros((spacing, spacing))
    single[0, 0] = 1.0
    end = 1 - spacing or None
    every: np.ndarray = np.kron(weights, single)[:end, :end]
    return every


def highpass_share(rho: Float[np.ndarray, "ky kx"], spacing: int = 1) -> tuple[float, float]:
    """Share of the noise's variance that passes the high-pass.

    Args:
        rho: autocorrelation of the noise [lag y, lag x], 1 at the centre.
        spacing: distance between the pixels of the filter [px].

    Returns:
        Variance after over before, and the number of filtered pixels that are worth one independent one; NaN where
        the autocorrelation is unknown.
    """
    weights = spaced(HIGHPASS, spacing)
    filtered = signal.convolve2d(signal.convolve2d(weights, weights), rho)
    share = float(filtered[filtered.shape[0] // 2, filtered.shape[1] // 2])
    return share, float(np.sum(filtered**2)) / max(share**2, np.finfo(float).tiny)


def _power(found: Difference) -> float:
    usable = found.usable & found.quiet[:, None, None]
    usable = usable if usable.any() else found.usable
    return (
        float(np.mean(clip(found.noise, usable, found.dark)[usable] ** 2))
        if usable.any()
        else np.inf
    )


def _without_flicker(noise: np.ndarray, usable: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Every frame without its offset and its multiple of the mean image: lamps and beams flicker."""
    out = np.where(usable, noise, 0.0)
    for frame, ok in zip(out, usable, strict=True):
        if ok.sum() < SMALLEST_FLICKER_SAMPLE:
            continue
        centred = image - image[ok].mean()
        frame[ok] -= frame[ok].mean()
        power = np.sum(centred[ok] ** 2)
        if power > 0:
            frame[ok] -= np.sum(frame[ok] * centred[ok]) / power * centred[ok]
        # Two numbers were fitted.
        frame[ok] *= np.sqrt(ok.sum() / (ok.sum() - 2))
    return out


def _quiet(noise: np.ndarray, usable: np.ndarray, dark: float) -> np.ndarray:
    """Frames whose broad power, relative to the fine one, is nearly the smallest of all: those with least motion."""
    parts = split_by_scale(noise, usable, (BROAD_SIDE,), dark)
    fine, broad = (np.mean(a**2, axis=(1, 2)) for a in parts)
    ratio = broad / np.where(fine > 0, fine, np.inf)
    count = np.maximum(usable.sum(axis=(1, 2)), 1)
    scatter = np.sqrt(2 * BROAD_SIDE**2 / count)
    return ratio <= np.quantile(ratio, 0.25) * (1.05 + 4 * scatter)
