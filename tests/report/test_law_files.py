"""A fit's files appear together or not at all."""

from dataclasses import replace

import numpy as np
import pytest

from phdenoise.learn.result import FitResult
from phdenoise.report import law_files
from phdenoise.types import InputError


def _fit() -> FitResult:
    c = np.linspace(0.1, 0.9, 5)
    curves = {
        "c": c,
        "D": 1 + c,
        "D_low": c,
        "D_high": 2 + c,
        "mu_h": c,
        "mu_h_low": c,
        "mu_h_high": c,
    }
    return FitResult(
        model="fickian", outcome="converged", converged=True, parameters=(), curves=curves, kappa=None,
        statistics={}, theta=np.zeros(0), covariance=np.zeros((0, 0)),
        settings={"diffusivity_unit": "um^2/s"},
    )  # fmt: skip


def test_all_are_there_and_are_read_back(tmp_path):
    made = law_files.write_law(_fit(), tmp_path / "fit.json")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in made)
    np.testing.assert_allclose(law_files.read_law(made[0]).curves["D"], _fit().curves["D"])


def test_a_figure_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    law_files.write_law(_fit(), tmp_path / "fit.json")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("phdenoise.figures.plots.save", full)
    other = replace(_fit(), curves={k: 2 * v for k, v in _fit().curves.items()})
    with pytest.raises(InputError, match="no space left"):
        law_files.write_law(other, tmp_path / "fit.json", overwrite=True)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_law_without_curves_takes_those_of_before_away(tmp_path):
    law_files.write_law(_fit(), tmp_path / "fit.json")
    law_files.write_law(replace(_fit(), curves={}), tmp_path / "fit.json", overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["fit.json"]


def test_another_suffix_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match=r"ending in \.json"):
        law_files.write_law(_fit(), tmp_path / "fit.txt")
    assert not list(tmp_path.iterdir())
