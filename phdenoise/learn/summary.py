"""From an optimum to a `FitResult`: numbers in the movie's units with intervals, curves, and a sentence."""

from dataclasses import asdict, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from phdenoise.learn.config import FitConfig
from phdenoise.learn.derived import Derived, derive
from phdenoise.learn.edges import described
from phdenoise.learn.fit_problem import FitProblem, Observes
from phdenoise.learn.gauss_newton import Minimum
from phdenoise.learn.identifiability import identify
from phdenoise.learn.laws import Units, curve_values, label
from phdenoise.learn.misfit import CAUSES, Misfit
from phdenoise.learn.posterior_form import LogPosterior
from phdenoise.learn.result import FitResult, Parameter
from phdenoise.learn.uncertainty import Assessed, assess, profiled_name, stretched
from phdenoise.movie import Movie
from phdenoise.physics.domain import smooth_inside
from phdenoise.physics.equations.base import Law
from phdenoise.physics.law_parameters import Component, Parameters, rescaled
from phdenoise.types import Progress

# Concentrations of the reported curves: enough to draw them.
CURVE_POINTS = 101
# Draws of the law of which derived numbers are worked out: their 5 % quantile has an error of 1.5 % in probability.
DERIVED_DRAWS = 200
# Shift of a joint fit by solver steps of half the length [posterior standard deviations] above which the sentence says so.
REPORTED_SOLVER_BIAS = 1.0
# Share of the change over time below which a law explains too little for a verdict: noise that lasts and what is not modelled are then
# most of it.
LEAST_EXPLAINED = 0.2


class Optimum(NamedTuple):
    """Where a fit ended.

    Attributes:
        minimum: of the descent.
        theta, covariance: the law and its covariance.
        statistics: of the fit.
        information: JᵀJ of θ, an initial field marginalised [p, p].
        newton_decrement: how far a last step would go, in standard deviations.
        log_posterior: its posterior.
        misfit: the tests of the law; None where the solve diverged.
    """

    minimum: Minimum
    theta: np.ndarray
    covariance: np.ndarray
    statistics: dict[str, float]
    information: np.ndarray
    newton_decrement: float
    log_posterior: LogPosterior
    misfit: Misfit | None


def summarise(
    movie: Movie,
    family: Parameters,
    config: FitConfig,
    fit_problem: FitProblem,
    optimum: Optimum,
    progress: Progress | None = None,
) -> FitResult:
    """Numbers in the movie's units, with standard deviations and a sentence.

    Args:
        movie: as measured.
        family: what the components of θ are.
        config: settings.
        fit_problem: the movie as concentration.
        optimum: where the fit ended.
        progress: called with (stage, step, steps, value).

    Returns:
        The result.
    """
    units, statistics = fit_problem.units, dict(optimum.statistics)
    minimum, theta, covariance = optimum.minimum, optimum.theta, optimum.covariance
    finite = bool(np.isfinite(minimum.cost) and np.isfinite(covariance).all())
    if not finite:
        covariance = np.full((family.size, family.size), np.nan)
    visited = _visited(fit_problem, family.law.bounded)
    assessed = assess(
        config,
        family,
        theta,
        covariance,
        optimum.log_posterior if finite else None,
        visited=visited,
        units=units,
        progress=progress,
    )
    if assessed.method in ("bootstrap", "nuts"):
        covariance = np.cov(assessed.laws.T).reshape(family.size, family.size)
    intervals = _intervals(family, assessed, units)
    sd = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    parameters = [
        _parameter(component, value, spread, units)
        for component, value, spread in zip(family.components, theta, sd, strict=True)
    ]
    kappa = next((p for p in parameters if p.name == "kappa"), None)
    curves = _curves(family, theta, covariance, assessed, visited, units)
    if kappa is not None:
        statistics["kappa_low"], statistics["kappa_high"] = intervals["kappa"]
    known = _identified(family, optimum.information)
    law = rescaled(family.build(jnp.asarray(theta)), 1 / units.length, 1 / units.time)
    misfit = optimum.misfit if finite else None
    judged = _outcome(config, minimum, misfit, _trust(law, curves, parameters), statistics)
    return FitResult(
        model=label(family.law),
        outcome=judged.outcome,
        converged=finite and minimum.converged,
        holds=judged.holds,
        misfit=_tests(misfit),
        parameters=tuple(parameters),
        curves=curves,
        kappa=kappa,
        statistics=statistics,
        theta=np.asarray(theta, float),
        covariance=covariance,
        frames_used=(fit_problem.first, fit_problem.first + fit_problem.observed.shape[0]),
        history=minimum.history,
        intervals=intervals,
        derived=_derived(family, theta, assessed, visited, units),
        convergence=_convergence(optimum),
        identifiability=known,
        uncertainty=_uncertainty(assessed),
        settings={**asdict(config), **_used(fit_problem, law)},
        provenance={
            "movie": movie.name,
            "input": dict(movie.provenance),
            "sentences": list(fit_problem.sentences),
        },
        law=law,
    )


