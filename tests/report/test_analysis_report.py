"""The folder of an analysis, from results that are made up: nothing is trained."""

import csv
import importlib
import json
from dataclasses import replace

import numpy as np
import pytest

import phdenoise as ph
from phdenoise import analysis as chain
from phdenoise.analysis import Analysis
from phdenoise.learn.config import FitConfig
from phdenoise.learn.result import FitResult
from phdenoise.metrics.residuals import Autocorrelation
from phdenoise.noise.models import Gaussian
from phdenoise.physics.equations.cahn_hilliard import CahnHilliard
from phdenoise.physics.free_energies.regular_solution import RegularSolution
from phdenoise.physics.mobility import DegenerateMobility
from phdenoise.report import analysis as report

NOTHING = FitResult(
    model="cahn-hilliard",
    outcome="Nothing moves: the change is no more than noise.",
    converged=False,
    parameters=(),
    curves={},
    kappa=None,
    statistics={},
    theta=np.zeros(0),
    covariance=np.zeros((0, 0)),
)


@pytest.fixture
def found():
    rng = np.random.default_rng(0)
    movie = ph.Movie.from_array(rng.normal(5, 1, (4, 12, 10)).astype(np.float32), name="run 7")
    trust = {
        "upsnr": {"psnr": 20.0, "sd": 1.0},
        "whiteness": {"z": 0.1, "correlation": 0.02, "sentence": "The residual is white."},
        "warnings": (),
    }
    one = np.ones(movie.shape, np.float32)
    history = {"loss": list(np.linspace(3, 1, 40))}
    log = ("It was denoised.",)
    estimate = ph.Estimate(movie, 5 * one, 0.1 * one, Gaussian(1.0), log=log, history=history)
    lags = Autocorrelation(*(np.linspace(1, 0, 4).astype(np.float32) for _ in range(6)))
    skipped = {"joint": "Not attempted: there is no law."}
    return Analysis(replace(estimate, trust=trust), {"psnr_noisy": 1.0, "psnr_denoised": 2.0,
                    "coverage_95": 0.95}, lags, {}, skipped)  # fmt: skip


def test_folder(found, tmp_path, monkeypatch):
    light = report.Light(report.Verdict.GOOD, "noise removed", "No check gave a warning.")
    monkeypatch.setattr(report, "trust_lights", lambda *_: [light])
    movie = found.estimate.movie
    said = report.write_analysis(
        tmp_path / "out", movie, found, clean=movie, about={"seeds": {"twin": 3}}
    )
    assert said[0] == "It was denoised."
    assert said[-1] == "Law, field and denoiser together: Not attempted: there is no law."
    folder = tmp_path / "out"
    figures = {"movie.png", "residual.png", "training.png"}
    assert figures <= {p.name for p in folder.iterdir()}
    assert (folder / "report.html").read_text().count("data:image/png") == 3
    provenance = json.loads((folder / "provenance.json").read_text())
    assert {"versions", "input", "frames_sha256", "seeds", "command", "version", "date"} == set(
        provenance
    )
    with (folder / "numbers.csv").open() as stream:
        rows = {(r["group"], r["name"]): float(r["value"]) for r in csv.DictReader(stream)}
    assert rows["denoise", "psnr_denoised"] == 2.0
    assert rows["noise", "sigma"] == 1.0
    np.testing.assert_array_equal(ph.read(folder / "truth.h5").frames, movie.frames)
    with pytest.raises(ph.InputError, match="exists already"):
        report.write_analysis(folder, movie, found)


def test_folder_of_a_movie_in_which_nothing_moves(found, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "trust_lights", lambda *_: [])
    folder = tmp_path / "out"
    still = replace(found, fits={"noisy": NOTHING})
    said = report.write_analysis(folder, found.estimate.movie, still)
    assert f"Law from the noisy movie: {NOTHING.outcome}" in said
    stored = json.loads((folder / "FIT_noisy.json").read_text())
    assert stored["holds"] is None
    assert stored["curves"] == stored["statistics"] == {}
    assert not (folder / "law.png").exists()
    assert NOTHING.outcome in (folder / "report.html").read_text()


