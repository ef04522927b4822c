"""Where in a frame a prediction is wrong: its variance as a function of what is seen there.

    Σ(x) = D(x) exp(φ(x)ᵀ β),     β = argmin Σ_x (d²/Σ + ln Σ)/s + |β|²/2ς²

D is what is believed already, d an error that is known: that of a prediction of the denoised movie, noised and denoised once more
(`phdenoise.training.again`). φ holds, and multiplies with each other, the network's own variance, the frame's error, and what the best
linear prediction L shows: its slope at two widths, what is curved, how far past and future differ, and its intensity. All are of
the pixel's surroundings alone, so that a movie may pass in pieces. s pixels share an error. The deviance of a gamma distribution is convex in β:
McCullagh and Nelder, Generalized Linear Models, 1989, chapter 8.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import ndimage, optimize

# Widths of the Gaussians that slopes are seen through [px]; of what is curved, the narrow and the wide one.
SLOPES, CURVED = (1.0, 2.5), (1.0, 3.0)
# Slopes and differences of less than this share of the error's sd are as good as none.
FLAT = 0.1
# ς, of standardised terms, which are not believed beyond so many standard deviations.
TERM_SD, WITHIN = 0.3, 3.0
# Frames and side of the window that tells how many pixels share an error, at most.
LOOKED_AT = (64, 256, 256)


class Pattern(NamedTuple):
    """β and what standardises φ.

    Attributes:
        floor: slopes and differences of less are none, in the network's units.
        middle, width: mean and sd of each of the things seen.
        factors: β.
    """

    floor: float
    middle: Float[np.ndarray, " f"]
    width: Float[np.ndarray, " f"]
    factors: Float[np.ndarray, " q"]

    def __call__(self, shown: Float[np.ndarray, "f y x"]) -> Float[np.ndarray, "y x"]:
        """exp(φᵀ β) of what `seen` finds."""
        by_pixel = shown.reshape(len(shown), -1).T
        factor = np.exp(_terms(by_pixel, self.middle, self.width) @ self.factors)
        found: np.ndarray = factor.reshape(shown.shape[1:])
        return found


def seen(
    linear: Float[np.ndarray, "m y x"],
    variance: Float[np.ndarray, "y2 x2"],
    error: float,
    inside: tuple[slice, slice],
    floor: float,
) -> Float[np.ndarray, "f y2 x2"]:
    """What the error of one frame's prediction may depend on, before it is standardised.

    Args:
        linear: the linear predictions, those from the past and the future first, the best one last.
        variance: of the network, of the pixels `inside`.
        error: of the frame.
        inside: rows and columns of `linear` that are wanted.
        floor: of slopes and differences, in units of `linear`.
    """
    best = linear[-1].astype(np.float64)
    squares = [
        sum(ndimage.gaussian_filter(best, s, order=o)[inside] ** 2 for o in ((1, 0), (0, 1)))
        for s in SLOPES
    ]
    narrow, wide = (ndimage.gaussian_filter(best, s)[inside] for s in CURVED)
    change = ndimage.gaussian_filter((linear[0] - linear[1]).astype(np.float64) ** 2, SLOPES[0])
    squares += [(narrow - wide) ** 2, change[inside]]
    return np.stack(
        [
            np.log(variance.astype(np.float64)),
            np.full(variance.shape, np.log(error)),
            *(np.log(s + floor**2) for s in squares),
            best[inside],
        ]
    )


def fit_pattern(
    shown: Float[np.ndarray, "n f"],
    squares: Float[np.ndarray, " n"],
    believed: Float[np.ndarray, " n"],
    floor: float,
    shared: float,
) -> Pattern:
    """The pattern of errors that are known.

    Args:
        shown: of `seen`, by pixel.
        squares: squared errors.
        believed: D.
        floor: as in `seen`.
        shared: s, of these pixels.
    """
    middle, width = shown.mean(axis=0), np.maximum(shown.std(axis=0), 1e-6)
    terms = np.column_stack([np.ones(len(shown)), _terms(shown, middle, width)])
    level = max(float(np.mean(squares)), float(np.finfo(float).tiny))
    ratio = squares / level * np.mean(believed) / believed
    narrow = np.append(0.0, np.full(terms.shape[1] - 1, TERM_SD**-2))

    def cost(beta: np.ndarray) -> tuple[float, np.ndarray]:
        log = np.clip(terms @ beta, -30, 30)
        left = ratio * np.exp(-log)
        value = np.sum(left + log) / shared + 0.5 * np.sum(narrow * beta**2)
        return float(value), terms.T @ (1 - left) / shared + narrow * beta

    def curvature(beta: np.ndarray) -> np.ndarray:
        left = ratio * np.exp(-np.clip(terms @ beta, -30, 30))
        return (terms * left[:, None]).T @ terms / shared + np.diag(narrow + 1e-9)

    start = np.zeros(terms.shape[1])
    found = optimize.minimize(cost, start, jac=True, hess=curvature, method="trust-exact")
    return Pattern(floor, middle, width, found.x[1:])


def sharing(error: Float[np.ndarray, "t y x"]) -> float:
    """How many pixels share a value of a squared error: Σ ρ² over the lags of its autocorrelation ρ."""
    middle = tuple(
        slice((n - min(n, most)) // 2, (n + min(n, most)) // 2)
        for n, most in zip(error.shape, LOOKED_AT, strict=True)
    )
    error = error[middle]
    power = np.abs(np.fft.fftn(error)) ** 2
    total = float(power.sum())
    # Each frequency's power is known from one value, whose square is twice that of the power itself.
    return max(0.5 * error.size * float(np.sum(power**2)) / total**2, 1.0) if total > 0 else 1.0


def _terms(shown: np.ndarray, middle: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Standardised, and their products [n, q]."""
    unit = np.clip((shown - middle) / width, -WITHIN, WITHIN)
    one, other = np.triu_indices(unit.shape[1])
    return np.column_stack([unit, unit[:, one] * unit[:, other]])
