"""What several commands share: how to read the input, where to write, what to print at the end."""

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import arg

from phdenoise.channels import Channels
from phdenoise.io.atomic import check_writable
from phdenoise.io.channels import Layout, read_channels
from phdenoise.io.films import FILMS
from phdenoise.io.reading import read
from phdenoise.io.to_movie import check_values
from phdenoise.movie import Movie
from phdenoise.report.page import REPORT
from phdenoise.types import InputError

Output = Annotated[str, arg(aliases=["-o"])]


@dataclass(frozen=True)
class ReadConfig:
    """How to read the input."""

    pixel_size: float | None = None
    """Pixel size, where the file does not say it [um]."""
    frame_interval: float | None = None
    """Time between frames, where the file does not say it [s]."""
    override: bool = False
    """Take --pixel-size and --frame-interval where the file says something else, which is refused otherwise."""
    channel: str = "all"
    """Of a movie with several channels: all (info, and denoise, which uses them together), mean, r, g, b or an index."""
    channels: Layout | None = None
    """Where the channel axis of a bare array is: first [t, c, y, x] or last [t, y, x, c]; by default by its size."""


def read_all(path: str, reading: ReadConfig) -> Channels:
    """Every channel of a file, or the one that was asked for.

    Args:
        path: `FILE` or `FILE::DATASET`.
        reading: how to read it.

    Returns:
        The channels without those that are constant.

    Raises:
        InputError: the file cannot be used.
    """
    options = dataclasses.asdict(reading)
    channel, layout = options.pop("channel"), options.pop("channels")
    channels = read_channels(path, channels=layout, **options)
    if channel != "all":
        if len(channels) > 1:
            one = channels.one(channel)
            check_values(one)
        else:
            one = read(
                path,
                channel=channel,
                pixel_size=reading.pixel_size,
                frame_interval=reading.frame_interval,
            )
        return Channels((one,), (channel,), one.name)
    kept = channels.varying()
    if kept != channels.names:
        left = ", ".join(n for n in channels.names if n not in kept)
        print(f"Constant and left out: channel {left}.")
        channels = channels.chosen(kept)
    return channels


def read_one(path: str, reading: ReadConfig) -> Movie:
    """The one movie of a file.

    Args:
        path: `FILE` or `FILE::DATASET`.
        reading: how to read it.

    Returns:
        The movie.

    Raises:
        InputError: the file cannot be used, or holds several channels and none was chosen.
    """
    channels = read_all(path, reading)
    if len(channels) > 1:
        raise InputError(
            f"{path} has {len(channels)} channels ({', '.join(channels.names)}) and this takes one: choose it with "
            f"--channel mean, r, g, b or 0 to {len(channels) - 1}."
        )
    return channels.movies[0]


def check_outputs(
    source: str | None, outputs: list[str], overwrite: bool, suffixes: Sequence[str]
) -> None:
    """Refuse what could not be written before spending minutes on it.

    Args:
        source: the input, which is never replaced.
        outputs: files to write.
        overwrite: whether existing files may be replaced.
        suffixes: that the outputs may have.

    Raises:
        InputError: an output that cannot be written.
    """
    for output in outputs:
        path = Path(output)
        if path.suffix.lower() not in suffixes:
            known = ", ".join(sorted(suffixes))
            film = path.suffix.lower() in (*FILMS, ".html") and ".h5" in suffixes
            more = f" A film or a page of a result: phdenoise view RESULT -o {output}." * film
            raise InputError(
                f"Output {output}: unknown suffix '{path.suffix}', use one of {known}.{more}"
            )
        if source is not None and os.path.realpath(source.split("::")[0]) == os.path.realpath(
            output
        ):
            raise InputError(f"Output {output} is the input itself: choose another name.")
        check_writable(path, overwrite=overwrite, folder=path.suffix.lower() == ".zarr")


def print_findings(result: Any, output: str) -> None:
    """Print what a chain found, and where its report is.

    Args:
        result: of the chain, with `impossible`, `warnings` and `sentences`.
        output: folder that was written.
    """
    for sentence in result.impossible:
        print(f"Impossible: {sentence}")
    for warning in result.warnings:
        print(f"Warning: {warning}")
    for sentence in () if result.impossible else result.sentences:
        print(sentence)
    print(f"Report: {(Path(output) / REPORT).resolve()}")
