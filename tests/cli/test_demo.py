"""The whole chain: on a twin, and on a part of three real movies (TEM, neutron counts, STXM)."""

import csv
import json

import h5py
import numpy as np
import pytest

from phdenoise.cli.main import main
from tests.report.pages import assert_report

# One process and one size of fit: it compiles once.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("demo")]
FRAMES, SIDE = 16, 96
FAST = [
    *("--denoise.steps", "40", "--denoise.width", "8", "--denoise.symmetries", "2"),
    *("--fit.iterations", "3", "--fit.mobility-degree", "2", "--fit.enthalpy-degree", "3"),
    *("--fit.max-side", "40", "--fit.max-frames", "12", "--fit.network-steps", "1"),
    # Given steps: to find them would compile for each number tried.
    *("--fit.field-waves", "6", "--fit.precision", "float32", "--fit.substeps", "8"),
]


def _complete(folder, figures=4):
    """The files of a report with at least so many figures, their numbers as {(group, name): value}."""
    names = {p.name for p in folder.iterdir()}
    needed = {"report.html", "results.h5", "numbers.csv", "provenance.json", "movie.png"}
    assert needed <= names
    assert assert_report(folder).count("data:image/png") >= figures
    provenance = json.loads((folder / "provenance.json").read_text())
    assert {"versions", "config", "input", "frames_sha256", "seeds"} <= set(provenance)
    with (folder / "numbers.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    return {(r["group"], r["name"]): float(r["value"] or "nan") for r in rows}


@pytest.mark.study
def test_twin(tmp_path, capsys):
    out = tmp_path / "out"
    twin = ["--twin.size", "32", "32", "--twin.frames", str(FRAMES)]
    main(["demo", "-o", str(out), *twin, *FAST])
    numbers = _complete(out)
    assert numbers["denoise", "psnr_denoised"] > numbers["denoise", "psnr_noisy"] + 4
    assert numbers["noise", "sigma"] == pytest.approx(0.15, rel=0.05)
    assert {"FIT_noisy.json", "FIT_denoised.json", "law.png", "energy.png", "truth.h5"} <= {
        p.name for p in out.iterdir()
    }
    assert "report.html" in capsys.readouterr().out
    before = (out / "report.html").read_bytes()
    with pytest.raises(SystemExit) as stop:
        main(["demo", "-o", str(out), *FAST])
    assert stop.value.code == 2
    assert (out / "report.html").read_bytes() == before


@pytest.mark.parametrize(
    ("file", "key", "noise"),
    [
        pytest.param("tem_pt_ceo2", "noisy", "PoissonGaussian", marks=pytest.mark.study),
        pytest.param("neutron_open_beam", "ramp", "Poisson", marks=pytest.mark.study),
        ("stxm_fe_l_edge", "absorption", None),
    ],
)
def test_real_movies(file, key, noise, shared_path, tmp_path):
    with np.load(shared_path(f"data/{file}.npz")) as archive:
        frames = archive[key].shape[0]
        part = {k: a[:FRAMES] if a.shape[:1] == (frames,) else a for k, a in archive.items()}
    measured = part[key] = part[key][:, -SIDE:, -SIDE:]
    path = tmp_path / f"{file}.npz"
    np.savez(path, **part)
    out = tmp_path / "out"
    main(["demo", "--movie", f"{path}::{key}", "-o", str(out), *FAST])
    spectral = file.startswith("stxm")
    numbers = _complete(out, figures=3 if spectral else 4)
    with h5py.File(out / "results.h5") as result:
        entry = result[result.attrs["default"]]
        data = entry[entry.attrs["default"]]
        mean = data[data.attrs["signal"]][...]
    measured = measured.astype(float)
    assert mean.shape == measured.shape
    assert np.isfinite(mean).all()
    # Intensities stay quantitative: each frame keeps its mean to a fraction of the movie's spread.
    drift = np.abs(mean.mean((1, 2)) - measured.mean((1, 2)))
    assert drift.max() < 0.1 * measured.std()
    # Noise goes: neighbouring frames differ less than they did.
    assert np.diff(mean, axis=0).std() < 0.8 * np.diff(measured, axis=0).std()
    if noise is not None:
        assert ("noise", "gain") in numbers
    fitted = any(group.startswith("fit") for group, _ in numbers)
    assert fitted != spectral
    if spectral:
        assert "steps of energy [eV], not of time" in (out / "report.html").read_text()
