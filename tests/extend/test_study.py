"""The study of the page, in a file of thirty lines, by the command line: list, run, status, collect, figure, rerun, cite."""

import csv
import json
import re
import sys
from pathlib import Path

import pytest

from phdenoise.cli.main import main

DOCS = Path(__file__).resolve().parents[2] / "docs" / "extend" / "study.md"
CODE = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)


@pytest.fixture
def study(tmp_path, monkeypatch, capsys):
    """A function from words of a command line to what it prints."""
    (tmp_path / "averaging.py").write_text(CODE[0])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))
    monkeypatch.delitem(sys.modules, "averaging", raising=False)

    def call(*words):
        main(["study", "averaging.py", *words])
        return capsys.readouterr().out

    yield call
    sys.modules.pop("averaging", None)


def refused(call, capsys, *words):
    with pytest.raises(SystemExit) as stop:
        call(*words)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error


def test_the_page_is_thirty_lines_and_runs(study, tmp_path, monkeypatch):
    lines = [line for line in CODE[0].splitlines() if line.strip()]
    assert len(lines) <= 30
    names: dict = {}
    for code in CODE:
        exec(compile(code, str(DOCS), "exec"), names)
    assert len(names["rows"]) == 12


def test_from_list_to_cite(study, tmp_path, capsys):
    assert "12 runs, code version" in study("list", "--fast")
    assert "12 of 12 runs are done" in study("run", "--fast", "--launcher", "vmapped")
    folder = tmp_path / "results" / "averaging" / "fast"
    assert "12 of 12 runs are done." in study("status", "--fast")
    assert "12 of 12 runs are in the table" in study("collect", "--fast")
    study("figure", "--fast")
    assert {"error.png", "error.pdf", "error_a.csv", "table_about.csv"} <= {
        p.name for p in folder.iterdir()
    }
    # What is drawn is what is in the table.
    with (folder / "error_a.csv").open() as file:
        drawn = {
            (r["series"], float(r["values"])): float(r["error of the mean"])
            for r in csv.DictReader(file)
            if r["error of the mean"]
        }
    with (folder / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    values = sorted(float(r["error"]) for r in rows if r["sigma"] == "0.1" and r["count"] == "4")
    assert drawn["rms, sigma 0.1", 4.0] == pytest.approx(values[1])
    # The origin is in the files.
    png = (folder / "error.png").read_bytes()
    manifest = json.loads(re.search(rb"Description\0(\{.*?\})", png)[1])
    assert manifest["study"] == "averaging"
    assert manifest["code"] in rows[0]["id"]
    assert b"/FontFile2" in (folder / "error.pdf").read_bytes()
    # One program rounds otherwise than a single run; a single run is repeated to the bit.
    assert "within 1e-06" in study("rerun", rows[0]["id"], "--fast")
    study("run", "--where", "count=16", "seed=0", "sigma=0.1")
    assert "bit by bit the same" in study("rerun", rows[0]["id"])
    assert "@misc{jax2018" in study("cite", "--fast")
    # Some of the runs, with other seeds.
    assert "4 runs" in study("list", "--fast", "--where", "sigma=0.1", "--seeds", "7", "8")
    out = study("run", "--fast", "--where", "sigma=0.1", "--seeds", "7")
    assert "2 of 4 runs are done, 2 waiting; 12 more are stale" in out
    assert "2 of 4 runs are in the table (2 not run)" in study("collect", "--fast", "--seeds", "7")


def test_mistakes_are_one_sentence(study, tmp_path, capsys):
    assert "holds no study" in refused(study, capsys, "status")
    assert "Unknown condition 'sigm=1'" in refused(study, capsys, "list", "--where", "sigm=1")
    assert "Which run?" in refused(study, capsys, "rerun")
    assert "No run of this study is called abc" in refused(study, capsys, "rerun", "abc")
    assert "collect the sweep first" in refused(study, capsys, "figure")
    (tmp_path / "site.toml").write_text("minuts = 3")
    assert "unknown setting" in refused(
        study, capsys, "run", "--launcher", "slurm", "--site", "site.toml"
    )
    (tmp_path / "two.py").write_text("x = 1")
    (tmp_path / "broken.py").write_text("import nowhere_at_all")
    for name, words in (
        ("two.py", "has 0 studies"),
        ("broken.py", "cannot be imported (ModuleNotFoundError"),
        ("none.py", "not a file of Python"),
        ("json.py", "not a file of Python"),
        ("movie.h5", "not a file of Python"),
    ):
        with pytest.raises(SystemExit) as stop:
            main(["study", name, "run"])
        assert stop.value.code == 2
        assert words in capsys.readouterr().err


def test_a_stored_result_that_is_not_reproduced_is_said(study, tmp_path, capsys):
    study("run", "--fast", "--where", "count=4", "seed=0")
    from phdenoise.study import records

    path = next((tmp_path / "results/averaging/fast/runs").glob("*-*.json"))
    record = records.read(path)
    record["result"]["error"] *= 1.01
    record.pop("sha256", None)
    digest = records._digest(record)
    path.write_text(json.dumps(record | {"sha256": digest}))
    error = refused(study, capsys, "rerun", path.stem, "--fast")
    assert "1 runs did not come out as before" in error
