"""Integrate a law from an initial field through the times of a movie, by equal steps.

    c(t₀) = c₀,   frames[i] = c(tᵢ),   substeps equal steps between frames

Two nested scans, over frames and over the steps between them. In reverse mode each step is computed
again from the field it started from, so that a field per step is stored: faster than storing the
intermediates of a step, which leave the cache. Plain jvp, grad and vmap apply. A call outside jit compiles
once for each structure (shapes, kinds of law, grid and stepper) and is kept.
Griewank & Walther, ACM Trans. Math. Softw. 26, 19 (2000), doi:10.1145/347837.347846.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from phdenoise.grid import Grid
from phdenoise.physics.equations.base import Law
from phdenoise.physics.march import March, SimulateOptions, Times, compiled, increasing
from phdenoise.physics.steppers.base import Stepper, as_dtype
from phdenoise.physics.steppers.table import choose_stepper
from phdenoise.types import Field, InputError, Scalar

# A field that grows beyond so many times the larger of 1 and the first frame has diverged: the laws continued
# outside (0, 1) grow only linearly there, so an unstable step may take long to overflow.
GROWTH_OF_DIVERGENCE = 100.0
# Largest relative difference of intervals that are taken as equal: the rounding of stored times in float32.
EQUAL_INTERVALS = 1e-5


def simulate(
    model: Law,
    grid: Grid,
    c0: Field,
    times: Times,
    *,
    substeps: int,
    stepper: str | Stepper | None = None,
    **options: Any,
) -> Float[Array, "t *cells"]:
    """Frames of the solution at `times`; frames[0] is c0.

    Args:
        model: law.
        grid: domain.
        c0: field at times[0] [*cells]; its dtype is that of the whole computation.
        times: increasing [t]. As a NumPy array their differences are taken in double precision, so that
            time stamps of any size serve; inside jit count them from the first frame.
        substeps: steps between two frames.
        stepper: name ("etdrk4", "krogstad", "rosenbrock", "rkc2", "variable-rkc2"), object, or None to choose:
            "etdrk4" on a rectangle, "variable-rkc2" under a mask.
        options: of `SimulateOptions`: reference, checkpoint, uniform, ramp.

    Returns:
        Frames [t, *cells]. Test them with `diverged`: an unstable step or an ill-posed law is returned as is,
        and times that do not increase inside jit give NaN.

    Raises:
        InputError: c0 does not fit the grid; the stepper cannot do the domain; or, outside jit, the times do not
            increase or c0 lies where the law does not drive it (a reaction far outside (0, 1)).
    """
    march = plan(model, grid, c0, times, substeps, stepper, SimulateOptions(**options))
    if not isinstance(c0, jax.core.Tracer):
        _refuse_outside(model, grid, c0)
    return _run(march, model, c0)


def plan(
    model: Law,
    grid: Grid,
    c0: Field,
    times: Times,
    substeps: int,
    stepper: str | Stepper | None,
    options: SimulateOptions,
) -> March:
    """Check the arguments of `simulate`, and take the differences of the times in double precision.

    Args:
        model, grid, c0, times, substeps, stepper, options: of `simulate`.

    Returns:
        All but the law and the first field.

    Raises:
        InputError: as in `simulate`.
    """
    if substeps < 1:
        raise InputError(f"substeps must be at least 1, got {substeps}.")
    if tuple(c0.shape[-grid.ndim :]) != grid.shape:
        raise InputError(f"The initial field has shape {c0.shape}, the grid {grid.shape}.")
    method = choose_stepper(stepper, model, grid)
    known = not isinstance(times, jax.core.Tracer)
    gaps = np.diff(increasing(times)) if known else jnp.diff(times)
    uniform = options.uniform
    if uniform is None:
        uniform = known and gaps.size > 0 and np.allclose(gaps, gaps[0], EQUAL_INTERVALS, atol=0)
    steps = jnp.asarray(gaps, c0.dtype) / substeps
    if not known:
        # Equal or falling times would return a field that did not move.
        steps = jnp.where(steps > 0, steps, jnp.nan)
    starts = jnp.asarray(times[:-1], c0.dtype)
    return March(grid, starts, steps, method, substeps, options._replace(uniform=bool(uniform)))


def diverged(
    frames: Float[Array, "t *cells"], model: Law | None = None, grid: Grid | None = None
) -> Bool[Array, ""]:
    """True where a value is not finite, or a hundred times larger than 1 and the first frame.

    Args:
        frames: of `simulate` [t, *cells].
        model, grid: if given, True also where a frame is not `admissible` to the law.

    Returns:
        One boolean.
    """
    size = jnp.maximum(1.0, jnp.max(jnp.abs(frames[0])))
    grown = ~(jnp.max(jnp.abs(frames)) < GROWTH_OF_DIVERGENCE * size)
    if model is None or grid is None:
        return grown
    return grown | ~jnp.all(jax.vmap(model.admissible, (0, None))(frames, grid))


@eqx.filter_jit
def advance(
    model: Law, grid: Grid, c0: Field, span: Scalar, steps: Array, stepper: Stepper
) -> Field:
    """The field after `span` by a number of equal steps that is not known when compiling.

    Args:
        model: law.
        grid: domain.
        c0: field at time 0 [*cells].
        span: time to cover [time].
        steps: integer scalar.
        stepper: object, e.g. of `choose_stepper`.

    Returns:
        Field [*cells].
    """
    model, grid = as_dtype(model, c0.dtype), as_dtype(grid, c0.dtype)
    dt = span.astype(c0.dtype) / steps.astype(c0.dtype)
    coefficients = stepper.prepare(model, grid, dt, stepper.linearise(model, grid, c0))

    def step(i: Array, c: Field) -> Field:
        return stepper.step(model, grid, coefficients, dt * i.astype(c.dtype), c, dt)

    return jax.lax.fori_loop(0, steps, step, c0)


def substeps_for(
    model: Law,
    grid: Grid,
    c0: Field,
    frame_interval: float,
    tolerance: float,
    *,
    frames: int = 1,
    stepper: str | Stepper | None = None,
    most: int = 4096,
) -> int:
    """Fewest steps per frame (a power of two) whose doubling changes the field by `tolerance`.

    Args:
        model: law.
        grid: domain.
        c0: starting field [*cells]; choose one that is already separated, or more `frames`.
        frame_interval: time between frames [time].
        tolerance: relative L2 change of c − mean(c).
        frames: intervals to integrate before comparing.
        stepper: as in `simulate`.
        most: steps per frame at which the search ends.

    Returns:
        Steps per frame.

    Raises:
        InputError: if `most` steps do not reach the tolerance.
    """
    method = choose_stepper(stepper, model, grid)
    span = jnp.asarray(frame_interval * frames, c0.dtype)
    n = 1
    coarse = advance(model, grid, c0, span, jnp.asarray(frames), method)
    while n <= most:
        fine = advance(model, grid, c0, span, jnp.asarray(2 * n * frames), method)
        scale = jnp.linalg.norm(fine - jnp.mean(fine))
        change = float(jnp.linalg.norm(fine - coarse) / scale)
        if change <= tolerance:
            return n
        n, coarse = 2 * n, fine
    raise InputError(
        f"{most} steps per frame do not reach a relative change of {tolerance} "
        f"(last {change:.2g}): shorten the frame interval or check the law."
    )


@compiled
def _run(march: March, model: Law, c0: Field) -> Float[Array, "t *cells"]:
    return march.frames(model, c0)


def _refuse_outside(model: Law, grid: Grid, c0: Field) -> None:
    inside = model.admissible(c0, grid)
    if not isinstance(inside, jax.core.Tracer) and not bool(inside):
        raise InputError(
            f"The first field spans {float(jnp.min(c0)):.4g} to {float(jnp.max(c0)):.4g}, where the "
            "law no longer drives it: map it into (0, 1) first."
        )
