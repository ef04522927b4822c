"""What a law of motion is: ∂c/∂t = F(t, c), and what steppers, fits and reports ask of it.

A law states its right-hand side and its spectral radius; all else has a default. Time stepping lives elsewhere. An
implicit step treats a constant-coefficient part exactly, with the eigenvalue −(a + bλ + gλ²) on the eigenvector of −∇²
with eigenvalue λ; (a, b, g) is a `Reference`, chosen near the mean over a field and never differentiated: the converged
solution does not depend on it.

A fit changes the arrays of a law that its fields declare free (`phdenoise.physics.law_parameters`), in units of cells
and frame intervals, into which `rescaled` takes a law by the dimensions that its fields state.
"""

from collections.abc import Callable
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from phdenoise.grid import Fixed, Grid
from phdenoise.physics.free_energies.phases import Number
from phdenoise.physics.law_parameters import NUMBER, Dimension, Parameters, rescaled
from phdenoise.physics.operators import integral
from phdenoise.physics.transforms import laplacian_symbol
from phdenoise.types import Field, InputError, Scalar

# Factors of the rates of a law from which a fit begins where the law makes no guess from the movie: three decades
# about the numbers given, in steps that a Gauss-Newton descent spans.
RATES = (1.0, 0.03, 0.1, 0.3, 3.0, 10.0, 30.0)


class Reference(NamedTuple):
    """Coefficients a, b, g ≥ 0 of the linear part −(a + bλ + gλ²) an implicit step treats exactly.

    Units 1/time, length²/time, length⁴/time.
    """

    decay: Array
    diffusion: Array
    biharmonic: Array


class Curve(NamedTuple):
    """A function of concentration that a law reports.

    Attributes:
        name: of its columns in a result.
        function: concentration [c] to values [c].
        symbol: for sentences.
        dimension: of the values.
        logarithmic: whether its uncertainty is that of its logarithm; then it is positive.
        origin: concentration to whose value it is relative, where a constant of it cannot be seen.
        known: whether it has no free number.
    """

    name: str
    function: Callable[[Array], Array]
    symbol: str
    dimension: Dimension = NUMBER
    logarithmic: bool = False
    origin: float | None = None
    known: bool = False


class Starts(NamedTuple):
    """Where a fit begins.

    Attributes:
        guess: the law that the movie suggests; it tells how fine the solver's steps must be.
        around: laws about it. The fit begins at the one that fits best.
    """

    guess: "Law"
    around: tuple["Law", ...]


