"""Pixels that are not noise but defects: saturated, dead, hot, hit by a gamma or a cosmic ray, not a number.

A defect is alone. Optics spread whatever is imaged over several pixels, so a bright value counts as a spot only if
its eight neighbours together rise less than it does, nothing near it in the frames before and after is as
bright, and the noise model leaves it less than one chance in ten million; a hot pixel is the same in the temporal mean.
A dead pixel repeats its value while those around it do not.
Poisson quantiles: Cornish and Fisher, Rev. Inst. Int. Stat. 5, 307 (1938), doi:10.2307/1400905.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from phdenoise.noise.estimate import estimate_noise, saturated
from phdenoise.types import InputError, NoiseModel

KINDS = ("not finite", "saturated", "dead", "hot", "spot")

# Deviations [noise sd] of a spot from its surroundings, of a spot from the brightest of its surroundings in
# the neighbouring frames, and of a hot pixel.
_SPOT, _ALONE_IN_TIME, _HOT = 5.5, 3.5, 7.0
# Sum over the eight neighbours that a single pixel's rise may come with, as a share of it. A spot of the
# sharpest optics that sample well (Gaussian, 0.85 px) has 3.0.
_SHARED = 1.25
# Dead pixels expected by chance in the whole movie, and frames that it takes to tell.
_CHANCE, _FRAMES = 1e-3, 4
# Pixels around a value that decide whether it is a spot.
SPOT_RADIUS = 6
# Surroundings that a spot of up to 3x3 pixels does not reach.
_RING = np.pad(np.zeros((3, 3), bool), 1, constant_values=True)
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
        return None  # a movie without noise has no improbable values


def _constant(data: np.ndarray, good: np.ndarray) -> np.ndarray:
    pairs = good[1:] & good[:-1]
    same = (data[1:] == data[:-1]) & pairs
    dead = unchanging(same.sum(axis=0), pairs.sum(axis=0))
    return np.broadcast_to(dead, data.shape) & good


def unchanging(same: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Pixels [y, x] that repeat one value although their neighbours would hardly do so by chance.

    Args:
        same: pairs of successive frames with equal values [y, x].
        pairs: those with two values [y, x].
    """
    same, count = same.astype(float), pairs.astype(float)
    size = 7
    around_same, around = (
        size**2 * ndimage.uniform_filter(n, size, mode="constant") - n for n in (same, count)
    )
    share = (around_same + 1) / (around + 2)
    chance = count * np.log(share) + np.log(same.size)
    dead: np.ndarray = (same == count) & (count >= _FRAMES - 1) & (chance < np.log(_CHANCE))
    return dead


def spots(data: np.ndarray, good: np.ndarray, noise: NoiseModel) -> np.ndarray:
    """Bright values alone in space and in time; each depends on two frames and `SPOT_RADIUS` pixels around."""
    out = np.zeros(data.shape, bool)
    frames = data.shape[0]
    for t in range(frames):
        # The two nearest other frames; a single image has none.
        near = sorted(set(range(frames)) - {t}, key=lambda s: abs(s - t))[:2]
        out[t] = _spots_in_space(data[t], good[t], data[near], noise)
        if len(near) == 2:
            out[t] |= _spots_in_time(data[t], good[t], data[near], noise)
    return out


def _spots_in_space(
    frame: np.ndarray, good: np.ndarray, near: np.ndarray, noise: NoiseModel
) -> np.ndarray:
    """Spots that stick out of their surroundings, where the scene is smooth and may move at will."""
    local = ndimage.uniform_filter(frame, 5, mode="mirror")
    peak = good & (frame == ndimage.maximum_filter(frame, 3, mode="mirror"))
    y, x = np.nonzero(peak & (frame - local > 3 * _sd(noise, local)))
    here = _patches(frame, y, x)
    ring = here[:, _RING]
    elsewhere = np.concatenate(
        [ring[:, :0], *(_patches(f, y, x).reshape(-1, 25) for f in near)], axis=1
    )
    level = _trimmed_mean(np.concatenate([ring, elsewhere], axis=1))
    sd = _sd(noise, level)
    sd = np.sqrt(sd**2 + _texture(ring, sd))
    rise = here - level[:, None, None]
    limit = _SPOT * sd + _skew(noise, _SPOT)
    spot = _alone(rise, sd) & (rise[:, 2, 2] > limit)
    if elsewhere.size:
        top = elsewhere.max(axis=1)
        spot &= here[:, 2, 2] - top > _ALONE_IN_TIME * _sd(noise, np.maximum(top, level))
    return _marked(spot, rise > limit[:, None, None], y, x, frame.shape) & good


