"""Noise that lasts for several frames: detector lag, phosphors, interpolation, sums of overlapping exposures.

    D_l(k) = ½ E |ŷ_{t+l}(k) − ŷ_t(k)|² = σ²(k) (1 − ρ_l) + M_l(k)

ŷ is the cosine transform of 8 x 8 pixels, k its frequencies, M what moves. Noise shares ρ between all frequencies and
places, motion is absent from many of them: of the increments 1 − D_l/D_{l+1}, those of a low quarter are the noise's. They
fall from lag to lag where noise fades, and rise where a scene goes on moving; a scene as fast as that cannot be told from noise
here, and whoever predicts the frames has to ask whether they leave as much (`phdenoise.training.lasting`).
"""

from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float
from scipy import fft

from phdenoise.noise.differences import clip

# Side of the blocks [px]; frequencies, and values of each that are needed to tell their power, that stand together.
BLOCK, GROUP, ENOUGH = 8, 2, 1500
# Lags that are asked, at most, and values that are looked at.
LONGEST, MOST = 12, 2**22
# Places and frequencies where motion is let off; increments that count as none; how much the next one may be of one that fades.
LOW, LEAST, FADES = 0.25, 0.03, 0.9
# Median of the quarter that is lowest by chance [sd].
_BY_CHANCE = 0.67


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
    power = [
        (_over_parts(p, parts)[known] / n[known][:, None, None]).ravel()
        for (p, _), n in zip(sums, numbers, strict=True)
    ]
    chance = _BY_CHANCE * np.sqrt(2 / numbers[-1][known].min())
    tiny = np.finfo(float).tiny
    steps = [1 - a / np.maximum(b, tiny) for a, b in pairwise(power)]
    increments = [float(np.quantile(s, LOW)) + chance for s in steps]
    lags = 0
    for now, after in zip(increments, [*increments[1:], 0.0], strict=True):
        if now < LEAST or after > FADES * now:
            break
        lags += 1
    found: np.ndarray = 1 - np.cumprod(1 - np.array(increments[:lags][::-1]))[::-1]
    return found


def _power(data: np.ndarray, good: np.ndarray, lag: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums for D_l over the frames, of each block's groups of frequencies, and of how many values [rows, columns]."""
    change, both = data[lag:] - data[:-lag], good[lag:] & good[:-lag]
    whole = np.asarray(_blocks(both).all(axis=(-2, -1)))
    change = _blocks(clip(np.where(both, change, 0.0), both))
    squares = fft.dctn(change, axes=(-2, -1), norm="ortho") ** 2 * whole[..., None, None]
    groups = BLOCK // GROUP
    total = squares.sum(axis=0).reshape(*whole.shape[1:], groups, GROUP, groups, GROUP)
    return 0.5 * total.sum(axis=(3, 5)), GROUP**2 * whole.sum(axis=0)


def _blocks(frames: np.ndarray) -> np.ndarray:
    """[t, rows, columns, BLOCK, BLOCK]."""
    t, ny, nx = frames.shape
    cut = frames.reshape(t, ny // BLOCK, BLOCK, nx // BLOCK, BLOCK)
    return cut.transpose(0, 1, 3, 2, 4)


def _over_parts(values: np.ndarray, parts: int) -> np.ndarray:
    """Sums over parts of the first two axes."""
    rows = (np.array_split(row, parts, axis=1) for row in np.array_split(values, parts))
    return np.array([[part.sum(axis=(0, 1)) for part in row] for row in rows])
