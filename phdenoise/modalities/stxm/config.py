"""How to turn X-ray scans into lithium: the settings, and where they do not fit the scans."""

from dataclasses import dataclass, field

import numpy as np

from phdenoise.denoising.config import DenoiseConfig
from phdenoise.learn.particle_data import ParticleFitConfig
from phdenoise.modalities.settings import Box, check_boxes, check_positive
from phdenoise.summary import first_few
from phdenoise.types import InputError


@dataclass(frozen=True)
class StxmConfig:
    """How to turn scans into lithium. A box is first row, last row, first column, last column (last excluded)."""

    lithiated: tuple[float, ...] = ()
    """Optical density of the lithiated end member at each energy above the edge, background taken off; any one scale for both end members."""
    delithiated: tuple[float, ...] = ()
    """The same of the delithiated end member."""
    incident: tuple[float, ...] = ()
    """I0: one number [counts], or one for each energy in their order."""
    incident_region: Box | None = None
    """Box (first row, last row, first column, last column; the last ones are excluded) [px] that nothing covers: I0 of every scan is the mean there, and the flicker of the beam is measured."""
    edge: float = 705.0
    """Energy below which scans are background [eV]."""
    gain: float = 1.0
    """Counts per photon."""
    drift: bool = False
    """Register the scans by the particle's outline and bring them to one place."""
    min_thickness: float = 0.3
    """The particle is where its thickness, mean over time, exceeds this share of its 95 % quantile."""
    constant_thickness: bool = True
    """The thickness does not change: the denoised lithium takes its mean over time, which lowers its noise."""
    law: bool = True
    """Fit the law of the particle, where it fills or empties."""
    fit: ParticleFitConfig = field(default_factory=ParticleFitConfig)
    """How to fit it."""
    compare_laws: bool = False
    """Fit the law to the measured and to the denoised lithium alone, too. Their intervals leave out the errors of the frames that
    stretches start from, and miss the truth: for studies of what the joint fit is worth."""
    denoise: DenoiseConfig = field(default_factory=DenoiseConfig)
    """How to denoise."""


@dataclass(frozen=True)
class Scans:
    """What was measured.

    Attributes:
        counts: [e, t, y, x]; nan where nothing was.
        energies: [e] [eV], increasing.
        times: [t] in `time_unit`.
        incident: I0 as images [e, y, x], where it was read from files.
    """

    counts: np.ndarray
    energies: np.ndarray
    times: np.ndarray
    pixel_size: tuple[float, float] = (1.0, 1.0)
    time_unit: str = "frame"
    length_unit: str = "px"
    name: str = "scans"
    incident: np.ndarray | None = None
    before: np.ndarray | None = None
    """Scans before the edge that were taken once [n, y, x], and their energies."""
    before_energies: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    """What was assumed while reading, and what is doubtful in the files."""


def check_config(scans: Scans, config: StxmConfig) -> np.ndarray:
    """Refuse settings that do not fit the scans, and tell the energies above the edge.

    Args:
        scans: what was measured.
        config: of the chain.

    Returns:
        True for the energies above the edge [e].

    Raises:
        InputError: settings that do not fit the scans.
    """
    above = scans.energies >= config.edge
    count = int(above.sum())
    given = (len(config.lithiated), len(config.delithiated))
    if count < 2:
        raise InputError(
            f"{scans.name} has {count} energies above --edge {config.edge:g} eV ({_listing(scans.energies)}): two are needed "
            "to tell lithium from thickness."
        )
    if given != (count, count):
        raise InputError(
            f"--lithiated and --delithiated need one optical density for each of the {count} energies above the edge "
            f"({_listing(scans.energies[above])} eV), got {given[0]} and {given[1]}; or give --spectra FILE.csv."
        )
    spectra = np.stack([config.lithiated, config.delithiated])
    if not np.isfinite(spectra).all() or np.linalg.svd(spectra)[1][-1] < 1e-3 * np.abs(spectra).max():  # fmt: skip
        raise InputError(
            "The end members absorb alike at these energies, so lithium cannot be told from thickness: measure at the "
            "peaks of both (Fe: near 708 and 710 eV)."
        )
    ways = [bool(config.incident), config.incident_region is not None, scans.incident is not None]
    if sum(ways) != 1:
        raise InputError(
            f"I0 is given in {sum(ways)} ways: give one of --incident, --incident-region and --incident-file."
        )
    if config.incident and len(config.incident) not in (1, len(scans.energies)):
        raise InputError(
            f"--incident needs 1 number or {len(scans.energies)}, one for each energy, not {len(config.incident)}."
        )
    check_boxes(config, ("incident_region",), scans.counts.shape[2:])
    check_positive(config, ("gain", "min_thickness"))
    return above


def _listing(energies: np.ndarray) -> str:
    return first_few((f"{e:g}" for e in energies), 6)
