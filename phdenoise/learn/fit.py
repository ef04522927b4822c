"""`fit`: a movie and a family of laws in, the law with its intervals and a verdict out.

A movie whose noise is negligible is taken at face value: fitted by multiple shooting from its own frames. Of a noisy movie the
initial field is estimated with the law. With `joint=True` the movie is denoised first, and law, initial field and denoiser are
fitted together to the raw measurement. A movie in which nothing moves beyond noise is not fitted.
"""

import jax
import numpy as np

from phdenoise.denoising import denoise
from phdenoise.learn.config import FitConfig
from phdenoise.learn.edge_evidence import settle_faces
from phdenoise.learn.fit_problem import (
    MOST_SUBSTEPS,
    FitProblem,
    Observes,
    Starts,
    check_movie,
    family_of,
    needed_substeps,
    prepare_fit_problem,
    starts_of,
)
from phdenoise.learn.gauss_newton import newton_decrement
from phdenoise.learn.joint_fit import (
    SOLVER_BIAS,
    Task,
    choose_prior,
    finer,
    fit_jointly,
    held_by,
    near_law,
)
from phdenoise.learn.laws import given_law
from phdenoise.learn.misfit_tests import widened, windows_misfit
from phdenoise.learn.moves import moves
from phdenoise.learn.posterior_form import windows_log_posterior
from phdenoise.learn.result import FitResult
from phdenoise.learn.sampling import require_blackjax
from phdenoise.learn.shooting import Descent, Windows, explained, pick_start, windows_of
from phdenoise.learn.start_field import FACE_VALUE_NOISE, grain, smoothed
from phdenoise.learn.summary import Optimum, nothing_moves, summarise
from phdenoise.learn.window_fit import fit_windows
from phdenoise.movie import Estimate, Movie
from phdenoise.physics.equations.base import Law
from phdenoise.physics.law_parameters import Parameters
from phdenoise.types import Progress, stage

# Solver steps a frame interval to begin with.
FIRST_SUBSTEPS = 1
# Share of the residuals below which the solver's error is let be: other reasons then move the law more.
SOLVER_SHARE = 0.1
# Cost of a start law, as a share of that of "nothing moves", below which it is good enough to descend from.
START_SHARE = 0.9


def fit(
    movie: Movie,
    law: str | Law = "cahn-hilliard",
    config: FitConfig | None = None,
    *,
    observation: Observes | None = None,
    estimate: Estimate | None = None,
    start: FitResult | None = None,
    progress: Progress | None = None,
) -> FitResult:
    """Fit a law of motion to a movie.

    Args:
        movie: measured (or simulated, or denoised) movie [t, y, x], at least 3 frames at any times.
        law: an object (`phdenoise.physics.Law`) that says what is free and where to start, in the movie's units of length and
            time; or "cahn-hilliard", "fickian" or "allen-cahn" for the law with the degrees of `config`.
        config: see `FitConfig`.
        observation: what the instrument does to the concentration, which lies in 0..1. By default the intensity is an affine
            function of it, by `config.concentration`.
        estimate: the denoised movie, if already made (joint fit; the fit denoises otherwise).
        start: a fit to the denoised movie with the same settings, where the joint fit starts; it is
            made otherwise.
        progress: called with (stage, iteration, iterations, cost).

    Returns:
        FitResult; a fit that diverges or learns nothing says so in `outcome`, it does not raise.

    Raises:
        InputError: fewer than 3 frames, an axis that is not time, or an unknown law.
    """
    config = FitConfig() if config is None else config
    check_movie(movie)
    given_law(law, config)
    if config.uncertainty == "nuts":
        require_blackjax()
    if not config.joint:
        estimate = None
    elif estimate is None:
        estimate = denoise(movie, config.denoise)
    with jax.enable_x64(config.precision == "float64"):
        given = given_law(law, config)
        fit_problem = prepare_fit_problem(movie, config, estimate, observation)
        if not moves(fit_problem):
            return nothing_moves(movie, given.law, config, fit_problem)
        fit_problem = settle_faces(fit_problem, [given], config)
        family = family_of(given, fit_problem, np.dtype(config.precision))
        field = config.joint or grain(fit_problem) > FACE_VALUE_NOISE
        if field and not config.joint:
            fit_problem = smoothed(fit_problem)
        starts = starts_of(given, family, fit_problem)
        task = Task(movie, family, config, fit_problem, starts, estimate, progress)
        return _fit(task, start, field)


