"""From file to file in parts: the same result, in bounded memory, and nothing half-written."""

import subprocess
import sys
from dataclasses import replace

import h5py
import numpy as np
import pytest
import tifffile

import phdenoise as ph
from phdenoise.denoising import combine, denoise, memory, preprocessing
from phdenoise.denoising.config import DenoiseConfig
from phdenoise.denoising.files import denoise_file, exceeds
from phdenoise.io.native import read_estimate
from phdenoise.io.parts import open_movie
from phdenoise.networks.centre_blind import CentreBlind
from phdenoise.networks.context import PIXEL
from phdenoise.types import InputError

# One process: what tests share compiles once.
pytestmark = pytest.mark.xdist_group("denoise")

FAST = DenoiseConfig(preset="quick", width=8, steps=20, symmetries=2, memory="2GB")
WINDOW = (slice(3, 9), slice(4, 20), slice(7, 30))


def noisy_movie(shape=(12, 40, 36)):
    t, y, x = np.mgrid[tuple(slice(n) for n in shape)].astype(float)
    clean = np.sin((x - 0.3 * t) / 4) * np.cos((y + 0.2 * t) / 5)
    return (clean + 0.3 * np.random.default_rng(0).normal(size=shape)).astype(np.float32)


def write_source(path, frames):
    with h5py.File(path, "w") as file:
        file.create_dataset("movie", data=frames, chunks=(1, *frames.shape[1:]))
        file["time"] = 0.5 * np.arange(frames.shape[0])
        file["time"].attrs["units"] = "s"
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    frames = noisy_movie()
    frames[:, 9, 9] += 4.0
    frames[3, 20, 25] += 8.0
    frames[5, 30:33, 3:9] = np.nan
    frames[8] = frames[7]
    path = write_source(tmp_path_factory.mktemp("movies") / "movie.h5", frames)
    first = denoise(ph.read(path), FAST)
    return path, first, denoise(ph.read(path), replace(FAST, tune="none"), pretrained=first)


@pytest.fixture
def small_blocks(monkeypatch):
    """No movie fits in memory; one stretch, as large as memory allows, is learned from."""
    monkeypatch.setattr(preprocessing, "whole_fits", lambda *_: False)
    monkeypatch.setattr(combine, "block_size", lambda *_, **__: (5, 64, 1e6))


@pytest.mark.slow
def test_the_file_is_that_of_memory(trained, small_blocks, tmp_path):
    """Same weights, so the same result: survey, linear fit, defects, calibration and posterior in parts."""
    path, first, expected = trained
    config = replace(FAST, tune="none")
    stages = []
    judged = denoise_file(
        path,
        tmp_path / "out.h5",
        config,
        pretrained=first,
        progress=lambda stage, *_: stages.append(stage),
    )
    found = read_estimate(tmp_path / "out.h5")
    np.testing.assert_allclose(found.mean, expected.mean, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.variance, expected.variance, rtol=1e-4)
    np.testing.assert_array_equal(found.movie.valid(), expected.movie.valid())
    np.testing.assert_array_equal(found.movie.frames, expected.movie.frames)
    np.testing.assert_array_equal(found.movie.times, expected.movie.times)
    assert found.movie.time_unit == "s"
    assert {"survey", "linear prediction", "prediction"} <= set(stages)
    assert any("worked on in parts" in s for s in found.log)
    assert any("Judged on frames" in s for s in judged.log)
    assert found.trust["coverage"].keys() == expected.trust["coverage"].keys()
    np.testing.assert_array_equal(ph.read(tmp_path / "out.h5").frames, found.mean)
    for name, array in first.weights.items():
        if not name.startswith("scale"):
            np.testing.assert_array_equal(found.weights[name], array)


@pytest.mark.slow
def test_a_movie_in_memory_goes_the_same_way(trained, small_blocks):
    path, first, expected = trained
    found = denoise(ph.read(path), replace(FAST, tune="none"), pretrained=first)
    assert any("worked on in parts" in s for s in found.log)
    np.testing.assert_allclose(found.mean, expected.mean, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.blind_mean, expected.blind_mean, rtol=0, atol=1e-5)
    assert found.movie.shape == expected.movie.shape


