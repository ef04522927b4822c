"""Counting noise made Gaussian and back: the generalised Anscombe transform and its unbiased inverse.

    f(y) = 2 √(y + 3/8 + s²)                 y = (measured − offset)/gain [counts],  s = read noise/gain
    I(E[f(y)]) = E[y]                        tabulated, so that averages of f turn into averages of y

f has unit variance above a few counts. The algebraic inverse of an average is too low at low counts (by Jensen's
inequality); the exact unbiased inverse is not. Mäkitalo and Foi, IEEE Trans. Image Process. 20, 99 (2011),
doi:10.1109/TIP.2010.2056693, and 22, 91 (2013), doi:10.1109/TIP.2012.2202675.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Float
from scipy import special

Real = Float[np.ndarray, "*s"]

# Above this mean count the closed-form expansion is exact to 1e-6.
_LARGE = 200.0
_NODES = 40


def anscombe(counts: np.ndarray, read: float = 0.0) -> Real:
    """Stabilise counts, f = 2 √(counts + 3/8 + read²), zero where that is negative.

    Args:
        counts: measured intensities in counts (offset removed, divided by the gain).
        read: standard deviation of the read noise [counts].

    Source: doi:10.1109/TIP.2012.2202675.
    """
    return 2.0 * np.sqrt(np.maximum(np.asarray(counts, np.float64) + 0.375 + read**2, 0.0))


def inverse_anscombe(stabilised: np.ndarray, read: float = 0.0) -> Real:
    """Mean count whose stabilised measurements have this mean, never negative.

    Args:
        stabilised: averages of `anscombe` values.
        read: standard deviation of the read noise [counts].

    Source: doi:10.1109/TIP.2010.2056693.
    """
    value = np.asarray(stabilised, np.float64)
    mean, expected, _ = _table(float(read))
    # The expansion of E[f] to second order, exact to 1e-6 from here on.
    large = (value / 2) ** 2 - 0.125 - read**2
    return np.where(value < expected[-1], np.interp(value, expected, mean), large)


def stabilised_spread(stabilised: np.ndarray, read: float = 0.0) -> tuple[Real, Real]:
    """Variance of `anscombe` values around their mean, and d mean count / d stabilised mean.

    Args:
        stabilised: means of `anscombe` values.
        read: standard deviation of the read noise [counts].

    Returns:
        Variance, 1 above a few counts and less below; and the slope of `inverse_anscombe`.
    """
    value = np.asarray(stabilised, np.float64)
    mean, expected, variance = _table(float(read))
    slope = np.gradient(mean, expected)
    inside = value < expected[-1]
    return (
        np.where(inside, np.interp(value, expected, variance), 1.0),
        np.where(inside, np.interp(value, expected, slope), value / 2),
    )


@lru_cache(maxsize=8)
def _table(read: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean counts, and mean and variance of their stabilised values."""
    mean = np.concatenate([[0.0], np.geomspace(1e-3, _LARGE, 400)])
    counts = np.arange(int(_LARGE + 12 * np.sqrt(_LARGE)))
    nodes, weights = np.zeros(1), np.ones(1)
    if read > 0:
        nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
        weights /= np.sqrt(2 * np.pi)
    values = anscombe(counts[:, None] + read * nodes, read)
    log_mass = special.xlogy(counts, mean[:, None]) - mean[:, None] - special.gammaln(counts + 1)
    first, second = (np.exp(log_mass) @ (values**power @ weights) for power in (1, 2))
    return mean, first, np.maximum(second - first**2, 0.0)
