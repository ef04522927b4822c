"""What a configuration comes to on a movie: the network, what it hides and minimises, and what it starts from."""

from dataclasses import asdict, replace
from typing import NamedTuple

import numpy as np

from phdenoise.denoisers import FRAME, BlindRegion, Design, parse_region
from phdenoise.denoisers.context import REACH
from phdenoise.denoisers.core import design_of
from phdenoise.movie import Estimate
from phdenoise.noise import NoiseEstimate
from phdenoise.noise.estimate import CORRELATED
from phdenoise.training.config import PRESETS, DenoiseConfig, design_of_config
from phdenoise.training.objectives import Objective, resolve
from phdenoise.types import InputError, NoiseModel


class Choice(NamedTuple):
    """What a configuration comes to on a movie: its gaps filled, the network, what it minimises, how many teachers."""

    config: DenoiseConfig
    design: Design
    objective: Objective
    teachers: int
    log: tuple[str, ...]


def choose(
    config: DenoiseConfig,
    found: NoiseEstimate,
    noise: NoiseModel,
    pretrained: Estimate | None,
    *,
    target: bool = False,
    clean: bool = False,
) -> Choice:
    """Network, objective and number of teachers that a configuration asks for on a movie.

    Args:
        config, pretrained: as in `denoise`.
        found, noise: of the movie.
        target, clean: whether there is a second movie to learn, and whether it has no noise.

    Raises:
        InputError: they contradict each other.
    """
    log: list[str] = []
    if pretrained is not None:
        config, log = _start_from(pretrained, config, found)
    elif config.tune != "full":
        raise InputError(f"--tune {config.tune} needs a network to start from: give --weights.")
    network, objective = resolve(
        config.network,
        config.objective,
        noise,
        found.blind == "frame",
        target=target,
        clean=clean,
    )
    count = _teachers(config, objective, pretrained, found)
    return Choice(config, design_of_config(config, network), objective, count, tuple(log))


def regions(
    config: DenoiseConfig, found: NoiseEstimate, design: Design, name: str, valid: np.ndarray
) -> tuple[BlindRegion, BlindRegion, list[str]]:
    """What is hidden in training and at prediction, and what to say about it.

    Args:
        config, found, design: as in `choose` and its answer.
        name, valid: of the movie; where it was measured [t, y, x].

    Raises:
        InputError: the network cannot hide it, or the two are of different kinds.
    """
    network, log = design.network, list[str]()
    region = parse_region(_by_default(found, design) if config.blind == "auto" else config.blind)
    if network == "n2v" and (region.whole_frame or region.everywhen):
        raise InputError(
            f"--network n2v hides a rectangle of its own frame, not '{region}': give --blind ROWSxCOLUMNS."
        )
    if region.everywhen and network == "blind" and config.window not in (None, REACH[-1]):
        raise InputError(
            f"--blind {region} is UDVD, which looks at five frames: leave --window out."
        )
    shown = region if config.blind_predict is None else parse_region(config.blind_predict)
    if shown.everywhen != region.everywhen or shown.whole_frame != region.whole_frame:
        raise InputError(
            f"--blind-predict {shown} is of another kind than --blind {region}: hide a rectangle of the "
            "same frames."
        )
    if network == "blind" and not region.everywhen and valid.any((1, 2)).sum() < 2:
        raise InputError(
            f"--blind {region} needs at least 2 frames with valid pixels, {name} has fewer: "
            "use --blind udvd."
        )
    if config.blind != "auto":
        log.append(f"Blind region '{region}', as asked.")
        if _shows_noise(region, found) and network == "blind":
            log.append(
                f"Warning: the noise is correlated in space and '{region}' shows the network its "
                "neighbours: some noise will stay, and the variance is too small."
            )
    return region, shown, log


def narrower(
    config: DenoiseConfig, found: NoiseEstimate, region: BlindRegion
) -> BlindRegion | None:
    """What could be hidden by default in place of a whole frame: as much of it as the noise reaches."""
    free = config.blind == "auto" and config.blind_predict is None
    half = found.shelter() if free and region == FRAME else None
    return None if half is None else BlindRegion(2 * half[0] + 1, 2 * half[1] + 1)


def _shows_noise(region: BlindRegion, found: NoiseEstimate) -> bool:
    """Whether neighbours that are not hidden tell of the pixel's noise."""
    if found.blind != "frame" or region.whole_frame:
        return False
    half = found.shelter()
    return half is None or region.rows <= 2 * half[0] or region.columns <= 2 * half[1]


def _by_default(found: NoiseEstimate, design: Design) -> str:
    """The region to hide by default."""
    if design.network == "blind":
        return found.blind
    if found.blind != "frame":
        return "pixel"
    least = max(CORRELATED, 3 * found.autocorrelation_sd)
    # As far as the noise reaches along each axis.
    rows, columns = (
        2 * int(np.argmin(np.append(np.abs(found.correlation[k]) > least, False))) - 1 for k in "yx"
    )
    return f"{rows}x{columns}"


def _teachers(
    config: DenoiseConfig, objective: Objective, pretrained: Estimate | None, found: NoiseEstimate
) -> int:
    """How many teachers to ask; none where there is a network already, or unless asked where the student would see the noise."""
    blind = objective in ("nll", "mse", "counts") and config.network in ("auto", "blind")
    if config.distill is None:
        alone = pretrained is not None or len(found.lasting) > 0
        return PRESETS[config.preset].teachers if blind and not alone else 0
    if config.distill < 0 or (config.distill and (not blind or pretrained is not None)):
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
    design = design_of(settings)
    known = asdict(design) | {"width": int(settings["width"])}
    wanted = {"auto": design.network, "blind": "blind"}.get(config.network, config.network)
    if wanted != design.network or config.window not in (None, design.window):
        raise InputError(
            f"The weights are of a {design.network} network that looks {design.window} frames each way: leave "
            "--network and --window out, or train anew."
        )
    if design.sees:
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
