"""How to turn neutron radiographs into lithium: the settings, and where they do not fit the movie."""

from dataclasses import dataclass, field

import numpy as np

from phdenoise.denoising.config import DenoiseConfig
from phdenoise.learn.line_transport import ProfileFitConfig
from phdenoise.modalities.line_profile import Line, sampling
from phdenoise.modalities.settings import Box, check_boxes, check_positive
from phdenoise.movie import Movie
from phdenoise.observation.lithium_change import AVOGADRO, LITHIUM_ABSORPTION
from phdenoise.types import InputError

# Wavelength at which cross-sections of thermal neutrons are tabulated, that of 2200 m/s [angstrom]: Sears, Neutron News 3,
# 26 (1992), doi:10.1080/10448639208218770.
_WAVELENGTH = 1.798


@dataclass(frozen=True)
class NeutronConfig:
    """How to turn radiographs into lithium. Boxes are first row, last row, first column, last column (last excluded)."""

    rest: int = 1
    """Frames at rest before anything changes: their mean is the reference."""
    dose_region: Box | None = None
    """Box (first row, last row, first column, last column; the last ones are excluded) [px] that the sample leaves free, for the dose of each frame; without one the beam is taken as constant."""
    thickness: float = 1.0
    """Path of the beam through the lithium-bearing layers [cm]."""
    wavelength: float = _WAVELENGTH
    """Mean wavelength of the neutrons [angstrom]."""
    cross_section: float | None = None
    """Absorption of lithium at 1.798 angstrom [barn]; by default natural lithium, 70.5."""
    gain: float | None = None
    """Camera counts per neutron; by default read off the movie's noise."""
    spots: bool = True
    """Leave out gamma spots."""
    rings: bool = False
    """Divide by the response of single pixels that stand out in the mean over time (needs an open beam)."""
    line: tuple[float, float, float, float] | None = None
    """Line of the profile: y, x of its start and y, x of its end [px]; by default along x through the middle."""
    line_width: float | None = None
    """Width that the profile averages [px]; by default all that fits."""
    uniform: Box | None = None
    """Box (first row, last row, first column, last column; the last ones are excluded) [px] where nothing changes, for the noise-induced variability over pixels."""
    collector: Box | None = None
    """Box (first row, last row, first column, last column; the last ones are excluded) [px] at the current collector, for the lithium that accumulates there."""
    cycle_ends: tuple[float, ...] = ()
    """Times at which cycles end [time unit]; accumulation is reported there."""
    electrode: tuple[int, int] | None = None
    """Points of the profile, first and last (excluded), that diffusion is fitted to; none skips the fit."""
    saturation: float = 0.0281
    """Lithium of a full electrode, c of u = 1 [mol/cm³]; LiC6 of full density unless given."""
    rest_filling: float = 0.1
    """u of the electrode at rest."""
    fit: ProfileFitConfig = field(default_factory=ProfileFitConfig)
    """How to fit diffusion and fluxes."""
    denoise: DenoiseConfig = field(default_factory=DenoiseConfig)
    """How to denoise."""

    @property
    def sigma(self) -> float:
        """Cross-section at the wavelength used [cm²]."""
        at = LITHIUM_ABSORPTION if self.cross_section is None else self.cross_section * 1e-24
        return at * self.wavelength / _WAVELENGTH

    @property
    def scale(self) -> float:
        """Attenuation per concentration, σ N_A d [cm³/mol]."""
        return self.sigma * AVOGADRO * self.thickness


def line_of(movie: Movie, config: NeutronConfig) -> tuple[Line, np.ndarray]:
    """The line of the profile, and the distances of its points.

    Args:
        movie: radiographs [t, y, x].
        config: of the chain; without a line of its own, the line runs along x through the middle.

    Returns:
        Line [px] and distances [s] [length unit].

    Raises:
        InputError: a line that leaves the frame.
    """
    ny, nx = movie.shape[1:]
    y0, x0, y1, x1 = config.line or ((ny - 1) / 2, 0.0, (ny - 1) / 2, nx - 1.0)
    width = config.line_width
    if width is None:
        width = float(ny) if config.line is None else 1.0
    line = Line((y0, x0), (y1, x1), width)
    return line, sampling((ny, nx), line, movie.pixel_size).distance


def check_config(movie: Movie, config: NeutronConfig) -> None:
    """Refuse settings that do not fit the movie.

    Args:
        movie: radiographs [t, y, x].
        config: of the chain.

    Raises:
        InputError: naming the flag.
    """
    t, ny, nx = movie.shape
    if not 1 <= config.rest < t:
        raise InputError(
            f"--rest {config.rest}: {movie.name} has {t} frames, of which 1 to {t - 1} may be at rest."
        )
    check_boxes(config, ("dose_region", "uniform", "collector"), (ny, nx))
    check_positive(config, ("thickness", "wavelength", "saturation"))
    if not 0 <= config.rest_filling <= 1:
        raise InputError(f"--rest-filling must be 0 to 1, got {config.rest_filling}.")
    points = line_of(movie, config)[1].size
    if config.electrode is not None and not (
        config.electrode[0] >= 0 and config.electrode[0] + 4 <= config.electrode[1] <= points
    ):
        raise InputError(
            f"--electrode {config.electrode[0]} {config.electrode[1]} must name 4 or more of the profile's {points} "
            "points."
        )
