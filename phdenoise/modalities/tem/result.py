"""The result of the chain of nanoparticles."""

from dataclasses import dataclass, field

import numpy as np

from phdenoise.modalities.tem.columns import Columns
from phdenoise.modalities.tem.likelihood import SiteTest
from phdenoise.modalities.tem.occupancy import Rates
from phdenoise.modalities.tem.sites import SurfaceSites
from phdenoise.modalities.tem.tracking import Lattice, Tracks
from phdenoise.movie import Estimate, Movie


@dataclass(frozen=True)
class TemResult:
    """What the images say.

    Attributes:
        movie: as read.
        counts: electrons [t, y, x].
        pixel_size: [Å].
        vacuum: electrons of a vacuum pixel in a frame.
        dispersion: variance over mean of the vacuum's counts, and its standard deviation.
        total: sum of the frames without drift [y, x], and where all were seen.
        seen: True where all frames show the pixel [y, x].
        estimate: the sum, denoised, with its variance; a movie of one frame.
        columns: found.
        surface: True for columns at the surface.
        lattice: through most columns; None where none fits.
        sites: at the surface, with and without a column.
        test, verdicts: of the sites in the sum of all frames.
        single: the same test for one frame, for its power.
        ratio: log likelihood ratio of each site in each frame [site, t].
        tracks: of a movie.
        rates: of arrival and departure, of a movie.
        hidden: false columns in vacuum of this size and dose.
        warnings, sentences: for a reader.
        impossible: what no image of columns can be.
        fringes: spots outside that may be fringes of the edge, and are no columns here [spot, 2] [px].
    """

    movie: Movie
    counts: np.ndarray
    pixel_size: float
    vacuum: float
    dispersion: tuple[float, float]
    total: np.ndarray
    seen: np.ndarray
    estimate: Estimate
    columns: Columns
    surface: np.ndarray
    lattice: Lattice | None
    sites: SurfaceSites
    test: SiteTest
    verdicts: tuple[str, ...]
    single: SiteTest
    ratio: np.ndarray
    tracks: Tracks | None
    rates: Rates | None
    hidden: int
    warnings: tuple[str, ...]
    sentences: tuple[str, ...]
    impossible: tuple[str, ...] = ()
    fringes: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))

    @property
    def dose(self) -> float:
        """Electrons per Å² of one frame."""
        return self.vacuum / self.pixel_size**2