def test_one_fit_without_a_law_leaves_the_others(found):
    c = np.linspace(0.2, 0.8, 101)
    curves = {f"{name}{edge}": c for name in ("mu_h", "D") for edge in ("", "_low", "_high")}
    law = CahnHilliard(RegularSolution(2.5), DegenerateMobility(1.0), 0.02)
    settings = {"scale_low": 0.0, "scale_high": 10.0, "diffusivity_unit": "px^2/frame", "binning": 1,
                "boundary_used": "periodic"}  # fmt: skip
    wrong = replace(NOTHING, curves={"c": c, **curves}, law=law, settings=settings, holds=False)
    both = replace(found, fits={"noisy": NOTHING, "denoised": wrong})
    truth = {"c": c, "mu_h": c, "D": c}
    rows = {(r["group"], r["name"]): r["value"] for r in report.numbers(both, truth)}
    assert rows["fit denoised", "holds"] == 0.0
    assert rows["fit denoised", "mu_h_rms_error_kT"] == 0.0
    assert not [group for group, _ in rows if group == "fit noisy"]
    figure, caption = report._figures(both, None, truth)["law"]
    assert figure.get_suptitle() == "The law does not hold: denoised"
    assert "does not hold" in caption


@pytest.mark.parametrize(("noisy", "made"), [(True, ["noisy"]), (False, ["noisy", "denoised"])])
def test_no_further_fit_is_tried_where_nothing_moves(found, noisy, made, monkeypatch):
    moving = replace(NOTHING, theta=np.ones(1))
    answers = iter([NOTHING] if noisy else [moving, NOTHING])
    monkeypatch.setattr(chain, "denoise", lambda *_, **__: found.estimate)
    monkeypatch.setattr(chain, "fit", lambda *_, **__: next(answers))
    result = chain.analyse(found.estimate.movie)
    assert list(result.fits) == made
    assert result.skipped["joint"] == "Not attempted: nothing moves beyond noise."


def test_a_joint_fit_does_not_start_where_nothing_moved():
    movie = ph.Movie.from_array(np.random.default_rng(0).normal(size=(6, 12, 12)))
    result = ph.fit(movie, "fickian", FitConfig(mobility_degree=1), start=NOTHING)
    assert result.parameters == ()
    assert result.holds is None
    with pytest.raises(ph.InputError, match="Nothing moves"):
        result.value("ln_D_0")
    assert "<img" not in result._repr_html_()


def test_a_joint_fit_does_not_start_from_a_law_of_other_faces(monkeypatch):
    """The faces of two versions of a movie are found apart, and a law with flows through faces has more numbers."""
    fit_file = importlib.import_module("phdenoise.learn.fit")
    yy, xx = np.mgrid[:12, :12]
    spot = [np.exp(-((yy - 6) ** 2 + (xx - 6) ** 2) / (4 + 4 * t)) / (1 + t) for t in range(6)]
    movie = ph.Movie.from_array(np.stack(spot) + 1e-3 * np.random.default_rng(0).normal(size=(6, 12, 12)))  # fmt: skip
    estimate = ph.Estimate(movie, movie.frames, 1e-6 * np.ones(movie.shape), Gaussian(1e-3))
    asked = []
    monkeypatch.setattr(fit_file, "near_law", lambda task: task.starts.guess)
    monkeypatch.setattr(fit_file, "fit_jointly", lambda _, near: asked.append(near) or NOTHING)
    config = FitConfig(mobility_degree=1, joint=True)
    for size in (99, None):
        theta = np.zeros(asked[-1].size if size is None else size)
        ph.fit(movie, "fickian", config, estimate=estimate, start=replace(NOTHING, theta=theta))
    assert asked[0].size < 99
    np.testing.assert_array_equal(asked[1], 0)


def test_a_movie_on_which_no_network_was_trained_has_a_report(found, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "trust_lights", lambda *_: [])
    untrained = replace(found, estimate=replace(found.estimate, history={"loss": []}))
    folder = tmp_path / "out"
    report.write_analysis(folder, found.estimate.movie, untrained)
    assert not (folder / "training.png").exists()
    assert "No network was trained" in (folder / "report.html").read_text()
