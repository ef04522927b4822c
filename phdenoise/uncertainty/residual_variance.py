"""Where in a frame a prediction is wrong, from its residuals alone: the variance model without a bootstrap.

    E[(y − μ)²] = v + D [e + (1 − e) exp(φᵀ β)] = s,     β = argmin Σ_x ½ [r²/s + ln s]/n + |β|²/2ς²

Noise v is known, D is the error as believed before, of which the share e is noise that passes the filter, everywhere alike. Noise hides the error of one pixel, but a movie has many pixels and the
model few coefficients (`phdenoise.uncertainty.variance_model`). n pixels share a value of the noise. The steps are those of
Fisher scoring: McCullagh and Nelder, Generalized Linear Models, 1989, section 2.5.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import optimize

from phdenoise.networks.context import MovieArrays
from phdenoise.types import Moments
from phdenoise.uncertainty.predictive_variance import PredictiveVariance
from phdenoise.uncertainty.variance_model import (
    COEFFICIENT_SD,
    SLOPE_FLOOR,
    VarianceModel,
    features_at,
    standardised_terms,
)

# Pixels that the model is fitted to, at most: each coefficient is then known to a few percent where the error is a tenth of
# the noise variance.
_FITTED_PIXELS = 200_000
# Squared residuals count up to this [of the variance]: five standard deviations, beyond which values are no noise.
_LARGEST_SQUARE = 25.0
# Smallest size of slopes that count [network's units]: rounding of single precision.
_ROUNDING = 1e-6
# Mean slope of the likelihood by a coefficient below which the search ends [1/px]: a tenth of what chance makes it.
_SLOPE = 1e-5
# The log of the variance's factor is kept within this in the search.
_LARGEST_LOG = 10.0


class Residuals(NamedTuple):
    """What a prediction leaves of a movie.

    Attributes:
        values: measured less predicted [t, y, x] [intensity].
        level: variance of the noise in them [t, y, x] [intensity²].
        valid: where they count [t, y, x].
    """

    values: Float[np.ndarray, "t y x"]
    level: Float[np.ndarray, "t y x"]
    valid: Bool[np.ndarray, "t y x"]


def fit_residual_variance(
    variance: PredictiveVariance,
    arrays: MovieArrays,
    raw: Moments,
    residuals: Residuals,
    spread: float,
    even: float,
) -> VarianceModel:
    """The variance model that makes the residuals most likely.

    Args:
        variance: as believed before.
        arrays, raw: input of the network, and its prediction.
        residuals: of the prediction.
        spread: intensity of the network's unit.
        even: share of the error that is the same everywhere.

    Returns:
        The model.
    """
    assert arrays.linear is not None
    values, level, valid = residuals
    rows, columns = (slice(n) for n in values.shape[1:])
    believed = np.asarray(variance(arrays, raw, (rows, columns)).var, np.float64)
    floor = SLOPE_FLOOR * max(float(np.sqrt(believed[valid].mean())) / spread, _ROUNDING)
    share = min(_FITTED_PIXELS / valid.sum(), 1.0)
    chosen = valid & (np.random.default_rng(0).random(valid.shape) < share)
    linear = np.asarray(arrays.linear[: len(values)])[:, :, rows, columns]
    shown = features_at(linear, np.asarray(raw.var), variance.errors[: len(values)], chosen, floor)
    middle, width = shown.mean(axis=0), np.maximum(shown.std(axis=0), _ROUNDING)
    terms = np.column_stack([np.ones(len(shown)), standardised_terms(shown, middle, width)])
    unit = max(float(level[chosen].mean()), float(np.finfo(float).tiny))
    noise = np.maximum(level[chosen], 0.0) / unit
    error, squares = believed[chosen] / unit, values[chosen] ** 2 / unit
    coefficients = _most_likely(terms, noise + even * error, (1 - even) * error, squares)
    return VarianceModel(floor, middle, width, coefficients[1:], even)


def _most_likely(
    terms: np.ndarray, noise: np.ndarray, error: np.ndarray, squares: np.ndarray
) -> np.ndarray:
    """β, the constant first."""
    count = len(terms)
    narrow = np.append(0.0, np.full(terms.shape[1] - 1, COEFFICIENT_SD**-2)) / count

    def parts(beta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        own = error * np.exp(np.clip(terms @ beta, -_LARGEST_LOG, _LARGEST_LOG))
        total = noise + own
        return own / total, np.minimum(squares / total, _LARGEST_SQUARE), total

    def cost(beta: np.ndarray) -> tuple[float, np.ndarray]:
        share, square, total = parts(beta)
        value = 0.5 * np.mean(square + np.log(total)) + 0.5 * np.sum(narrow * beta**2)
        return float(value), 0.5 * terms.T @ (share * (1 - square)) / count + narrow * beta

    def information(beta: np.ndarray) -> np.ndarray:
        share, _, _ = parts(beta)
        return 0.5 * (terms * share[:, None] ** 2).T @ terms / count + np.diag(narrow)

    start = np.zeros(terms.shape[1])
    found = optimize.minimize(
        cost, start, jac=True, hess=information, method="trust-exact", options={"gtol": _SLOPE}
    )
    return np.asarray(found.x)
