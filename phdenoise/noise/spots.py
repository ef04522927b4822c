"""Bright values that are no image of the scene: saturated ones, and spots, as gamma and cosmic rays leave them.

A value is saturated if it is a detector's largest, and many pixels share it.

Optics spread whatever is imaged over several pixels, so a bright value counts as a spot only if its eight neighbours
together rise less than it does, nothing near it in the frames before and after is as bright, and its probability under the
noise model is less than one in ten million. Quantiles are those of the noise model (`NoiseModel.quantile_excess`).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from phdenoise.types import NoiseModel

# Smallest deviations [noise sd] of a spot from its surroundings, and from the brightest of its surroundings in the
# neighbouring frames.
_SPOT_DEVIATIONS, _TIME_DEVIATIONS = 5.5, 3.5
# Deviations [noise sd] above which a local maximum is examined at all.
_CANDIDATE_DEVIATIONS = 3
# Largest sum of the rises of the eight neighbours, as a share of the pixel's own rise. A spot of the sharpest optics that
# sample well (Gaussian, 0.85 px) has 3.0.
LARGEST_NEIGHBOUR_RISE = 1.25
# Mean and standard deviation of the rise of a normal value above the lesser of two others [noise sd].
_LESSER_BIAS, _LESSER_SD = 0.56, 1.3
# Distance [px] of the farthest pixel that decides whether a value is a spot.
SPOT_RADIUS = 6
# Surroundings that a spot of up to 3x3 pixels does not reach.
RING = np.pad(np.zeros((3, 3), bool), 1, constant_values=True)
# Largest values whose counts are compared.
_TOP_VALUES = 4
# How often a saturation level occurs: more than so many times, and more than so many times as often as any of the values below it.
_SMALLEST_COUNT, _SMALLEST_RATIO = 16, 4
# Different values that a detector has, at least, among the first so many: a drawing of fewer levels is not saturated.
_SMALLEST_LEVELS, _EXAMINED = 17, 100_000


def spots(data: np.ndarray, good: np.ndarray, noise: NoiseModel) -> np.ndarray:
    """Bright values that are alone in space and in time.

    Args:
        data: finite intensities [t, y, x].
        good: pixels that may be spots [t, y, x].
        noise: pointwise noise model.

    Returns:
        True for spots [t, y, x]; each value depends on its two nearest frames and on pixels up to `SPOT_RADIUS` away.
    """
    frames = range(len(data))
    # The two nearest other frames; a single image has none.
    near = [sorted(set(frames) - {t}, key=lambda s: abs(s - t))[:2] for t in frames]
    beyond = noise.quantile_excess(_SPOT_DEVIATIONS)
    out = _spots_in_space(data, good, near, noise, beyond)
    return out | _spots_in_time(data, good, near, noise, beyond) if len(data) > 2 else out


def noise_sd(noise: NoiseModel, level: np.ndarray) -> np.ndarray:
    """Standard deviation of the noise at an intensity, in double precision.

    Args:
        noise: pointwise noise model.
        level: expected intensities, any shape.

    Returns:
        Standard deviations [intensity], of the same shape.
    """
    with jax.enable_x64(False):
        variance = noise.variance(jnp.asarray(level, jnp.float32))
    return np.sqrt(np.asarray(variance, np.float64))


class LargestValues:
    """Counts of the largest of all values added."""

    def __init__(self) -> None:
        self._counts: dict[float, int] = {}
        self._levels: set[float] = set()

    def add(self, *frames: Float[np.ndarray, " _"]) -> None:
        """Count the largest values so far, and some of the different ones."""
        for values in frames:
            self._add(values)

    def _add(self, values: Float[np.ndarray, " n"]) -> None:
        if len(self._levels) < _SMALLEST_LEVELS:
            self._levels |= set(np.unique(values[:_EXAMINED])[:_SMALLEST_LEVELS].tolist())
        for _ in range(_TOP_VALUES):
            kept = sorted(self._counts, reverse=True)[:_TOP_VALUES]
            if values.size == 0:
                break
            top = float(values.max())
            if len(kept) == _TOP_VALUES and top < kept[-1]:
                break
            self._counts[top] = self._counts.get(top, 0) + int((values == top).sum())
            values = values[values < top]
        kept = sorted(self._counts, reverse=True)[:_TOP_VALUES]
        self._counts = {v: self._counts[v] for v in kept}

    def saturation(self) -> float | None:
        """The largest value, if it occurs so often that a detector's range ends there; else None."""
        if not self._counts or len(self._levels) < _SMALLEST_LEVELS:
            return None
        top, *below = sorted(self._counts, reverse=True)
        often = max((self._counts[v] for v in below), default=0)
        saturated = self._counts[top] > max(_SMALLEST_COUNT, _SMALLEST_RATIO * often)
        return top if saturated else None


