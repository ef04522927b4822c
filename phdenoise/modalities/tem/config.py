"""How to turn images of a nanoparticle into columns and claims: the settings, and where they do not fit the movie."""

from dataclasses import dataclass, field

import numpy as np

from phdenoise.io.units import METRES
from phdenoise.modalities.settings import check_positive
from phdenoise.modalities.tem.columns import ColumnsConfig
from phdenoise.movie import Movie
from phdenoise.types import InputError

# Pixels that show columns at all [Å]: two of the coarsest make the narrowest spacing of columns; the finest are oversampled
# a hundredfold.
_FINEST, _COARSEST = 0.005, 0.7


@dataclass(frozen=True)
class TemConfig:
    """How to turn images of a nanoparticle into columns and claims."""

    pixel_size: float | None = None
    """Pixel size, where the file does not say it [Å]."""
    frame_interval: float | None = None
    """Time between frames, where the file does not say it [s]."""
    gain: float = 1.0
    """Intensity of one electron in the file; a counting camera has 1."""
    offset: float = 0.0
    """Intensity without electrons."""
    vacuum: float | None = None
    """Electrons of a vacuum pixel in one frame; measured from the image if not given."""
    network: bool = True
    """Look for candidates also in the image as the shipped network denoises it; the counts decide on them."""
    level: float = 0.05
    """False alarms of a claim on an atom: the share of false ones over the map, and the rate for the power of a single site."""
    columns: ColumnsConfig = field(default_factory=ColumnsConfig)
    """How to find columns."""


def check_config(config: TemConfig) -> None:
    """Refuse settings that make no sense.

    Args:
        config: of the chain.

    Raises:
        InputError: naming the flag.
    """
    check_positive(config, ("gain",))
    for name in ("pixel_size", "vacuum", "frame_interval"):
        if getattr(config, name) is not None:
            check_positive(config, (name,))
    for name, value in (
        ("level", config.level),
        ("columns.false-share", config.columns.false_share),
    ):
        if not 0 < value < 1:
            raise InputError(f"--{name} is a probability between 0 and 1, got {value}.")
    if not np.isfinite(config.offset):
        raise InputError(f"--offset must be a number, got {config.offset}.")


def angstroms(movie: Movie, given: float | None) -> float:
    """Pixel size of a movie.

    Args:
        movie: whose file may say it.
        given: by the user [Å]; replaces what the file says.

    Returns:
        The pixel size [Å].

    Raises:
        InputError: neither says it, pixels are not square, or no column could be seen.
    """
    if given is None:
        if movie.length_unit not in METRES:
            raise InputError(
                f"{movie.name} does not say how large its pixels are: give --pixel-size in Å."
            )
        dy, dx = movie.pixel_size
        if abs(dy / dx - 1) > 0.02:
            raise InputError(f"{movie.name} has pixels of {dy:g} x {dx:g} {movie.length_unit}: columns need square ones.")  # fmt: skip
        given = float(np.sqrt(dy * dx)) * METRES[movie.length_unit] / METRES["Å"]
    if not _FINEST <= given <= _COARSEST:
        raise InputError(
            f"A pixel of {given:g} Å cannot show atomic columns: {_FINEST:g} to {_COARSEST:g} Å is expected, check the unit "
            "of --pixel-size (Å, not nm)."
        )
    return given


def electrons(movie: Movie, config: TemConfig) -> np.ndarray:
    """Counts of electrons; pixels that are not measured, and slightly negative ones after an offset, are set to the mean or 0.

    Args:
        movie: intensities.
        config: gain and offset.

    Returns:
        Counts [t, y, x] [electrons].

    Raises:
        InputError: intensities that are no counts.
    """
    counts = (np.asarray(movie.frames, float) - config.offset) / config.gain
    valid = movie.valid()
    if not valid.any():
        raise InputError(f"{movie.name} has no measured pixel.")
    level = float(counts[valid].mean())
    if not level > 0:
        raise InputError(
            f"{movie.name} has a mean of {level:.3g} electrons: check --offset and --gain."
        )
    # Read noise and dark correction leave some negative values; many mean another offset.
    if np.mean(counts[valid] < -0.5) > 0.05:
        raise InputError(
            f"{movie.name} has negative counts in {100 * np.mean(counts[valid] < -0.5):.0f} % of its pixels: give --offset."
        )
    return np.maximum(np.where(valid, counts, level), 0.0)
