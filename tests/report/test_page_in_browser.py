"""Reports and views in a real browser: no message of an error, every picture there, every player playing."""

import re
import shutil
import subprocess

import numpy as np
import pytest

from phdenoise.figures.plots import training_curve
from phdenoise.figures.scene import estimate_scene, movie_scene
from phdenoise.movie import Estimate, Movie
from phdenoise.noise.models import Gaussian
from phdenoise.report.origin import Origin
from phdenoise.report.page import Light, Report, Section, Verdict, measured, report_html
from phdenoise.report.player import player_html, reduced
from phdenoise.report.trust import movie_section
from phdenoise.report.viewer import viewer_html
from tests.report.pages import assert_page

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)  # fmt: skip
# What the browser is asked once the page is there.
ASK = """<script>addEventListener("load", () => setTimeout(() => {
  const seen = [...document.querySelectorAll(".picture canvas")].map((c) =>
    new Set(c.getContext("2d").getImageData(0, 0, c.width, c.height).data).size);
  document.querySelector(".play")?.click();
  setTimeout(() => {
    document.body.dataset.broken = [...document.images].filter((i) => !i.naturalWidth).length;
    document.body.dataset.images = document.images.length;
    document.body.dataset.colours = Math.min(...seen);
    document.body.dataset.canvases = seen.length;
    document.body.dataset.frame = document.querySelector(".player input[type=range]").value;
  }, 900);
}, 500));</script>"""


def _estimate() -> Estimate:
    rng = np.random.default_rng(0)
    frames = rng.normal(5, 1, (30, 12, 10)).astype(np.float32)
    frames[2, 3, 4] = np.nan
    movie = Movie.from_array(
        frames, name="run <7>", pixel_size=(0.1, 0.2), length_unit="um", time_unit="s"
    )
    mean = rng.normal(5, 0.3, frames.shape).astype(np.float32)
    return Estimate(movie, mean, 0.1 * mean**2, Gaussian(1.0))


def _report() -> str:
    scene = estimate_scene(_estimate())
    section = Section("", ["More."], (), [(training_curve([3.0, 2.0, 1.0]), "Loss.")])
    report = Report(
        "A report",
        [measured("D", 2.0, 0.1, "um^2/s", Verdict.GOOD, "It holds.")],
        Origin("run <7>", {"steps": 3}),
        pictures=[movie_section(scene)],
        law=[Section("Law", ["5 mol/cm^3"])],
        trust=[Light(Verdict.LOOK, "noise removed", "Look.", section)],
        numbers=[{"group": "noise", "name": "sigma", "value": 1.0, "sd": 0.1, "unit": "counts"}],
    )
    return report_html(report)


def test_the_parts_stand_in_order_and_nothing_is_loaded():
    page = _report()
    assert_page(page)
    assert "1.84 to 2.16 µm²/s" in page
    assert "mol/cm³" in page
    assert "standard deviation of the Gaussian noise" in page
    assert "run &lt;7&gt;" in page
    assert "look at this" in page


def _in_browser(page: str, tmp_path) -> dict[str, int]:
    """What the browser answers; fails on any message that it logs."""
    if BROWSER is None:
        pytest.skip("No Chromium is installed: the page is not tried in a browser.")
    file = tmp_path / "page.html"
    file.write_text(page.replace("</body>", f"{ASK}</body>"), encoding="utf-8")
    done = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
         "--virtual-time-budget=10000", "--enable-logging=stderr", "--dump-dom", file.as_uri()],
        capture_output=True, text=True, timeout=180, check=True,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr, done.stderr
    found = re.findall(r"data-(\w+)=\"(\d+)\"", done.stdout)
    assert 'data-ready="yes"' in done.stdout
    return {name: int(value) for name, value in found}


@pytest.mark.slow
def test_a_report_in_a_browser(tmp_path):
    seen = _in_browser(_report(), tmp_path)
    assert seen["broken"] == 0
    assert seen["images"] == 2
    assert seen["canvases"] == 4
    assert seen["colours"] > 10
    assert seen["frame"] > 0  # it plays


@pytest.mark.slow
def test_a_view_in_a_browser(tmp_path):
    seen = _in_browser(viewer_html(movie_scene(_estimate().movie), "run"), tmp_path)
    assert seen["canvases"] == 1
    assert seen["frame"] > 0


def test_a_player_of_a_large_movie_says_what_it_leaves_out():
    frames = np.arange(40 * 256 * 256, dtype=np.float32).reshape(40, 256, 256)
    scene = movie_scene(Movie.from_array(frames))
    small, notes = reduced(scene, 100_000)
    kept = small.layers[0].frames
    assert kept.size <= 100_000
    assert len(small.times) == len(kept)
    assert small.pixel.dx == 4 == 256 / kept.shape[2]
    assert len(notes) == 2
    np.testing.assert_allclose(kept[0].mean(), frames[0].mean(), rtol=1e-6)
    assert notes[0] in player_html(scene, 100_000)
    assert reduced(scene, frames.size) == (scene, [])
