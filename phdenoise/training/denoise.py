"""`denoise`: a noisy movie in, its posterior mean and variance out, without clean labels."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from phdenoise.denoisers import (
    FRAME,
    PIXEL,
    UDVD,
    BlindRegion,
    Denoiser,
    Design,
    MovieArrays,
    at_least,
    build,
    from_weights,
    parse_region,
    posterior,
    predict_arrays,
    prepare,
)
from phdenoise.denoisers.context import REACH
from phdenoise.denoisers.core import design_of, noise_variance
from phdenoise.denoisers.masking import grid
from phdenoise.movie import Estimate, Movie
from phdenoise.noise import (
    Gaussian,
    NoiseEstimate,
    NoiseKind,
    Poisson,
    PoissonGaussian,
    defects,
    estimate_noise,
)
from phdenoise.noise.estimate import CORRELATED
from phdenoise.training.assemble import Problem, assemble, course
from phdenoise.training.calibrate import by_injection, by_likelihood
from phdenoise.training.checkpoint import Checkpoint
from phdenoise.training.distil import distilled, teachers
from phdenoise.training.memory import parse_memory, whole_fits
from phdenoise.training.objectives import JUDGED_PHASE, Goal, Objective, resolve
from phdenoise.training.seeing import lesson, see
from phdenoise.training.train import Plan, Progress, Run, Tune, start_run, train
from phdenoise.trust import judged
from phdenoise.types import InputError, Moments, NoiseModel

Preset = Literal["quick", "default", "best"]


@dataclass(frozen=True)
class _Preset:
    """Effort: steps at most, seconds for training, widths, crops per step, symmetries averaged."""

    steps: int
    seconds: float | None
    width: int
    udvd_width: int
    symmetries: int
    unet_width: int
    teachers: int = 0
    batch: int = 4


_PRESETS = {
    "quick": _Preset(1000, 35.0, 24, 12, 8, 16),
    "default": _Preset(4000, 140.0, 32, 24, 16, 24),
    "best": _Preset(20000, None, 48, 48, 16, 32, 3),
}
# Share of pixels kept from the loss, to calibrate the variance on.
_HELD_OUT = 0.05
# Held-out pixels from which on coverage is counted on them alone.
JUDGEABLE = 500
# Side of held-out blocks where noise correlates [px].
BLOCK = 8
# Share of the values that may be dead, hot or hit; where more seem to be, the scene is made of such.
MOST_DEFECTS = 0.1


@dataclass(frozen=True)
class DenoiseConfig:
    """How to denoise."""

    preset: Preset = "default"
    """Effort: quick (within 1 minute on two cores), default (within 3), best (as long as it takes)."""
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
    network: Literal["auto", "blind", "unet", "n2v"] = "auto"
    """blind hides the region by construction, unet sees the pixel itself, n2v is masked (Noise2Void); auto follows the objective."""
    objective: Objective = "nll"
    """nll learns mean and variance of each hidden pixel, mse the mean, counts the exact likelihood of Poisson noise; n2v the same on masks; a unet: noise2noise, supervised, sure (Gaussian noise), pure (counts)."""
    window: int | None = None
    """Frames each way that the network looks at, at most 16; by default 16, or 0 (single images) for n2v."""
    depth: int = 2
    """Times that a unet halves its resolution."""
    distill: int | None = None
    """Blind teachers that are averaged and teach one unet, kept if no worse; by default 3 with --preset best, else none."""
    seed: int = 0
    """Seed of weights, crops and held-out pixels; the same seed gives the same result."""
    steps: int | None = None
    """Training steps; by default the preset's, fewer where its time does not suffice or the movie is tiny."""
    seconds: float | None = None
    """Time for training [s]; by default the preset's."""
    width: int | None = None
    """Channels of the network's first scale; by default the preset's."""
    learning_rate: float = 3e-3
    """Peak learning rate of Adam."""
    symmetries: int | None = None
    """Reflections, quarter turns and time reversals (1 to 16) that the prediction averages; by default the preset's."""
    crop: int = 64
    """Side of training crops [px], a multiple of 4."""
    memory: str | None = None
    """Memory for all of phdenoise, such as 2GB; by default half of what is free. Larger movies are worked on in parts."""
    tune: Tune = "full"
    """What to train of a network that starts from given weights: full, gain (one factor per channel), none."""


