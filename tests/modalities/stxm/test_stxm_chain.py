"""`phdenoise stxm`: files in, lithium and its law out; every mistake one sentence and exit code 2."""

import csv
import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
import tifffile
from scipy import ndimage

from experiments.stxm_lfp import where_scans_are
from phdenoise.cli.main import main
from phdenoise.io.native import read_estimate
from phdenoise.learn.particle_fit import ParticleFit
from phdenoise.learn.result import Parameter
from phdenoise.modalities.stxm.chain import analyse_scans, with_length
from phdenoise.modalities.stxm.config import Scans, StxmConfig
from phdenoise.modalities.stxm.twin import StxmTwinConfig, simulate_stxm
from phdenoise.movie import Estimate, Movie
from phdenoise.noise.models import Gaussian
from phdenoise.physics.twins.particles import ParticleTwinConfig
from tests.report.pages import assert_report

pytestmark = pytest.mark.xdist_group("cli")

TWIN = StxmTwinConfig(
    particle=ParticleTwinConfig(
        shape=(28, 28), radius=8.0, frames=24, modes=10, length=4.0, substeps=2, stages=8
    ),
    pre_edge=16,
)
TINY = ["--denoise.steps", "3", "--denoise.width", "8", "--denoise.symmetries", "2", "--denoise.crop", "20"]  # fmt: skip
LAW = ["--fit.modes", "4", "--fit.iterations", "2", "--fit.window", "6", "--fit.length", "4"]


@pytest.fixture(scope="module")
def scene():
    return simulate_stxm(0, TWIN)


@pytest.fixture(scope="module")
def folder(scene, tmp_path_factory):
    """A movie for each energy, and the scans before the edge."""
    base = tmp_path_factory.mktemp("stxm")
    for name, frames in (("e708", scene.counts[0]), ("e710", scene.counts[1]), ("pre", scene.before)):  # fmt: skip
        tifffile.imwrite(base / f"{name}.tif", frames.astype(np.uint16), imagej=True)
    rows = [f"{e},{a},{b}" for e, a, b in zip(TWIN.energies, TWIN.lithiated, TWIN.delithiated, strict=True)]  # fmt: skip
    (base / "spectra.csv").write_text("energy [eV],LiFePO4,FePO4\n" + "\n".join(rows) + "\n720,0.5,0.5\n")  # fmt: skip
    return base


def _arguments(folder, out):
    return [
        "stxm", str(folder / "e710.tif"), str(folder / "e708.tif"), "-o", str(out), "--energies", "710.2", "708.2",
        "--spectra", str(folder / "spectra.csv"), "--incident-region", "0", "5", "0", "28", "--pre-edge", str(folder / "pre.tif"),
        "--pre-edge-energies", "700", "--frame-interval", "30", "--pixel-size", "0.05", *TINY, *LAW,
    ]  # fmt: skip


