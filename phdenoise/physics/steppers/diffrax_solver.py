"""Any stepper as a diffrax solver: adaptive step sizes, SaveAt, events and diffrax's adjoints.

    diffeqsolve(ODETerm(vector_field), DiffraxSolver(stepper), t0, t1, dt0, c0, args=(model, grid),
                stepsize_controller=PIDController(rtol, atol))

A stepper without an error estimate is made adaptive by `diffrax.HalfSolver(DiffraxSolver(stepper))`.
`solve_adaptive` is that call for the frames of a movie. For equal steps `simulate` is faster to
compile and to run. Kidger, On Neural Differential Equations (2021), arXiv:2202.02435.
"""

from typing import Any, ClassVar

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array

from phdenoise.grid import Grid
from phdenoise.physics.equations.base import Law, Wrapped
from phdenoise.physics.march import Times, increasing
from phdenoise.physics.steppers.base import Stepper, as_dtype
from phdenoise.physics.steppers.table import choose_stepper
from phdenoise.types import Field, Frames, Scalar

Args = tuple[Law, Grid]
# The adjoint of diffrax where none is asked for.
REVERSE = diffrax.RecursiveCheckpointAdjoint()


def vector_field(t: Any, c: Field, args: Args) -> Field:
    """dc/dt for `diffrax.ODETerm`.

    Args:
        t: time.
        c: field [*cells].
        args: law and domain.

    Returns:
        dc/dt [*cells] [1/time].
    """
    model, grid = args
    return model.rhs(jnp.asarray(t, c.dtype), c, grid)


class DiffraxSolver(diffrax.AbstractSolver):
    """A stepper in the form that diffrax asks for; the constants are prepared anew for every step.

    Args:
        stepper: any.
        reference: of `Stepper.linearise`, kept through the solve; by default that of the field, renewed after every
            `Stepper.refresh` steps.
    """

    stepper: Stepper
    reference: Any = None

    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar[Any] = diffrax.LocalLinearInterpolation

    def order(self, terms: Any) -> int:
        """Order of convergence."""
        return self.stepper.order

    def error_order(self, terms: Any) -> int:
        """Power of dt of the error estimate."""
        return self.stepper.error_power

    def init(self, terms: Any, t0: Any, t1: Any, y0: Field, args: Args) -> tuple[Any, Array]:
        """The state that is carried between steps.

        Args:
            terms, t0, t1, y0, args: of diffrax.

        Returns:
            Linearisation at y0, and the number of steps taken with it.
        """
        reference = self.reference
        if reference is None:
            reference = self.stepper.linearise(*args, y0)
        return as_dtype(reference, y0.dtype), jnp.asarray(0)

    def func(self, terms: Any, t0: Any, y0: Field, args: Args) -> Field:
        """The right-hand side, for diffrax's choice of the first step.

        Args:
            terms, t0, y0, args: of diffrax.

        Returns:
            dc/dt [*cells].
        """
        return terms.vf(t0, y0, args)

    def step(
        self,
        terms: Any,
        t0: Any,
        t1: Any,
        y0: Field,
        args: Args,
        solver_state: tuple[Any, Array],
        made_jump: Any,
    ) -> tuple[Field, Field | None, dict, tuple[Any, Array], Any]:
        """One step from t0 to t1.

        Args:
            terms, t0, t1, y0, args, solver_state, made_jump: of diffrax.

        Returns:
            Field at t1, its error if the stepper estimates one, what diffrax interpolates, state, success.
        """
        reference, count = solver_state
        if self.reference is None:
            reference = jax.lax.cond(
                (count > 0) & (count % self.stepper.refresh == 0),
                lambda: as_dtype(self.stepper.linearise(*args, y0), y0.dtype),
                lambda: reference,
            )
        start = jnp.asarray(t0, y0.dtype)
        dt = jnp.asarray(t1, y0.dtype) - start
        coefficients = self.stepper.prepare(*args, dt, reference)
        error = None
        if self.stepper.error_order is None:
            y1 = self.stepper.step(*args, coefficients, start, y0, dt)
        else:
            y1, error = self.stepper.step_with_error(*args, coefficients, start, y0, dt)
        dense = {"y0": y0, "y1": y1}
        return y1, error, dense, (reference, count + 1), diffrax.RESULTS.successful


def solve_adaptive(
    model: Law,
    grid: Grid,
    c0: Field,
    times: Times,
    *,
    rtol: float = 1e-4,
    atol: float = 1e-6,
    stepper: str | Stepper | None = None,
    **options: Any,
) -> Frames:
    """Frames of the solution at `times` by diffrax, with steps chosen from the stepper's error.

    Args:
        model: law.
        grid: domain.
        c0: field at times[0] [*cells].
        times: increasing [t]; the steps land on them.
        rtol, atol: tolerances of a step, relative and absolute [unit of c].
        stepper: name, object, or None to choose: "rosenbrock" on a rectangle, "variable-rkc2" under a mask.
        options: of `diffrax.diffeqsolve`, such as adjoint and max_steps. `adjoint=diffrax.ForwardMode()` for
            `jax.jvp` and `jax.jacfwd`; the default is for reverse mode; `diffrax.DirectAdjoint()` does both, slower.

    Returns:
        Frames [t, *cells]; those not reached within max_steps hold inf (see `diverged`).

    Raises:
        InputError: the stepper cannot do the domain, or the times do not increase.
    """
    chosen = choose_stepper(stepper, model, grid, adaptive=True)
    if isinstance(options.get("adjoint", REVERSE), type(REVERSE)):
        chosen = chosen.reversible()
    solver: Any = DiffraxSolver(chosen)
    if chosen.error_order is None:
        solver = diffrax.HalfSolver(solver)
    model, grid = as_dtype(model, c0.dtype), as_dtype(grid, c0.dtype)
    known = times if isinstance(times, jax.core.Tracer) else increasing(times)
    times = jnp.asarray(known - known[0], c0.dtype)
    model = _FromFirstFrame(model, jnp.asarray(known[0], c0.dtype))
    controller = diffrax.ClipStepSizeController(
        diffrax.PIDController(rtol=rtol, atol=atol), step_ts=times
    )
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(vector_field),
        solver,
        times[0],
        times[-1],
        None,
        c0,
        args=(model, grid),
        saveat=diffrax.SaveAt(ts=times),
        stepsize_controller=controller,
        **{"max_steps": 16384, "throw": False} | options,
    )
    return solution.ys


class _FromFirstFrame(Wrapped):
    """The same law, its time counted from `begin`."""

    begin: Scalar

    def rhs(self, t: Scalar, c: Field, grid: Grid) -> Field:
        return self.model.rhs(self.begin + t, c, grid)
