"""Fitting a law to a movie taken at face value: multiple shooting from the movie's own frames.

The movie is cut into windows; each starts from its first frame as it stands and is compared with the
frames that follow. Right for clean movies. Noise in the starting frames enters the solve and biases the
law, which is why the joint fit (`phdenoise.learn.joint`) estimates the initial field instead.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.grid import Grid
from phdenoise.learn.config import FitConfig
from phdenoise.learn.fit_problem import FitProblem, Starts, needed_substeps
from phdenoise.learn.gauss_newton import (
    Minimum,
    Normal,
    Objective,
    Stopping,
    descend,
    freeze,
    half_square,
    jacobian,
    normal_equations,
    with_prior,
)
from phdenoise.learn.laws import LawPrior
from phdenoise.learn.objective import within
from phdenoise.physics.equations.base import Law
from phdenoise.physics.law_parameters import Parameters
from phdenoise.physics.simulate import simulate

# Weight [share of the largest] below which nothing was measured: such residuals have 1e-9 of the mean weight.
MISSING_WEIGHT = 1e-7


# Solver steps a frame interval at most where laws are compared: a wrong law would have them doubled in vain, and compiled each time.
CANDIDATE_SUBSTEPS = 8


class Windows(eqx.Module):
    """Stretches of a movie to shoot over.

    Attributes:
        frames: concentration [window, 1 + length, y, x]; the first frame of each is the start.
        weights: inverse variance of the frames after the first [window, length, y, x].
        times: [window, 1 + length] in (median) frame intervals.
        grid: spacing in pixels.
        uniform: whether all intervals are one.
    """

    frames: Float[Array, "w n y x"]
    weights: Float[Array, "w m y x"]
    times: Float[Array, "w n"]
    grid: Grid
    uniform: bool = eqx.field(static=True, default=True)


def cut_windows(
    frames: np.ndarray,
    weights: np.ndarray,
    times: np.ndarray,
    grid: Grid,
    *,
    windows: int,
    length: int,
) -> Windows:
    """Windows of 1 + length frames, spread evenly over the movie [t, y, x] with its times [t].

    Args:
        frames: concentration [t, y, x].
        weights: inverse variance [t, y, x].
        times: of the frames [frame intervals].
        grid: of the field.
        windows: number of stretches.
        length: frames of each after its start.

    Returns:
        The stretches.
    """
    length = min(length, frames.shape[0] - 1)
    last = frames.shape[0] - 1 - length
    starts = np.unique(np.linspace(0, last, min(windows, last + 1)).round().astype(int))
    take = starts[:, None] + np.arange(length + 1)
    return Windows(
        frames=jnp.asarray(frames[take]),
        weights=jnp.asarray(weights[take[:, 1:]]),
        times=jnp.asarray(times[take], frames.dtype),
        grid=grid,
        uniform=is_uniform(times),
    )


def count_data(windows: Windows) -> int:
    """How many residuals have a weight."""
    weights = np.asarray(windows.weights)
    return int(np.sum(weights > MISSING_WEIGHT * weights.max()))


def windows_of(
    fit_problem: FitProblem,
    config: FitConfig,
    frames: np.ndarray,
    weights: np.ndarray,
) -> Windows:
    """Windows of a movie's frames as many, as long and as precise as the settings say.

    Args:
        fit_problem: with their times and grid.
        config: settings.
        frames: concentration [t, y, x], the first of the problem's frames.
        weights: inverse variance [t, y, x].

    Returns:
        The stretches.
    """
    dtype = np.dtype(config.precision)
    return cut_windows(
        frames.astype(dtype),
        weights.astype(dtype),
        fit_problem.times[: len(frames)],
        fit_problem.grid,
        windows=config.windows,
        length=config.window_frames,
    )


def is_uniform(times: np.ndarray) -> bool:
    """Whether times [t] in frame intervals advance by one, but for the jitter of a clock."""
    return bool(np.ptp(np.diff(times)) < 0.01)


def window_residual(
    family: Parameters, theta: Float[Array, " p"], windows: Windows, *, substeps: int
) -> Float[Array, "w m y x"]:
    """√w (prediction − frames) of every window.

    Args:
        family: what the components of θ are.
        theta: θ [p].
        windows: stretches of the movie.
        substeps: solver steps a frame interval.

    Returns:
        Residuals in units of the noise [w, m, y, x].
    """
    return law_residual(family.build(theta.astype(windows.frames.dtype)), windows, substeps)


def law_residual(law: Law, windows: Windows, substeps: int) -> Float[Array, "w m y x"]:
    """√w (prediction − frames) of every window by a law.

    Args:
        law: in cells and frame intervals.
        windows: stretches of the movie.
        substeps: solver steps a frame interval.

    Returns:
        Residuals in units of the noise [w, m, y, x].
    """

    def shoot(start: Array, times: Array) -> Array:
        return simulate(
            law,
            windows.grid,
            within(start, law.bounded),
            times,
            substeps=substeps,
            checkpoint=False,
            uniform=windows.uniform,
        )[1:]

    frames = jax.vmap(shoot)(windows.frames[:, 0], windows.times)
    return jnp.sqrt(windows.weights) * (frames - windows.frames[:, 1:])


@eqx.filter_jit
def weighted_misfit(family: Parameters, theta: Array, windows: Windows, substeps: int) -> Array:
    """`window_residual`, compiled.

    Args:
        family: what the components of θ are.
        theta: θ [p].
        windows: stretches of the movie.
        substeps: solver steps a frame interval.

    Returns:
        Residuals in units of the noise [w, m, y, x].
    """
    return window_residual(family, theta, windows, substeps=substeps)


@eqx.filter_jit
def _jacobian(
    family: Parameters, theta: Array, windows: Windows, substeps: int
) -> tuple[Array, Array]:
    return jacobian(lambda th: window_residual(family, th, windows, substeps=substeps), theta)


def still(windows: Windows) -> float:
    """Cost of "nothing moves"."""
    change = windows.frames[:, :1] - windows.frames[:, 1:]
    return 0.5 * float(jnp.sum(windows.weights * change**2))


def misfit_cost(family: Parameters, theta: np.ndarray, windows: Windows, substeps: int) -> float:
    """½ Σ of squared residuals, inf where the law diverges.

    Args:
        family: what the components of θ are.
        theta: θ [p].
        windows: stretches of the movie.
        substeps: solver steps a frame interval.

    Returns:
        The cost.
    """
    point = jnp.asarray(theta, windows.frames.dtype)
    value = half_square(weighted_misfit(family, point, windows, substeps))
    # An unstable solve may stay finite for a few frames; no law is that wrong.
    return value if value < 2e3 * still(windows) + 1.0 else np.inf


def pick_start(
    family: Parameters, candidates: np.ndarray, windows: Windows, *, substeps: int
) -> tuple[np.ndarray, float]:
    """The candidate θ (rows of [k, p]) whose windows fit best, and its cost as a share of "nothing moves".

    Args:
        family: what the components of θ are.
        candidates: θ of each law [k, p].
        windows: stretches of the movie.
        substeps: solver steps a frame interval.

    Returns:
        θ of the best [p], and its cost over that of "nothing moves".
    """
    costs = [misfit_cost(family, theta, windows, substeps) for theta in candidates]
    best = int(np.argmin(costs))
    return candidates[best], costs[best] / max(still(windows), 1e-30)


def begin_at(
    family: Parameters, starts: Starts, fit_problem: FitProblem, windows: Windows, config: FitConfig
) -> tuple[np.ndarray, int]:
    """A starting θ, and the substeps that it needs.

    One number of substeps for all: a wrong law would have them doubled in vain, and compiled each time.

    Args:
        family: what the components of θ are.
        starts: where fits begin.
        fit_problem: the movie as concentration.
        windows: its stretches.
        config: settings.

    Returns:
        θ [p], and solver steps a frame interval.
    """
    substeps = needed_substeps(family, starts.guess, fit_problem, config, CANDIDATE_SUBSTEPS)
    return pick_start(family, starts.around, windows, substeps=substeps)[0], substeps


def explained(family: Parameters, theta: np.ndarray, windows: Windows, *, substeps: int) -> float:
    """1 − |prediction − frames|² / |start − frames|²: what the law adds to "nothing moves".

    Args:
        family: what the components of θ are.
        theta: θ [p].
        windows: stretches of the movie.
        substeps: solver steps a frame interval.

    Returns:
        At most 1.
    """
    return 1.0 - misfit_cost(family, theta, windows, substeps) / max(still(windows), 1e-30)


class Descent(NamedTuple):
    """How a fit of stretches descends.

    Attributes:
        substeps: solver steps a frame interval.
        iterations: Jacobians at most.
        tolerance: relative decrease of the cost at which it has converged.
        progress: called with (iteration, iterations, cost).
    """

    substeps: int
    iterations: int
    tolerance: float
    progress: Callable[[int, int, float], None] | None = None


def descend_windows(
    family: Parameters,
    prior: LawPrior,
    windows: Windows,
    descent: Descent,
    *,
    free: np.ndarray | None = None,
    begin: np.ndarray | None = None,
    resolution: float = 0.0,
    equations: Callable[[np.ndarray], Normal] | None = None,
) -> Minimum:
    """Maximum a-posteriori θ of the windows.

    Args:
        family: what the components of θ are.
        prior: of θ.
        windows: stretches of the movie.
        descent: how to descend.
        free: which numbers of θ move; None for all.
        begin: where to start, the prior's centre by default.
        resolution: decrease of the cost that is not worth a step, where the weights are in units of the noise.
        equations: θ -> normal equations of the data alone, by one that remembers the last.

    Returns:
        The minimum.
    """
    dtype = windows.frames.dtype
    start, sd = prior
    substeps = descent.substeps

    def cost(theta: np.ndarray) -> float:
        pull = (theta - start) / sd
        return misfit_cost(family, theta, windows, substeps) + 0.5 * float(np.sum(pull**2))

    def normal(theta: np.ndarray) -> Normal:
        if equations is None:
            found = normal_equations(*linearise(family, theta, windows, substeps=substeps))
        else:
            found = equations(theta)
        return freeze(with_prior(found, theta, start, sd), free)

    def move(theta: np.ndarray, step: np.ndarray) -> np.ndarray:
        moved = family.law.long_step(family, theta, step)
        return moved if free is None else np.where(free, moved, theta)

    used = max(count_data(windows) - family.size, 1)
    return descend(
        Objective(normal, cost),
        move,
        start if begin is None else begin,
        # 0.02 in units of the misfit per datum as found: 0.2 posterior standard deviations.
        Stopping(
            descent.iterations,
            descent.tolerance,
            resolution,
            max(float(jnp.finfo(dtype).eps), 0.04 / used),
        ),
        progress=descent.progress,
    )


def linearise(
    family: Parameters, theta: np.ndarray, windows: Windows, *, substeps: int
) -> tuple[np.ndarray, np.ndarray]:
    """√w (prediction − frames) [w, m, y, x] at θ and its Jacobian [p, ...].

    Args:
        family: what the components of θ are.
        theta: θ [p].
        windows: stretches of the movie.
        substeps: solver steps a frame interval.

    Returns:
        Residual [w, m, y, x] and its derivative [p, w, m, y, x].
    """
    found = _jacobian(family, jnp.asarray(theta, windows.frames.dtype), windows, substeps)
    return np.asarray(found[0]), np.asarray(found[1])