def denoise(
    movie: Movie,
    config: DenoiseConfig | None = None,
    *,
    pretrained: Estimate | None = None,
    checkpoint: str | Path | None = None,
    progress: Progress | None = None,
    target: Movie | None = None,
    clean: Movie | None = None,
) -> Estimate:
    """Denoise a movie from itself, or with the help of another one.

    Args:
        movie: frames [t, y, x] in any unit and scale; NaN and masked pixels allowed.
        config: see `DenoiseConfig`.
        pretrained: an earlier result whose network is the start; its hidden region and width are kept, and
            `config.tune` says what may change. The linear part is fitted to this movie in any case.
        checkpoint: folder that keeps the training; an interrupted one goes on from there.
        progress: called with (step, steps, score on held-out pixels).
        target: a second exposure of the same frames, with noise of its own (objective noise2noise).
        clean: the clean movie (objective supervised).

    Returns:
        Estimate of the same shape and unit: mean and variance, blind prediction (of blind networks), noise, log.

    Raises:
        InputError: no valid pixel, a constant movie, or an impossible setting.
    """
    config = DenoiseConfig() if config is None else config
    check_config(config)
    if not whole_fits(movie.shape, parse_memory(config.memory)):
        # It stands on this module.
        from phdenoise.training.stream import denoise_in_memory

        if target is not None or clean is not None:
            raise InputError("A target or a clean movie is not used in parts: give more --memory.")
        return denoise_in_memory(
            movie, config, pretrained=pretrained, checkpoint=checkpoint, progress=progress
        )
    frames, valid = movie.frames, movie.valid()
    _check(movie, valid)
    found = estimate_noise(frames, valid, config.noise)
    good, full, said = _defects(frames, valid, found, config)
    if said:
        found = estimate_noise(frames, good, config.noise)
    noise, log = noise_model(movie, found, config)
    log += said
    # A saturated value tells the network about its surroundings, but it is no example of the scene's intensity.
    seen, valid = good | full, good
    measured = movie
    if said:
        movie = replace(movie, mask=good)
    choice = _choose(
        config, found, noise, pretrained, target=target is not None, clean=clean is not None
    )
    if choice.teachers or choice.design.sees:
        problem = Problem(
            movie,
            seen,
            full,
            noise,
            _field(found, noise) if found.blind == "frame" else noise,
            config.seed,
            config.symmetries or _PRESETS[config.preset].symmetries,
        )
        teach = partial(denoise, measured, progress=progress)
        return judged(
            _seeing(
                problem, choice, teach, [*log, *choice.log],
                pretrained, checkpoint, progress, target, clean,
            ),
            found,
        )  # fmt: skip
    learned = learn(
        movie,
        seen,
        found,
        noise,
        config,
        pretrained=pretrained,
        checkpoint=checkpoint,
        progress=progress,
    )
    # Float32, whatever the caller's default precision is.
    with jax.enable_x64(False):
        noisy, bound = (
            np.where(mask, frames, other).astype(np.float32)
            for mask, other in ((valid, np.nan), (full, -np.inf))
        )
        result = combined(learned.blind, noisy, bound, noise, counts=choice.objective == "counts")
    estimate = assemble(
        movie,
        result,
        noise,
        learned.denoiser,
        learned.run,
        [*log, *learned.log],
        learned.settings,
        blind=learned.blind,
    )
    test = held_out(frames.shape, config.seed, learned.region, choice.design) & valid
    return judged(estimate, found, test if test.sum() >= JUDGEABLE else None)


@dataclass(frozen=True)
class Learned:
    """A trained and calibrated denoiser.

    Attributes:
        denoiser: hides what is to be hidden at prediction; its variance is calibrated.
        scale: calibration of the variance that is averaged over symmetries, contained in the denoiser's.
        blind: blind mean and variance of the movie it learned from.
        region: hidden in training.
        symmetries: averaged by the prediction.
        run: the course of training.
        log: what a user should read.
        settings: what is needed to do it again.
    """

    denoiser: Denoiser
    scale: float
    blind: Moments
    region: BlindRegion
    symmetries: int
    run: Run
    log: tuple[str, ...]
    settings: dict[str, Any]


class _Choice(NamedTuple):
    """What a configuration comes to on a movie: its gaps filled, the network, what it minimises, how many teachers."""

    config: DenoiseConfig
    design: Design
    objective: Objective
    teachers: int
    log: tuple[str, ...]


