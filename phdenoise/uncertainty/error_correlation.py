"""How errors of a denoised movie are correlated, and what averages over regions and frames are worth.

    var ⟨x⟩ = Σ_ij w_i w_j s_i s_j ρ(i − j)  ≈  ρ_R(0) Σ w² s²/Σ w²,      ρ_R(τ) = Σ_d ρ(τ, d) Σ_i w_i w_{i+d}

ρ is the autocorrelation of the error of a movie whose truth is known: the denoised movie, with new noise, denoised again
(the parametric bootstrap; Efron & Tibshirani 1993, chapter 6). Errors of measured pixels are independent: ρ_R(0) = Σ w². The
approximation is exact for independent errors, and for equal sd.

An average over many pixels is well known from the measurement alone, and denoising may bias it. What the two differ by tells:
if the denoised average is as certain as stated, the difference has the variance s_m² − s_d²; what it has beyond that is bias
(`no_worse`).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import fft, signal

# Largest lags of the error's correlation: frames, and rows and columns [px]. A prediction looks 16 frames to each side, and the
# linear filters 12 pixels.
LARGEST_LAGS = (16, 12, 12)


class ErrorCorrelation(NamedTuple):
    """Correlation of the errors of pixels.

    Attributes:
        values: ρ at lags (t, y, x) from −r to r, 1 at the centre [2 r_t + 1, 2 r_y + 1, 2 r_x + 1]; zero beyond.
    """

    values: Float[np.ndarray, "kt ky kx"]

    @classmethod
    def independent(cls) -> "ErrorCorrelation":
        """That of measured pixels."""
        return cls(np.ones((1, 1, 1)))

    @classmethod
    def known(cls, values: np.ndarray | None) -> "ErrorCorrelation | None":
        """That of an estimate (`phdenoise.movie.Estimate.error_autocorrelation`), which may be unknown."""
        return None if values is None else cls(values)

    def of_mean(self, weights: Float[np.ndarray, "y x"]) -> Float[np.ndarray, " kt"]:
        """ρ_R: covariance of the error of an average of pixels of unit variance with that of a later frame.

        Args:
            weights: of the pixels, zero outside the region; they sum to one.

        Returns:
            ρ_R at lags 0, 1, ... in time; at lag 0 at least that of independent errors.
        """
        rt, ry, rx = (n // 2 for n in self.values.shape)
        rows, columns = (np.flatnonzero(weights.any(axis=k)) for k in (1, 0))
        if not rows.size:
            return np.zeros(rt + 1)
        part = weights[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        overlap = signal.correlate(part, part)
        my, mx = (n // 2 for n in overlap.shape)
        ky, kx = min(ry, my), min(rx, mx)
        near = overlap[my - ky : my + ky + 1, mx - kx : mx + kx + 1]
        rho = self.values[rt:, ry - ky : ry + ky + 1, rx - kx : rx + kx + 1]
        found = np.einsum("tyx,yx->t", rho, near)
        found[0] = max(float(found[0]), float(np.sum(weights**2)))
        return found

    def of_frames(self, count: int) -> float:
        """Variance of a pixel's mean over successive frames, over that of one frame.

        Args:
            count: of frames.

        Returns:
            1/count for independent errors, at most 1.
        """
        rt, ry, rx = (n // 2 for n in self.values.shape)
        return mean_of_series(self.values[rt:, ry, rx], count)


INDEPENDENT = ErrorCorrelation.independent()


def mean_of_series(rho: Float[np.ndarray, " kt"], count: int) -> float:
    """Variance of the mean of successive values, over that of one value.

    Args:
        rho: their covariance at lags 0, 1, ...; zero beyond.
        count: of values.

    Returns:
        The share, between that of independent values and 1.
    """
    lags = np.arange(1, min(len(rho), count))
    relative = rho[lags] / max(float(rho[0]), np.finfo(float).tiny)
    share = (1 + 2 * float(np.sum((1 - lags / count) * relative))) / count
    return float(np.clip(share, 1 / count, 1.0))


def error_autocorrelation(
    error: Float[np.ndarray, "t y x"],
    sd: Float[np.ndarray, "t y x"],
    valid: Bool[np.ndarray, "t y x"],
) -> Float[np.ndarray, "kt ky kx"]:
    """Autocorrelation of an error in units of its standard deviation.

    Args:
        error: of a movie whose truth is known [intensity].
        sd: stated [intensity].
        valid: pixels that count.

    Returns:
        ρ at lags up to `LARGEST_LAGS`, at most half the movie, 1 at the centre.
    """
    unit = np.where(valid, error / np.where(valid, sd, 1.0), 0.0)
    lags = tuple(min(k, n // 2) for k, n in zip(LARGEST_LAGS, error.shape, strict=True))
    shape = tuple(
        fft.next_fast_len(n + k, real=True) for n, k in zip(error.shape, lags, strict=True)
    )

    def lagged(values: np.ndarray) -> np.ndarray:
        ring = fft.irfftn(np.abs(fft.rfftn(values, shape)) ** 2, shape)
        return np.roll(ring, lags, (0, 1, 2))[tuple(slice(2 * k + 1) for k in lags)]

    covariance = lagged(unit) / np.maximum(lagged(valid.astype(float)), 1.0)
    found: np.ndarray = covariance / max(float(covariance[lags]), np.finfo(float).tiny)
    return found


def no_worse(
    measured: tuple[Float[np.ndarray, "t ..."], Float[np.ndarray, "t ..."]],
    denoised: tuple[Float[np.ndarray, "t ..."], Float[np.ndarray, "t ..."]],
) -> tuple[Float[np.ndarray, "t ..."], Float[np.ndarray, "t ..."], Bool[np.ndarray, "t ..."]]:
    """The denoised averages where denoising helps, and the measured ones elsewhere.

    Args:
        measured: averages of the measured movie and their sd, independent from frame to frame [t, ...].
        denoised: of the denoised movie.

    Returns:
        Value and sd, which is nowhere larger than the measured one, and where the value is the denoised one. What the two
        differ by beyond chance, over time, is taken as bias of the denoised one and added to its variance. Where nothing was
        measured, it is the denoised one.
    """
    (value, sd), (other, stated) = measured, denoised
    known = np.isfinite(value) & np.isfinite(sd) & np.isfinite(other) & np.isfinite(stated)
    count = np.maximum(known.sum(axis=0), 1)
    expected = np.where(known, np.maximum(sd**2 - stated**2, 0.0), 0.0).sum(axis=0) / count
    seen = np.where(known, (value - other) ** 2, 0.0).sum(axis=0) / count
    whole = np.sqrt(stated**2 + np.maximum(seen - expected, 0.0))
    better = (known & (whole < sd)) | ~(np.isfinite(value) & np.isfinite(sd))
    return np.where(better, other, value), np.where(better, whole, sd), better
