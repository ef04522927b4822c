"""`phdenoise optical`: a colour movie in, phases and charge with error bars out; every mistake one sentence."""

import csv
import json
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
import tifffile

from phdenoise.channels import Channels, ChannelsEstimate
from phdenoise.cli.main import main
from phdenoise.io.native import read_estimate
from phdenoise.io.native_channels import read_channels_estimate
from phdenoise.metrics.segmentation import particle_iou
from phdenoise.modalities.optical.chain import analyse_graphite
from phdenoise.modalities.optical.config import OpticalConfig
from phdenoise.modalities.optical.twin import CameraConfig, exposed, photograph
from phdenoise.modalities.registration import shift
from phdenoise.movie import Estimate
from phdenoise.noise.models import PoissonGaussian
from tests.report.pages import assert_report

pytestmark = pytest.mark.xdist_group("cli")

CAMERA = CameraConfig(electrons=200.0, strip=6, blur=0.0)
TINY = ["--denoise.steps", "3", "--denoise.width", "8", "--denoise.symmetries", "2"]
BOX = ["--reference", "0", "6", "0", "44", "--dark", "100"]


@pytest.fixture(scope="module")
def scene():
    """Two discs whose fronts of stage 2 and stage 1 run in at one cell a frame and half of that; counts of them."""
    y, x = np.indices((24, 44))
    fraction, labels = np.zeros((10, 24, 44)), np.zeros((24, 44), int)
    for k, a in enumerate((11, 32), start=1):
        r = np.hypot(y - 12, x - a)
        labels[r < 9.3] = k
        for t in range(10):
            deep = [np.clip(r - 9.3 + s * t + 0.5, 0, 1) for s in (1.0, 0.5)]
            fraction[t] += np.where(r < 9.3, 0.5 * (deep[0] + deep[1]), 0)
    random = np.random.default_rng(0)
    found = photograph(fraction, labels, CAMERA, random)
    return found, exposed(found.clean, CAMERA, random)


def _estimate(channels, clean, variance):
    """A denoised movie that is given."""
    gain, read = CAMERA.gain, CAMERA.gain * CAMERA.read_noise
    noise = PoissonGaussian(jnp.float32(gain), jnp.float32(0), jnp.float32(read))
    parts = []
    for movie, mean in zip(channels.movies, clean.astype(np.float32), strict=True):
        known = np.full(mean.shape, variance, np.float32)
        parts.append(Estimate(movie, mean, known, noise, blind_mean=mean, blind_variance=known))
    return ChannelsEstimate(tuple(parts), channels.names, channels.name, np.eye(3))


def _analysed(scene, **changes):
    found, counts = scene
    channels = Channels.from_array(counts, times=np.arange(10.0), name="bed")
    light = found.light / found.light.mean(axis=1, keepdims=True)
    clean = (found.clean - CAMERA.offset) / light[:, :, None, None]
    config = OpticalConfig(dark=CAMERA.offset, reference=found.strip)
    return analyse_graphite(
        channels, replace(config, **changes), estimate=_estimate(channels, clean, 9.0)
    )


def test_chain_finds_what_was_there(scene):
    pytest.importorskip("skimage")
    found, _ = scene
    result = _analysed(scene)
    assert result.impossible == ()
    light = found.light / found.light.mean(axis=1, keepdims=True)
    z = (result.light - light) / result.light_sd
    assert np.sqrt(np.mean(z**2)) == pytest.approx(1, abs=0.35)
    assert np.mean([particle_iou(f, found.labels) for f in result.particles.labels]) > 0.9
    inside = np.isfinite(found.fraction) & (result.particles.labels > 0)
    truth = np.digitize(found.fraction[inside], [0.25, 0.75])
    right = [
        np.mean(v.maps.probability[:, inside].argmax(axis=0) == truth)
        for v in (result.raw, result.denoised)
    ]
    assert right[1] > 0.94
    assert right[1] > right[0]
    exact = np.array([[f[found.labels == k].mean() for f in found.fraction] for k in (1, 2)])
    for version in (result.raw, result.denoised):
        left = version.charge.soc - exact
        assert np.abs(left).max() < 0.06
        assert np.mean(np.abs(left) < 1.645 * version.charge.soc_sd) > 0.8
    speed = np.nanmedian(result.denoised.fronts.speed, axis=(0, 2))
    np.testing.assert_allclose(speed, [1.0, 0.5], rtol=0.2)
    assert (result.denoised.charge.soc_sd <= result.raw.charge.soc_sd * 1.5).all()
    assert any("light changed" in s for s in result.sentences)


