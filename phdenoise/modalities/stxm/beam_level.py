"""The level of a beam from scan to scan: the beam's own changes are separated from the errors of the measurement.

    ln I₀(t) = random walk (variance q per scan) + jitter (variance j²),     measured with a known variance s²

In the cosine basis, where the walk is diagonal (λ_k = 2 − 2 cos(πk/T)), a coefficient has variance q/λ_k + j² + s²; q and j² are
those of largest likelihood, and the level is the posterior mean. Where the scatter between scans is no larger than s
explains, scans help each other; where the beam does jump, each keeps its own. Rasmussen & Williams, Gaussian Processes for
Machine Learning, 2006, ch. 2 and 5.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.fft import dct, idct

# Variances that are tried, as shares of s²: none, and from far below s² to far above, in steps of
# a factor 1.5.
_TRIED = np.r_[0.0, np.geomspace(1e-6, 1e4, 61)]


class Level(NamedTuple):
    """A level and its relative sd [t]."""

    value: Float[np.ndarray, " t"]
    relative_sd: Float[np.ndarray, " t"]


def smooth_level(value: Float[np.ndarray, " t"], relative_sd: float) -> Level:
    """The level of each scan from all scans.

    Args:
        value: as measured in each scan, positive.
        relative_sd: s, of each by itself, independent from scan to scan.

    Returns:
        Level and its relative sd.
    """
    count = len(value)
    if count < 3 or not relative_sd > 0:
        return Level(np.array(value, float), np.full(count, float(relative_sd)))
    seen = dct(np.log(value), norm="ortho")
    noise = relative_sd**2
    shape = 1 / (2 - 2 * np.cos(np.pi * np.arange(1, count) / count))
    walk, jitter = (a[..., None] for a in np.meshgrid(_TRIED, _TRIED, indexing="ij"))
    prior = noise * (walk * shape + jitter)
    unlikely = np.sum(np.log(prior + noise) + seen[1:] ** 2 / (prior + noise), axis=-1)
    best = prior[np.unravel_index(np.argmin(unlikely), unlikely.shape)]
    # The mean over all scans is as it is.
    kept = np.r_[1.0, best / (best + noise)]
    basis = idct(np.eye(count), axis=0, norm="ortho")
    return Level(np.exp(idct(kept * seen, norm="ortho")), np.sqrt(noise * (basis**2 @ kept)))