@pytest.mark.slow
def test_headless_chain(folder, tmp_path, capsys):
    out = tmp_path / "out"
    main(_arguments(folder, out))
    said = capsys.readouterr().out
    assert "Uniformity coefficient, denoised" in said
    assert "Law from joint" in said
    lithium = read_estimate(out / "lithium.h5")
    assert lithium.movie.intensity_unit == "lithium fraction"
    assert (lithium.movie.time_unit, lithium.movie.length_unit) == ("s", "um")
    assert np.isfinite(lithium.mean).all()
    assert (lithium.variance > 0).all()
    with (out / "mean.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 24
    assert float(rows[-1]["time [s]"]) == 690
    assert float(rows[-1]["measured mean [1]"]) == pytest.approx(0.95, abs=0.05)
    assert float(rows[0]["measured mean [1]"]) == pytest.approx(0.06, abs=0.05)
    laws = json.loads((out / "FIT_particle.json").read_text())["laws"]
    assert set(laws) == {"joint"}
    units = {p["name"]: p["unit"] for p in laws["joint"]["parameters"]}
    assert units["k_0"] == "1/s"
    with h5py.File(out / "quantities.h5") as file:
        assert file["entry/maps/rate_joint"].attrs["units"] == "1"
        assert file["entry/maps/thickness"].attrs["phdenoise_unit"] == "end members"
    page = assert_report(out)
    assert "Law of the reaction" in page
    assert page.count("data:image/png") >= 4
    provenance = json.loads((out / "provenance.json").read_text())
    assert len(provenance["files"]) == 4
    assert (out / "lithium.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--energies", "708.2"], "as many --energies"),
        (["--energies", "708.2", "708.2"], "twice"),
        (["--energies", "708.2", "702"], "1 energies above --edge"),
        (["--incident-region", "0", "50", "0", "9"], "--incident-region"),
        (["--incident", "5000"], "in 2 ways"),
        (["--lithiated", "1", "0.6"], "give one of them"),
        (["--spectra", "NONE"], "cannot be read as spectra"),
        (["--spectra", "SHORT"], "reaches from 700 to 709"),
        (["--pre-edge-energies", "700", "701"], "2 energies for 1"),
        (["--frame-interval", "-1"], "--frame-interval must be positive"),
        (["--gain", "0"], "--gain must be positive"),
    ],
)
def test_mistakes_are_one_sentence(folder, tmp_path, capsys, change, words):
    (folder / "short.csv").write_text("700,0,0\n709,1,2\n")
    named = {"NONE": "nothing_here.csv", "SHORT": str(folder / "short.csv")}
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as stop:
        main([*_arguments(folder, out), *(named.get(c, c) for c in change)])
    assert stop.value.code == 2
    said = capsys.readouterr().err.strip()
    assert words in said
    assert "Traceback" not in said
    assert not out.exists()


def _scans(scene, **changes):
    given = {
        "counts": scene.counts, "energies": np.array(TWIN.energies[1:]), "times": np.asarray(scene.twin.times, float),
        "before": scene.before, "before_energies": np.full(len(scene.before), 700.0),
    }  # fmt: skip
    return Scans(**(given | changes))


CHAIN = StxmConfig(
    lithiated=TWIN.lithiated[1:], delithiated=TWIN.delithiated[1:], incident_region=(0, 5, 0, 28), law=False
)  # fmt: skip


def _given(scene):
    """A denoised movie that is given: the truth, in the box of the chain."""
    mask = np.asarray(scene.twin.grid.mask)
    rows, columns = (np.nonzero(mask.any(axis=a))[0] for a in (1, 0))
    truth = np.asarray(scene.twin.frames)[:, rows[0] - 2 : rows[-1] + 3, columns[0] - 2 : columns[-1] + 3]  # fmt: skip
    movie = Movie.from_array(truth)
    return Estimate(movie, truth, np.full(truth.shape, 1e-4, np.float32), Gaussian(0.07))


def test_lithium_and_its_error_bars(scene):
    """The measured fraction scatters about the truth by its sd; the particle is found where it is."""
    result = analyse_scans(_scans(scene), CHAIN, estimate=_given(scene))
    assert result.impossible == ()
    true_mask = np.asarray(scene.twin.grid.mask)[result.box]
    both = result.mask & true_mask
    assert both.sum() / (result.mask | true_mask).sum() > 0.9
    truth = np.asarray(scene.twin.frames, float)[(..., *result.box)]
    z = ((result.movie.frames - truth) / result.sd)[:, both]
    assert np.std(z) == pytest.approx(1, abs=0.1)
    assert np.mean(np.abs(z) < 1.645) == pytest.approx(0.9, abs=0.04)
    steady = (result.estimate.movie.frames - truth)[:, both]
    assert result.beam.flicker.mean() == pytest.approx(scene.flicker, rel=0.1)
    assert np.isfinite(steady).all()
    assert 0 < np.median(result.common_sd[both]) < 0.02
    # Relative to its mean, the thickness is that of the simulator.
    ratio = result.thickness[both] / scene.thickness[result.box][both]
    assert np.std(ratio) < 0.05
    assert ratio.mean() == pytest.approx(1, abs=0.02)


