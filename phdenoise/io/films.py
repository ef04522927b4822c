"""Films as MP4 (extra `video`) or GIF: pictures for eyes, not data."""

from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from phdenoise.io.atomic import atomic
from phdenoise.io.readers.extras import require
from phdenoise.types import InputError

FILMS = (".mp4", ".gif")
"""Suffixes of the films that can be written."""

# Colours of a GIF at most, by its format.
_GIF_COLOURS = 256
# Quality of the MP4 from 0 to 10: text and colour bars stay sharp.
_QUALITY = 8


def write_film(
    pictures: Iterable[UInt8[np.ndarray, "y x 3"]],
    path: str | Path,
    fps: float,
    *,
    overwrite: bool = False,
) -> Path:
    """Write pictures one after the other.

    Args:
        pictures: red, green and blue, all of one size.
        path: .mp4 or .gif.
        fps: pictures a second [1/s].
        overwrite: whether an existing file may be replaced.

    Returns:
        The path.

    Raises:
        InputError: another suffix, no such rate, no ffmpeg, or a file that cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in FILMS:
        raise InputError(
            f"{path}: a film ends in {' or '.join(FILMS)}, not in '{path.suffix}': choose one of them."
        )
    if not 0 < fps <= 100:
        raise InputError(
            f"A film shows more than 0 and at most 100 frames a second, got {fps:g}: give --fps."
        )
    with atomic(path, overwrite) as temporary:
        # ffmpeg and Pillow go by the suffix.
        aside = temporary.with_suffix(path.suffix.lower())
        try:
            write = _write_gif if aside.suffix == ".gif" else _write_mp4
            write(pictures, aside, fps)
            aside.replace(temporary)
        finally:
            aside.unlink(missing_ok=True)
    return path


def _write_mp4(pictures: Iterable[np.ndarray], path: Path, fps: float) -> None:
    imageio = require("imageio", "video", path)
    with imageio.get_writer(
        path, format="FFMPEG", mode="I", fps=fps, codec="libx264", quality=_QUALITY, macro_block_size=16
    ) as film:  # fmt: skip
        for picture in pictures:
            film.append_data(picture)


def _write_gif(pictures: Iterable[np.ndarray], path: Path, fps: float) -> None:
    image = require("PIL.Image", "video", path)
    rest = iter(pictures)
    first = image.fromarray(next(rest)).quantize(_GIF_COLOURS)
    # One palette for all, so that colours do not flicker.
    others = (image.fromarray(p).quantize(palette=first, dither=0) for p in rest)
    first.save(path, save_all=True, append_images=chain(others), duration=round(1000 / fps), loop=0)
