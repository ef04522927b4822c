"""Where in a frame a prediction is wrong: a log-linear model of its error's variance.

    Σ(x) = D(x) exp(φ(x)ᵀ β),     β = argmin Σ_x (d²/Σ + ln Σ)/s + |β|²/2ς²

D is the variance as believed before, d a known error: that of the parametric bootstrap
(`phdenoise.uncertainty.parametric_bootstrap`). The features φ are, with their products: the logs of the network's variance
and of the frame's error, of the slope of the best linear prediction L at two widths, of its curvature and of the difference
of past and future, and L itself. All are of the pixel's surroundings alone, so that a movie may pass in pieces. s pixels share
an error. The deviance of a gamma distribution is convex in β: McCullagh and Nelder, Generalized Linear Models, 1989, chapter 8.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage, optimize

# Widths of the Gaussians through which slopes are taken, and the narrow and the wide one whose difference is the curvature
# [px]: from the sharpest detail that pixels resolve to what a network of this reach still predicts.
SLOPE_WIDTHS, CURVATURE_WIDTHS = (1.0, 2.5), (1.0, 3.0)
# Slopes and differences count from this share of the error's sd on: smaller ones are noise of the linear prediction.
SLOPE_FLOOR = 0.1
# ς, prior sd of the coefficients of standardised features; and where standardised features are clipped [sd], so that values
# that were hardly seen are not extrapolated to.
COEFFICIENT_SD, CLIPPED_AT = 0.3, 3.0
# Frames, rows and columns of the central window that tells how many pixels share an error: enough for its spectrum.
_SHARING_WINDOW = (64, 256, 256)
# The log of the variance's factor is kept within this, so that exp does not overflow in the search.
_LARGEST_LOG = 30.0


class VarianceModel(NamedTuple):
    """β and what standardises φ.

    Attributes:
        floor: slopes and differences below it count as none, in the network's units.
        middle, width: mean and sd of each feature.
        coefficients: β.
        even: share of D that is the same everywhere, and not scaled: 0, or that of the noise that passes a linear filter.
    """

    floor: float
    middle: Float[np.ndarray, " f"]
    width: Float[np.ndarray, " f"]
    coefficients: Float[np.ndarray, " q"]
    even: float = 0.0

    def __call__(self, shown: Float[np.ndarray, "f y x"]) -> Float[np.ndarray, "y x"]:
        """The factor of D, by the features of one frame."""
        by_pixel = shown.reshape(len(shown), -1).T
        factor = np.exp(standardised_terms(by_pixel, self.middle, self.width) @ self.coefficients)
        found: np.ndarray = factor.reshape(shown.shape[1:])
        return self.even + (1 - self.even) * found

    def factors(
        self,
        linear: Float[np.ndarray, "t m y x"],
        variance: Float[np.ndarray, "t y2 x2"],
        errors: Float[np.ndarray, " t"],
        inside: tuple[slice, slice],
    ) -> Float[np.ndarray, "t y2 x2"]:
        """The factor of D in several frames.

        Args:
            linear, variance, errors, inside: as in `features`.

        Returns:
            The factor of each pixel's variance.
        """
        return np.stack(
            [self(shown) for shown in features(linear, variance, errors, inside, self.floor)]
        )


def features(
    linear: Float[np.ndarray, "t m y x"],
    variance: Float[np.ndarray, "t y2 x2"],
    errors: Float[np.ndarray, " t"],
    inside: tuple[slice, slice],
    floor: float,
) -> Iterator[Float[np.ndarray, "f y2 x2"]]:
    """What the error of a prediction may depend on, before it is standardised, frame by frame.

    Args:
        linear: the linear predictions, those from the past and the future first, the best one last [network's units].
        variance: of the network, of the pixels `inside` [intensity²].
        errors: of the frames [intensity²].
        inside: rows and columns of `linear` that are wanted.
        floor: of slopes and differences [network's units].

    Yields:
        The features of each frame.
    """
    for frame, own, error in zip(linear, variance, errors, strict=True):
        best = frame[-1].astype(np.float64)
        squares = [
            sum(ndimage.gaussian_filter(best, s, order=o)[inside] ** 2 for o in ((1, 0), (0, 1)))
            for s in SLOPE_WIDTHS
        ]
        narrow, wide = (ndimage.gaussian_filter(best, s)[inside] for s in CURVATURE_WIDTHS)
        past_less_future = (frame[0] - frame[1]).astype(np.float64)
        change = ndimage.gaussian_filter(past_less_future**2, SLOPE_WIDTHS[0])
        squares += [(narrow - wide) ** 2, change[inside]]
        yield np.stack(
            [
                np.log(own.astype(np.float64)),
                np.full(own.shape, np.log(float(error))),
                *(np.log(s + floor**2) for s in squares),
                best[inside],
            ]
        )


def features_at(
    linear: Float[np.ndarray, "t m y x"],
    variance: Float[np.ndarray, "t y x"],
    errors: Float[np.ndarray, " t"],
    chosen: Bool[np.ndarray, "t y x"],
    floor: float,
) -> Float[np.ndarray, "n f"]:
    """The features of chosen pixels of whole frames.

    Args:
        linear, variance, errors, floor: as in `features`.
        chosen: the pixels.

    Returns:
        The features, by pixel.
    """
    inside = (slice(variance.shape[1]), slice(variance.shape[2]))
    frames = zip(features(linear, variance, errors, inside, floor), chosen, strict=True)
    return np.concatenate([shown[:, wanted] for shown, wanted in frames], axis=1).T


def fit_variance_model(
    shown: Float[np.ndarray, "n f"],
    squares: Float[np.ndarray, " n"],
    believed: Float[np.ndarray, " n"],
    floor: float,
    shared: float,
) -> VarianceModel:
    """The model of the variance of known errors.

    Args:
        shown: features, by pixel.
        squares: squared errors [intensity²].
        believed: D, in any unit.
        floor: as in `features`.
        shared: s, of these pixels.

    Returns:
        The model.
    """
    middle, width = shown.mean(axis=0), np.maximum(shown.std(axis=0), 1e-6)
    terms = np.column_stack([np.ones(len(shown)), standardised_terms(shown, middle, width)])
    level = max(float(np.mean(squares)), float(np.finfo(float).tiny))
    ratio = squares / level * np.mean(believed) / believed
    narrow = np.append(0.0, np.full(terms.shape[1] - 1, COEFFICIENT_SD**-2))

    def cost(beta: np.ndarray) -> tuple[float, np.ndarray]:
        log = np.clip(terms @ beta, -_LARGEST_LOG, _LARGEST_LOG)
        left = ratio * np.exp(-log)
        value = np.sum(left + log) / shared + 0.5 * np.sum(narrow * beta**2)
        return float(value), terms.T @ (1 - left) / shared + narrow * beta

    def curvature(beta: np.ndarray) -> np.ndarray:
        left = ratio * np.exp(-np.clip(terms @ beta, -_LARGEST_LOG, _LARGEST_LOG))
        return (terms * left[:, None]).T @ terms / shared + np.diag(narrow + 1e-9)

    start = np.zeros(terms.shape[1])
    found = optimize.minimize(cost, start, jac=True, hess=curvature, method="trust-exact")
    return VarianceModel(floor, middle, width, found.x[1:])


def pixels_per_error(error: Float[np.ndarray, "t y x"]) -> float:
    """How many pixels share a value of a squared error: Σ ρ² over the lags of its autocorrelation ρ."""
    middle = tuple(
        slice((n - min(n, most)) // 2, (n + min(n, most)) // 2)
        for n, most in zip(error.shape, _SHARING_WINDOW, strict=True)
    )
    error = error[middle].astype(np.float64)
    power = np.abs(np.fft.fftn(error)) ** 2
    total = float(power.sum())
    # Each frequency's power is known from one value, whose square is twice that of the power itself.
    return max(0.5 * error.size * float(np.sum(power**2)) / total**2, 1.0) if total > 0 else 1.0


def standardised_terms(
    shown: Float[np.ndarray, "n f"],
    middle: Float[np.ndarray, " f"],
    width: Float[np.ndarray, " f"],
) -> Float[np.ndarray, "n q"]:
    """Standardised features and their products.

    Args:
        shown: features, by pixel.
        middle, width: mean and sd of each feature.

    Returns:
        The terms of the model, without the constant.
    """
    unit = np.clip((shown - middle) / width, -CLIPPED_AT, CLIPPED_AT)
    one, other = np.triu_indices(unit.shape[1])
    return np.column_stack([unit, unit[:, one] * unit[:, other]])
