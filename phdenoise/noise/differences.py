"""Differences in time that cancel motion and keep the noise, and the noise's spatial autocorrelation.

    d_t = Σ_k w_k y_{t+k},   w_k ∝ (−1)ᵏ C(n, k),   Σ w_k² = 1
    E d² = Σ w_k² v(x_{t+k})          noise of variance v, white in time, passes whole; what moves smoothly does not

Hall, Kay and Titterington, Biometrika 77, 521 (1990), doi:10.1093/biomet/77.3.521. What motion remains in d is a
smooth field, so its covariance is band-limited with a non-negative spectrum; noise does not correlate beyond
`REACH` pixels. The first is fitted where the second is absent, and subtracted.
"""

from math import comb
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool
from scipy import ndimage, optimize, signal

# High-pass that shows the finest structure of a frame; its squares sum to one.
FINEST = np.array([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]]) / 6.0
# So much of noise's variance must be in its finest structure for that to tell of it.
ENOUGH = 0.3
# Largest lag of the noise, and of the covariance that tells motion from it [px].
REACH, FAR = 8, 20
# Motion that differences leave has no finer structure than this [cycles/px], sampled so often [cycles/px].
_BAND, _SPACING = 0.12, 1 / 64
# Misfit per lag that one unit of motion must explain to be believed.
_DOUBT = 0.03
_ORDERS = (2, 3, 4, 6, 8)
# A higher order has fewer independent samples: not for less than this share of the power.
_GAIN = 0.01
# Covariances are averaged over no more pixels than this.
_PIXELS = 2**23
# Places whose motion is judged: differences and sides [px]; how many are compared with others as bright, and groups of those.
_PLACES, _ENOUGH, _CLASSES = ((8, 16, 16), (2, 16, 16)), 20, 6
# The broad part of differences is their mean over so many pixels square, the broader one over more. The broad part's power, over the
# fine part's, scatters among places by this many times what chance asks where noise is all there is.
_BROAD, _SCATTERS = (5, 15), 1.4
# Where it is this many times that of other places, and the broader part has more than this share of it, something moves.
_UNLIKE, _REACHES = 2.5, 0.3


class Difference(NamedTuple):
    """Noise with its variance kept.

    Attributes:
        noise: the difference, motion of the whole frame and flicker removed [n, y, x].
        mean: what E[noise²] is a linear function of under counting noise, Σ w² y [n, y, x].
        usable: pixels whose every frame is valid [n, y, x].
        quiet: difference frames with no more motion than the best of them [n].
        share: independent samples per difference frame.
        name: how it was made.
        excess: by how much more power the lowest order has, the log of the ratio: where it is large, motion may be left.
        kept: E[noise²] over the variance of a noise, as the sum of these times the noise's correlation at lags 0, 1 ... in time.
    """

    noise: np.ndarray
    mean: np.ndarray
    usable: np.ndarray
    quiet: np.ndarray
    share: float
    name: str
    excess: float = 0.0
    kept: np.ndarray = np.ones(1)


def difference(data: np.ndarray, good: np.ndarray) -> Difference:
    """The lowest order of temporal difference that leaves no more motion than any other.

    Args:
        data: finite intensities [t, y, x].
        good: pixels that may be used [t, y, x].
    """
    frames = data.shape[0]
    if frames == 1:
        inside = ndimage.binary_erosion(good[0], np.ones((3, 3)), border_value=1)
        high = ndimage.convolve(data[0], FINEST, mode="reflect")
        # The mask's squares sum to one, its samples are a third as many as pixels.
        return Difference(
            high[None], data, inside[None], np.ones(1, bool), 1 / 3, "one image, high-passed"
        )
    allowed = [n for n in _ORDERS if n == 2 or 2 * n <= frames]
    orders = allowed if frames > 2 else [1]
    power = [_power(_difference(data, good, order)) for order in orders]
    best = next(i for i, p in enumerate(power) if p <= (1 + _GAIN) * min(power))
    excess = float(np.log(power[0] / min(power))) if 0 < min(power) < power[0] < np.inf else 0.0
    return _difference(data, good, orders[best])._replace(excess=excess)


