"""`phdenoise neutron`: files in, lithium with error bars out; every mistake one sentence and exit code 2."""

import csv
import json
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
import tifffile

from phdenoise.cli.main import main
from phdenoise.io.native import read_estimate
from phdenoise.modalities.neutron.chain import analyse_radiographs
from phdenoise.modalities.neutron.config import NeutronConfig
from phdenoise.modalities.neutron.radiograph import calibration
from phdenoise.modalities.neutron.twin import CellConfig, current, instrument, simulate_cell
from phdenoise.movie import Estimate, Movie
from phdenoise.noise.models import Poisson
from tests.report.pages import assert_report

pytestmark = pytest.mark.xdist_group("cli")

CELL = CellConfig(
    shape=(12, 24), margin=6, cycles=1, frames_per_cycle=8, rest=4, substeps=4, pixel_size=0.01
)
TINY = ["--denoise.steps", "3", "--denoise.width", "8", "--denoise.symmetries", "2"]
DOSE = 400.0


@pytest.fixture(scope="module")
def scene():
    """Simulator, and its raw counts."""
    times, u = simulate_cell(CELL)
    device = instrument(CELL, DOSE)
    clean = np.asarray(device.observe(u), float)
    rng = np.random.default_rng(0)
    beam = rng.poisson(np.asarray(device.open_beam(), float), (10, *clean.shape[1:]))
    dark = rng.poisson(np.asarray(device.dark, float), (10, *clean.shape[1:]))
    return times, np.asarray(u, float), device, clean, rng.poisson(clean), beam, dark


@pytest.fixture(scope="module")
def folder(scene, tmp_path_factory):
    """The same as folders of TIFF frames, with a current."""
    times, _, _, _, counts, beam, dark = scene
    base = tmp_path_factory.mktemp("neutron")
    for name, frames in (("cell", counts), ("ob", beam), ("dc", dark)):
        (base / name).mkdir()
        for k, frame in enumerate(frames):
            tifffile.imwrite(base / name / f"{name}_{k}.tif", frame.astype(np.uint16))
    knots, values = current(CELL)
    start = times[0]
    rows = [f"{t - start},{v}" for t, v in zip(knots, values, strict=True)]
    (base / "current.csv").write_text("time [h],current [mA]\n" + "\n".join(rows))
    return base


def _arguments(folder, out):
    return [
        "neutron", str(folder / "cell"), "-o", str(out), "--open-beam", str(folder / "ob"),
        "--dark", str(folder / "dc"), "--current", str(folder / "current.csv"), "--rest", "4",
        "--dose-region", "0", "4", "0", "24", "--thickness", "0.8", "--uniform", "8", "18", "13", "14",
        "--collector", "8", "18", "0", "3", "--line", "11.5", "0", "11.5", "23", "--line-width", "10",
        "--electrode", "0", "11", "--saturation", "0.018", "--rest-filling", "0.2",
        "--frame-interval", "0.25", "--pixel-size", "100", "--cycle-ends", "3.0",
        "--fit.iterations", "3", *TINY,
    ]  # fmt: skip