def _choose(
    config: DenoiseConfig,
    found: NoiseEstimate,
    noise: NoiseModel,
    pretrained: Estimate | None,
    *,
    target: bool = False,
    clean: bool = False,
) -> _Choice:
    log: list[str] = []
    if pretrained is not None:
        config, log = _start_from(pretrained, config, found.blind)
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
    count = _teachers(config, objective, pretrained)
    return _Choice(config, _design(config, network), objective, count, tuple(log))


def learn(
    movie: Movie,
    seen: np.ndarray,
    found: NoiseEstimate,
    noise: NoiseModel,
    config: DenoiseConfig,
    *,
    pretrained: Estimate | None = None,
    checkpoint: str | Path | None = None,
    progress: Progress | None = None,
    test: Callable[[BlindRegion], np.ndarray] | None = None,
    stretches: int = 1,
) -> Learned:
    """Train on a movie and calibrate the predicted variance.

    Args:
        movie: its valid pixels are learned.
        seen: pixels that are inputs [t, y, x]; the valid ones and the saturated ones.
        found: the noise's correlation and what it asks to hide.
        noise: the noise model.
        config, pretrained, checkpoint, progress: as in `denoise`.
        test: pixels to hold out [t, y, x], by the hidden region; default `held_out`.
        stretches: equally long movies, one after the other, of which the movie consists.
    """
    frames, valid, blind = movie.frames, movie.valid(), found.blind
    config, design, objective, _, said = _choose(config, found, noise, pretrained)
    network, log = design.network, list(said)
    if design.sees or (test is not None and network != "blind"):
        raise InputError(
            f"--network {network} does not work on a movie in parts: give more --memory, or --network blind."
        )
    region = parse_region(_hidden(found, design) if config.blind == "auto" else config.blind)
    if design.network == "n2v" and (region.whole_frame or region.everywhen):
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
            f"--blind {region} needs at least 2 frames with valid pixels, {movie.name} has fewer: "
            "use --blind udvd."
        )
    if config.blind != "auto":
        log.append(f"Blind region '{region}', as asked.")
        if blind == "frame" and not region.whole_frame and network == "blind":
            log.append(
                f"Warning: the noise is correlated in space and '{region}' shows the network its "
                "neighbours: some noise will stay, and the variance is too small."
            )
    out = held_out(frames.shape, config.seed, region, design) if test is None else test(region)
    out = out & valid
    # Float32 from here on, whatever the caller's default precision is.
    with jax.enable_x64(False):
        denoiser, arrays, run = _train(
            movie, seen, out, stretches, noise, region, config, pretrained, checkpoint, progress,
            design=design, objective=objective,
        )  # fmt: skip
        denoiser = replace(denoiser, region=shown)
        symmetries = config.symmetries or _PRESETS[config.preset].symmetries
        blind_moments = predict_arrays(denoiser, arrays, frames.shape, symmetries=symmetries)
        if arrays.linear is not None and network == "blind":
            calibration = by_injection(
                denoiser,
                arrays,
                blind_moments,
                frames,
                valid,
                seen,
                noise,
                found.correlated(),
                jax.random.key(config.seed + 1),
                symmetries=symmetries,
            )
        else:
            calibration = by_likelihood(blind_moments, frames, out, noise)
        scale = jnp.float32(calibration.scale)
        denoiser = replace(denoiser, variance_scale=denoiser.variance_scale * scale)
        blind_moments = Moments(blind_moments.mean, scale * blind_moments.var)
    log += [course(run), calibration.sentence]
    settings = _settings(config, design, objective, region) | {
        "region": str(shown),
        "trained_region": str(region),
    }
    return Learned(
        denoiser, calibration.scale, blind_moments, region, symmetries, run, tuple(log), settings
    )


@partial(jax.jit, static_argnames="counts")
def combined(
    blind: Moments, noisy: Array, bound: Array, noise: NoiseModel, counts: bool = False
) -> Moments:
    """Blind prediction and measurement (NaN: none), not below its lower bounds (-inf: none)."""
    return at_least(posterior(blind, noisy, noise, counts=counts), bound)


def diverged(name: str, config: DenoiseConfig) -> str:
    """What to say where the result is not finite."""
    return f"Denoising {name} diverged: lower --learning-rate (now {config.learning_rate:g})."


