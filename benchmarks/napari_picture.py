"""The picture of napari in docs/how-to/show.md: layers of a result, and the widget that denoises.

xvfb-run -a python benchmarks/napari_picture.py        # or on a screen, without xvfb-run
"""

from pathlib import Path

import napari
import numpy as np

from phdenoise.figures.scene import estimate_scene
from phdenoise.movie import Estimate, Movie
from phdenoise.napari_plugin.readers import layers_of
from phdenoise.napari_plugin.widgets import DenoiseJob
from phdenoise.noise.models import Gaussian

PICTURE = Path(__file__).resolve().parents[1] / "docs/images/napari.png"
# Width and height of the window [px]: a page shows it whole.
SIZE = (1100, 640)


def main() -> None:
    """Open a viewer, add a made-up result and the widget, and take the picture."""
    random = np.random.default_rng(0)
    t, y, x = np.ogrid[:9, :48, :64]
    clean = 0.5 + 0.4 * np.tanh((x - 12 - 5 * t + 4 * np.sin(y / 8)) / 4)
    movie = Movie.from_array(
        clean + 0.15 * random.normal(size=clean.shape),
        times=20.0 * np.arange(9),
        pixel_size=(0.05, 0.05),
        time_unit="s",
        length_unit="um",
        name="front",
    )
    sd = 0.02 + 0.03 * (1 - (2 * clean - 1) ** 2)
    estimate = Estimate(movie, clean, sd**2, Gaussian(0.15))
    viewer = napari.Viewer(show=True)
    for data, about, _ in layers_of(estimate_scene(estimate), movie):
        viewer.add_image(data, **about)
    viewer.grid.enabled = True
    viewer.scale_bar.visible = True
    viewer.dims.set_current_step(0, 4)
    job = DenoiseJob(viewer)
    viewer.window.add_dock_widget(job.native, name="Denoise", area="right")
    viewer.window.resize(*SIZE)
    viewer.reset_view()
    napari.qt.get_qapp().processEvents()
    viewer.screenshot(str(PICTURE), canvas_only=False)
    viewer.close()


if __name__ == "__main__":
    main()
