"""`fit`: a movie and a family of laws in, the law with its intervals out.

Taken at face value (`joint=False`) a movie is fitted by multiple shooting from its own frames. With
`joint=True` the movie is denoised first, and then law, initial field and denoiser are fitted together to
the raw measurement.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from phdenoise.grid import Grid
from phdenoise.learn import joint as joint_fit
from phdenoise.learn.couple import Coupling, adapt_network
from phdenoise.learn.gauss_newton import Minimum
from phdenoise.learn.guess import regress_start, start_grid
from phdenoise.learn.laws import LawSpace, ModelName, Units, law_curves
from phdenoise.learn.objective import FieldPrior, Observation
from phdenoise.learn.result import FitResult, Parameter
from phdenoise.learn.shooting import cut_windows, fit_windows, pick_start
from phdenoise.modalities import choose_concentration
from phdenoise.movie import Estimate, Movie
from phdenoise.noise import estimate_noise
from phdenoise.physics import substeps_for
from phdenoise.training import DenoiseConfig, denoise
from phdenoise.types import InputError

CURVE_POINTS = 101
# Progress of a fit: (stage, iteration, iterations, cost).
Progress = Callable[[str, int, int, float], None]


@dataclass(frozen=True)
class FitConfig:
    """How to fit a law."""

    joint: bool = False
    """Fit law, initial field and denoiser together to the raw movie (otherwise: the movie at face value)."""
    enthalpy_degree: int = 5
    """Highest Legendre degree of the enthalpic part of mu_h."""
    mobility_degree: int = 4
    """Highest Legendre degree of ln D."""
    mobility_base: Literal["constant", "degenerate"] = "constant"
    """What the Legendre series of ln D multiplies: 1, or c(1-c)."""
    boundary: Literal["auto", "periodic", "no-flux"] = "auto"
    """Edges of the frame; auto: what the file says, else no-flux."""
    concentration: Literal["auto", "as-is", "scaled"] = "auto"
    """Intensity to lithium fraction: as-is (already a fraction), scaled (robust range to 0.05..0.95), auto."""
    concentration_range: tuple[float, float] | None = None
    """Intensities of c = 0 and c = 1 [intensity unit]; overrides `concentration`."""
    first_frame: int = -1
    """First frame used [index]; -1: where the contrast has developed."""
    max_frames: int = 32
    """Most frames used, from the first on."""
    windows: int = 4
    """Stretches for multiple shooting (face-value fit)."""
    window_frames: int = 6
    """Frames per stretch after its start (face-value fit)."""
    substeps: int = 0
    """Solver steps per frame interval; 0: chosen for `solver_tolerance`."""
    solver_tolerance: float = 1e-3
    """Relative error of the solver over one frame interval, for choosing `substeps`."""
    iterations: int = 40
    """Most Levenberg-Marquardt iterations per stage."""
    tolerance: float = 1e-4
    """Relative decrease of the cost at which a descent has converged."""
    cg_steps: int = 40
    """Conjugate-gradient steps per Gauss-Newton step (joint fit)."""
    network_steps: int = 20
    """Gradient steps of the whole joint loss on the network (joint fit); 0 keeps it as trained."""
    field_samples: int = 16
    """Posterior draws for the standard deviation of the fitted trajectory (joint fit)."""
    precision: Literal["float32", "float64"] = "float64"
    """Arithmetic of the solver."""
    seed: int = 0
    """Seed of the posterior draws and of the joint fit's frame choice."""
    denoise: DenoiseConfig = field(default_factory=DenoiseConfig)
    """How to denoise first (joint fit)."""


def fit(
    movie: Movie,
    model: ModelName = "cahn-hilliard",
    config: FitConfig | None = None,
    *,
    estimate: Estimate | None = None,
    progress: Progress | None = None,
) -> FitResult:
    """Fit a law of motion to a movie.

    Args:
        movie: measured (or simulated, or denoised) movie [t, y, x], at least 3 frames, equally spaced.
        model: "cahn-hilliard" or "fickian".
        config: see `FitConfig`.
        estimate: the denoised movie, if already made (joint fit; the fit denoises otherwise).
        progress: called with (stage, iteration, iterations, cost).

    Returns:
        FitResult; a fit that diverges or learns nothing says so in `outcome`, it does not raise.

    Raises:
        InputError: fewer than 3 frames, unequal frame times, or an unknown model.
    """
    config = FitConfig() if config is None else config
    _check(movie, model)
    if config.joint and estimate is None:
        estimate = denoise(movie, config.denoise)
    with jax.enable_x64(config.precision == "float64"):
        return _fit(movie, model, config, estimate, progress)


