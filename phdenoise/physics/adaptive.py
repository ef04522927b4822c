"""Integrate with steps chosen from an error estimate, and say how it ended.

    accept if ‖e‖ = rms( eᵢ / (atol + rtol max(|cᵢ|, |c'ᵢ|)) ) ≤ 1,
    dt ← dt · clip( 0.9 ‖e‖^(−0.7/3) ‖e_before‖^(0.4/3), ⅕, 5 )

The steps are free of the movie's times: a frame is read off the polynomial of the step that passes
it. One `while_loop`, so forward mode and vmap apply (the sequence of steps is not differentiated);
reverse mode goes through `simulate` or diffrax. Gustafsson's controller: Hairer & Wanner, Solving
Ordinary Differential Equations II (1996), doi:10.1007/978-3-642-05221-7, IV.2.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from phdenoise.grid import Grid
from phdenoise.physics.models import Model
from phdenoise.physics.rkc_adaptive import VariableRKC2
from phdenoise.physics.rosenbrock import RosenbrockW
from phdenoise.physics.simulate import as_dtype
from phdenoise.types import Field, Frames, InputError, Scalar

SAFETY, SHRINK, GROW = 0.9, 0.2, 5.0


class Outcome(IntEnum):
    """How a solve ended; `sentence` says it in words."""

    reached = 0
    too_many_steps = 1
    step_too_small = 2
    not_finite = 3
    bad_start = 4
    left_range = 5

    @property
    def sentence(self) -> str:
        """What happened and what to do."""
        return _SENTENCES[self]


_SENTENCES = {
    Outcome.reached: "The last time was reached.",
    Outcome.too_many_steps: (
        "The steps ran out before the last time: raise max_steps or the tolerances, or end earlier."
    ),
    Outcome.step_too_small: (
        "The steps shrank to nothing although the field stayed finite: the tolerance is below the "
        "rounding of this dtype, or the law is ill-posed (a mobility or gradient coefficient below "
        "zero)."
    ),
    Outcome.not_finite: (
        "Every step from here on, however small, gives values that are not finite: the law is "
        "ill-posed or undefined at this field."
    ),
    Outcome.bad_start: "The first field, or its rate of change, is not finite.",
    Outcome.left_range: (
        "The field lies outside the range in which the law drives it (for a reaction, more than "
        "100 eps outside [0, 1]): begin inside, with noise mapped into (0, 1), or end before the "
        "current has filled or emptied the particle."
    ),
}


class Solution(NamedTuple):
    """Frames and how far they can be trusted; always finite if the first field was.

    Attributes:
        frames: solution at the requested times [t, *cells]; those not reached repeat `last`.
        valid: which frames were reached [t].
        outcome: how it ended, the number of an `Outcome`.
        time: where it ended, the time of `last`.
        last: field there.
        dt: next step size it would have tried.
        accepted, rejected: numbers of steps.
    """

    frames: Frames
    valid: Bool[Array, " t"]
    outcome: Int[Array, ""]
    time: Scalar
    last: Field
    dt: Scalar
    accepted: Int[Array, ""]
    rejected: Int[Array, ""]

    def explain(self) -> str:
        """One sentence: when and why it stopped (outside jit)."""
        return (
            f"Stopped at t = {float(self.time):.6g} after {int(self.accepted)} steps "
            f"({int(self.rejected)} rejected). {Outcome(int(self.outcome)).sentence}"
        )

    def checked(self) -> Frames:
        """The frames (outside jit).

        Raises:
            InputError: if not all times were reached.
        """
        if not bool(jnp.all(self.valid)):
            raise InputError(self.explain())
        return self.frames


def integrate(
    model: Model,
    grid: Grid,
    c0: Field,
    times: Float[np.ndarray, " t"] | Float[Array, " t"],
    *,
    rtol: float = 1e-5,
    atol: float = 1e-7,
    method: RosenbrockW | VariableRKC2 | None = None,
    first_step: float | Array | None = None,
    max_step: float = np.inf,
    max_steps: int = 100_000,
) -> Solution:
    """The solution at `times`, however spaced, by adaptive steps.

    Args:
        c0: field at times[0]; its dtype is that of the whole computation.
        times: increasing [t].
        rtol, atol: tolerance of a step, relative and absolute.
        method: by default `RosenbrockW`, or `VariableRKC2` where the grid has a mask.
        first_step: by default from the size of c0 and of its rate [t].
        max_step: upper bound of a step [t].
        max_steps: attempts, rejected ones included.
    """
    # Leading axes are the layers of a model that has several.
    if tuple(c0.shape[-grid.ndim :]) != grid.shape:
        raise InputError(f"The initial field has shape {c0.shape}, the grid {grid.shape}.")
    if not (rtol > 0 and atol > 0):
        raise InputError(f"Tolerances must be positive, got rtol={rtol}, atol={atol}.")
    dtype = c0.dtype
    if method is None:
        method = RosenbrockW() if grid.mask is None else VariableRKC2()
    model, grid = as_dtype(model, dtype), as_dtype(grid, dtype)
    times = jnp.asarray(times, dtype)
    rough = _Norm(grid, rtol, atol)
    f0 = model.rhs(times[0], c0, grid)
    begins_inside = model.admissible(c0, grid)
    guess = 0.01 * rough(c0, c0) / jnp.maximum(rough(f0, c0), 1e-30)
    span = times[-1] - times[0]
    guess = jnp.clip(guess, 1e-8 * span, span)
    dt = guess if first_step is None else jnp.asarray(first_step, dtype)
    fine = jnp.all(jnp.isfinite(c0)) & jnp.all(jnp.isfinite(f0))
    start = _State(
        t=times[0],
        c=c0,
        dt=jax.lax.stop_gradient(jnp.where(fine, dt, span)),
        before=jnp.ones((), dtype),
        linear=jax.lax.stop_gradient(method.linearise(model, grid, c0)),
        frames=jnp.broadcast_to(c0, (times.shape[0], *c0.shape)),
        following=jnp.asarray(1),
        accepted=jnp.asarray(0),
        rejected=jnp.asarray(0),
        finite=fine,
        inside=begins_inside,
        alive=fine & begins_inside,
    )

    def going(s: _State) -> Array:
        return s.alive & (s.following < times.shape[0]) & (s.accepted + s.rejected < max_steps)

    def attempt(s: _State) -> _State:
        left = times[-1] - s.t
        # A last sliver of a step would spoil the controller's memory: halve what is left instead.
        near = jnp.where(left < 2 * s.dt, 0.5 * left, s.dt)
        h = jnp.minimum(jnp.where(left <= 1.01 * s.dt, left, near), max_step)
        h = method.limit(grid, s.linear, h)
        last = h >= left
        coefficients = method.prepare(model, grid, h, s.linear)
        c, error, dense = method.step_dense(model, grid, coefficients, s.t, s.c, h)
        size = jax.lax.stop_gradient(rough(error, jnp.maximum(jnp.abs(s.c), jnp.abs(c))))
        finite = jnp.isfinite(size) & jnp.all(jnp.isfinite(c))
        # A shorter step may stay inside where this one overshot.
        inside = model.admissible(c, grid) | ~finite
        size = jnp.where(finite & inside, jnp.maximum(size, 1e-4), jnp.inf)
        good = size <= 1
        t = jnp.where(last, times[-1], s.t + h)
        factor = SAFETY * size ** (-0.7 / 3) * s.before ** (0.4 / 3)
        factor = jnp.clip(jnp.where(good, factor, SAFETY * size ** (-1 / 3)), SHRINK, GROW)
        frames, following = _fill(s, times, good, t, h, dense)
        accepted = s.accepted + good
        linear = jax.lax.cond(
            good & (accepted % method.refresh == 0),
            lambda: jax.lax.stop_gradient(method.linearise(model, grid, c)),
            lambda: s.linear,
        )
        dt = h * jnp.where(good, factor, jnp.minimum(factor, 1))
        # A step cut short to land on the end says nothing against the size it was cut from.
        dt = jnp.where(good & last, jnp.maximum(dt, s.dt), dt)
        floor = 16 * jnp.finfo(dtype).eps * jnp.maximum(jnp.abs(s.t), 1e-6 * span)
        return _State(
            t=jnp.where(good, t, s.t),
            c=jnp.where(good, c, s.c),
            dt=dt,
            before=jnp.where(good, size, s.before),
            linear=linear,
            frames=frames,
            following=following,
            accepted=accepted,
            rejected=s.rejected + ~good,
            finite=finite,
            inside=inside,
            alive=good | (dt > floor),
        )

    end = jax.lax.while_loop(going, attempt, start)
    valid = jnp.arange(times.shape[0]) < end.following
    whole = end.following >= times.shape[0]
    failure = jnp.where(end.finite, Outcome.step_too_small.value, Outcome.not_finite.value)
    failure = jnp.where(end.inside, failure, Outcome.left_range.value)
    outcome = jnp.where(end.alive, Outcome.too_many_steps.value, failure)
    outcome = jnp.where(whole, Outcome.reached.value, outcome)
    outcome = jnp.where(fine, outcome, Outcome.bad_start.value)
    shape = (-1,) + (1,) * c0.ndim
    frames = jnp.where(valid.reshape(shape), end.frames, end.c[None])
    return Solution(frames, valid, outcome, end.t, end.c, end.dt, end.accepted, end.rejected)


class _State(NamedTuple):
    t: Scalar
    c: Field
    dt: Scalar
    before: Scalar
    linear: Any
    frames: Frames
    following: Array
    accepted: Array
    rejected: Array
    finite: Array
    inside: Array
    alive: Array


class _Norm(eqx.Module):
    """Root mean square over the cells inside, in units of the tolerance."""

    grid: Grid
    rtol: float
    atol: float

    def __call__(self, error: Field, size: Field) -> Scalar:
        scaled = (error / (self.atol + self.rtol * jnp.abs(size))) ** 2
        if self.grid.mask is None:
            return jnp.sqrt(jnp.mean(scaled))
        return jnp.sqrt(jnp.mean(scaled, where=jnp.broadcast_to(self.grid.mask, scaled.shape)))


def _fill(
    s: _State, times: Array, good: Array, t: Array, h: Array, dense: Callable[[Array], Field]
) -> tuple[Frames, Array]:
    """Write the frames that this step passes."""

    def passed(carry: tuple[Frames, Array]) -> Array:
        _, i = carry
        here = jnp.minimum(i, times.shape[0] - 1)
        return good & (i < times.shape[0]) & (times[here] <= t)

    def write(carry: tuple[Frames, Array]) -> tuple[Frames, Array]:
        frames, i = carry
        return frames.at[i].set(dense((times[i] - s.t) / h)), i + 1

    return jax.lax.while_loop(passed, write, (s.frames, s.following))
