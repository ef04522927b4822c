"""Integrate a model from an initial field through the times of a movie.

    c(t₀) = c₀,   frames[i] = c(tᵢ),   substeps equal steps between frames

Two nested scans, over frames and over the steps between them. In reverse mode each step is computed
again from the field it started from, so that a field per step is stored: faster than storing the
intermediates of a step, which leave the cache. Plain jvp, grad and vmap apply.
Griewank & Walther, ACM Trans. Math. Softw. 26, 19 (2000), doi:10.1145/347837.347846.
"""

from typing import Any, Literal, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from phdenoise.grid import Grid
from phdenoise.physics.models import Model, Reference, reference_mobility
from phdenoise.physics.rkc import RKC2
from phdenoise.physics.rosenbrock import RosenbrockW
from phdenoise.physics.sparing import Sparing
from phdenoise.physics.steppers import ETDRK4, Stepper
from phdenoise.types import Field, InputError, Scalar

_STEPPERS: dict[str, Stepper] = {
    "etdrk4": ETDRK4(),
    "krogstad": ETDRK4(krogstad=True),
    "rosenbrock": RosenbrockW(),
    "rkc2": RKC2(),
}
Tree = TypeVar("Tree")


def simulate(
    model: Model,
    grid: Grid,
    c0: Field,
    times: Float[np.ndarray, " t"] | Float[Array, " t"],
    *,
    substeps: int,
    stepper: str | Stepper = "etdrk4",
    reference: Reference | None = None,
    checkpoint: bool | Literal["nested"] = True,
    uniform: bool | None = None,
    ramp: int = 0,
) -> Float[Array, "t *cells"]:
    """Frames [t, y, x] of the solution at `times`; frames[0] is c0.

    Args:
        c0: field at times[0]; its dtype is that of the whole computation.
        times: increasing [t].
        substeps: steps between two frames.
        stepper: "etdrk4", "krogstad" (more accurate, less forgiving), "rosenbrock", "rkc2" or an object.
        reference: of `reference_mobility`; by default that of c0.
        checkpoint: in reverse mode recompute each step from its stored field; "nested" stores only
            every √n-th field of n steps and those between two of them, for one more forward solve,
            and is for reverse mode alone (`Sparing`); False stores all.
        uniform: take every interval equal to the first; by default so if `times` are known when
            tracing and equal, else each interval prepares its own constants.
        ramp: split the first step into ramp + 1 steps that start 2^ramp times smaller and double.
            A rough c0 (white noise) relaxes within such a time; without it every method here falls
            to first order.

    Returns:
        Frames; test them with `diverged`: an unstable step or an ill-posed law is returned as is.

    Raises:
        InputError: if c0 does not fit the grid, or (outside jit) lies where the model does not drive
            it: a reaction far outside (0, 1).
    """
    if substeps < 1:
        raise InputError(f"substeps must be at least 1, got {substeps}.")
    if tuple(c0.shape[-len(grid.shape) :]) != grid.shape:
        raise InputError(f"The initial field has shape {c0.shape}, the grid {grid.shape}.")
    if not isinstance(c0, jax.core.Tracer):
        _refuse_outside(model, grid, c0)
    method = resolve_stepper(stepper)
    dtype = c0.dtype
    if uniform is None:
        uniform = _known_uniform(times)
    model, grid = as_dtype(model, dtype), as_dtype(grid, dtype)
    if reference is None:
        reference = reference_mobility(model, grid, c0)
    reference = as_dtype(reference, dtype)
    times = jnp.asarray(times, dtype)
    steps = jnp.diff(times) / substeps
    if steps.shape[0] == 0:
        return c0[None]
    c = c0
    if ramp:
        c = _ramp(method, model, grid, reference, c0, times[0], steps[0], ramp)
        times = times.at[0].add(steps[0])
        steps = jnp.diff(times) / substeps
        uniform = False
    shared = method.prepare(model, grid, steps[0], reference) if uniform else None

    nested = checkpoint == "nested"
    length = _segment(substeps, substeps * steps.shape[0]) if nested else substeps

    def segment(
        model: Model, grid: Grid, shared: Any, c: Field, start: Scalar, dt: Scalar, begin: Array
    ) -> Field:
        coefficients = method.prepare(model, grid, dt, reference) if shared is None else shared
        stepped = Sparing(model) if nested else model

        def step(c: Field, index: Array) -> Field:
            return method.step(stepped, grid, coefficients, start + dt * index.astype(dtype), c, dt)

        def substep(c: Field, index: Array) -> tuple[Field, None]:
            if substeps % length == 0:
                return step(c, index), None
            return jax.lax.cond(index < substeps, step, lambda c, _: c, c, index), None

        body = jax.checkpoint(substep, prevent_cse=False) if checkpoint else substep
        return jax.lax.scan(body, c, begin + jnp.arange(length))[0]

    if nested:
        segment = jax.checkpoint(segment, prevent_cse=False)
    begins = jnp.arange(0, substeps, length)

    def interval(c: Field, start: Scalar, dt: Scalar) -> Field:
        def part(c: Field, begin: Array) -> tuple[Field, None]:
            return segment(model, grid, shared, c, start, dt, begin), None

        return jax.lax.scan(part, c, begins)[0] if len(begins) > 1 else part(c, begins[0])[0]

    def frame(c: Field, item: tuple[Scalar, Scalar]) -> tuple[Field, Field]:
        c = interval(c, *item)
        return c, c

    _, frames = jax.lax.scan(frame, c, (times[:-1], steps))
    return jnp.concatenate([c0[None], frames])


