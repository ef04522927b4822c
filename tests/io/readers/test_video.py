"""Video: lossless frames come back exactly, in order and time; what is missing is said in a sentence."""

import subprocess
import sys

import numpy as np
import pytest

from phdenoise.io.channels import read_channels
from phdenoise.io.reading import read
from phdenoise.types import InputError

FRAMES = np.random.default_rng(0).integers(0, 255, (5, 32, 48, 3)).astype(np.uint8)


def test_lossless_video_comes_back_exactly(tmp_path):
    iio = pytest.importorskip("imageio.v3")
    pytest.importorskip("imageio_ffmpeg")
    file = tmp_path / "m.avi"
    iio.imwrite(file, FRAMES, plugin="FFMPEG", fps=5, codec="ffv1", pixelformat="bgr0")
    found = read_channels(file)
    assert found.names == ("r", "g", "b")
    np.testing.assert_array_equal(np.moveaxis(found.frames, 0, -1), FRAMES)
    np.testing.assert_allclose(found.movies[0].times, 0.2 * np.arange(5))
    assert found.movies[0].time_unit == "s"
    iio.imwrite(tmp_path / "m.mp4", FRAMES, plugin="FFMPEG", fps=5)
    lossy = read_channels(tmp_path / "m.mp4").movies[0]
    assert any("changed the noise" in note for note in lossy.provenance["notes"])


