"""The report warns of the faults it names, and of nothing on noise that was honestly averaged."""

import json
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from phdenoise.io.jsonfile import to_json
from phdenoise.io.native import read_estimate
from phdenoise.io.writing import write
from phdenoise.movie import Estimate, Movie
from phdenoise.noise.models import Gaussian
from phdenoise.report.page import report_html
from phdenoise.report.trust import denoise_report
from phdenoise.uncertainty.trust_report import judged, trust

SHAPE = (12, 40, 36)
SIGMA = 0.5


def moving(speed=1.0):
    t, _, x = np.mgrid[tuple(slice(n) for n in SHAPE)].astype(float)
    return np.sin((x - speed * t) / 3)


def noisy(clean=0.0, seed=0):
    return (clean + SIGMA * np.random.default_rng(seed).normal(size=SHAPE)).astype(np.float32)


def averaged(frames):
    """The temporal mean of the other frames, with its honest variance for a still scene."""
    n = len(frames)
    blind = ((frames.sum(0) - frames) / (n - 1)).astype(np.float32)
    doubt = np.full(SHAPE, SIGMA**2 / (n - 1), np.float32)
    weight = doubt / (doubt + SIGMA**2)
    return Estimate(
        movie=Movie.from_array(frames),
        mean=blind + weight * (frames - blind),
        variance=(1 - weight) * doubt,
        noise=Gaussian(jnp.float32(SIGMA)),
        blind_mean=blind,
        blind_variance=doubt,
    )


def test_pure_noise_warns_of_nothing():
    quiet = sum(not trust(averaged(noisy(seed=s))).warnings for s in range(40))
    assert quiet >= 38


def test_output_that_equals_the_input_is_said():
    frames = noisy()
    estimate = Estimate(
        Movie.from_array(frames),
        frames,
        np.full(SHAPE, SIGMA**2, "f"),
        Gaussian(jnp.float32(SIGMA)),
    )
    assert any("equals the input" in w for w in trust(estimate).warnings)


def test_signal_that_a_temporal_mean_removes_is_said():
    said = trust(averaged(noisy(moving()))).warnings
    assert any("signal in the residual" in w for w in said)
    assert any("too narrow" in w and "multiply the variance" in w for w in said)
    assert not trust(averaged(noisy(moving(speed=0.0)))).warnings


def test_wrong_noise_and_drift_are_said():
    estimate = averaged(noisy())
    loud = replace(estimate, noise=Gaussian(jnp.float32(2 * SIGMA)))
    assert any("photon-transfer" in w for w in trust(loud).warnings)
    brighter = replace(estimate, mean=estimate.mean + np.float32(0.3 * SIGMA))
    assert any("mean intensity" in w for w in trust(brighter).warnings)


def test_gaps_leave_no_trace_and_the_report_is_json():
    frames = noisy()
    estimate = averaged(frames)
    frames = frames.copy()
    frames[3, 5:9, 5:9] = np.nan
    report = trust(replace(estimate, movie=Movie.from_array(frames)))
    assert not report.warnings
    assert all(np.isfinite(report.bias[k]).all() for k in ("map", "z"))
    plain = json.loads(to_json(report))
    assert plain["noise"]["parameters"]["sigma"] == pytest.approx(SIGMA)
    assert plain["coverage"]["observed"] == pytest.approx([0.5, 0.9, 0.99], abs=0.02)
    assert len(report.sentences()) == 4


def test_fewer_than_three_frames_are_judged_too():
    frames = noisy()[:2]
    zero = np.zeros(frames.shape, np.float32)
    estimate = Estimate(
        Movie.from_array(frames), zero, zero + np.float32(0.01), Gaussian(jnp.float32(SIGMA))
    )
    report = trust(estimate)
    assert np.isnan(report.upsnr["psnr"])
    assert report.removed == pytest.approx(1, rel=0.05)


def test_the_report_survives_the_file(tmp_path):
    estimate = judged(averaged(noisy(moving())))
    write(estimate, tmp_path / "e.h5")
    back = read_estimate(tmp_path / "e.h5").trust
    np.testing.assert_array_equal(back["bias"]["z"], estimate.trust["bias"]["z"])
    np.testing.assert_array_equal(back["drift"]["value"], estimate.trust["drift"]["value"])
    assert tuple(back["warnings"]) == estimate.trust["warnings"]
    assert back["leak"] == estimate.trust["leak"]
    assert any("signal in the residual" in s for s in estimate.log)


def test_a_filed_report_makes_the_same_page(tmp_path):
    estimate = judged(averaged(noisy(moving())))
    write(estimate, tmp_path / "e.h5")
    pages = [
        # The minute of the report is not part of the result.
        report_html(replace(report, origin=replace(report.origin, date="today")))
        for report in map(denoise_report, (estimate, read_estimate(tmp_path / "e.h5")))
    ]
    assert "signal in the residual" in pages[0]
    # The movie, the bias maps, the coverage.
    assert pages[0].count("data:image/png") == 3
    assert pages[1] == pages[0]


def test_rows_in_the_residual_contradict_the_noise_model():
    """Every row has an offset of its own in every frame, which white noise of the same variance has not."""
    rows = 0.6 * SIGMA * np.random.default_rng(7).normal(size=(*SHAPE[:2], 1))
    found = trust(averaged((noisy() + rows).astype(np.float32)))
    assert found.structure == ("rows",)
    assert any("structured noise (rows)" in w for w in found.warnings)
    assert trust(averaged(noisy())).structure == ()
