"""Help in two lengths, runs as files, progress, and what an interrupted command says."""

import io
import re
import shlex
import sys

import numpy as np
import pytest
import tifffile

from phdenoise.cli import main as entry
from phdenoise.cli.config_file import options_of, read_run, run_file, take_config, write_run
from phdenoise.cli.main import COMMANDS, main
from phdenoise.cli.progress import ProgressBar, quoted, score_name, spoken
from phdenoise.errors import InputError

pytestmark = pytest.mark.xdist_group("cli")

LINES = {
    "denoise": ["a movie.tif", "-o", "out.h5", "--preset", "quick", "--sigma", "0.5", "--defects", "keep"],
    "simulate": ["fickian", "-o", "twin.h5", "--size", "8", "9", "--sigma", "0.25"],
    "fit": ["m.h5", "-o", "law.json", "--joint", "--denoise.steps", "7"],
    "demo": ["-o", "demo", "--denoise.steps", "7", "--twin.frames", "5", "--figures", "png", "pdf"],
    "neutron": ["cell", "-o", "out", "--dose-region", "0", "3", "0", "4", "--denoise.steps", "7"],
    "stxm": ["a.tif", "b.tif", "-o", "out", "--energies", "710.2", "708.2", "--denoise.width", "8"],
    "optical": ["m.mp4", "-o", "out", "--reference", "0", "6", "0", "44", "--dark", "100"],
    "tem": ["m.mrc", "-o", "out", "--pixel-size", "0.2", "--no-network", "--columns.width", "0.7"],
}  # fmt: skip


def _parsed(name, words):
    return entry._command(name, COMMANDS[name].load(), words)


@pytest.mark.parametrize("name", LINES)
def test_a_run_is_kept_and_read_back(name, tmp_path):
    command = _parsed(name, LINES[name])
    output = tmp_path / command.output
    output.mkdir() if "." not in output.name else output.touch()
    object.__setattr__(command, "output", str(output))
    path = write_run(name, command)
    assert path == run_file(str(output))
    assert _parsed(name, ["--config", str(path)]) == command
    again = _parsed(name, [f"--config={path}", "-o", "other.h5"])
    assert again.output == "other.h5"
    object.__setattr__(again, "output", str(output))
    assert again == command


