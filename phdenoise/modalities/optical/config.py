"""How to turn a colour movie of graphite into phases and charge: the settings, and where they do not fit the movie."""

from dataclasses import dataclass, field

import numpy as np

from phdenoise.channels import Channels
from phdenoise.denoising.config import DenoiseConfig
from phdenoise.modalities.settings import Box, check_boxes, flag
from phdenoise.types import InputError


@dataclass(frozen=True)
class OpticalConfig:
    """How to turn colours into phases. Boxes are first row, last row, first column, last column (last excluded)."""

    dark: float = 0.0
    """Counts of a pixel without light, the same in all channels."""
    reference: Box | None = None
    """Box (first row, last row, first column, last column; the last ones are excluded) [px] that keeps its colour (current collector, a white patch), for the drift of light and white balance; without one the light is taken as constant."""
    region: Box | None = None
    """Box (first row, last row, first column, last column; the last ones are excluded) [px] that the particles lie in; by default everything but the reference."""
    phases: int = 3
    """Phases told apart by colour: 3 are dilute, stage 2 and stage 1; 2 are dilute and stage 2."""
    colours: tuple[float, ...] | None = None
    """Colours to begin with, phase after phase in the order of lithium, each with all channels [counts above dark]; found by themselves if not given."""
    composition_sd: float = 0.03
    """How well the lithium fraction of a phase is known: dilute graphite is not quite empty, stage 1 not quite full; it is common to all frames and enters the error of the state of charge."""
    threshold: float | None = None
    """Sum of channels above dark at the edge of a particle [counts]; found if not given."""
    smallest: float = 30.0
    """Area below which nothing is a particle [px]."""
    split: float = 0.15
    """Depth of a neck, as a share of the half width, that parts two touching particles."""
    hold: int = 9
    """Frames over which the majority decides on an outline; particles may move little in that time."""
    register: bool = False
    """Follow and take out the drift of the whole scene (not for particles that move by themselves)."""
    speed_frames: int = 3
    """Frames on either side that the speed of a front is taken from."""
    denoise: DenoiseConfig = field(default_factory=DenoiseConfig)
    """How to denoise."""


def check_config(channels: Channels, config: OpticalConfig) -> None:
    """Refuse settings that do not fit the movie.

    Args:
        channels: colour movie [c, t, y, x].
        config: of the chain.

    Raises:
        InputError: naming the flag.
    """
    if len(channels) < 2:
        raise InputError(
            f"{channels.name} has one channel, and phases are told apart by colour: give a colour movie (and leave out "
            "--channel)."
        )
    check_boxes(config, ("reference", "region"), channels.movies[0].shape[1:])
    if config.phases not in (2, 3):
        raise InputError(f"--phases must be 2 or 3, got {config.phases}.")
    if config.phases > len(channels) + 1:
        raise InputError(
            f"{config.phases} phases need {config.phases - 1} channels or more, {channels.name} has {len(channels)}."
        )
    if config.colours is not None and len(config.colours) != config.phases * len(channels):
        raise InputError(
            f"--colours needs {config.phases} phases times {len(channels)} channels, "
            f"{config.phases * len(channels)} numbers, got {len(config.colours)}."
        )
    for name in ("smallest", "hold", "speed_frames"):
        if not getattr(config, name) >= 1:
            raise InputError(f"{flag(name)} must be 1 or more, got {getattr(config, name)}.")
    if not config.composition_sd >= 0:
        raise InputError(f"--composition-sd must not be negative, got {config.composition_sd}.")
    if not 0 < config.split < 1:
        raise InputError(f"--split must lie between 0 and 1, got {config.split}.")
    if not np.isfinite(config.dark):
        raise InputError(f"--dark must be a number, got {config.dark}.")
