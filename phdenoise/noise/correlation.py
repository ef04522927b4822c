"""The correlation of the noise in space, from differences in time, and in time, from increments of the correlation.

The motion that differences leave is a smooth field, so its covariance is band-limited with a non-negative spectrum; noise is
not correlated beyond `LARGEST_NOISE_LAG` pixels. The covariance of motion is fitted beyond that lag and subtracted. Fast motion
can look like correlated noise, so correlation is measured where the scene is still (`still`).

    D_l(k) = ½ E |ŷ_{t+l}(k) − ŷ_t(k)|² = σ²(k) (1 − ρ_l) + M_l(k)

Noise is correlated in time by detector lag, phosphors, interpolation, sums of overlapping exposures. ŷ is the cosine transform
of 8 x 8 pixels, k its frequencies, M the power of motion. Noise has one ρ at all frequencies and places; motion is absent from
many of them. So the increments 1 − D_l/D_{l+1} of the noise are those of the lower quarter of the places, at the frequencies
with least motion. They fall from lag to lag where noise decorrelates, and rise where a scene goes on moving. Motion as fast as
that looks like noise here; `phdenoise.uncertainty.temporal_correlation` decides by predicting the frames.
"""

import numpy as np
from jaxtyping import Bool, Float
from scipy import fft, ndimage, optimize

from phdenoise.noise.differences import BROAD_SIDE, HIGHPASS, Difference, clip, split_by_scale

# Largest lag at which noise may be correlated, and largest lag of the covariance, where only motion is left [px].
LARGEST_NOISE_LAG, LARGEST_LAG = 8, 20
# Highest spatial frequency of the motion that differences leave, and the step at which its spectrum is fitted [cycles/px].
MOTION_BANDWIDTH, MOTION_FREQUENCY_STEP = 0.12, 1 / 64
# Misfit per lag [noise variance] that motion of the noise's variance must explain to be taken for motion: of spectra that fit nearly
# as well, the one of least motion is taken.
MOTION_PENALTY = 0.03
# Largest share of the differences' variance that motion may have [1].
LARGEST_MOTION_SHARE = 0.9
# Pixels that a covariance is averaged over, at most; its standard deviation is then 0.0004 or less.
LARGEST_SAMPLE = 2**23
# Frames, rows and columns [px] of the places whose motion is judged; small ones where no large one is at rest.
PLACES = ((8, 16, 16), (2, 16, 16))
# Places that are compared with others as bright, at least: fewer would agree by chance. Groups of brightness, at most.
SMALLEST_GROUP, BRIGHTNESS_GROUPS = 20, 6
# Side of the squares [px] whose mean is the broader part of differences, beyond the reach of most noise.
BROADER_SIDE = 15
# Largest scatter of the ratio of broad to fine power among places at rest, over what chance predicts.
LARGEST_SCATTER = 1.4
# A group of places moves if its ratio of broad to fine power is this many times the smallest of all groups, and the broader part
# has more than this share of the broad power.
LARGEST_BROAD_POWER, LARGEST_BROADER_SHARE = 2.5, 0.3
# Side of the blocks of the cosine transform [px].
BLOCK = 8
# Neighbouring frequencies that are averaged, along y and x.
FREQUENCY_GROUP = 2
# Values that a power is averaged over, at least: it is then known to 4 %.
SMALLEST_SAMPLE = 1500
# Largest lag [frames].
LONGEST_LAG = 12
# Values of the movie that are used, at most: the correlation is then known well enough, and more would only cost time.
LARGEST_MOVIE_SAMPLE = 2**21
# Quantile of the places [1] whose increments are taken for the noise's: in the others there may be motion.
STILL_QUANTILE = 0.25
# Groups of frequencies with least motion that are averaged.
STILL_GROUPS = 2
# Increment of the correlation [1] below which noise counts as uncorrelated.
SMALLEST_INCREMENT = 0.03
# Largest ratio of an increment to the one before that still counts as falling [1].
LARGEST_RATIO = 0.9
# Powers of less than this share [1] of the largest are rounding errors.
SMALLEST_POWER_SHARE = 1e-3
# By how many standard deviations the lower quartile of normal values lies below their mean, and the mean of the two lowest of
# sixteen: such a choice is too low by chance, and is corrected by it.
_QUARTILE_BIAS, _TWO_LOWEST_BIAS = 0.67, 1.5


