"""How to denoise: the user's settings, and what the presets make of them."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from phdenoise.networks.architecture import Architecture
from phdenoise.networks.context import BlindRegion
from phdenoise.noise.photon_transfer import NoiseKind
from phdenoise.training.objectives import Goal, Objective
from phdenoise.training.optimiser import Tune
from phdenoise.types import InputError

Preset = Literal["instant", "quick", "default", "best"]


@dataclass(frozen=True)
class _Preset:
    """Effort; the widths of a preset belong to the networks (`phdenoise.networks.architecture.Architecture.widths`).

    Attributes:
        steps: of the training, at most.
        work: floating-point operations of the training, at most; None: as many as the steps take.
        symmetries: averaged by the prediction.
        teachers: blind networks that teach one U-Net.
        batch: crops in a step.
        network: what "auto" means.
    """

    steps: int
    work: float | None
    symmetries: int
    teachers: int = 0
    batch: int = 4
    network: str = "auto"


# Work is counted in operations and not in seconds: the same seed gives the same result on any machine and under any load.
# Two cores do some 3e10 of them in a second (`python benchmarks/training_work.py`).
_SECOND = 3e10
# "instant" trains nothing. "quick" and "default" are limited so that a movie takes at most 1 and 3 minutes on two cores; `python benchmarks/denoise_peers.py` measures
# time and quality on 30 x 128 x 128 pixels.
PRESETS = {
    "instant": _Preset(0, None, 1, network="linear"),
    "quick": _Preset(1000, 35 * _SECOND, 8),
    "default": _Preset(4000, 140 * _SECOND, 16),
    "best": _Preset(20000, None, 16, 3),
}


@dataclass(frozen=True)
class DenoiseConfig:
    """How to denoise."""

    preset: Preset = "default"
    """Effort: instant (a linear filter in closed form, seconds), quick (within 1 minute on two cores), default (within 3), best (as long as it takes)."""
    noise: NoiseKind = "auto"
    """Noise family; auto reads it off the movie's photon-transfer line."""
    sigma: float | None = None
    """Known standard deviation of Gaussian noise [intensity unit]; estimated when not given."""
    defects: Literal["mask", "keep"] = "mask"
    """Saturated, dead and hot pixels and single hits: mask (not learned, predicted from the rest) or keep."""
    blind: str = "auto"
    """Hidden: pixel (of the centre frame), frame (all of it), ROWSxCOLUMNS (1x9: a line along x), udvd (pixel in five frames), udvd-mf, all:3x3; auto asks the noise."""
    blind_predict: str | None = None
    """Hidden at prediction, where it differs from training (AT-BSN: train with all:9x9, predict with all:3x3); with --distill a list separated by commas, one for each teacher."""
    network: str = "auto"
    """auto, blind, unet, n2v or linear: blind hides the region by construction, unet uses the pixel itself, n2v is masked (Noise2Void), linear is the best blind linear filter; auto follows preset and objective."""
    objective: Objective = "nll"
    """nll learns mean and variance of each hidden pixel, mse the mean, counts the exact likelihood of Poisson noise; n2v the same on masks; a unet: noise2noise, supervised, sure (Gaussian noise), pure (counts)."""
    window: int | None = None
    """Frames each way that the network uses, at most 16; by default 16, or 0 (single images) for n2v."""
    depth: int = 2
    """Times that a unet halves its resolution."""
    distill: int | None = None
    """Blind teachers that are averaged and teach one unet, kept if no worse; by default 3 with --preset best, else none."""
    seed: int = 0
    """Seed of weights, crops and held-out pixels; the same seed gives the same result."""
    steps: int | None = None
    """Training steps; by default the preset's, half of them from the prior, fewer where its work does not suffice or the movie is tiny."""
    effort: float = 1.0
    """Factor on the work that the preset trains with."""
    seconds: float | None = None
    """Time for training [s] in place of the preset's work; how many steps fit in then depends on the machine and its load."""
    width: int | None = None
    """Channels of the network's first scale; by default the preset's."""
    learning_rate: float = 3e-3
    """Peak learning rate of Adam; a fifteenth of it where training starts from the prior."""
    start: Literal["prior", "linear"] = "prior"
    """Where training starts: prior, a network that was trained on simulated scenes (of the default width and window), unless the linear prediction does better on held-out pixels; linear, the best blind linear prediction of this movie."""
    symmetries: int | None = None
    """Reflections, quarter turns and time reversals (1 to 16) that the prediction averages; by default the preset's."""
    crop: int = 64
    """Side of training crops [px], a multiple of 4."""
    memory: str | None = None
    """Memory for all of phdenoise, such as 2GB; by default half of what is free. Larger movies are worked on in parts."""
    tune: Tune = "full"
    """What to train of a network that starts from given weights: full, gain (one factor per channel), none."""


def check_config(config: DenoiseConfig) -> None:
    """Refuse impossible settings.

    Raises:
        InputError: naming the flag.
    """
    if config.preset not in PRESETS:
        raise InputError(f"Unknown preset '{config.preset}': use instant, quick, default or best.")
    if config.preset == "instant" and config.network not in ("auto", "linear"):
        raise InputError(
            f"--preset instant trains no network: leave --network {config.network} out, or use --preset quick."
        )
    if config.sigma is not None and not config.sigma > 0:
        raise InputError(f"--sigma must be positive, got {config.sigma}.")
    if config.crop < 16 or config.crop % 4:
        raise InputError(f"--crop must be a multiple of 4, at least 16, got {config.crop}.")
    if config.symmetries is not None and not 1 <= config.symmetries <= 16:
        raise InputError(f"--symmetries must be 1 to 16, got {config.symmetries}.")
    if config.steps is not None and config.steps < 1:
        raise InputError(f"--steps must be at least 1, got {config.steps}.")
    if not config.effort > 0:
        raise InputError(f"--effort must be positive, got {config.effort}.")
    if config.seconds is not None and not config.seconds > 0:
        raise InputError(f"--seconds must be positive, got {config.seconds}.")


def width_of(config: DenoiseConfig, region: BlindRegion, architecture: Architecture) -> int:
    """Channels of a network's first scale.

    Args:
        config: as configured.
        region: what the network hides.
        architecture: kind of network.

    Returns:
        The configured width, or that of the preset.
    """
    return config.width or architecture.hiding(region).widths.get(config.preset, 0)


def settings_of(
    config: DenoiseConfig, architecture: Architecture, objective: Goal, region: BlindRegion
) -> dict[str, Any]:
    """What the estimate keeps of how it was made.

    Args:
        config: as configured.
        architecture: kind of network.
        objective: what was minimised.
        region: hidden in training.

    Returns:
        Plain values by name.
    """
    return {
        **asdict(config),
        **architecture.settings(),
        "objective": objective,
        "width": width_of(config, region, architecture),
    }
