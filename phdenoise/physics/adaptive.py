"""Integrate with steps chosen from an error estimate, and say how it ended.

    accept if ‖e‖ = rms( eᵢ / (atol + rtol max(|cᵢ|, |c'ᵢ|)) ) ≤ 1,
    dt ← dt · clip( 0.9 ‖e‖^(−0.7/3) ‖e_before‖^(0.4/3), ⅕, 5 )

The steps are free of the movie's times: a frame is read off the polynomial of the step that passes
it. One `while_loop`, so forward mode and vmap apply (the sequence of steps is not differentiated);
reverse mode goes through `simulate` or diffrax. Time is counted from the first frame. 3 stands for the power
of dt of the stepper's error. A call outside jit compiles once for each structure and is kept. Gustafsson's controller: Hairer & Wanner, Solving
Ordinary Differential Equations II (1996), doi:10.1007/978-3-642-05221-7, IV.2.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from phdenoise.grid import Grid
from phdenoise.physics.equations.base import Law
from phdenoise.physics.march import Times, compiled, increasing
from phdenoise.physics.solution import Outcome, Solution
from phdenoise.physics.steppers.base import Dense, Stepper, as_dtype
from phdenoise.physics.steppers.table import choose_stepper
from phdenoise.types import Field, Frames, InputError, Scalar

# Hairer & Wanner IV.2: the next step aims at 0.9 of the size that would just be accepted, and changes at most
# fivefold.
SAFETY, SHRINK, GROW = 0.9, 0.2, 5.0
# Exponents of Gustafsson's controller over the power of dt of the error, same source.
NOW, BEFORE = 0.7, 0.4
# Smallest error, in units of the tolerance, that the controller is told: with GROW it only keeps the power finite.
SMALLEST_ERROR = 1e-4
# The first step is such that c changes by this part of itself, in the norm of the tolerance.
FIRST_CHANGE = 0.01
# Shortest first step, and shortest time whose rounding ends a solve, as parts of the whole span.
SHORTEST_FIRST, SHORTEST_TIME = 1e-8, 1e-6
# A step shorter than so many units of rounding of the time no longer moves it reliably.
ROUNDING_UNITS = 16


class StepControl(NamedTuple):
    """Further keywords of `integrate`.

    Attributes:
        first_step: by default from the size of c0 and of its rate [time].
        max_step: upper bound of a step [time].
        max_steps: attempts, rejected ones included.
    """

    first_step: float | Array | None = None
    max_step: float | Array = np.inf
    max_steps: int = 100_000


def integrate(
    model: Law,
    grid: Grid,
    c0: Field,
    times: Times,
    *,
    rtol: float = 1e-5,
    atol: float = 1e-7,
    stepper: str | Stepper | None = None,
    **control: Any,
) -> Solution:
    """The solution at `times`, however spaced, by adaptive steps.

    Args:
        model: law.
        grid: domain.
        c0: field at times[0] [*cells]; its dtype is that of the whole computation.
        times: increasing [t]; see `simulate`.
        rtol, atol: tolerance of a step, relative and absolute [unit of c].
        stepper: name, object, or None to choose: "rosenbrock" on a rectangle, "variable-rkc2" under a mask.
            One without an error estimate takes each step twice, whole and as two halves.
        control: of `StepControl`: first_step, max_step, max_steps.

    Returns:
        Frames, which of them were reached, and how it ended.

    Raises:
        InputError: c0 does not fit the grid; a tolerance is not positive; the stepper cannot do the domain; or the
            times, known outside jit, do not increase.
    """
    # Leading axes are the layers of a model that has several.
    if tuple(c0.shape[-grid.ndim :]) != grid.shape:
        raise InputError(f"The initial field has shape {c0.shape}, the grid {grid.shape}.")
    if not (rtol > 0 and atol > 0):
        raise InputError(f"Tolerances must be positive, got rtol={rtol}, atol={atol}.")
    limits = StepControl(**control)
    known = times if isinstance(times, jax.core.Tracer) else increasing(times)
    # Arrays, so that another tolerance does not compile anew.
    relative, absolute, longest = (jnp.asarray(v, c0.dtype) for v in (rtol, atol, limits.max_step))
    first = None if limits.first_step is None else jnp.asarray(limits.first_step, c0.dtype)
    solve = _Solve(
        model=as_dtype(model, c0.dtype),
        grid=as_dtype(grid, c0.dtype),
        stepper=choose_stepper(stepper, model, grid, adaptive=True),
        begin=jnp.asarray(known[0], c0.dtype),
        times=jnp.asarray(known - known[0], c0.dtype),
        norm=_Norm(grid, relative, absolute),
        longest=longest,
    )
    return _run(solve, c0, first, jnp.asarray(limits.max_steps))


class _State(NamedTuple):
    t: Scalar
    c: Field
    dt: Scalar
    before: Scalar
    reference: Any
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
    rtol: Scalar
    atol: Scalar

    def __call__(self, error: Field, size: Field) -> Scalar:
        scaled = (error / (self.atol + self.rtol * jnp.abs(size))) ** 2
        if self.grid.mask is None:
            return jnp.sqrt(jnp.mean(scaled))
        return jnp.sqrt(jnp.mean(scaled, where=jnp.broadcast_to(self.grid.mask, scaled.shape)))


class _Solve(eqx.Module):
    """What stays the same through a solve; times [t] count from the first, which is `begin`."""

    model: Law
    grid: Grid
    stepper: Stepper
    begin: Scalar
    times: Array
    norm: _Norm
    longest: Scalar

    def start(self, c0: Field, first_step: Scalar | None) -> _State:
        """The state before the first step."""
        span = self.times[-1]
        f0 = self.model.rhs(self.begin, c0, self.grid)
        inside = self.model.admissible(c0, self.grid)
        guess = FIRST_CHANGE * self.norm(c0, c0) / jnp.maximum(self.norm(f0, c0), 1e-30)
        guess = jnp.clip(guess, SHORTEST_FIRST * span, span)
        dt = guess if first_step is None else first_step
        fine = jnp.all(jnp.isfinite(c0)) & jnp.all(jnp.isfinite(f0))
        return _State(
            t=jnp.zeros_like(span),
            c=c0,
            dt=jax.lax.stop_gradient(jnp.where(fine, dt, span)),
            before=jnp.ones_like(span),
            reference=self.stepper.linearise(self.model, self.grid, c0),
            frames=jnp.broadcast_to(c0, (self.times.shape[0], *c0.shape)),
            following=jnp.asarray(1),
            accepted=jnp.asarray(0),
            rejected=jnp.asarray(0),
            finite=fine,
            inside=inside,
            alive=fine & inside & self.increasing(),
        )

    def increasing(self) -> Array:
        """Whether the times increase in this precision."""
        return jnp.all(jnp.diff(self.times) > 0)

    def attempt(self, s: _State) -> _State:
        """One step, accepted or not."""
        end, power = self.times[-1], self.stepper.error_power
        h = self._size(s)
        last = h >= end - s.t
        coefficients = self.stepper.prepare_with_error(self.model, self.grid, h, s.reference)
        c, error, dense = self.stepper.step_dense(
            self.model, self.grid, coefficients, self.begin + s.t, s.c, h
        )
        size = jax.lax.stop_gradient(self.norm(error, jnp.maximum(jnp.abs(s.c), jnp.abs(c))))
        finite = jnp.isfinite(size) & jnp.all(jnp.isfinite(c))
        # A shorter step may stay inside where this one overshot.
        inside = self.model.admissible(c, self.grid) | ~finite
        size = jnp.where(finite & inside, jnp.maximum(size, SMALLEST_ERROR), jnp.inf)
        good = size <= 1
        factor = SAFETY * size ** (-NOW / power) * s.before ** (BEFORE / power)
        factor = jnp.clip(jnp.where(good, factor, SAFETY * size ** (-1 / power)), SHRINK, GROW)
        t = jnp.where(last, end, s.t + h)
        frames, following = self._fill(s, good, t, h, dense)
        accepted = s.accepted + good
        reference = jax.lax.cond(
            good & (accepted % self.stepper.refresh == 0),
            lambda: self.stepper.linearise(self.model, self.grid, c),
            lambda: s.reference,
        )
        dt = h * jnp.where(good, factor, jnp.minimum(factor, 1))
        # A step cut short to land on the end says nothing against the size it was cut from.
        dt = jnp.where(good & last, jnp.maximum(dt, s.dt), dt)
        unit = ROUNDING_UNITS * jnp.finfo(dt.dtype).eps
        return _State(
            t=jnp.where(good, t, s.t),
            c=jnp.where(good, c, s.c),
            dt=dt,
            before=jnp.where(good, size, s.before),
            reference=reference,
            frames=frames,
            following=following,
            accepted=accepted,
            rejected=s.rejected + ~good,
            finite=finite,
            inside=inside,
            alive=good | (dt > unit * jnp.maximum(s.t, SHORTEST_TIME * end)),
        )

    def _size(self, s: _State) -> Scalar:
        """The step to try."""
        left = self.times[-1] - s.t
        # A last sliver of a step would spoil the controller's memory: halve what is left instead.
        near = jnp.where(left < 2 * s.dt, 0.5 * left, s.dt)
        h = jnp.minimum(jnp.where(left <= 1.01 * s.dt, left, near), self.longest)
        return self.stepper.limit(s.reference, h)

    def _fill(
        self, s: _State, good: Array, t: Array, h: Array, dense: Dense
    ) -> tuple[Frames, Array]:
        """Write the frames that this step passes."""
        times = self.times

        def passed(carry: tuple[Frames, Array]) -> Array:
            _, i = carry
            here = jnp.minimum(i, times.shape[0] - 1)
            return good & (i < times.shape[0]) & (times[here] <= t)

        def write(carry: tuple[Frames, Array]) -> tuple[Frames, Array]:
            frames, i = carry
            return frames.at[i].set(dense((times[i] - s.t) / h)), i + 1

        return jax.lax.while_loop(passed, write, (s.frames, s.following))


@compiled
def _run(solve: _Solve, c0: Field, first_step: Scalar | None, max_steps: Array) -> Solution:
    count = solve.times.shape[0]
    start = solve.start(c0, first_step)

    def going(s: _State) -> Array:
        return s.alive & (s.following < count) & (s.accepted + s.rejected < max_steps)

    end = jax.lax.while_loop(going, lambda s: solve.attempt(s), start)
    cells = tuple(range(1, end.frames.ndim))
    # A frame read off within a step may be worse than its ends.
    sound = jnp.all(jnp.isfinite(end.frames), axis=cells)
    valid = (jnp.arange(count) < end.following) & sound
    whole = end.following >= count
    failure = jnp.where(end.finite, Outcome.step_too_small.value, Outcome.not_finite.value)
    failure = jnp.where(end.inside, failure, Outcome.left_range.value)
    outcome = jnp.where(end.alive, Outcome.too_many_steps.value, failure)
    outcome = jnp.where(whole, Outcome.reached.value, outcome)
    outcome = jnp.where(whole & ~jnp.all(valid), Outcome.not_finite.value, outcome)
    outcome = jnp.where(solve.increasing(), outcome, Outcome.bad_times.value)
    outcome = jnp.where(start.finite, outcome, Outcome.bad_start.value)
    frames = jnp.where(valid.reshape(-1, *(1,) * c0.ndim), end.frames, end.c[None])
    return Solution(frames, valid, outcome, end.t, end.c, end.dt, end.accepted, end.rejected)
