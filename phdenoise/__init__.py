"""phdenoise: a noisy operando movie in, a denoised movie and the physical law that moved it out.

    import phdenoise as ph

    movie = ph.read("movie.tif")
    estimate = ph.denoise(movie)                       # mean and variance, without clean labels
    result = ph.fit(movie, "cahn-hilliard", ph.FitConfig(joint=True))
    ph.write(estimate, "denoised.h5")

Names are imported when first used, so that `import phdenoise` costs nothing.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from phdenoise import summary

if TYPE_CHECKING:
    from phdenoise.channels import Channels, ChannelsEstimate
    from phdenoise.cli.progress import ProgressBar
    from phdenoise.denoising import DenoiseConfig, denoise_channels
    from phdenoise.denoising.files import denoise_file
    from phdenoise.grid import Grid
    from phdenoise.io import read, read_channels, register_reader, write
    from phdenoise.learn import FitConfig, FitResult, compare, fit, joint_data, joint_loss
    from phdenoise.learn.law_denoise import denoise
    from phdenoise.movie import Estimate, Movie
    from phdenoise.simulation import SimulateConfig, simulate
    from phdenoise.types import InputError

__version__ = version("phdenoise")


def _picture(name: str) -> Callable[..., bytes]:
    """A function of `phdenoise.figures.pictures`, imported when it is first called."""

    def draw(*drawn: Any) -> bytes:
        return getattr(import_module("phdenoise.figures.pictures"), name)(*drawn)

    return draw


def _above(module: str, name: str) -> Callable[..., Any]:
    """A function of a room above the data, imported when it is first called."""

    def call(*given: Any, **options: Any) -> Any:
        return getattr(import_module(module), name)(*given, **options)

    return call


summary.ABOVE.update(
    plot_movie=_above("phdenoise.figures.scene", "plot_movie"),
    plot_estimate=_above("phdenoise.figures.scene", "plot_estimate"),
    movie_to_xarray=_above("phdenoise.io.exchange", "movie_to_xarray"),
    movie_from_xarray=_above("phdenoise.io.exchange", "movie_from_xarray"),
    estimate_to_xarray=_above("phdenoise.io.exchange", "estimate_to_xarray"),
    movie_to_hyperspy=_above("phdenoise.io.exchange", "movie_to_hyperspy"),
    movie_from_hyperspy=_above("phdenoise.io.exchange", "movie_from_hyperspy"),
)
summary.PICTURES.update(images=_picture("images_png"), bands=_picture("bands_png"))

_HOME = {
    "Channels": "phdenoise.channels",
    "ChannelsEstimate": "phdenoise.channels",
    "DenoiseConfig": "phdenoise.denoising",
    "Estimate": "phdenoise.movie",
    "FitConfig": "phdenoise.learn",
    "FitResult": "phdenoise.learn",
    "Grid": "phdenoise.grid",
    "InputError": "phdenoise.types",
    "Movie": "phdenoise.movie",
    "ProgressBar": "phdenoise.cli.progress",
    "SimulateConfig": "phdenoise.simulation",
    "compare": "phdenoise.learn",
    "denoise": "phdenoise.learn.law_denoise",
    "denoise_channels": "phdenoise.denoising",
    "denoise_file": "phdenoise.denoising.files",
    "fit": "phdenoise.learn",
    "joint_data": "phdenoise.learn",
    "joint_loss": "phdenoise.learn",
    "read": "phdenoise.io",
    "read_channels": "phdenoise.io",
    "register_reader": "phdenoise.io",
    "simulate": "phdenoise.simulation",
    "write": "phdenoise.io",
}
__all__ = [
    "Channels",
    "ChannelsEstimate",
    "DenoiseConfig",
    "Estimate",
    "FitConfig",
    "FitResult",
    "Grid",
    "InputError",
    "Movie",
    "ProgressBar",
    "SimulateConfig",
    "compare",
    "denoise",
    "denoise_channels",
    "denoise_file",
    "fit",
    "joint_data",
    "joint_loss",
    "read",
    "read_channels",
    "register_reader",
    "simulate",
    "write",
]


# Rooms that are there after `import phdenoise`, imported when first asked for.
_ROOMS = (
    "analysis",
    "denoising",
    "figures",
    "io",
    "learn",
    "metrics",
    "modalities",
    "networks",
    "noise",
    "observation",
    "physics",
    "report",
    "simulation",
    "study",
    "training",
    "uncertainty",
)


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"phdenoise.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'phdenoise' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, *_ROOMS])
