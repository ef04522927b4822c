"""Video: lossless frames come back exactly, in order and time; what is missing is said in a sentence."""

import sys

import numpy as np
import pytest

from phdenoise.io import read_channels
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
