"""Correlation of the noise of channels: demosaicking, a common dark current or flicker, unmixing.

    ρ_ab = (var(a + b) − var(a − b)) / (var(a + b) + var(a − b)),    a, b scaled to unit noise

Sum and difference are movies themselves, and their noise is estimated like any movie's, which separates it from
motion, common to all channels.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from phdenoise.noise.differences import clip, difference, difference_of_order
from phdenoise.noise.estimate import estimate_noise

# Correlation [1] below which channels count as independent.
_SMALLEST_CORRELATION = 0.05
# Rows, columns [px] and frames that are used, at most: 2.6 million values tell a correlation to 0.001.
_LARGEST_SIDE, _LARGEST_FRAMES = 256, 40
# Smallest eigenvalue of a correlation matrix [1], so that it can be inverted.
_SMALLEST_EIGENVALUE = 0.02
# Range of the sum or difference of channels of unit noise [noise sd] below which it is constant: copies.
_LARGEST_CONSTANT = 1e-6


def noise_correlation(
    frames: Float[np.ndarray, "c t y x"],
    valid: Bool[np.ndarray, "t y x"],
    variance: Float[np.ndarray, " c"],
) -> Float[np.ndarray, "c c"]:
    """Correlation of the noise of channels at one pixel, zero where it is not significant.

    Args:
        frames: measured channels, finite where valid.
        valid: pixels that every channel may use.
        variance: mean noise variance of each channel.

    Returns:
        Symmetric, positive definite, 1 on the diagonal. The identity for a single frame, which tells nothing.
    """
    count = len(frames)
    rho = np.eye(count)
    if frames.shape[1] < 2 or not valid.any():
        return rho
    part = _part(valid.shape)
    good = valid[part]
    scaled = [
        np.where(good, f[part] / np.sqrt(v), 0.0).astype(np.float64)
        for f, v in zip(frames, variance, strict=True)
    ]
    # One order for all: the highest that any channel's motion asks for.
    order = max(len(s) - len(difference(s, good).noise) for s in scaled)
    found = [difference_of_order(s, good, order) for s in scaled]
    usable = found[0].usable
    if not usable.any():
        return rho
    noise = [clip(f.noise, usable)[usable] for f in found]
    doubt = 4 / np.sqrt(max(usable.sum() * found[0].share, 1.0))
    for a in range(count):
        for b in range(a):
            seen = np.mean(noise[a] * noise[b]) / np.sqrt(
                np.mean(noise[a] ** 2) * np.mean(noise[b] ** 2)
            )
            if abs(seen) > max(_SMALLEST_CORRELATION, doubt):
                shared = _without_motion(scaled[a], scaled[b], good)
                rho[a, b] = rho[b, a] = (
                    shared if abs(shared) > max(_SMALLEST_CORRELATION, doubt) else 0.0
                )
    return _definite(rho)


def _part(shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The middle of a movie."""
    sizes = (
        min(n, most)
        for n, most in zip(shape, (_LARGEST_FRAMES, _LARGEST_SIDE, _LARGEST_SIDE), strict=True)
    )
    return tuple(slice((n - s) // 2, (n + s) // 2) for n, s in zip(shape, sizes, strict=True))


def _without_motion(a: np.ndarray, b: np.ndarray, good: np.ndarray) -> float:
    """Noise correlation of two movies of unit noise."""
    power = []
    for mixed in (a + b, a - b):
        # The difference of copies has no noise.
        constant = np.ptp(mixed[good]) < _LARGEST_CONSTANT
        model = None if constant else estimate_noise(mixed, good, "gaussian").model
        power.append(0.0 if model is None else float(model.variance(jnp.zeros((), jnp.float32))))
    return (power[0] - power[1]) / (power[0] + power[1])


def _definite(rho: np.ndarray) -> np.ndarray:
    value, vector = np.linalg.eigh(rho)
    rho = (vector * np.maximum(value, _SMALLEST_EIGENVALUE)) @ vector.T
    scale = np.sqrt(np.diag(rho))
    return rho / np.outer(scale, scale)
