"""A killed training goes on to the same bits; pretrained networks serve other movies."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from phdenoise.denoising import denoise
from phdenoise.denoising.config import DenoiseConfig
from phdenoise.movie import Movie
from phdenoise.training.checkpoint import Checkpoint
from phdenoise.types import InputError

SIGMA = 0.3
CONFIG = DenoiseConfig(preset="quick", width=8, steps=100, symmetries=2)

SCRIPT = """
import sys
import numpy as np
from phdenoise.denoising import denoise
from phdenoise.denoising.config import DenoiseConfig
from phdenoise.movie import Movie

movie = Movie.from_array(np.load(sys.argv[1]))
def progress(stage, step, steps, value):
    if stage == "training":
        print(step, flush=True)
config = DenoiseConfig(preset="quick", width=8, steps=100, symmetries=2)
estimate = denoise(movie, config, checkpoint=sys.argv[2], progress=progress)
np.save(sys.argv[3], estimate.mean)
"""


def noisy_movie(seed=0, frames=10, side=32):
    t, y, x = np.mgrid[:frames, :side, :side].astype(float)
    # Walls, which a network can learn to treat better than the linear filter it starts from.
    clean = np.tanh(8 * np.sin((x - 0.3 * t + 3 * seed) / 4) * np.cos((y + 0.2 * t) / 5))
    noise = SIGMA * np.random.default_rng(seed).normal(size=clean.shape)
    return clean, (clean + noise).astype(np.float32)


@pytest.fixture(scope="module")
def first():
    return denoise(Movie.from_array(noisy_movie()[1]), CONFIG)


@pytest.mark.slow
def test_a_killed_training_ends_with_the_same_bits(first, tmp_path):
    np.save(tmp_path / "movie.npy", noisy_movie()[1])
    names = [str(tmp_path / n) for n in ("movie.npy", "training", "mean.npy")]
    command = [sys.executable, "-c", SCRIPT, *names]
    errors = tmp_path / "errors.txt"
    with (
        errors.open("w") as stderr,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True) as killed,
    ):
        assert killed.stdout is not None
        for line in killed.stdout:
            if int(line) >= 50:
                os.kill(killed.pid, signal.SIGKILL)
                break
    assert killed.returncode == -signal.SIGKILL, errors.read_text()
    assert not (tmp_path / "mean.npy").exists()
    assert any((tmp_path / "training").glob("step_*"))
    steps = []
    resumed = denoise(
        Movie.from_array(noisy_movie()[1]),
        CONFIG,
        checkpoint=tmp_path / "training",
        progress=lambda stage, step, *_: steps.append(step) if stage == "training" else None,
    )
    assert steps[0] > 50
    np.testing.assert_array_equal(resumed.mean, first.mean)
    np.testing.assert_array_equal(resumed.variance, first.variance)
    assert resumed.history == first.history


@pytest.mark.slow
def test_the_checkpoint_of_another_movie_is_refused(tmp_path):
    _, noisy = noisy_movie(frames=4, side=16)
    short = replace(CONFIG, steps=25)
    denoise(Movie.from_array(noisy), short, checkpoint=tmp_path / "a")
    with pytest.raises(InputError, match="another movie"):
        denoise(Movie.from_array(noisy + 1), short, checkpoint=tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="not empty"):
        denoise(Movie.from_array(noisy), short, checkpoint=tmp_path / "b")


@pytest.mark.slow
def test_a_damaged_checkpoint_is_said_and_the_one_before_it_taken(first, tmp_path):
    folder = tmp_path / "training"
    movie = Movie.from_array(noisy_movie()[1])
    denoise(movie, CONFIG, checkpoint=folder)
    before, last = sorted(folder.glob("step_*"))
    for path in [p for p in last.rglob("*") if p.is_file()]:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.warns(UserWarning, match=f"{last.name} is damaged"):
        resumed = denoise(movie, CONFIG, checkpoint=folder)
    np.testing.assert_array_equal(resumed.mean, first.mean)
    assert before.name < last.name
    assert len(sorted(folder.glob("step_*"))) == 2
    (folder / "training.json").write_text('{"identity"')
    with pytest.raises(InputError, match="is damaged"):
        denoise(movie, CONFIG, checkpoint=folder)


def test_a_folder_in_use_or_that_cannot_be_made_is_refused(tmp_path):
    held = Checkpoint(tmp_path / "a", "this")
    with pytest.raises(InputError, match="Another training is using"):
        Checkpoint(tmp_path / "a", "this")
    del held
    Checkpoint(tmp_path / "a", "this")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Cannot keep a checkpoint"):
        Checkpoint(tmp_path / "file" / "b", "this")


@pytest.mark.slow
def test_a_full_disk_does_not_end_a_training(first, tmp_path, monkeypatch):
    from orbax.checkpoint import v1 as orbax

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(orbax, "save_pytree", full)
    with pytest.warns(UserWarning, match="could not be written"):
        found = denoise(Movie.from_array(noisy_movie()[1]), CONFIG, checkpoint=tmp_path / "a")
    np.testing.assert_array_equal(found.mean, first.mean)


@pytest.mark.slow
@pytest.mark.parametrize("tune", ["none", "gain", "full"])
def test_a_network_serves_another_movie(first, tune):
    clean, noisy = noisy_movie(seed=1)
    start = time.monotonic()
    config = replace(CONFIG, steps=40, tune=tune)
    estimate = denoise(Movie.from_array(noisy), config, pretrained=first)
    assert time.monotonic() - start < 60
    assert np.std(estimate.mean - clean) < 0.35 * SIGMA
    assert estimate.settings["steps"] == (0 if tune == "none" else 40)
    same = [np.array_equal(estimate.weights[k], v) for k, v in first.weights.items()]
    kernels = [k for k in first.weights if not k.startswith("scale")]
    assert all(same[: len(kernels)]) == (tune == "none")
    if tune == "gain":
        # One factor per output channel: the ratio to the first weights is constant over the rest.
        for name in kernels:
            if np.any(first.weights[name] == 0):
                continue
            ratio = np.atleast_1d(estimate.weights[name] / first.weights[name])
            flat = ratio.reshape(-1, ratio.shape[-1])
            np.testing.assert_allclose(flat, np.broadcast_to(flat[0], flat.shape), rtol=2e-3)


def test_tuning_without_a_network_is_refused():
    with pytest.raises(InputError, match="--weights"):
        denoise(Movie.from_array(noisy_movie()[1]), replace(CONFIG, tune="gain"))
