"""From an optimum to a `FitResult`: numbers in the movie's units with intervals, curves, and a sentence."""

from dataclasses import asdict, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from phdenoise.learn.config import FitConfig
from phdenoise.learn.derived import Derived, derive
from phdenoise.learn.gauss_newton import Minimum
from phdenoise.learn.identifiability import identify
from phdenoise.learn.laws import LawSpace, Units, law_curves
from phdenoise.learn.result import FitResult, Parameter
from phdenoise.learn.setting import Setting
from phdenoise.learn.target import Target
from phdenoise.learn.uncertainty import Assessed, assess, stretched
from phdenoise.movie import Movie
from phdenoise.types import Progress

CURVE_POINTS = 101
# Laws of which derived numbers are worked out.
DERIVED = 200
# Standard deviations by which shorter solver steps may move a joint fit before its sentence says so.
UNSOLVED = 1.0


class Optimum(NamedTuple):
    """Where a fit ended.

    Attributes:
        minimum: of the descent.
        theta, covariance: the law and its covariance.
        statistics: of the fit.
        information: JᵀJ of θ, an initial field marginalised [p, p].
        away: how far a last step would go, in standard deviations.
        target: its posterior.
    """

    minimum: Minimum
    theta: np.ndarray
    covariance: np.ndarray
    statistics: dict[str, float]
    information: np.ndarray
    away: float
    target: Target


def summarise(
    movie: Movie,
    space: LawSpace,
    config: FitConfig,
    setting: Setting,
    optimum: Optimum,
    progress: Progress | None = None,
) -> FitResult:
    """Numbers in the movie's units, with standard deviations and a sentence."""
    units, statistics = setting.units, dict(optimum.statistics)
    minimum, theta, covariance = optimum.minimum, optimum.theta, optimum.covariance
    finite = bool(np.isfinite(minimum.cost) and np.isfinite(covariance).all())
    if not finite:
        covariance = np.full((space.size, space.size), np.nan)
    believed = ndimage.gaussian_filter(setting.believed, 1.0)
    low, high = np.clip(np.quantile(believed[setting.valid], [0.005, 0.995]), 0.01, 0.99)
    high = max(high, low + 1e-3)
    assessed = assess(
        config.uncertainty,
        space,
        theta,
        covariance,
        optimum.target if finite else None,
        visited=(float(low), float(high)),
        units=units,
        draws=config.draws or (300 if config.uncertainty == "nuts" else 60),
        seed=config.seed,
        progress=progress,
    )
    if assessed.method in ("bootstrap", "nuts"):
        covariance = np.cov(assessed.laws.T).reshape(space.size, space.size)
    sd = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    intervals = _intervals(space, assessed, units)
    parameters = []
    kappa = None
    for name, value, spread in zip(space.names, theta, sd, strict=True):
        if name == "ln_kappa":
            amount = float(np.exp(value)) * units.kappa
            kappa = Parameter("kappa", amount, amount * float(spread), units.kappa_unit)
            parameters.append(kappa)
        elif name == "q_0":
            shifted = float(value + np.log(units.diffusivity))
            parameters.append(
                Parameter(name, shifted, float(spread), f"ln({units.diffusivity_unit})")
            )
        else:
            unit = "kT" if name.startswith("p_") else "1"
            parameters.append(Parameter(name, float(value), float(spread), unit))
    curves = _curves(space, theta, covariance, assessed, low, high, units)
    if kappa is not None:
        statistics["kappa_low"], statistics["kappa_high"] = intervals["kappa"]
    known = identify(optimum.information, space.prior_sd(), space.names, space.mobility_letter)
    outcome, converged = _outcome(config, minimum, finite, curves, statistics, units)
    return FitResult(
        model=space.model,
        outcome=outcome,
        converged=converged,
        parameters=tuple(parameters),
        curves=curves,
        kappa=kappa,
        statistics=statistics,
        theta=np.asarray(theta, float),
        covariance=covariance,
        frames_used=(setting.first, setting.first + setting.observed.shape[0]),
        history=minimum.history,
        intervals=intervals,
        derived=_derived(space, theta, assessed, (float(low), float(high)), units),
        convergence={
            "message": minimum.message,
            "iterations": len(minimum.history) - 1,
            "cost": minimum.cost if np.isfinite(minimum.cost) else None,
            "away_sd": optimum.away if np.isfinite(optimum.away) else None,
        },
        identifiability={} if known is None else asdict(known),
        uncertainty={
            "method": assessed.method,
            "level": 0.9,
            "sentence": assessed.sentence,
            **assessed.statistics,
        },
        settings={
            **asdict(config),
            "boundary_used": setting.grid.boundary,
            "binning": setting.binning,
            "scale_low": setting.offset,
            "scale_high": setting.offset + 1.0 / setting.slope,
            "diffusivity_unit": units.diffusivity_unit,
        },
        provenance={
            "movie": movie.name,
            "input": dict(movie.provenance),
            "sentences": list(setting.sentences),
        },
    )


