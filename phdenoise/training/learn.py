"""From a movie to a trained and calibrated denoiser of it."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from phdenoise.denoisers import (
    PIXEL,
    SPREAD,
    UDVD,
    BlindRegion,
    Denoiser,
    Design,
    MovieArrays,
    build,
    from_prior,
    from_weights,
    parse_region,
    predict_arrays,
    prepare,
)
from phdenoise.denoisers.context import REACH
from phdenoise.denoisers.core import design_of, noise_variance
from phdenoise.denoisers.doubt import Doubt
from phdenoise.denoisers.masking import grid
from phdenoise.movie import Estimate, Movie
from phdenoise.noise import (
    NoiseEstimate,
)
from phdenoise.noise.estimate import CORRELATED
from phdenoise.training.assemble import course
from phdenoise.training.calibrate import by_error, by_likelihood
from phdenoise.training.checkpoint import Checkpoint
from phdenoise.training.config import (
    PRESETS,
    DenoiseConfig,
    design_of_config,
    settings_of,
    width_of,
)
from phdenoise.training.gaps import Gaps, by_hiding
from phdenoise.training.objectives import JUDGED_PHASE, Goal, Objective, resolve
from phdenoise.training.train import Plan, Run, score, start_run, train
from phdenoise.types import InputError, Moments, NoiseModel, Progress, Steps, stage

# Share of pixels kept from the loss, to calibrate the variance on.
_HELD_OUT = 0.05
# Held-out pixels from which on coverage is counted on them alone.
JUDGEABLE = 500
# Of the learning rate and of the steps where training starts from the prior: it has less to learn, and something to lose.
FROM_PRIOR, FEWER = 1 / 15, 1 / 2
# Side of held-out blocks where noise correlates [px]; half of it in frames of less than SMALL.
BLOCK, SMALL = 16, 64


@dataclass(frozen=True)
class Learned:
    """A trained and calibrated denoiser.

    Attributes:
        denoiser: hides what is to be hidden at prediction; its variance is calibrated.
        noise, found: the noise model and the estimate, which may have turned out to be quieter.
        scale: calibration of the variance that is averaged over symmetries, contained in the denoiser's.
        doubt: what makes the variance, in place of that scale; None for networks without linear predictions.
        gaps: calibration of frames without a measurement, not contained in the denoiser's.
        blind: blind mean and variance of the movie it learned from.
        region: hidden in training.
        symmetries: averaged by the prediction.
        run: the course of training.
        log: what a user should read.
        settings: what is needed to do it again.
    """

    denoiser: Denoiser
    noise: NoiseModel
    found: NoiseEstimate
    scale: float
    doubt: Doubt | None
    gaps: Gaps | None
    blind: Moments
    region: BlindRegion
    symmetries: int
    run: Run
    log: tuple[str, ...]
    settings: dict[str, Any]


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
    return Choice(config, design_of_config(config, network), objective, count, tuple(log))


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
    present: np.ndarray | None = None,
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
        present: frames [n] of the whole movie that were measured; default those of this one.
    """
    frames, valid, blind = movie.frames, movie.valid(), found.blind
    config, design, objective, _, said = choose(config, found, noise, pretrained)
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
        denoiser, arrays, run, begun, start = train_on(
            movie, seen, out, stretches, noise, region, config, pretrained, checkpoint,
            stage(progress, "training"), design=design, objective=objective, reach=found.reach(),
        )  # fmt: skip
        denoiser = replace(denoiser, region=shown)
        symmetries = config.symmetries or PRESETS[config.preset].symmetries
        blind_moments = predict_arrays(
            denoiser,
            arrays,
            frames.shape,
            symmetries=symmetries,
            progress=stage(progress, "prediction"),
        )
        if arrays.linear is not None and network == "blind":
            calibration = by_error(
                replace(start, region=shown),
                arrays,
                blind_moments,
                frames,
                valid,
                seen,
                out,
                interior(out, region, found.reach()),
                noise,
                found,
                jax.random.key(config.seed + 1),
                progress=progress,
            )
        else:
            calibration = by_likelihood(blind_moments, frames, out, noise)
        if noise is found.model:
            found = found.scaled(calibration.noise)
            noise = found.model
        scale, doubt = jnp.float32(calibration.scale), calibration.doubt
        found_var = calibration.variance
        blind_moments = Moments(
            blind_moments.mean, scale * blind_moments.var if found_var is None else found_var
        )
        denoiser = replace(denoiser, variance_scale=denoiser.variance_scale * scale)
        measured = np.asarray(seen.any(axis=(1, 2)))
        everywhere = measured if present is None else present
        gaps = by_hiding(
            denoiser, blind_moments, frames, valid, seen, everywhere,
            stretches=stretches, symmetries=symmetries, progress=stage(progress, "hidden frames"),
        )  # fmt: skip
        if gaps is not None:
            factors = jnp.asarray(gaps.factors(measured))[:, None, None]
            blind_moments = Moments(blind_moments.mean, factors * blind_moments.var)
            log.append(gaps.sentence(everywhere))
    log += [begun, course(run), calibration.sentence]
    settings = settings_of(config, design, objective, region) | {
        "region": str(shown),
        "trained_region": str(region),
    }
    return Learned(
        denoiser,
        noise,
        found,
        calibration.scale,
        doubt,
        gaps,
        blind_moments,
        region,
        symmetries,
        run,
        tuple(log),
        settings,
    )


