"""What a time step is: the contract between an equation and the functions that step it.

    c(t + dt) = step(t, c, dt) + O(dt^(order + 1)),   dc/dt = f(t, c)

A stepper is a value. `prepare` computes what depends on the step size but not on the field, outside the loop;
`step` is pure. `simulate`, `integrate`, `simulate_many` and `DiffraxSolver` take any stepper. A stepper without
an error estimate of its own is made adaptive by step doubling, c̃ from two half steps against c' from a whole one:

    error = (c̃ − c') / (2^order − 1)

Hairer, Nørsett & Wanner, Solving Ordinary Differential Equations I (1993), II.4, doi:10.1007/978-3-540-78862-1.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax

from phdenoise.grid import Grid
from phdenoise.physics.equations.base import Law, reference_mobility
from phdenoise.types import Field, InputError, Scalar

# The field inside a step, as a function of the part of the step in [0, 1].
Dense = Callable[[Scalar], Field]


class Needs(NamedTuple):
    """What a stepper needs of the domain and of the law.

    Attributes:
        rectangle: a grid without a mask.
        periodic: a grid with periodic faces only.
        implicit_symbol: the law's `reference` and `implicit_symbol`, a linear part with constant coefficients.
        spectral_radius: the law's `spectral_radius`, which bounds the step or sets the number of stages.
    """

    rectangle: bool = False
    periodic: bool = False
    implicit_symbol: bool = False
    spectral_radius: bool = False


class Stepper(eqx.Module):
    """A one-step method. A new one states `order` and `needs`, and defines `prepare` and `step`.

    Attributes:
        order: of convergence for smooth fields.
        error_order: power of dt of the stepper's own error estimate; None: it has none, and step doubling is used.
        needs: of the domain and of the law.
        refresh: accepted steps after which an adaptive solve linearises anew; `reference` of a law sorts the field,
            which costs as much as a stage. Equal steps keep the linearisation of the first field.
    """

    order: ClassVar[int]
    error_order: ClassVar[int | None] = None
    needs: ClassVar[Needs] = Needs()
    refresh: ClassVar[int] = 10

    @abstractmethod
    def prepare(self, model: Law, grid: Grid, dt: Scalar, reference: Any) -> Any:
        """Constants of `step`.

        Args:
            model: law.
            grid: domain.
            dt: step size [time].
            reference: of `linearise`.

        Returns:
            Any pytree; the argument `coefficients` of `step`.
        """

    @abstractmethod
    def step(
        self, model: Law, grid: Grid, coefficients: Any, t: Scalar, c: Field, dt: Scalar
    ) -> Field:
        """The field one step later.

        Args:
            model: law, whose `rhs(t, c, grid)` is dc/dt.
            grid: domain.
            coefficients: of `prepare` for the same dt.
            t: time at the start of the step [time].
            c: field there [*cells].
            dt: step size [time].

        Returns:
            Field at t + dt [*cells].
        """

    def linearise(self, model: Law, grid: Grid, c: Field) -> Any:
        """What `prepare` and `limit` need of a field, by `needs`; not differentiated.

        Args:
            model: law.
            grid: domain.
            c: field [*cells].

        Returns:
            `Reference`, or the spectral radius [1/time], or None.
        """
        if self.needs.implicit_symbol:
            return reference_mobility(model, grid, c)
        if self.needs.spectral_radius:
            return jax.lax.stop_gradient(model.spectral_radius(c, grid))
        return None

    def limit(self, reference: Any, dt: Scalar) -> Scalar:
        """The step, shortened to what is stable.

        Args:
            reference: of `linearise`.
            dt: wanted step size [time].

        Returns:
            Allowed step size [time].
        """
        return dt

    def prepare_with_error(self, model: Law, grid: Grid, dt: Scalar, reference: Any) -> Any:
        """Constants of `step_with_error`: those of `prepare`, and of the half step for step doubling.

        Args:
            model, grid, dt, reference: as in `prepare`.

        Returns:
            Any pytree; the argument `coefficients` of `step_with_error` and `step_dense`.
        """
        whole = self.prepare(model, grid, dt, reference)
        if self.error_order is not None:
            return whole
        return whole, self.prepare(model, grid, dt / 2, reference)

    def step_with_error(
        self, model: Law, grid: Grid, coefficients: Any, t: Scalar, c: Field, dt: Scalar
    ) -> tuple[Field, Field]:
        """The field one step later and its error; by default by step doubling.

        Args:
            model, grid, t, c, dt: as in `step`.
            coefficients: of `prepare_with_error` for the same dt.

        Returns:
            Field at t + dt and its estimated error, each [*cells].
        """
        whole, half = coefficients
        coarse = self.step(model, grid, whole, t, c, dt)
        middle = self.step(model, grid, half, t, c, dt / 2)
        fine = self.step(model, grid, half, t + dt / 2, middle, dt / 2)
        return fine, (fine - coarse) / (2**self.order - 1)

    def step_dense(
        self, model: Law, grid: Grid, coefficients: Any, t: Scalar, c: Field, dt: Scalar
    ) -> tuple[Field, Field, Dense]:
        """As `step_with_error`, and the field inside the step; by default the cubic through both ends and slopes.

        Args:
            model, grid, coefficients, t, c, dt: as in `step_with_error`.

        Returns:
            Field at t + dt, its error, and the field as a function of the part of the step in [0, 1].
        """
        after, error = self.step_with_error(model, grid, coefficients, t, c, dt)

        def dense(x: Scalar) -> Field:
            slopes = dt * model.rhs(t, c, grid), dt * model.rhs(t + dt, after, grid)
            return hermite(c, after, *slopes, x)

        return after, error, dense

    def reversible(self) -> "Stepper":
        """A stepper of the same steps that has reverse mode; by default this one."""
        return self

    @property
    def error_power(self) -> int:
        """Power of dt of the error that `step_with_error` returns."""
        return self.order + 1 if self.error_order is None else self.error_order

    def refusal(self, model: Law, grid: Grid) -> str | None:
        """Why this stepper cannot step this law on this domain.

        Args:
            model: law.
            grid: domain.

        Returns:
            One sentence, or None where it can.
        """
        name, law = type(self).__name__, type(model)
        if self.needs.rectangle and grid.mask is not None:
            return f"{name} needs a full rectangle but the grid has a mask: use 'rkc2' or 'variable-rkc2'."
        if self.needs.implicit_symbol and model.prescribes:
            return f"{name} needs cells that all follow the law but some have values given in time: use 'rkc2' or 'variable-rkc2'."
        if self.needs.periodic and grid.boundary != "periodic":
            return f"{name} needs periodic faces but the grid is {grid.boundary}: use 'etdrk4', 'rosenbrock' or 'rkc2'."
        bounded = law.spectral_radius is not Law.spectral_radius
        if self.needs.spectral_radius and not bounded:
            return f"{name} needs a bound on the rates of the law but {law.__name__} defines no `spectral_radius`."
        if self.needs.implicit_symbol and law.reference is Law.reference and not bounded:
            return f"{name} needs the linear part of the law but {law.__name__} defines neither `reference` nor `spectral_radius`."
        return None

    def check(self, model: Law, grid: Grid) -> None:
        """Refuse what cannot be stepped.

        Args:
            model: law.
            grid: domain.

        Raises:
            InputError: `refusal`.
        """
        reason = self.refusal(model, grid)
        if reason is not None:
            raise InputError(reason)


def hermite(c: Field, after: Field, rise0: Field, rise1: Field, x: Scalar) -> Field:
    """Cubic through both ends of a step with the slopes there.

    Args:
        c, after: fields at the ends [*cells].
        rise0, rise1: dt times the slopes there [*cells].
        x: part of the step in [0, 1].

    Returns:
        Field at x [*cells].
    """
    bend = (1 - 2 * x) * (after - c) + (x - 1) * rise0 + x * rise1
    return (1 - x) * c + x * after + x * (x - 1) * bend


def as_dtype(tree: Any, dtype: Any) -> Any:
    """The same tree with floating-point leaves of one dtype.

    Args:
        tree: any pytree, e.g. a law or a grid.
        dtype: of the field.

    Returns:
        Tree of the same structure.
    """
    return jax.tree.map(lambda x: x.astype(dtype) if eqx.is_inexact_array(x) else x, tree)
