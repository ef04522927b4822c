"""Widgets of napari: denoise a movie with progress and cancel; fit a law and plot it."""

from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any, get_args

import napari
from magicgui.widgets import ComboBox, Container, Label, ProgressBar, PushButton
from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from qtpy.QtCore import QTimer

from phdenoise.denoising.config import DenoiseConfig, Preset
from phdenoise.figures.plots import law_curves
from phdenoise.figures.scene import estimate_scene
from phdenoise.learn import FitConfig, fit
from phdenoise.learn.law_denoise import denoise
from phdenoise.learn.laws import LawName
from phdenoise.learn.result import FitResult
from phdenoise.movie import Estimate
from phdenoise.napari_plugin.readers import layers_of, movie_of
from phdenoise.types import InputError, Progress

# Time between two looks at the work that runs beside the window [ms].
_LOOK = 100


class _Job(Container):
    """A choice of a layer, a button that starts the work, its progress, and a button that cancels it."""

    def __init__(self, viewer: Any, choices: ComboBox, start: str) -> None:
        self.viewer = viewer
        self.layer = ComboBox(label="movie", choices=self._images)
        self.choice = choices
        self.start = PushButton(text=start)
        self.cancel = PushButton(text="Cancel", enabled=False)
        self.bar = ProgressBar(label="progress", value=0, max=1)
        self.said = Label(value="")
        super().__init__(
            widgets=[self.layer, self.choice, self.start, self.cancel, self.bar, self.said]
        )
        self._pool = ThreadPoolExecutor(1)
        self._stop = False
        self._seen: tuple[str, int, int] = ("", 0, 1)
        self.job: Future[Any] | None = None
        self._timer = QTimer()
        self._timer.setInterval(_LOOK)
        self._timer.timeout.connect(self.look)
        self.start.changed.connect(self.begin)
        self.cancel.changed.connect(self._cancelled)
        viewer.layers.events.inserted.connect(lambda *_: self.layer.reset_choices())
        viewer.layers.events.removed.connect(lambda *_: self.layer.reset_choices())

    def _images(self, *_: Any) -> list[str]:
        return [layer.name for layer in self.viewer.layers if hasattr(layer, "contrast_limits")]

    def begin(self, *_: Any) -> None:
        """Start the work on the layer chosen."""
        try:
            work = self.work()
        except (InputError, KeyError) as error:
            self.said.value = str(error)
            return
        self._stop = False
        self.start.enabled, self.cancel.enabled = False, True
        self.job = self._pool.submit(work, self._progress)
        self._timer.start()

    def work(self) -> Callable[[Progress], Any]:
        """What is to be done, as a function of the progress."""
        raise NotImplementedError

    def done(self, result: Any) -> None:
        """Show the result."""
        raise NotImplementedError

    def look(self) -> None:
        """Show how far the work is; at its end its result, or why there is none."""
        stage, step, steps = self._seen
        self.bar.max, self.bar.value = max(steps, 1), min(step, steps)
        self.said.value = stage
        if self.job is None or not self.job.done():
            return
        self._timer.stop()
        self.start.enabled, self.cancel.enabled = True, False
        job, self.job = self.job, None
        try:
            self.done(job.result())
        except CancelledError:
            self.said.value = "Cancelled; nothing was changed."
        except InputError as error:
            self.said.value = str(error)

    def _cancelled(self, *_: Any) -> None:
        self._stop = True

    def _progress(self, stage: str, step: int, steps: int, _: float) -> None:
        """Called within the work: remember how far it is, and end it where that was asked for."""
        self._seen = (stage, step, steps)
        if self._stop:
            raise CancelledError


class DenoiseJob(_Job):
    """Denoise the layer chosen; adds layers for the mean, its standard deviation and the residual."""

    def __init__(self, viewer: Any, config: DenoiseConfig | None = None) -> None:
        self._config = config
        presets = ComboBox(label="preset", choices=get_args(Preset), value="quick")
        super().__init__(viewer, presets, "Denoise")

    def work(self) -> Callable[[Progress], Any]:
        movie = movie_of(self.viewer.layers[self.layer.value])
        config = self._config or DenoiseConfig(preset=self.choice.value)
        return lambda progress: denoise(movie, config, progress=progress)

    def done(self, result: Estimate) -> None:
        for data, about, _ in layers_of(estimate_scene(result).without("noisy"), result.movie):
            self.viewer.add_image(data, **about)
        warnings = result.trust.get("warnings", ())
        self.said.value = warnings[0] if warnings else "No check gave a warning."


class LawJob(_Job):
    """Fit a law to the layer chosen, and plot its curves with 90 % bands."""

    def __init__(self, viewer: Any, config: FitConfig | None = None) -> None:
        self._config = config
        laws = ComboBox(label="law", choices=get_args(LawName), value="cahn-hilliard")
        super().__init__(viewer, laws, "Fit")
        self.result: FitResult | None = None
        self.canvas: FigureCanvasQTAgg | None = None

    def work(self) -> Callable[[Progress], Any]:
        movie = movie_of(self.viewer.layers[self.layer.value])
        law, config = self.choice.value, self._config or FitConfig()
        return lambda progress: fit(movie, law, config, progress=progress)

    def done(self, result: FitResult) -> None:
        self.result = result
        self.said.value = result.outcome
        if result.curves:
            figure = law_curves(
                {result.model: result.curves},
                diffusivity_unit=str(result.settings["diffusivity_unit"]),
                refuted=[result.model] if result.holds is False else [],
            )
            self.canvas = FigureCanvasQTAgg(figure)
            # A model without a window has the canvas all the same.
            window = getattr(self.viewer, "window", None)
            if window is not None:
                window.add_dock_widget(self.canvas, name="law", area="bottom")


def denoise_widget() -> DenoiseJob:
    """The widget that denoises, for the viewer that is open."""
    return DenoiseJob(_viewer())


def law_widget() -> LawJob:
    """The widget that fits a law, for the viewer that is open."""
    return LawJob(_viewer())


def _viewer() -> Any:
    viewer = napari.current_viewer()
    if viewer is None:
        raise InputError("No viewer of napari is open: start napari first.")
    return viewer
