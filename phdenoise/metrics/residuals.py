"""Is what the denoiser took away noise? Autocorrelation and whiteness of the residual movie.

    r(k) = ⟨(e_i − ē)(e_{i+k} − ē)⟩ / ⟨(e − ē)²⟩,   white noise: r(k) ~ N(0, 1/N_k)
    Q = Σ_k N_k r(k)² ~ χ²(K)   over the K lags of a small box in t, y, x (Box and Pierce)

N_k counts the valid pairs. Structure in the residual is signal that was removed; residuals that are
correlated where the detector's noise is white are a fault of the denoiser. Box and Pierce, J. Am. Stat.
Assoc. 65, 1509 (1970), doi:10.1080/01621459.1970.10481180.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import stats

from phdenoise.metrics.fidelity import Valid, same_shape
from phdenoise.types import InputError

# p-value below which a residual is not white, unless no correlation [1] is as large as the second.
_SMALLEST_P_VALUE, _SMALLEST_CORRELATION = 0.01, 0.02
# Standard deviations of the two-sided 95 % band of a normal distribution.
_TWO_SIDED_95 = 1.96
# Pairs of pixels that the test needs, at least.
_SMALLEST_PAIRS = 10


class Autocorrelation(NamedTuple):
    """Correlation at lags 0, 1, 2 ... along each axis [pixels, frames], and its 95 % band if white.

    The three axes may have different lengths: no lag exceeds half the movie's extent.
    """

    x: Array
    y: Array
    t: Array
    band_x: Array
    band_y: Array
    band_t: Array


class Whiteness(NamedTuple):
    """Outcome of the whiteness test.

    `z`: the χ² statistic as standard deviations from its expectation; `p_value`; `correlation`: the
    largest one, at `lag` (t, y, x); `white`: whether p > 0.01 or no correlation exceeds 0.02 (with
    millions of pixels anything is significant); `sentence`: for a person.
    """

    z: float
    p_value: float
    correlation: float
    lag: tuple[int, int, int]
    white: bool
    sentence: str


def residual_autocorrelation(
    residual: Float[Array | np.ndarray, "t y x"], valid: Valid | None = None, max_lag: int = 10
) -> Autocorrelation:
    """Autocorrelation of a residual along x, y and t.

    Args:
        residual: measured minus estimated [any unit]; divide by the noise sd where that varies.
        valid: True where pixels count, [t, y, x]; None means where finite.
        max_lag: largest lag [pixels, frames].

    Returns:
        Correlations, 1 at lag 0, and 1.96/√N at the others; zeros if the residual is constant.

    Raises:
        InputError: if max_lag < 1 or shapes differ.
    """
    lags = tuple(min(max_lag, max(n // 2, 0)) for n in residual.shape)
    corr, pairs = _lagged(residual, valid, lags, max_lag)
    band = _TWO_SIDED_95 / jnp.sqrt(jnp.maximum(pairs, 1))
    nt, ny, nx = lags
    return Autocorrelation(
        x=corr[0, 0, : nx + 1],
        y=corr[0, : ny + 1, 0],
        t=corr[: nt + 1, 0, 0],
        band_x=band[0, 0, : nx + 1],
        band_y=band[0, : ny + 1, 0],
        band_t=band[: nt + 1, 0, 0],
    )


def residual_whiteness(
    residual: Float[Array | np.ndarray, "t y x"], valid: Valid | None = None, max_lag: int = 2
) -> Whiteness:
    """Test whether a residual is white over all lags of a box in t, y and x.

    Args:
        residual: measured minus estimated, over its sd [1].
        valid: True where pixels count, [t, y, x]; None means where finite.
        max_lag: half-width of the box of lags [pixels, frames].

    Returns:
        Statistic, p-value, largest correlation and a sentence.

    Raises:
        InputError: if max_lag < 1 or shapes differ.
    """
    lags = tuple(min(max_lag, max(n // 2, 0)) for n in residual.shape)
    corr, pairs = _lagged(residual, valid, lags, max_lag)
    axes = np.meshgrid(*(np.arange(-m, m + 1) for m in lags), indexing="ij")
    box = np.stack([a.ravel() for a in axes], axis=1)
    box = box[len(box) // 2 + 1 :]  # r(k) = r(−k): one half, without the origin
    index = tuple(box.T)
    r, n = np.asarray(corr, float)[index], np.asarray(pairs, float)[index]
    if len(r) == 0 or n.sum() < _SMALLEST_PAIRS:
        return Whiteness(0.0, 1.0, 0.0, (0, 0, 0), True, "Too few pixels to test the residual.")
    q, k = float(np.sum(n * r**2)), len(r)
    z = (q - k) / np.sqrt(2 * k)
    p = float(stats.chi2.sf(q, k))
    top = int(np.argmax(np.abs(r)))
    lag = (int(box[top][0]), int(box[top][1]), int(box[top][2]))
    white = p > _SMALLEST_P_VALUE or abs(r[top]) < _SMALLEST_CORRELATION
    where = f"the largest correlation is {r[top]:+.3f} at lag (t, y, x) = {lag}"
    if p > _SMALLEST_P_VALUE:
        sentence = f"The residual looks like white noise (p = {p:.2g}); {where}."
    elif white:
        sentence = f"The residual is white for practical purposes: {where}, significant but small."
    else:
        sentence = (
            f"The residual is not white: {where}. Either the detector's noise is correlated, "
            "or signal was removed with it."
        )
    return Whiteness(float(z), p, float(r[top]), lag, bool(white), sentence)


@partial(jax.jit, static_argnums=(2, 3))
def _lagged(
    residual: Array | np.ndarray, valid: Array | np.ndarray | None, lags: tuple, max_lag: int
) -> tuple[Array, Array]:
    """Correlation and pair count at every lag, negative lags at the end of each axis, by FFT."""
    if max_lag < 1:
        raise InputError(f"max_lag must be at least 1, got {max_lag}.")
    e = jnp.asarray(residual)
    ok = jnp.isfinite(e)
    if valid is not None:
        ok = ok & same_shape("valid", valid, "residual", residual)[0]
    weight = ok.astype(e.dtype)
    e = jnp.where(ok, e, 0)
    e = jnp.where(ok, e - jnp.sum(e) / jnp.maximum(jnp.sum(weight), 1), 0)
    power = jnp.sum(e**2) / jnp.maximum(jnp.sum(weight), 1)
    e = e / jnp.sqrt(jnp.where(power > 0, power, 1))
    size = tuple(n + m for n, m in zip(e.shape, lags, strict=True))  # no wrap-around
    sums = jnp.fft.irfftn(jnp.abs(jnp.fft.rfftn(e, size)) ** 2, size)
    pairs = jnp.round(jnp.fft.irfftn(jnp.abs(jnp.fft.rfftn(weight, size)) ** 2, size))
    return sums / jnp.maximum(pairs, 1), jnp.maximum(pairs, 0)
