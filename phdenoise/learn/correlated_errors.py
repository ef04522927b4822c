"""Covariance of a fit whose errors go together: neighbours in time and space are not independent data.

    H⁻¹ ( Σ_Δ ρ(Δ) J(r)ᵀ J(r + Δ) ) H⁻¹,    ρ the autocovariance of the residual, as far as it can be seen along each axis

ρ is kept whole where it is seen and let down linearly over as many lags again: a taper from the first lag on would miss a third
of what a line of pixels shares. White, Econometrica 48, 817 (1980), doi:10.2307/1912934; for errors that correlate in space
Conley, J. Econometrics 92, 1 (1999), doi:10.1016/S0304-4076(98)00084-0; the taper and its reach: Politis & White,
Econometric Reviews 23, 53 (2004), doi:10.1081/ETC-120028836.
"""

import numpy as np
from jaxtyping import Bool, Float

# Correlations below so many √(log₁₀ n / n) cannot be told from none, and lags in a row that must be below to end the reach.
_UNSEEN_CORRELATION, _UNSEEN_LAGS = 2.0, 3


def correlated_information(
    residual: Float[np.ndarray, "w t y x"],
    rows: Float[np.ndarray, "p w t y x"],
    seen: Bool[np.ndarray, "w t y x"],
) -> tuple[Float[np.ndarray, "w p p"], float]:
    """Σ_Δ ρ(Δ) Σ_r J(r)ᵀ J(r + Δ) of each stretch: a sum of non-negative terms in Fourier space.

    Args:
        residual: in units of what is taken for its sd; zero where nothing is seen.
        rows: its derivatives.
        seen: where it counts.

    Returns:
        Information by stretch, and how much larger its diagonal is than that of JᵀJ (median).
    """
    stretches, *box = residual.shape
    axes = (-3, -2, -1)
    whole = _autocovariance(residual, seen)
    reach = [_reach(line, float(seen.sum())) for line in _axes_of(whole)]
    padded = tuple(n + min(2 * m, n) for n, m in zip(box, reach, strict=True))
    lags = [np.where(np.arange(n) <= n // 2, np.arange(n), np.arange(n) - n) for n in padded]
    tapers = [np.clip(2 - np.abs(d) / max(m, 0.5), 0, 1) for d, m in zip(lags, reach, strict=True)]
    covariance = whole[np.ix_(*lags)] * np.einsum("i,j,k->ijk", *tapers)
    spectrum = np.maximum(np.fft.rfftn(covariance, axes=axes).real, 0)
    # Of a real signal half the frequencies are kept.
    share = np.full(spectrum.shape[-1], 2.0)
    share[0] = 1.0
    if padded[-1] % 2 == 0:
        share[-1] = 1.0
    root = np.sqrt(spectrum * share / np.prod(padded))
    out, plain = np.zeros((stretches, len(rows), len(rows))), np.zeros(len(rows))
    for w in range(stretches):
        plain += np.sum(rows[:, w].astype(float) ** 2, axis=(1, 2, 3))
        turned = (np.fft.rfftn(rows[:, w], padded, axes) * root).reshape(len(rows), -1)
        out[w] = turned.real @ turned.real.T + turned.imag @ turned.imag.T
    total = np.einsum("wpp->p", out)
    use = plain > 0
    return out, float(np.median(total[use] / plain[use]))


def _autocovariance(residual: np.ndarray, seen: np.ndarray) -> Float[np.ndarray, "a b c"]:
    """Mean product of residuals at each lag, negative ones from the end; zero where no pair is seen."""
    axes = (-3, -2, -1)
    padded = tuple(2 * n for n in residual.shape[1:])

    def lagged(values: np.ndarray) -> np.ndarray:
        power = np.sum(np.abs(np.fft.rfftn(values.astype(float), padded, axes)) ** 2, axis=0)
        return np.fft.irfftn(power, padded, axes)

    pairs = lagged(seen)
    return np.where(pairs > 0.5, lagged(residual) / np.maximum(pairs, 0.5), 0)


def _axes_of(covariance: np.ndarray) -> list[np.ndarray]:
    """Correlation along each axis, from lag 0 on."""
    lines = [covariance[:, 0, 0], covariance[0, :, 0], covariance[0, 0, :]]
    return [line[: len(line) // 2] / max(float(line[0]), 1e-300) for line in lines]


def _reach(correlation: np.ndarray, count: float) -> int:
    """The last lag before several in a row that cannot be told from none."""
    least = _UNSEEN_CORRELATION * np.sqrt(np.log10(max(count, 10.0)) / max(count, 1.0))
    low = np.append(np.abs(correlation[1:]) < least, np.ones(_UNSEEN_LAGS, bool))
    ends = np.flatnonzero(np.convolve(low, np.ones(_UNSEEN_LAGS), "valid") == _UNSEEN_LAGS)
    return int(ends[0])
