"""Rows and columns with an offset of their own in every frame: read-out lines, line flicker, interlacing.

    y = scene + r_{t, row} + white,    R(k) = E |r̂(k)|²,    k frequencies across the rows

An offset is the same along the whole row, and noise and motion are not: R is the covariance of the row means of different parts
of the rows. With the variance v of a row mean's error the offset is estimated by R/(R + v) times the row mean, and errs by
R v/(R + v).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import fft, ndimage

# Parts of a row whose means are compared: more, and a part's mean is noisier; fewer, and motion reaches from one to the other.
PARTS = 4
# Pixels of a part, at least [px].
SMALLEST_PART = 4
# Standard deviations of a covariance of parts above which rows have offsets. Heavy tails of motion reach six.
LARGEST_CHANCE = 8.0
# Variance of the offsets, over that of a row mean's error, above which they are taken out: less stays hidden in it.
SMALLEST_RATIO = 0.1
# Frequencies [of all] below which motion may pass for offsets: they are not tested.
LOWEST_FREQUENCY = 0.25
# Frequencies over which a spectrum is averaged, as a share of all.
SMOOTHING = 0.08
# Standard deviations of a pixel around the mean of its row beyond which it has no weight in it: what moves. 95 % efficient for
# normal noise: Holland and Welsch, Commun. Stat. A 6, 813 (1977), doi:10.1080/03610927708827533.
BIWEIGHT = 4.685
# Standard deviations beyond which a pixel does not count for a spectrum of rows.
FARTHEST = 3.5
_ROUNDS = 4


class LineSpectrum(NamedTuple):
    """Power of the offsets of rows.

    Attributes:
        power: at frequencies k/2n cycles per row, k = 0 ... n − 1 [intensity²].
        sd: its standard deviation [intensity²].
        error: variance of the mean of a whole row at these frequencies, without the offset [intensity²].
    """

    power: Float[np.ndarray, " n"]
    sd: Float[np.ndarray, " n"]
    error: Float[np.ndarray, " n"]

    @property
    def _tested(self) -> slice:
        """The frequencies at which motion does not pass for offsets."""
        return slice(int(LOWEST_FREQUENCY * self.power.size), None)

    @property
    def deviations(self) -> float:
        """Mean power at the frequencies that are tested, in its standard deviations."""
        sd = float(np.sqrt(np.sum(self.sd[self._tested] ** 2)))
        return float(self.power[self._tested].sum()) / max(sd, np.finfo(float).tiny)

    @property
    def found(self) -> bool:
        """Whether rows have offsets that are worth to be taken out."""
        error = max(float(self.error[self._tested].sum()), np.finfo(float).tiny)
        ratio = self.power[self._tested].sum() / error
        return bool(self.deviations > LARGEST_CHANCE and ratio > SMALLEST_RATIO)

    @property
    def offsets(self) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """Smooth power of the offsets and of the error of a row mean; what is stronger at the lowest frequencies counts as motion."""
        power = smoothed(self.power)
        kept = np.minimum(power, power[self._tested].max())
        return kept, smoothed(self.error) + power - kept


def line_spectrum(
    noise: Float[np.ndarray, "n y x"], usable: Bool[np.ndarray, "n y x"], share: float = 1.0
) -> LineSpectrum | None:
    """Power of the offsets that rows have, from noise and what moves.

    Args:
        noise: differences of frames, or of frames and their prediction.
        usable: where they may be used.
        share: independent frames per frame.

    Returns:
        The spectrum; None where rows are too short to be parted.
    """
    nx = noise.shape[2]
    parts = min(PARTS, nx // SMALLEST_PART)
    if parts < 2 or noise.shape[1] < SMALLEST_PART:
        return None
    edges = np.linspace(0, nx, parts + 1).astype(int)[:-1]
    count = np.add.reduceat(usable.astype(float), edges, axis=2)
    total = np.add.reduceat(np.where(usable, noise, 0.0), edges, axis=2)
    seen = count > 0.5 * count.max()
    means = np.where(seen, total / np.maximum(count, 1), 0.0)
    waves = fft.dct(means, axis=1, norm="ortho")
    filled = max(float(seen.mean()), np.finfo(float).tiny)
    # Neighbouring parts share what lies across their border.
    pairs = [(a, b) for a in range(parts) for b in range(a + 1, parts) if 2 * (b - a) >= parts]
    own = np.mean(waves**2, axis=0) / filled
    frames = max(len(noise) * share, 1.0)
    power = np.mean([np.mean(waves[..., a] * waves[..., b], axis=0) for a, b in pairs], axis=0)
    power /= filled
    spread = np.mean([own[:, a] * own[:, b] for a, b in pairs], axis=0)
    whole = np.mean(np.mean(waves, axis=2) ** 2, axis=0) / filled
    error = np.maximum(whole - np.maximum(power, 0.0), whole / (2 * frames))
    return LineSpectrum(power, np.sqrt(spread / frames / len(pairs)), error)


def line_offsets(
    left: Float[np.ndarray, "t y x"],
    usable: Bool[np.ndarray, "t y x"],
    spectrum: LineSpectrum,
) -> tuple[Float[np.ndarray, "t y"], Float[np.ndarray, " y"]]:
    """Offsets of rows, and the variance of their error.

    Args:
        left: frames less their prediction without the rows [intensity].
        usable: where they may be used.
        spectrum: of the offsets in `left`.

    Returns:
        The offsets [intensity], and the variance of each row's [intensity²].
    """
    mean = row_means(left, usable)
    power, error = spectrum.offsets
    # The mean of a frame changes with its scene, more than other sums over rows do.
    error[0] = max(mean.shape[1] * float(np.mean(mean.mean(axis=1) ** 2)) - power[0], error[0])
    weight = power / np.maximum(power + error, np.finfo(float).tiny)
    offsets = fft.idct(weight * fft.dct(mean, axis=1, norm="ortho"), axis=1, norm="ortho")
    basis = fft.idct(np.eye(power.size), axis=1, norm="ortho")
    return offsets, (weight * error) @ basis**2


def smoothed(power: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """A spectrum averaged over neighbouring frequencies, nowhere negative.

    Args:
        power: at equally spaced frequencies.

    Returns:
        The smooth spectrum.
    """
    side = max(int(SMOOTHING * power.size) // 2 * 2 + 1, 3)
    out: np.ndarray = np.maximum(ndimage.uniform_filter1d(power, side, mode="nearest"), 0.0)
    return out


def row_means(
    left: Float[np.ndarray, "t y x"], usable: Bool[np.ndarray, "t y x"]
) -> Float[np.ndarray, "t y"]:
    """Mean of each row that outliers do not pull, by Tukey's biweight.

    Args:
        left: frames less their prediction [intensity].
        usable: where they may be used.

    Returns:
        The means [intensity]; zero where less than half of a row was measured.
    """
    return _row_means(left, usable)[0]


def at_rest(
    left: Float[np.ndarray, "t y x"], usable: Bool[np.ndarray, "t y x"]
) -> Bool[np.ndarray, "t y x"]:
    """Usable pixels that their prediction and the mean of their row explain: where nothing moves.

    Args:
        left: frames less their prediction [intensity].
        usable: where they may be used.

    Returns:
        True there.
    """
    mean, sd = _row_means(left, usable)
    return usable & (np.abs(left - mean[..., None]) < FARTHEST * sd)


def _row_means(left: np.ndarray, usable: np.ndarray) -> tuple[np.ndarray, float]:
    """Biweight mean of each row [t, y], and the standard deviation of a pixel around it."""
    count = usable.sum(axis=2)
    seen = 2 * count > left.shape[2]
    values = np.where(usable, left, np.nan)
    mean = np.zeros(count.shape)
    mean[seen] = np.nanmedian(values[seen], axis=1)
    away = np.abs(left - mean[..., None])[usable & seen[..., None]]
    # Of a normal law, half of the values lie within 0.674 standard deviations.
    sd = float(np.median(away)) / 0.674 if away.size else 0.0
    if sd == 0:
        return mean, sd
    for _ in range(_ROUNDS):
        off = (left - mean[..., None]) / (BIWEIGHT * sd)
        weight = np.where(usable & (np.abs(off) < 1), (1 - off**2) ** 2, 0.0)
        total = weight.sum(axis=2)
        step = BIWEIGHT * sd * (weight * off).sum(axis=2) / np.maximum(total, 1e-9)
        mean = np.where(seen, mean + step, 0.0)
    return mean, sd
