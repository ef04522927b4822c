"""Shape aliases, the two small contracts every room shares, and the one user-facing error.

Axis names used throughout the package: `t` frames, `y` rows, `x` columns;
`*cells` are the axes of a grid, of which a movie has two.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Array, Bool, Float, PRNGKeyArray

Frames = Float[Array, "t *cells"]
# Leading axes: the layers of a model that has several.
Field = Float[Array, "*cells"]
Scalar = Float[Array, ""]
Mask = Bool[Array, "t y x"]

# Progress of a loop: (step, steps, its objective or NaN).
Steps = Callable[[int, int, float], None]
# Progress of a job: (stage, step, steps, its objective or NaN).
Progress = Callable[[str, int, int, float], None]


def stage(progress: Progress | None, name: str) -> Steps | None:
    """Progress of one stage of a job."""
    return None if progress is None else partial(progress, name)


def within(progress: Progress | None, name: str) -> Progress | None:
    """Progress of a job that is a part of another: its stages are called "name: stage"."""
    if progress is None:
        return None
    whole = progress
    return lambda stage, *step: whole(f"{name}: {stage}", *step)


class InputError(ValueError):
    """Something the user gave cannot be used; the message is one sentence: what, expected, what to do."""


class Moments(NamedTuple):
    """Mean and variance of an estimated movie, each [t, y, x], in the units (squared) of the movie."""

    mean: Array
    var: Array


@runtime_checkable
class NoiseModel(Protocol):
    """How a detector turns the clean movie into the measured one (implementations: `phdenoise.noise`)."""

    def sample(self, key: PRNGKeyArray, clean: Array) -> Array:
        """Draw one noisy movie of the shape of `clean`."""
        ...

    def log_prob(self, noisy: Array, clean: Array) -> Array:
        """Elementwise log-density of `noisy` given `clean`."""
        ...

    def variance(self, clean: Array) -> Array:
        """Elementwise variance of the noisy value given the clean one."""
        ...
