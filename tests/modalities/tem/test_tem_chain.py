"""The whole chain on a small movie whose atoms are known, its folder, and what it refuses."""

import csv
import json

import h5py
import numpy as np
import pytest

from phdenoise.cli.main import main
from phdenoise.io.reading import read
from phdenoise.modalities.tem.chain import analyse_particle
from phdenoise.modalities.tem.columns import ColumnsConfig
from phdenoise.modalities.tem.config import TemConfig
from phdenoise.movie import Movie
from phdenoise.types import InputError
from tests.report.pages import assert_report

SIZE = 0.2  # Å a pixel
CONFIG = TemConfig(
    pixel_size=SIZE, network=False, columns=ColumnsConfig(width=0.7, contrast="bright")
)


@pytest.fixture(scope="module")
def movie() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts of five frames, positions, and one site that is empty in all."""
    y, x = np.mgrid[:110, :120].astype(float)
    one, two = 15.0 * np.array([0.0, 1.0]), 15.0 * np.array([0.87, 0.5])
    at = np.asarray([[55.0, 60.0] + i * one + j * two for i in range(-3, 4) for j in range(-3, 4)])
    at = at[np.hypot(*(at - [55.0, 60.0]).T) < 34]
    gone = np.hypot(*(at - [55.0, 60.0]).T).argmax()
    clean = np.full(y.shape, 2.0)
    for p in np.delete(at, gone, axis=0):
        clean += 2.0 * np.exp(-((y - p[0]) ** 2 + (x - p[1]) ** 2) / (2 * 3.2**2))
    counts = np.random.default_rng(0).poisson(clean, (5, *clean.shape)).astype(np.float32)
    return counts, np.delete(at, gone, axis=0), at[gone]


@pytest.mark.slow
def test_the_chain_finds_the_atoms_and_says_what_it_knows(movie):
    counts, at, gone = movie
    result = analyse_particle(Movie.from_array(counts), CONFIG)
    assert not result.impossible
    assert len(result.columns.position) == len(at)
    assert result.vacuum == pytest.approx(2.0, rel=0.05)
    assert result.dose == pytest.approx(2.0 / SIZE**2, rel=0.05)
    near = np.hypot(*(result.sites.position - gone).T)
    assert near.min() < 3
    assert result.verdicts[near.argmin()] == "absent"
    held = result.sites.column >= 0
    assert np.mean(np.asarray(result.verdicts)[held] == "present") > 0.9
    assert (result.test.power > result.single.power).all()
    assert result.ratio.shape == (len(result.sites.position), 5)
    np.testing.assert_allclose(result.ratio.sum(axis=1), result.test.ratio, rtol=1e-6, atol=1e-6)
    assert result.hidden == 0
    assert result.rates is not None
    assert result.rates.probability[near.argmin()].max() < 0.2
    assert "surface" in result.sentences[0]


def test_the_command_writes_a_folder_that_reads_back(movie, tmp_path, capsys):
    counts, at, _ = movie
    np.save(tmp_path / "particle.npy", counts)
    out = tmp_path / "out"
    options = ["--pixel-size", str(SIZE), "--no-network", "--columns.width", "0.7", "--frame-interval", "0.5"]  # fmt: skip
    main(["tem", str(tmp_path / "particle.npy"), "-o", str(out), *options])
    assert "Report:" in capsys.readouterr().out
    page = assert_report(out)
    # The verdict stands before the numbers.
    assert page.index("cannot be told") < page.index("<table>")
    rows = list(csv.DictReader((out / "columns.csv").open()))
    assert len(rows) == len(at)
    assert all(0 < float(r["y sd [pm]"]) < 50 for r in rows)
    sites = list(csv.DictReader((out / "sites.csv").open()))
    assert {r["verdict"] for r in sites} <= {"present", "absent", "cannot tell"}
    with h5py.File(out / "tem.h5") as file:
        assert file["entry/columns/position"].shape == (len(at), 2)
        assert file["entry/columns/position"].attrs["units"] == "angstrom"
        assert file["entry/tracks/position"].shape == (5, len(at), 2)
    assert json.loads((out / "provenance.json").read_text())["settings"]["pixel_size"] == SIZE
    assert np.isfinite(read(out / "denoised.h5").frames).all()


def test_bad_input_gets_one_sentence(movie):
    counts, _, _ = movie
    one = Movie.from_array(counts)
    with pytest.raises(InputError, match="--pixel-size"):
        analyse_particle(one, TemConfig(network=False))
    with pytest.raises(InputError, match="not nm"):
        analyse_particle(one, TemConfig(pixel_size=20.0))
    with pytest.raises(InputError, match="--gain"):
        analyse_particle(one, TemConfig(pixel_size=0.2, gain=0.0))
    with pytest.raises(InputError, match="--offset"):
        analyse_particle(one, TemConfig(pixel_size=0.2, offset=3.0))
    with pytest.raises(InputError, match="probability"):
        analyse_particle(one, TemConfig(pixel_size=0.2, level=2.0))


@pytest.mark.study
@pytest.mark.slow
def test_counts_with_a_wrong_gain_are_called_impossible(movie):
    counts, _, _ = movie
    result = analyse_particle(Movie.from_array(counts[:1] * 5), CONFIG)
    assert any("variance" in s for s in result.impossible)
    assert not any("present" in s or "Strain" in s for s in result.sentences)


@pytest.mark.study
@pytest.mark.slow
def test_a_measured_movie_goes_through(shared_path, tmp_path):
    path = shared_path("data/tem_pt_ceo2.npz")
    out = tmp_path / "out"
    main(["tem", f"{path}::noisy", "-o", str(out), "--pixel-size", "0.2", "--no-network"])
    assert (out / "report.html").stat().st_size > 10_000
