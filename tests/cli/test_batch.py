"""Several movies in one command, and folders of frames or of movies: what each was taken for is said."""

import csv

import numpy as np
import pytest
import tifffile

from phdenoise.cli.main import main
from phdenoise.io.folders import movies_in
from phdenoise.io.native import read_estimate
from phdenoise.types import InputError

# One process: what tests share compiles once.
pytestmark = pytest.mark.xdist_group("cli")

TINY = ["--steps", "3", "--width", "8", "--symmetries", "2"]


def _movie(seed: int, t: int = 6) -> np.ndarray:
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:20, :17]
    return rng.poisson(100 + 20 * np.sin(yy / 4) * np.cos(xx / 5) + np.zeros((t, 1, 1))).astype(
        "u2"
    )


def _write(path, frames):
    tifffile.imwrite(path, frames, photometric="minisblack")
    return str(path)


def test_movies_go_to_a_folder_each_as_if_alone(tmp_path, capsys):
    paths = [_write(tmp_path / f"{n}.tif", _movie(k)) for k, n in enumerate("ab")]
    main(["denoise", *paths, "-o", f"{tmp_path / 'out'}/", *TINY])
    assert "[2/2]" in capsys.readouterr().out
    for k, name in enumerate("ab"):
        estimate = read_estimate(tmp_path / "out" / f"{name}.h5")
        np.testing.assert_array_equal(estimate.movie.frames, _movie(k))
    main(["denoise", paths[0], "-o", str(tmp_path / "alone.h5"), *TINY])
    alone = read_estimate(tmp_path / "alone.h5")
    np.testing.assert_array_equal(alone.mean, read_estimate(tmp_path / "out" / "a.h5").mean)


def test_a_bad_movie_does_not_lose_the_others(tmp_path, capsys):
    good = _write(tmp_path / "good.tif", _movie(0))
    (tmp_path / "bad.tif").write_bytes(b"no image")
    with pytest.raises(SystemExit) as stop:
        main(["denoise", str(tmp_path / "bad.tif"), good, "-o", str(tmp_path / "out"), *TINY])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert "1 of 2 movies could not be denoised" in said
    assert "Traceback" not in said
    assert [p.name for p in (tmp_path / "out").glob("*.h5")] == ["good.h5"]
    table = (tmp_path / "out" / "summary.csv").read_text()
    assert "failed: InputError" in table
    assert "1 of 2 movies are denoised" in (tmp_path / "out" / "summary.html").read_text()


