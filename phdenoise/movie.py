"""The data containers: what was measured (`Movie`) and what is believed (`Estimate`).

Both are used at the edges (files, reports); the numerical core works on their arrays. Units, times, mask
and provenance stay with the frames up to the last file. A container never rescales frames.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy import special

from phdenoise.summary import ABOVE, Panel, describe, picture_html, short
from phdenoise.types import InputError, NoiseModel

# Errors of denoised pixels over their standard deviation have wider tails than a Gaussian's, those of Student's t with so
# many degrees of freedom: those of random scenes (`benchmarks/denoise_intervals.py`).
ERROR_DEGREES_OF_FREEDOM = 9.0
# Names of settings in files of earlier versions.
_EARLIER_NAMES = {"temporal_correlation": "lasting", "error_noise_covariance": "told"}


def half_width(level: float, degrees: float = np.inf) -> float:
    """Half the central interval of a probability, in standard deviations.

    Args:
        level: probability, in (0, 1).
        degrees: of freedom of a Student's t of unit variance, above 2; infinity is a Gaussian.

    Returns:
        The half width [standard deviations].

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


@dataclass(frozen=True, repr=False)
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
        """A movie from an array.

        Args:
            frames: intensities [t, y, x], or one image [y, x].
            **kwargs: other attributes; times are 0, 1, 2... unless given.

        Returns:
            The movie.
        """
        array = np.asarray(frames)
        array = array[None] if array.ndim == 2 else array
        kwargs.setdefault("times", np.arange(array.shape[0], dtype=float))
        return cls(frames=array, **kwargs)

    @classmethod
    def from_xarray(cls, array: Any, **changes: Any) -> "Movie":
        """A movie from an `xarray.DataArray` over time, y and x, with its coordinates and units (extra `xarray`).

        Args:
            array: over time, y, x in any order, or one image over y, x.
            **changes: attributes that go before those of the array.

        Returns:
            The movie.

        Raises:
            InputError: other dimensions, or pixels of uneven size.
        """
        movie: Movie = ABOVE["movie_from_xarray"](array, **changes)
        return movie

    @classmethod
    def from_hyperspy(cls, signal: Any, **changes: Any) -> "Movie":
        """A movie from a `hyperspy` Signal2D, with times, pixel size and units of its axes (extra `em`).

        Args:
            signal: of one or no navigation axis.
            **changes: attributes that go before those of the signal.

        Returns:
            The movie.

        Raises:
            InputError: more than one navigation axis, or no image.
        """
        movie: Movie = ABOVE["movie_from_hyperspy"](signal, **changes)
        return movie

    def to_xarray(self) -> Any:
        """An `xarray.DataArray` over (time, y, x) with coordinates and units (extra `xarray`)."""
        return ABOVE["movie_to_xarray"](self)

    def to_hyperspy(self) -> Any:
        """A `hyperspy` Signal2D whose navigation axis is the time (extra `em`)."""
        return ABOVE["movie_to_hyperspy"](self)

    def plot(self, columns: int = 4) -> Any:
        """A figure of frames from the first to the last."""
        return ABOVE["plot_movie"](self, columns)

    @property
    def shape(self) -> tuple[int, int, int]:
        t, y, x = self.frames.shape
        return t, y, x

    def valid(self) -> np.ndarray:
        """Boolean [t, y, x]: finite and inside the mask."""
        finite = np.isfinite(self.frames)
        return finite if self.mask is None else finite & np.broadcast_to(self.mask, self.shape)

    def with_frames(self, frames: np.ndarray, **changes: Any) -> "Movie":
        """The same scene with other frames; times, units and provenance are kept.

        Args:
            frames: of the same shape [t, y, x] [intensity unit].
            **changes: other attributes to replace.

        Returns:
            The movie.
        """
        return replace(self, frames=frames, **changes)

    def facts(self) -> dict[str, str]:
        """Shape, intensities, times, pixel size and noise, each in a few words; intensities from a sample of the pixels."""
        t, y, x = self.shape
        first, last = self.times[0], self.times[-1]
        interval = f", interval {np.median(np.diff(self.times)):.5g}" if t > 1 else ""
        dy, dx = self.pixel_size
        facts = {
            "frames": f"{t} x {y} x {x} [t, y, x] {self.frames.dtype}, {_span(self.frames)} {self.intensity_unit}",
            "times": f"{first:.5g} to {last:.5g} {self.time_unit}{interval}",
            "pixel": f"{dy:.5g} x {dx:.5g} {self.length_unit}",
        }
        if self.mask is not None:
            facts["mask"] = f"{100 * np.mean(self.mask):.4g} % of pixels are valid"
        return facts | {"noise": "not known" if self.noise is None else short(self.noise)}

    def __repr__(self) -> str:
        return describe(f"Movie '{self.name}'", self.facts())

    def _repr_html_(self) -> str:
        pick = np.unique(np.linspace(0, len(self.times) - 1, 4).round().astype(int))
        panels = [Panel(f"{self.times[t]:.4g} {self.time_unit}", self.frames[t]) for t in pick]
        return picture_html(repr(self), "images", [panels])


