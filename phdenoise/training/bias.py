"""The squared bias of a prediction from its residuals alone: what the scene shares over distances that noise does not.

    C(d) = E[r_p r_{p+d}] − E[p_p p_{p+d}] = B(d) + e(d),     B(d) = B exp(−d²/2w²)
    Cov(e(d), e(d')) = v²/N Σ_k ρ(k) [ρ(k + d − d') + ρ(k + d + d')]

r is the residual, p the noise that the prediction lets through, v and ρ the noise's variance and autocorrelation, N the number
of pixels, d the distances at which ρ is zero. Height and width are weighed by how likely they are; where noise
hides the bias, it is taken for what it usually is.
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import signal

# Correlation of noise that counts as none.
INDEPENDENT = 0.05
# Pixels between residuals whose product tells of the scene.
FARTHEST = 4
# In units of the smallest distance where the noise is independent: widths of the bias's correlation that are asked, and how
# far products are taken. No scene is sharper than NARROWEST [px].
WIDTHS, REACH, NARROWEST = (0.7, 5.0), 3, 1.2
# How much another shape than a Gaussian may differ at the smallest distance, growing with the distance.
SHAPE = 0.1
# The bias over the variance let through: what is asked, what is usual, and the sd of its log. A filter in n dimensions
# that errs least has n/4 (Silverman, Density Estimation, 1986, section 3.3).
TO_VARIANCE, USUAL, USUAL_SD = np.geomspace(1e-2, 1e3, 121), 0.5, 0.8


def apart(rho: Float[np.ndarray, "ky kx"]) -> dict[int, int]:
    """Along y (1) and x (2), the smallest distance from which on the noise is independent.

    An axis along which it is not within `FARTHEST` is left out: the scene's own correlation would be lost by then.
    """
    y, x = (n // 2 for n in rho.shape)
    found = {}
    for axis, line in ((1, rho[y:, x]), (2, rho[y, x:])):
        far = np.flatnonzero(np.abs(line) >= INDEPENDENT)
        found[axis] = max(int(far[-1]) + 1 if far.size else 1, 1)
    near = {axis: d for axis, d in found.items() if d <= FARTHEST}
    return near or {min(found, key=found.__getitem__): FARTHEST}


def squared_bias(
    residual: Float[np.ndarray, "t y x"],
    passed: Float[np.ndarray, "t y x"],
    valid: Bool[np.ndarray, "t y x"],
    rho: Float[np.ndarray, "ky kx"],
    variance: float,
) -> tuple[float, float]:
    """Mean square of the bias, and the width of its correlation [px]: posterior means.

    Args:
        residual: measured less predicted value, where `valid`.
        passed: noise that the prediction lets through, from noise added once more.
        valid: where the movie was measured.
        rho: autocorrelation of the noise, 1 at its centre, odd sides.
        variance: of the noise.
    """
    nearest = min(apart(rho).values())
    let_through = float(np.mean(passed**2))
    everywhere = np.ones_like(valid)
    lags, found, counts = [], [], []
    for lag in independent_lags(rho, REACH * nearest):
        mean, count = _product(residual, valid, *lag)
        if count:
            lags.append(lag)
            found.append(mean - _product(passed, everywhere, *lag)[0])
            counts.append(count)
    if not lags:
        return USUAL * let_through, float(nearest)
    distance, covariance = np.hypot(*np.array(lags).T), np.array(found)
    near = max(float(covariance[distance == distance.min()].mean()), 0.0)
    if let_through == 0:
        return near, float(nearest)
    scatter = variance**2 * _shared(np.array(lags), rho) / np.sqrt(np.outer(counts, counts))
    other = (SHAPE * near * distance / nearest) ** 2 + 1e-6 * let_through**2
    scatter[np.diag_indices_from(scatter)] += other + 1e-3 * np.diag(scatter)
    # An autocorrelation that was measured has a spectrum that is not quite positive.
    size, axes = np.linalg.eigh(scatter)
    kept = size > 1e-9 * size[-1]
    white = (axes[:, kept] / np.sqrt(size[kept])).T
    widths = np.geomspace(max(WIDTHS[0] * nearest, NARROWEST), WIDTHS[1] * nearest, 25)
    heights = let_through * TO_VARIANCE
    shape = np.exp(-0.5 * (distance / widths[:, None]) ** 2) @ white.T
    along, square = shape @ (white @ covariance), np.sum(shape**2, axis=1)
    likely = heights * along[:, None] - 0.5 * heights**2 * square[:, None]
    likely -= 0.5 * (np.log(TO_VARIANCE / USUAL) / USUAL_SD) ** 2
    share = np.exp(likely - likely.max())
    share /= share.sum()
    return float(share.sum(0) @ heights), float(share.sum(1) @ widths)


def independent_lags(rho: Float[np.ndarray, "ky kx"], reach: int) -> list[tuple[int, int]]:
    """Lags (y, x) up to `reach` at which the noise is independent, one of each opposite pair.

    Noise is taken to be correlated at every lag that is nearer along both axes than one where it is seen to be.
    """
    y, x = (n // 2 for n in rho.shape)
    folded = np.maximum.reduce([np.abs(rho[::a, ::b])[y:, x:] for a in (1, -1) for b in (1, -1)])
    for axis in (0, 1):
        folded = np.flip(np.maximum.accumulate(np.flip(folded, axis), axis), axis)
    return [
        (dy, dx)
        for dy in range(reach + 1)
        for dx in range(-reach, reach + 1)
        if (dy > 0 or dx > 0)
        and np.hypot(dy, dx) <= reach
        and (dy > y or abs(dx) > x or folded[dy, abs(dx)] < INDEPENDENT)
    ]


def _shared(lags: Int[np.ndarray, "n 2"], rho: Float[np.ndarray, "ky kx"]) -> np.ndarray:
    """Σ_k ρ(k) [ρ(k + d − d') + ρ(k + d + d')] for every two lags [n, n]."""
    of_rho = signal.correlate(rho, rho)
    y, x = (n // 2 for n in of_rho.shape)
    padded = np.pad(of_rho, 1)

    def at(lag: np.ndarray) -> np.ndarray:
        value: np.ndarray = padded[
            np.clip(lag[..., 0] + y + 1, 0, 2 * y + 2), np.clip(lag[..., 1] + x + 1, 0, 2 * x + 2)
        ]
        return value

    return at(lags[:, None] - lags) + at(lags[:, None] + lags)


def _product(values: np.ndarray, valid: np.ndarray, dy: int, dx: int) -> tuple[float, int]:
    """Mean product of pixels so far apart, and of how many."""
    ny, nx = values.shape[1:]
    here = np.s_[:, : max(ny - dy, 0), max(-dx, 0) : max(nx - max(dx, 0), 0)]
    there = np.s_[:, dy:, max(dx, 0) : max(nx + min(dx, 0), 0)]
    both = valid[here] & valid[there]
    count = int(both.sum())
    return float(np.sum(values[here] * values[there], where=both)) / max(count, 1), count
