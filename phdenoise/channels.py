"""Movies of several channels: colours of a camera, energies of an X-ray microscope.

A channel is a `Movie` of its own, with its own unit, mask and noise; all channels of one scene share times, shape
and pixel size. Their estimate is one `Estimate` each, and the correlation of their errors.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from phdenoise.movie import Estimate, Movie
from phdenoise.summary import Panel, describe, picture_html
from phdenoise.types import InputError

MAX_CHANNELS = 16
"""Channels at most. More are a spectrum at each pixel: their covariance would no longer be known from one movie."""

# Channels that a picture in a notebook shows.
_MOST_PICTURES = 4


@dataclass(frozen=True, repr=False)
class Channels:
    """Movies of one scene, with the same pixels and times.

    Attributes:
        movies: one a channel; equal shape, times, pixel size, time and length unit.
        names: one a channel, all different: "r", "707.2 eV".
        name: of the whole, for logs and files.
    """

    movies: tuple[Movie, ...]
    names: tuple[str, ...]
    name: str = "movie"

    def __post_init__(self) -> None:
        count = len(self.movies)
        if not 1 <= count <= MAX_CHANNELS:
            raise InputError(f"{self.name} has {count} channels: 1 to {MAX_CHANNELS} are possible.")
        if len(self.names) != count or len(set(self.names)) != count:
            raise InputError(
                f"{count} channels need as many different names, got {list(self.names)}."
            )
        first = self.movies[0]
        for name, movie in zip(self.names, self.movies, strict=True):
            same = movie.shape == first.shape and np.array_equal(movie.times, first.times)
            if not same or _scale(movie) != _scale(first):
                raise InputError(
                    f"Channel {name} has another shape, times, pixel size or unit than channel {self.names[0]}: "
                    "channels must show the same pixels at the same times; register them first."
                )

    @classmethod
    def from_array(
        cls, frames: Any, names: tuple[str, ...] | None = None, name: str = "movie", **kwargs: Any
    ) -> "Channels":
        """Channels from an array.

        Args:
            frames: intensities [c, t, y, x].
            names: of the channels; by default r, g, b for three of them, else numbers from 0.
            name: of the whole.
            **kwargs: attributes of each movie, as in `Movie.from_array`.

        Returns:
            The channels.

        Raises:
            InputError: an array of another rank, or names that do not fit.
        """
        array = np.asarray(frames)
        if array.ndim != 4:
            raise InputError(f"Channels need an array [c, t, y, x], got shape {array.shape}.")
        names = default_names(len(array)) if names is None else names
        movies = tuple(
            Movie.from_array(a, name=f"{name} {n}", **kwargs)
            for a, n in zip(array, names, strict=True)
        )
        return cls(movies, names, name)

    def __len__(self) -> int:
        return len(self.movies)

    @property
    def frames(self) -> np.ndarray:
        """Intensities of all channels [c, t, y, x]."""
        return np.stack([m.frames for m in self.movies])

    def chosen(self, names: tuple[str, ...]) -> "Channels":
        """Some of the channels, by name."""
        return Channels(
            tuple(m for m, n in zip(self.movies, self.names, strict=True) if n in names),
            tuple(n for n in self.names if n in names),
            self.name,
        )

    def varying(self) -> tuple[str, ...]:
        """Names of the channels that are not constant: an unused colour cannot be denoised."""

        def varies(movie: Movie) -> bool:
            values = movie.frames[movie.valid()]
            return values.size == 1 or (values.size > 1 and float(np.ptp(values)) > 0)

        return tuple(n for m, n in zip(self.movies, self.names, strict=True) if varies(m))

    def one(self, channel: str) -> Movie:
        """A single movie.

        Args:
            channel: "mean" of all channels, the name of one, r, g, b or a number from 0.

        Returns:
            The movie.

        Raises:
            InputError: no such channel.
        """
        if channel == "mean":
            mean = np.asarray(np.mean(self.frames, axis=0, dtype=np.float64))
            first = self.movies[0]
            return first.with_frames(
                mean, mask=self.valid().all(axis=0), noise=None, name=self.name
            )
        colours = {"r": 0, "g": 1, "b": 2}
        index = self.names.index(channel) if channel in self.names else -1
        if index < 0:
            index = int(channel) if channel.isdigit() else colours.get(channel.lower(), -1)
        if not 0 <= index < len(self):
            raise InputError(
                f"{self.name} has the channels {', '.join(self.names)}: --channel must be mean, one of them or 0 to "
                f"{len(self) - 1}, got '{channel}'."
            )
        return self.movies[index]

    def valid(self) -> np.ndarray:
        """Boolean [c, t, y, x]: finite and inside the mask."""
        return np.stack([m.valid() for m in self.movies])

    def __repr__(self) -> str:
        about = {n: m.facts() for n, m in zip(self.names, self.movies, strict=True)}
        first = about[self.names[0]]
        facts = {"times": first["times"], "pixel": first["pixel"]}
        facts |= {name: each["frames"] for name, each in about.items()}
        return describe(f"Channels '{self.name}': {', '.join(self.names)}", facts)

    def _repr_html_(self) -> str:
        t = self.movies[0].shape[0] // 2
        shown = list(zip(self.names, self.movies, strict=True))[:_MOST_PICTURES]
        rows = [[Panel(name, movie.frames[t]) for name, movie in shown]]
        return picture_html(repr(self), "images", rows)


@dataclass(frozen=True, repr=False)
class ChannelsEstimate:
    """Denoised channels.

    Attributes:
        estimates: one a channel, each with its own mean, variance, noise and trust report.
        names: of the channels.
        name: of the whole.
        correlation: of the errors of two channels at a pixel, averaged over the movie [c, c]; a sum or ratio of
            channels needs it.
        log: sentences about all channels together.
        settings: configuration and the mixing that was denoised.
        weights: arrays of the networks, "component K/NAME".
    """

    estimates: tuple[Estimate, ...]
    names: tuple[str, ...]
    name: str
    correlation: np.ndarray
    log: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def mean(self) -> np.ndarray:
        """Posterior mean [c, t, y, x]."""
        return np.stack([e.mean for e in self.estimates])

    @property
    def variance(self) -> np.ndarray:
        """Posterior variance [c, t, y, x]."""
        return np.stack([e.variance for e in self.estimates])

    @property
    def channels(self) -> Channels:
        """The measured channels."""
        return Channels(tuple(e.movie for e in self.estimates), self.names, self.name)

    def sentences(self) -> tuple[str, ...]:
        """The whole log: what holds for all, then each channel's under its name."""
        pairs = zip(self.names, self.estimates, strict=True)
        return (*self.log, *(f"{name}: {s}" for name, e in pairs for s in e.log))

    def __repr__(self) -> str:
        about = {n: e.facts() for n, e in zip(self.names, self.estimates, strict=True)}
        first = about[self.names[0]]
        facts = {"times": first["times"], "pixel": first["pixel"]}
        facts |= {
            name: f"{each['mean']}, sd {each['sd']}, noise {each['noise']}"
            for name, each in about.items()
        }
        return describe(f"ChannelsEstimate of '{self.name}': {', '.join(self.names)}", facts)

    def _repr_html_(self) -> str:
        shown = list(zip(self.names, self.estimates, strict=True))[:_MOST_PICTURES]
        rows = [
            [panel._replace(title=f"{name} {panel.title}") for panel in estimate.panels()]
            for name, estimate in shown
        ]
        return picture_html(repr(self), "images", rows)


def default_names(count: int) -> tuple[str, ...]:
    """r, g, b for three channels, else numbers from 0."""
    return ("r", "g", "b") if count == 3 else tuple(str(k) for k in range(count))


def _scale(movie: Movie) -> tuple[Any, ...]:
    return (*movie.pixel_size, movie.time_unit, movie.length_unit)