def test_where_a_run_is_kept(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out.zarr").mkdir()
    assert run_file(str(tmp_path / "out")) == tmp_path / "out/run.toml"
    assert run_file(str(tmp_path / "out.zarr")) == tmp_path / "out.run.toml"
    assert run_file(str(tmp_path / "out.h5")) == tmp_path / "out.run.toml"


def test_a_film_as_result_is_refused_with_the_command_that_makes_one(tmp_path, capsys):
    tifffile.imwrite(tmp_path / "m.tif", np.zeros((3, 8, 8), np.float32))
    with pytest.raises(SystemExit):
        main(["denoise", str(tmp_path / "m.tif"), "-o", "x.mp4"])
    assert "phdenoise view RESULT -o x.mp4" in capsys.readouterr().err


def test_a_run_of_another_command_or_with_another_option_is_refused(tmp_path):
    path = tmp_path / "run.toml"
    for text, words in (
        ('command = "fit"', "holds a run of phdenoise fit"),
        ("[options]\npreste = 1", "did you mean preset"),
        ("[options", "cannot be read"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=words):
            read_run(str(path), "denoise", COMMANDS["denoise"].load())
    with pytest.raises(InputError, match="cannot be read"):
        read_run(str(tmp_path / "none.toml"), "denoise", COMMANDS["denoise"].load())
    with pytest.raises(InputError, match="needs a file"):
        take_config(["a", "--config"])


@pytest.mark.parametrize("name", [n for n in LINES if n != "simulate"])
def test_help_shows_what_most_runs_need(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    short = capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([name, "--help-all"])
    whole = capsys.readouterr().out
    command = _parsed(name, LINES[name])
    flags = {o.flag for o in options_of(command)}
    assert command.basic <= flags
    assert all(f"--{flag}" in short for flag in command.basic)
    left = int(re.search(r"(\d+) advanced options are not shown", short)[1])
    assert left == len([o for o in options_of(command) if not o.positional]) - len(command.basic)
    assert len(short.splitlines()) < min(60, len(whole.splitlines()))


class _Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_on_a_pipe_counts_stages_and_names_its_score(monkeypatch):
    told = io.StringIO()
    clock = iter(float(k) for k in range(0, 10_000, 4))
    monkeypatch.setattr("phdenoise.cli.progress.time.monotonic", lambda: next(clock))
    monkeypatch.setattr(sys, "stderr", told)
    with ProgressBar(("survey", "training", "prediction")) as bar:
        bar("survey", 1, 1, np.nan)
        for step in (10, 20, 30, 40):
            bar("training", step, 100, 1.5)
        bar("prediction", 1, 2, np.nan)
        bar("prediction", 2, 2, np.nan)
        bar("prediction", 1, 2, np.nan)
    lines = told.getvalue().splitlines()
    assert "started" in lines[0]
    assert "stage 1 of 3, survey" in lines[1]
    assert "stage 2 of 3, training" in lines[2]
    assert "blind −log likelihood 1.5" in lines[2]
    assert any("left" in line for line in lines[3:])
    assert "stage 4 of 4, prediction, round 2" in lines[-1]


def test_words_of_progress():
    assert [spoken(s) for s in (40.0, 200.0, 7200.0)] == ["40 s", "3 min", "2.0 h"]
    assert score_name("denoise: training") == "blind −log likelihood"
    assert score_name("joint fit: law and field") == "cost"
    assert shlex.split(quoted("phdenoise", "a file")) == ["phdenoise", "a file"]


@pytest.mark.parametrize("kept", [True, False])
def test_an_interrupted_command_says_how_to_go_on(kept, monkeypatch, tmp_path, capsys):
    def stop(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(COMMANDS["denoise"].load(), "run", stop)
    words = ["denoise", "m x.tif", "-o", "out.h5", *(["--checkpoint", "here"] if kept else [])]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 130
    said = capsys.readouterr().err
    if kept:
        assert "kept in here" in said
        assert shlex.join(["phdenoise", *words]) in said
    else:
        assert "--checkpoint" in said


RNG = np.random.default_rng(0)
MOVIES = {
    "gaussian": (RNG.normal(10, 1, (6, 16, 16)).astype(np.float32), []),
    "counts": (RNG.poisson(8, (6, 16, 16)).astype(np.uint16), []),
    "camera": ((2 * RNG.poisson(30, (6, 16, 16)) + RNG.normal(100, 3, (6, 16, 16))).astype(np.float32), []),
    "one image": (RNG.poisson(20, (16, 16)).astype(np.uint16), []),
    "colour": (RNG.poisson(20, (6, 16, 16, 3)).astype(np.uint8), ["--channel", "g"]),
    "rows": ((RNG.normal(10, 1, (6, 16, 16)) + 3 * RNG.normal(size=(6, 16, 1))).astype(np.float32), ["--pixel-size", "0.1"]),
}  # fmt: skip
IN_CI = ("gaussian", "colour")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.study] * (n not in IN_CI)) for n in MOVIES]
)
def test_what_info_suggests_is_not_refused(name, tmp_path, capsys, monkeypatch):
    frames, reading = MOVIES[name]
    path = tmp_path / f"{name} of mine.tif"
    tifffile.imwrite(path, frames, photometric="rgb" if frames.ndim == 4 else "minisblack")
    main(["info", str(path), *reading])
    (line,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("suggested")]
    words = shlex.split(line.removeprefix("suggested"))
    assert words[0] == "phdenoise"
    monkeypatch.chdir(tmp_path)
    main([*words[1:], "--steps", "2", "--width", "8", "--symmetries", "1", "--seconds", "5"])
    assert (tmp_path / "OUT.h5").exists()
    assert (tmp_path / "OUT.run.toml").exists()