def _identified(family: Parameters, information: np.ndarray) -> dict[str, Any]:
    """What the data say of the law's directions."""
    known = identify(
        information, family.sd, family.names, tuple(c.label for c in family.components)
    )
    return {} if known is None else asdict(known)


def _visited(fit_problem: FitProblem, bounded: bool) -> tuple[float, float]:
    """Lowest and highest concentration of the movie, but for outliers."""
    believed = smooth_inside(fit_problem.believed, fit_problem.inside, (1.0, 1.0, 1.0))
    low, high = np.quantile(believed[fit_problem.valid], [0.005, 0.995])
    if bounded:
        low, high = np.clip([low, high], 0.01, 0.99)
    return float(low), float(max(high, low + 1e-3))


def _convergence(optimum: Optimum) -> dict[str, Any]:
    """How the descent ended; JSON has no nan."""
    minimum, left = optimum.minimum, optimum.newton_decrement
    return {
        "message": minimum.message,
        "iterations": len(minimum.history) - 1,
        "cost": minimum.cost if np.isfinite(minimum.cost) else None,
        "away_sd": left if np.isfinite(left) else None,
    }


def _uncertainty(assessed: Assessed) -> dict[str, Any]:
    """Method of the intervals, their level, and what the method reports of itself."""
    about = {"method": assessed.method, "level": 0.9, "sentence": assessed.sentence}
    return {**about, **assessed.statistics}


def _used(fit_problem: FitProblem, law: Law) -> dict[str, Any]:
    """What the settings left open and the fit chose."""
    text = fit_problem.units.text
    return {
        "boundary_used": described(fit_problem.faces),
        "boundary_evidence": {s: dict(e) for s, e in fit_problem.evidence.items()},
        "binning": fit_problem.binning,
        **_scale(fit_problem.observation),
        "diffusivity_unit": next((text(c.dimension) for c in law.curves() if c.name == "D"), ""),
    }


def _scale(observation: Observes) -> dict[str, Any]:
    """Intensities of c = 0 and c = 1 of an affine observation, for FIT.json; the name of another."""
    slope, offset = (getattr(observation, name, None) for name in ("slope", "offset"))
    if slope is None or offset is None:
        return {"observation": type(observation).__name__}
    return {"scale_low": float(offset), "scale_high": float(offset) + 1.0 / float(slope)}


def _intervals(
    family: Parameters, assessed: Assessed, units: Units
) -> dict[str, tuple[float, float]]:
    """90 % intervals of the parameters in the movie's units."""
    found = {}
    for i, component in enumerate(family.components):
        low, high = np.quantile(assessed.laws[:, i], (0.05, 0.95))
        profiled = assessed.intervals.get(component.name, (np.nan, np.nan))
        low, high = (p if np.isfinite(p) else e for p, e in zip(profiled, (low, high), strict=True))
        low, high = (_parameter(component, e, 0.0, units).value for e in (low, high))
        found[component.reported] = (low, high)
    return found


def _parameter(component: Component, theta: float, sd: float, units: Units) -> Parameter:
    """A component of θ as a value in the movie's units."""
    factor, unit = units.factor(component.dimension), units.text(component.dimension)
    with jax.enable_x64(True):
        forward, at = component.bijection.forward, jnp.asarray(float(theta))
        value, slope = (float(a) for a in jax.value_and_grad(forward)(at))
    if component.logarithmic:
        return Parameter(
            component.reported, value + float(np.log(factor)), slope * float(sd), f"ln({unit})"
        )
    return Parameter(component.reported, value * factor, slope * factor * float(sd), unit)


