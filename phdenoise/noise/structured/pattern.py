"""What structured noise is found to be: patterns with their names, amplitudes, spectra, and what to subtract."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Pattern:
    """One kind of structured noise.

    Attributes:
        name: what it is.
        sd: its standard deviation over the movie [intensity].
        frequencies: of its spectrum [cycles per pixel, or per frame].
        power: at these frequencies, of sum one.
        offset: what it adds, broadcast over the frames [t, y or 1, x or 1] [intensity].
        quick_variance: of the error of `offset` that is new in every frame [t or 1, y or 1, x or 1] [intensity²].
        slow_variance: of the error that frames have in common [t or 1, y or 1, x or 1] [intensity²].
        sentence: what it is, how large, and what was done.
    """

    name: str
    sd: float
    frequencies: Float[np.ndarray, " k"]
    power: Float[np.ndarray, " k"]
    offset: Float[np.ndarray, "#t #y #x"]
    quick_variance: Float[np.ndarray, "#t #y #x"]
    slow_variance: Float[np.ndarray, "#t #y #x"]
    sentence: str


@dataclass(frozen=True)
class Structure:
    """All structured noise of a movie.

    Attributes:
        patterns: that were found.
        autocovariance: of their sum, at lags (y, x) as of a noise estimate, variance at its centre [intensity²].
    """

    patterns: tuple[Pattern, ...]
    autocovariance: Float[np.ndarray, "ky kx"]

    @property
    def variance(self) -> float:
        """Mean variance of all patterns [intensity²]."""
        return float(sum(p.sd**2 for p in self.patterns))

    @property
    def sentences(self) -> tuple[str, ...]:
        """One sentence a pattern."""
        return tuple(p.sentence for p in self.patterns)

    def offset(self, shape: tuple[int, int, int]) -> Float[np.ndarray, "t y x"]:
        """What all patterns add to a movie.

        Args:
            shape: of the movie [t, y, x].

        Returns:
            Their sum [intensity].
        """
        return _total([p.offset for p in self.patterns], shape)

    def error_variance(
        self, shape: tuple[int, int, int], passed: float = 1.0
    ) -> Float[np.ndarray, "t y x"]:
        """Variance of the error of `offset`, or of what a denoiser makes of it.

        Args:
            shape: of the movie [t, y, x].
            passed: share of the variance of errors that are new in every frame that a denoiser lets pass.

        Returns:
            Sum of the patterns' [intensity²].
        """
        quick = _total([p.quick_variance for p in self.patterns], shape)
        return passed * quick + _total([p.slow_variance for p in self.patterns], shape)

    def draw_error(
        self, shape: tuple[int, int, int], rng: np.random.Generator
    ) -> Float[np.ndarray, "t y x"]:
        """A draw of the error of `offset` that is new in every frame.

        Args:
            shape: of the movie [t, y, x].
            rng: of the random numbers.

        Returns:
            The draw; constant along what a pattern is constant along [intensity].
        """
        # Errors of a wave have the wave's shape; drawn as offsets of frames they pass a denoiser no less.
        own = [
            np.broadcast_to(p.quick_variance, (shape[0], *p.quick_variance.shape[1:]))
            for p in self.patterns
        ]
        return _total([np.sqrt(v) * rng.normal(size=v.shape) for v in own], shape)


def _total(arrays: list[np.ndarray], shape: tuple[int, int, int]) -> np.ndarray:
    out = np.zeros(shape)
    for array in arrays:
        out += array
    return out
