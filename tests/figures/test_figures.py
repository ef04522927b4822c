"""Figures draw from small arrays with labelled axes; the report is one self-contained page."""

import io

import numpy as np
import pytest
from matplotlib.figure import Figure

from phdenoise.figures.law_plots import comparison
from phdenoise.figures.marks import BAR, Pixel, round_length
from phdenoise.figures.neutron_plots import along_time, change_maps, diffusivity, profiles
from phdenoise.figures.optical_plots import (
    charge_curves,
    colour_plane,
    front_curves,
    phase_panels,
    rgb_panels,
)
from phdenoise.figures.panel_data import panel_tables
from phdenoise.figures.plots import (
    energy_and_mass,
    law_curves,
    residual_autocorrelation,
    save,
    sweep,
    training_curve,
)
from phdenoise.figures.scene import estimate_scene, movie_scene, movie_strip
from phdenoise.figures.stxm_plots import fraction_maps, fractions_of, rate_maps, reaction_curves
from phdenoise.figures.tem_plots import (
    claim_panels,
    occupancy_map,
    particle_panels,
    strain_panels,
)
from phdenoise.movie import Estimate, Movie
from phdenoise.noise.models import Gaussian
from phdenoise.report.origin import Origin
from phdenoise.report.page import Report, Section, report_html
from tests.figures.checked import assert_complete

RNG = np.random.default_rng(0)
C = np.linspace(0.1, 0.9, 11)
CURVES = {
    **{"c": C, "mu_h": C - 0.5, "mu_h_low": C - 0.7, "mu_h_high": C - 0.4},
    **{"D": C, "D_low": 0.9 * C, "D_high": 1.2 * C},
}


def test_units_are_typeset_but_not_formulas():
    figure = Figure()
    figure.subplots()
    axis = figure.axes[0]
    axis.set_xlabel("D [um^2/s], $x^2$ um")
    axis.set_ylabel("change [mol cm^-3], 10^12, drum")
    buffer = io.BytesIO()
    save(figure, buffer, kind="png")
    assert buffer.getvalue().startswith(b"\x89PNG")
    assert axis.get_xlabel() == "D [µm²/s], $x^2$ µm"
    assert axis.get_ylabel() == "change [mol cm⁻³], 10^12, drum"


COMPARED = [
    {"model": m, "enthalpy_degree": 2, "mobility_degree": d, "held_out": 1.0 + d, "delta_aicc": 3.0 * d,
     "delta_bic": 2.0 * d, "delta_evidence": 1.0 * d, "chosen": d == 0}
    for m in ("fickian", "cahn-hilliard") for d in (0, 1)
]  # fmt: skip


def _all():
    frames = RNG.normal(size=(5, 12, 20))
    lags = {k: np.array([1.0, 0.1, -0.05]) for k in "xyt"}
    rows = [{"s": str(s), "a": str(s * 2), "b": ""} for s in (0.1, 0.2, 0.2)]
    movie = Movie.from_array(
        frames, pixel_size=(0.05, 0.05), length_unit="um", time_unit="s", name="run"
    )
    estimate = Estimate(movie, movie.frames, np.abs(movie.frames) + 0.1, Gaussian(1.0))
    yield movie_strip(estimate_scene(estimate))
    yield movie_strip(estimate_scene(estimate, movie.frames))
    yield movie_strip(movie_scene(Movie.from_array(frames[:1])))
    yield residual_autocorrelation(lags, lags)
    yield law_curves({"joint": CURVES}, diffusivity_unit="um^2/s", truth=CURVES)
    yield energy_and_mass(
        np.arange(5.0), {"a": np.arange(5.0)}, {"a": np.ones(5)}, time_unit="s", energy_unit="kT"
    )
    yield training_curve(list(RNG.normal(size=40)))
    yield comparison(COMPARED, unit="noise variances")
    maps = {"measured": frames, "denoised": np.abs(frames)}
    yield fraction_maps(maps, ["0 s", "1 s"], [0, 1], pixel=Pixel(0.1, 0.1, "um"))
    yield rate_maps({"joint": np.exp(frames[0])}, pixel=Pixel(0.1, 0.1, "um"))
    j0 = {k.replace("D", "j0"): v for k, v in CURVES.items()}
    yield reaction_curves({"joint": j0}, rate_unit="1/s", truth=j0)
    yield fractions_of({"one": {"a": 1.0}}, label="share [1]", line=0.5)
    yield change_maps(
        maps, [0.0, 1.0, 2.0, 3.0, 4.0], [0, 4], time_unit="s", unit="change [mol/cm^3]"
    )
    pair = (np.arange(5.0), np.ones(5))
    yield profiles(np.arange(5.0), {"1 s": {"measured": pair}}, x_label="s [mm]", y_label="c [1]",
                   lines={"1 s": {"fit": np.ones(5)}})  # fmt: skip
    yield along_time(np.arange(5.0), {"measured": pair}, x_label="t [s]", y_label="c [1]",
                     marks=[2.0, 3.0], line=("truth", np.ones(5)))  # fmt: skip
    filling = {"u": C, "D": C, "D_low": 0.9 * C, "D_high": 1.2 * C}
    yield diffusivity({"fit": filling}, x_label="u [1]", y_label="D [mm^2/h]", truth=(C, C))
    yield rgb_panels({"measured": RNG.random((3, 2, 12, 20))}, np.ones((2, 12, 20), int) * (np.arange(20) > 9), ["0 s", "1 s"])  # fmt: skip
    yield phase_panels({"measured": np.full((3, 2, 12, 20), 1 / 3)}, ["a", "b", "c"], ["0 s", "1 s"])  # fmt: skip
    soc = (RNG.random((2, 5)), np.full((2, 5), 0.1))
    yield charge_curves(np.arange(5.0), {"measured": soc}, x_label="t [s]", truth=soc[0])
    front = (RNG.random((2, 2, 5)), np.full((2, 2, 5), 0.1))
    yield front_curves(np.arange(5.0), front, front, ["b", "c"], x_label="t [s]",
                       depth_label="depth [um]", speed_label="speed [um/s]")  # fmt: skip
    yield colour_plane({"measured": RNG.random((3, 40))}, RNG.random((3, 3)), np.stack([np.eye(3)] * 3),
                       ["a", "b", "c"], channels=["r [1]", "g [1]"], unit="counts")  # fmt: skip
    at = 10 * RNG.random((6, 2))
    image = RNG.random((40, 50))
    yield particle_panels(image, image, at, at[:, 0] > 5, 0.1 * at, pixel_size=0.1)
    yield claim_panels(image, image, at, ["present"] * 5 + ["absent"], pixel_size=0.1)
    yield strain_panels(at, RNG.normal(size=(6, 3)), pixel_size=0.1, shape=(40, 50))
    yield occupancy_map(np.arange(5.0), RNG.random((6, 5)), x_label="t [s]")
    yield sweep(rows, x="s", ys={"A": "a"}, x_label="noise [1]", y_label="error [1]", log_y=True)


