"""The plugin in a real napari without a screen: files become layers with scale and units, widgets denoise, cancel and fit."""

import os
import time

import numpy as np
import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
napari = pytest.importorskip("napari")
pytest.importorskip("qtpy.QtWidgets", exc_type=ImportError)

import phdenoise as ph  # noqa: E402
from phdenoise.napari_plugin.readers import movie_of, read_layers, reader_of  # noqa: E402
from phdenoise.napari_plugin.widgets import DenoiseJob, LawJob  # noqa: E402
from phdenoise.noise.models import Gaussian  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("napari")]
SECONDS = 300


def _draws() -> bool:
    """Whether OpenGL works here: without it napari's layers are there, and only their pictures are not."""
    from napari._vispy.utils.gl import get_gl_extensions

    try:
        return bool(get_gl_extensions())
    except Exception:
        return False


@pytest.fixture(scope="module")
def viewer():
    """A real viewer under a real Qt; where OpenGL is missing its model, with all layers and events."""
    from napari.components import ViewerModel
    from napari.qt import get_qapp

    assert get_qapp() is not None
    if not _draws():
        yield ViewerModel()
        return
    shown = napari.Viewer(show=False)
    yield shown
    shown.close()


@pytest.fixture
def movie():
    rng = np.random.default_rng(0)
    frames = rng.normal(5, 1, (4, 12, 10)).astype(np.float32)
    return ph.Movie.from_array(
        frames, times=np.array([0.0, 2.0, 4.0, 6.0]), pixel_size=(0.1, 0.2), time_unit="s", length_unit="um", name="run"
    )  # fmt: skip


def _wait(job) -> None:
    end = time.monotonic() + SECONDS
    while job.job is not None and time.monotonic() < end:
        job.look()
        time.sleep(0.05)
    assert job.job is None


def test_the_manifest_names_what_there_is():
    from importlib.resources import files

    from npe2 import PluginManifest

    manifest = PluginManifest.from_file(files("phdenoise.napari_plugin").joinpath("napari.yaml"))
    for command in manifest.contributions.commands:
        module, _, name = str(command.python_name).partition(":")
        assert hasattr(__import__(module, fromlist=[name]), name)


def test_a_result_becomes_layers(movie, tmp_path, viewer):
    estimate = ph.Estimate(movie, movie.frames, 0.04 + 0 * movie.frames, Gaussian(1.0))
    path = str(tmp_path / "e.h5")
    ph.write(estimate, path)
    assert reader_of(path) is read_layers
    assert reader_of([path, path]) is None
    for data, about, _ in read_layers(path):
        viewer.add_image(data, **about)
    assert [x.name for x in viewer.layers] == ["noisy", "denoised", "sd", "residual"]
    layer = viewer.layers["sd"]
    np.testing.assert_allclose(layer.scale, (2.0, 0.1, 0.2))
    assert [str(u) for u in layer.units] == ["second", "micrometer", "micrometer"]
    np.testing.assert_allclose(layer.data, 0.2, rtol=1e-6)
    back = movie_of(layer)
    assert back.name == "run"
    layer.metadata.pop("movie")
    bare = movie_of(layer)
    np.testing.assert_allclose(bare.times, movie.times)
    assert (bare.time_unit, bare.length_unit, bare.pixel_size) == ("s", "um", (0.1, 0.2))
    viewer.layers.clear()


def test_the_widget_denoises_and_is_cancelled(movie, viewer):
    viewer.add_image(movie.frames, name="raw", scale=(2, 0.1, 0.2))
    job = DenoiseJob(viewer, ph.DenoiseConfig(steps=2, width=8, symmetries=1))
    job.layer.value = "raw"
    job.begin()
    assert not job.start.enabled
    assert job.cancel.enabled
    job._cancelled()
    _wait(job)
    assert "Cancelled" in job.said.value
    assert [x.name for x in viewer.layers] == ["raw"]
    job.begin()
    _wait(job)
    assert [x.name for x in viewer.layers] == ["raw", "denoised", "sd", "residual"]
    assert (viewer.layers["sd"].data > 0).all()
    assert job.start.enabled
    viewer.layers.clear()


def test_the_widget_fits_a_law_and_plots_it(viewer):
    twin = ph.SimulateConfig(size=(16, 16), frames=11, sigma=0.02)
    movie, _ = ph.simulate("fickian", twin)
    viewer.add_image(movie.frames, name="twin", metadata={"movie": movie})
    job = LawJob(viewer, ph.FitConfig(mobility_degree=1, iterations=3))
    job.layer.value, job.choice.value = "twin", "fickian"
    job.begin()
    _wait(job)
    assert job.result is not None
    assert job.said.value == job.result.outcome
    assert job.canvas is not None
    assert len(job.canvas.figure.axes) == 2
    viewer.layers.clear()
