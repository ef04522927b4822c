"""The contract of an observation: what an instrument does to a field, and what its counts say about the field.

    observe:   field           ->  expected counts
    quantify:  counts, var     ->  mean and variance of the field

Both are pure and differentiable functions of arrays. A fit compares a law with counts through `observe`, or with
quantified counts through `resolved`. On noise-free data the two are inverse to each other:

    quantify(observe(field)) = field        where the instrument is `invertible`
    quantify(observe(field)) ≈ field        up to its resolution otherwise (blur, pixels, exposure)

A user's instrument is a subclass of `Pointwise` with two formulas (each pixel by itself), or of `Observation`.
Instruments follow each other in the order of the light's way: `OpticalDensity(incident) >> Blur(0.7)`.
"""

from abc import abstractmethod
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.types import Moments

# Counts, or a field, of any number of axes; the last two are rows and columns.
Values = Float[Array | np.ndarray, "..."]


class Observation(eqx.Module):
    """An instrument: field <-> counts.

    Class attributes, which a subclass may replace by its own or by fields:
        unit: of the field.
        counts_unit: of what is measured.
        lower, upper: range of the field that physics allows [unit]; noise may leave the range.
        invertible: True where `quantify` recovers the field, False where only what the instrument resolves.
    """

    unit = "1"
    counts_unit = "counts"
    lower = -np.inf
    upper = np.inf
    invertible = True

    @abstractmethod
    def observe(self, field: Values) -> Array:
        """Expected counts [counts_unit] of a field [unit]."""

    @abstractmethod
    def quantify(self, counts: Values, variance: Values) -> Moments:
        """The field that counts stand for.

        Args:
            counts: measured or denoised values [counts_unit].
            variance: of the counts, of the same shape [counts_unit²]; the counts themselves where they are Poisson
                numbers, zeros where errors are not asked for.

        Returns:
            Mean [unit] and variance [unit²], to first order in the errors of the counts.
        """

    def resolved(self, field: Values) -> Array:
        """What the instrument resolves of a field [unit]: quantify(observe(field)), the field itself where `invertible`.

        A law is compared with quantified counts through this: blur or binning of the counts is then in the prediction too.
        """
        if self.invertible:
            return jnp.asarray(field)
        counts = self.observe(field)
        return self.quantify(counts, jnp.ones_like(counts)).mean

    def __rshift__(self, other: "Observation") -> "Composed":
        """The field passes through this instrument first, and through `other` next."""
        return Composed(self, other)


class Pointwise(Observation):
    """An instrument that sees each value of the field by itself.

    The error follows from the derivative of the inverse: var c = (dc/dI)² var I.
    """

    @abstractmethod
    def invert(self, counts: Values) -> Array:
        """The field [unit] of noise-free counts [counts_unit]."""

    def quantify(self, counts: Values, variance: Values) -> Moments:
        """The field that counts stand for, and its variance by the derivative of `invert`.

        Args:
            counts: measured or denoised values [counts_unit].
            variance: of the counts, of the same shape [counts_unit²].

        Returns:
            Mean [unit] and variance [unit²] of the field.
        """
        return propagate(self.invert, counts, variance)


class Composed(Observation):
    """Two instruments, one after the other; written `first >> second`.

    Attributes:
        first: what the field passes through first.
        second: what the counts of `first` pass through next.
    """

    first: Observation
    second: Observation

    @property
    def unit(self) -> str:  # type: ignore[override]
        """Unit of the field."""
        return self.first.unit

    @property
    def counts_unit(self) -> str:  # type: ignore[override]
        """Unit of what is measured."""
        return self.second.counts_unit

    @property
    def lower(self) -> float:  # type: ignore[override]
        """Least value of the field [unit]."""
        return self.first.lower

    @property
    def upper(self) -> float:  # type: ignore[override]
        """Largest value of the field [unit]."""
        return self.first.upper

    @property
    def invertible(self) -> bool:  # type: ignore[override]
        """Whether both are."""
        return self.first.invertible and self.second.invertible

    def observe(self, field: Values) -> Array:
        return self.second.observe(self.first.observe(field))

    def quantify(self, counts: Values, variance: Values) -> Moments:
        """The field that counts stand for: back through `second`, then through `first`.

        Args:
            counts: measured or denoised values [counts_unit].
            variance: of the counts, of the same shape [counts_unit²].

        Returns:
            Mean [unit] and variance [unit²] of the field.
        """
        inner = self.second.quantify(counts, variance)
        return self.first.quantify(inner.mean, inner.var)


def propagate(invert: Callable[[Array], Array], counts: Values, variance: Values) -> Moments:
    """Mean and variance of a function of single values, var f = f'(I)² var I.

    Args:
        invert: function of each value by itself, such as counts to field.
        counts: I [counts].
        variance: of the counts, of the same shape [counts²].

    Returns:
        f(I) and its variance, in the unit of f and its square.
    """
    counts = jnp.asarray(counts)
    mean, slope = jax.jvp(invert, (counts,), (jnp.ones_like(counts),))
    return Moments(mean, slope**2 * jnp.broadcast_to(jnp.asarray(variance), counts.shape))


def leading_axes(value: Array | float, ndim: int) -> Array:
    """A number, spectrum or image with axes of length 1 put before its own, so that none is broadcast by accident.

    Args:
        value: array with at most `ndim` axes.
        ndim: number of axes of the result.

    Returns:
        The same values with `ndim` axes.
    """
    value = jnp.asarray(value)
    return value.reshape((1,) * (ndim - value.ndim) + value.shape)
