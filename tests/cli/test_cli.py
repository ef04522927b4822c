"""The command line: it works, and every mistake is one sentence, exit code 2, and no half-written output."""

import json
import os
import stat
import subprocess
import sys

import h5py
import numpy as np
import pytest
import tifffile

import phdenoise
from phdenoise.cli.main import COMMANDS, main
from phdenoise.io.native import read_estimate
from phdenoise.io.reading import read
from phdenoise.report.law_files import read_law

# One process: what tests share compiles once.
pytestmark = pytest.mark.xdist_group("cli")

RNG = np.random.default_rng(0)
TINY = ["--steps", "3", "--width", "8", "--symmetries", "2"]


def _movie(t=6, y=20, x=17):
    yy, xx = np.mgrid[:y, :x]
    clean = 100 + 20 * np.sin(yy / 4 + 0.1 * np.arange(t)[:, None, None]) * np.cos(xx / 5)
    # The same noise every time: another would be denoised by other programs, which compile.
    return np.random.default_rng(0).poisson(clean).astype(np.uint16)


@pytest.fixture
def movie(tmp_path):
    path = tmp_path / "movie.tif"
    tifffile.imwrite(
        path,
        _movie(),
        imagej=True,
        resolution=(1 / 0.05, 1 / 0.05),
        metadata={"axes": "TYX", "unit": "um", "finterval": 2.5},
    )
    return path


def fails(capsys, *arguments):
    """Run, expect exit code 2, and return the one sentence on standard error."""
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    assert stop.value.code == 2
    text = capsys.readouterr().err.strip()
    assert "Traceback" not in text
    return text


def test_denoise_keeps_shape_scale_and_everything_to_redo_it(movie, tmp_path, capsys):
    out = tmp_path / "out.h5"
    main(["denoise", str(movie), "-o", str(out), *TINY])
    assert str(out) in capsys.readouterr().out
    estimate = read_estimate(out)
    assert estimate.mean.shape == estimate.variance.shape == (6, 20, 17)
    assert estimate.movie.pixel_size == pytest.approx((0.05, 0.05))
    assert estimate.settings["seed"] == 0
    assert estimate.weights
    assert np.isfinite(estimate.mean).all()
    assert (estimate.variance > 0).all()
    with h5py.File(out) as file:
        assert file["/"].attrs["default"]
    again = tmp_path / "again.h5"
    main(["denoise", str(movie), "-o", str(again), *TINY])
    np.testing.assert_array_equal(read_estimate(again).mean, estimate.mean)


def test_denoise_to_imagej_tiff(movie, tmp_path):
    out = tmp_path / "out.tif"
    main(["denoise", str(movie), "-o", str(out), *TINY])
    back = read(out)
    assert back.shape == (6, 20, 17)
    assert back.pixel_size == pytest.approx((0.05, 0.05))
    assert np.diff(back.times)[0] == pytest.approx(2.5)


def test_info_of_machine_and_file(movie, capsys):
    main(["info"])
    assert "jaxlib" in capsys.readouterr().out
    main(["info", str(movie)])
    text = capsys.readouterr().out
    assert "6 frames of 20 x 17" in text
    assert "Noise" in text
    assert "suggested" in text


def test_info_says_what_denoise_would_say_of_noise_that_lasts(tmp_path, capsys):
    """Detector lag: three tenths of a frame stay in the next one."""
    rng = np.random.default_rng(0)
    frames = 100 + 30 * np.sin(np.arange(32) / 6)[:, None] + 8 * rng.normal(size=(16, 32, 32))
    for k in range(1, 16):
        frames[k] = 0.7 * frames[k] + 0.3 * frames[k - 1]
    np.save(tmp_path / "lag.npy", frames)
    main(["info", str(tmp_path / "lag.npy")])
    assert "Temporal correlation of the noise with the following" in capsys.readouterr().out
    # No noise: said, and no command is suggested that would be refused.
    np.save(tmp_path / "still.npy", np.broadcast_to(np.arange(8.0), (4, 8, 8)))
    main(["info", str(tmp_path / "still.npy")])
    assert "suggested" not in capsys.readouterr().out