def _intervals(space: LawSpace, assessed: Assessed, units: Units) -> dict[str, tuple[float, float]]:
    """90 % intervals of the parameters in the movie's units."""
    found = {}
    for i, name in enumerate(space.names):
        low, high = np.quantile(assessed.laws[:, i], (0.05, 0.95))
        profiled = assessed.intervals.get(name, (np.nan, np.nan))
        low, high = (p if np.isfinite(p) else e for p, e in zip(profiled, (low, high), strict=True))
        if name == "ln_kappa":
            name, low, high = "kappa", np.exp(low) * units.kappa, np.exp(high) * units.kappa
        elif name == "q_0":
            low, high = (e + np.log(units.diffusivity) for e in (low, high))
        found[name] = (float(low), float(high))
    return found


def _derived(
    space: LawSpace,
    theta: np.ndarray,
    assessed: Assessed,
    visited: tuple[float, float],
    units: Units,
) -> tuple[Derived, ...]:
    """Derived numbers with the intervals of the method asked for."""
    laws = assessed.laws[:: max(1, len(assessed.laws) // DERIVED)]
    if not np.isfinite(laws).all():
        return ()
    found = []
    for number in derive(space, theta, laws, visited, units):
        low, high = assessed.intervals.get(number.name, (np.nan, np.nan))
        found.append(
            replace(
                number,
                low=low if np.isfinite(low) else number.low,
                high=high if np.isfinite(high) else number.high,
            )
        )
    return tuple(found)


def _curves(
    space: LawSpace,
    theta: np.ndarray,
    covariance: np.ndarray,
    assessed: Assessed,
    low: float,
    high: float,
    units: Units,
) -> dict[str, np.ndarray]:
    """μ_h and D over the observed range of c, with standard deviations (delta method) and 90 % intervals.

    The intervals are quantiles of draws along the curves of `LawSpace.spread`: μ_h is a well-known flux over an
    ill-known D, so where D is uncertain by half of itself they are far from symmetric.
    """
    c = jnp.linspace(low, high, CURVE_POINTS)
    point = jnp.asarray(theta, c.dtype)
    mu, log_d = law_curves(space, point, c)
    slopes = jax.jacfwd(lambda th: law_curves(space, th, c))(point)
    mu_sd, log_d_sd = (
        np.sqrt(np.maximum(np.einsum("ip,pq,iq->i", j, covariance, j), 0.0))
        for j in (np.asarray(s, float) for s in slopes)
    )
    d = np.exp(np.asarray(log_d, float)) * units.diffusivity
    draws = jnp.asarray(assessed.laws, c.dtype)
    many = jax.vmap(lambda th: law_curves(space, th, c))(draws)
    mu_low, mu_high, log_low, log_high = (
        edge for a in many for edge in np.quantile(np.asarray(a, float), (0.05, 0.95), axis=0)
    )
    if assessed.intervals:
        places, mu_at, log_at = (np.asarray(a, float) for a in (c, mu, log_d))
        profiled = assessed.intervals
        mu_low, mu_high = stretched(places, mu_at, (mu_low, mu_high), profiled, "mu_h")
        log_low, log_high = stretched(places, log_at, (log_low, log_high), profiled, "ln_D")
    return {
        "c": np.asarray(c, float),
        "mu_h": np.asarray(mu, float),
        "mu_h_sd": mu_sd,
        "mu_h_low": mu_low,
        "mu_h_high": mu_high,
        "D": d,
        "D_sd": d * log_d_sd,
        "D_low": np.exp(log_low) * units.diffusivity,
        "D_high": np.exp(log_high) * units.diffusivity,
    }


def _outcome(
    config: FitConfig,
    minimum: Minimum,
    finite: bool,
    curves: dict[str, np.ndarray],
    statistics: dict[str, float],
    units: Units,
) -> tuple[str, bool]:
    """One sentence, and whether to call it converged."""
    how = "joint fit" if config.joint else "fit"
    if not finite:
        return f"No law was fitted: {minimum.message}; the {how}'s numbers mean nothing.", False
    explained = statistics["explained_variance"]
    share = f"{100 * max(explained, 0.0):.1f} %"
    if explained < 0.2:
        return (
            f"The movie does not move as this law says: it accounts for {share} of the change between "
            f"frames, so its parameters describe nothing physical here ({how} {minimum.message}).",
            minimum.converged,
        )
    relative = float(np.median(curves["D_sd"] / curves["D"]))
    trust = "well determined" if relative < 0.1 else "weakly determined" if relative < 1 else "open"
    name = "D" if units.conserved else "M"
    state = "converged" if minimum.converged else minimum.message
    caveat = (
        ""
        if config.joint or statistics["chi2_per_dof"] < 1e-2
        else "; noise in its start frames biases a face-value fit, prefer the joint fit"
    )
    bias = statistics["solver_bias_sd"]
    if config.joint and not bias <= UNSOLVED:
        caveat = (
            f"; solver steps of half the length would move it by {bias:.1f} sd: give more substeps"
        )
    return (
        f"The {how} {state}: the law accounts for {share} of the change over time, {name} is {trust} "
        f"(median sd {100 * relative:.1f} %){caveat}.",
        minimum.converged,
    )