def test_two_movies_of_one_name_keep_both(tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
    paths = [_write(tmp_path / f / "m.tif", _movie(k)) for k, f in enumerate("xy")]
    main(["denoise", *paths, "-o", str(tmp_path / "out"), *TINY])
    names = {p.name for p in (tmp_path / "out").glob("*.h5")}
    assert names == {"x_m.tif.h5", "y_m.tif.h5"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "out.h5"], "need a folder"),
        (["-o", "nowhere/out/"], "there is no folder"),
        (["-o", "out/", "--checkpoint", "kept"], "--checkpoint goes with one movie"),
    ],
)
def test_mistakes_of_a_batch_are_one_sentence(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    paths = [_write(tmp_path / f"{n}.tif", _movie(k)) for k, n in enumerate("ab")]
    with pytest.raises(SystemExit) as stop:
        main(["denoise", *paths, *arguments, *TINY])
    assert stop.value.code == 2
    assert words in capsys.readouterr().err
    assert {p.name for p in tmp_path.iterdir()} == {"a.tif", "b.tif"}


def test_a_folder_of_frames_is_a_movie_and_a_folder_of_movies_a_batch(tmp_path, capsys):
    frames, movies = tmp_path / "frames", tmp_path / "movies"
    frames.mkdir(), movies.mkdir()
    for k, frame in enumerate(_movie(0)):
        _write(frames / f"f{k:02d}.tif", frame)
    _write(movies / "a.tif", _movie(1))
    np.save(movies / "b.npy", _movie(2))
    (movies / "readme.txt").write_text("not a movie")
    assert movies_in(frames) == []
    assert [f.name for f in movies_in(movies)] == ["a.tif", "b.npy"]
    main(["denoise", str(frames), "-o", str(tmp_path / "frames.h5"), *TINY])
    assert "one movie, each file one frame" in capsys.readouterr().out
    np.testing.assert_array_equal(read_estimate(tmp_path / "frames.h5").movie.frames, _movie(0))
    main(["denoise", str(movies), "-o", str(tmp_path / "out"), *TINY])
    assert "holds 2 movies" in capsys.readouterr().out
    assert {p.name for p in (tmp_path / "out").glob("*.h5")} == {"a.h5", "b.h5"}
    main(["info", str(movies)])
    said = capsys.readouterr().out
    assert "holds 2 movies" in said
    assert said.count("6 frames of 20 x 17") == 2
    _write(movies / "frame.tif", _movie(0)[0])
    with pytest.raises(InputError, match="folder of their own"):
        movies_in(movies)


def test_info_says_what_the_file_says_and_refuses_what_contradicts_it(tmp_path, capsys):
    path = tmp_path / "m.tif"
    meta = {"axes": "TYX", "unit": "um", "finterval": 2.5}
    tifffile.imwrite(path, _movie(0), imagej=True, resolution=(20, 20), metadata=meta)
    for flag, value in (("--pixel-size", "0.2"), ("--frame-interval", "30")):
        with pytest.raises(SystemExit):
            main(["info", str(path), flag, value])
        said = capsys.readouterr().err
        assert flag in said
        assert "--override" in said
        main(["info", str(path), flag, value, "--override"])
        assert "the latter is taken" in capsys.readouterr().out
    main(["info", str(path), "--pixel-size", "0.05", "--frame-interval", "2.5"])
    assert "the latter is taken" not in capsys.readouterr().out


@pytest.mark.study
@pytest.mark.slow
def test_a_table_of_files_and_settings_and_what_is_missing(tmp_path, monkeypatch, capsys):
    """Each line has options of its own; a second call does only what is missing, and what has changed."""
    for k, name in enumerate("abc"):
        _write(tmp_path / f"{name}.tif", _movie(k))
    table = tmp_path / "movies.csv"
    table.write_text("file,defects,seed\na.tif,keep,\nb.tif,,5\nc.tif,,\n")
    monkeypatch.chdir(tmp_path)
    command = ["denoise", "movies.csv", "-o", "out", *TINY]
    main(command)
    assert "[3/3] c.tif" in capsys.readouterr().out
    made = {n: read_estimate(tmp_path / "out" / f"{n}.h5") for n in "abc"}
    assert [made[n].settings["defects"] for n in "abc"] == ["keep", "mask", "mask"]
    assert [made[n].settings["seed"] for n in "abc"] == [0, 5, 0]
    with (tmp_path / "out" / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(r["file"], r["outcome"], r["frames"]) for r in rows] == [
        (f"{n}.tif", "done", "6.0") for n in "abc"
    ]
    page = (tmp_path / "out" / "summary.html").read_text()
    assert "3 of 3 movies are denoised" in page
    assert page.count("<img") == 1
    # Again: nothing is done twice.
    stamps = [(tmp_path / "out" / f"{n}.h5").stat().st_mtime_ns for n in "abc"]
    main(command)
    assert capsys.readouterr().out.count("is done already") == 3
    assert [(tmp_path / "out" / f"{n}.h5").stat().st_mtime_ns for n in "abc"] == stamps
    # A result that was lost is made again; one of another movie is not replaced unasked.
    (tmp_path / "out" / "b.h5").unlink()
    main(command)
    said = capsys.readouterr().out
    assert "[2/3] b.tif" in said
    assert "[1/3]" not in said
    np.testing.assert_array_equal(read_estimate(tmp_path / "out" / "b.h5").mean, made["b"].mean)
    _write(tmp_path / "c.tif", _movie(7))
    with pytest.raises(SystemExit):
        main(command)
    assert "exists already" in capsys.readouterr().err
    main([*command, "--overwrite"])
    np.testing.assert_array_equal(read_estimate(tmp_path / "out" / "c.h5").movie.frames, _movie(7))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("movie\na.tif\n", "a column called file"),
        ("file,stepps\na.tif,3\n", "cannot be used: name columns"),
        ("file,steps\na.tif,three\n", "cannot be used: name columns"),
        ("file\n,\n", "line 2: give a file"),
        ("file\na.tif\na.tif\n", "named twice"),
    ],
)
def test_mistakes_of_a_table_are_one_sentence(tmp_path, monkeypatch, capsys, text, words):
    monkeypatch.chdir(tmp_path)
    _write(tmp_path / "a.tif", _movie(0))
    (tmp_path / "movies.csv").write_text(text)
    with pytest.raises(SystemExit) as stop:
        main(["denoise", "movies.csv", "-o", "out", *TINY])
    assert stop.value.code == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_pattern_stands_for_files(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for k, name in enumerate("ab"):
        _write(tmp_path / f"{name}.tif", _movie(k))
    main(["denoise", "*.tif", "-o", "out", *TINY])
    assert {p.name for p in (tmp_path / "out").glob("*.h5")} == {"a.h5", "b.h5"}
    with pytest.raises(SystemExit):
        main(["denoise", "*.npy", "-o", "out", *TINY])
    assert "No file is called *.npy" in capsys.readouterr().err
