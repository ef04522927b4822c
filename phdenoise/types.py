"""Shape aliases, the two small contracts every room shares, and the one user-facing error.

Axis names used throughout the package: `t` frames, `y` rows, `x` columns;
`*cells` are the axes of a grid, of which a movie has two.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from phdenoise.errors import InputError as InputError

Frames = Float[Array, "t *cells"]
# Leading axes: the layers of a model that has several.
Field = Float[Array, "*cells"]
Scalar = Float[Array, ""]

# Progress of a loop: (step, steps, its objective or NaN).
Steps = Callable[[int, int, float], None]
# Progress of a job: (stage, step, steps, its objective or NaN).
Progress = Callable[[str, int, int, float], None]


def stage(progress: Progress | None, name: str) -> Steps | None:
    """Progress of one stage of a job.

    Args:
        progress: of the job, or None.
        name: of the stage.

    Returns:
        Progress of the stage, or None.
    """
    return None if progress is None else partial(progress, name)


def within(progress: Progress | None, name: str) -> Progress | None:
    """Progress of a job that is a part of another.

    Args:
        progress: of the other job, or None.
        name: of the part, whose stages are called "name: stage".

    Returns:
        Progress of the part, or None.
    """
    if progress is None:
        return None
    whole = progress
    return lambda stage, *step: whole(f"{name}: {stage}", *step)


class Moments(NamedTuple):
    """Mean and variance of an estimated movie, each [t, y, x], in the units (squared) of the movie."""

    mean: Array
    var: Array


@runtime_checkable
class NoiseModel(Protocol):
    """How a detector turns the clean movie into the measured one, and what other rooms ask of that.

    `phdenoise.noise.NoiseModel` says what each method returns and has defaults for all but `sample` and `variance`:
    a noise model of your own subclasses that.
    """

    risk: ClassVar[Literal["sure", "pure"]]
    has_conjugate: ClassVar[bool]

    def sample(self, key: PRNGKeyArray, clean: Array) -> Array:
        """Draw one noisy movie of the shape of `clean`."""

    def log_prob(self, noisy: Array, clean: Array) -> Array:
        """Elementwise log-density of `noisy` given `clean`."""

    def variance(self, clean: Array) -> Array:
        """Elementwise variance of the noisy value given the clean one."""

    def expected_variance(self, blind: Moments) -> Array:
        """Elementwise variance where the clean value is known up to a mean and variance."""

    def estimated_variance(self, noisy: Array) -> Array:
        """Elementwise estimate of the variance from the noisy value."""

    def blind_nll(self, blind: Moments, noisy: Array, *, conjugate: bool = False) -> Array:
        """Elementwise negative log-likelihood of a measured value under a blind prediction."""

    def posterior(
        self,
        blind: Moments,
        noisy: Array,
        *,
        conjugate: bool = False,
        error_noise_covariance: Array | float = 0.0,
    ) -> Moments:
        """Blind prediction and measurement combined."""

    def risk_terms(
        self,
        denoise: Callable[[Array], Array],
        noisy: Array,
        key: PRNGKeyArray,
        *,
        step: float | None = None,
        curvature: bool = True,
    ) -> Array:
        """Terms whose mean estimates the mean squared error of a denoiser."""

    def unit_field(self, key: PRNGKeyArray, like: Array) -> Array:
        """Noise of variance one with the correlation of this noise."""

    def correlated(
        self, autocorrelation: np.ndarray, temporal_correlation: np.ndarray | tuple[()] = ()
    ) -> "NoiseModel":
        """The same noise with a correlation."""

    def scaled(self, factor: float) -> "NoiseModel":
        """The same noise with its variance times a factor."""

    def stabiliser(self, data: np.ndarray, good: np.ndarray) -> Any:
        """The way to data whose noise is Gaussian of one standard deviation, and back."""

    def quantile_excess(self, deviations: float) -> float:
        """How much farther out a quantile lies than the normal one."""
