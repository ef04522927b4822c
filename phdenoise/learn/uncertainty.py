"""How far to trust a law, by the method asked for: Laplace, profile likelihood, bootstrap or NUTS.

Laplace, bootstrap and NUTS give laws within the uncertainty, of which every band is a quantile; the profile gives the
bands themselves, at some concentrations, between which they are interpolated in units of Laplace's.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from phdenoise.learn.derived import numbers
from phdenoise.learn.laws import LawSpace, Units, law_curves
from phdenoise.learn.profile import Scalar, profile
from phdenoise.learn.sampling import bootstrap, nuts
from phdenoise.learn.target import Target
from phdenoise.types import Progress

Method = Literal["laplace", "profile", "bootstrap", "nuts"]
# Draws of the law for its intervals.
DRAWS = 2000
# Concentrations at which curves are profiled.
KNOTS = 7


class Assessed(NamedTuple):
    """Laws within the uncertainty [n, p], 90 % intervals of profiled numbers, and what to report."""

    method: Method
    laws: Float[np.ndarray, "n p"]
    intervals: dict[str, tuple[float, float]]
    statistics: dict[str, float]
    sentence: str


def assess(
    method: Method,
    space: LawSpace,
    theta: Float[np.ndarray, " p"],
    covariance: Float[np.ndarray, "p p"],
    target: Target | None,
    *,
    visited: tuple[float, float],
    units: Units,
    draws: int,
    seed: int,
    progress: Progress | None = None,
) -> Assessed:
    """The uncertainty of a law.

    Args:
        method: see the module.
        space, theta, covariance: the law, and its Laplace covariance.
        target: posterior; None (a fit that failed) leaves Laplace.
        visited: lowest and highest concentration of the movie.
        units: for the derived numbers.
        draws: resampled fits, or samples of each chain.
        seed: of those.
        progress: called with (stage, step, steps, value).
    """
    laplace = laplace_laws(space, theta, covariance)
    if target is None or method == "laplace" or not np.isfinite(covariance).all():
        return Assessed("laplace", laplace, {}, {}, "Bands are of the Laplace approximation.")

    def step(i: int, n: int, value: float) -> None:
        if progress:
            progress(method, i, n, value)

    if method == "profile":
        found = profile(target, scalars(space, theta, visited, units), step)
        sentence = f"Bands are profile likelihoods of {len(found)} numbers."
        return Assessed(method, laplace, found, {"profiled": float(len(found))}, sentence)
    if method == "bootstrap":
        laws = bootstrap(target, replicates=draws, seed=seed, progress=step)
        sentence = f"Bands are of {len(laws)} fits to resampled residuals."
        about = {"replicates": float(len(laws))}
        # Too few successes say nothing.
        return Assessed(method, laws if len(laws) > 9 else laplace, {}, about, sentence)
    chains = nuts(target, samples=draws, warmup=max(150, draws // 2), seed=seed, progress=step)
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
    space: LawSpace, theta: Float[np.ndarray, " p"], covariance: Float[np.ndarray, "p p"]
) -> Float[np.ndarray, "n p"]:
    """Laws from the Laplace approximation, the same ones every time; nan where there is none."""
    if not np.isfinite(covariance).all():
        return np.full((1, space.size), np.nan)
    values, vectors = np.linalg.eigh(0.5 * (covariance + covariance.T))
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    white = np.random.default_rng(0).standard_normal((DRAWS // 2, space.size))
    # With each draw its mirror image: quantiles of few draws are then as symmetric as the law allows.
    return space.spread(theta, np.concatenate([white, -white]) @ root.T)


def scalars(
    space: LawSpace, theta: Float[np.ndarray, " p"], visited: tuple[float, float], units: Units
) -> dict[str, Scalar]:
    """What is profiled: parameters by name, "mu_h@i" and "ln_D@i" at knots, derived numbers."""
    found: dict[str, Scalar] = {}
    for i, name in enumerate(space.names):
        found[name] = _part(i)
    for k, c in enumerate(knots(visited)):
        if space.model != "fickian":
            found[f"mu_h@{k}"] = _curve(space, c, 0)
        found[f"ln_D@{k}"] = _curve(space, c, 1)
    for name in numbers(space, theta, units):
        found[name] = _derived(space, name, units)
    return found


def knots(visited: tuple[float, float]) -> Float[np.ndarray, " k"]:
    """Concentrations at which curves are profiled."""
    return np.linspace(*visited, KNOTS)


def stretched(
    c: Float[np.ndarray, " c"],
    value: Float[np.ndarray, " c"],
    edges: tuple[Float[np.ndarray, " c"], Float[np.ndarray, " c"]],
    intervals: dict[str, tuple[float, float]],
    name: str,
) -> tuple[Float[np.ndarray, " c"], Float[np.ndarray, " c"]]:
    """Laplace's band of a curve with its half widths stretched to the profile's at the knots.

    Knots where a curve is certain (μ_h at c = ½, to which it is relative) or without a profile count as equal.
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


def _curve(space: LawSpace, c: float, which: int) -> Scalar:
    def value(theta: np.ndarray) -> float:
        # Differences of a profile are taken of it: double precision whatever the fit's.
        with jax.enable_x64(True):
            at = law_curves(space, jnp.asarray(theta, float), jnp.full((1,), c, float))
            return float(at[which][0])

    return value


def _derived(space: LawSpace, name: str, units: Units) -> Scalar:
    return lambda theta: numbers(space, theta, units).get(name, float("nan"))
