"""How far to trust a law, by the method asked for: Laplace, profile likelihood, bootstrap or NUTS.

Laplace, bootstrap and NUTS give laws within the uncertainty, of which every band is a quantile; the profile gives the
bands themselves, at some concentrations, between which they are interpolated in units of Laplace's.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from phdenoise.learn.config import FitConfig
from phdenoise.learn.derived import numbers
from phdenoise.learn.laws import Units, curve_values
from phdenoise.learn.posterior_form import LogPosterior
from phdenoise.learn.profile import Scalar, profile
from phdenoise.learn.sampling import bootstrap, nuts
from phdenoise.physics.equations.base import Curve
from phdenoise.physics.law_parameters import Parameters
from phdenoise.types import Progress

Method = Literal["laplace", "profile", "bootstrap", "nuts"]
# Draws of the law for its intervals: the 5 % quantile then has an error of 0.5 % in probability.
LAPLACE_DRAWS = 2000
# Concentrations at which curves are profiled; between them Laplace's band is stretched. Each costs two constrained fits.
PROFILED_POINTS = 7


# Resampled fits, or samples of each chain, where the settings leave the number open: standard deviations are then known to
# 9 % (60 fits, each of several solves) and about 6 % (2 chains of 300 correlated samples).
DEFAULT_DRAWS: Mapping[str, int] = {"bootstrap": 60, "nuts": 300}


class Assessed(NamedTuple):
    """Laws within the uncertainty [n, p], 90 % intervals of profiled numbers, and what to report."""

    method: Method
    laws: Float[np.ndarray, "n p"]
    intervals: dict[str, tuple[float, float]]
    statistics: dict[str, float]
    sentence: str


def assess(
    config: FitConfig,
    family: Parameters,
    theta: Float[np.ndarray, " p"],
    covariance: Float[np.ndarray, "p p"],
    log_posterior: LogPosterior | None,
    *,
    visited: tuple[float, float],
    units: Units,
    progress: Progress | None = None,
) -> Assessed:
    """The uncertainty of a law.

    Args:
        config: the method (see the module), the number of draws, and their seed.
        family, theta, covariance: the law, and its Laplace covariance.
        log_posterior: posterior; None (a fit that failed) leaves Laplace.
        visited: lowest and highest concentration of the movie.
        units: for the derived numbers.
        progress: called with (stage, step, steps, value).

    Returns:
        Laws within the uncertainty, and intervals of profiled numbers.
    """
    method, seed = config.uncertainty, config.seed
    draws = config.draws or DEFAULT_DRAWS.get(method, 0)
    laplace = laplace_laws(family, theta, covariance)
    if log_posterior is None or method == "laplace" or not np.isfinite(covariance).all():
        return Assessed("laplace", laplace, {}, {}, "Bands are of the Laplace approximation.")

    def step(i: int, n: int, value: float) -> None:
        if progress:
            progress(method, i, n, value)

    if method == "profile":
        found = profile(log_posterior, scalars(family, theta, visited, units), step)
        sentence = f"Bands are profile likelihoods of {len(found)} numbers."
        return Assessed(method, laplace, found, {"profiled": float(len(found))}, sentence)
    if method == "bootstrap":
        laws = bootstrap(log_posterior, replicates=draws, seed=seed, progress=step)
        sentence = f"Bands are of {len(laws)} fits to resampled residuals."
        about = {"replicates": float(len(laws))}
        # Too few successes say nothing.
        return Assessed(method, laws if len(laws) > 9 else laplace, {}, about, sentence)
    chains = nuts(
        log_posterior, samples=draws, warmup=max(150, draws // 2), seed=seed, progress=step
    )
    about = {
        "nuts_r_hat": chains.r_hat,
        "nuts_effective": chains.effective,
        "nuts_divergent": chains.divergent,
    }
    trust = "" if chains.r_hat < 1.05 else "; the chains have not mixed, take more samples"
    sentence = (
        f"Bands are of {len(chains.laws)} samples by NUTS (R-hat {chains.r_hat:.3f}, effective "
        f"size {chains.effective:.0f}{trust})."
    )
    return Assessed(method, chains.laws, {}, about, sentence)


def laplace_laws(
    family: Parameters, theta: Float[np.ndarray, " p"], covariance: Float[np.ndarray, "p p"]
) -> Float[np.ndarray, "n p"]:
    """Laws from the Laplace approximation, the same ones every time; nan where there is none.

    Args:
        family: what the components of θ are.
        theta: best law [p].
        covariance: of θ [p, p].

    Returns:
        θ of draws [n, p].
    """
    if not np.isfinite(covariance).all():
        return np.full((1, family.size), np.nan)
    values, vectors = np.linalg.eigh(0.5 * (covariance + covariance.T))
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    white = np.random.default_rng(0).standard_normal((LAPLACE_DRAWS // 2, family.size))
    # With each draw its mirror image: quantiles of few draws are then as symmetric as the law allows.
    return family.law.error_step(family, theta, np.concatenate([white, -white]) @ root.T)


def scalars(
    family: Parameters, theta: Float[np.ndarray, " p"], visited: tuple[float, float], units: Units
) -> dict[str, Scalar]:
    """What is profiled: parameters by name, "mu_h@i" and "ln_D@i" at knots, derived numbers.

    Args:
        family: what the components of θ are.
        theta: best law [p].
        visited: lowest and highest concentration of the movie.
        units: of the movie.

    Returns:
        Functions of θ by name.
    """
    found: dict[str, Scalar] = {}
    for i, name in enumerate(family.names):
        found[name] = _part(i)
    free = [curve for curve in family.law.curves() if not curve.known]
    for k, c in enumerate(knots(visited)):
        for curve in free:
            found[f"{profiled_name(curve)}@{k}"] = _curve(family, c, curve.name)
    for name in numbers(family, theta[None], units)[0]:
        found[name] = _derived(family, name, units)
    return found


def profiled_name(curve: Curve) -> str:
    """Name under which a curve is profiled: that of its logarithm where its errors are those of the logarithm."""
    return f"ln_{curve.name}" if curve.logarithmic else curve.name


def knots(visited: tuple[float, float]) -> Float[np.ndarray, " k"]:
    """Concentrations at which curves are profiled."""
    return np.linspace(*visited, PROFILED_POINTS)


def stretched(
    c: Float[np.ndarray, " c"],
    value: Float[np.ndarray, " c"],
    edges: tuple[Float[np.ndarray, " c"], Float[np.ndarray, " c"]],
    intervals: dict[str, tuple[float, float]],
    name: str,
) -> tuple[Float[np.ndarray, " c"], Float[np.ndarray, " c"]]:
    """Laplace's band of a curve with its half widths stretched to the profile's at the knots.

    Knots where a curve is certain (μ_h at c = ½, to which it is relative) or without a profile count as equal.

    Args:
        c: concentrations [c].
        value: the curve [c].
        edges: Laplace's band, lower and upper [c].
        intervals: profiled intervals by name.
        name: name under which the curve was profiled.

    Returns:
        Lower and upper edge [c].
    """
    places = knots((float(c[0]), float(c[-1])))
    bands = []
    for side, edge in enumerate(edges):
        ratio = []
        for k, place in enumerate(places):
            half = np.interp(place, c, edge - value)
            profiled = intervals.get(f"{name}@{k}", (np.nan, np.nan))[side]
            profiled -= np.interp(place, c, value)
            usable = np.isfinite(profiled) and abs(half) > 1e-9 and profiled / half > 0
            ratio.append(profiled / half if usable else np.nan)
        known = np.isfinite(ratio)
        grown = np.interp(c, places[known], np.array(ratio)[known]) if known.any() else 1.0
        bands.append(value + grown * (edge - value))
    return bands[0], bands[1]


def _part(i: int) -> Scalar:
    return lambda theta: float(theta[i])


def _curve(family: Parameters, c: float, which: str) -> Scalar:
    def value(theta: np.ndarray) -> float:
        # Differences of a profile are taken of it: double precision whatever the fit's.
        with jax.enable_x64(True):
            at = curve_values(family, jnp.asarray(theta, float), jnp.full((1,), c, float))
            return float(at[which][0])

    return value


def _derived(family: Parameters, name: str, units: Units) -> Scalar:
    def value(theta: np.ndarray) -> float:
        found = numbers(family, theta[None], units)[0]
        return found[name].value if name in found else float("nan")

    return value