def _seeing(
    problem: Problem,
    choice: _Choice,
    teach: Callable[..., Estimate],
    log: list[str],
    pretrained: Estimate | None,
    checkpoint: str | Path | None,
    progress: Progress | None,
    target: Movie | None,
    clean: Movie | None,
) -> Estimate:
    """The estimate of a network that sees the pixel it predicts: trained on a target, on a risk, or by teachers."""
    config, _, objective, count, _ = choice
    taught: list[Estimate] = []
    goal: Goal = objective
    if count:
        taught = teachers(lambda c, folder: teach(c, checkpoint=folder), config, count, checkpoint)
        goal, checkpoint = "distil", checkpoint and Path(checkpoint) / "student"
    design = _design(config, "unet")
    region = PIXEL if problem.field is problem.noise else FRAME
    settings = _settings(config, design, goal, region) | {"region": "none"}

    def learn(
        movie: Movie,
        seen: np.ndarray,
        noise: NoiseModel,
        value: np.ndarray | None,
        variance: np.ndarray | None,
    ) -> tuple[Denoiser, MovieArrays, Run, np.ndarray]:
        test = held_out(movie.shape, config.seed, region, design) & movie.valid()
        out = _train(
            movie, seen, test, 1, noise, region, config, pretrained, checkpoint, progress,
            design=design, objective=goal, target=value, target_var=variance,
        )  # fmt: skip
        return *out, test

    with jax.enable_x64(False):
        if taught:
            return distilled(problem, taught, learn, log, settings)
        learned = lesson(
            objective, problem.movie, problem.seen, problem.noise, target=target, clean=clean
        )
        return see(problem, learned, objective, learn, log, settings)


def _field(found: NoiseEstimate, noise: NoiseModel) -> NoiseModel:
    """The noise with its correlation in space."""
    if not isinstance(noise, Gaussian | Poisson | PoissonGaussian):
        return noise
    return replace(found, model=noise).correlated()


def _design(config: DenoiseConfig, network: str) -> Design:
    single = network == "n2v"
    window = config.window if config.window is not None else 0 if single else REACH[-1]
    return Design(network, window, config.depth)  # type: ignore[arg-type]


def _teachers(config: DenoiseConfig, objective: Objective, pretrained: Estimate | None) -> int:
    """How many teachers to ask; none where there is a network already."""
    blind = objective in ("nll", "mse", "counts") and config.network in ("auto", "blind")
    if config.distill is None:
        return _PRESETS[config.preset].teachers if blind and pretrained is None else 0
    if config.distill < 0 or (config.distill and (not blind or pretrained is not None)):
        raise InputError(
            "--distill is a number of blind teachers, trained anew: leave out --weights, --objective, --network."
        )
    return config.distill


def _hidden(found: NoiseEstimate, design: Design) -> str:
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


def _settings(
    config: DenoiseConfig, design: Design, objective: Goal, region: BlindRegion
) -> dict[str, Any]:
    """What the estimate keeps of how it was made."""
    return {
        **asdict(config),
        **asdict(design),
        "objective": objective,
        "width": _width(config, region, design),
    }


def _check(movie: Movie, valid: np.ndarray) -> None:
    if not valid.any():
        raise InputError(f"{movie.name} has no valid pixel: every value is NaN or masked.")
    values = movie.frames[valid]
    if np.ptp(values) == 0:
        raise InputError(
            f"{movie.name} is constant ({values[0]:g} everywhere): there is nothing to denoise."
        )


def check_config(config: DenoiseConfig) -> None:
    """Refuse impossible settings.

    Raises:
        InputError: naming the flag.
    """
    if config.preset not in _PRESETS:
        raise InputError(f"Unknown preset '{config.preset}': use quick, default or best.")
    if config.sigma is not None and not config.sigma > 0:
        raise InputError(f"--sigma must be positive, got {config.sigma}.")
    if config.crop < 16 or config.crop % 4:
        raise InputError(f"--crop must be a multiple of 4, at least 16, got {config.crop}.")
    if config.symmetries is not None and not 1 <= config.symmetries <= 16:
        raise InputError(f"--symmetries must be 1 to 16, got {config.symmetries}.")
    if config.steps is not None and config.steps < 1:
        raise InputError(f"--steps must be at least 1, got {config.steps}.")
    if config.seconds is not None and not config.seconds > 0:
        raise InputError(f"--seconds must be positive, got {config.seconds}.")