def _check(movie: Movie, model: str) -> None:
    if model not in ("cahn-hilliard", "fickian"):
        raise InputError(f"Unknown model '{model}': use cahn-hilliard or fickian.")
    frames = movie.shape[0]
    if frames < 3:
        raise InputError(
            f"{movie.name} has {frames} frame(s): a law of motion needs at least 3 frames of a movie."
        )
    interval = np.diff(movie.times)
    if np.ptp(interval) > 0.02 * np.median(interval):
        raise InputError(
            f"{movie.name}: frame intervals run from {interval.min():.3g} to {interval.max():.3g} "
            f"{movie.time_unit}; a fit needs equal intervals (give --frame-interval or resample)."
        )


@dataclass(frozen=True)
class _Setting:
    """The movie as concentration on a pixel grid, cut to the frames used."""

    observed: np.ndarray
    believed: np.ndarray
    variance: np.ndarray
    believed_variance: np.ndarray
    valid: np.ndarray
    grid: Grid
    first: int
    units: Units
    slope: float
    offset: float
    sentences: tuple[str, ...]


def _prepare(movie: Movie, config: FitConfig, estimate: Estimate | None) -> _Setting:
    """Quantify, choose the frames and the boundary, and collect variances (all in concentration)."""
    valid = movie.valid()
    measured = np.where(valid, movie.frames, np.nan).astype(float)
    if estimate is not None:
        mean, mean_variance, noise = estimate.mean, estimate.variance, estimate.noise
    else:
        noise = movie.noise or estimate_noise(movie.frames, valid).model
        mean, mean_variance = _filled(measured), None
    smooth = ndimage.gaussian_filter(np.asarray(mean, float), 1.0)
    scale = choose_concentration(
        smooth, valid, how=config.concentration, limits=config.concentration_range
    )
    slope = 1.0 / (scale.high - scale.low)
    variance = np.asarray(noise.variance(jnp.asarray(smooth, jnp.float32)), float) * slope**2
    variance = np.maximum(variance, 1e-8)
    observed = (_filled(measured) - scale.low) * slope
    believed = (np.asarray(mean, float) - scale.low) * slope
    first = _first_frame((smooth - scale.low) * slope, config.first_frame)
    use = slice(first, first + config.max_frames)
    said = movie.provenance.get("boundary")
    boundary = config.boundary if config.boundary != "auto" else (said or "no-flux")
    dy, dx = movie.pixel_size
    length = float(np.sqrt(dy * dx))
    grid = Grid(movie.shape[1:], (dy / length, dx / length), boundary)
    units = Units(
        length, float(np.median(np.diff(movie.times))), movie.length_unit, movie.time_unit
    )
    edges = f"Frame edges are {boundary}" + ("." if said or config.boundary != "auto" else " (assumed).")
    believed_variance = variance if mean_variance is None else mean_variance * slope**2
    return _Setting(
        observed[use],
        believed[use],
        variance[use],
        np.asarray(believed_variance, float)[use],
        valid[use],
        grid,
        first,
        units,
        slope,
        scale.low,
        (scale.sentence, edges, f"Frames {first} to {first + observed[use].shape[0] - 1} are used."),
    )


def _filled(frames: np.ndarray) -> np.ndarray:
    """NaN replaced by the pixel's mean over time, or the movie's; such pixels carry no weight."""
    missing = ~np.isfinite(frames)
    if not missing.any():
        return frames
    count = np.maximum((~missing).sum(0), 1)
    pixel = np.nansum(frames, axis=0) / count
    pixel = np.where(missing.all(0), np.nanmean(frames), pixel)
    return np.where(missing, pixel, frames)


def _first_frame(smooth: np.ndarray, asked: int) -> int:
    """First frame whose contrast is at least half of the movie's largest (leaving three frames)."""
    last = smooth.shape[0] - 3
    if asked >= 0:
        return min(asked, last)
    contrast = smooth.std(axis=(1, 2))
    return min(int(np.argmax(contrast >= 0.5 * contrast.max())), last)