def test_animation(tmp_path):
    iio = pytest.importorskip("imageio.v3")
    few = (FRAMES // 128 * 127).astype(np.uint8)
    iio.imwrite(tmp_path / "m.gif", few, duration=200, loop=0)
    found = read_channels(tmp_path / "m.gif")
    np.testing.assert_allclose(found.movies[0].times, 0.2 * np.arange(5))
    np.testing.assert_array_equal(np.moveaxis(found.frames, 0, -1), few)


def test_what_is_missing_or_broken_is_said(tmp_path, monkeypatch):
    (tmp_path / "m.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match="leave out '::'"):
        read_channels(f"{tmp_path / 'm.mp4'}::a")
    if "imageio_ffmpeg" in sys.modules or pytest.importorskip("imageio_ffmpeg"):
        with pytest.raises(InputError, match="cannot be read"):
            read_channels(tmp_path / "m.mp4")
    monkeypatch.setitem(sys.modules, "imageio", None)
    monkeypatch.setitem(sys.modules, "imageio.v3", None)
    with pytest.raises(InputError, match=r"phdenoise\[video\]"):
        read_channels(tmp_path / "m.mp4")


def _encode(path, frames, pixels, *options, rate="25", container=(), size=None):
    """Write frames with ffmpeg itself."""
    ffmpeg = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    rows, columns = size or frames.shape[1:3]
    command = [
        ffmpeg,
        "-v",
        "error",
        "-y",
        "-f",
        "rawvideo",
        "-pix_fmt",
        pixels,
        "-s",
        f"{columns}x{rows}",
        "-r",
        rate,
        "-i",
        "-",
    ]
    subprocess.run([*command, *options, *container, str(path)], input=frames.tobytes(), check=True)
    return path


DEEP = np.random.default_rng(1).integers(0, 65_536, (7, 32, 48)).astype("<u2")


@pytest.mark.parametrize(
    ("pixels", "values"),
    [("gray16le", DEEP), ("gray12le", DEEP >> 4), ("gray10le", DEEP >> 6), ("gray", (DEEP >> 8).astype("u1"))],
)  # fmt: skip
@pytest.mark.parametrize("suffix", [".mkv", ".avi"])
def test_grey_stays_grey_with_its_bits(tmp_path, pixels, values, suffix):
    movie = read(_encode(tmp_path / f"m{suffix}", values, pixels, "-c:v", "ffv1"))
    np.testing.assert_array_equal(movie.frames, values)
    assert movie.provenance["dtype"] == values.dtype.name
    assert not any("changed the noise" in n for n in movie.provenance["notes"])


def test_planes_of_16_bit_colours(tmp_path):
    planes = np.random.default_rng(2).integers(0, 65_536, (3, 3, 32, 48)).astype("<u2")
    file = _encode(tmp_path / "m.mkv", planes.reshape(3, 96, 48)[:, :32], "gray16le", "-c:v", "ffv1")  # fmt: skip
    assert read(file).shape == (3, 32, 48)
    # ffmpeg stores green, blue, red.
    coloured = _encode(tmp_path / "c.mkv", planes, "gbrp16le", "-c:v", "ffv1", size=(32, 48))
    found = read_channels(coloured)
    assert found.names == ("r", "g", "b")
    np.testing.assert_array_equal(found.frames, planes.swapaxes(0, 1)[[2, 0, 1]])


@pytest.mark.parametrize(("rate", "suffix"), [("30000/1001", ".mkv"), ("30000/1001", ".avi"), ("24000/1001", ".mp4")])  # fmt: skip
def test_a_fractional_rate_is_exact(tmp_path, rate, suffix):
    codec = "libx264" if suffix == ".mp4" else "ffv1"
    file = _encode(tmp_path / f"m{suffix}", (DEEP >> 8).astype("u1"), "gray", "-c:v", codec, rate=rate)  # fmt: skip
    top, bottom = map(int, rate.split("/"))
    np.testing.assert_allclose(read(file).times, np.arange(7) * bottom / top, rtol=1e-6, atol=1e-9)


def test_a_variable_rate_gives_each_frame_its_time(tmp_path):
    """Frames 2 and 5 were left out: the others keep their times, and none is repeated."""
    left = "select='not(eq(n,2)+eq(n,5))'"
    file = _encode(tmp_path / "m.mkv", DEEP, "gray16le", "-vf", left, "-fps_mode", "vfr", "-c:v", "ffv1", rate="10")  # fmt: skip
    movie = read(file)
    kept = [0, 1, 3, 4, 6]
    np.testing.assert_array_equal(movie.frames, DEEP[kept])
    np.testing.assert_allclose(movie.times, 0.1 * np.array(kept))
    assert any("unevenly spaced" in n for n in movie.provenance["notes"])


@pytest.mark.parametrize("suffix", [".mkv", ".avi"])
def test_a_truncated_video_says_so(tmp_path, suffix):
    file = _encode(tmp_path / f"m{suffix}", DEEP, "gray16le", "-c:v", "ffv1")
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    movie = read(file)
    assert 1 <= len(movie.frames) < 7
    np.testing.assert_array_equal(movie.frames[:-1], DEEP[: len(movie.frames) - 1])
    assert any("truncated" in n for n in movie.provenance["notes"])


def test_a_lossless_codec_of_rounded_colours_is_not_lossless(tmp_path):
    frames = np.random.default_rng(3).integers(0, 255, (3, 32, 48, 3)).astype("u1")
    file = _encode(tmp_path / "m.mkv", frames, "rgb24", "-c:v", "ffv1", "-pix_fmt", "yuv420p")
    notes = read(file).provenance["notes"]
    assert any("yuv420p" in n and "changed the noise" in n for n in notes)


def test_each_frame_of_an_animation_has_its_own_delay(tmp_path):
    image = pytest.importorskip("PIL.Image")
    grey = (np.arange(4)[:, None, None] * 60 + np.arange(48) % 40 + np.zeros((4, 32, 1))).astype("u1")  # fmt: skip
    first, *rest = [image.fromarray(f) for f in grey]
    first.save(tmp_path / "m.gif", save_all=True, append_images=rest, duration=[100, 250, 40, 500])
    movie = read(tmp_path / "m.gif")
    np.testing.assert_array_equal(movie.frames, grey)
    np.testing.assert_allclose(movie.times, [0, 0.1, 0.35, 0.39])
    data = (tmp_path / "m.gif").read_bytes()
    (tmp_path / "cut.gif").write_bytes(data[: int(len(data) * 0.6)])
    cut = read(tmp_path / "cut.gif", check=False)
    assert any("truncated" in n for n in cut.provenance["notes"])
