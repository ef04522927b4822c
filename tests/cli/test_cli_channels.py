"""Movies of several channels on the command line."""

import numpy as np
import pytest
import tifffile

from phdenoise.cli.main import main
from phdenoise.io.channels import read_channels
from phdenoise.io.native import read_estimate
from phdenoise.io.native_channels import read_channels_estimate

pytestmark = pytest.mark.xdist_group("cli")

TINY = ["--steps", "3", "--width", "8", "--symmetries", "2"]


def _colour():
    y, x = np.mgrid[:20, :20]
    clean = 100 + 40 * np.sin(y / 4 + 0.1 * np.arange(6)[:, None, None]) * np.cos(x / 5)
    rgb = np.stack([clean, 0.5 * clean + 30, 150 - 0.5 * clean], axis=-1)
    return np.random.default_rng(0).poisson(rgb).astype(np.uint8)


@pytest.fixture
def movie(tmp_path):
    tifffile.imwrite(tmp_path / "movie.tif", _colour(), photometric="rgb")
    return tmp_path / "movie.tif"


def fails(capsys, *arguments):
    """Run, expect exit code 2, and return the one sentence on standard error."""
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    assert stop.value.code == 2
    return capsys.readouterr().err.strip()


def test_info_shows_each_channel_and_its_noise(movie, capsys):
    main(["info", str(movie)])
    said = capsys.readouterr().out
    assert [line.split()[1] for line in said.splitlines() if line.startswith("channel ")] == list(
        "rgb"
    )
    assert said.count("noise        Noise (") == 3


@pytest.mark.slow
def test_denoise_all_channels(movie, tmp_path, capsys):
    out, page = tmp_path / "out.h5", tmp_path / "page.html"
    main(["denoise", str(movie), "-o", str(out), "--report", str(page), *TINY])
    said = capsys.readouterr().out
    assert "Denoised channels" in said
    assert "g: Noise (" in said
    found = read_channels_estimate(out)
    assert found.names == ("r", "g", "b")
    assert found.mean.shape == found.variance.shape == (3, 6, 20, 20)
    assert np.isfinite(found.mean).all()
    for name in "rgb":
        assert "<html" in (tmp_path / f"page_{name}.html").read_text()
    main(["denoise", str(movie), "-o", str(tmp_path / "out.tif"), *TINY])
    again = read_channels(tmp_path / "out.tif")
    np.testing.assert_allclose(again.frames, found.mean, rtol=1e-4)


@pytest.mark.parametrize("channel", ["g", pytest.param("mean", marks=pytest.mark.slow)])
def test_one_channel_or_the_mean(channel, movie, tmp_path):
    main(["denoise", str(movie), "-o", str(tmp_path / "o.h5"), "--channel", channel, *TINY])
    expected = _colour()[..., 1] if channel == "g" else _colour().mean(-1)
    frames = read_estimate(tmp_path / "o.h5").movie.frames
    np.testing.assert_allclose(frames, expected, rtol=0 if channel == "g" else 1e-6)


def test_what_takes_one_channel_says_so(movie, tmp_path, capsys):
    out = tmp_path / "law.json"
    said = fails(capsys, "fit", movie, "-o", out)
    assert said == (
        f"phdenoise: {movie} has 3 channels (r, g, b) and this takes one: choose it with --channel mean, r, g, b or "
        "0 to 2."
    )
    said = fails(capsys, "denoise", movie, "-o", tmp_path / "o.h5", "--hallucination")
    assert said.startswith("phdenoise: --hallucination is for one channel")
    said = fails(capsys, "info", movie, "--channel", "x")
    assert "--channel must be mean, one of them or 0 to 2, got 'x'" in said
    assert not out.exists()


def test_an_empty_colour_is_left_out(tmp_path, capsys):
    colour = _colour()
    colour[..., 2] = 0
    np.save(tmp_path / "m.npy", colour)
    fails(capsys, "info", tmp_path / "m.npy", "--channel", "b")
    main(["info", str(tmp_path / "m.npy")])
    said = capsys.readouterr().out
    assert "Constant and left out: channel b." in said
    assert "channel      g" in said


def test_the_channel_axis_can_be_given(tmp_path, capsys):
    np.save(tmp_path / "m.npy", _colour()[:, :16, :15])
    assert "give --channels first" in fails(capsys, "info", tmp_path / "m.npy")
    main(["info", str(tmp_path / "m.npy"), "--channels", "last"])
    assert capsys.readouterr().out.count("6 frames of 16 x 15") == 3
