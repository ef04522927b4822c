"""Covariance of a fit whose errors go together: neighbours in time and space are not independent data.

    H⁻¹ ( Σ_Δ ρ(Δ) J(r)ᵀ J(r + Δ) ) H⁻¹,    ρ the autocovariance of the residual within a few frames and pixels

White, Econometrica 48, 817 (1980), doi:10.2307/1912934; for errors that correlate in space Conley, J. Econometrics 92, 1
(1999), doi:10.1016/S0304-4076(98)00084-0.
"""

import numpy as np
from jaxtyping import Bool, Float

# Lags of the residual's autocorrelation (frames, rows, columns).
_LAGS = (3, 6, 6)


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
    padded = tuple(n + lag for n, lag in zip(box, _LAGS, strict=True))
    axes = (-3, -2, -1)

    def lagged(values: np.ndarray) -> np.ndarray:
        power = np.sum(np.abs(np.fft.rfftn(values.astype(float), padded, axes)) ** 2, axis=0)
        return np.fft.irfftn(power, padded, axes)

    pairs = lagged(seen)
    covariance = np.where(pairs > 0.5, lagged(residual) / np.maximum(pairs, 0.5), 0)
    for axis, (n, lag) in enumerate(zip(padded, _LAGS, strict=True)):
        distance = np.minimum(np.arange(n), n - np.arange(n))
        side = [1, 1, 1]
        side[axis] = n
        # Bartlett's taper keeps the spectrum positive.
        covariance = covariance * np.maximum(1 - distance / (lag + 1), 0).reshape(side)
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
