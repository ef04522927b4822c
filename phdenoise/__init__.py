"""phdenoise: a noisy operando movie in, a denoised movie and the physical law that moved it out.

    import phdenoise as ph

    movie = ph.read("movie.tif")
    estimate = ph.denoise(movie)                       # mean and variance, without clean labels
    result = ph.fit(movie, "cahn-hilliard", ph.FitConfig(joint=True))
    ph.write(estimate, "denoised.h5")

Names are imported when first used, so that `import phdenoise` costs nothing.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phdenoise.channels import Channels, ChannelsEstimate
    from phdenoise.grid import Grid
    from phdenoise.io import read, read_channels, write
    from phdenoise.learn import FitConfig, FitResult, compare, fit
    from phdenoise.movie import Estimate, Movie
    from phdenoise.pipeline import simulate
    from phdenoise.streaming import denoise_file
    from phdenoise.training import DenoiseConfig, denoise, denoise_channels
    from phdenoise.types import InputError

__version__ = version("phdenoise")

_HOME = {
    "Channels": "phdenoise.channels",
    "ChannelsEstimate": "phdenoise.channels",
    "DenoiseConfig": "phdenoise.training",
    "Estimate": "phdenoise.movie",
    "FitConfig": "phdenoise.learn",
    "FitResult": "phdenoise.learn",
    "Grid": "phdenoise.grid",
    "InputError": "phdenoise.types",
    "Movie": "phdenoise.movie",
    "compare": "phdenoise.learn",
    "denoise": "phdenoise.training",
    "denoise_channels": "phdenoise.training",
    "denoise_file": "phdenoise.streaming",
    "fit": "phdenoise.learn",
    "read": "phdenoise.io",
    "read_channels": "phdenoise.io",
    "simulate": "phdenoise.pipeline",
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
    "compare",
    "denoise",
    "denoise_channels",
    "denoise_file",
    "fit",
    "read",
    "read_channels",
    "simulate",
    "write",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'phdenoise' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
