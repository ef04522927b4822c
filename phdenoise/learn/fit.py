"""`fit`: a movie and a family of laws in, the law with its intervals out.

Taken at face value (`joint=False`) a movie is fitted by multiple shooting from its own frames. With
`joint=True` the movie is denoised first, and then law, initial field and denoiser are fitted together to
the raw measurement.
"""

from dataclasses import replace
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from phdenoise.denoisers.core import design_of
from phdenoise.learn import joint as joint_fit
from phdenoise.learn.config import FitConfig
from phdenoise.learn.couple import adapt_network, network_problem
from phdenoise.learn.evidence import first, sentence
from phdenoise.learn.gauss_newton import away
from phdenoise.learn.guess import regress_start, start_grid
from phdenoise.learn.laws import LawPrior, LawSpace, ModelName
from phdenoise.learn.objective import Observation, field_prior, first_field, intervals_before
from phdenoise.learn.result import FitResult
from phdenoise.learn.sampling import require_blackjax
from phdenoise.learn.setting import (
    Setting,
    check_movie,
    inverse_variance,
    needed_substeps,
    prepare_setting,
)
from phdenoise.learn.shooting import (
    Windows,
    cut_windows,
    explained,
    is_uniform,
    pick_start,
)
from phdenoise.learn.summary import Optimum, summarise
from phdenoise.learn.target import field_target, windows_target
from phdenoise.learn.weigh import weigh
from phdenoise.learn.window_fit import fit_windows
from phdenoise.movie import Estimate, Movie
from phdenoise.training import denoise
from phdenoise.types import Progress, stage

FEWEST_SUBSTEPS = 1
MOST_SUBSTEPS = 16
# Of a joint fit until a law is found: one fitted to a denoised movie in which little moves may be wild, and far stiffer.
COARSE_SUBSTEPS = 2
# Standard deviations by which the solver's error may move a law, unless it is this share of the residuals, which then have
# other reasons that move it more.
SOLVER_BIAS, SOLVER_SHARE = 0.3, 0.1


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
        model: "cahn-hilliard", "fickian" or "allen-cahn".
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
    check_movie(movie, model)
    if config.uncertainty == "nuts":
        require_blackjax()
    if config.joint and estimate is None:
        estimate = denoise(movie, config.denoise)
    with jax.enable_x64(config.precision == "float64"):
        return _fit(movie, model, config, estimate, start, progress)


def _fit(
    movie: Movie,
    model: ModelName,
    config: FitConfig,
    estimate: Estimate | None,
    known: FitResult | None,
    progress: Progress | None,
) -> FitResult:
    setting = prepare_setting(movie, config, estimate)
    if model == "allen-cahn":
        setting = replace(setting, units=replace(setting.units, conserved=False))
    space = LawSpace(model, config.enthalpy_degree, config.mobility_degree, config.mobility_base)
    dtype = np.dtype(config.precision)
    if config.joint and estimate is not None and known is not None:
        return _joint(movie, space, config, setting, estimate, known.theta, dtype, progress)
    windows = cut_windows(
        setting.believed.astype(dtype),
        inverse_variance(setting.believed_variance, setting.valid).astype(dtype),
        setting.times,
        setting.grid,
        windows=config.windows,
        length=config.window_frames,
    )
    start, substeps = start_law(space, setting, windows, config)
    prior, begin, excess = choose_prior(space, start, config), None, 1.0
    while True:
        found = fit_windows(
            space,
            prior,
            windows,
            substeps=substeps,
            iterations=config.iterations,
            tolerance=config.tolerance,
            evidence=config.prior == "evidence",
            begin=begin,
            excess=excess,
            progress=stage(progress, "law"),
        )
        # Of a clean movie the solver's error may be all that is left, and the law would make up for it.
        bias, share = found.solver_bias, found.solver_share
        # The joint fit needs no more than a start.
        fine = bias <= SOLVER_BIAS or share <= SOLVER_SHARE or config.joint
        if fine or config.substeps or substeps >= MOST_SUBSTEPS:
            break
        if np.isfinite(bias):
            prior, begin, excess = found.prior, found.minimum.point, found.excess
        substeps = finer(substeps, bias)
    minimum = found.minimum
    if not config.joint or estimate is None:
        statistics = {
            "chi2_per_dof": found.chi2,
            "explained_variance": explained(space, minimum.point, windows, substeps=substeps),
            "substeps": float(substeps),
            "solver_bias_sd": found.solver_bias,
        }
        target = windows_target(space, found, substeps=substeps)
        optimum = Optimum(
            minimum,
            minimum.point,
            found.covariance,
            statistics,
            found.data.hessian,
            away(found.normal),
            target,
        )
        stretches, frames = windows.weights.shape[:2]
        said = (
            f"Multiple shooting: {stretches} stretch(es) of {frames} frame(s), each from its first frame "
            "as it stands."
        )
        held = _held(space, found.prior, config)
        return summarise(movie, space, config, _saying(setting, said, *held), optimum, progress)
    return _joint(movie, space, config, setting, estimate, minimum.point, dtype, progress)


def choose_prior(space: LawSpace, theta: np.ndarray, config: FitConfig) -> LawPrior:
    """The prior about a law near the truth [p]."""
    return first(space, theta) if config.prior == "evidence" else space.prior(theta)


