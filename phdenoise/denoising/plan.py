"""The plan of a denoising: what a configuration means for a movie.

config, noise -> network, what is hidden from it, what it minimises, what it starts from, on which pixels it is judged
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from phdenoise.denoising.config import PRESETS, DenoiseConfig, width_of
from phdenoise.denoising.preprocessing import Sample, Survey
from phdenoise.denoising.source import HeldOut
from phdenoise.movie import Estimate, Movie
from phdenoise.networks import table
from phdenoise.networks.architecture import Architecture
from phdenoise.networks.context import FRAME, PIXEL, BlindRegion, parse_region
from phdenoise.networks.custom import Network, as_architecture
from phdenoise.noise.estimate import LARGEST_WHITE_CORRELATION, NoiseEstimate
from phdenoise.training.objectives import Objective, resolve
from phdenoise.types import InputError, NoiseModel
from phdenoise.uncertainty.evidence import Noise


@dataclass(frozen=True)
class Plan:
    """What is done with a movie.

    Attributes:
        config: the configuration, its gaps filled.
        architecture: kind of network.
        objective: what the network minimises.
        teachers: blind networks that teach one U-Net; 0: none.
        region: hidden in training.
        shown_region: hidden at prediction.
        alternative: hidden in place of `region` where training then starts from a better prediction; None: nothing else.
        symmetries: averaged by the prediction.
        width: channels of the network's first scale.
        held_out: pixels that training does not see as targets.
        pretrained: an earlier result whose network is the start; None: a new network.
        log: what was decided.
    """

    config: DenoiseConfig
    architecture: Architecture
    objective: Objective
    teachers: int
    region: BlindRegion
    shown_region: BlindRegion
    alternative: BlindRegion | None
    symmetries: int
    width: int
    held_out: HeldOut
    pretrained: Estimate | None
    log: tuple[str, ...]

    @property
    def blind(self) -> bool:
        """Whether the measurement of a pixel is independent of its prediction, so that both are combined afterwards."""
        return self.architecture.blind and not self.teachers


def make_plan(
    config: DenoiseConfig,
    survey: Survey,
    sample: Sample,
    noise: Noise,
    *,
    pretrained: Estimate | None = None,
    target: Movie | None = None,
    clean: Movie | None = None,
) -> Plan:
    """What a configuration means for a movie.

    Args:
        config: as the user gave it.
        survey, sample, noise: of the movie.
        pretrained: an earlier result whose network is the start.
        target: a second exposure with noise of its own.
        clean: the clean movie.

    Returns:
        The plan.

    Raises:
        InputError: settings that contradict each other, or that a movie larger than memory does not allow.
    """
    found, header = noise.estimate, survey.source.header
    if not survey.whole and (target is not None or clean is not None):
        raise InputError("A target or a clean movie is not used in parts: give more --memory.")
    given = {"target": target is not None, "clean": clean is not None}
    config, architecture, objective, teachers, said = _resolve_config(
        config, found, noise.model, pretrained, **given
    )
    if not survey.whole:
        teachers = 0
        if not architecture.in_parts:
            raise InputError(
                f"--network {architecture.name} does not work on a movie in parts: give more --memory, or --network blind."
            )
    alternative = None
    if teachers:
        architecture = table.student(config.window, config.depth)
    if not architecture.blind:
        region = shown = PIXEL if found.blind != "frame" else FRAME
        asked: list[str] = []
    else:
        region, shown, asked = _regions(config, found, architecture, header.name, sample.good)
        alternative = _narrower(config, found, region) if pretrained is None else None
    return Plan(
        config=config,
        architecture=architecture,
        objective=objective,
        teachers=teachers,
        region=region,
        shown_region=shown,
        alternative=alternative,
        symmetries=config.symmetries or PRESETS[config.preset].symmetries,
        width=width_of(config, region, architecture),
        held_out=HeldOut(header.shape, config.seed, region, architecture),
        pretrained=pretrained,
        log=(*said, *asked),
    )


def with_network(config: DenoiseConfig, network: str | Network | None) -> DenoiseConfig:
    """The configuration that names a network.

    A network that is not the package's own is checked, and known by its name from then on, so that results made with it can
    be used later in the session.

    Args:
        config: as configured.
        network: word, architecture or Flax NNX module; None leaves the configuration as it is.

    Returns:
        The configuration.

    Raises:
        InputError: the network does not keep its contract.
    """
    if network is None:
        return config
    if isinstance(network, str):
        return replace(config, network=network)
    architecture = as_architecture(network)
    architecture.check()
    table.register(architecture)
    if architecture.centre_in_context and config.blind == "auto":
        config = replace(config, blind=str(architecture.default_region(PIXEL, PIXEL)))
    return replace(config, **architecture.settings())


def asked_network(config: DenoiseConfig) -> Architecture | None:
    """The network that a configuration or its preset names; None where movie and objective decide.

    Raises:
        InputError: no such network, or one that cannot have this window or depth.
    """
    network = config.network if config.network != table.AUTO else PRESETS[config.preset].network
    return table.named(network, config.window, config.depth)


class _Resolved(NamedTuple):
    """A configuration without gaps, the network (of the teachers, where there are some), and sentences for the reader."""

    config: DenoiseConfig
    architecture: Architecture
    objective: Objective
    teachers: int
    log: tuple[str, ...]


def _resolve_config(
    config: DenoiseConfig,
    found: NoiseEstimate,
    noise: NoiseModel,
    pretrained: Estimate | None,
    *,
    target: bool = False,
    clean: bool = False,
) -> _Resolved:
    """Network, objective and number of teachers that a configuration asks for on a movie."""
    log: list[str] = []
    if pretrained is not None:
        config, log = _start_from(pretrained, config, found)
    elif config.tune != "full":
        raise InputError(f"--tune {config.tune} needs a network to start from: give --weights.")
    asked = asked_network(config)
    correlated = found.blind == "frame"
    objective = resolve(asked, config.objective, noise, correlated, target=target, clean=clean)
    architecture = asked or table.trained_by(objective, config.window, config.depth)
    count = _teachers(config, architecture, pretrained, found)
    return _Resolved(config, architecture, objective, count, tuple(log))


def _regions(
    config: DenoiseConfig,
    found: NoiseEstimate,
    architecture: Architecture,
    name: str,
    valid: np.ndarray,
) -> tuple[BlindRegion, BlindRegion, list[str]]:
    """What is hidden in training and at prediction, and what to say about it."""
    log: list[str] = []
    region = (
        architecture.default_region(parse_region(found.blind), _extent(found))
        if config.blind == "auto"
        else parse_region(config.blind)
    )
    architecture = architecture.hiding(region)
    shown = region if config.blind_predict is None else parse_region(config.blind_predict)
    if not shown.same_kind(region):
        raise InputError(
            f"--blind-predict {shown} is of another kind than --blind {region}: hide a rectangle of the "
            "same frames."
        )
    if valid.any((1, 2)).sum() < architecture.frames_needed:
        raise InputError(
            f"--blind {region} needs at least {architecture.frames_needed} frames with valid pixels, {name} has fewer: "
            "use --blind udvd."
        )
    if config.blind != "auto":
        log.append(f"Blind region '{region}', as asked.")
    if architecture.single_pass and _shows_noise(region, found):
        log.append(
            f"Warning: the noise is correlated in space and '{region}' shows the network its "
            "neighbours: some noise will stay, and the variance is too small."
        )
    return region, shown, log


def _narrower(
    config: DenoiseConfig, found: NoiseEstimate, region: BlindRegion
) -> BlindRegion | None:
    """The part of the frame over which noise correlates, if that may be hidden in place of the whole frame."""
    free = config.blind == "auto" and config.blind_predict is None
    half = found.blind_half_width() if free and region == FRAME else None
    return None if half is None else BlindRegion(2 * half[0] + 1, 2 * half[1] + 1)


def _shows_noise(region: BlindRegion, found: NoiseEstimate) -> bool:
    """Whether neighbours that are not hidden share the pixel's noise."""
    if found.blind != "frame" or region.whole_frame:
        return False
    half = found.blind_half_width()
    return half is None or region.rows <= 2 * half[0] or region.columns <= 2 * half[1]