@pytest.mark.slow
def test_drift_is_taken_out():
    drifting = replace(TWIN, drift=0.8)
    scene = simulate_stxm(1, drifting)
    scans = _scans(scene)
    errors, spread = {}, {}
    short = replace(scans, counts=scans.counts[:, ::6], times=scans.times[::6])
    frames = scene.twin._replace(frames=scene.twin.frames[::6])
    seen = scene._replace(twin=frames, displacement=scene.displacement[:, ::6])
    for drift in (False, True):
        chain = replace(CHAIN, drift=drift, constant_thickness=False, incident_region=(0, 3, 0, 28))
        result = analyse_scans(short, chain)
        inner = ndimage.binary_erosion(np.asarray(scene.twin.grid.mask)[result.box], iterations=2)
        truth = where_scans_are(seen, result.displacement)[(..., *result.box)]
        error = (result.movie.frames - truth)[:, inner]
        errors[drift] = float(np.sqrt(np.nanmean(error**2)))
        spread[drift] = float(np.nanstd(error / result.sd[:, inner]))
    assert errors[True] < errors[False]
    # What is left of the displacements moves the front, and is in the error bars.
    assert 0.7 < spread[True] < 1.2, spread
    assert any("--drift" in w for w in analyse_scans(
        replace(scans, counts=scans.counts[:, :4], times=scans.times[:4]), CHAIN).warnings)  # fmt: skip


def test_stacks_over_energies_and_images_of_the_beam(scene, tmp_path, capsys):
    """One stack over energies for each time, with I0 from a file: the same lithium."""
    for t in range(3):
        stack = np.concatenate([scene.before[:1], scene.counts[:, 8 * t]])
        np.save(tmp_path / f"t{t}.npy", stack.astype(np.float32))
    tifffile.imwrite(
        tmp_path / "i0.tif", np.full((5, 28, 28), TWIN.dose, np.float32), photometric="minisblack"
    )
    out = tmp_path / "out"
    main([
        "stxm", *(str(tmp_path / f"t{t}.npy") for t in range(3)), "-o", str(out), "--energies", "700", "708.2", "710.2",
        "--frames-are", "energies", "--incident-file", str(tmp_path / "i0.tif"), "--lithiated", "1.05", "0.62", "--delithiated", "0.48", "1.40",
    ])  # fmt: skip
    said = capsys.readouterr().out
    assert "too few to denoise" in said
    with (out / "mean.csv").open() as stream:
        means = [float(r["measured mean [1]"]) for r in csv.DictReader(stream)]
    truth = np.asarray(scene.twin.frames)[::8][:3][:, np.asarray(scene.twin.grid.mask)].mean(axis=1)
    np.testing.assert_allclose(means, truth, atol=0.04)


def test_kappa_is_in_the_unit_of_length_of_the_pixels():
    """κ of 2 kT px², over pixels of 0.05 x 0.05 um."""
    nothing = np.zeros((0, 0))
    numbers = (Parameter("kappa", 2.0, 0.4, "kT px^2"), Parameter("a", 1.0, 0.1, "1"))
    fit = ParticleFit("", True, numbers, {}, *[nothing] * 4, {}, nothing, nothing)
    movie = Movie.from_array(np.zeros((2, 3, 3)), pixel_size=(0.05, 0.05), length_unit="um")
    kappa, a = with_length(fit, movie).parameters
    assert (kappa.value, kappa.sd) == pytest.approx((0.005, 0.001))
    assert (kappa.unit, a) == ("kT um^2", numbers[1])


def test_a_frame_that_was_not_measured_leaves_the_other_numbers(scene):
    """Its scans are NaN, as those of a stopped series: uniformity is that of the others."""
    short = _scans(scene, counts=scene.counts[:, ::6].copy(), times=np.arange(4.0))
    chain = replace(CHAIN, incident_region=None, incident=(TWIN.dose,))
    whole = analyse_scans(replace(short, counts=short.counts[:, :3], times=short.times[:3]), chain)
    short.counts[:, 3] = np.nan
    found = analyse_scans(short, chain)
    assert found.uniformity["measured"] == pytest.approx(whole.uniformity["measured"], abs=0.01)
    assert found.impossible == ()