@pytest.mark.slow
def test_a_moving_stage_is_followed(scene):
    pytest.importorskip("skimage")
    found, _ = scene
    still = _analysed(scene, reference=None)
    assert any("No --reference" in w for w in still.warnings)
    move = np.stack([0.3 * np.arange(10), -0.2 * np.arange(10)], axis=1)
    gone = replace(CAMERA, illumination=0.0, white_balance=0.0)
    steady = photograph(
        np.nan_to_num(found.fraction[:, 6:]), found.labels[6:], gone, np.random.default_rng(1)
    )
    clean = np.stack([np.asarray(shift(c, move)) for c in steady.clean - 100])
    channels = Channels.from_array(
        clean.astype(np.float32) + 100, times=np.arange(10.0), name="bed"
    )
    result = analyse_graphite(
        channels, OpticalConfig(dark=100.0, register=True), estimate=_estimate(channels, clean, 9.0)
    )
    np.testing.assert_allclose(result.displacement, move, atol=0.25)


@pytest.mark.parametrize("denoiser", ["given", pytest.param("trained", marks=pytest.mark.slow)])
def test_headless_chain(scene, tmp_path, capsys, monkeypatch, denoiser):
    pytest.importorskip("skimage")
    found, counts = scene
    file, out = tmp_path / "bed.tif", tmp_path / "out"
    if denoiser == "given":
        light = found.light / found.light.mean(axis=1, keepdims=True)
        clean = (found.clean - CAMERA.offset) / light[:, :, None, None]
        monkeypatch.setattr(
            "phdenoise.modalities.optical.chain.denoise_channels",
            lambda channels, config, progress: _estimate(channels, clean, 9.0),
        )
    tifffile.imwrite(file, np.moveaxis(counts, 0, 1), metadata={"axes": "TCYX"}, imagej=True)
    main(
        [
            "optical",
            str(file),
            "-o",
            str(out),
            *BOX,
            "--pixel-size",
            "0.5",
            "--frame-interval",
            "60",
            *TINY,
        ]
    )
    said = capsys.readouterr().out
    assert "particles of" in said
    assert str(out) in said
    fraction = read_estimate(out / "fraction.h5")
    assert fraction.movie.intensity_unit == "lithium fraction x"
    assert fraction.movie.length_unit == "um"
    assert read_channels_estimate(out / "channels.h5").mean.shape[0] == 3
    with (out / "particles.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 10 * len({r["particle"] for r in rows})
    assert "denoised speed of the front of stage 2 [um/s]" in rows[0]
    assert all(float(r["denoised state of charge sd [1]"]) > 0 for r in rows)
    with (out / "numbers.csv").open() as stream:
        assert {r["unit"] for r in csv.DictReader(stream)} >= {"counts", "1", "um^2"}
    page = assert_report(out)
    assert page.count("data:image/png") >= 5
    provenance = json.loads((out / "provenance.json").read_text())
    assert provenance["settings"]["dark"] == 100
    assert {p.name for p in out.iterdir()} >= {"maps.npz", "light.csv", "phases.png", "charge.png"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--reference", "0", "60", "0", "9"], "--reference 0 60 0 9"),
        (["--region", "4", "2", "0", "9"], "--region"),
        (["--phases", "5"], "--phases must be 2 or 3"),
        (["--colours", "1", "2", "3"], "9 numbers"),
        (["--dark", "5000"], "not brighter than the dark level"),
        (["--channel", "mean"], "told apart by colour"),
        (["--split", "2"], "--split"),
        (["--composition-sd", "-1"], "--composition-sd"),
        (["--denoise.steps", "0"], "--steps"),
    ],
)
def test_mistakes_are_one_sentence(scene, tmp_path, capsys, change, words):
    file, out = tmp_path / "bed.npy", tmp_path / "out"
    np.save(file, np.moveaxis(scene[1], 0, 1))
    with pytest.raises(SystemExit) as stop:
        main(["optical", str(file), "-o", str(out), *BOX, *TINY, *change])
    assert stop.value.code == 2
    said = capsys.readouterr().err.strip()
    assert words in said
    assert "Traceback" not in said
    assert not out.exists()