def _fit(task: Task, known: FitResult | None, field: bool) -> FitResult:
    """The fit of a movie that moves; `field`: the initial field is estimated, too."""
    movie, family, config, fit_problem, starts, _, progress, _ = task
    if field:
        # Where nothing moved there is no law to start from, and faces may differ between two versions of a movie.
        usable = known is not None and known.theta.size == starts.guess.size
        near = known.theta if known is not None and usable else near_law(task)
        if near is not None:
            return fit_jointly(task, near)
        task = task._replace(tried=True)
    windows = windows_of(fit_problem, config, fit_problem.believed, fit_problem.believed_weights)
    start, substeps = start_law(family, starts, fit_problem, windows, config)
    prior, begin, excess = choose_prior(family, start, config), None, 1.0
    while True:
        found = fit_windows(
            family,
            prior,
            windows,
            Descent(substeps, config.iterations, config.tolerance, stage(progress, "law")),
            evidence=config.prior == "evidence",
            begin=begin,
            excess=excess,
        )
        # Of a clean movie the solver's error may be all that is left, and the law would make up for it.
        bias, share = found.solver_bias, found.solver_share
        # A fit of the initial field needs no more than a start.
        fine = bias <= SOLVER_BIAS or share <= SOLVER_SHARE or field
        if fine or config.substeps or substeps >= MOST_SUBSTEPS:
            break
        if np.isfinite(bias):
            prior, begin, excess = found.prior, found.minimum.point, found.excess
        substeps = finer(substeps, bias)
    minimum = found.minimum
    if not field:
        misfit = windows_misfit(family, found, substeps, fit_problem)
        statistics = {
            "chi2_per_dof": found.chi2,
            "explained_variance": explained(family, minimum.point, windows, substeps=substeps),
            "substeps": float(substeps),
            "solver_bias_sd": found.solver_bias,
        }
        log_posterior = windows_log_posterior(family, found, substeps=substeps)
        optimum = Optimum(
            minimum,
            minimum.point,
            widened(found.covariance, misfit),
            statistics,
            found.data.hessian,
            newton_decrement(found.normal),
            log_posterior,
            misfit,
        )
        stretches, frames = windows.weights.shape[:2]
        said = (
            f"Multiple shooting: {stretches} stretch(es) of {frames} frame(s), each from its first frame "
            "as it stands."
        )
        held = held_by(family, found.prior, config)
        return summarise(movie, family, config, fit_problem.saying(said, *held), optimum, progress)
    return fit_jointly(task, minimum.point)


def start_law(
    family: Parameters, starts: Starts, fit_problem: FitProblem, windows: Windows, config: FitConfig
) -> tuple[np.ndarray, int]:
    """A law to descend from and the substeps that its solver needs.

    The solver's step is halved until one of the starts beats "nothing moves", since an unstable step makes every law look wrong.

    Args:
        family: what the components of θ are.
        starts: laws to pick the best of.
        fit_problem: the movie.
        windows: its stretches.
        config: settings.

    Returns:
        θ [p], and solver steps a frame interval.
    """
    candidates = starts.around
    substeps = config.substeps or FIRST_SUBSTEPS
    start, share = pick_start(family, candidates, windows, substeps=substeps)
    while not share < START_SHARE and not config.substeps and substeps < MOST_SUBSTEPS:
        substeps *= 2
        start, share = pick_start(family, candidates, windows, substeps=substeps)
    return start, max(substeps, needed_substeps(family, start, fit_problem, config, MOST_SUBSTEPS))
