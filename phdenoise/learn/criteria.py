"""What speaks for a law over another: information criteria, and held-out frames block by block.

    AICc = D + 2k + 2k(k+1)/(n−k−1)     BIC = D + k ln n
    −2 ln Z = D + |(θ − θ₀)/s|² + ln det(JᵀJ + S⁻²) + Σ ln s²        (Laplace's approximation)

D = −2 ln L is χ² where the noise is known, and n ln σ² where it is estimated from the misfit itself. Burnham &
Anderson, Model Selection and Multimodel Inference, 2002, ch. 2; Schwarz, Ann. Stat. 6, 461 (1978),
doi:10.1214/aos/1176344136; MacKay, Neural Comput. 4, 415 (1992), doi:10.1162/neco.1992.4.3.415.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

# Blocks of the frame over which held-out misfits are compared: few enough that each is larger than a structure, and enough
# for a standard error.
FRAME_BLOCKS = 16


class Criteria(NamedTuple):
    """Smaller is better, only differences mean something."""

    aicc: float
    bic: float
    evidence: float


def criteria(
    deviance: float,
    data: float,
    hessian: Float[np.ndarray, "p p"],
    pull: Float[np.ndarray, " p"],
    sd: Float[np.ndarray, " p"],
    parameters: int,
) -> Criteria:
    """The criteria of one fit.

    Args:
        deviance: D = −2 ln L at the optimum.
        data: n, how many independent numbers the misfit sums over.
        hessian: JᵀJ of the free numbers, in units of the noise.
        pull: their (θ − θ₀)/s.
        sd: their prior standard deviation s.
        parameters: k, how many of them are the law's.

    Returns:
        The criteria, smaller is better; inf for a fit that diverged.
    """
    if not (np.isfinite(deviance) and np.isfinite(hessian).all()):
        return Criteria(np.inf, np.inf, np.inf)
    k = parameters
    aicc = deviance + 2 * k + 2 * k * (k + 1) / max(data - k - 1, 1.0)
    # In units of the prior the determinant is at least one, and none of its factors overflows.
    scaled = hessian * sd[:, None] * sd[None] + np.eye(sd.size)
    occam = float(np.linalg.slogdet(scaled)[1])
    return Criteria(aicc, deviance + k * np.log(max(data, 2.0)), deviance + pull @ pull + occam)


def independent(residual: Float[np.ndarray, "w t y x"]) -> float:
    """How many independent numbers correlated residuals are worth.

    n over Π (1 + 2 Σ ρ(lag)) along t, y and x, each sum cut where ρ falls below 0.05.
    """
    factor = 1.0
    for axis in (1, 2, 3):
        size = residual.shape[axis]
        lags = range(1, min(size, 64))
        square = float(np.mean(residual**2)) or 1.0
        total = 0.0
        for lag in lags:
            a = np.take(residual, range(lag, size), axis)
            b = np.take(residual, range(size - lag), axis)
            correlation = float(np.mean(a * b)) / square
            if correlation < 0.05:
                break
            total += correlation
        factor *= 1 + 2 * total
    return max(residual.size / factor, 8.0)


def by_block(
    square: Float[np.ndarray, "t y x"], inside: Bool[np.ndarray, "y x"] | None = None
) -> Float[np.ndarray, " block"]:
    """Mean of squared residuals over each of about 16 blocks of the frame, all times together.

    Args:
        square: squared residuals.
        inside: True where they count; None for everywhere.

    Returns:
        Means of the blocks that have a cell inside.
    """
    ny, nx = square.shape[1:]
    known = np.ones((ny, nx), bool) if inside is None else inside
    side = max(1, int(np.sqrt(ny * nx / FRAME_BLOCKS)))
    rows, columns = (max(1, n // side) for n in (ny, nx))
    summed = square.mean(0)
    return np.array(
        [
            summed[part][known[part]].mean()
            for y in np.array_split(np.arange(ny), rows)
            for x in np.array_split(np.arange(nx), columns)
            if known[part := np.ix_(y, x)].any()
        ]
    )


def difference(
    one: Float[np.ndarray, " block"], other: Float[np.ndarray, " block"]
) -> tuple[float, float]:
    """How much worse `one` is than `other`, paired over blocks, and the standard error of that.

    Args:
        one: mean squared residuals of a fit by block.
        other: those of another fit.

    Returns:
        Mean difference and its standard error.
    """
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        return (np.inf if np.isfinite(other).all() else 0.0), 0.0
    gap = one - other
    error = float(np.std(gap, ddof=1) / np.sqrt(gap.size)) if gap.size > 1 else float("inf")
    return float(np.mean(gap)), error
