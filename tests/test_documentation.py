"""What is documented runs: the notebook's cells, and the README's Python."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile

import phdenoise as ph
from phdenoise.training import DenoiseConfig

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_notebook_runs():
    cells = json.loads((ROOT / "notebooks/quickstart.ipynb").read_text())["cells"]
    code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    for full, small in (
        ("(48, 48)", "(24, 24)"),
        ("steps=150", "steps=5"),
        ("iterations=8", "iterations=1"),
    ):
        assert full in code
        code = code.replace(full, small)
    names: dict = {}
    exec(compile(code, "quickstart", "exec"), names)
    assert np.isfinite(names["estimate"].mean).all()
    assert isinstance(names["law"].outcome, str)


@pytest.mark.slow
def test_neutron_notebook_runs():
    cells = json.loads((ROOT / "notebooks/neutron.ipynb").read_text())["cells"]
    code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    for full, small in (("shape=(24, 32)", "shape=(12, 24)"), ("steps=60", "steps=3, width=8")):
        assert full in code
        code = code.replace(full, small)
    names: dict = {}
    exec(compile(code, "neutron", "exec"), names)
    assert np.isfinite(names["result"].denoised.change.value).all()
    assert names["result"].fit.outcome


@pytest.mark.slow
def test_stxm_notebook_runs():
    cells = json.loads((ROOT / "notebooks/stxm.ipynb").read_text())["cells"]
    code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    for full, small in (
        (
            "shape=(36, 36), radius=11.0, frames=64, modes=25",
            "shape=(28, 28), radius=7.0, frames=24, modes=6",
        ),
        (
            "modes=25, length=4.0, window=9, start_modes=25, iterations=8",
            "modes=4, window=6, iterations=2",
        ),
        ("steps=150, width=16", "steps=3, width=8"),
        ("pick = [2, 12, 22, 32, 42, 52]", "pick = [2, 12, 22]"),
        ("(0, 6, 0, 36)", "(0, 5, 0, 28)"),
    ):
        assert full in code
        code = code.replace(full, small)
    names: dict = {}
    exec(compile(code, "stxm", "exec"), names)
    assert np.isfinite(names["result"].estimate.mean).all()
    assert set(names["result"].fits) == {"measured", "denoised", "joint"}


@pytest.mark.slow
def test_optical_notebook_runs():
    pytest.importorskip("skimage")
    cells = json.loads((ROOT / "notebooks/optical.ipynb").read_text())["cells"]
    code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    for full, small in (
        ("shape=(48, 48), particles=4", "shape=(20, 36), particles=2"),
        ("duration=2200.0", "duration=1200.0"),
        ("steps=120", "steps=3, width=8"),
        # Three steps denoise nothing; so that colours are seen all the same:
        ("electrons=20.0", "electrons=2000.0"),
    ):
        assert full in code
        code = code.replace(full, small)
    names: dict = {}
    exec(compile(code, "optical", "exec"), names)
    assert np.isfinite(names["result"].denoised.charge.soc).all()
    assert names["result"].particles.labels.max() == 2


def test_readme_names_what_exists(tmp_path, monkeypatch):
    text = (ROOT / "README.md").read_text()
    for command in re.findall(r"^\| `phdenoise (\w+)", text, flags=re.MULTILINE):
        assert command in (
            "info",
            "denoise",
            "simulate",
            "fit",
            "demo",
            "neutron",
            "stxm",
            "optical",
        )
    for script in re.findall(r"python (benchmarks/\w+\.py)", text):
        assert (ROOT / script).exists(), script
    block = next(b for b in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL))
    compile(block, "README", "exec")
    for name in re.findall(r"ph\.(\w+)", block):
        assert hasattr(ph, name), name


def test_verbs_agree_with_each_other(tmp_path):
    frames = np.random.default_rng(0).poisson(20, size=(4, 12, 12)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "m.tif", frames)
    estimate = ph.denoise(ph.read(tmp_path / "m.tif"), DenoiseConfig(steps=2, width=8))
    ph.write(estimate, tmp_path / "d.h5")
    np.testing.assert_array_equal(ph.read(tmp_path / "d.h5").frames, estimate.mean)
