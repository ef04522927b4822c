"""The result of the optical chain."""

from dataclasses import dataclass

import numpy as np

from phdenoise.channels import Channels, ChannelsEstimate
from phdenoise.modalities.optical.colours import Colours
from phdenoise.modalities.optical.particle_charge import Charge, Fronts
from phdenoise.modalities.optical.particles import Particles
from phdenoise.modalities.optical.phase_mixture import Phase, PhaseMaps, PhaseMixture


@dataclass(frozen=True)
class OpticalVersion:
    """What one version of the frames, measured or denoised, says.

    Attributes:
        colours: above dark, under the mean light.
        maps: phases of pixels, NaN outside the particles; probability [phase, t, y, x], fraction and sd [t, y, x].
        charge: of particles.
        fronts: of particles.
    """

    colours: Colours
    maps: PhaseMaps
    charge: Charge
    fronts: Fronts


@dataclass(frozen=True)
class OpticalResult:
    """What the movie says.

    Attributes:
        channels: measured, above dark and under the mean light.
        estimate: denoised.
        light, light_sd: intensity over that of the whole movie's mean [c, t].
        displacement: of each frame [t, 2] [px]; zero if not followed.
        particles: outlines.
        phases: names and fractions.
        mixture: colours of the phases.
        raw, denoised: see `OpticalVersion`.
        warnings, sentences: for a reader.
        impossible: what no graphite can be.
    """

    channels: Channels
    estimate: ChannelsEstimate
    light: np.ndarray
    light_sd: np.ndarray
    displacement: np.ndarray
    particles: Particles
    phases: tuple[Phase, ...]
    mixture: PhaseMixture
    raw: OpticalVersion
    denoised: OpticalVersion
    warnings: tuple[str, ...]
    sentences: tuple[str, ...]
    impossible: tuple[str, ...] = ()
