"""Noise that lasts for several frames: detector lag, phosphors, interpolation, sums of overlapping exposures.

    D_l(k) = ½ E |ŷ_{t+l}(k) − ŷ_t(k)|² = σ²(k) (1 − ρ_l) + M_l(k)

ŷ is the cosine transform of 8 x 8 pixels, k its frequencies, M what moves. Noise shares ρ between all frequencies and
places, motion is absent from many of them: of the increments 1 − D_l/D_{l+1}, those of a low quarter of the places, at the
frequencies that show least of it, are the noise's. They
fall from lag to lag where noise fades, and rise where a scene goes on moving; a scene as fast as that cannot be told from noise
here, and whoever predicts the frames has to ask whether they leave as much (`phdenoise.training.lasting`).
"""

import numpy as np
from jaxtyping import Bool, Float
from scipy import fft, ndimage

from phdenoise.noise.differences import FINEST, clip

# Side of the blocks [px]; frequencies, and values of each that are needed to tell their power, that stand together.
BLOCK, GROUP, ENOUGH = 8, 2, 1500
# Lags that are asked, at most, and values that are looked at.
LONGEST, MOST = 12, 2**21
# Places where motion is let off, and groups of frequencies; increments that count as none; how much the next one may be of one
# that fades.
LOW, LOWEST, LEAST, FADES = 0.25, 2, 0.03, 0.9
# Powers of less than this share of the largest are not measured.
ROUNDING = 1e-3
# How low the lower quarter of values is by chance, and the mean of the two lowest of sixteen [sd].
_QUARTER, _TWO = 0.67, 1.5


def lasting(
    data: Float[np.ndarray, "t y x"], good: Bool[np.ndarray, "t y x"]
) -> Float[np.ndarray, " l"]:
    """Correlation of the noise with that of the next frame, of the one after, and so on; empty where it fades at once.

    Args:
        data: finite intensities.
        good: pixels that may be used.
    """
    frames, *sides = data.shape
    longest = min(LONGEST, frames // 2)
    if longest < 2 or min(sides) < BLOCK:
        return np.zeros(0)
    whole = [n // BLOCK * BLOCK for n in sides]
    window = tuple(slice((n - w) // 2, (n + w) // 2) for n, w in zip(sides, whole, strict=True))
    count = int(np.clip(MOST // max(data[0][window].size, 1), 2 * longest, frames))
    first = (frames - count) // 2
    data, good = (a[first : first + count][:, *window] for a in (data, good))
    sums = [_power(data, good, lag) for lag in range(1, longest + 1)]
    # The longest lag has the fewest pairs of frames.
    seen = sums[-1][1]
    parts = int(np.clip(np.sqrt(seen.sum() / ENOUGH), 1, min(seen.shape)))
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
    measured = strong > ROUNDING * strong.max()
    if not measured[:-1].any():
        return np.zeros(0)
    steps = 1 - power[:-1] / np.maximum(power[1:], np.finfo(float).tiny)
    sd, places = np.sqrt(2 / numbers[-1][known].min()), known.sum()
    low = np.quantile(steps, LOW, axis=1) + _QUARTER * sd * (1 - 1 / places)
    faded = np.where(measured, np.prod(1 - low, axis=0), -np.inf)
    chosen = np.argsort(-faded[:-1])[:LOWEST]
    increments = low[:, chosen].mean(axis=1) + _TWO * sd / np.sqrt(places * (longest - 1))
    if faded[-1] > np.prod(1 - increments):
        increments = low[:, -1]
    lags = 0
    for now, after in zip(increments, np.append(increments[1:], 0.0), strict=True):
        if now < LEAST or after > FADES * now:
            break
        lags += 1
    found: np.ndarray = 1 - np.cumprod(1 - np.array(increments[:lags][::-1]))[::-1]
    return found


def _power(data: np.ndarray, good: np.ndarray, lag: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums for D_l over the frames, of each block's groups of frequencies and its finest structure, and of how many values."""
    change, both = data[lag:] - data[:-lag], good[lag:] & good[:-lag]
    whole = np.asarray(_blocks(both).all(axis=(-2, -1)))
    change = clip(np.where(both, change, 0.0), both)
    # No group of frequencies has the finest structure to itself.
    high = ndimage.convolve(change, FINEST[None], mode="reflect")
    finest = np.sum(_blocks(high) ** 2, axis=(-2, -1))
    squares = fft.dctn(_blocks(change), axes=(-2, -1), norm="ortho") ** 2
    groups = BLOCK // GROUP
    total = np.einsum("tyxab,tyx->yxab", squares, whole)
    total = total.reshape(*whole.shape[1:], groups, GROUP, groups, GROUP).sum(axis=(3, 5))
    together = np.sum(finest * whole, axis=0) / groups**2
    total = np.concatenate([total.reshape(*whole.shape[1:], -1), together[..., None]], axis=-1)
    return 0.5 * total, GROUP**2 * whole.sum(axis=0)


def _blocks(frames: np.ndarray) -> np.ndarray:
    """[t, rows, columns, BLOCK, BLOCK]."""
    t, ny, nx = frames.shape
    cut = frames.reshape(t, ny // BLOCK, BLOCK, nx // BLOCK, BLOCK)
    return cut.transpose(0, 1, 3, 2, 4)


def _over_parts(values: np.ndarray, parts: int) -> np.ndarray:
    """Sums over parts of the first two axes."""
    rows = (np.array_split(row, parts, axis=1) for row in np.array_split(values, parts))
    return np.array([[part.sum(axis=(0, 1)) for part in row] for row in rows])
