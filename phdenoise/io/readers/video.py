"""Video files by ffmpeg (an extra), animated images by Pillow: frames in order, with the time of each and their number type.

Video codecs smooth noise away and quantise the rest, which no later step can undo. A note says so; a lossless stack is
always the better input.
"""

import re
import subprocess
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from phdenoise.io.limits import check_size
from phdenoise.io.readers.extras import require
from phdenoise.io.source import Source
from phdenoise.types import InputError

_LOSSLESS_CODECS = ("ffv1", "ffvhuff", "huffyuv", "rawvideo", "utvideo", "png", "apng", "qtrle", "bmp", "tiff", "zlib", "magicyuv")  # fmt: skip
# Beginnings of the pixel formats that hold what the camera gave: YUV formats round colours, and most halve their resolution.
_EXACT_FORMATS = ("gray", "rgb", "bgr", "gbr", "0rgb", "0bgr", "argb", "abgr", "rgba", "bgra", "ya", "mono", "pal8")  # fmt: skip
# Milliseconds in a second.
_MILLI = 1e-3


def read_video(path: Path, dataset: str | None) -> Source:
    """All frames of a video, grey [t, y, x] or colour [t, y, x, 3], in 8 or 16 bits as the file has them.

    Args:
        path: file.
        dataset: must be None.

    Returns:
        The frames with their times [s].

    Raises:
        InputError: ffmpeg is missing, or no frame can be decoded.
    """
    _refuse_dataset(path, dataset)
    exe = require("imageio", "video", path).plugins.ffmpeg.get_exe()
    first, _ = _run(exe, path, ["-frames:v", "1", "-f", "null"])
    layout = _layout(first.pixel_format)
    stream, data = _run(exe, path, ["-f", "rawvideo", "-pix_fmt", layout.pixel_format])
    frames = layout.frames(data, first.height, first.width, len(stream.ticks))
    source = _grey_or_colour(frames)
    source.times, source.time_unit = stream.times(), "s"
    if len(frames) == 1:
        source.times = None
    source.notes += stream.notes(len(frames))
    return source


def read_gif(path: Path, dataset: str | None) -> Source:
    """All frames of an animated image, grey [t, y, x] or colour [t, y, x, 3], in 8 bits a channel.

    Args:
        path: file.
        dataset: must be None.

    Returns:
        The frames with their times [s], from the delay of each frame.

    Raises:
        InputError: Pillow is missing, or no frame can be decoded.
    """
    _refuse_dataset(path, dataset)
    images = require("PIL.Image", "video", path)
    frames, delays, notes = [], [], []
    stored = path.stat().st_size
    with images.open(path) as file:
        count = getattr(file, "n_frames", 1)
        for n in range(count):
            try:
                file.seek(n)
                # Decoding takes four bytes a pixel; a later frame may be larger than the first.
                check_size(path, (count, *file.size[::-1], 4), np.dtype(np.uint8), stored)
                frames.append(np.asarray(file.convert("RGB")))
            except (OSError, EOFError, SyntaxError) as error:
                if not frames:
                    raise
                notes.append(f"The file is truncated: {n} frames could be decoded ({error}).")
                break
            delays.append(float(file.info.get("duration", 0)))
    source = _grey_or_colour(np.stack(frames))
    source.notes += notes
    if len(frames) > 1 and all(d > 0 for d in delays[:-1]):
        source.times, source.time_unit = np.cumsum([0.0, *delays[:-1]]) * _MILLI, "s"
    elif len(frames) > 1:
        source.notes.append("Frames of the file have no delay: it gives no times.")
    source.notes.append(
        "A GIF has at most 256 colours a frame, which has changed the noise; use a lossless stack where there is one."
    )
    return source


def _refuse_dataset(path: Path, dataset: str | None) -> None:
    if dataset is not None:
        raise InputError(f"{path} is a video and has no dataset '{dataset}': leave out '::'.")


def _grey_or_colour(frames: np.ndarray) -> Source:
    """Frames [t, y, x], where the file has one channel or equal ones, or [t, y, x, 3]."""
    if frames.shape[-1] == 1:
        return Source(frames[..., 0], axes="TYX")
    if np.array_equal(frames[..., 0], frames[..., 1]) and np.array_equal(frames[..., 0], frames[..., 2]):  # fmt: skip
        return Source(frames[..., 0], axes="TYX", notes=["The colours of the file are equal: it is grey."])  # fmt: skip
    return Source(frames, axes="TYXS")


@dataclass(frozen=True)
class _Layout:
    """How decoded frames are asked for: one of ffmpeg's pixel formats, the number type and the order of the channels."""

    pixel_format: str
    dtype: str
    channels: int
    planes: tuple[int, ...] = ()

    def frames(self, data: bytes, height: int, width: int, count: int) -> np.ndarray:
        """The frames [t, y, x, c] in raw bytes."""
        size = height * width * self.channels * np.dtype(self.dtype).itemsize
        if len(data) != count * size or not count:
            raise ValueError(f"{len(data)} bytes are not {count} frames of {height} x {width}")
        values = np.frombuffer(data, self.dtype)
        if self.planes:
            values = values.reshape(count, self.channels, height, width)
            return np.moveaxis(values[:, list(self.planes)], 1, -1)
        return values.reshape(count, height, width, self.channels)