def test_a_law_that_does_not_hold_is_dashed_and_named():
    fits = {"noisy": CURVES, "joint": CURVES}
    figure = law_curves(fits, diffusivity_unit="um^2/s", refuted=["noisy"])
    assert figure.get_suptitle() == "The law does not hold: noisy"
    for axis in figure.axes:
        styles = {line.get_label(): line.get_linestyle() for line in axis.lines}
        assert styles == {"noisy, does not hold": "--", "joint": "-"}
    assert not law_curves(fits, diffusivity_unit="um^2/s").get_suptitle()


@pytest.mark.parametrize("figure", list(_all()))
def test_draws_with_labels(figure, tmp_path):
    save(figure, tmp_path / "f.png", dpi=60)
    assert (tmp_path / "f.png").stat().st_size > 1000
    assert_complete(figure)


def test_a_scale_bar_has_the_length_that_it_says():
    frames = RNG.normal(size=(3, 12, 20))
    movie = Movie.from_array(frames, pixel_size=(0.05, 0.05), length_unit="um")
    axis = movie_strip(movie_scene(movie)).axes[0]
    (bar,) = [line for line in axis.lines if line.get_gid() == BAR]
    said = float(axis.texts[0].get_text().split()[0])
    assert np.ptp(bar.get_xdata()) * 0.05 == pytest.approx(said)
    assert said == 0.2  # of a movie 1 um wide
    assert [round_length(v) for v in (0.3, 7.2, 5.0, 99.0)] == [0.2, 5.0, 5.0, 50.0]


def test_the_data_of_a_panel_are_what_was_drawn():
    left, right = panel_tables(law_curves({"joint": CURVES}, diffusivity_unit="um^2/s"))
    assert (left.name, right.name) == ("a", "b")
    assert right.head[2] == "D(c) [um^2/s]"
    curve = np.array([r[1:3] for r in right.rows if r[0] == "joint"])
    np.testing.assert_allclose(curve, np.stack([C, C], axis=1))
    band = np.array([[r[1], r[3], r[4]] for r in right.rows if r[0] == "90 % band, joint"])
    np.testing.assert_allclose(band, np.stack([C, 0.9 * C, 1.2 * C], axis=1))
    frames = RNG.normal(size=(2, 4, 6))
    first, second = panel_tables(movie_strip(movie_scene(Movie.from_array(frames))))
    assert (first.name, second.name) == ("a", "a2")
    np.testing.assert_allclose(second.rows, frames[1].astype(np.float64))


def test_a_figure_without_units_is_found():
    figure = Figure()
    figure.subplots().plot([0, 1])
    with pytest.raises(AssertionError, match="without unit"):
        assert_complete(figure)


def test_report_holds_everything_and_escapes(tmp_path):
    section = Section(
        "Law <1>",
        ["a < b & c"],
        [[{"name": "kappa", "value": 0.002}, {"name": "x", "value": float("nan")}]],
        [(training_curve([1.0, 0.5, 0.4]), "loss")],
    )
    report = Report("T & T", [], Origin("run", {"steps": 3}), law=[section])
    page = report_html(report)
    assert "a &lt; b &amp; c" in page
    assert "Law &lt;1&gt;" in page
    assert page.count("data:image/png;base64,") == 1
    assert "0.002" in page
    assert ">nan<" not in page
    assert "http" not in page
