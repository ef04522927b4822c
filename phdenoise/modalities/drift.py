"""Drift of the scene and of the light, found and taken out, with what that does to the noise.

    I_t(r) = g_t J(r − d_t) + noise   ->   J_t = shift(I_t / g_t, −d_t)

Displacements come from `registration.register`. Contract: on a textured scene that fills the frame and moves by a
few pixels, d is found to 0.05 px without noise, and with noise as well as by
`skimage.registration.phase_cross_correlation` on tapered frames, which is what it is tested against. The gain of a frame is a
robust regression on a reference, so that a change in a minority of the pixels is not taken for light.
Linear interpolation averages up to four pixels: the variance of a moved frame is Σ w² var, and its neighbours are
correlated; a denoiser should see the frames before they are moved.
Biweight: Beaton and Tukey, Technometrics 16, 147 (1974), doi:10.1080/00401706.1974.10489171.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from phdenoise.modalities.registration import register, shift
from phdenoise.types import InputError

# Residual beyond which a pixel has no weight [sd]: 95 % efficiency for Gaussian noise, Beaton and Tukey (1974).
_BIWEIGHT = 4.685
# Iterations of the reweighted regression; a fixed number, so that no tolerance enters.
_ITERATIONS = 20
# Standard deviation over median absolute deviation of Gaussian noise, 1/Φ⁻¹(3/4).
_SD_OF_MAD = 1.4826


class Drift(NamedTuple):
    """Of each frame relative to the reference.

    Attributes:
        displacement: (dy, dx) [t, 2] [px].
        gain, gain_sd: g_t [t], intensity over that of the reference.
    """

    displacement: np.ndarray
    gain: np.ndarray
    gain_sd: np.ndarray


class DriftCorrected(NamedTuple):
    """Frames without drift.

    Attributes:
        frames, variance: [t, y, x].
        seen: False where a pixel came from outside the frame [t, y, x].
    """

    frames: Array
    variance: Array
    seen: np.ndarray


def find_drift(
    frames: Float[np.ndarray, "t y x"],
    *,
    reference: Float[np.ndarray, "y1 x1"] | None = None,
    region: Bool[np.ndarray, "y2 x2"] | None = None,
    move: bool = True,
    light: bool = True,
) -> Drift:
    """Displacement and gain of every frame.

    Args:
        frames: finite intensities above a dark level of 0.
        reference: image to compare with; by default the first frame for displacements, and the median over time of
            the aligned frames for the gain.
        region: where the scene is known to be unchanged; by default everywhere.
        move, light: whether to look for displacements, for gains.

    Returns:
        Displacements [px] and gains; zeros and ones where they were not looked for.

    Raises:
        InputError: shapes that differ, or a scene without light.
    """
    frames = np.asarray(frames, float)
    for name, image in (("reference", reference), ("region", region)):
        if image is not None and image.shape != frames.shape[1:]:
            raise InputError(
                f"The {name} has shape {image.shape}, a frame {frames.shape[1:]}: they must agree."
            )
    count = len(frames)
    displacement = np.zeros((count, 2))
    if move:
        displacement = np.asarray(register(_boxed(frames, region), reference=None if reference is None else _boxed(reference[None], region)[0]), float)  # fmt: skip
    if not light:
        return Drift(displacement, np.ones(count), np.zeros(count))
    still = np.asarray(shift(frames, -displacement))
    seen = inside(frames.shape, displacement)
    target = np.median(still, axis=0) if reference is None else np.asarray(reference, float)
    if not np.median(target) > 0:
        raise InputError("The scene has no light to follow: its median is not above 0.")
    use = seen if region is None else seen & region
    gains = [_gain(f[u], target[u]) for f, u in zip(still, use, strict=True)]
    gain, sd = np.asarray(gains).T
    if reference is None:
        gain, sd = gain / gain[0], sd / gain[0]
    return Drift(displacement, gain, sd)


def correct_drift(
    frames: Float[np.ndarray, "t y x"],
    variance: Float[np.ndarray, "t y x"],
    drift: Drift,
) -> DriftCorrected:
    """Frames at the place and brightness of the reference; errors of neighbours are then correlated.

    Args:
        frames: as measured or denoised [t, y, x].
        variance: of the frames [t, y, x].
        drift: of `find_drift`.

    Returns:
        Moved frames and their variance, with the error of the gain included.
    """
    gain = drift.gain[:, None, None]
    moved = shift(np.asarray(frames, float) / gain, -drift.displacement)
    # The share of the gain's own error is common to a frame.
    own = moved**2 * jnp.asarray((drift.gain_sd / drift.gain) ** 2)[:, None, None]
    spread = shifted_variance(np.asarray(variance, float) / gain**2, -drift.displacement)
    return DriftCorrected(moved, spread + own, inside(frames.shape, drift.displacement))


def shifted_variance(
    variance: Float[np.ndarray, "t y x"], displacement: Float[np.ndarray, "t 2"]
) -> Array:
    """Variance of linearly interpolated frames, Σ w² var over the two by two pixels that each comes from.

    Args:
        variance: of independent pixels [t, y, x].
        displacement: (dy, dx) that the frames are moved by [px].

    Returns:
        Variance of the moved frames [t, y, x].
    """
    ny, nx = variance.shape[1:]
    out = []
    for frame, (dy, dx) in zip(np.asarray(variance), np.asarray(displacement), strict=True):
        wy, wx = (_weights(n, d) for n, d in ((ny, dy), (nx, dx)))
        out.append((wy**2) @ frame @ (wx**2).T)
    return jnp.asarray(np.stack(out))


def inside(
    shape: tuple[int, ...], displacement: Float[np.ndarray, "t 2"]
) -> Bool[np.ndarray, "t y x"]:
    """True where a frame moved back by its displacement shows what it measured, not its repeated edge.

    Args:
        shape: frames, rows and columns.
        displacement: (dy, dx) of each frame [px].

    Returns:
        True inside the frame [t, y, x].
    """
    _, ny, nx = shape
    y, x = np.arange(ny), np.arange(nx)
    rows = [(y + dy >= 0) & (y + dy <= ny - 1) for dy, _ in displacement]
    columns = [(x + dx >= 0) & (x + dx <= nx - 1) for _, dx in displacement]
    return np.stack([r[:, None] & c[None] for r, c in zip(rows, columns, strict=True)])


def _weights(size: int, move: float) -> np.ndarray:
    """Matrix of linear interpolation along one axis, edges repeated."""
    where = np.clip(np.arange(size) - move, 0, size - 1)
    low = np.minimum(np.floor(where).astype(int), max(size - 2, 0))
    share = where - low
    out = np.zeros((size, size))
    rows = np.arange(size)
    out[rows, low] += 1 - share
    out[rows, np.minimum(low + 1, size - 1)] += share
    return out


def _boxed(frames: np.ndarray, region: np.ndarray | None) -> np.ndarray:
    """Frames cut to the box around a region."""
    if region is None:
        return frames
    if not region.any():
        raise InputError("The region is empty: nothing can be registered on it.")
    rows, columns = (np.nonzero(region.any(axis=a))[0] for a in (1, 0))
    return frames[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _gain(frame: np.ndarray, target: np.ndarray) -> tuple[float, float]:
    """Regression of a frame on the reference through the origin with Tukey's biweight, and its sd.

    It begins at the median ratio, and gives no weight to what lies beyond 4.7 standard deviations: up to nearly
    half of the scene may change.
    """
    gain = float(np.median(frame[target > 0] / target[target > 0]))
    for _ in range(_ITERATIONS):
        left = frame - gain * target
        sd = _SD_OF_MAD * float(np.median(np.abs(left))) + 1e-12
        weight = np.square(np.maximum(1 - np.square(left / (_BIWEIGHT * sd)), 0))
        gain = float(np.sum(weight * frame * target) / np.sum(weight * target**2))
    u = np.square((frame - gain * target) / (_BIWEIGHT * sd))
    # Slope of the estimating equation: it says how far the gain gives way to the noise.
    slope = np.where(u < 1, (1 - u) * (1 - 5 * u), 0)
    spread = np.sum((weight * (frame - gain * target) * target) ** 2)
    return gain, float(np.sqrt(spread) / abs(np.sum(slope * target**2)))
