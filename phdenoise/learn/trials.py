"""One family of laws set up so that any of its members can be fitted to early frames and judged on later ones.

The members differ in how many of their Legendre terms move; the others stay at zero. One family is compiled once.

A clean or denoised movie is taken at face value (`at_face_value`): stretches of the early frames for the fit, of the
later ones for the judgement, each started from a frame as it stands. A noisy one is compared with the raw measurement
(`from_field`): the initial field is estimated with the law, and the solution simply runs on into the later frames.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from phdenoise.learn import joint as joint_fit
from phdenoise.learn.config import FitConfig
from phdenoise.learn.criteria import Criteria, by_block, criteria, independent
from phdenoise.learn.gauss_newton import Minimum, Normal, normal_equations
from phdenoise.learn.guess import regress_start, start_grid
from phdenoise.learn.laws import LawSpace
from phdenoise.learn.objective import FieldPrior, Observation, intervals_before
from phdenoise.learn.setting import Setting, inverse_variance, needed_substeps
from phdenoise.learn.shooting import (
    Windows,
    cut_windows,
    descend_windows,
    is_uniform,
    linearise,
    pick_start,
    still,
)

# Shares of the change over time below which two predictions are equally good: an rms of 0.3 %, that of the solver.
RESOLVED = 1e-5
# Substeps at most.
FINEST = 8


class Fitted(NamedTuple):
    """A member of a family after its fits.

    Attributes:
        early: optimum on the early frames, x = θ or (θ, z).
        held_out: mean squared residual of the later frames in blocks, a share of that of "nothing moves", or χ² per datum.
        whole: optimum on all frames.
        misfit: Σ of squared residuals there, in the same unit.
        residual: of all frames, weighted.
        normal: normal equations of the data alone there.
    """

    early: Minimum
    held_out: np.ndarray
    whole: Minimum
    misfit: float
    residual: np.ndarray
    normal: Normal


class Family(NamedTuple):
    """Fits of any member of one family.

    Attributes:
        space: with its largest degrees.
        start, sd: prior of x.
        known_noise: whether residuals are in units of the noise.
        fit: (which θ move, x to begin with or None) -> `Fitted`.
        data: number of residuals.
        floor: Σ of squared residuals below which fits are equally good.
    """

    space: LawSpace
    start: np.ndarray
    sd: np.ndarray
    known_noise: bool
    fit: Callable[[np.ndarray, np.ndarray | None], Fitted]
    data: int
    floor: float

    def criteria(self, fitted: Fitted, free: np.ndarray, data: float, unit: float) -> Criteria:
        """Information criteria of a member.

        Args:
            fitted: of `fit`.
            free: which θ move.
            data: number of independent residuals.
            unit: χ² per datum of the best law, where noise is known and no law reaches 1.
        """
        moving = np.concatenate([free, np.ones(self.start.size - free.size, bool)])
        if self.known_noise:
            deviance, scale = fitted.misfit / unit, unit
        else:
            scale = (fitted.misfit + self.floor) / self.data
            deviance = data * np.log(scale)
            scale *= self.data / data
        hessian = fitted.normal.hessian[np.ix_(moving, moving)] / scale
        pull = ((fitted.whole.point - self.start) / self.sd)[moving]
        return criteria(deviance, data, hessian, pull, self.sd[moving], int(free.sum()))


def at_face_value(space: LawSpace, setting: Setting, config: FitConfig, held_out: int) -> Family:
    """The movie as it stands, its last `held_out` frames for the judgement."""
    dtype = np.dtype(config.precision)
    frames = setting.believed.astype(dtype)
    weights = np.where(setting.valid, 1.0, 1e-9).astype(dtype)
    count = frames.shape[0]
    cut = count - held_out
    length = max(1, min(config.window_frames, cut - 1, held_out // 2))
    # As many stretches of either: what is compiled for one serves the other.
    stretches = max(1, min(config.windows, held_out - length + 1, cut - length))

    def windows(part: slice) -> Windows:
        return cut_windows(
            frames[part],
            weights[part],
            setting.times[part],
            setting.grid,
            windows=stretches,
            length=length,
        )

    early, late, whole = windows(slice(cut)), windows(slice(cut - 1, None)), windows(slice(None))
    start, substeps = _begin(space, setting, early, config)
    prior = space.prior(start)
    per_still = 1 / max(2 * still(late) / late.weights.size, 1e-30)
    floor = RESOLVED * 2 * still(whole)
    options = {
        "substeps": substeps,
        "iterations": config.iterations,
        "tolerance": config.tolerance,
    }

    def fit(free: np.ndarray, begin: np.ndarray | None) -> Fitted:
        def descend(windows: Windows, begin: np.ndarray | None) -> Minimum:
            # Weights in units of the misfit that is worth seeing, which the prior is weighed against.
            scaled = eqx.tree_at(lambda w: w.weights, windows, windows.weights * weight)
            return descend_windows(space, prior, scaled, free=free, begin=begin, **options)  # type: ignore[arg-type]

        weight = whole.weights.size / floor if floor > 0 else 1.0
        first = descend(early, begin)
        residual, _ = linearise(space, first.point, late, substeps=substeps)
        square = residual.reshape(-1, *residual.shape[2:]).astype(float) ** 2 * per_still
        last = descend(whole, first.point)
        residual, rows = linearise(space, last.point, whole, substeps=substeps)
        misfit = float(np.sum(residual.astype(float) ** 2))
        return Fitted(
            first, by_block(square), last, misfit, residual, normal_equations(residual, rows)
        )

    return Family(space, *prior, False, fit, whole.weights.size, floor)


def from_field(
    space: LawSpace,
    setting: Setting,
    config: FitConfig,
    held_out: int,
    prior: FieldPrior,
) -> Family:
    """The raw measurement against a law and an initial field, the last `held_out` frames for the judgement."""
    dtype = np.dtype(config.precision)
    weights = inverse_variance(setting.variance, setting.valid)
    cut = setting.observed.shape[0] - held_out
    hidden = weights.copy()
    hidden[cut:] = 0.0
    whole = Observation(
        frames=jnp.asarray(setting.observed, dtype),
        weights=jnp.asarray(weights, dtype),
        times=jnp.asarray(setting.times, dtype),
        grid=setting.grid,
        uniform=is_uniform(setting.times),
    )
    early = eqx.tree_at(lambda o: o.weights, whole, jnp.asarray(hidden, dtype))
    windows = cut_windows(
        setting.believed[:cut].astype(dtype),
        weights[:cut].astype(dtype),
        setting.times[:cut],
        setting.grid,
        windows=config.windows,
        length=config.window_frames,
    )
    theta, substeps = _begin(space, setting, windows, config)
    guess = regress_start(setting.believed, setting.times, setting.grid, model=space.model)
    base = joint_fit.Problem(
        space, whole, prior, space.prior(theta), substeps, intervals_before(space.model)
    )
    laws = [theta, *(space.start(*law) for law in start_grid(*guess))]

    def fit(free: np.ndarray, begin: np.ndarray | None) -> Fitted:
        problem = base._replace(free=free)
        shown = problem._replace(observation=early)
        if begin is None:
            first = joint_fit.fit_law_and_field(
                shown, laws, iterations=config.iterations, expected=setting.expected(slice(cut))
            )
        else:
            first = joint_fit.refine(shown, begin, iterations=config.iterations)
        square = joint_fit.residual_at(problem, first.point)[cut:].astype(float) ** 2
        last = joint_fit.refine(problem, first.point, iterations=config.iterations)
        normal, residual = joint_fit.normal_at(problem, last.point)
        misfit = float(np.sum(residual.astype(float) ** 2))
        return Fitted(first, by_block(square), last, misfit, residual[None], normal)

    return Family(space, base.start, base.sd, True, fit, int(setting.valid.sum()), 0.0)


def _begin(
    space: LawSpace, setting: Setting, windows: Windows, config: FitConfig
) -> tuple[np.ndarray, int]:
    """A starting θ, and the substeps that it needs.

    One number of substeps for all: a wrong law would have them doubled in vain, and compiled each time.
    """
    guess = regress_start(setting.believed, setting.times, setting.grid, model=space.model)
    substeps = needed_substeps(space, space.start(*guess), setting, config, FINEST)
    candidates = np.stack([space.start(*law) for law in start_grid(*guess)])
    return pick_start(space, candidates, windows, substeps=substeps)[0], substeps


def independent_data(families: list[Family], best: Fitted) -> float:
    """How many independent residuals the criteria count: those of the law that fits best tell."""
    return float(families[0].data) if families[0].known_noise else independent(best.residual)
