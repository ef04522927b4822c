"""Figures draw from small arrays with labelled axes; the report is one self-contained page."""

import io

import numpy as np
import pytest
from matplotlib.figure import Figure

from phdenoise.figures.plots import (
    energy_and_mass,
    law_curves,
    movie_panels,
    residual_autocorrelation,
    save,
    sweep,
    training_curve,
)
from phdenoise.report.page import Section, report_html

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
    assert "cm³" in report_html("r", [Section("h", ["5 mol/cm^3"])])


def _all():
    frames = RNG.normal(size=(5, 12, 20))
    lags = {k: np.array([1.0, 0.1, -0.05]) for k in "xyt"}
    rows = [{"s": str(s), "a": str(s * 2), "b": ""} for s in (0.1, 0.2, 0.2)]
    yield movie_panels(
        {"noisy": frames, "denoised": frames},
        [float(t) for t in range(5)],
        time_unit="s",
        intensity_unit="counts",
        spread=np.abs(frames),
        pixel_size=0.05,
        length_unit="um",
    )
    yield movie_panels({"noisy": frames[:1]}, [0.0], time_unit="frame", intensity_unit="counts")
    yield residual_autocorrelation(lags, lags)
    yield law_curves({"joint": CURVES}, diffusivity_unit="um^2/s", truth=CURVES)
    yield energy_and_mass(
        np.arange(5.0), {"a": np.arange(5.0)}, {"a": np.ones(5)}, time_unit="s", energy_unit="kT"
    )
    yield training_curve(list(RNG.normal(size=40)))
    yield sweep(rows, x="s", ys={"A": "a"}, x_label="noise", y_label="error", log_y=True)


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
    plotted = [a for a in figure.axes if a.lines]
    assert all(a.get_xlabel() or not a.xaxis.get_ticklocs().size for a in plotted)


def test_report_holds_everything_and_escapes(tmp_path):
    section = Section(
        "Law <1>",
        ["a < b & c"],
        [[{"name": "kappa", "value": 0.002}, {"name": "x", "value": float("nan")}]],
        [(training_curve([1.0, 0.5, 0.4]), "loss")],
    )
    page = report_html("T & T", [section])
    assert "a &lt; b &amp; c" in page
    assert "Law &lt;1&gt;" in page
    assert page.count("data:image/png;base64,") == 1
    assert "0.002" in page
    assert "nan" not in page
    assert "http" not in page
