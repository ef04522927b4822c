"""Video files by imageio (an extra): frames in order, colours kept, the frame rate believed.

Video codecs smooth noise away and quantise what is left, which no later step can undo: it is said, and a lossless stack
is always the better input.
"""

from pathlib import Path
from typing import Any

import numpy as np

from phdenoise.io.source import Source
from phdenoise.types import InputError

SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".gif")
_LOSSLESS = ("ffv1", "huffyuv", "rawvideo", "utvideo", "png")


def read_video(path: Path, dataset: str | None) -> Source:
    """All frames [t, y, x, 3], in 8 bits a channel.

    Raises:
        InputError: imageio or its ffmpeg is missing, or no frame can be decoded.
    """
    if dataset is not None:
        raise InputError(f"{path} is a video and has no dataset '{dataset}': leave out '::'.")
    try:
        import imageio.v3 as iio

        animation = path.suffix.lower() == ".gif"
        if not animation:
            import imageio_ffmpeg  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"{path}: reading {path.suffix} needs an optional package: pip install 'phdenoise[video]'."
        ) from error
    plugin: dict[str, Any] = (
        {"plugin": "pillow", "mode": "RGB"} if animation else {"plugin": "FFMPEG"}
    )
    frames = [np.asarray(f) for f in iio.imiter(str(path), **plugin)]
    if not frames:
        raise InputError(f"{path} holds no frame that can be decoded: convert it to a TIFF stack.")
    plugin.pop("mode", None)
    about = iio.immeta(str(path), **plugin)
    source = Source(np.stack(frames), axes="TYXS")
    rate, delay = about.get("fps"), about.get("duration")
    if not animation and rate:
        source.frame_interval, source.time_unit = 1 / float(rate), "s"
    elif animation and delay:
        source.frame_interval, source.time_unit = float(delay) / 1000, "s"
    codec = str(about.get("codec", "gif"))
    if codec not in _LOSSLESS:
        source.notes.append(
            f"The codec '{codec}' has changed the noise: what is said of it, and error bars, hold for the video and not "
            "for the camera; use a lossless stack where there is one."
        )
    return source
