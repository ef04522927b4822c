"""The squared bias of a prediction from its residuals alone: what the scene shares over distances that noise does not.

    C(d) = E[r_p r_{p+d}] − E[p_p p_{p+d}] + 2 E[n_p l_{p+d}] = B(d) + e(d),     B(d) = B exp(−d²/2w²) or B exp(−d/w)
    Cov(e(d), e(d')) = v²/N Σ_k ρ(k) [ρ(k + d − d') + ρ(k + d + d')]

r is the residual, p the noise that the prediction lets through, l what of the noise n has been learned by heart, v and ρ the noise's variance and autocorrelation, N the number
of pixels, d the distances at which ρ is zero. Height and width are weighed by how likely they are; where noise
hides the bias, it is taken for what it usually is.
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import fft, signal

from phdenoise.denoisers.doubt import USUAL

# Correlation of noise that counts as none.
INDEPENDENT = 0.05
# Pixels between residuals whose product tells of the scene.
FARTHEST = 4
# In units of the smallest distance where the noise is independent: how far products are taken, and the widths of the bias's
# correlation that are asked, for each power of the distance in the exponent (a blurred scene's, a front's). No scene is
# sharper than NARROWEST [px].
REACH, WIDTHS, NARROWEST = 5, {2: (0.7, 5.0), 1: (0.7, 12.0)}, 1.2
# How much another shape than these may differ at the smallest distance, growing with the distance.
SHAPE = 0.1
# The bias over the variance let through: what is asked, and the sd of the log of what is usual. A filter in n dimensions that
# errs least has n/4 (Silverman, Density Estimation, 1986, section 3.3), here space and time; networks on random scenes had 1.7,
# and on slow ones less.
TO_VARIANCE, USUAL_SD = np.geomspace(1e-2, 1e3, 121), 0.8


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
    learned: tuple[Float[np.ndarray, "t y x"], Float[np.ndarray, "t y x"]] | None = None,
    tail: Float[np.ndarray, "ky kx"] | None = None,
) -> float:
    """Mean square of the bias: posterior mean.

    Args:
        residual: measured less predicted value, where `valid`.
        passed: noise that the prediction lets through, from noise added once more.
        valid: where the movie was measured.
        rho: autocorrelation of the noise, 1 at its centre, odd sides.
        variance: of the noise.
        tail: of correlated noise, what its autocorrelation may be where `rho` is zero.
        learned: noise added to what the prediction was fitted to, and what it changed in the fit's prediction.
    """
    nearest = min(apart(rho).values())
    let_through = float(np.mean(passed**2))
    lags = np.array(independent_lags(rho, REACH * nearest), int).reshape(-1, 2)
    counts = _products(valid, valid, lags)
    lags = lags[counts > 0.5]
    if not len(lags):
        return USUAL * let_through
    counts = np.round(counts[counts > 0.5])
    shared = _products(residual, residual, lags) / counts
    if learned is not None:
        noise, change = (np.where(valid, a, 0.0) for a in learned)
        shared += (_products(noise, change, lags) + _products(change, noise, lags)) / counts
    everywhere = np.ones_like(valid)
    covariance = shared - _products(passed, passed, lags) / _products(everywhere, everywhere, lags)
    unsure = np.zeros(len(lags))
    if tail is not None:
        # What little the noise itself may share there hides a bias that is small beside the noise. Motion looks like it.
        y, x = (n // 2 for n in rho.shape)
        within = (np.abs(lags[:, 0]) <= y) & (np.abs(lags[:, 1]) <= x)
        unsure[within] = variance * (tail + rho / 2)[lags[within, 0] + y, lags[within, 1] + x]
    distance = np.hypot(*lags.T)
    near = max(float(covariance[distance == distance.min()].mean()), 0.0)
    if let_through == 0:
        return near
    scatter = variance**2 * _shared(lags, rho) / np.sqrt(np.outer(counts, counts))
    other = (SHAPE * near * distance / nearest) ** 2 + unsure**2 + 1e-6 * let_through**2
    scatter[np.diag_indices_from(scatter)] += other + 1e-3 * np.diag(scatter)
    # An autocorrelation that was measured has a spectrum that is not quite positive.
    size, axes = np.linalg.eigh(scatter)
    kept = size > 1e-9 * size[-1]
    white = (axes[:, kept] / np.sqrt(size[kept])).T
    heights, found = let_through * TO_VARIANCE, []
    for power, ends in WIDTHS.items():
        low, high = (max(w * nearest, NARROWEST) for w in ends)
        widths = np.geomspace(low, high, 25)
        shape = np.exp(-((distance / widths[:, None]) ** power) / power) @ white.T
        along, square = shape @ (white @ covariance), np.sum(shape**2, axis=1)
        found.append(heights * along[:, None] - 0.5 * heights**2 * square[:, None])
    likely = np.concatenate(found) - 0.5 * (np.log(TO_VARIANCE / USUAL) / USUAL_SD) ** 2
    share = np.exp(likely - likely.max())
    return float(share.sum(0) @ heights / share.sum())


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


def _products(
    one: np.ndarray, other: np.ndarray, lags: Int[np.ndarray, "n 2"]
) -> Float[np.ndarray, " n"]:
    """Sum over frames and pixels of `one` at a pixel times `other` so far from it [n]."""
    reach = np.abs(lags).max(axis=0, initial=0)
    shape = tuple(
        fft.next_fast_len(int(n + r), real=True) for n, r in zip(one.shape[1:], reach, strict=True)
    )
    total = np.zeros((shape[0], shape[1] // 2 + 1), complex)
    for a, b in zip(one, other, strict=True):
        total += np.conj(fft.rfft2(a.astype(float), shape)) * fft.rfft2(b.astype(float), shape)
    products: np.ndarray = fft.irfft2(total, shape)[lags[:, 0], lags[:, 1]]
    return products