def autocorrelation(found: Difference) -> tuple[np.ndarray, float, float]:
    """Autocorrelation of the noise at lags up to `LARGEST_NOISE_LAG`, its standard deviation, and the share of motion.

    Returns:
        Correlation [2 r + 1, 2 r + 1] with 1 at its centre, r at most `LARGEST_NOISE_LAG`; the standard deviation of a
        value that is truly zero; the share of the variance that was motion.
    """
    usable = found.usable & still(found)
    keep = found.quiet & usable.any(axis=(1, 2))
    if not keep.any():
        usable, keep = found.usable, np.ones_like(keep)
    noise, usable = found.noise[keep], usable[keep]
    most = max(1, LARGEST_SAMPLE // noise[0].size)
    step = -(-noise.shape[0] // most)
    noise, usable = noise[::step], usable[::step]
    values = np.where(usable, clip(noise, usable, found.dark), 0.0)
    # Brightness weighs frames, not pixels: every frame tells the shape equally well.
    counts = np.maximum(usable.sum(axis=(1, 2), keepdims=True), 1)
    rms = np.sqrt(np.sum(values**2, axis=(1, 2), keepdims=True) / counts)
    values = values / np.where(rms > 0, rms, 1.0)
    side = min(values.shape[1:])
    far, reach = min(LARGEST_LAG, side // 2), min(LARGEST_NOISE_LAG, side // 4)
    covariance, count = _covariance(values, usable, far)
    total = max(float(covariance[far, far]), np.finfo(float).tiny)
    covariance = covariance / total
    sd = float(1 / np.sqrt(max(count * found.share, 1.0)))
    motion = _motion(covariance, reach, sd) if far >= reach + 4 else np.zeros_like(covariance)
    inner = slice(far - reach, far + reach + 1)
    noise_map = (covariance - motion)[inner, inner]
    if np.abs(noise_map).max() > noise_map[reach, reach]:
        motion = motion * _most_motion(covariance[inner, inner], motion[inner, inner])
        noise_map = (covariance - motion)[inner, inner]
    share = float(motion[far, far])
    rho = noise_map / max(float(noise_map[reach, reach]), np.finfo(float).tiny)
    # Bartlett: correlated noise has fewer independent pixels.
    return rho, sd * float(np.sqrt(np.sum(rho**2))) / (1 - share), share


def still(found: Difference) -> np.ndarray:
    """Where and when differences show noise alone [n, y, x]; everywhere if that cannot be told.

    Noise has the same spectrum everywhere: among places of like brightness, the ratio of its broad power to its fine power
    scatters as chance predicts. Where the ratio scatters more, something moves; there only places count whose ratio is no
    larger than that of places at rest. Small places are examined where none of the larger ones is at rest.
    """
    usable = found.usable.astype(float)
    parts = split_by_scale(found.noise, found.usable, (BROAD_SIDE, BROADER_SIDE), found.dark)
    powers = [usable, *(a**2 * usable for a in parts)]
    for place in PLACES:
        kept = _at_rest(powers, place, found.share)
        if kept.any():
            return kept
    return np.ones(usable.shape, bool)


def estimate_temporal_correlation(
    data: Float[np.ndarray, "t y x"], good: Bool[np.ndarray, "t y x"]
) -> Float[np.ndarray, " l"]:
    """Correlation of the noise with that of the next frame, of the one after, and so on.

    Args:
        data: finite intensities.
        good: pixels that may be used.

    Returns:
        Correlations [1] at lags 1, 2, ...; empty for noise that is independent between frames.
    """
    frames, *sides = data.shape
    longest = min(LONGEST_LAG, frames // 2)
    if longest < 2 or min(sides) < BLOCK:
        return np.zeros(0)
    whole = [n // BLOCK * BLOCK for n in sides]
    window = tuple(slice((n - w) // 2, (n + w) // 2) for n, w in zip(sides, whole, strict=True))
    count = int(np.clip(LARGEST_MOVIE_SAMPLE // max(data[0][window].size, 1), 2 * longest, frames))
    first = (frames - count) // 2
    data, good = (a[first : first + count][:, *window] for a in (data, good))
    sums = [_power(data, good, lag) for lag in range(1, longest + 1)]
    # The longest lag has the fewest pairs of frames.
    seen = sums[-1][1]
    parts = int(np.clip(np.sqrt(seen.sum() / SMALLEST_SAMPLE), 1, min(seen.shape)))
    numbers = np.stack([_over_parts(n, parts) for _, n in sums])
    known = (numbers > 0.5 * numbers.max(axis=(1, 2), keepdims=True)).all(axis=0)
    if not known.any():
        return np.zeros(0)
    power = np.stack(
        [
            _over_parts(p, parts)[known] / n[known][:, None]
            for (p, _), n in zip(sums, numbers, strict=True)
        ]
    )
    # Where blurred noise has no power, what there is comes from rounding.
    strong = power.mean(axis=(0, 1))
    measured = strong > SMALLEST_POWER_SHARE * strong.max()
    if not measured[:-1].any():
        return np.zeros(0)
    steps = 1 - power[:-1] / np.maximum(power[1:], np.finfo(float).tiny)
    sd, places = np.sqrt(2 / numbers[-1][known].min()), known.sum()
    low = np.quantile(steps, STILL_QUANTILE, axis=1) + _QUARTILE_BIAS * sd * (1 - 1 / places)
    faded = np.where(measured, np.prod(1 - low, axis=0), -np.inf)
    chosen = np.argsort(-faded[:-1])[:STILL_GROUPS]
    increments = low[:, chosen].mean(axis=1) + _TWO_LOWEST_BIAS * sd / np.sqrt(
        places * (longest - 1)
    )
    if faded[-1] > np.prod(1 - increments):
        increments = low[:, -1]
    lags = 0
    for now, after in zip(increments, np.append(increments[1:], 0.0), strict=True):
        if now < SMALLEST_INCREMENT or after > LARGEST_RATIO * now:
            break
        lags += 1
    found: np.ndarray = 1 - np.cumprod(1 - np.array(increments[:lags][::-1]))[::-1]
    return found


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
    count = min(order.size // SMALLEST_GROUP, BRIGHTNESS_GROUPS)
    for alike in np.array_split(order, count) if count else ():
        low, middle, high = np.quantile(ratio.flat[alike], (0.25, 0.5, 0.75))
        chance = np.sqrt(2 * BROAD_SIDE**2 / (np.median(pixels.flat[alike]) * share))
        # The quartiles of a normal distribution are 1.35 sd apart.
        if np.log(high / low) < 1.35 * LARGEST_SCATTER * chance:
            reaches = wider.flat[alike].sum() > LARGEST_BROADER_SHARE * wide.flat[alike].sum()
            agree.append((middle, high, reaches, alike))
    kept, most = np.zeros(pixels.size, bool), -np.inf
    least = min((middle for middle, *_ in agree), default=0.0)
    for middle, high, reaches, alike in agree:
        # Places with fast motion agree as well. Bright noise may be correlated farther than dark noise, but not as far as objects.
        if middle < LARGEST_BROAD_POWER * least or not reaches:
            kept[alike], most = True, max(most, high)
    kept |= ratio.ravel() <= most
    everywhere = kept.reshape(pixels.shape)
    for axis, edge in enumerate(edges):
        everywhere = np.repeat(everywhere, np.diff(edge), axis=axis)
    return everywhere


def _covariance(values: np.ndarray, usable: np.ndarray, far: int) -> tuple[np.ndarray, int]:
    """Masked covariance at lags -far..far by Fourier transform, and the values, by the share of neighbours that gaps leave."""
    shape = tuple(n + far for n in values.shape[1:])

    def lagged(frames: np.ndarray) -> np.ndarray:
        power = np.zeros((shape[0], shape[1] // 2 + 1))
        for frame in frames:
            power += np.abs(np.fft.rfft2(frame, shape)) ** 2
        ring = np.fft.irfft2(power, shape)
        return np.roll(ring, (far, far), (0, 1))[: 2 * far + 1, : 2 * far + 1]

    pairs = lagged(usable.astype(float))
    t, y, x = values.shape
    whole = t * (y * (x - 1) + (y - 1) * x)
    count = (
        values.size * (pairs[far, far + 1] + pairs[far + 1, far]) / whole if far else usable.sum()
    )
    return lagged(values) / np.maximum(pairs, 1.0), int(count)


def _most_motion(covariance: np.ndarray, motion: np.ndarray) -> float:
    """Share of what was taken for motion at most, 0..1: of the rest no lag may correlate by more than one."""
    most, centre = 1.0, np.unravel_index(covariance.size // 2, covariance.shape)
    for sign in (1, -1):
        room = covariance[centre] - sign * covariance
        taken = motion[centre] - sign * motion
        limited = taken > 0
        if limited.any():
            most = min(most, float(np.min(room[limited] / taken[limited])))
    return max(most, 0.0)


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
    n = int(MOTION_BANDWIDTH / MOTION_FREQUENCY_STEP)
    qy, qx = (MOTION_FREQUENCY_STEP * g.ravel() for g in np.mgrid[-n : n + 1, -n : n + 1])
    half = (np.hypot(qy, qx) <= MOTION_BANDWIDTH) & ((qy > 0) | ((qy == 0) & (qx >= 0)))
    qy, qx = qy[half], qx[half]

    def waves(keep: np.ndarray) -> np.ndarray:
        return np.cos(2 * np.pi * (np.outer(dy[keep], qy) + np.outer(dx[keep], qx)))

    # Of all spectra that fit nearly as well, the one of least motion: a blob narrower than `reach` fits too.
    design = np.vstack([waves(outside), np.full(qy.size, MOTION_PENALTY * np.sqrt(outside.sum()))])
    spectrum, _ = optimize.nnls(design, np.append(covariance[outside], 0.0))
    motion = (waves(np.ones_like(outside)) @ spectrum).reshape(covariance.shape)
    # Never all of it: every movie that comes here has noise.
    return motion * min(
        1.0, LARGEST_MOTION_SHARE / max(float(motion[far, far]), LARGEST_MOTION_SHARE)
    )


def _power(data: np.ndarray, good: np.ndarray, lag: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums for D_l over the frames, of each block's groups of frequencies and its finest structure, and of how many values."""
    change, both = data[lag:] - data[:-lag], good[lag:] & good[:-lag]
    whole = np.asarray(_blocks(both).all(axis=(-2, -1)))
    change = clip(np.where(both, change, 0.0), both)
    # The finest structure is spread over several groups of frequencies, so it is measured on its own.
    high = ndimage.convolve(change, HIGHPASS[None], mode="reflect")
    finest = np.sum(_blocks(high) ** 2, axis=(-2, -1))
    squares = fft.dctn(_blocks(change), axes=(-2, -1), norm="ortho") ** 2
    groups = BLOCK // FREQUENCY_GROUP
    total = np.einsum("tyxab,tyx->yxab", squares, whole)
    total = total.reshape(*whole.shape[1:], groups, FREQUENCY_GROUP, groups, FREQUENCY_GROUP).sum(
        axis=(3, 5)
    )
    together = np.sum(finest * whole, axis=0) / groups**2
    total = np.concatenate([total.reshape(*whole.shape[1:], -1), together[..., None]], axis=-1)
    return 0.5 * total, FREQUENCY_GROUP**2 * whole.sum(axis=0)


def _blocks(frames: np.ndarray) -> np.ndarray:
    """[t, rows, columns, BLOCK, BLOCK]."""
    t, ny, nx = frames.shape
    cut = frames.reshape(t, ny // BLOCK, BLOCK, nx // BLOCK, BLOCK)
    return cut.transpose(0, 1, 3, 2, 4)


def _over_parts(values: np.ndarray, parts: int) -> np.ndarray:
    """Sums over parts of the first two axes."""
    rows = (np.array_split(row, parts, axis=1) for row in np.array_split(values, parts))
    return np.array([[part.sum(axis=(0, 1)) for part in row] for row in rows])
