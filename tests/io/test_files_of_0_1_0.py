"""Files that version 0.1.0 wrote are still read, with the same values."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

import phdenoise as ph
from phdenoise.io.native import read_estimate
from phdenoise.io.native_channels import read_channels_estimate
from phdenoise.report.law_files import read_law

OLD = Path(__file__).parent / "files_of_0_1_0"


@pytest.fixture
def unpacked(tmp_path):
    def unpack(name):
        path = tmp_path / name
        path.write_bytes(gzip.decompress((OLD / f"{name}.gz").read_bytes()))
        return path

    return unpack


def test_estimate(unpacked):
    path = unpacked("estimate.h5")
    found = read_estimate(path)
    assert found.mean.shape == (5, 16, 16)
    corner = [[107.605675, 105.621094, 106.977837], [110.838905, 108.91983, 109.163307]]
    np.testing.assert_allclose(found.mean[0, :2, :3], corner, rtol=1e-6)
    averages = [a.mean() for a in (found.mean, found.variance, found.blind_mean)]
    np.testing.assert_allclose(averages, [100.44786, 6.6355066, 100.436996], rtol=1e-5)
    assert type(found.noise).__name__ == "Gaussian"
    assert found.log[0] == "Noise (second differences in time): Gaussian, sigma = 9.535 +- 0.4."
    assert len(found.log) == 11
    assert found.history["loss"] == pytest.approx([3.7466812, 3.8175080, 3.7645040], rel=1e-6)
    assert found.settings["seed"] == 0
    assert len(found.weights) == 19
    total = sum(float(np.sum(np.asarray(w, float))) for w in found.weights.values())
    assert total == pytest.approx(131.975021, rel=1e-6)
    assert found.trust["upsnr"]["psnr"] == pytest.approx(26.046560, rel=1e-6)
    assert found.trust["bias"]["map"].shape == (16, 16)
    _check_movie(found.movie)
    _check_movie(ph.read(f"{path}::/entry/data/noisy"))
    np.testing.assert_array_equal(ph.read(path).frames, found.mean)


def _check_movie(movie):
    assert movie.frames.sum() == 128583
    assert movie.valid().sum() == 5 * (16 * 16 - 1)
    assert movie.pixel_size == (0.05, 0.1)
    np.testing.assert_array_equal(movie.times, 2.5 * np.arange(5))
    assert (movie.time_unit, movie.length_unit, movie.intensity_unit) == ("s", "um", "counts")
    assert movie.provenance["boundary"] == "periodic"


def test_channels(unpacked):
    path = unpacked("channels.h5")
    found = read_channels_estimate(path)
    assert (found.names, found.name) == (("a", "b"), "two")
    np.testing.assert_allclose(found.mean.mean((1, 2, 3)), [100.263023, 99.416931], rtol=1e-6)
    np.testing.assert_allclose(found.variance.mean((1, 2, 3)), [5.0105324, 2.9992194], rtol=1e-6)
    np.testing.assert_array_equal(found.channels.frames.sum((1, 2, 3)), [128200, 127320])
    np.testing.assert_allclose(found.correlation, np.eye(2), atol=1e-12)
    assert len(found.weights) == 38
    assert len(found.sentences()) == 15
    np.testing.assert_array_equal(ph.read_channels(path).frames, found.mean)


def test_law():
    found = read_law(OLD / "FIT.json")
    assert found.model == "fickian"
    assert found.converged
    assert found.value("q_0") == pytest.approx(-0.118338301, rel=1e-8)
    assert found.value("q_1") == pytest.approx(0.464735256, rel=1e-8)
    assert [p.unit for p in found.parameters] == ["ln(L^2/t)", "1"]
    assert found.kappa is None
    assert found.covariance.shape == (2, 2)
    assert all(np.shape(v) == (101,) for v in found.curves.values())
    old = json.loads((OLD / "FIT.json").read_text())
    again = json.loads(json.dumps(found.to_dict()))
    assert {k: again[k] for k in old} == old