def _fit(
    movie: Movie,
    model: ModelName,
    config: FitConfig,
    estimate: Estimate | None,
    progress: Progress | None,
) -> FitResult:
    setting = _prepare(movie, config, estimate)
    space = LawSpace(model, config.enthalpy_degree, config.mobility_degree, config.mobility_base)
    dtype = np.dtype(config.precision)
    start, substeps = _start(space, setting, config, dtype)
    windows = cut_windows(
        setting.believed.astype(dtype),
        _weights(setting.believed_variance, setting.valid).astype(dtype),
        setting.grid,
        windows=config.windows,
        length=config.window_frames,
    )
    minimum, covariance = fit_windows(
        space,
        start,
        windows,
        substeps=substeps,
        iterations=config.iterations,
        tolerance=config.tolerance,
        progress=_stage(progress, "law"),
    )
    if not config.joint or estimate is None:
        used = max(int(np.asarray(windows.weights > 0).sum()), 1)
        statistics = {
            "chi2_per_dof": 2 * minimum.cost / used,
            "explained_variance": _explained_by_windows(space, minimum.point, windows, substeps),
            "substeps": substeps,
        }
        return _result(movie, space, config, setting, minimum, minimum.point, covariance, statistics)
    return _joint(
        movie, space, config, setting, estimate, minimum.point, substeps, dtype, progress
    )


def _start(
    space: LawSpace, setting: _Setting, config: FitConfig, dtype: np.dtype
) -> tuple[np.ndarray, int]:
    """A starting θ and the substeps that its solver needs."""
    fickian = space.model == "fickian"
    guess = regress_start(setting.believed, setting.grid, fickian=fickian)
    candidates = np.stack([space.start(*law) for law in start_grid(*guess)])
    rough = cut_windows(
        setting.believed.astype(dtype),
        _weights(setting.believed_variance, setting.valid).astype(dtype),
        setting.grid,
        windows=1,
        length=3,
    )
    start, cost = pick_start(space, candidates, rough, substeps=config.substeps or 4)
    if not np.isfinite(cost):
        start = candidates[0]
    if config.substeps:
        return start, config.substeps
    field = jnp.asarray(np.clip(setting.believed[0], 0.01, 0.99), dtype)
    return start, substeps_for(
        space.build(jnp.asarray(start, dtype)), setting.grid, field, 1.0, config.solver_tolerance
    )


def _weights(variance: np.ndarray, valid: np.ndarray) -> np.ndarray:
    # Not exactly zero where masked: the posterior there is still predicted, by dividing the weight out.
    weights = 1.0 / variance
    return np.where(valid, weights, 1e-9 * weights.mean())


def _stage(progress: Progress | None, name: str) -> Callable[[int, int, float], None] | None:
    return None if progress is None else lambda i, n, cost: progress(name, i, n, cost)


def _explained_by_windows(space: LawSpace, theta: np.ndarray, windows: Any, substeps: int) -> float:
    """1 − |prediction − frames|² / |start − frames|²: what the law adds to "nothing moves"."""
    from phdenoise.learn.shooting import window_residual

    dtype = windows.frames.dtype
    residual = window_residual(space, jnp.asarray(theta, dtype), windows, substeps=substeps)
    still = jnp.sqrt(windows.weights) * (windows.frames[:, :1] - windows.frames[:, 1:])
    return float(1 - jnp.sum(residual**2) / jnp.sum(still**2))


