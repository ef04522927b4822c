"""What has to be found out about a radiograph before it is divided: spots, scatter, rings.

    S = Σ w_ij y^i x^j              through what arrives behind black bodies

Black bodies: Boillat et al., Opt. Express 26, 15769 (2018), doi:10.1364/OE.26.015769. Fixed rings: Vo et al.,
Opt. Express 26, 28396 (2018), doi:10.1364/OE.26.028396.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from phdenoise.types import InputError

Frames = Float[np.ndarray, "t y x"]
Image = Float[np.ndarray, "y x"]


# Median of the square of a standard Gaussian value.
_MEDIAN_OF_CHI2 = 0.455
# Standard deviation over median absolute deviation of Gaussian noise, 1/Φ⁻¹(3/4).
_SD_OF_MAD = 1.48
# Pixels of 3 x 3 that may stand out together before they are taken for a wire or an edge: one, not two.
_CROWD = 1.5
# Response below which a pixel is dead and is left as it is [share of its neighbours'].
_LEAST_GAIN = 0.05


class Average(NamedTuple):
    """Mean of repeated exposures and its variance [y, x] [counts, counts²]."""

    mean: Image
    variance: Image


def average(frames: Frames, *, gain: float = 1.0, read_variance: float = 0.0) -> Average:
    """Mean of exposures scaled to one dose, spots left out, with the variance of that mean.

    Of fewer than three exposures all values are kept: a spot looks like a pixel that is always bright,
    which must be subtracted.

    Args:
        frames: exposures [t, y, x] [counts].
        gain: camera counts per neutron.
        read_variance: of one exposure [counts²].

    Returns:
        Mean and its variance.
    """
    frames = np.asarray(frames, float)
    level = np.median(frames, axis=(1, 2))
    scale = level / level.mean() if level.min() > 0 else np.ones(len(frames))
    same = frames / scale[:, None, None]
    good = np.ones(same.shape, bool)
    if len(same) >= 3:
        good = ~spots(same, gain=gain, read_variance=read_variance)
    count = good.sum(axis=0)
    middle = ndimage.median_filter(np.median(same, axis=0), 5, mode="mirror")
    mean = np.where(count > 0, np.where(good, same, 0).sum(0) / np.maximum(count, 1), middle)
    variance = (gain * np.maximum(mean, gain) + read_variance) / np.maximum(count, 1)
    return Average(mean, variance)


def spots(
    frames: Frames, *, gain: float = 1.0, read_variance: float = 0.0, limit: float = 6.0
) -> Bool[np.ndarray, "t y x"]:
    """True where a gamma ray or a proton hit the camera: bright patches and tracks of any shape, in one frame.

    A hit exceeds both the median of its 9×9 surroundings and, given three frames or more, the median of its pixel
    over time by `limit` sd; its flanks belong to it down to half of that. Read for heavily hit scintillator cameras;
    single hits of a counting detector are found by `phdenoise.noise.defects`.

    Args:
        frames: counts at one dose.
        gain: camera counts per neutron.
        read_variance: of one exposure [counts²].
        limit: threshold [sd].

    Returns:
        True where a value is to be left out.
    """
    frames = np.asarray(frames, float)
    still = np.median(frames, axis=0) if len(frames) >= 3 else None
    out = np.zeros(frames.shape, bool)
    for t, frame in enumerate(frames):
        local = ndimage.median_filter(frame, 9, mode="mirror")
        level = local if still is None else np.maximum(local, still)
        rise = frame - level
        counting = gain * np.maximum(level, gain) + read_variance
        # What the camera adds to counting (blooming, uneven gain) shows in the half below the median.
        extra = (
            np.median(rise[rise < 0] ** 2 / counting[rise < 0]) / _MEDIAN_OF_CHI2
            if (rise < 0).any()
            else 1
        )
        sd = np.sqrt(counting * max(extra, 1.0))
        core = rise > limit * sd + gain * (limit**2 - 1) / 6
        out[t] = ndimage.binary_propagation(
            core, mask=rise > 0.5 * limit * sd, structure=np.ones((3, 3), bool)
        )
    return out


def scatter_behind(
    frame: Image,
    dark: Image,
    bodies: Bool[np.ndarray, "y x"],
    *,
    degree: int = 2,
    leak: float = 0.0,
    open_beam: Image | None = None,
) -> tuple[Image, float]:
    """Scattered counts over the whole frame, from what arrives behind black bodies: a polynomial surface.

    Args:
        frame: mean exposure with the black bodies in place [counts].
        dark: dark field [counts].
        bodies: True well inside the shadow of a black body.
        degree: of the polynomial in y and x.
        leak: transmission of the black bodies (thickness is finite); needs `open_beam`.
        open_beam: counts without anything.

    Returns:
        S [counts] and the variance of S, averaged over the frame.

    Raises:
        InputError: too few bodies for the degree, or a leak without an open beam.
    """
    powers = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
    separate = ndimage.label(bodies)[1]
    if separate < len(powers):
        raise InputError(
            f"{separate} black bodies cannot carry a surface of degree {degree} ({len(powers)} numbers): lower the "
            "degree or place more."
        )
    if leak and open_beam is None:
        raise InputError(
            "The leak of black bodies is a share of the open beam: give the open beam."
        )
    behind = np.asarray(frame, float) - dark
    if leak and open_beam is not None:
        behind = behind - leak * (np.asarray(open_beam, float) - dark)
    y, x = (2 * g / max(n - 1, 1) - 1 for g, n in zip(np.mgrid[: frame.shape[0], : frame.shape[1]], frame.shape, strict=True))  # fmt: skip
    basis = np.stack([y**i * x**j for i, j in powers], axis=-1)
    rows, seen = basis[bodies], behind[bodies]
    weights, *_ = np.linalg.lstsq(rows, seen, rcond=None)
    left = seen - rows @ weights
    spread = float(left @ left) / max(seen.size - len(powers), 1)
    covariance = spread * np.linalg.inv(rows.T @ rows)
    return basis @ weights, float(np.einsum("yxi,ij,yxj->yx", basis, covariance, basis).mean())


def ring_gain(
    transmission: Frames, variance: Frames, *, limit: float = 5.0
) -> Float[np.ndarray, "y x"]:
    """Response left over in single pixels after the open beam: structure of the detector, not of the sample.

    A pixel whose mean over time differs from the median of its 5×5 surroundings by more than `limit` sd of that mean
    and of the surroundings' own texture is divided by its ratio to them. All others keep a gain of 1, so that no
    structure wider than a pixel is flattened.

    Args:
        transmission: of all frames, NaN where not valid [t, y, x].
        variance: of it [t, y, x].
        limit: threshold [sd].

    Returns:
        Gains; divide the transmission by them.
    """
    ok = np.isfinite(transmission)
    count = np.maximum(ok.sum(0), 1)
    mean = np.where(ok, transmission, 0).sum(0) / count
    own = np.where(ok, variance, 0).sum(0) / count**2
    local = ndimage.median_filter(mean, 5, mode="mirror")
    rise = mean - local
    texture = _SD_OF_MAD * ndimage.median_filter(np.abs(rise), 11, mode="mirror")
    alone = np.abs(rise) > limit * np.sqrt(np.maximum(own, texture**2))
    # Neighbours that stand out together are a wire or an edge.
    crowded = ndimage.uniform_filter(alone.astype(float), 3, mode="constant") > _CROWD / 9
    gain = np.where(alone & ~crowded & (local > 0), mean / np.where(local > 0, local, 1), 1.0)
    return np.where(gain > _LEAST_GAIN, gain, 1.0)