@pytest.mark.slow
def test_headless_chain(folder, tmp_path, capsys):
    out = tmp_path / "out"
    main(_arguments(folder, out))
    said = capsys.readouterr().out
    assert "Noise-induced variability over frames at rest" in said
    assert str(out) in said
    lithium = read_estimate(out / "lithium.h5")
    assert lithium.movie.intensity_unit == "mol/cm^3"
    assert np.isfinite(lithium.mean).all()
    assert (lithium.variance > 0).all()
    assert lithium.movie.time_unit == "s"
    assert read_estimate(out / "transmission.h5").mean.shape == lithium.mean.shape
    with (out / "profile.csv").open() as stream:
        rows = list(csv.reader(stream))
    assert rows[0][:3] == ["time [s]", "distance [um]", "measured change [mol/cm^3]"]
    assert len(rows) == 1 + 13 * 24
    fit = json.loads((out / "FIT_profile.json").read_text())
    assert fit["parameters"][0]["unit"] == "ln um^2/s"
    with (out / "numbers.csv").open() as stream:
        assert {r["unit"] for r in csv.DictReader(stream)} >= {"mol/cm^3", "%"}
    page = assert_report(out)
    assert "Transport and accumulation" in page
    assert page.count("data:image/png") >= 4
    provenance = json.loads((out / "provenance.json").read_text())
    assert provenance["settings"]["chain"]["thickness"] == 0.8
    assert (out / "lithium.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--rest", "40"], "--rest 40"),
        (["--dose-region", "0", "40", "0", "9"], "--dose-region"),
        (["--open-beam", "NONE"], "no file"),
        (["--thickness", "-1"], "--thickness must be positive"),
        (["--electrode", "0", "99"], "--electrode"),
        (["--current", "BAD"], "two numbers"),
        (["--line", "1", "0", "1", "30"], "leaves the frame"),
        (["--black-body", "OB"], "--black-body-mask"),
    ],
)
def test_mistakes_are_one_sentence(folder, tmp_path, capsys, change, words):
    (folder / "bad.csv").write_text("0,1\n1,x\n")
    named = {"NONE": "nothing_here", "BAD": str(folder / "bad.csv"), "OB": str(folder / "ob")}
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as stop:
        main([*_arguments(folder, out), *(named.get(c, c) for c in change)])
    assert stop.value.code == 2
    said = capsys.readouterr().err.strip()
    assert words in said
    assert "Traceback" not in said
    assert not out.exists()


def _analysed(scene, counts, mean, variance, **changes):
    """The chain with a denoised movie that is given."""
    times, _, device, _, _, beam, dark = scene
    movie = Movie.from_array(
        counts.astype(np.float32), times=times, time_unit="h", length_unit="cm"
    )
    cal = calibration(
        beam.astype(float), dark.astype(float), scatter=np.asarray(device.scatter, float)
    )
    estimate = Estimate(movie, mean.astype(np.float32), variance.astype(np.float32), Poisson())
    config = NeutronConfig(
        rest=4, dose_region=(0, 4, 0, 24), thickness=CELL.thickness, gain=1.0,
        uniform=(8, 18, 13, 14), collector=(8, 18, 0, 3), line=(11.5, 0.0, 11.5, 23.0), line_width=10.0,
    )  # fmt: skip
    return analyse_radiographs(movie, cal, replace(config, **changes), estimate=estimate)


def test_lithium_has_the_right_sign_and_size(scene):
    """Without noise and blur the chain gives back the lithium that the simulator put there."""
    _, u, device, *_ = scene
    sharp = replace(device, blur=jnp.asarray(0.0))
    clean = np.asarray(sharp.observe(jnp.asarray(u, jnp.float32)), float)
    even = clean / np.asarray(device.dose)[:, None, None]
    result = _analysed(scene, clean, even, np.full(even.shape, 1e-4), spots=False)
    exact = CELL.saturation * (u - u[:1])
    assert exact.max() > 0.004
    free = np.s_[:, CELL.margin :]
    # What is left is the noise of the open beam in the dose, and of the dark field.
    assert np.abs(result.denoised.change.value - exact)[free].max() < 4e-4
    ratio = np.asarray(result.dose.value) / np.asarray(device.dose)
    assert np.ptp(ratio) < 0.01
    assert abs(ratio.mean() - 1) < 0.05


def test_bands_cover_the_truth(scene):
    _, _, device, clean, *_ = scene
    rng = np.random.default_rng(5)
    net = clean - np.asarray(device.dark)
    net = net / np.asarray(device.dose)[:, None, None] - np.asarray(device.scatter)
    exact = -np.log(net[:, 7:17].mean(1) / net[:4, 7:17].mean((0, 1)))
    inside, pixel = [], []
    for _ in range(12):
        counts = rng.poisson(clean)
        even = counts / np.asarray(device.dose)[:, None, None]
        result = _analysed(scene, counts, even, even)
        assert result.impossible == ()
        scale = 70.5e-24 * 6.02214076e23 * CELL.thickness
        left = result.raw.profile.value - exact / scale
        inside.append(np.abs(left[4:]) < 1.645 * result.raw.profile.sd[4:])
        truth = -np.log(net / net[:4].mean(0)) / scale
        z = (result.raw.change.value - truth)[4:, 6:] / result.raw.change.sd[4:, 6:]
        pixel.append(z)
    assert np.mean(inside) == pytest.approx(0.9, abs=0.035)
    assert np.std(pixel) == pytest.approx(1, abs=0.06)
