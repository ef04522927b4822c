"""The same steps as diffrax solvers: adaptive step sizes, SaveAt, events and diffrax's adjoints.

    diffeqsolve(ODETerm(vector_field), RosenbrockWSolver(reference), t0, t1, dt0, c0,
                args=(model, grid), stepsize_controller=PIDController(rtol, atol))

`solve_adaptive` is that call for the frames of a movie. For equal steps `simulate` is faster to
compile and to run. Kidger, On Neural Differential Equations (2021), arXiv:2202.02435.
"""

from typing import Any, ClassVar

import diffrax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.grid import Grid
from phdenoise.physics.models import Model, Reference, reference_mobility
from phdenoise.physics.rosenbrock import RosenbrockW
from phdenoise.physics.simulate import as_dtype
from phdenoise.physics.steppers import ETDRK4, Stepper
from phdenoise.types import Field, Frames, Scalar

Args = tuple[Model, Grid]


def vector_field(t: Any, c: Field, args: Args) -> Field:
    """dc/dt for `diffrax.ODETerm`, with args = (model, grid)."""
    model, grid = args
    return model.rhs(jnp.asarray(t, c.dtype), c, grid)


class _StepperSolver(diffrax.AbstractSolver):
    """A stepper in diffrax's clothes; the constants are prepared anew for every step size."""

    reference: Reference

    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar[Any] = diffrax.LocalLinearInterpolation

    def init(self, terms: Any, t0: Any, t1: Any, y0: Field, args: Args) -> None:
        """No state is carried between steps."""
        return None

    def func(self, terms: Any, t0: Any, y0: Field, args: Args) -> Field:
        """The right-hand side, for diffrax's choice of the first step."""
        return terms.vf(t0, y0, args)


class ETDRK4Solver(_StepperSolver):
    """`ETDRK4` without an error estimate, for constant steps."""

    def order(self, terms: Any) -> int:
        """Order of convergence."""
        return 4

    def step(
        self,
        terms: Any,
        t0: Any,
        t1: Any,
        y0: Field,
        args: Args,
        solver_state: None,
        made_jump: Any,
    ) -> tuple[Field, None, dict, None, Any]:
        """One step from t0 to t1."""
        start, dt, coefficients = _prepare(ETDRK4(), self.reference, t0, t1, y0, args)
        y1 = ETDRK4().step(*args, coefficients, start, y0, dt)
        return y1, None, {"y0": y0, "y1": y1}, None, diffrax.RESULTS.successful


class RosenbrockWSolver(diffrax.AbstractAdaptiveSolver, _StepperSolver):
    """`RosenbrockW` with its embedded error, for `diffrax.PIDController`."""

    def order(self, terms: Any) -> int:
        """Order of convergence."""
        return 3

    def error_order(self, terms: Any) -> int:
        """Order of the error estimate."""
        return 3

    def step(
        self,
        terms: Any,
        t0: Any,
        t1: Any,
        y0: Field,
        args: Args,
        solver_state: None,
        made_jump: Any,
    ) -> tuple[Field, Field, dict, None, Any]:
        """One step from t0 to t1 and its error estimate."""
        start, dt, coefficients = _prepare(RosenbrockW(), self.reference, t0, t1, y0, args)
        y1, error = RosenbrockW().step_with_error(*args, coefficients, start, y0, dt)
        return y1, error, {"y0": y0, "y1": y1}, None, diffrax.RESULTS.successful


def solve_adaptive(
    model: Model,
    grid: Grid,
    c0: Field,
    times: Float[np.ndarray, " t"] | Float[Array, " t"],
    *,
    rtol: float = 1e-4,
    atol: float = 1e-6,
    reference: Reference | None = None,
    max_steps: int = 16384,
) -> Frames:
    """Frames [t, y, x] by Rosenbrock-W with steps chosen from the embedded error.

    Args:
        c0: field at times[0].
        times: increasing [t]; the steps land on them.
        rtol, atol: tolerances of a step.
        reference: of `reference_mobility`; by default that of c0.
        max_steps: frames not reached within so many steps hold inf (see `diverged`).
    """
    model, grid = as_dtype(model, c0.dtype), as_dtype(grid, c0.dtype)
    reference = reference_mobility(model, grid, c0) if reference is None else reference
    times = jnp.asarray(times, c0.dtype)
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(vector_field),
        RosenbrockWSolver(as_dtype(reference, c0.dtype)),
        times[0],
        times[-1],
        None,
        c0,
        args=(model, grid),
        saveat=diffrax.SaveAt(ts=times),
        stepsize_controller=diffrax.ClipStepSizeController(
            diffrax.PIDController(rtol=rtol, atol=atol), step_ts=times
        ),
        max_steps=max_steps,
        throw=False,
    )
    return solution.ys


def _prepare(
    method: Stepper, reference: Reference, t0: Any, t1: Any, c: Field, args: Args
) -> tuple[Scalar, Scalar, Any]:
    start = jnp.asarray(t0, c.dtype)
    dt = jnp.asarray(t1, c.dtype) - start
    return start, dt, method.prepare(*args, dt, reference)
