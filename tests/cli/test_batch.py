"""Several movies in one command, and folders of frames or of movies: what each was taken for is said."""

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
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["good.h5"]


def test_two_movies_of_one_name_keep_both(tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
    paths = [_write(tmp_path / f / "m.tif", _movie(k)) for k, f in enumerate("xy")]
    main(["denoise", *paths, "-o", str(tmp_path / "out"), *TINY])
    names = {p.name for p in (tmp_path / "out").iterdir()}
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
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"a.h5", "b.h5", "run.toml"}
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