def clip(values: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Values limited to five standard deviations, so that gamma spots do not rule what is averaged."""
    limit = 5.0 * np.sqrt(np.mean(values[usable] ** 2)) if usable.any() else 0.0
    for _ in range(3):
        kept = np.abs(values[usable]) < limit
        limit = 5.0 * np.sqrt(np.mean(values[usable][kept] ** 2)) if kept.any() else limit
    return np.clip(values, -limit, limit)


def autocorrelation(found: Difference) -> tuple[np.ndarray, float, float]:
    """Autocorrelation of the noise at lags up to `REACH`, its standard deviation, and the share of motion.

    Returns:
        Correlation [2 r + 1, 2 r + 1] with 1 at its centre, r at most `REACH`; the standard deviation of a
        value that is truly zero; the share of the variance that was motion.
    """
    usable = found.usable & still(found)
    keep = found.quiet & usable.any(axis=(1, 2))
    if not keep.any():
        usable, keep = found.usable, np.ones_like(keep)
    noise, usable = found.noise[keep], usable[keep]
    most = max(1, _PIXELS // noise[0].size)
    step = -(-noise.shape[0] // most)
    noise, usable = noise[::step], usable[::step]
    values = np.where(usable, clip(noise, usable), 0.0)
    # Brightness weighs frames, not pixels: every frame tells the shape equally well.
    counts = np.maximum(usable.sum(axis=(1, 2), keepdims=True), 1)
    rms = np.sqrt(np.sum(values**2, axis=(1, 2), keepdims=True) / counts)
    values = values / np.where(rms > 0, rms, 1.0)
    side = min(values.shape[1:])
    far, reach = min(FAR, side // 2), min(REACH, side // 4)
    covariance, count = _covariance(values, usable, far)
    total = max(float(covariance[far, far]), np.finfo(float).tiny)
    covariance = covariance / total
    sd = float(1 / np.sqrt(max(count * found.share, 1.0)))
    motion = _motion(covariance, reach, sd) if far >= reach + 4 else np.zeros_like(covariance)
    inner = slice(far - reach, far + reach + 1)
    noise_map = (covariance - motion)[inner, inner]
    share = float(motion[far, far])
    rho = noise_map / max(float(noise_map[reach, reach]), np.finfo(float).tiny)
    # Bartlett: correlated noise has fewer independent pixels.
    return rho, sd * float(np.sqrt(np.sum(rho**2))) / (1 - share), share


def spaced(weights: np.ndarray, spacing: int) -> np.ndarray:
    """The same of every so many pixels."""
    only = np.zeros((spacing, spacing))
    only[0, 0] = 1.0
    end = 1 - spacing or None
    every: np.ndarray = np.kron(weights, only)[:end, :end]
    return every


def of_the_finest(rho: np.ndarray, spacing: int = 1) -> tuple[float, float]:
    """Variance of noise's finest structure over the noise's, by its autocorrelation [lag_y, lag_x], and pixels that share a value.

    NaN where the autocorrelation is unknown.
    """
    weights = spaced(FINEST, spacing)
    rho_of_it = signal.convolve2d(signal.convolve2d(weights, weights), rho)
    seen = float(rho_of_it[rho_of_it.shape[0] // 2, rho_of_it.shape[1] // 2])
    return seen, float(np.sum(rho_of_it**2)) / max(seen**2, np.finfo(float).tiny)


def still(found: Difference) -> np.ndarray:
    """Where and when differences show noise alone, if that can be told [n, y, x].

    Noise has the same spectrum everywhere: among places of like brightness the power of its broad part, over that of the rest,
    scatters as chance asks. Where it scatters more, something moves; there only places count that show no more than the others.
    Small places are looked at where none of the larger ones is at rest.
    """
    usable = found.usable.astype(float)
    parts = _by_width(found.noise, found.usable, _BROAD)
    powers = [usable, *(a**2 * usable for a in parts)]
    for place in _PLACES:
        kept = _at_rest(powers, place, found.share)
        if kept.any():
            return kept
    return np.ones(usable.shape, bool)


def _by_width(noise: np.ndarray, usable: np.ndarray, sides: tuple[int, ...]) -> list[np.ndarray]:
    """What is finer than the first of some squares [px], and the means over each of them [n, y, x]."""
    values = np.where(usable, clip(noise, usable), 0.0)
    means = [ndimage.uniform_filter(values, (0, s, s), mode="nearest") for s in sides]
    return [values - means[0], *means]


def _at_rest(
    powers: list[np.ndarray], place: tuple[int, int, int], share: float
) -> Bool[np.ndarray, "n y x"]:
    """Places without motion; none where that cannot be told.

    Args:
        powers: one, and the squares of the fine, the broad and the broader part, where usable [n, y, x].
        place: frames, rows and columns of a place, or a little more.
        share: of the pixels that are independent.
    """
    shape = powers[0].shape
    edges = [
        np.linspace(0, n, max(n // k, 1) + 1).astype(int) for n, k in zip(shape, place, strict=True)
    ]

    def over(values: np.ndarray) -> np.ndarray:
        for axis, edge in enumerate(edges):
            values = np.add.reduceat(values, edge[:-1], axis=axis)
        return values

    pixels, fine, wide, wider = (over(a) for a in powers)
    known = (fine > 0) & (pixels > 0.5 * pixels.max())
    ratio = np.full(pixels.shape, np.inf)
    ratio[known] = wide[known] / fine[known]
    order = np.flatnonzero(known)[np.argsort(fine[known] / pixels[known])]
    agree = []
    # Too few would agree by chance.
    count = min(order.size // _ENOUGH, _CLASSES)
    for alike in np.array_split(order, count) if count else ():
        low, middle, high = np.quantile(ratio.flat[alike], (0.25, 0.5, 0.75))
        chance = np.sqrt(2 * _BROAD[0] ** 2 / (np.median(pixels.flat[alike]) * share))
        # The quartiles of a normal distribution are 1.35 sd apart.
        if np.log(high / low) < 1.35 * _SCATTERS * chance:
            reaches = wider.flat[alike].sum() > _REACHES * wide.flat[alike].sum()
            agree.append((middle, high, reaches, alike))
    kept, most = np.zeros(pixels.size, bool), -np.inf
    least = min((middle for middle, *_ in agree), default=0.0)
    for middle, high, reaches, alike in agree:
        # Objects that leap agree as well. Bright noise may be shared by more pixels than dark noise is, but not by that many.
        if middle < _UNLIKE * least or not reaches:
            kept[alike], most = True, max(most, high)
    kept |= ratio.ravel() <= most
    everywhere = kept.reshape(pixels.shape)
    for axis, edge in enumerate(edges):
        everywhere = np.repeat(everywhere, np.diff(edge), axis=axis)
    return everywhere


def _difference(data: np.ndarray, good: np.ndarray, order: int) -> Difference:
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
    quiet = _quiet(noise, usable)
    return Difference(
        noise, mean, usable, quiet, 1 / (1 + shared), f"{name} differences in time",
        kept=np.append(1.0, 2 * np.array(lags)),
    )  # fmt: skip


def _power(found: Difference) -> float:
    usable = found.usable & found.quiet[:, None, None]
    usable = usable if usable.any() else found.usable
    return float(np.mean(clip(found.noise, usable)[usable] ** 2)) if usable.any() else np.inf


def _without_flicker(noise: np.ndarray, usable: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Every frame without its offset and its multiple of the mean image: lamps and beams flicker."""
    out = np.where(usable, noise, 0.0)
    for frame, ok in zip(out, usable, strict=True):
        if ok.sum() < 16:
            continue
        centred = image - image[ok].mean()
        frame[ok] -= frame[ok].mean()
        power = np.sum(centred[ok] ** 2)
        if power > 0:
            frame[ok] -= np.sum(frame[ok] * centred[ok]) / power * centred[ok]
    return out


def _quiet(noise: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Frames whose power over some pixels square, relative to that of single pixels, is nearly the smallest of all."""
    fine, broad = (np.mean(a**2, axis=(1, 2)) for a in _by_width(noise, usable, _BROAD[:1]))
    ratio = broad / np.where(fine > 0, fine, np.inf)
    scatter = np.sqrt(2 * _BROAD[0] ** 2 / noise[0].size)
    return ratio <= np.quantile(ratio, 0.25) * (1.05 + 4 * scatter)


def _covariance(values: np.ndarray, usable: np.ndarray, far: int) -> tuple[np.ndarray, int]:
    """Masked covariance at lags -far..far by Fourier transform, and the pixels at lag zero."""
    shape = tuple(n + far for n in values.shape[1:])

    def lagged(frames: np.ndarray) -> np.ndarray:
        power = np.zeros((shape[0], shape[1] // 2 + 1))
        for frame in frames:
            power += np.abs(np.fft.rfft2(frame, shape)) ** 2
        ring = np.fft.irfft2(power, shape)
        return np.roll(ring, (far, far), (0, 1))[: 2 * far + 1, : 2 * far + 1]

    pairs = lagged(usable.astype(float))
    return lagged(values) / np.maximum(pairs, 1.0), int(usable.sum())


def _motion(covariance: np.ndarray, reach: int, sd: float) -> np.ndarray:
    """Band-limited positive part of a covariance, fitted beyond the reach of the noise."""
    far = covariance.shape[0] // 2
    dy, dx = np.mgrid[-far : far + 1, -far : far + 1]
    outside = (np.maximum(abs(dy), abs(dx)) > reach) & ((dy > 0) | ((dy == 0) & (dx > 0)))
    inside = slice(far - reach, far + reach + 1)
    # Bartlett: chance correlations of noise that is itself correlated.
    chance = sd**2 * np.sum(covariance[inside, inside] ** 2)
    if np.mean(covariance[outside] ** 2) < 2 * chance:
        return np.zeros_like(covariance)
    n = int(_BAND / _SPACING)
    qy, qx = (_SPACING * g.ravel() for g in np.mgrid[-n : n + 1, -n : n + 1])
    half = (np.hypot(qy, qx) <= _BAND) & ((qy > 0) | ((qy == 0) & (qx >= 0)))
    qy, qx = qy[half], qx[half]

    def waves(keep: np.ndarray) -> np.ndarray:
        return np.cos(2 * np.pi * (np.outer(dy[keep], qy) + np.outer(dx[keep], qx)))

    # Of all spectra that fit nearly as well, the one of least motion: a blob narrower than `reach` fits too.
    design = np.vstack([waves(outside), np.full(qy.size, _DOUBT * np.sqrt(outside.sum()))])
    spectrum, _ = optimize.nnls(design, np.append(covariance[outside], 0.0))
    motion = (waves(np.ones_like(outside)) @ spectrum).reshape(covariance.shape)
    # Never all of it: there is noise, or nothing would be asked here.
    return motion * min(1.0, 0.9 / max(float(motion[far, far]), 0.9))
