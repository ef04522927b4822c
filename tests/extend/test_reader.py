"""A file format from outside the package: registered in a script, or as an entry point of an installed package."""

import sys
from pathlib import Path

import lab_camera
import numpy as np
import pytest

import phdenoise as ph
from phdenoise.cli.main import main
from phdenoise.io import readers

COUNTS = np.random.default_rng(0).poisson(80, (5, 9, 7)).astype("<u2")
DOCS = Path(__file__).resolve().parents[2] / "docs" / "extend" / "reader.md"


@pytest.fixture(autouse=True)
def _table_as_before(monkeypatch):
    monkeypatch.setattr(readers, "_FORMATS", dict(readers._FORMATS))


@pytest.fixture
def movie(tmp_path):
    path = tmp_path / "run7.dump"
    path.write_bytes(b"5 9 7 2.5 0.05\n" + COUNTS.tobytes())
    return path


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The package as pip would install it: its module, and what it says of itself."""
    site = tmp_path / "site"
    about = site / "lab_camera-1.0.dist-info"
    about.mkdir(parents=True)
    (site / "lab_camera.py").write_text(Path(lab_camera.__file__).read_text())
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: lab_camera\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[phdenoise.readers]\ndump = lab_camera:read_dump\n")
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "lab_camera")


def _check(movie):
    np.testing.assert_array_equal(movie.frames, COUNTS)
    np.testing.assert_allclose(movie.times, 2.5 * np.arange(5))
    assert movie.pixel_size == (0.05, 0.05)
    assert (movie.time_unit, movie.length_unit, movie.name) == ("s", "um", "run7")
    assert movie.provenance["sha256"]


def test_registered_in_a_script(movie):
    ph.register_reader(".dump", lab_camera.read_dump)
    _check(ph.read(movie))
    assert len(ph.read_channels(movie)) == 1
    with pytest.raises(ph.InputError, match="replace=True"):
        ph.register_reader([".DUMP", ".h5"], lab_camera.read_dump)


def test_a_folder_of_such_frames(tmp_path):
    ph.register_reader(".dump", lab_camera.read_dump, frames=True)
    for k, frame in enumerate(COUNTS):
        (tmp_path / f"frame{k}.dump").write_bytes(b"1 9 7 2.5 0.05\n" + frame.tobytes())
    np.testing.assert_array_equal(ph.read(tmp_path).frames, COUNTS)


@pytest.mark.usefixtures("installed")
def test_entry_point_of_an_installed_package(movie, capsys):
    _check(ph.read(movie))
    main(["info", str(movie)])
    said = capsys.readouterr().out
    assert "5 frames of 9 x 7 pixels" in said
    assert "0.05 x 0.05 um" in said
    with pytest.raises(ph.InputError, match=r"\.dump"):
        ph.read(movie.with_suffix(".nothing"))


@pytest.mark.usefixtures("installed")
def test_its_errors_are_those_of_the_command_line(movie, capsys):
    movie.write_bytes(b"5 9 7 2.5 0.05\n" + COUNTS.tobytes()[:-10])
    with pytest.raises(SystemExit) as stop:
        main(["info", str(movie)])
    assert stop.value.code == 2
    assert capsys.readouterr().err.strip() == f"phdenoise: {movie} is truncated: copy it again."


def test_unknown_without_it(movie):
    with pytest.raises(ph.InputError, match="are not known"):
        ph.read(movie)


def test_the_page_shows_this_code():
    code = Path(lab_camera.__file__).read_text()
    assert len(code.splitlines()) <= 40
    assert f"```python\n{code}```" in DOCS.read_text()
