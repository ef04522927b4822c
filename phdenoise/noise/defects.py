"""Defective values: saturated, dead, hot, hit by a gamma or a cosmic ray, not a number.

A defect is alone: spots (`spots`) are single bright values, a hot pixel is a single bright pixel of the temporal mean. A dead
pixel repeats its value while those around it do not, or is a single dark pixel of the temporal mean.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from phdenoise.noise.estimate import estimate_noise
from phdenoise.noise.spots import LARGEST_NEIGHBOUR_RISE, RING, noise_sd, saturated, spots
from phdenoise.types import InputError, NoiseModel

KINDS = ("not finite", "saturated", "dead", "hot", "spot")

# Smallest deviation [noise sd] of a hot pixel from its surroundings.
_HOT_DEVIATIONS = 7.0
# Pixels expected to be taken for dead by chance, in the whole movie.
_FALSE_DEAD = 1e-3
# Frames that it takes to call a pixel dead or hot, at least.
_SMALLEST_FRAMES = 4
# Side of the square around a pixel whose other pixels tell how often values repeat by chance [px].
_REPEAT_SIDE = 7
# A dead pixel's value differs from all its neighbours by this share of its depth at least, and lies no higher above the darkest
# pixels than this share of its surroundings' height: a pit between bright objects does not.
_SMALLEST_DEPTH, _LARGEST_HEIGHT = 0.6, 0.25
# Share of the pixels that count as the darkest.
_DARKEST_SHARE = 1e-3
# Deviation of an isolated value from the median around it: in robust standard deviations of all such deviations, where the normal law
# has one value in 1e9, and in ranges of the medians around it, which at a moving edge are as large as its step.
_ISOLATED_DEVIATIONS, _ISOLATED_RANGES = 6.0, 2.0
# Share of a frame that outliers are at most.
_MOST_ISOLATED = 0.1
# Standard deviation of a normal law over its median absolute value.
_NORMAL_SCALE = 1.4826
_NEIGHBOURS = np.pad(np.zeros((1, 1), bool), 1, constant_values=True)


@dataclass(frozen=True)
class Defects:
    """Values that a denoiser should neither learn from nor keep.

    Attributes:
        mask: True where defective [t, y, x].
        saturated: those of them that are lower bounds of what was there [t, y, x].
        counts: masked values by kind; each counts once, under the first kind of `KINDS` that fits.
        sentences: what was found, one each kind; empty if nothing was.
    """

    mask: Bool[np.ndarray, "t y x"]
    saturated: Bool[np.ndarray, "t y x"]
    counts: dict[str, int]
    sentences: tuple[str, ...]


def defects(
    frames: Float[np.ndarray, "t y x"],
    valid: Bool[np.ndarray, "t y x"] | None = None,
    noise: NoiseModel | None = None,
) -> Defects:
    """Find defective values of a movie.

    Args:
        frames: measured intensities; NaN allowed.
        valid: True where a pixel may be used; others are not judged. Default all finite.
        noise: pointwise noise model; default estimated from the movie.

    Returns:
        Masks, counts and sentences.

    Raises:
        InputError: no valid pixel.
    """
    finite = np.isfinite(frames)
    good = finite if valid is None else valid & finite
    if not good.any():
        raise InputError("The movie has no valid pixel: every value is NaN or masked.")
    found = dict.fromkeys(KINDS, np.zeros(frames.shape, bool))
    found["not finite"] = ~finite
    data = _complete(frames, good)
    found["saturated"] = saturated(data, good)
    found["dead"] = _constant(data, good) & ~found["saturated"]
    noise = noise or _estimated(frames, good & ~found["dead"])
    if noise is not None:
        usable = good & ~found["dead"]
        found["spot"] = spots(data, usable & ~found["saturated"], noise)
        high, low = _outlying(data, usable & ~found["spot"], noise)
        found["hot"], found["dead"] = high & good, found["dead"] | (low & good)
    mask, counts = np.zeros(frames.shape, bool), {}
    for kind in KINDS:
        counts[kind] = int((found[kind] & ~mask).sum())
        mask |= found[kind]
    return Defects(mask, found["saturated"], counts, _sentences(found, counts))


def isolated(
    frames: Float[np.ndarray, "t y x"], valid: Bool[np.ndarray, "t y x"], *, residual: bool = False
) -> Bool[np.ndarray, "t y x"]:
    """Single values far above or below those around them in space and time, whatever the noise model: outliers of either sign.

    Args:
        frames: measured intensities; NaN allowed.
        valid: True where a pixel may be used; others are not judged.
        residual: whether the frames are what a model leaves of a movie, which has no droplets and no rims: outliers may then stay
            from frame to frame, and lie beside a pixel that was not measured.

    Returns:
        True for outliers.
    """
    good = valid & np.isfinite(frames)
    if not good.any():
        return np.zeros(frames.shape, bool)
    data = _complete(frames, good)
    around = ndimage.median_filter(data, size=3, mode="nearest")
    away = np.abs(data - around)
    # A frame may be rougher than the rest, such as a mixture before it separates.
    own = [
        np.median(frame[seen]) if seen.any() else 0.0
        for frame, seen in zip(away, good, strict=True)
    ]
    sd = _NORMAL_SCALE * np.maximum(np.median(away[good]), own)[:, None, None]
    reach = ndimage.maximum_filter(around, size=3) - ndimage.minimum_filter(around, size=3)
    # What stays is no outlier, however small it is: a droplet differs from what surrounds it, not from itself a frame earlier. What
    # lies beside a pixel that was not measured is not judged.
    jump = np.abs(np.diff(data, axis=0))
    # The first and the last frame have one neighbour in time; a single frame has none.
    edge = np.full((1, *data.shape[1:]), np.inf if len(jump) else 0.0)
    whole = ndimage.minimum_filter(good, size=(1, 3, 3), mode="nearest")
    brief = np.minimum(np.concatenate([edge, jump]), np.concatenate([jump, edge]))
    limit = np.maximum(_ISOLATED_DEVIATIONS * sd, _ISOLATED_RANGES * reach)
    found = good & (away > limit) & (residual | (whole & (brief > limit)))
    rough = found.mean(axis=(1, 2)) > _MOST_ISOLATED
    return found & ~rough[:, None, None]


def _complete(frames: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Double precision, gaps filled with the pixel's temporal mean, or that of the movie."""
    data = np.where(good, frames, 0.0).astype(np.float64)
    seen = good.sum(axis=0)
    mean = np.where(seen > 0, data.sum(axis=0) / np.maximum(seen, 1), data.sum() / good.sum())
    return np.where(good, data, mean)