class Law(eqx.Module):
    """A law of motion ∂c/∂t = F(t, c).

    Attributes:
        fixed: names of fields that a fit does not change, such as ("kappa",).
        label: short name, by default that of the class.
        title: name in a sentence, by default the label.
        conserved: whether ∫c changes only by what crosses the faces.
        own_width: whether interfaces have a width of their own. Then a fit lets the initial field stand one frame interval before the first
            frame, where waves too short for its prior die out. Without, an edge was sharper before, out of the prior's reach.
        bounded: whether it is defined for 0 < c < 1 alone, as a law with an entropy is. The field of a fit is then kept there.
        product: whether its rate is a product of two unknown curves. A joint fit then leaves the prior of the initial field as it is:
            one that is made tighter was seen to push the law along the direction in which the curves trade.
    """

    fixed: tuple[str, ...] = eqx.field(static=True, default=(), kw_only=True)
    label: ClassVar[str] = ""
    title: ClassVar[str] = ""
    conserved: ClassVar[bool] = False
    own_width: ClassVar[bool] = False
    bounded: ClassVar[bool] = False
    product: ClassVar[bool] = False

    @property
    def prescribes(self) -> bool:
        """Whether some cells have values given in time: no transform of the grid then resembles the Jacobian."""
        return False

    def rhs(self, t: Scalar, c: Field, grid: Grid) -> Field:
        """dc/dt [1/time].

        Args:
            t: time.
            c: concentration of each cell.
            grid: of the field.

        Returns:
            dc/dt of each cell [1/time].
        """
        raise NotImplementedError

    def spectral_radius(self, c: Field, grid: Grid) -> Scalar:
        """Estimate of the largest |eigenvalue| of the Jacobian at c [1/time].

        Args:
            c: concentration of each cell.
            grid: of the field.

        Returns:
            A bound or estimate [1/time].
        """
        raise NotImplementedError

    def reference(self, c: Field, grid: Grid) -> Reference:
        """Constant coefficients that resemble the Jacobian at the field c; by default those of diffusion as stiff as the law.

        Args:
            c: concentration of each cell.
            grid: of the field.

        Returns:
            The coefficients.
        """
        d = self.spectral_radius(c, grid) / largest_symbol(grid, c)
        return Reference(jnp.zeros_like(d), d, jnp.zeros_like(d))

    def energy(self, c: Field, grid: Grid) -> Scalar:
        """The functional that does not increase along solutions; nan where the law states none.

        Args:
            c: concentration of each cell.
            grid: of the field.

        Returns:
            The energy, a scalar.
        """
        return jnp.full((), jnp.nan, c.dtype)

    def curves(self) -> tuple[Curve, ...]:
        """Functions of concentration to report."""
        return ()

    def derived(self) -> dict[str, Number]:
        """Numbers that follow from the law, of concrete arrays; those that it does not have are absent."""
        return {}

    def starts(
        self, frames: Float[np.ndarray, "t y x"], times: Float[np.ndarray, " t"], grid: Grid
    ) -> Starts:
        """Where a fit to a movie begins: by default the law as given, and faster and slower ones.

        Args:
            frames: concentration [t, y, x].
            times: of the frames [frame intervals].
            grid: in cells.

        Returns:
            Laws in units of cells and frame intervals.
        """
        return Starts(self, tuple(rescaled(self, time=rate) for rate in RATES))

    def over(self, low: float, high: float) -> "Law":
        """The law with its series over the concentrations of a movie; by default as it is.

        Args:
            low, high: the range.

        Returns:
            A law whose fit does not depend on the unit of concentration.
        """
        return self

    def long_step(self, free: Parameters, theta: np.ndarray, step: np.ndarray) -> np.ndarray:
        """θ after a step of a descent, which may be long; θ + step to first order.

        Args:
            free: what the components of θ are.
            theta: θ [p].
            step: of θ [p].

        Returns:
            θ along the law's natural coordinates, in which the directions that a movie hardly shows are straight.
        """
        return np.array(theta + step, float)

    def error_step(self, free: Parameters, theta: np.ndarray, step: np.ndarray) -> np.ndarray:
        """θ after one of its errors, along the coordinates in which a movie's likelihood is nearly Gaussian.

        Args:
            free: what the components of θ are.
            theta: θ [p].
            step: one error [p] or many [..., p].

        Returns:
            θ [..., p]; θ + step to first order.
        """
        return np.array(theta + step, float)

    def caveat(self, held: tuple[str, ...]) -> str:
        """What rests on the prior of the series of these symbols, in a sentence."""
        return ""

    def implicit_symbol(self, grid: Grid, reference: Reference) -> Float[Array, "*k"]:
        """Eigenvalues −(a + bλ + gλ²) ≤ 0 in the layout of `transforms` [1/time].

        Args:
            grid: of the field.
            reference: coefficients a, b and g.

        Returns:
            Eigenvalues, one of each wave.
        """
        symbol = laplacian_symbol(grid, reference.diffusion.dtype)
        return -(reference.decay + symbol * (reference.diffusion + symbol * reference.biharmonic))

    def split(
        self, grid: Grid, reference: Reference
    ) -> tuple[Float[Array, "*k"], Float[Array, "*k"]] | None:
        """(G, R) where the transform of the right-hand side is (L + R) ĉ + G times that of `homogeneous`.

        L is the `implicit_symbol`. None where it is not: a mobility that varies mixes the waves.

        Args:
            grid: of the field.
            reference: coefficients of the implicit part.

        Returns:
            (G, R), one of each wave, or None.
        """
        return None

    def homogeneous(self, c: Field) -> Field:
        """The cellwise part of the law, which `split` multiplies."""
        raise NotImplementedError

    def admissible(self, c: Field, grid: Grid) -> Bool[Array, ""]:
        """Whether the law still drives every cell of the field c.

        Args:
            c: concentration of each cell.
            grid: of the field.

        Returns:
            A boolean scalar.
        """
        return jnp.ones((), bool)

    def seen(
        self, frames: Float[Array, "t *cells"], times: Float[Array, " t"], grid: Grid
    ) -> Float[Array, "t *cells"]:
        """What images show of a solution; by default the solution.

        Args:
            frames: the field [t, *cells].
            times: of the frames [time].
            grid: of the field.

        Returns:
            Images [t, *cells].
        """
        return frames

    def with_place(self, factor: Field) -> "Law":
        """The same law with a mobility that is multiplied by a factor of each cell.

        Args:
            factor: [y, x].

        Returns:
            The law.

        Raises:
            InputError: a law that has no mobility.
        """
        raise InputError(
            f"{type(self).__name__} has no mobility that could vary by place: define `with_place`."
        )

    def mass(self, c: Field, grid: Grid) -> Scalar:
        """∫c over the mask [length^d].

        Args:
            c: concentration of each cell.
            grid: of the field.

        Returns:
            The integral, a scalar.
        """
        return integral(c, grid)


