"""Counting noise made Gaussian and back: the generalised Anscombe transform and its unbiased inverse.

    f(y) = 2 √(y + 3/8 + s²)                 y = (measured − offset)/gain [counts],  s = read noise/gain
    I(E[f(y)]) = E[y]                        tabulated, so that averages of f turn into averages of y

f has unit variance above a few counts. The algebraic inverse of an average is too low at low counts (by Jensen's
inequality); the exact unbiased inverse is not. Mäkitalo and Foi, IEEE Trans. Image Process. 20, 99 (2011),
doi:10.1109/TIP.2010.2056693, and 22, 91 (2013), doi:10.1109/TIP.2012.2202675.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float
from scipy import special

Real = Float[np.ndarray, "*s"]

# Mean [counts] above which the closed-form expansion of E[f] is exact to 1e-6.
_LARGE_MEAN = 200.0
# Nodes of the Gauss-Hermite quadrature over the read noise.
_QUADRATURE_NODES = 40
# Smallest d mean count / d stabilised mean: where no counts are expected the inverse is flat, and would promise an error of zero.
SMALLEST_SLOPE = 0.5


@dataclass(frozen=True)
class Stabiliser:
    """The way to data whose noise is Gaussian of one standard deviation, and back; this one changes nothing.

    Attributes:
        sigma: standard deviation of the noise of stabilised data.
    """

    sigma: float

    def forward(self, data: np.ndarray) -> np.ndarray:
        """Stabilised data."""
        return data

    def variance(self, mean: np.ndarray) -> np.ndarray:
        """Variance of stabilised data around their mean."""
        return np.full(mean.shape, self.sigma**2)

    def inverse(self, mean: np.ndarray, var: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of intensities, from those of stabilised data.

        Args:
            mean: of stabilised data.
            var: their variance.

        Returns:
            Mean [intensity] and variance [intensity²].
        """
        return mean, var


@dataclass(frozen=True)
class Anscombe(Stabiliser):
    """The generalised Anscombe transform of intensities.

    Attributes:
        gain: intensity of one count.
        offset: intensity of no count.
        read: standard deviation of the read noise [counts].
    """

    sigma: float = 1.0
    gain: float = 1.0
    offset: float = 0.0
    read: float = 0.0

    def forward(self, data: np.ndarray) -> np.ndarray:
        """`anscombe` of the counts."""
        return anscombe((data - self.offset) / self.gain, self.read)

    def variance(self, mean: np.ndarray) -> np.ndarray:
        return _stabilised_spread(mean, self.read)[0]

    def inverse(self, mean: np.ndarray, var: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Unbiased mean, and its variance by the slope of the inverse."""
        slope = np.maximum(_stabilised_spread(mean, self.read)[1], SMALLEST_SLOPE)
        back = self.offset + self.gain * inverse_anscombe(mean, self.read)
        return back, var * (self.gain * slope) ** 2


def anscombe(counts: np.ndarray, read: float = 0.0) -> Real:
    """Stabilise counts, f = 2 √(counts + 3/8 + read²), zero where that is negative.

    Args:
        counts: measured intensities in counts (offset removed, divided by the gain).
        read: standard deviation of the read noise [counts].

    Returns:
        Stabilised values, of unit variance above a few counts.

    Source: doi:10.1109/TIP.2012.2202675.
    """
    return 2.0 * np.sqrt(np.maximum(np.asarray(counts, np.float64) + 0.375 + read**2, 0.0))


def inverse_anscombe(stabilised: np.ndarray, read: float = 0.0) -> Real:
    """Mean count whose stabilised measurements have this mean, never negative.

    Args:
        stabilised: averages of `anscombe` values.
        read: standard deviation of the read noise [counts].

    Returns:
        Mean counts.

    Source: doi:10.1109/TIP.2010.2056693.
    """
    value = np.asarray(stabilised, np.float64)
    mean, expected, _ = _table(float(read))
    # The expansion of E[f] to second order, exact to 1e-6 from here on.
    large = (value / 2) ** 2 - 0.125 - read**2
    return np.where(value < expected[-1], np.interp(value, expected, mean), large)


def _stabilised_spread(stabilised: np.ndarray, read: float = 0.0) -> tuple[Real, Real]:
    """Variance of `anscombe` values around their mean, and d mean count / d stabilised mean."""
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
    mean = np.concatenate([[0.0], np.geomspace(1e-3, _LARGE_MEAN, 400)])
    counts = np.arange(int(_LARGE_MEAN + 12 * np.sqrt(_LARGE_MEAN)))
    nodes, weights = np.zeros(1), np.ones(1)
    if read > 0:
        nodes, weights = np.polynomial.hermite_e.hermegauss(_QUADRATURE_NODES)
        weights /= np.sqrt(2 * np.pi)
    values = anscombe(counts[:, None] + read * nodes, read)
    log_mass = special.xlogy(counts, mean[:, None]) - mean[:, None] - special.gammaln(counts + 1)
    first, second = (np.exp(log_mass) @ (values**power @ weights) for power in (1, 2))
    return mean, first, np.maximum(second - first**2, 0.0)