def _estimated(frames: np.ndarray, good: np.ndarray) -> NoiseModel | None:
    try:
        return estimate_noise(frames, good).model
    except InputError:
        return None  # no value is improbable without noise


def _constant(data: np.ndarray, good: np.ndarray) -> np.ndarray:
    pairs = good[1:] & good[:-1]
    same = (data[1:] == data[:-1]) & pairs
    dead = unchanging(same.sum(axis=0), pairs.sum(axis=0))
    return np.broadcast_to(dead, data.shape) & good


def unchanging(same: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Pixels [y, x] that repeat one value although their neighbours would hardly do so by chance.

    Args:
        same: pairs of successive frames with equal values [y, x].
        pairs: pairs of successive frames with two valid values [y, x].

    Returns:
        True for dead pixels [y, x].
    """
    same, count = same.astype(float), pairs.astype(float)
    size = _REPEAT_SIDE
    around_same, around = (
        size**2 * ndimage.uniform_filter(n, size, mode="constant") - n for n in (same, count)
    )
    share = (around_same + 1) / (around + 2)
    chance = count * np.log(share) + np.log(same.size)
    dead: np.ndarray = (
        (same == count) & (count >= _SMALLEST_FRAMES - 1) & (chance < np.log(_FALSE_DEAD))
    )
    return dead


def _outlying(
    data: np.ndarray, good: np.ndarray, noise: NoiseModel
) -> tuple[np.ndarray, np.ndarray]:
    total = np.where(good, data, 0.0).sum(axis=0)
    high, low = outlying(total, good.sum(axis=0), float(np.median(data)), noise)
    return np.broadcast_to(high, data.shape), np.broadcast_to(low, data.shape)


def outlying(
    total: np.ndarray, count: np.ndarray, otherwise: float, noise: NoiseModel
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels [y, x] far above and far below all their neighbours in the temporal mean.

    Args:
        total: sum of the values of each pixel [y, x].
        count: their number [y, x].
        otherwise: mean of a pixel without any.
        noise: pointwise noise model.

    Returns:
        Masks [y, x] of the pixels far above and far below.
    """
    mean = np.where(count > 0, total / np.maximum(count, 1), otherwise)
    level = ndimage.median_filter(mean, footprint=RING, mode="mirror")
    rise = mean - level
    texture = 1.48 * ndimage.median_filter(np.abs(rise), 11, mode="mirror")
    frames = np.maximum(count, 1)
    sd = np.sqrt(noise_sd(noise, level) ** 2 / frames + texture**2)
    shared = 9 * ndimage.uniform_filter(mean, 3, mode="mirror") - mean - 8 * level
    limit = _HOT_DEVIATIONS * sd + noise.quantile_excess(_HOT_DEVIATIONS) / frames
    found = (np.abs(shared) + np.sqrt(8) * sd < LARGEST_NEIGHBOUR_RISE * np.abs(rise)) & (
        np.abs(rise) > limit
    )
    found &= count >= _SMALLEST_FRAMES
    # A pit between bright objects is not dead.
    black = np.quantile(mean, _DARKEST_SHARE)
    shallow = ndimage.minimum_filter(mean, footprint=_NEIGHBOURS, mode="mirror") - mean
    dark = (shallow > _SMALLEST_DEPTH * -rise) & (mean - black < _LARGEST_HEIGHT * (level - black))
    return found & (rise > 0), found & (rise < 0) & dark


def _sentences(found: dict[str, np.ndarray], counts: dict[str, int]) -> tuple[str, ...]:
    pixels = {kind: int(mask.any(axis=0).sum()) for kind, mask in found.items()}
    texts = {
        "not finite": f"{counts['not finite']} values are not finite.",
        "saturated": f"{counts['saturated']} values look saturated.",
        "dead": f"{pixels['dead']} pixels look dead: constant, or far below all their neighbours.",
        "hot": f"{pixels['hot']} pixels look hot: far above all their neighbours in every frame.",
        "spot": f"{counts['spot']} values look like gamma or cosmic hits: bright, alone, in one frame.",
    }
    return tuple(text for kind, text in texts.items() if counts[kind])