class Wrapped(Law):
    """A model whose right-hand side is taken differently; what a stepper asks of it else is the model's own.

    Args:
        model: what is wrapped.
    """

    model: Law

    @property
    def prescribes(self) -> bool:
        """As the model says."""
        return self.model.prescribes

    @property
    def bounded(self) -> bool:  # type: ignore[override]
        """That of the model."""
        return self.model.bounded

    def reference(self, c: Field, grid: Grid) -> Reference:
        """That of the model."""
        return self.model.reference(c, grid)

    def implicit_symbol(self, grid: Grid, reference: Reference) -> Float[Array, "*k"]:
        """That of the model."""
        return self.model.implicit_symbol(grid, reference)

    def spectral_radius(self, c: Field, grid: Grid) -> Scalar:
        """That of the model."""
        return self.model.spectral_radius(c, grid)

    def energy(self, c: Field, grid: Grid) -> Scalar:
        """That of the model."""
        return self.model.energy(c, grid)

    def admissible(self, c: Field, grid: Grid) -> Bool[Array, ""]:
        """That of the model."""
        return self.model.admissible(c, grid)

    def seen(
        self, frames: Float[Array, "t *cells"], times: Float[Array, " t"], grid: Grid
    ) -> Float[Array, "t *cells"]:
        """That of the model."""
        return self.model.seen(frames, times, grid)

    def curves(self) -> tuple[Curve, ...]:
        """Those of the model."""
        return self.model.curves()

    def derived(self) -> dict[str, Number]:
        """Those of the model."""
        return self.model.derived()


def reference_mobility(model: Law, grid: Grid, c: Field) -> Reference:
    """The model's constant-coefficient reference at the field c, cut from differentiation.

    Args:
        model: the law.
        grid: of the field.
        c: the field.

    Returns:
        Its `Reference`.
    """
    return jax.lax.stop_gradient(model.reference(c, grid))


def representative(d: Field, grid: Grid) -> Scalar:
    """Mean over the cells; at least half the maximum, below which an explicit remainder grows.

    Args:
        d: a coefficient of each cell.
        grid: with its mask.

    Returns:
        One number that stands for all.
    """
    mean = jnp.mean(d) if grid.mask is None else jnp.mean(d, where=grid.mask)
    return jnp.maximum(mean, 0.5 * jnp.max(d))


def largest_symbol(grid: Grid, like: Array) -> Scalar:
    """Largest eigenvalue of −∇², Σ 4/h² over the axes; an axis of one cell has no wave.

    Args:
        grid: spacing h [length].
        like: array whose dtype the result has.

    Returns:
        The eigenvalue [1/length²].
    """
    waves = [
        n > 1 or any(isinstance(f, Fixed) for f in grid.faces[i]) for i, n in enumerate(grid.shape)
    ]
    return jnp.sum(jnp.asarray(waves) * 4 / grid.spacing.astype(like.dtype) ** 2)