def _joint(
    movie: Movie,
    space: LawSpace,
    config: FitConfig,
    setting: _Setting,
    estimate: Estimate,
    theta: np.ndarray,
    substeps: int,
    dtype: np.dtype,
    progress: Progress | None,
) -> FitResult:
    """Law, field and network together; see `phdenoise.learn.joint`."""
    steps = setting.observed.shape[0]
    observation = Observation(
        frames=jnp.asarray(setting.observed, dtype),
        weights=jnp.asarray(_weights(setting.variance, setting.valid), dtype),
        times=jnp.arange(steps, dtype=dtype),
        grid=setting.grid,
    )
    spread = 2.0 * np.sqrt(setting.believed_variance[0].mean())
    prior = FieldPrior(
        mean=jnp.asarray(setting.believed[0], dtype),
        sd=jnp.asarray(np.clip(spread, 0.05, 0.3), dtype),
        length=jnp.asarray(1.5, dtype),
    )
    static: dict[str, Any] = {"substeps": substeps, "burn_in": 1}
    descent: dict[str, Any] = {
        "iterations": config.iterations,
        "cg_steps": config.cg_steps,
        "tolerance": config.tolerance,
        **static,
    }
    minimum = joint_fit.fit_law_and_field(
        space,
        theta,
        np.zeros(setting.observed.shape[1:]),
        observation,
        prior,
        theta,
        progress=_stage(progress, "law and field"),
        **descent,
    )
    statistics: dict[str, float] = {"substeps": substeps}
    if config.network_steps and np.isfinite(minimum.cost):
        coupling = Coupling(
            estimate=estimate,
            frames=(setting.first, setting.first + steps),
            slope=setting.slope,
            offset=setting.offset,
        )
        adapted = adapt_network(
            coupling,
            space,
            minimum.point,
            observation,
            prior,
            theta,
            steps=config.network_steps,
            seed=config.seed,
            progress=_stage(progress, "network"),
            **static,
        )
        statistics |= adapted.statistics
        prior = replace_mean(prior, adapted.first)
        minimum = joint_fit.fit_law_and_field(
            space,
            adapted.theta,
            adapted.z,
            observation,
            prior,
            theta,
            horizons=(1.0,),
            progress=_stage(progress, "law and field"),
            **descent,
        )
    problem = joint_fit.make_problem(space, observation, prior, theta)
    shared: dict[str, Any] = {"space": space, "cg_steps": config.cg_steps, **static}
    covariance = joint_fit.law_covariance(problem, minimum.point, **shared)
    path, path_sd = joint_fit.trajectory(
        problem,
        minimum.point,
        jax.random.key(config.seed),
        samples=config.field_samples,
        **shared,
    )
    weights = np.where(setting.valid, np.asarray(observation.weights), 0.0)
    used = int((weights > 0).sum())
    chi2 = float(np.sum(weights * (path - setting.observed) ** 2))
    still = float(np.sum(weights * (setting.observed.mean(0) - setting.observed) ** 2))
    still_dof = used * (steps - 1) / steps
    statistics |= {
        "chi2_per_dof": chi2 / used,
        # Of the change over time beyond noise, the share that the law accounts for.
        "explained_variance": 1.0 - max(chi2 - used, 0.0) / max(still - still_dof, 1e-12),
    }
    # A law that misses structure leaves chi2 above one; its intervals widen accordingly.
    covariance = covariance * max(1.0, chi2 / used)
    result = _result(
        movie, space, config, setting, minimum, minimum.point[0], covariance, statistics
    )
    return replace(result, trajectory=path, trajectory_sd=path_sd)


def replace_mean(prior: FieldPrior, mean: np.ndarray) -> FieldPrior:
    """The same prior about another field [y, x]."""
    return FieldPrior(jnp.asarray(mean, prior.mean.dtype), prior.sd, prior.length)


def _result(
    movie: Movie,
    space: LawSpace,
    config: FitConfig,
    setting: _Setting,
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
    outcome, converged = _outcome(movie, config, minimum, finite, curves, statistics)
    return FitResult(
        model=space.model,
        outcome=outcome,
        converged=converged,
        parameters=tuple(parameters),
        curves=curves,
        kappa=kappa,
        statistics=statistics,
        covariance=covariance,
        frames_used=(setting.first, setting.first + setting.observed.shape[0]),
        history=minimum.history,
        settings={**asdict(config), "boundary_used": setting.grid.boundary},
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
    """μ_h and D with standard deviations (delta method) over the observed range of c."""
    c = jnp.linspace(low, max(high, low + 1e-3), CURVE_POINTS)
    point = jnp.asarray(theta, c.dtype)
    mu, log_d = law_curves(space, point, c)
    slopes = jax.jacfwd(lambda th: law_curves(space, th, c))(point)
    mu_sd, log_d_sd = (
        np.sqrt(np.maximum(np.einsum("ip,pq,iq->i", j, covariance, j), 0.0))
        for j in (np.asarray(s, float) for s in slopes)
    )
    d = np.exp(np.asarray(log_d, float)) * units.diffusivity
    return {
        "c": np.asarray(c, float),
        "mu_h": np.asarray(mu, float),
        "mu_h_sd": mu_sd,
        "D": d,
        "D_sd": d * log_d_sd,
    }


def _outcome(
    movie: Movie,
    config: FitConfig,
    minimum: Minimum,
    finite: bool,
    curves: dict[str, np.ndarray],
    statistics: dict[str, float],
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
    state = "converged" if minimum.converged else minimum.message
    caveat = (
        ""
        if config.joint or statistics["chi2_per_dof"] < 1e-2
        else "; noise in its start frames biases a face-value fit, prefer the joint fit"
    )
    return (
        f"The {how} {state}: the law accounts for {share} of the change over time, D is {trust} "
        f"(median sd {100 * relative:.1f} %){caveat}.",
        minimum.converged,
    )