@pytest.mark.slow
def test_stretches_are_learned_from(trained, small_blocks, monkeypatch, tmp_path):
    """Trained on a part, the rest is denoised as well."""
    t, y, x = np.mgrid[:12, :40, :36].astype(float)
    clean = np.sin((x - 0.3 * t) / 4) * np.cos((y + 0.2 * t) / 5)
    path = write_source(tmp_path / "movie.h5", noisy_movie())
    monkeypatch.setattr(
        preprocessing, "pieces", lambda *_: tuple((slice(4 * k, 4 * k + 4), slice(4, 40), slice(0, 36)) for k in range(3))
    )  # fmt: skip
    denoise_file(path, tmp_path / "out.h5", FAST)
    found = read_estimate(tmp_path / "out.h5")
    assert np.sqrt(np.mean((found.mean - clean) ** 2)) < 0.4 * 0.3
    z = np.abs(found.mean - clean) / np.sqrt(found.variance)
    # Stretches of four frames err more than the whole movie, and their error bars are as wide as that.
    assert 0.5 < np.mean(z < 1) < 0.93


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["survey", "prediction"])
def test_an_interrupted_run_leaves_nothing(trained, small_blocks, tmp_path, stage):
    path, first, _ = trained
    out = tmp_path / "out.h5"

    def interrupt(name, *_):
        if name == stage:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        denoise_file(path, out, replace(FAST, tune="none"), pretrained=first, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_windows_are_those_of_the_whole_file(tmp_path):
    frames = (100 * noisy_movie()).astype(np.int16)
    np.save(tmp_path / "a.npy", frames)
    tifffile.imwrite(
        tmp_path / "b.tif", frames, imagej=True, metadata={"axes": "TYX", "finterval": 2}
    )
    tifffile.imwrite(tmp_path / "c.tif", frames, compression="zlib", metadata={"axes": "TYX"})
    ph.write(
        ph.Movie.from_array(frames, mask=frames[0] > -50, pixel_size=(2.0, 3.0)), tmp_path / "d.h5"
    )
    for name in ("a.npy", "b.tif", "c.tif", "d.h5"):
        whole = ph.read(tmp_path / name)
        with open_movie(tmp_path / name) as source:
            values, valid = source.read(*WINDOW)
            header = source.header
        np.testing.assert_array_equal(values, whole.frames[WINDOW])
        np.testing.assert_array_equal(valid, whole.valid()[WINDOW])
        assert values.dtype == whole.frames.dtype
        assert (header.shape, header.pixel_size) == (whole.shape, whole.pixel_size)
        assert (header.name, header.time_unit) == (whole.name, whole.time_unit)
        np.testing.assert_array_equal(header.times, whole.times)
        known = ("dtype", "shape", "sha256")
        assert [header.provenance[k] for k in known] == [whole.provenance[k] for k in known]


def test_what_cannot_be_read_in_parts_is_read_whole(tmp_path):
    np.savez(tmp_path / "a.npz", movie=noisy_movie())
    assert not exceeds(tmp_path / "a.npz", replace(FAST, memory="1GB"))
    np.save(tmp_path / "b.npy", noisy_movie())
    assert exceeds(tmp_path / "b.npy", replace(FAST, memory="1GB"))
    assert not exceeds(tmp_path / "b.npy", replace(FAST, memory="2GB"))
    with pytest.raises(InputError, match="convert it to HDF5"):
        denoise_file(tmp_path / "a.npz", tmp_path / "out.h5", FAST)


@pytest.mark.parametrize("text", ["lots", "-2GB", "0", "2 XB", ""])
def test_sizes_that_are_none(text):
    with pytest.raises(InputError, match="such as 500MB or 2GB"):
        memory.parse_memory(text)


def test_sizes():
    assert memory.parse_memory("500MB") == 5e8
    assert memory.parse_memory("1.5 g") == 1.5e9
    assert memory.parse_memory(None) > 1e9
    with pytest.raises(InputError, match=r"give at least \d+MB"):
        denoise(ph.Movie.from_array(noisy_movie()), replace(FAST, memory="100MB"))


def test_the_least_that_is_named_suffices():
    for shape in ((1000, 512, 512), (100, 2048, 2048), (9000, 64, 64)):
        with pytest.raises(InputError, match="at least") as error:
            memory.block_size(shape, 1e8, PIXEL, 32, CentreBlind())
        least = memory.parse_memory(str(error.value).split("at least ")[1].rstrip("."))
        frames, _, _ = memory.block_size(shape, least, PIXEL, 32, CentreBlind())
        assert frames >= 1
        pieces = memory.pieces(shape, least)
        assert len(pieces) == 4
        assert all(p.stop <= n for piece in pieces for p, n in zip(piece, shape, strict=True))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_memory_stays_below_the_limit(tmp_path):
    limit, shape = 1.9e9, (90, 160, 160)
    assert not memory.whole_fits(shape, limit)
    path = write_source(tmp_path / "movie.h5", noisy_movie(shape))
    code = (
        "import re, sys\n"
        "from pathlib import Path\n"
        "from phdenoise.cli.main import main\n"
        "main(sys.argv[1:])\n"
        # ru_maxrss would be at least that of the process that started this one.
        "print(int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]) * 1024)"
    )
    quick = ["--preset", "quick", "--width", "8", "--steps", "5", "--symmetries", "2"]
    asked = ["-o", str(tmp_path / "out.h5"), "--memory", f"{limit / 1e6:.0f}MB", *quick]
    run = subprocess.run(
        [sys.executable, "-c", code, "denoise", str(path), *asked],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "worked on in parts" in run.stdout
    assert int(run.stdout.split()[-1]) < limit
    assert read_estimate(tmp_path / "out.h5").mean.shape == shape