def _layout(pixel_format: str) -> _Layout:
    """Grey stays grey and keeps its bits; planes of colours (gbr) stay what they are; every other colour becomes RGB."""
    found = re.search(r"(9|10|12|14|16|32|48|64)(le|be)$", pixel_format)
    if pixel_format.startswith("grayf32"):
        return _Layout("grayf32le", "<f4", 1)
    if pixel_format.startswith(("gray", "mono", "ya")):
        deep = found is not None and pixel_format.startswith("gray")
        return _Layout(f"gray{found[1]}le", "<u2", 1) if deep and found else _Layout("gray", "u1", 1)  # fmt: skip
    if re.fullmatch(r"gbrp(9|10|12|14|16)(le|be)", pixel_format):
        return _Layout(f"{pixel_format[:-2]}le", "<u2", 3, (2, 0, 1))
    return _Layout("rgb48le", "<u2", 3) if found else _Layout("rgb24", "u1", 3)


@dataclass(frozen=True)
class _Stream:
    """What ffmpeg said of a video: codec, pixel format, size, time of each frame [ticks], seconds a tick, rate, duration [s] and errors."""

    codec: str
    pixel_format: str
    height: int
    width: int
    ticks: tuple[int, ...]
    tick: Fraction
    rate: Fraction
    duration: float
    errors: tuple[str, ...]

    def times(self) -> np.ndarray:
        """Times of the frames from the first [s]: those of the file, or of its rate where they are that rate rounded to ticks."""
        ticks = np.asarray(self.ticks, float)
        count = np.arange(ticks.size)
        times = (ticks - ticks[0]) * float(self.tick)
        if not self.rate:
            return times
        even = count * float(1 / self.rate)
        return even if np.all(np.abs(times - even) <= float(self.tick) * _ROUNDED) else times

    def _slack(self) -> float:
        """Time by which frames of one rate may end before the file says [s]; of a variable rate any."""
        steps = np.diff(self.ticks)
        even = self.rate and (not steps.size or np.ptp(steps) <= 1)
        return float(1 / self.rate) + _DURATION_DIGITS if even else np.inf

    def notes(self, count: int) -> list[str]:
        """Sentences on damage, on uneven times and on what the codec did to the noise."""
        said = []
        if self.errors:
            said.append(
                f"The file is truncated or damaged: {count} frames could be decoded ({self.errors[0]})."
            )
        elif self.duration - count * float(1 / self.rate if self.rate else 0) > self._slack():
            said.append(
                f"The file is truncated: {count} frames could be decoded, and it says that it lasts {self.duration:g} s."
            )
        steps = np.diff(self.times())
        if steps.size and steps.max() - steps.min() > 2 * float(self.tick):
            said.append(
                f"The frames are unevenly spaced in time, {steps.min():.4g} to {steps.max():.4g} s."
            )
        exact = self.pixel_format.startswith(_EXACT_FORMATS)
        if self.codec not in _LOSSLESS_CODECS or not exact:
            said.append(
                f"The codec '{self.codec}' with pixels in {self.pixel_format} has changed the noise: the noise estimate and the "
                "error bars hold for the video and not for the camera; use a lossless stack where there is one."
            )
        return said


# Digits of the duration that ffmpeg prints [s].
_DURATION_DIGITS = 0.01
# A time that is rounded to ticks lies within one of them; the margin is for float arithmetic.
_ROUNDED = 1.001


def _run(exe: str, path: Path, output: list[str]) -> tuple[_Stream, bytes]:
    """Decode a video without repeating or dropping a frame; what ffmpeg said of it, and what it wrote."""
    command = [
        exe, "-hide_banner", "-nostdin", "-v", "level+info", "-i", f"file:{path}", "-map", "0:v:0", "-an", "-vf", "showinfo",
        "-fps_mode", "passthrough", *output, "-",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, check=False)
    said = done.stderr.decode(errors="replace")
    errors = re.findall(r"\[(?:error|fatal)\] (.*)", said)
    codec = re.search(r"Stream #.*?: Video: (\w+)", said)
    base = re.search(r"config in time_base: (\d+)/(\d+), frame_rate: (\d+)/(\d+)", said)
    found = re.findall(r"n: *\d+ pts: *(\S+) .* fmt:(\w+) .* s:(\d+)x(\d+) ", said)
    if codec is None or base is None or not found:
        raise ValueError(errors[0] if errors else "no frame can be decoded")
    tick, over, rate, per = (int(base[n]) for n in range(1, 5))
    ticks = tuple(int(f[0]) if f[0].lstrip("-").isdigit() else n for n, f in enumerate(found))
    return _Stream(
        codec[1],
        found[0][1],
        int(found[0][3]),
        int(found[0][2]),
        ticks,
        Fraction(tick, over or 1),
        Fraction(rate, per or 1),
        _duration(said),
        tuple(errors),
    ), done.stdout


def _duration(said: str) -> float:
    """How long the video lasts by its header [s]; 0 where it does not say, or where sound may last longer."""
    found = re.search(r"Duration: (\d+):(\d+):([\d.]+)", said)
    if found is None or ": Audio:" in said:
        return 0.0
    return 3600 * int(found[1]) + 60 * int(found[2]) + float(found[3])