def diverged(
    frames: Float[Array, "t *cells"], model: Model | None = None, grid: Grid | None = None
) -> Bool[Array, ""]:
    """True where a value is not finite, or a hundred times larger than 1 and the first frame.

    The continued laws grow only linearly outside (0, 1), so an unstable step may take long to
    overflow. With the model and its grid also where a frame is not `admissible` to it.
    """
    size = jnp.maximum(1.0, jnp.max(jnp.abs(frames[0])))
    grown = ~(jnp.max(jnp.abs(frames)) < 100 * size)
    if model is None or grid is None:
        return grown
    return grown | ~jnp.all(jax.vmap(model.admissible, (0, None))(frames, grid))


@eqx.filter_jit
def advance(
    model: Model, grid: Grid, c0: Field, span: Scalar, steps: Array, stepper: Stepper
) -> Field:
    """The field after `span` by a number of equal steps that is not known when compiling.

    Args:
        span: time to cover.
        steps: integer scalar.
        stepper: object, e.g. from `resolve_stepper`.
    """
    model, grid = as_dtype(model, c0.dtype), as_dtype(grid, c0.dtype)
    dt = span.astype(c0.dtype) / steps.astype(c0.dtype)
    coefficients = stepper.prepare(model, grid, dt, reference_mobility(model, grid, c0))

    def step(i: Array, c: Field) -> Field:
        return stepper.step(model, grid, coefficients, dt * i.astype(c.dtype), c, dt)

    return jax.lax.fori_loop(0, steps, step, c0)


def substeps_for(
    model: Model,
    grid: Grid,
    c0: Field,
    frame_interval: float,
    tolerance: float,
    *,
    frames: int = 1,
    stepper: str | Stepper = "etdrk4",
    most: int = 4096,
) -> int:
    """Fewest steps per frame (a power of two) whose doubling changes the field by `tolerance`.

    Args:
        c0: starting field; choose one that is already separated, or more `frames`.
        frame_interval: time between frames.
        tolerance: relative L2 change of c − mean(c).
        frames: intervals to integrate before comparing.

    Raises:
        InputError: if `most` steps do not reach it.
    """
    method = resolve_stepper(stepper)
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


def resolve_stepper(stepper: str | Stepper) -> Stepper:
    """The stepper of a name."""
    if isinstance(stepper, Stepper):
        return stepper
    if stepper not in _STEPPERS:
        raise InputError(f"Unknown stepper '{stepper}': use one of {sorted(_STEPPERS)}.")
    return _STEPPERS[stepper]


def as_dtype(tree: Tree, dtype: jnp.dtype) -> Tree:
    """The same tree with floating-point leaves of one dtype."""
    return jax.tree.map(lambda x: x.astype(dtype) if eqx.is_inexact_array(x) else x, tree)


def _refuse_outside(model: Model, grid: Grid, c0: Field) -> None:
    inside = model.admissible(c0, grid)
    if not isinstance(inside, jax.core.Tracer) and not bool(inside):
        raise InputError(
            f"The first field spans {float(jnp.min(c0)):.4g} to {float(jnp.max(c0)):.4g}, where the "
            "law no longer drives it: map it into (0, 1) first."
        )


def _ramp(
    method: Stepper,
    model: Model,
    grid: Grid,
    reference: Reference,
    c: Field,
    start: Scalar,
    dt: Scalar,
    levels: int,
) -> Field:
    """One step of dt as steps of dt/2ⁿ, dt/2ⁿ, dt/2ⁿ⁻¹ … dt/2."""
    ends = 2.0 ** -np.arange(levels, -1, -1)
    begins = np.concatenate([[0.0], ends[:-1]])
    # Widths apart from places: their difference would cancel in float32.
    places = start + dt * jnp.asarray(begins, dt.dtype)
    widths = dt * jnp.asarray(ends - begins, dt.dtype)

    def step(c: Field, item: tuple[Scalar, Scalar]) -> tuple[Field, None]:
        t, h = item
        coefficients = method.prepare(model, grid, h, reference)
        return method.step(model, grid, coefficients, t, c, h), None

    return jax.lax.scan(step, c, (places, widths))[0]


def _segment(substeps: int, total: int) -> int:
    """Steps between two stored fields: about √total, a divisor of `substeps` where one is near."""
    wanted = max(1, round(total**0.5))
    if substeps <= 2 * wanted:
        return substeps
    near = [n for n in range(wanted // 2 + 1, 2 * wanted) if substeps % n == 0]
    return min(near, key=lambda n: max(n / wanted, wanted / n)) if near else wanted


def _known_uniform(times: np.ndarray | Array) -> bool:
    if isinstance(times, jax.core.Tracer):
        return False
    gaps = np.diff(np.asarray(times, float))
    return bool(gaps.size and np.allclose(gaps, gaps[0], rtol=1e-5, atol=0))
