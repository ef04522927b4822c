"""The data containers: what was measured (`Movie`) and what is believed (`Estimate`).

Both live at the edges (files, reports); the numerical core works on their arrays. Units, times, mask
and provenance travel with the frames to the last file. Frames are never rescaled by a container.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy import special

from phdenoise.types import InputError, NoiseModel

# Errors of denoised pixels over their standard deviation have wider tails than a Gaussian's, those of Student's t with so
# many degrees of freedom: those of random scenes (`benchmarks/denoise_intervals.py`).
TAILS = 9.0


def half_width(level: float, degrees: float = np.inf) -> float:
    """Half the central interval of a probability, in standard deviations.

    Args:
        level: probability, in (0, 1).
        degrees: of freedom of a Student's t of unit variance, above 2; infinity is a Gaussian.

    Raises:
        InputError: no such probability or distribution.
    """
    if not 0 < level < 1:
        raise InputError(f"The level of an interval is a probability between 0 and 1, got {level}.")
    if not degrees > 2:
        raise InputError(f"A variance needs more than 2 degrees of freedom, got {degrees}.")
    upper = 0.5 + level / 2
    if np.isinf(degrees):
        return float(special.ndtri(upper))
    return float(special.stdtrit(degrees, upper) * np.sqrt(1 - 2 / degrees))


@dataclass(frozen=True)
class Movie:
    """A measured movie.

    Attributes:
        frames: intensities [t, y, x] in `intensity_unit`; float32 or float64, NaN where not measured.
        times: time of each frame [t] in `time_unit`, strictly increasing.
        pixel_size: (dy, dx) in `length_unit`.
        time_unit, length_unit, intensity_unit: "frame" and "px" mean that the file does not say.
        mask: True where a pixel is valid, [t, y, x] or [y, x]; None means everywhere (NaN apart).
        noise: noise model, if known.
        name: short name for logs and figures (file stem).
        provenance: where it came from: path, dataset, sha256, original dtype, history of steps.
    """

    frames: np.ndarray
    times: np.ndarray
    pixel_size: tuple[float, float] = (1.0, 1.0)
    time_unit: str = "frame"
    length_unit: str = "px"
    intensity_unit: str = "counts"
    mask: np.ndarray | None = None
    noise: NoiseModel | None = None
    name: str = "movie"
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        frames = np.asarray(self.frames)
        if frames.ndim != 3 or 0 in frames.shape:
            raise InputError(
                f"A movie needs frames[t, y, x] with no empty axis, got shape {frames.shape}."
            )
        if frames.dtype not in (np.float32, np.float64):
            frames = frames.astype(np.float32)
        times = np.asarray(self.times, dtype=np.float64)
        if times.shape != (frames.shape[0],):
            raise InputError(f"{frames.shape[0]} frames need as many times, got {times.shape}.")
        if not np.all(np.isfinite(times)) or np.any(np.diff(times) <= 0):
            raise InputError("Frame times must be finite and strictly increasing.")
        if not all(np.isfinite(p) and p > 0 for p in self.pixel_size):
            raise InputError(f"Pixel size must be positive, got {self.pixel_size}.")
        if self.mask is not None and self.mask.shape not in (frames.shape, frames.shape[1:]):
            raise InputError(f"Mask shape {self.mask.shape} does not fit frames {frames.shape}.")
        object.__setattr__(self, "frames", frames)
        object.__setattr__(self, "times", times)

    @classmethod
    def from_array(cls, frames: Any, **kwargs: Any) -> "Movie":
        """A movie from frames [t, y, x] (or one [y, x] image) with times 0, 1, 2... unless given."""
        array = np.asarray(frames)
        array = array[None] if array.ndim == 2 else array
        kwargs.setdefault("times", np.arange(array.shape[0], dtype=float))
        return cls(frames=array, **kwargs)

    @property
    def shape(self) -> tuple[int, int, int]:
        t, y, x = self.frames.shape
        return t, y, x

    def valid(self) -> np.ndarray:
        """Boolean [t, y, x]: finite and inside the mask."""
        finite = np.isfinite(self.frames)
        return finite if self.mask is None else finite & np.broadcast_to(self.mask, self.shape)

    def with_frames(self, frames: np.ndarray, **changes: Any) -> "Movie":
        """The same scene with other frames of the same shape (times, units, provenance kept)."""
        return replace(self, frames=frames, **changes)


@dataclass(frozen=True)
class Estimate:
    """A denoised movie: posterior mean and variance, with everything needed to redo it.

    Attributes:
        movie: the measured movie this was made from.
        mean, variance: [t, y, x] float32, in `intensity_unit` and its square.
        blind_mean, blind_variance: prediction without the pixel's own measurement (residual tests).
        noise: the noise model used, estimated or given.
        log: sentences a user should read (noise diagnosis, blind region chosen, warnings).
        history: training curve, mapping column name -> list of floats.
        settings: configuration, seed, versions.
        weights: flat mapping name -> array, the network's parameters.
        trust: what can be said of it without truth (`phdenoise.trust`), plain values and arrays; empty if not judged.
    """

    movie: Movie
    mean: np.ndarray
    variance: np.ndarray
    noise: NoiseModel
    blind_mean: np.ndarray | None = None
    blind_variance: np.ndarray | None = None
    log: tuple[str, ...] = ()
    history: Mapping[str, list[float]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, np.ndarray] = field(default_factory=dict)
    trust: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for label, array in (("mean", self.mean), ("variance", self.variance)):
            if array.shape != self.movie.shape:
                raise InputError(
                    f"Estimate {label} has shape {array.shape}, its movie {self.movie.shape}."
                )

    def interval(self, level: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper bounds [t, y, x] that hold the clean intensity with a probability, in `intensity_unit`.

        Raises:
            InputError: `level` is not in (0, 1).
        """
        reach = half_width(level, TAILS) * np.sqrt(self.variance)
        return self.mean - reach, self.mean + reach

    def as_movie(self) -> Movie:
        """The denoised movie as a `Movie`."""
        return self.movie.with_frames(self.mean, noise=None, name=f"{self.movie.name} denoised")
