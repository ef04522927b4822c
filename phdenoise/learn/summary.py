"""From an optimum to a `FitResult`: numbers in the movie's units with intervals, curves, and a sentence."""

from dataclasses import asdict

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from phdenoise.learn.config import FitConfig
from phdenoise.learn.gauss_newton import Minimum
from phdenoise.learn.laws import LawSpace, Units, law_curves
from phdenoise.learn.result import FitResult, Parameter
from phdenoise.learn.setting import Setting
from phdenoise.movie import Movie

CURVE_POINTS = 101
# Draws of the law for its intervals.
DRAWS = 2000


def summarise(
    movie: Movie,
    space: LawSpace,
    config: FitConfig,
    setting: Setting,
    minimum: Minimum,
    theta: np.ndarray,
    covariance: np.ndarray,
    statistics: dict[str, float],
) -> FitResult:
    """Numbers in the movie's units, with standard deviations and a sentence."""
    units = setting.units
    finite = bool(np.isfinite(minimum.cost) and np.isfinite(covariance).all())
    if not finite:
        covariance = np.full((space.size, space.size), np.nan)
    sd = np.sqrt(np.maximum(np.diag(covariance), 0.0))
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
    believed = ndimage.gaussian_filter(setting.believed, 1.0)
    low, high = np.clip(np.quantile(believed[setting.valid], [0.005, 0.995]), 0.01, 0.99)
    curves = _curves(space, theta, covariance, low, high, units)
    if kappa is not None:
        log_kappa = _draws(space, theta, covariance)[:, -1]
        for name, edge in zip(("kappa_low", "kappa_high"), (0.05, 0.95), strict=True):
            statistics[name] = float(np.exp(np.quantile(log_kappa, edge))) * units.kappa
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


def _curves(
    space: LawSpace,
    theta: np.ndarray,
    covariance: np.ndarray,
    low: float,
    high: float,
    units: Units,
) -> dict[str, np.ndarray]:
    """μ_h and D over the observed range of c, with standard deviations (delta method) and 90 % intervals.

    The intervals are quantiles of draws along the curves of `LawSpace.spread`: μ_h is a well-known flux over an
    ill-known D, so where D is uncertain by half of itself they are far from symmetric.
    """
    c = jnp.linspace(low, max(high, low + 1e-3), CURVE_POINTS)
    point = jnp.asarray(theta, c.dtype)
    mu, log_d = law_curves(space, point, c)
    slopes = jax.jacfwd(lambda th: law_curves(space, th, c))(point)
    mu_sd, log_d_sd = (
        np.sqrt(np.maximum(np.einsum("ip,pq,iq->i", j, covariance, j), 0.0))
        for j in (np.asarray(s, float) for s in slopes)
    )
    d = np.exp(np.asarray(log_d, float)) * units.diffusivity
    draws = jnp.asarray(_draws(space, theta, covariance), c.dtype)
    many = jax.vmap(lambda th: law_curves(space, th, c))(draws)
    mu_low, mu_high, log_low, log_high = (
        edge for a in many for edge in np.quantile(np.asarray(a, float), (0.05, 0.95), axis=0)
    )
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


def _draws(space: LawSpace, theta: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Laws [DRAWS, p] from the posterior, the same ones every time; θ alone where there is none."""
    if not np.isfinite(covariance).all():
        return np.full((1, space.size), np.nan)
    values, vectors = np.linalg.eigh(0.5 * (covariance + covariance.T))
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    white = np.random.default_rng(0).standard_normal((DRAWS // 2, space.size))
    # With each draw its mirror image: quantiles of few draws are then as symmetric as the law allows.
    return space.spread(theta, np.concatenate([white, -white]) @ root.T)


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
    return (
        f"The {how} {state}: the law accounts for {share} of the change over time, {name} is {trust} "
        f"(median sd {100 * relative:.1f} %){caveat}.",
        minimum.converged,
    )