def _spots_in_time(
    frame: np.ndarray, good: np.ndarray, near: np.ndarray, noise: NoiseModel
) -> np.ndarray:
    """Spots that stick out of the frames before and after, where the scene is sharp but nearly still."""
    low, high = near.min(axis=0), near.max(axis=0)
    limit = _SPOT * _sd(noise, high) + _skew(noise, _SPOT)
    y, x = np.nonzero(good & (frame - high > limit))
    # What moves through shows in full against the darker of the two frames, with all its neighbours.
    rise = _patches(frame - low, y, x)
    sd = _sd(noise, high[y, x])
    # Noise alone rises above the lesser of two by 0.56 sd with a deviation of 1.3.
    rise = rise - 0.56 * sd[:, None, None]
    spread = np.sqrt((1.3 * sd) ** 2 + _texture(rise[:, _RING], 1.3 * sd))
    least = _SPOT * spread + _skew(noise, _SPOT)
    spot = _alone(rise, spread) & (rise[:, 2, 2] > least)
    return _marked(spot, rise > least[:, None, None], y, x, frame.shape) & good


def _alone(rise: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Patches [n, 5, 5] whose centre rises without its eight neighbours."""
    shared = rise[:, 1:4, 1:4].sum(axis=(1, 2)) - rise[:, 2, 2]
    return shared + np.sqrt(8) * sd < _SHARED * rise[:, 2, 2]


def _marked(
    spot: np.ndarray, bright: np.ndarray, y: np.ndarray, x: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """Frame with the spots and what the same hits left in their neighbours."""
    out = np.zeros((shape[0] + 2, shape[1] + 2), bool)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            hit = spot & bright[:, 2 + dy, 2 + dx]
            out[(y + 1 + dy)[hit], (x + 1 + dx)[hit]] = True
    return out[1:-1, 1:-1]


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
    """
    mean = np.where(count > 0, total / np.maximum(count, 1), otherwise)
    level = ndimage.median_filter(mean, footprint=_RING, mode="mirror")
    rise = mean - level
    texture = 1.48 * ndimage.median_filter(np.abs(rise), 11, mode="mirror")
    frames = np.maximum(count, 1)
    sd = np.sqrt(_sd(noise, level) ** 2 / frames + texture**2)
    shared = 9 * ndimage.uniform_filter(mean, 3, mode="mirror") - mean - 8 * level
    limit = _HOT * sd + _skew(noise, _HOT) / frames
    found = (np.abs(shared) + np.sqrt(8) * sd < _SHARED * np.abs(rise)) & (np.abs(rise) > limit)
    found &= count >= _FRAMES
    # A pit between bright things is not dead: no neighbour comes near, and nothing is darker.
    black = np.quantile(mean, 1e-3)
    shallow = ndimage.minimum_filter(mean, footprint=_NEIGHBOURS, mode="mirror") - mean
    dark = (shallow > 0.6 * -rise) & (mean - black < 0.25 * (level - black))
    return found & (rise > 0), found & (rise < 0) & dark


def _patches(frame: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """5x5 surroundings of pixels [n, 5, 5]."""
    padded = np.pad(frame, 2, mode="reflect" if min(frame.shape) > 2 else "edge")
    step = np.arange(5)
    return padded[y[:, None, None] + step[:, None], x[:, None, None] + step]


def _trimmed_mean(values: np.ndarray) -> np.ndarray:
    cut = values.shape[1] // 10
    return np.sort(values, axis=1)[:, cut : values.shape[1] - cut].mean(axis=1)


def _texture(ring: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Variance of the surroundings beyond that of noise: edges and grain make outliers likelier."""
    low, high = np.quantile(ring, [0.16, 0.84], axis=1)
    return np.maximum(((high - low) / 2) ** 2 - sd**2, 0.0)


def _sd(noise: NoiseModel, level: np.ndarray) -> np.ndarray:
    with jax.enable_x64(False):
        variance = noise.variance(jnp.asarray(level, jnp.float32))
    return np.sqrt(np.asarray(variance, np.float64))


def _skew(noise: NoiseModel, deviations: float) -> float:
    """How much farther a Poisson quantile lies out than a normal one [intensity]."""
    return float(getattr(noise, "gain", 0.0)) * (deviations**2 - 1) / 6


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