def train_on(
    movie: Movie,
    seen: np.ndarray,
    test: np.ndarray,
    stretches: int,
    noise: NoiseModel,
    region: BlindRegion,
    config: DenoiseConfig,
    pretrained: Estimate | None,
    checkpoint: str | Path | None,
    progress: Steps | None,
    *,
    design: Design,
    objective: Goal,
    target: np.ndarray | None = None,
    target_var: np.ndarray | None = None,
    reach: tuple[int, int] = (0, 0),
) -> tuple[Denoiser, MovieArrays, Run, str, Denoiser]:
    """The trained denoiser, the movie as it sees it, the training's record, a sentence on where it began, and a network
    there that never saw this movie.

    Only valid pixels of the movie are learned, but for those of `test`; `seen` [t, y, x] are its inputs; `target`
    and its variance [t, y, x] are what seeing networks learn. The noise correlates over `reach` [px].
    """
    frames, valid = movie.frames, movie.valid()
    values = frames[valid].astype(np.float64)
    # The middle of the intensities and their spread; a movie of mostly background has a tiny inner range.
    spread = max(float(np.std(values)), float(np.finfo(np.float32).tiny))
    make = partial(
        build,
        region,
        width=width_of(config, region, design),
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
    unseeing = denoiser
    if pretrained is not None:
        width = width_of(config, region, design)
        known = from_weights(dict(pretrained.weights), region, width=width, design=design)
        denoiser = replace(denoiser, state=known.state, variance_scale=known.variance_scale)
    pad = [(0, a - b) for a, b in zip(arrays.seen.shape, frames.shape, strict=True)]
    unknown = interior(test, region, reach)
    learned, judged = (
        jnp.asarray(np.pad(m.astype(np.float32), pad)) for m in (valid & ~test, unknown)
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
    preset = PRESETS[config.preset]
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
    independent = unknown.sum() / np.prod([2 * r + 1 for r in reach])
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
    begun = "Started from the network given."
    if pretrained is None:
        denoiser, plan, begun = _begin(denoiser, arrays, judged, noise, plan, config)
        unseeing = denoiser
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
    return denoiser, arrays, run, begun, unseeing


def _begin(
    fresh: Denoiser,
    arrays: MovieArrays,
    judged: jax.Array,
    noise: NoiseModel,
    plan: Plan,
    config: DenoiseConfig,
) -> tuple[Denoiser, Plan, str]:
    """Where training starts, how it goes on from there, and what to say of it."""
    if arrays.linear is None:
        return fresh, plan, "Started from random weights."
    said = "Started from the best blind linear filter"
    other = from_prior(fresh) if config.start == "prior" else None
    if other is None:
        return fresh, plan, f"{said}."
    linear, prior = (score(d, d.state, arrays, judged, noise, plan) for d in (fresh, other))
    if not prior < linear:
        return fresh, plan, f"{said} (held-out loss {linear:.5g}; simulated scenes: {prior:.5g})."
    rate = FROM_PRIOR * plan.learning_rate
    steps = plan.steps if config.steps else int(FEWER * plan.steps) + 1
    said = "Started from a network that has seen simulated scenes"
    found = f"held-out loss {prior:.5g}; best blind linear filter: {linear:.5g}"
    plan = replace(plan, steps=steps, learning_rate=rate, kept=SPREAD)
    return other, plan, f"{said} ({found})."


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
    t, ny, nx = shape
    side = 1 if region in (PIXEL, UDVD) else BLOCK if min(ny, nx) >= SMALL else BLOCK // 2
    wanted = range(t)[frames or slice(None)]
    cells = (len(wanted), -(-ny // side), -(-nx // side))
    # One draw of the generator a cell: those of earlier frames are skipped.
    bits = np.random.PCG64([seed, 5]).advance(wanted.start * cells[1] * cells[2])
    chosen = np.random.Generator(bits).random(cells) < _HELD_OUT
    return chosen.repeat(side, axis=1).repeat(side, axis=2)[:, :ny, :nx]


def interior(test: np.ndarray, region: BlindRegion, reach: tuple[int, int]) -> np.ndarray:
    """The held-out pixels whose noise no learned pixel shares, or those that share the least [t, y, x].

    A network that learns its targets' noise by heart looks better at the rim of a block than it is.
    """
    if region in (PIXEL, UDVD):
        return test
    for less in range(max(reach) + 1):
        near = np.ones((1, *(2 * max(r - less, 0) + 1 for r in reach)), bool)
        inner: np.ndarray = ndimage.binary_erosion(test, near, border_value=1)
        if inner.any():
            return inner
    return test


def _teachers(config: DenoiseConfig, objective: Objective, pretrained: Estimate | None) -> int:
    """How many teachers to ask; none where there is a network already."""
    blind = objective in ("nll", "mse", "counts") and config.network in ("auto", "blind")
    if config.distill is None:
        return PRESETS[config.preset].teachers if blind and pretrained is None else 0
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
