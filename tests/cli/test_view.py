"""`phdenoise view`: a page, a film, a strip; of estimates, channels, TIFF results, folders of chains and plain movies."""

import json
import re

import numpy as np
import pytest

import phdenoise as ph
from phdenoise.channels import Channels, ChannelsEstimate
from phdenoise.cli.main import main
from phdenoise.io.films import write_film
from phdenoise.noise.models import Gaussian

pytestmark = pytest.mark.xdist_group("cli")


def _estimate(name="run"):
    rng = np.random.default_rng(0)
    frames = rng.normal(5, 1, (4, 16, 20)).astype(np.float32)
    movie = ph.Movie.from_array(
        frames, pixel_size=(0.1, 0.1), length_unit="um", time_unit="s", name=name
    )
    return ph.Estimate(
        movie,
        0.5 * frames,
        0.01 * frames**2,
        Gaussian(1.0),
        blind_mean=frames,
        blind_variance=frames**2,
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ph.write(_estimate(), "out.h5")
    return tmp_path


def _layers(page):
    told = re.search(r"<script type='application/json'>(.*?)</script>", page, re.DOTALL)[1]
    return [x["name"] for x in json.loads(told)["layers"]]


def test_a_page(folder, capsys):
    main(["view", "out.h5"])
    page = (folder / "out_view.html").read_text()
    assert _layers(page) == ["noisy", "denoised", "sd", "residual"]
    assert "out_view.html" in capsys.readouterr().out
    main(["view", "out.h5", "-o", "two.html", "--layers", "sd", "denoised"])
    assert _layers((folder / "two.html").read_text()) == ["sd", "denoised"]


@pytest.mark.parametrize("suffix", ["gif", "mp4"])
def test_a_film_has_every_frame(suffix, folder):
    pytest.importorskip("imageio")
    if suffix == "mp4":
        pytest.importorskip("imageio_ffmpeg")
    main(["view", "out.h5", "-o", f"film.{suffix}", "--layers", "noisy", "denoised", "--fps", "5"])
    film = ph.read_channels(folder / f"film.{suffix}")
    assert film.frames.shape[1] == 4
    np.testing.assert_allclose(np.diff(film.movies[0].times), 0.2, rtol=0.01)
    # Noise changes from frame to frame, and so do its pictures.
    assert np.abs(np.diff(film.frames, axis=1)).mean(axis=(0, 2, 3)).min() > 0.5


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_a_strip(suffix, folder):
    main(["view", "out.h5", "-o", f"strip.{suffix}", "--columns", "3"])
    start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix]
    assert (folder / f"strip.{suffix}").read_bytes().startswith(start)


def test_other_results(folder):
    ph.write(_estimate(), "out.tif")
    main(["view", "out.tif"])
    assert _layers((folder / "out_view.html").read_text()) == ["measured", "sd"]
    parts = (_estimate("r"), _estimate("g"))
    both = ChannelsEstimate(parts, ("r", "g"), "both", np.eye(2))
    assert isinstance(both.channels, Channels)
    ph.write(both, "both.h5")
    main(["view", "both.h5"])
    page = (folder / "both_view.html").read_text()
    assert _layers(page)[:4] == ["r noisy", "r denoised", "r sd", "r residual"]
    (folder / "chain").mkdir()
    (folder / "chain/.phdenoise").touch()
    ph.write(_estimate(), "chain/results.h5")
    main(["view", "chain", "-o", "chain.html"])
    assert len(_layers((folder / "chain.html").read_text())) == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["out.h5", "--layers", "truth"], "There is no layer 'truth'"),
        (["out.h5", "-o", "x.docx"], "unknown suffix"),
        (["out.h5", "-o", "x.gif", "--fps", "0"], "--fps"),
        (["out.h5", "-o", "x.png", "--columns", "0"], "--columns"),
        (["none.h5"], "none.h5"),
    ],
)
def test_mistakes_are_one_sentence(words, said, folder, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["view", *words])
    assert stop.value.code == 2
    assert said in capsys.readouterr().err
    assert sorted(p.name for p in folder.iterdir()) == ["out.h5"]


def test_a_film_of_another_suffix_is_refused(tmp_path):
    with pytest.raises(ph.InputError, match="a film ends in"):
        write_film([], tmp_path / "x.avi", 5.0)