@dataclass(frozen=True, repr=False)
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
        trust: what can be said of it without truth (`phdenoise.uncertainty.trust_report`), plain values and arrays; empty if not judged.
        error_autocorrelation: of the errors of pixels at lags (t, y, x), 1 at the centre (`phdenoise.uncertainty.error_correlation`);
            None where it is not known.
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
    error_autocorrelation: np.ndarray | None = None

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
        reach = half_width(level, ERROR_DEGREES_OF_FREEDOM) * np.sqrt(self.variance)
        return self.mean - reach, self.mean + reach

    def as_movie(self) -> Movie:
        """The denoised movie as a `Movie`."""
        return self.movie.with_frames(self.mean, noise=None, name=f"{self.movie.name} denoised")

    def to_xarray(self) -> Any:
        """An `xarray.Dataset` of noisy, mean, sd and variance with coordinates and units (extra `xarray`)."""
        return ABOVE["estimate_to_xarray"](self)

    def plot(self, columns: int = 4) -> Any:
        """A figure: noisy, denoised, sd and residual at some times."""
        return ABOVE["plot_estimate"](self, columns)

    def facts(self) -> dict[str, str]:
        """Shape, result, noise and trust, each in a few words."""
        about = self.movie.facts()
        unit = self.movie.intensity_unit
        variance = _sampled(self.variance)
        sd = np.sqrt(np.median(variance)) if variance.size else np.nan
        warnings = list(self.trust.get("warnings", ()))
        judged = "not judged" if not self.trust else "no check gave a warning"
        said = f"Warning (1 of {len(warnings)}): {warnings[0]}" if warnings else judged
        return {
            "noisy": about["frames"],
            "mean": f"{_span(self.mean)} {unit}",
            "sd": f"{sd:.4g} {unit} (median)",
            "times": about["times"],
            "pixel": about["pixel"],
            "noise": short(self.noise),
            "trust": said,
            "log": f"{len(self.log)} sentences in .log",
        }

    def panels(self) -> list[Panel]:
        """The middle frame: noisy, denoised, and its standard deviation."""
        t = len(self.mean) // 2
        return [
            Panel("noisy", self.movie.frames[t]),
            Panel("denoised", self.mean[t]),
            Panel("sd", np.sqrt(self.variance[t]), spread=True),
        ]

    def __repr__(self) -> str:
        return describe(f"Estimate of '{self.movie.name}'", self.facts())

    def _repr_html_(self) -> str:
        return picture_html(repr(self), "images", [self.panels()])

    def setting(self, name: str, otherwise: Any = None) -> Any:
        """One of the settings, also of a file that an earlier version wrote under another name.

        Args:
            name: of the setting.
            otherwise: returned where the estimate does not have it.

        Returns:
            The value.
        """
        earlier = self.settings.get(_EARLIER_NAMES.get(name, name), otherwise)
        return self.settings.get(name, earlier)


# Pixels along each axis from which a description takes its smallest and largest intensity: it costs less than a
# millisecond for a movie of any size.
_SAMPLE = 64


def _sampled(array: np.ndarray) -> np.ndarray:
    """Finite values on a grid of at most some `_SAMPLE` pixels along each axis."""
    sample = array[tuple(slice(None, None, max(1, n // _SAMPLE)) for n in array.shape)]
    return sample[np.isfinite(sample)]


def _span(array: np.ndarray) -> str:
    values = _sampled(np.asarray(array))
    return f"{values.min():.5g} to {values.max():.5g}" if values.size else "no finite value,"