def _derived(
    family: Parameters,
    theta: np.ndarray,
    assessed: Assessed,
    visited: tuple[float, float],
    units: Units,
) -> tuple[Derived, ...]:
    """Derived numbers with the intervals of the method asked for."""
    laws = assessed.laws[:: max(1, len(assessed.laws) // DERIVED_DRAWS)]
    if not np.isfinite(laws).all():
        return ()
    found = []
    for number in derive(family, theta, laws, visited, units):
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
    family: Parameters,
    theta: np.ndarray,
    covariance: np.ndarray,
    assessed: Assessed,
    visited: tuple[float, float],
    units: Units,
) -> dict[str, np.ndarray]:
    """Curves of a law over the observed range of c, with standard deviations (delta method) and 90 % intervals.

    The intervals are quantiles of draws along the curves of `Law.error_step`: where two curves trade off, as D and μ_h do, they
    are far from symmetric.
    """
    c = jnp.linspace(*visited, CURVE_POINTS)
    point = jnp.asarray(theta, c.dtype)
    values = curve_values(family, point, c)
    slopes = jax.jacfwd(lambda th: curve_values(family, th, c))(point)
    draws = jnp.asarray(assessed.laws, c.dtype)
    many = jax.vmap(lambda th: curve_values(family, th, c))(draws)
    found = {"c": np.asarray(c, float)}
    for curve in family.law.curves():
        name, rows = curve.name, np.asarray(slopes[curve.name], float)
        value = np.asarray(values[name], float)
        sd = np.sqrt(np.maximum(np.einsum("ip,pq,iq->i", rows, covariance, rows), 0.0))
        low, high = np.quantile(np.asarray(many[name], float), (0.05, 0.95), axis=0)
        if assessed.intervals:
            profiled = profiled_name(curve)
            low, high = stretched(found["c"], value, (low, high), assessed.intervals, profiled)
        factor = units.factor(curve.dimension)
        if curve.logarithmic:
            value, low, high = (np.exp(a) * factor for a in (value, low, high))
            sd = value * sd
        else:
            value, sd, low, high = (a * factor for a in (value, sd, low, high))
        edges = {f"{name}_low": low, f"{name}_high": high}
        found |= {name: value, f"{name}_sd": sd, **edges}
    return found


class Trust(NamedTuple):
    """How well a law is known: the symbol of the quantity that tells, and the median of its sd as a share of it."""

    symbol: str
    relative: float


def _trust(law: Law, curves: dict[str, np.ndarray], parameters: list[Parameter]) -> Trust:
    """By the first positive curve of the law, else by its parameters."""
    for curve in law.curves():
        if curve.logarithmic:
            relative = np.median(curves[f"{curve.name}_sd"] / curves[curve.name])
            return Trust(curve.symbol, float(relative))
    relative = np.median([p.sd / max(abs(p.value), 1e-300) for p in parameters])
    return Trust("the law", float(relative))


class _Judged(NamedTuple):
    """Whether a law holds, None where that cannot be told, and the sentence that says so."""

    holds: bool | None
    outcome: str


def _outcome(
    config: FitConfig,
    minimum: Minimum,
    misfit: Misfit | None,
    known: Trust,
    statistics: dict[str, float],
) -> _Judged:
    """The verdict, and one sentence on the numbers after it."""
    how = "joint fit" if config.joint else "fit"
    if misfit is None:
        said = f"No law was fitted: {minimum.message}; the {how}'s numbers mean nothing."
        return _Judged(None, said)
    explained = statistics["explained_variance"]
    share = f"{100 * max(explained, 0.0):.1f} %"
    state = "converged" if minimum.converged else minimum.message
    numbers = f"The {how} {state}: the law accounts for {share} of the change over time"
    if not misfit.holds:
        return _Judged(
            False,
            f"The law does not hold: {misfit.sentence}. {numbers}; its numbers describe the nearest "
            "law of its kind, and their intervals are widened by what is missing.",
        )
    name, relative = known
    trust = "well determined" if relative < 0.1 else "weakly determined" if relative < 1 else "open"
    numbers = f"{numbers}, {name} is {trust} (median sd {100 * relative:.1f} %)"
    if not minimum.converged:
        return _Judged(None, f"Cannot tell whether the law holds. {numbers}.")
    if explained < LEAST_EXPLAINED:
        return _Judged(
            None,
            f"Cannot tell whether the law holds: most of the change over time is not the law's. {numbers}.",
        )
    bias = statistics["solver_bias_sd"]
    if bias > REPORTED_SOLVER_BIAS:
        numbers = f"{numbers}; solver steps of half the length would move it by {bias:.1f} sd: give more substeps"
    return _Judged(
        True, f"The law holds: {misfit.tests} tests find no misfit beyond noise. {numbers}."
    )


def _tests(misfit: Misfit | None) -> dict[str, Any]:
    """The tests of the law as plain values for FIT.json."""
    if misfit is None:
        return {}
    return {
        "tests": misfit.tests,
        "noise": misfit.noise,
        "structure": misfit.structure,
        "findings": [
            {
                "name": f.name,
                "looks_like": CAUSES[f.name].looks,
                "try": CAUSES[f.name].advice,
                "p": f.p,
                "size": f.size,
                "amount": f.amount.tolist(),
                "sd": [v if np.isfinite(v) else None for v in f.sd.tolist()],
            }
            for f in misfit.findings
        ],
    }


def nothing_moves(movie: Movie, law: Law, config: FitConfig, fit_problem: FitProblem) -> FitResult:
    """The result for a movie in which nothing moves beyond noise: no numbers, and why.

    Args:
        movie: as measured.
        law: that was to be fitted.
        config: settings.
        fit_problem: the movie as concentration.

    Returns:
        A result without parameters and curves.
    """
    frames = fit_problem.observed.shape[0]
    return FitResult(
        model=label(law),
        outcome=f"Nothing moves: over {frames} frames the change is no more than noise, so no law was "
        "fitted. Film for longer, or average frames.",
        converged=False,
        holds=None,
        parameters=(),
        curves={},
        kappa=None,
        statistics={},
        theta=np.zeros(0),
        covariance=np.zeros((0, 0)),
        frames_used=(fit_problem.first, fit_problem.first + frames),
        settings={**asdict(config), **_used(fit_problem, law)},
        provenance={
            "movie": movie.name,
            "input": dict(movie.provenance),
            "sentences": list(fit_problem.sentences),
        },
    )
