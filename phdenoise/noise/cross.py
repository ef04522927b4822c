"""Noise that channels share: demosaicking, a common dark current or flicker, unmixing.

    ρ_ab = (var(a + b) − var(a − b)) / (var(a + b) + var(a − b)),    a, b scaled to unit noise

Sum and difference are movies themselves, and their noise is estimated like any movie's: motion, which all channels
of a scene share, is told apart there.
"""

import numpy as np
from jaxtyping import Bool, Float

from phdenoise.noise.differences import _difference, clip, difference
from phdenoise.noise.estimate import estimate_noise

# Correlation below which channels count as independent.
_LEAST = 0.05
# Pixels and frames that sums and differences are judged on.
_SIDE, _FRAMES = 256, 40
# Smallest share of its noise that a channel has to itself.
_OWN = 0.02


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
        Symmetric, positive definite, 1 on the diagonal. A single frame tells nothing: the identity.
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
    found = [_difference(s, good, order) for s in scaled]
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
            if abs(seen) > max(_LEAST, doubt):
                shared = _without_motion(scaled[a], scaled[b], good)
                rho[a, b] = rho[b, a] = shared if abs(shared) > max(_LEAST, doubt) else 0.0
    return _definite(rho)


def _part(shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The middle of a movie."""
    sizes = (min(n, most) for n, most in zip(shape, (_FRAMES, _SIDE, _SIDE), strict=True))
    return tuple(slice((n - s) // 2, (n + s) // 2) for n, s in zip(shape, sizes, strict=True))


def _without_motion(a: np.ndarray, b: np.ndarray, good: np.ndarray) -> float:
    """Noise correlation of two movies of unit noise."""
    power = []
    for mixed in (a + b, a - b):
        # Copies have no noise in their difference.
        constant = np.ptp(mixed[good]) < 1e-6
        model = None if constant else estimate_noise(mixed, good, "gaussian").model
        power.append(0.0 if model is None else float(model.variance(model.sigma)))  # type: ignore[union-attr]
    return (power[0] - power[1]) / (power[0] + power[1])


def _definite(rho: np.ndarray) -> np.ndarray:
    value, vector = np.linalg.eigh(rho)
    rho = (vector * np.maximum(value, _OWN)) @ vector.T
    scale = np.sqrt(np.diag(rho))
    return rho / np.outer(scale, scale)