def start_law(
    space: LawSpace, setting: Setting, windows: Windows, config: FitConfig
) -> tuple[np.ndarray, int]:
    """A starting θ and the substeps that its solver needs.

    The best of a grid of laws about the regression; the step is halved until one of them beats
    "nothing moves", since an unstable step makes every law look wrong.
    """
    guess = regress_start(setting.believed, setting.times, setting.grid, model=space.model)
    candidates = np.stack([space.start(*law) for law in start_grid(*guess)])
    substeps = config.substeps or FEWEST_SUBSTEPS
    start, share = pick_start(space, candidates, windows, substeps=substeps)
    while not share < 0.9 and not config.substeps and substeps < MOST_SUBSTEPS:
        substeps *= 2
        start, share = pick_start(space, candidates, windows, substeps=substeps)
    return start, max(substeps, needed_substeps(space, start, setting, config, MOST_SUBSTEPS))


def finer(substeps: int, bias: float) -> int:
    """Substeps at which the solver's error, of second order in the step, moves a law by no more than `SOLVER_BIAS`."""
    doublings = np.ceil(np.log2(bias / SOLVER_BIAS) / 2) if np.isfinite(bias) else 1
    return min(2 ** max(1, int(doublings)) * substeps, MOST_SUBSTEPS)


def _held(space: LawSpace, prior: LawPrior, config: FitConfig) -> tuple[str, ...]:
    return (sentence(space, prior),) if config.prior == "evidence" else ()


def _saying(setting: Setting, *said: str) -> Setting:
    return replace(setting, sentences=(*setting.sentences, *said))


def _joint(
    movie: Movie,
    space: LawSpace,
    config: FitConfig,
    setting: Setting,
    estimate: Estimate,
    theta: np.ndarray,
    dtype: np.dtype,
    progress: Progress | None,
) -> FitResult:
    """Law, field and network together; see `phdenoise.learn.joint`."""
    steps = setting.observed.shape[0]
    observation = Observation(
        frames=jnp.asarray(setting.observed, dtype),
        weights=jnp.asarray(inverse_variance(setting.variance, setting.valid), dtype),
        times=jnp.asarray(setting.times, dtype),
        grid=setting.grid,
        uniform=is_uniform(setting.times),
    )
    spread = first_field(setting.believed, setting.believed_variance[0])
    prior = field_prior(
        setting.believed[0], setting.grid, sd=spread, waves=config.field_waves, dtype=dtype
    )
    guess = regress_start(setting.believed, setting.times, setting.grid, model=space.model)
    before = intervals_before(space.model)
    needed = needed_substeps(space, theta, setting, config, MOST_SUBSTEPS)
    law = choose_prior(space, theta, config)
    descend = partial(
        joint_fit.fit_law_and_field,
        laws=[theta, *(space.start(*law) for law in start_grid(*guess))],
        iterations=config.iterations,
        expected=setting.expected(),
        progress=stage(progress, "law and field"),
    )
    coarse = config.substeps or min(max(needed // 2, 1), COARSE_SUBSTEPS)
    problem = joint_fit.Problem(space, observation, prior, law, coarse, before)
    minimum = descend(problem)
    if not np.isfinite(minimum.cost) and coarse < needed:
        problem = problem._replace(substeps=needed)
        minimum = descend(problem)
    statistics: dict[str, float] = {}
    # The joint steps are those of the blind likelihood; other networks only give the field's start.
    blind = bool(estimate.weights) and design_of(estimate.settings).network == "blind"
    if config.network_steps and np.isfinite(minimum.cost) and blind:
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
            progress=stage(progress, "network"),
        )
        statistics |= adapted.statistics
        moved = eqx.tree_at(lambda p: p.mean, prior, jnp.asarray(adapted.first, dtype))
        problem = problem._replace(prior=moved)
    # The network moves the field's centre a little; what follows takes that in.
    if np.isfinite(minimum.cost) and config.prior == "evidence":
        problem, minimum = weigh(
            problem,
            minimum,
            # Where μ_h trades against D, a field held more tightly was seen to push the law along that valley.
            field=space.model == "fickian",
            iterations=config.iterations,
            progress=stage(progress, "strength of the priors"),
        )
    found = joint_fit.posterior(problem, minimum.point)
    while (
        np.isfinite(minimum.cost)
        and not found.solver_bias <= SOLVER_BIAS
        and not config.substeps
        and problem.substeps < MOST_SUBSTEPS
    ):
        problem = problem._replace(substeps=finer(problem.substeps, found.solver_bias))
        again = joint_fit.refine(
            problem,
            found.x,
            iterations=config.iterations,
            progress=stage(progress, "smaller solver steps"),
        )
        minimum = again.after(minimum)
        found = joint_fit.posterior(problem, minimum.point)
    path = found.trajectory
    weights = np.where(setting.valid, np.asarray(observation.weights), 0.0)
    expected = setting.expected()
    chi2 = float(np.sum(weights * (path - setting.observed) ** 2))
    still = float(np.sum(weights * (setting.observed.mean(0) - setting.observed) ** 2))
    still_dof = expected * (steps - 1) / steps
    statistics |= {
        "chi2_per_dof": chi2 / expected,
        "substeps": float(problem.substeps),
        "solver_bias_sd": found.solver_bias,
        # Of the change over time beyond noise, the share that the law accounts for.
        "explained_variance": 1.0 - max(chi2 - expected, 0.0) / max(still - still_dof, 1e-12),
    }
    # A law that misses structure leaves chi2 above one; its intervals widen accordingly.
    covariance = found.covariance * max(1.0, chi2 / expected)
    target = field_target(problem, found.x, covariance)
    optimum = Optimum(
        minimum, found.theta, covariance, statistics, found.information, found.away, target
    )
    said = f"Single shooting: {steps} frames from an initial field that is estimated with the law."
    held = _held(space, problem.law, config)
    result = summarise(movie, space, config, _saying(setting, said, *held), optimum, progress)
    return replace(result, trajectory=path, trajectory_sd=found.trajectory_sd)