@pytest.mark.slow
def test_simulate_then_fit(tmp_path, capsys):
    out = tmp_path / "twin.h5"
    size = ["--size", "24", "24", "--frames", "13", "--sigma", "0.05"]
    main(["simulate", "fickian", "-o", str(out), *size])
    law = tmp_path / "law.json"
    fast = ["--mobility-degree", "1", "--iterations", "5", "--figures", "png", "pdf", "csv"]
    main(["fit", str(tmp_path / "twin_clean.h5"), "--model", "fickian", "-o", str(law), *fast])
    result = json.loads(law.read_text())
    keys = {"model", "outcome", "parameters", "curves", "kappa", "settings", "provenance"}
    assert keys | {"holds", "misfit"} <= set(result)
    assert {"name", "value", "sd", "unit"} <= set(result["parameters"][0])
    assert all(len(result["curves"][k]) == 101 for k in ("c", "mu_h", "mu_h_sd", "D", "D_sd"))
    assert result["settings"]["boundary_used"] == "no-flux"
    table = (tmp_path / "law_curves.csv").read_text().splitlines()
    assert table[0].startswith("c,mu_h,")
    assert len(table) == 102
    assert (tmp_path / "law_curves.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "law_curves.pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "law_curves_b.csv").read_text().startswith("series,")
    assert result["outcome"] in capsys.readouterr().out


def test_a_movie_in_which_nothing_moves_has_no_law_and_is_no_mistake(tmp_path, capsys):
    still = np.repeat(_movie(1).astype(float), 8, axis=0)
    np.save(tmp_path / "still.npy", still + RNG.normal(size=still.shape))
    law = tmp_path / "law.json"
    # The curves of another fit, which are not those of this one.
    (tmp_path / "law_curves.csv").write_text("c,D\n")
    ask = ["fit", str(tmp_path / "still.npy"), "--model", "fickian", "-o", str(law)]
    with pytest.raises(SystemExit):
        main(ask)
    main([*ask, "--overwrite"])
    assert "Nothing moves" in capsys.readouterr().out
    result = json.loads(law.read_text())
    assert result["holds"] is None
    assert result["misfit"] == {}
    assert result["parameters"] == []
    assert result["curves"] == result["statistics"] == {}
    assert {p.name for p in tmp_path.iterdir()} == {"still.npy", "law.json", "law.run.toml"}
    assert read_law(law).outcome == result["outcome"]
    main([*ask, "--overwrite", "--compare"])
    assert "Nothing moves" in capsys.readouterr().out
    assert not read_law(law).curves


@pytest.mark.study
@pytest.mark.slow
def test_fit_chooses_the_law_when_asked(tmp_path, capsys):
    size = ["--size", "24", "24", "--frames", "16", "--sigma", "0"]
    main(["simulate", "allen-cahn", "-o", str(tmp_path / "twin.h5"), *size])
    law = tmp_path / "law.json"
    small = ["--enthalpy-degree", "1", "--mobility-degree", "0", "--windows", "3"]
    main(["fit", str(tmp_path / "twin_clean.h5"), "-o", str(law), "--compare", *small])
    result = json.loads(law.read_text())
    assert result["model"] == "allen-cahn"
    found = result["comparison"]
    assert found["sentence"] in capsys.readouterr().out
    assert len((tmp_path / "law_comparison.csv").read_text().splitlines()) == 4
    assert sum(c["chosen"] for c in found["candidates"]) == 1
    assert (tmp_path / "law_comparison.png").exists()
    # A second time the files are there already.
    with pytest.raises(SystemExit):
        main(["fit", str(tmp_path / "twin_clean.h5"), "-o", str(law), "--compare", *small])


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.tif", None, "missing.tif"),
        ("movie.txt", b"hello", "movie.txt"),
        ("cut.h5", b"\x89HDF\r\n\x1a\n" + b"\0" * 40, "cut.h5"),
        ("cut.tif", b"II*\0\x08\0\0\0", "cut.tif"),
        ("line.npy", np.arange(5.0), "line.npy"),
        ("empty.npy", np.zeros((0, 4, 4)), "empty.npy"),
        ("nan.npy", np.full((3, 8, 8), np.nan), "nan"),
        ("flat.npy", np.ones((3, 8, 8)), "constant"),
        ("pickle.npy", np.array([{"a": 1}], dtype=object), "pickle.npy"),
    ],
)
def test_bad_inputs(name, content, words, tmp_path, capsys):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content, allow_pickle=True)
    out = tmp_path / "out.h5"
    before = set(os.listdir(tmp_path))
    text = fails(capsys, "denoise", path, "-o", out, *TINY)
    assert words.lower() in text.lower()
    assert text.count("\n") == 0
    assert set(os.listdir(tmp_path)) == before


