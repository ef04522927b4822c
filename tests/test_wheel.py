"""The wheel holds what the package needs, and what is installed from it runs."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import phdenoise

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_a_wheel_is_built_installed_and_runs(tmp_path):
    pytest.importorskip("hatchling")
    quiet = {"check": True, "capture_output": True, "text": True}
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path, ROOT], **quiet
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in ("report/page.css", "report/player.js", "napari_plugin/napari.yaml", "cli/view.py"):
        assert f"phdenoise/{name}" in names
    assert not any(n.startswith(("tests/", "experiments/", "benchmarks/")) for n in names)
    home = tmp_path / "installed"
    subprocess.run([*pip, "install", "--no-deps", "--target", home, wheel], **quiet)
    env = os.environ | {"PYTHONPATH": str(home)}
    code = "import phdenoise; print(phdenoise.__file__)"
    where = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, **quiet).stdout
    assert where.startswith(str(home))
    said = subprocess.run(
        [sys.executable, "-m", "phdenoise", "--version"], cwd=tmp_path, env=env, **quiet
    )
    assert said.stdout.strip() == f"phdenoise {phdenoise.__version__}"