def _defects(
    frames: np.ndarray, valid: np.ndarray, found: NoiseEstimate, config: DenoiseConfig
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Where to learn [t, y, x], which of the others are saturated, and what to say about it."""
    none = np.zeros_like(valid)
    if config.defects == "keep":
        return valid, none, []
    bad = defects(frames, valid, found.model)
    mask, full = bad.mask & valid, bad.saturated & valid
    if not mask.any():
        return valid, none, []
    if (mask & ~full).sum() > MOST_DEFECTS * valid.sum() or mask.sum() == valid.sum():
        share = 100 * mask.sum() / valid.sum()
        return valid, none, [f"{share:.0f} % of the values look defective: too many, all are kept."]
    return valid & ~mask, full, [f"Masked: {s}" for s in bad.sentences]


def noise_model(
    movie: Movie, found: NoiseEstimate, config: DenoiseConfig
) -> tuple[NoiseModel, list[str]]:
    """The noise model to use, and what to say about it."""
    log = list(found.sentences)
    if config.sigma is not None:
        log.append(f"Gaussian noise of sigma = {config.sigma:g}, as given.")
        return Gaussian(jnp.float32(config.sigma)), log
    if movie.noise is not None and config.noise == "auto":
        log.append("Noise model of the file used.")
        return movie.noise, log
    return found.model, log


def _width(config: DenoiseConfig, region: BlindRegion, design: Design) -> int:
    preset = _PRESETS[config.preset]
    if design.network != "blind":
        return config.width or preset.unet_width
    return config.width or (preset.udvd_width if region.everywhen else preset.width)


def _start_from(
    pretrained: Estimate, config: DenoiseConfig, blind: str
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
    if parse_region(blind).whole_frame and not parse_region(region).whole_frame:
        log.append(
            "Warning: the noise of this movie is correlated in space, that of the network's movie was "
            "not: some noise will stay."
        )
    return replace(config, blind=region, **known), log


def _train(
    movie: Movie,
    seen: np.ndarray,
    test: np.ndarray,
    stretches: int,
    noise: NoiseModel,
    region: BlindRegion,
    config: DenoiseConfig,
    pretrained: Estimate | None,
    checkpoint: str | Path | None,
    progress: Progress | None,
    *,
    design: Design,
    objective: Goal,
    target: np.ndarray | None = None,
    target_var: np.ndarray | None = None,
) -> tuple[Denoiser, MovieArrays, Run]:
    """The trained denoiser, the movie as it sees it, and the training's record.

    Only valid pixels of the movie are learned, but for those of `test`; `seen` [t, y, x] are its inputs; `target`
    and its variance [t, y, x] are what seeing networks learn.
    """
    frames, valid = movie.frames, movie.valid()
    values = frames[valid].astype(np.float64)
    # The middle of the intensities and their spread; a movie of mostly background has a tiny inner range.
    spread = max(float(np.std(values)), float(np.finfo(np.float32).tiny))
    make = partial(
        build,
        region,
        width=_width(config, region, design),
        design=design,
        centre=float(np.mean(values)),
        spread=spread,
        seed=config.seed,
    )
    denoiser = make()
    # No context reaches from one stretch to another.
    present = np.split(np.any(seen, axis=(1, 2)), stretches)
    weights = np.concatenate([denoiser.context_weights(p) for p in present])
    arrays = prepare(denoiser, frames, seen, valid & ~test, weights=weights)
    if arrays.linear is not None:
        denoiser = make(doubt=_doubt(denoiser, arrays, noise))
    if pretrained is not None:
        width = _width(config, region, design)
        known = from_weights(dict(pretrained.weights), region, width=width, design=design)
        denoiser = replace(denoiser, state=known.state, variance_scale=known.variance_scale)
    pad = [(0, a - b) for a, b in zip(arrays.seen.shape, frames.shape, strict=True)]
    learned, judged = (
        jnp.asarray(np.pad(m.astype(np.float32), pad)) for m in (valid & ~test, test)
    )
    if target is not None:
        scaled = (target - float(denoiser.centre)) / spread
        var = None if target_var is None else target_var / spread**2
        value, doubt = (
            None if a is None else jnp.asarray(np.pad(a, pad), jnp.float32) for a in (scaled, var)
        )
        arrays = replace(arrays, target=value, target_var=doubt)
    stride = design.stride
    side = tuple(
        min(max(config.crop // stride, 1) * stride, n // stride * stride)
        for n in arrays.seen.shape[1:]
    )
    if denoiser.everywhen:
        side = (min(side),) * 2
    preset = _PRESETS[config.preset]
    steps = preset.steps
    seconds = preset.seconds if config.seconds is None else config.seconds
    if config.tune == "none":
        steps, seconds = 0, None
    elif config.steps:
        steps, seconds = config.steps, None
    else:
        # A tiny movie is learned by heart in fewer steps.
        enough = 600 * valid.sum() / (preset.batch * side[0] * side[1])
        steps = int(np.clip(enough, min(100, steps), steps))
    # Twice the standard error of the mean of as many independent losses.
    independent = test.sum() / (1 if region in (PIXEL, UDVD) else BLOCK**2 / 4)
    plan = Plan(
        steps,
        seconds,
        config.learning_rate,
        preset.batch,
        (side[0], side[1]),
        objective,
        float(1.5 / np.sqrt(max(independent, 1))),
        config.tune,
    )
    start, save = None, None
    if checkpoint is not None:
        others = [a for a in (target, target_var) if a is not None]
        kept = Checkpoint(checkpoint, _identity(movie, config, pretrained, others))
        start, save = kept.load(start_run(denoiser, config.tune)), kept.save
    denoiser, run = train(
        denoiser,
        arrays,
        learned,
        judged,
        noise,
        jax.random.key(config.seed),
        plan,
        run=start,
        save=save,
        progress=progress,
    )
    return denoiser, arrays, run


def _identity(
    movie: Movie, config: DenoiseConfig, pretrained: Estimate | None, others: list[np.ndarray]
) -> str:
    """Names what a training depends on: the frames, what they are to become, the settings, the first weights."""
    digest = hashlib.sha256(np.ascontiguousarray(movie.frames).tobytes())
    for array in (movie.valid(), *others):
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(repr(replace(config, memory=None)).encode())
    if pretrained is not None:
        for name in sorted(pretrained.weights):
            digest.update(np.ascontiguousarray(pretrained.weights[name]).tobytes())
    return digest.hexdigest()


def _doubt(denoiser: Denoiser, arrays: MovieArrays, noise: NoiseModel) -> float:
    """Standard deviation of the linear prediction's error, in the network's units."""
    assert arrays.linear is not None
    reach = arrays.weights.shape[2] // 2
    scaled = arrays.padded[reach:-reach]
    linear = arrays.linear[:, -1]
    mean = denoiser.centre + denoiser.spread * linear
    own = noise_variance(noise, Moments(mean, jnp.zeros_like(mean))) / denoiser.spread**2
    error = jnp.sum(arrays.seen * ((scaled - linear) ** 2 - own)) / jnp.sum(arrays.seen)
    # Where noise hides the error, a tenth of the noise stands for it.
    floor = 0.01 * jnp.mean(own) + 1e-8
    return float(jnp.sqrt(jnp.maximum(error, floor)))


def held_out(
    shape: tuple[int, ...],
    seed: int,
    region: BlindRegion,
    design: Design | None = None,
    frames: slice | None = None,
) -> np.ndarray:
    """The pixels that training does not see as targets [t, y, x], of all or of some frames.

    Single pixels, or blocks where noise correlates: a pixel's noise would be known from its neighbours. A grid for
    masked networks, which predict one in each pass.
    """
    if design is not None and design.network == "n2v":
        centres, _ = grid((shape[1], shape[2]), region, jnp.asarray(JUDGED_PHASE))
        return np.broadcast_to(np.asarray(centres), shape).copy()
    side = 1 if region in (PIXEL, UDVD) else BLOCK
    t, ny, nx = shape
    wanted = range(t)[frames or slice(None)]
    cells = (len(wanted), -(-ny // side), -(-nx // side))
    # One draw of the generator a cell: those of earlier frames are skipped.
    bits = np.random.PCG64([seed, 5]).advance(wanted.start * cells[1] * cells[2])
    chosen = np.random.Generator(bits).random(cells) < _HELD_OUT
    return chosen.repeat(side, axis=1).repeat(side, axis=2)[:, :ny, :nx]