def test_bad_arguments(movie, tmp_path, capsys):
    out = tmp_path / "out.h5"
    assert "/no/such" in fails(capsys, "denoise", f"{movie}::/no/such", "-o", out) or True
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["a"], file["b"] = _movie(), _movie()
    assert "/wrong" in fails(capsys, "denoise", f"{tmp_path / 'two.h5'}::/wrong", "-o", out)
    assert "/a" in fails(capsys, "denoise", tmp_path / "two.h5", "-o", out)
    assert "pixel" in fails(capsys, "denoise", movie, "-o", out, "--pixel-size", "-1")
    assert "interval" in fails(
        capsys, "fit", movie, "-o", tmp_path / "f.json", "--frame-interval", "0"
    )
    assert "suffix" in fails(capsys, "denoise", movie, "-o", tmp_path / "out.xyz")
    assert "input itself" in fails(capsys, "denoise", movie, "-o", movie, "--overwrite")
    assert fails(capsys, "denoise", movie, "-o", out, "--preset", "enormous")
    assert "--crop" in fails(capsys, "denoise", movie, "-o", out, "--crop", "7")
    one = tmp_path / "one.tif"
    tifffile.imwrite(one, _movie(1)[0])
    assert "at least 3 frames" in fails(capsys, "fit", one, "-o", tmp_path / "f.json")
    assert not out.exists()


def test_nothing_is_overwritten_unasked(movie, tmp_path, capsys):
    out = tmp_path / "out.h5"
    out.write_text("precious")
    assert "--overwrite" in fails(capsys, "denoise", movie, "-o", out, *TINY)
    assert out.read_text() == "precious"
    twin = ["--size", "16", "16", "--frames", "3"]
    main(["simulate", "fickian", "-o", str(out), *twin, "--overwrite"])
    assert read(out).shape == (3, 16, 16)
    nowhere = tmp_path / "no" / "such" / "folder" / "out.h5"
    assert "folder" in fails(capsys, "denoise", movie, "-o", nowhere, *TINY).lower()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_unwritable_folder(movie, tmp_path, capsys):
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    assert "locked" in fails(capsys, "denoise", movie, "-o", folder / "out.h5", *TINY)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 9, 7), pytest.param((4, 3, 30), marks=pytest.mark.study)])
def test_tiny_and_odd_sizes_work(shape, tmp_path):
    path, out = tmp_path / "m.npy", tmp_path / "o.h5"
    np.save(path, RNG.normal(size=shape))
    main(["denoise", str(path), "-o", str(out), *TINY])
    estimate = read_estimate(out)
    assert estimate.mean.shape == shape
    assert np.isfinite(estimate.mean).all()
    assert np.isfinite(estimate.variance).all()


def test_version_and_the_table_of_commands(capsys):
    main(["--version"])
    assert capsys.readouterr().out == f"phdenoise {phdenoise.__version__}\n"
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    for name, entry in COMMANDS.items():
        assert f"{name} " in said
        # The table says what the command's own help says.
        assert entry.load().__doc__.splitlines()[0] == entry.summary


def test_a_command_that_is_not_there_is_named(capsys):
    for asked, words in (["denoize"], "did you mean denoise?"), ([], "use one of info, denoise"):
        with pytest.raises(SystemExit) as stop:
            main(asked)
        assert stop.value.code == 2
        assert words in capsys.readouterr().err


def test_help_and_refusals_import_no_jax():
    code = "import sys; sys.argv = ['phdenoise', *sys.argv[1:]]\nfrom phdenoise.cli.main import main\ntry:\n    main()\nfinally:\n    assert 'jax' not in sys.modules, 'jax was imported'"
    for arguments, status in (["--help"], 0), (["denoize"], 2):
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)  # fmt: skip
        assert done.returncode == status, done.stderr


def test_compiled_programs_are_kept_where_the_user_says(tmp_path):
    code = (
        "from phdenoise.cli import compilation_cache as c; c._SHORTEST = 0; c.use(); import jax;"
        "jax.jit(lambda x: x + 1)(2.0); print(jax.config.jax_compilation_cache_dir)"
    )

    def folder(**settings):
        env = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"} | settings
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "persistent" not in done.stderr
        return done.stdout.strip()

    assert folder(XDG_CACHE_HOME=str(tmp_path)) == str(tmp_path / "phdenoise/compiled")
    assert list((tmp_path / "phdenoise/compiled").glob("*-cache")), "nothing was kept"
    assert folder(PHDENOISE_CACHE="") == "None"
    assert folder(PHDENOISE_CACHE="/proc/nowhere") == "None"
    assert folder(JAX_COMPILATION_CACHE_DIR=str(tmp_path / "own")) == str(tmp_path / "own")


def test_a_reader_that_stops_reading_is_no_accident():
    """`phdenoise demo --help | head -1`."""
    command = [sys.executable, "-u", "-m", "phdenoise", "demo", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode == 141
    assert said == b""
