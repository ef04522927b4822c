"""A network as ONNX predicts in onnxruntime what it predicts here."""

import numpy as np
import pytest

import phdenoise as ph
from phdenoise.networks.onnx_export import export_onnx
from phdenoise.noise.models import Gaussian


def _movie():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:16, :16]
    clean = 5 + np.sin(y / 3) * np.cos(x / 4 + 0.2 * np.arange(5)[:, None, None])
    return ph.Movie.from_array((clean + 0.3 * rng.normal(size=clean.shape)).astype(np.float32))


@pytest.mark.slow
def test_onnxruntime_agrees_for_every_frame(tmp_path):
    pytest.importorskip("jax2onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    config = ph.DenoiseConfig(preset="quick", steps=3, width=8, symmetries=1)
    movie = _movie()
    estimate = ph.denoise(movie, config)
    made = export_onnx(estimate, tmp_path / "net.onnx")
    assert made.difference < 1e-4
    session = onnxruntime.InferenceSession(str(made.network), providers=["CPUExecutionProvider"])
    shown = np.load(made.inputs)
    mean = [
        session.run(["mean"], {n: shown[n][t : t + 1] for n in ("context", "centre", "seen")})[0][0]
        for t in range(len(shown["centre"]))
    ]
    ours = ph.networks.predict.predict_blind(
        ph.networks.base.from_settings(estimate.weights, estimate.settings),
        movie.frames, movie.valid(), symmetries=1,
    )  # fmt: skip
    seen = np.asarray(mean)[:, :16, :16]
    assert np.abs(seen - np.asarray(ours.mean)).max() < 1e-4 * np.abs(np.asarray(ours.mean)).max()


def test_a_result_without_a_network_is_refused(tmp_path):
    pytest.importorskip("jax2onnx")
    pytest.importorskip("onnxruntime")
    movie = _movie()
    one = np.ones(movie.shape, np.float32)
    with pytest.raises(ph.InputError, match="no network"):
        export_onnx(ph.Estimate(movie, one, one, Gaussian(1.0)), tmp_path / "n.onnx")
