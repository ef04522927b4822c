"""`fit`: a movie and a family of laws in, the law with its intervals out.

Taken at face value (`joint=False`) a movie is fitted by multiple shooting from its own frames. With
`joint=True` the movie is denoised first, and then law, initial field and denoiser are fitted together to
the raw measurement.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from phdenoise.grid import Grid
from phdenoise.learn import joint as joint_fit
from phdenoise.learn.couple import adapt_network, network_problem
from phdenoise.learn.gauss_newton import Minimum
from phdenoise.learn.guess import regress_start, start_grid
from phdenoise.learn.laws import LawSpace, ModelName, Units, law_curves
from phdenoise.learn.objective import Observation, field_prior
from phdenoise.learn.result import FitResult, Parameter
from phdenoise.learn.shooting import (
    Windows,
    cut_windows,
    explained,
    fit_windows,
    is_uniform,
    pick_start,
)
from phdenoise.modalities.concentration import choose_concentration
from phdenoise.movie import Estimate, Movie
from phdenoise.noise import estimate_noise
from phdenoise.physics import substeps_for
from phdenoise.training import DenoiseConfig, denoise
from phdenoise.types import InputError

CURVE_POINTS = 101
FEWEST_SUBSTEPS = 1
MOST_SUBSTEPS = 16
# Longest gap between frames, in median intervals.
LONGEST = 20
# Units of stacks that are no movies.
NOT_TIME = dict.fromkeys(("ev", "kev", "mev", "j"), "energy") | {
    **dict.fromkeys(("nm", "um", "µm", "mm", "angstrom", "å"), "length"),
    **dict.fromkeys(("deg", "degree", "degrees", "rad"), "angle"),
}
# Contrast, relative to the movie's largest, from which on frames are used.
DEVELOPED = 0.1
# Progress of a fit: (stage, iteration, iterations, cost).
Progress = Callable[[str, int, int, float], None]


@dataclass(frozen=True)
class FitConfig:
    """How to fit a law."""

    joint: bool = False
    """Fit law, initial field and denoiser together to the raw movie (otherwise: the movie at face value)."""
    enthalpy_degree: int = 5
    """Highest Legendre degree of the enthalpic part of mu_h."""
    mobility_degree: int = 6
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
    max_frames: int = 64
    """Most frames used, from the first on."""
    max_side: int = 128
    """Longest side of the fitted grid [px]; larger frames are binned by a whole factor first."""
    windows: int = 4
    """Stretches for multiple shooting (face-value fit)."""
    window_frames: int = 10
    """Frames per stretch after its start (face-value fit)."""
    substeps: int = 0
    """Solver steps per frame interval; 0: chosen for `solver_tolerance`."""
    solver_tolerance: float = 3e-4
    """Relative error of the solver over one frame interval, for choosing `substeps`."""
    iterations: int = 30
    """Most Levenberg-Marquardt iterations per stage."""
    tolerance: float = 1e-4
    """Relative decrease of the cost at which the face-value fit has converged."""
    field_waves: int = 16
    """Waves an axis that correct the denoised initial field (joint fit); the cost grows with their square."""
    network_steps: int = 10
    """Gradient steps of the whole joint loss on the network (joint fit); 0 keeps it as trained."""
    precision: Literal["float32", "float64"] = "float64"
    """Arithmetic of the solver."""
    seed: int = 0
    """Seed of the crops on which the joint fit adjusts the network."""
    denoise: DenoiseConfig = field(default_factory=DenoiseConfig)
    """How to denoise first (joint fit)."""


def fit(
    movie: Movie,
    model: ModelName = "cahn-hilliard",
    config: FitConfig | None = None,
    *,
    estimate: Estimate | None = None,
    start: FitResult | None = None,
    progress: Progress | None = None,
) -> FitResult:
    """Fit a law of motion to a movie.

    Args:
        movie: measured (or simulated, or denoised) movie [t, y, x], at least 3 frames at any times.
        model: "cahn-hilliard" or "fickian".
        config: see `FitConfig`.
        estimate: the denoised movie, if already made (joint fit; the fit denoises otherwise).
        start: a fit to the denoised movie with the same settings, where the joint fit starts; it is
            made otherwise.
        progress: called with (stage, iteration, iterations, cost).

    Returns:
        FitResult; a fit that diverges or learns nothing says so in `outcome`, it does not raise.

    Raises:
        InputError: fewer than 3 frames, an axis that is not time, or an unknown model.
    """
    config = FitConfig() if config is None else config
    _check(movie, model)
    if config.joint and estimate is None:
        estimate = denoise(movie, config.denoise)
    with jax.enable_x64(config.precision == "float64"):
        return _fit(movie, model, config, estimate, start, progress)


def _check(movie: Movie, model: str) -> None:
    if model not in ("cahn-hilliard", "fickian"):
        raise InputError(f"Unknown model '{model}': use cahn-hilliard or fickian.")
    frames = movie.shape[0]
    if frames < 3:
        raise InputError(
            f"{movie.name} has {frames} frame(s): a law of motion needs at least 3 frames of a movie."
        )
    if movie.time_unit.lower() in NOT_TIME:
        raise InputError(
            f"{movie.name}: its frames are steps of {NOT_TIME[movie.time_unit.lower()]} "
            f"[{movie.time_unit}], not of time, and a law of motion needs times (if they are times after "
            "all, give --frame-interval)."
        )
    interval = np.diff(movie.times)
    if interval.max() > LONGEST * np.median(interval):
        raise InputError(
            f"{movie.name}: frame intervals run from {interval.min():.3g} to {interval.max():.3g} "
            f"{movie.time_unit}; a fit does not bridge a gap of more than {LONGEST} median intervals "
            "(cut the movie there)."
        )


@dataclass(frozen=True)
class _Setting:
    """The movie as concentration on a pixel grid, cut to the frames used."""

    observed: np.ndarray
    believed: np.ndarray
    variance: np.ndarray
    believed_variance: np.ndarray
    valid: np.ndarray
    times: np.ndarray
    grid: Grid
    first: int
    units: Units
    slope: float
    offset: float
    binning: int
    sentences: tuple[str, ...]


def _prepare(movie: Movie, config: FitConfig, estimate: Estimate | None) -> _Setting:
    """Quantify, choose the frames and the boundary, and collect variances (all in concentration)."""
    valid = movie.valid()
    measured = np.where(valid, movie.frames, np.nan).astype(float)
    found = estimate_noise(movie.frames, valid)
    if estimate is not None:
        mean, mean_variance, noise = estimate.mean, estimate.variance, estimate.noise
    else:
        noise = movie.noise or found.model
        mean, mean_variance = _filled(measured), None
    smooth = ndimage.gaussian_filter(np.asarray(mean, float), 1.0)
    scale = choose_concentration(
        smooth, valid, how=config.concentration, limits=config.concentration_range
    )
    slope = 1.0 / (scale.high - scale.low)
    variance = np.asarray(noise.variance(jnp.asarray(smooth, jnp.float32)), float) * slope**2
    # Correlated noise: the mean of n pixels has a variance larger than 1/n of one by the sum of the
    # correlations, and a likelihood that took them for independent would be that much too sure.
    inflation = _correlated(found.correlation["x"]) * _correlated(found.correlation["y"])
    variance = np.maximum(variance * inflation, 1e-8)
    observed = (_filled(measured) - scale.low) * slope
    believed = (np.asarray(mean, float) - scale.low) * slope
    first = _first_frame((smooth - scale.low) * slope, config.first_frame)
    use = slice(first, first + config.max_frames)
    believed_variance = variance if mean_variance is None else mean_variance * slope**2
    binning = max(1, -(-max(movie.shape[1:]) // config.max_side))
    count = binning**2
    weighted = _bin(np.where(valid, observed, 0.0)[use], binning)
    share = _bin(valid[use].astype(float), binning)
    observed = np.where(
        share > 0.5, weighted / np.maximum(share, 1e-9), _bin(believed[use], binning)
    )
    said = movie.provenance.get("boundary")
    boundary = config.boundary if config.boundary != "auto" else (said or "no-flux")
    dy, dx = movie.pixel_size
    length = float(np.sqrt(dy * dx)) * binning
    grid = Grid(observed.shape[1:], (dy * binning / length, dx * binning / length), boundary)
    interval = float(np.median(np.diff(movie.times[use])))
    units = Units(length, interval, movie.length_unit, movie.time_unit)
    edges = f"Frame edges are {boundary}" + (
        "." if said or config.boundary != "auto" else " (assumed)."
    )
    binned = (f"Frames were binned {binning} x {binning}.",) * (binning > 1)
    last = first + observed.shape[0] - 1
    return _Setting(
        observed,
        _bin(believed[use], binning),
        _bin(variance[use], binning) / count,
        # Errors of a denoised movie do not average out over neighbouring pixels.
        _bin(np.asarray(believed_variance, float)[use], binning),
        share > 0.5,
        (movie.times[use] - movie.times[first]) / interval,
        grid,
        first,
        units,
        slope,
        scale.low,
        binning,
        (scale.sentence, edges, f"Frames {first} to {last} are used.", *binned),
    )


def _correlated(correlation: np.ndarray) -> float:
    """1 + 2 Σ ρ over the lags where the correlation is clear of its own noise."""
    clear = np.cumprod(correlation[1:] > 0.05)
    return float(1 + 2 * np.sum(correlation[1:] * clear))


def _bin(frames: np.ndarray, factor: int) -> np.ndarray:
    """Means of factor × factor pixels; rows and columns that do not fill a bin are left out."""
    if factor == 1:
        return frames
    t, ny, nx = frames.shape
    cut = frames[:, : ny // factor * factor, : nx // factor * factor]
    return cut.reshape(t, ny // factor, factor, nx // factor, factor).mean((2, 4))


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
    """First frame whose contrast has developed (leaving three frames)."""
    last = smooth.shape[0] - 3
    if asked >= 0:
        return min(asked, last)
    contrast = smooth.std(axis=(1, 2))
    return min(int(np.argmax(contrast >= DEVELOPED * contrast.max())), last)


def _fit(
    movie: Movie,
    model: ModelName,
    config: FitConfig,
    estimate: Estimate | None,
    known: FitResult | None,
    progress: Progress | None,
) -> FitResult:
    setting = _prepare(movie, config, estimate)
    space = LawSpace(model, config.enthalpy_degree, config.mobility_degree, config.mobility_base)
    dtype = np.dtype(config.precision)
    if config.joint and estimate is not None and known is not None:
        theta, substeps = known.theta, int(known.statistics["substeps"])
        return _joint(movie, space, config, setting, estimate, theta, substeps, dtype, progress)
    windows = cut_windows(
        setting.believed.astype(dtype),
        _weights(setting.believed_variance, setting.valid).astype(dtype),
        setting.times,
        setting.grid,
        windows=config.windows,
        length=config.window_frames,
    )
    start, substeps = _start(space, setting, windows, config)
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
            "explained_variance": explained(space, minimum.point, windows, substeps=substeps),
            "substeps": float(substeps),
        }
        return _result(
            movie, space, config, setting, minimum, minimum.point, covariance, statistics
        )
    return _joint(movie, space, config, setting, estimate, minimum.point, substeps, dtype, progress)


def _start(
    space: LawSpace, setting: _Setting, windows: Windows, config: FitConfig
) -> tuple[np.ndarray, int]:
    """A starting θ and the substeps that its solver needs.

    The best of a grid of laws about the regression; the step is halved until one of them beats
    "nothing moves", since an unstable step makes every law look wrong.
    """
    guess = regress_start(
        setting.believed, setting.times, setting.grid, fickian=space.model == "fickian"
    )
    candidates = np.stack([space.start(*law) for law in start_grid(*guess)])
    substeps = config.substeps or FEWEST_SUBSTEPS
    start, share = pick_start(space, candidates, windows, substeps=substeps)
    while not share < 0.9 and not config.substeps and substeps < MOST_SUBSTEPS:
        substeps *= 2
        start, share = pick_start(space, candidates, windows, substeps=substeps)
    if config.substeps:
        return start, substeps
    law = space.build(jnp.asarray(start, windows.frames.dtype))
    field = jnp.clip(windows.frames[0, 0], 0.01, 0.99)
    # A step fit for the longest gap is fit for all.
    longest = float(np.diff(setting.times).max())
    try:
        needed = substeps_for(
            law, setting.grid, field, longest, config.solver_tolerance, most=MOST_SUBSTEPS
        )
    except InputError:
        # The start is only a guess; the descent judges laws by the movie, at the finest step allowed.
        needed = MOST_SUBSTEPS
    return start, max(substeps, needed)


def _weights(variance: np.ndarray, valid: np.ndarray) -> np.ndarray:
    # Not exactly zero where masked: the posterior there is still predicted, by dividing the weight out.
    weights = 1.0 / variance
    return np.where(valid, weights, 1e-9 * weights.mean())


def _stage(progress: Progress | None, name: str) -> Callable[[int, int, float], None] | None:
    return None if progress is None else lambda i, n, cost: progress(name, i, n, cost)


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
        times=jnp.asarray(setting.times, dtype),
        grid=setting.grid,
        uniform=is_uniform(setting.times),
    )
    spread = float(np.clip(2.0 * np.sqrt(setting.believed_variance[0].mean()), 0.05, 0.3))
    prior = field_prior(
        setting.believed[0], setting.grid, sd=spread, waves=config.field_waves, dtype=dtype
    )
    problem = joint_fit.Problem(space, observation, prior, theta, substeps, burn_in=1)
    start = np.concatenate([theta, np.zeros(int(np.prod(problem.waves)))])
    stage = _stage(progress, "law and field")
    minimum = joint_fit.fit_law_and_field(
        problem, start, iterations=config.iterations, progress=stage
    )
    statistics: dict[str, float] = {"substeps": float(substeps)}
    if config.network_steps and np.isfinite(minimum.cost):
        network = network_problem(
            estimate,
            setting.first,
            setting.believed[0].astype(dtype),
            setting.slope,
            setting.offset,
            setting.binning,
        )
        adapted = adapt_network(
            network,
            problem,
            minimum.point,
            steps=config.network_steps,
            seed=config.seed,
            progress=_stage(progress, "network"),
        )
        statistics |= adapted.statistics
        moved = eqx.tree_at(lambda p: p.mean, prior, jnp.asarray(adapted.first, dtype))
        problem = problem._replace(prior=moved)
    # The network moves the field's centre a little; the posterior's step follows it.
    theta, covariance, path, path_sd = joint_fit.posterior(problem, minimum.point)
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
    result = _result(movie, space, config, setting, minimum, theta, covariance, statistics)
    return replace(result, trajectory=path, trajectory_sd=path_sd)


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
