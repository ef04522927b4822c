"""Equal steps between frames: the loops of `simulate` and `simulate_many`.

A `March` holds what solves have in common. It is a pytree: grid, times and options are arguments of a jitted
solve, and a solve compiles once for each structure.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.grid import Grid
from phdenoise.physics.equations.base import Law
from phdenoise.physics.rematerialise import Rematerialised
from phdenoise.physics.steppers.base import Stepper, as_dtype
from phdenoise.types import Field, InputError, Scalar

Result = TypeVar("Result")
Times = Float[np.ndarray, " t"] | Float[Array, " t"]


class SimulateOptions(NamedTuple):
    """Further keywords of `simulate`.

    Attributes:
        reference: of `Stepper.linearise`; by default that of c0.
        checkpoint: in reverse mode recompute each step from its stored field; "nested" stores only
            every √n-th field of n steps and those between two of them, for one more forward solve,
            and is for reverse mode alone (`Rematerialised`); False stores all.
        uniform: take every interval equal to the first; by default so if `times` are known when
            tracing and equal, else each interval prepares its own constants.
        ramp: split the first step into ramp + 1 steps that start 2^ramp times smaller and double.
            A rough c0 (white noise) relaxes within such a time; without it every method here falls
            to first order.
    """

    reference: Any = None
    checkpoint: bool | Literal["nested"] = True
    uniform: bool | None = None
    ramp: int = 0


class March(eqx.Module):
    """A solve by equal steps but for the law and the first field.

    Attributes:
        grid: domain.
        starts: times of the frames but the last [t − 1].
        steps: step size in each interval [t − 1].
        stepper: method.
        substeps: steps in an interval.
        options: of `SimulateOptions`.
    """

    grid: Grid
    starts: Float[Array, " n"]
    steps: Float[Array, " n"]
    stepper: Stepper
    substeps: int = eqx.field(static=True)
    options: SimulateOptions

    def frames(self, model: Law, c0: Field) -> Float[Array, "t *cells"]:
        """Frames of one law from one field.

        Args:
            model: law.
            c0: first field [*cells].

        Returns:
            Frames [t, *cells].
        """
        starts, steps, options = self.starts, self.steps, self.options
        if steps.shape[0] == 0:
            return c0[None]
        model, grid = as_dtype(model, c0.dtype), as_dtype(self.grid, c0.dtype)
        shared = steps[0] if options.uniform else None
        reference = as_dtype(options.reference, c0.dtype)
        if reference is None:
            reference = self.stepper.linearise(model, grid, c0)
        c = c0
        if options.ramp:
            c = self._ramped(model, grid, reference, c0)
            starts = starts.at[0].add(steps[0])
            steps = steps.at[0].multiply((self.substeps - 1) / self.substeps)
            shared = None
        prepared = None
        if shared is not None:
            prepared = self.stepper.prepare(model, grid, shared, reference)

        def frame(c: Field, item: tuple[Scalar, Scalar]) -> tuple[Field, Field]:
            c = self._interval(model, grid, reference, prepared, c, item)
            return c, c

        _, frames = jax.lax.scan(frame, c, (starts, steps))
        return jnp.concatenate([c0[None], frames])

    def _interval(
        self,
        model: Law,
        grid: Grid,
        reference: Any,
        prepared: Any,
        c: Field,
        item: tuple[Scalar, Scalar],
    ) -> Field:
        """The field one frame later; item is (start, step size)."""
        start, dt = item
        nested = self.options.checkpoint == "nested"
        total = self.substeps * self.steps.shape[0]
        length = _segment(self.substeps, total) if nested else self.substeps

        def segment(
            model: Law,
            grid: Grid,
            prepared: Any,
            c: Field,
            start: Scalar,
            dt: Scalar,
            begin: Array,
        ) -> Field:
            if prepared is None:
                prepared = self.stepper.prepare(model, grid, dt, reference)
            stepped = Rematerialised(model) if nested else model

            def step(c: Field, index: Array) -> Field:
                t = start + dt * index.astype(c.dtype)
                return self.stepper.step(stepped, grid, prepared, t, c, dt)

            def substep(c: Field, index: Array) -> tuple[Field, None]:
                if self.substeps % length == 0:
                    return step(c, index), None
                return jax.lax.cond(index < self.substeps, step, lambda c, _: c, c, index), None

            body = substep
            if self.options.checkpoint:
                body = jax.checkpoint(substep, prevent_cse=False)
            return jax.lax.scan(body, c, begin + jnp.arange(length))[0]

        if nested:
            segment = jax.checkpoint(segment, prevent_cse=False)
        begins = jnp.arange(0, self.substeps, length)

        def part(c: Field, begin: Array) -> tuple[Field, None]:
            return segment(model, grid, prepared, c, start, dt, begin), None

        return jax.lax.scan(part, c, begins)[0] if len(begins) > 1 else part(c, begins[0])[0]

    def _ramped(self, model: Law, grid: Grid, reference: Any, c: Field) -> Field:
        """The first step dt as steps of dt/2ⁿ, dt/2ⁿ, dt/2ⁿ⁻¹ … dt/2."""
        ends = 2.0 ** -np.arange(self.options.ramp, -1, -1)
        begins = np.concatenate([[0.0], ends[:-1]])
        dt = self.steps[0]
        # Widths apart from places: their difference would cancel in float32.
        places = self.starts[0] + dt * jnp.asarray(begins, dt.dtype)
        widths = dt * jnp.asarray(ends - begins, dt.dtype)

        def step(c: Field, item: tuple[Scalar, Scalar]) -> tuple[Field, None]:
            t, h = item
            coefficients = self.stepper.prepare(model, grid, h, reference)
            return self.stepper.step(model, grid, coefficients, t, c, h), None

        return jax.lax.scan(step, c, (places, widths))[0]


def compiled(function: Callable[..., Result]) -> Callable[..., Result]:
    """The function, compiled once for each structure of its arguments; within another jit it becomes part of that."""
    return eqx.filter_jit(function, inline=True)  # type: ignore[call-overload]


def increasing(times: Any) -> np.ndarray:
    """Known times in double precision.

    Raises:
        InputError: if they do not increase.
    """
    known = np.asarray(times, float)
    wrong = np.flatnonzero(~(np.diff(known) > 0))
    if wrong.size or not np.all(np.isfinite(known)):
        i = int(wrong[0]) if wrong.size else 0
        raise InputError(
            f"Times must be finite and increase, but times[{i}:{i + 2}] = {known[i : i + 2].tolist()} "
            f"({getattr(times, 'dtype', 'float')}): pass time stamps in double precision (NumPy float64)."
        )
    return known


def _segment(substeps: int, total: int) -> int:
    """Steps between two stored fields: about √total, a divisor of `substeps` where one is near."""
    wanted = max(1, round(total**0.5))
    if substeps <= 2 * wanted:
        return substeps
    near = [n for n in range(wanted // 2 + 1, 2 * wanted) if substeps % n == 0]
    return min(near, key=lambda n: max(n / wanted, wanted / n)) if near else wanted