def saturated(
    data: Float[np.ndarray, "t y x"], good: Bool[np.ndarray, "t y x"]
) -> Bool[np.ndarray, "t y x"]:
    """Saturated pixels of a movie.

    Args:
        data: finite intensities.
        good: pixels that may be used.

    Returns:
        True where saturated.
    """
    largest = LargestValues()
    largest.add(data[good])
    level = largest.saturation()
    return np.zeros_like(good) if level is None else good & (data == level)


def _spots_in_space(
    data: np.ndarray, good: np.ndarray, near: list[list[int]], noise: NoiseModel, beyond: float
) -> np.ndarray:
    """Spots that exceed their surroundings, where the scene is smooth and may move."""
    local = ndimage.uniform_filter(data, (0, 5, 5), mode="mirror")
    peak = good & (data == ndimage.maximum_filter(data, (1, 3, 3), mode="mirror"))
    peak &= data - local > _CANDIDATE_DEVIATIONS * noise_sd(noise, local)
    places = [np.nonzero(mask) for mask in peak]
    patches = [_patches(frame, *at) for frame, at in zip(data, places, strict=True)]
    rings = [here[:, RING] for here in patches]
    elsewhere = [
        np.concatenate([ring[:, :0], *(_patches(data[s], *at).reshape(-1, 25) for s in others)], 1)
        for ring, others, at in zip(rings, near, places, strict=True)
    ]
    level = [
        _trimmed_mean(np.concatenate(both, axis=1)) for both in zip(rings, elsewhere, strict=True)
    ]
    sds = _of_each(noise, level)
    tops = [
        np.maximum(values.max(axis=1), of) if values.size else of
        for values, of in zip(elsewhere, level, strict=True)
    ]
    top_sds = _of_each(noise, tops)
    out = np.zeros_like(good)
    for t, (here, ring, sd) in enumerate(zip(patches, rings, sds, strict=True)):
        spread = np.sqrt(sd**2 + _texture(ring, sd))
        rise = here - level[t][:, None, None]
        limit = _SPOT_DEVIATIONS * spread + beyond
        spot = _alone(rise, spread) & (rise[:, 2, 2] > limit)
        if elsewhere[t].size:
            above = here[:, 2, 2] - elsewhere[t].max(axis=1)
            spot &= above > _TIME_DEVIATIONS * top_sds[t]
        y, x = places[t]
        out[t] = _marked(spot, rise > limit[:, None, None], y, x, good[t].shape)
    return out & good


def _spots_in_time(
    data: np.ndarray, good: np.ndarray, near: list[list[int]], noise: NoiseModel, beyond: float
) -> np.ndarray:
    """Spots that exceed the frames before and after, where the scene is sharp but nearly still."""
    low, high = (np.stack([of(data[pair], axis=0) for pair in near]) for of in (np.min, np.max))
    sds = noise_sd(noise, high)
    found = good & (data - high > _SPOT_DEVIATIONS * sds + beyond)
    out = np.zeros_like(good)
    for t in np.flatnonzero(found.any(axis=(1, 2))):
        y, x = np.nonzero(found[t])
        # A moving object rises in full above the darker of the two frames, with all its neighbours.
        rise, sd = _patches(data[t] - low[t], y, x), sds[t][y, x]
        rise = rise - _LESSER_BIAS * sd[:, None, None]
        spread = np.sqrt((_LESSER_SD * sd) ** 2 + _texture(rise[:, RING], _LESSER_SD * sd))
        least = _SPOT_DEVIATIONS * spread + beyond
        spot = _alone(rise, spread) & (rise[:, 2, 2] > least)
        out[t] = _marked(spot, rise > least[:, None, None], y, x, good[t].shape)
    return out & good


def _of_each(noise: NoiseModel, levels: list[np.ndarray]) -> list[np.ndarray]:
    """Standard deviation of the noise at intensities of each frame, asked for all frames at once."""
    ends = np.cumsum([len(level) for level in levels])[:-1]
    return np.split(noise_sd(noise, np.concatenate(levels)), ends)


def _alone(rise: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Patches [n, 5, 5] whose centre rises without its eight neighbours."""
    shared = rise[:, 1:4, 1:4].sum(axis=(1, 2)) - rise[:, 2, 2]
    return shared + np.sqrt(8) * sd < LARGEST_NEIGHBOUR_RISE * rise[:, 2, 2]


def _marked(
    spot: np.ndarray, bright: np.ndarray, y: np.ndarray, x: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """Mask of a frame [y, x]: the spots, and the neighbours that the same hits made bright."""
    out = np.zeros((shape[0] + 2, shape[1] + 2), bool)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            hit = spot & bright[:, 2 + dy, 2 + dx]
            out[(y + 1 + dy)[hit], (x + 1 + dx)[hit]] = True
    return out[1:-1, 1:-1]


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