def _extent(found: NoiseEstimate) -> BlindRegion:
    """The rectangle over which noise correlates, the pixel where it does not."""
    if found.blind != "frame":
        return PIXEL
    least = max(LARGEST_WHITE_CORRELATION, 3 * found.autocorrelation_sd)
    rows, columns = (
        2 * int(np.argmin(np.append(np.abs(found.correlation[k]) > least, False))) - 1 for k in "yx"
    )
    return BlindRegion(rows, columns)


def _teachers(
    config: DenoiseConfig,
    architecture: Architecture,
    pretrained: Estimate | None,
    found: NoiseEstimate,
) -> int:
    """How many teachers to ask; none where there is a network already, or unless asked where the student would fit the noise."""
    if config.distill is None:
        alone = pretrained is not None or len(found.temporal_correlation) > 0
        return PRESETS[config.preset].teachers if architecture.teaches and not alone else 0
    if config.distill < 0 or (config.distill and (not architecture.teaches or pretrained)):
        raise InputError(
            "--distill is a number of blind teachers, trained anew: leave out --weights, --objective, --network."
        )
    return config.distill


def _start_from(
    pretrained: Estimate, config: DenoiseConfig, found: NoiseEstimate
) -> tuple[DenoiseConfig, list[str]]:
    """The configuration that fits a pretrained network, and what to say about it."""
    settings = pretrained.settings
    if not pretrained.weights or "region" not in settings:
        raise InputError("The weights hold no network: give the .h5 that phdenoise denoise wrote.")
    region = str(settings.get("trained_region", settings["region"]))
    architecture = table.architecture_of(settings)
    known = architecture.settings() | {"width": int(settings["width"])}
    asked = table.named(config.network, config.window, config.depth)
    if (asked or architecture).name != architecture.name or config.window not in (
        None,
        architecture.window,
    ):
        raise InputError(
            f"The weights are of a {architecture.name} network that uses {architecture.window} frames each way: leave "
            "--network and --window out, or train anew."
        )
    if not architecture.blind:
        log = [f"Network of {pretrained.movie.name}, tuned: {config.tune}."]
        return replace(config, **known), log
    if config.blind not in ("auto", region):
        raise InputError(
            f"The weights hide '{region}', not '{config.blind}': leave --blind out, or train anew."
        )
    log = [f"Network of {pretrained.movie.name}, tuned: {config.tune}; it hides '{region}'."]
    if _shows_noise(parse_region(region), found):
        log.append(
            "Warning: the noise of this movie is correlated in space farther than that of the network's movie: "
            "some noise will stay."
        )
    return replace(config, blind=region, **known), log
