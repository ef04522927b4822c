"""`phdenoise info`: what is installed, and what a movie file holds."""

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from tyro.conf import Positional, arg

from phdenoise import selfcheck
from phdenoise.cli.batch import named_movies
from phdenoise.cli.options import ReadConfig, read_all
from phdenoise.cli.progress import quoted
from phdenoise.denoising.config import DenoiseConfig
from phdenoise.denoising.memory import parse_memory
from phdenoise.denoising.preprocessing import measure_noise, survey_movie
from phdenoise.denoising.source import MovieSource
from phdenoise.io.acquisition import acquisition_of
from phdenoise.movie import Movie
from phdenoise.types import InputError


@dataclass(frozen=True)
class Info:
    """Versions and devices; for a file: shape, units, times, noise estimate, suggested settings."""

    file: Positional[str | None] = None
    """Movie of any known format, a folder of frames, or a folder of movies; FILE::/dataset or FILE.npz::key picks one."""
    reading: Annotated[ReadConfig, arg(name="")] = field(default_factory=ReadConfig)

    def run(self) -> None:
        """Print what is known of the machine, and of the file."""
        for name, value in selfcheck.versions().items():
            print(f"{name:<12} {value}")
        if self.file is None:
            selfcheck.check(force=True)
            print("self-check   jitted products and reductions are right on this machine")
            return
        for file in named_movies((self.file,)):
            channels = read_all(file, self.reading)
            for name, one in zip(channels.names, channels.movies, strict=True):
                if len(channels) > 1:
                    print(f"channel      {name}")
                _describe(one, file, len(channels) > 1, self._reading_options())

    def _reading_options(self) -> list[str]:
        """What was asked for in reading, which the suggested command needs as well."""
        words: list[str] = []
        for item in dataclasses.fields(self.reading):
            value = getattr(self.reading, item.name)
            if value != item.default:
                flag = f"--{item.name.replace('_', '-')}"
                words += [flag] if value is True else [flag, str(value)]
        return words


def _describe(movie: Movie, file: str, several: bool, reading: list[str]) -> None:
    valid = movie.valid()
    t, y, x = movie.shape
    values = movie.frames[valid]
    print(f"file         {file}")
    print(f"shape        {t} frames of {y} x {x} pixels, {movie.frames.dtype}")
    dy, dx = movie.pixel_size
    print(f"pixel        {dy:g} x {dx:g} {movie.length_unit}")
    first, last = movie.times[0], movie.times[-1]
    interval = np.median(np.diff(movie.times)) if t > 1 else float("nan")
    print(f"times        {first:g} to {last:g} {movie.time_unit}, interval {interval:g}")
    print(f"intensity    {values.min():.6g} to {values.max():.6g} {movie.intensity_unit}")
    print(f"valid        {100 * valid.mean():.4g} % of pixels")
    for what, value in acquisition_of(movie).facts().items():
        print(f"{what:<12} {value}")
    for note in movie.provenance.get("notes", ()):
        print(f"note         {note}")
    # What `denoise` would find before it trains.
    config = DenoiseConfig()
    try:
        survey = survey_movie(MovieSource(movie), config, parse_memory(None))
        sample, noise = measure_noise(survey, config)
    except InputError as error:
        print(f"noise        {error}")
        return
    for sentence in sample.log:
        print(f"noise        {sentence}")
    if several:
        return
    kind = type(noise.model).__name__
    flag = {"Gaussian": "gaussian", "Poisson": "poisson"}.get(kind, "poisson-gaussian")
    given = ["--noise", flag, "--blind", str(noise.estimate.blind), *reading]
    print(f"suggested    {quoted('phdenoise', 'denoise', file, '-o', 'OUT.h5', *given)}")
