"""The cells inside a mask: smoothing and differences that take nothing from outside.

    smooth(c) = G * (m c) / G * m

m is one inside and zero outside. Smoothing by a normalised convolution: Knutsson & Westin, Proc. CVPR, 515 (1993),
doi:10.1109/CVPR.1993.341081.
"""

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

# Weight of the kernel below which a cell is not reached from inside [1]: 6 standard deviations away.
LEAST_WEIGHT = 1e-8


def smooth_inside(
    frames: Float[np.ndarray, "*t y x"],
    inside: Bool[np.ndarray, "..."] | None,
    sigma: float | tuple[float, ...],
    mode: str | tuple[str, ...] = "nearest",
) -> Float[np.ndarray, "*t y x"]:
    """Gaussian mean of the values inside.

    Args:
        frames: values; those outside are not read.
        inside: True where a value counts, of a shape that broadcasts; None for everywhere.
        sigma: standard deviation of the kernel, one for all axes or one each [cells].
        mode: how values continue beyond the box, of `scipy.ndimage`.

    Returns:
        Means, also in cells outside that the kernel reaches; the mean of all values inside in the others.
    """
    if inside is None or bool(np.all(inside)):
        return ndimage.gaussian_filter(np.asarray(frames, float), sigma, mode=mode)
    known = np.broadcast_to(inside, frames.shape)
    values = np.where(known, frames, 0.0)
    weight = ndimage.gaussian_filter(known.astype(float), sigma, mode=mode)
    total = ndimage.gaussian_filter(values, sigma, mode=mode)
    mean = float(values.sum() / max(known.sum(), 1))
    return np.where(weight > LEAST_WEIGHT, total / np.maximum(weight, LEAST_WEIGHT), mean)


def closed_laplacian(
    frames: Float[np.ndarray, "*t y x"], inside: Bool[np.ndarray, "y x"]
) -> Float[np.ndarray, "*t y x"]:
    """∇² with closed faces at the rim of a mask and at the edges of the box, on cells of side one.

    Args:
        frames: values.
        inside: True inside.

    Returns:
        Second differences, zero outside.
    """
    total = np.zeros_like(frames)
    for axis in (-2, -1):
        both = np.diff(inside.astype(np.int8), axis=axis) == 0
        first = np.take(inside, range(inside.shape[axis] - 1), axis)
        flow = np.diff(frames, axis=axis) * (both & first)
        width = [(0, 0)] * frames.ndim
        width[axis] = (1, 1)
        total += np.diff(np.pad(flow, width), axis=axis)
    return total
