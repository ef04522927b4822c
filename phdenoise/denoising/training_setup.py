"""The training of a network on a movie: what it is shown, where it begins, how long it goes on."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from phdenoise.denoising.config import PRESETS, DenoiseConfig, width_of
from phdenoise.denoising.outliers import Outliers
from phdenoise.denoising.preprocessing import MAX_DEFECT_SHARE
from phdenoise.movie import Estimate, Movie
from phdenoise.networks.architecture import Architecture
from phdenoise.networks.base import SPREAD, Denoiser, build, from_prior, from_weights
from phdenoise.networks.centre_blind import DILATED_LAYERS
from phdenoise.networks.context import BlindRegion, MovieArrays
from phdenoise.networks.predict import prepare
from phdenoise.noise.estimate import NoiseEstimate
from phdenoise.training.checkpoint import Checkpoint
from phdenoise.training.held_out import interior
from phdenoise.training.loop import Hooks, Run, start_run, train
from phdenoise.training.objectives import Goal
from phdenoise.training.optimiser import TrainingPlan, score
from phdenoise.types import InputError, Moments, NoiseModel, Steps
from phdenoise.uncertainty.temporal_correlation import choose_untrained_network, noise_sharing

# Factors of the learning rate and of the steps where training starts from weights learned on simulated scenes, which it should
# refine and not undo. The best weights are kept by the held-out score, so that a poor factor costs time and not quality.
PRIOR_RATE, PRIOR_STEPS = 1 / 15, 1 / 2
# Error variance of the linear prediction, over the noise variance, from which on a network has a dilated part, which costs time:
# the pixels around then add to what other frames predict.
DILATED_FROM = 0.25
# Times that each pixel of a movie is in a crop on average, at most, and the least steps: a tiny movie is fitted in fewer steps.
CROPS_PER_PIXEL, LEAST_STEPS = 600, 100
# Standard errors of a score that a later score must be worse by to count as clearly worse; the sd of a loss is about 0.75.
MARGIN = 1.5
# Error variance of the linear prediction where noise hides it, as a share of the noise variance: a tenth of the noise's sd.
HIDDEN_ERROR = 0.01


class Task(NamedTuple):
    """What a network is trained on, and what for.

    Attributes:
        movie: its valid pixels are learned, but for those of `test`.
        seen: pixels that are inputs of the network [t, y, x].
        test: pixels kept from the loss [t, y, x].
        noise: noise model.
        region: what is hidden.
        architecture: kind of network.
        objective: what is minimised.
        found: what is known of the noise; None for networks that are not blind.
        instead: hidden in place of `region` where training then starts from a better prediction.
        stretches: equally long movies, one after the other, of which the movie consists.
        target, target_var: what to predict, and its variance [t, y, x]; None where the movie itself is the target.
    """

    movie: Movie
    seen: np.ndarray
    test: np.ndarray
    noise: NoiseModel
    region: BlindRegion
    architecture: Architecture
    objective: Goal
    found: NoiseEstimate | None = None
    instead: BlindRegion | None = None
    stretches: int = 1
    target: np.ndarray | None = None
    target_var: np.ndarray | None = None

    @property
    def reach(self) -> tuple[int, int]:
        """Farthest lags (y, x) at which the noise correlates [px]."""
        return (0, 0) if self.found is None else self.found.reach()


class Trained(NamedTuple):
    """What training comes to.

    Attributes:
        denoiser: with the best weights.
        arrays: the movie in the network's units.
        run: the training's record.
        begun: a sentence on where it began.
        start: the network before it was trained on this movie.
        odd: outliers, which were not learned [t, y, x].
        outliers: test of outliers; None where there is none.
    """

    denoiser: Denoiser
    arrays: MovieArrays
    run: Run
    begun: str
    start: Denoiser
    odd: np.ndarray
    outliers: Outliers | None


class _Prepared(NamedTuple):
    """A fresh network, the movie that it is shown, and which pixels are learned and held out [t, y, x].

    `make` builds another network for a region and an architecture; `dilated` says whether a dilated part is worth its cost.
    """

    denoiser: Denoiser
    arrays: MovieArrays
    make: Callable[[BlindRegion, Architecture], Denoiser]
    learned: np.ndarray
    test: np.ndarray
    odd: np.ndarray
    outliers: Outliers | None
    dilated: bool


def train_network(
    task: Task,
    config: DenoiseConfig,
    pretrained: Estimate | None = None,
    checkpoint: str | Path | None = None,
    progress: Steps | None = None,
) -> Trained:
    """Train a network on a movie.

    Args:
        task: movie, network and objective.
        config: effort; see `DenoiseConfig`.
        pretrained: an earlier result whose weights are the start.
        checkpoint: folder that keeps the training.
        progress: called with (step, steps, score on held-out pixels).

    Returns:
        The trained network.

    Raises:
        InputError: the checkpoint is of another training, or the network cannot be used with noise that is correlated in time.
    """
    prepared = _prepared(task, config)
    denoiser, noise, architecture = prepared.denoiser, task.noise, task.architecture
    lasts = denoiser.sharing.lasts
    start = denoiser
    if pretrained is not None:
        denoiser = _with_weights_of(pretrained, denoiser, task, config)
    unknown = interior(prepared.test, task.region, task.reach)
    learned, judged = (_padded(m, prepared.arrays) for m in (prepared.learned, unknown))
    arrays = _with_target(prepared.arrays, task, denoiser)
    plan = _plan(task, config, arrays, prepared, unknown)
    begun = "Started from the network given."
    if pretrained is None and lasts and task.found is not None:
        if not denoiser.architecture.starts_linear:
            raise InputError(
                f"The noise of {task.movie.name} is correlated in time, and the network '{architecture.name}' would learn it: "
                "use --network blind."
            )
        frames, fitted = task.movie.frames, prepared.learned
        start, begun = choose_untrained_network(
            denoiser, arrays, frames, task.seen, fitted, noise, task.found
        )
        denoiser = start
    elif pretrained is None:
        other = None if task.instead is None else prepared.make(task.instead, architecture)
        if prepared.dilated:
            denoiser = prepared.make(task.region, architecture.with_dilated_context(task.region))
        masks = (judged, judged + learned)
        start, plan, begun = _begin(denoiser, arrays, masks, noise, plan, config, other)
        denoiser = start
        if prepared.dilated:
            begun += " Other frames predict little of a frame: a dilated part of the network uses the pixels around."
    run, save = None, None
    if checkpoint is not None:
        others = [a for a in (task.target, task.target_var) if a is not None]
        kept = Checkpoint(checkpoint, _identity(task.movie, config, pretrained, others))
        run, save = kept.load(start_run(denoiser, config.tune)), kept.save
    key = jax.random.key(config.seed)
    denoiser, run = train(
        denoiser, arrays, learned, judged, noise, key, plan, Hooks(run, save, progress)
    )
    return Trained(denoiser, arrays, run, begun, start, prepared.odd, prepared.outliers)


def _prepared(task: Task, config: DenoiseConfig) -> _Prepared:
    """The network before its training, the movie for it, and its outliers."""
    frames, valid, test = task.movie.frames, task.movie.valid(), task.test
    values = frames[valid].astype(np.float64)
    # The standard deviation, since a movie of mostly background has a tiny range between quantiles.
    spread = max(float(np.std(values)), float(np.finfo(np.float32).tiny))
    make = partial(
        build,
        width=width_of(config, task.region, task.architecture),
        centre=float(np.mean(values)),
        spread=spread,
        seed=config.seed,
    )
    architecture = task.architecture.hiding(task.region)
    if task.found is not None and architecture.refines_linear:
        make = partial(make, sharing=noise_sharing(task.found, task.noise, spread))
    denoiser = make(task.region, task.architecture)
    # No context reaches from one stretch to another.
    present = np.split(np.any(task.seen, axis=(1, 2)), task.stretches)
    weights = np.concatenate([architecture.context_weights(p) for p in present])
    arrays = prepare(denoiser, frames, task.seen, valid & ~test, weights=weights)
    odd, outliers, dilated = np.zeros_like(valid), None, False
    if arrays.linear is not None:
        sd = _linear_error(denoiser, arrays, task.noise)
        level = float(jnp.mean(task.noise.variance(jnp.asarray(values, jnp.float32)))) / spread**2
        dilated = (
            architecture.with_dilated_context(task.region) != architecture
            and sd**2 > DILATED_FROM * level
        )
        make = partial(make, initial_sd=sd)
        denoiser = make(task.region, task.architecture)
        if task.found is not None and config.defects == "mask":
            t, ny, nx = (slice(0, n) for n in frames.shape)
            shown = (denoiser, arrays, task.noise, (t, ny, nx))
            outliers = Outliers(sd * spread).calmed(*shown)
            # A saturated value that is alone was no scene either.
            odd = task.seen & outliers(*shown)
            # Where many values seem to be outliers, the scene is made of such.
            if odd.sum() > MAX_DEFECT_SHARE * valid.sum():
                odd, outliers = np.zeros_like(valid), None
            valid, test = valid & ~odd, test & ~odd
    return _Prepared(denoiser, arrays, make, valid & ~test, test, odd, outliers, dilated)


def _with_weights_of(
    pretrained: Estimate, denoiser: Denoiser, task: Task, config: DenoiseConfig
) -> Denoiser:
    """The denoiser with the weights of an earlier result; scale and sharing are this movie's."""
    width = width_of(config, task.region, task.architecture)
    known = from_weights(pretrained.weights, task.region, task.architecture, width=width)
    return replace(known, centre=denoiser.centre, spread=denoiser.spread, sharing=denoiser.sharing)


def _padded(mask: np.ndarray, arrays: MovieArrays) -> jax.Array:
    """Values [t, y, x] with zeros up to the size of the arrays."""
    pad = [(0, a - b) for a, b in zip(arrays.seen.shape, mask.shape, strict=True)]
    return jnp.asarray(np.pad(mask, pad), jnp.float32)


def _with_target(arrays: MovieArrays, task: Task, denoiser: Denoiser) -> MovieArrays:
    """The arrays with the target in the network's units, if there is one."""
    if task.target is None:
        return arrays
    spread = float(denoiser.spread)
    scaled = (task.target - float(denoiser.centre)) / spread
    var = None if task.target_var is None else _padded(task.target_var / spread**2, arrays)
    return replace(arrays, target=_padded(scaled, arrays), target_var=var)


def _plan(
    task: Task,
    config: DenoiseConfig,
    arrays: MovieArrays,
    prepared: _Prepared,
    unknown: np.ndarray,
) -> TrainingPlan:
    """How long and how to train; `unknown` are the pixels that judge."""
    architecture = prepared.denoiser.architecture
    side = architecture.crop_shape((arrays.seen.shape[1], arrays.seen.shape[2]), config.crop)
    preset = PRESETS[config.preset]
    steps, seconds, work = preset.steps, config.seconds, None
    if config.tune == "none" or not architecture.trains or prepared.denoiser.sharing.lasts:
        # Noise that is correlated in time would be learned: other frames predict it.
        steps, seconds = 0, None
    elif config.steps:
        steps, seconds = config.steps, None
    else:
        pixels = int(prepared.learned.sum() + prepared.test.sum())
        enough = CROPS_PER_PIXEL * pixels / (preset.batch * side[0] * side[1])
        steps = int(np.clip(enough, min(LEAST_STEPS, steps), steps))
        if seconds is None and preset.work is not None:
            work = config.effort * preset.work
    independent = unknown.sum() / np.prod([2 * r + 1 for r in task.reach])
    return TrainingPlan(
        steps,
        seconds,
        config.learning_rate,
        preset.batch,
        side,
        task.objective,
        float(MARGIN / np.sqrt(max(independent, 1))),
        config.tune,
        work=work,
    )


def _begin(
    fresh: Denoiser,
    arrays: MovieArrays,
    masks: tuple[jax.Array, jax.Array],
    noise: NoiseModel,
    plan: TrainingPlan,
    config: DenoiseConfig,
    instead: Denoiser | None,
) -> tuple[Denoiser, TrainingPlan, str]:
    """Where training starts, what is hidden of the two, how it goes on from there, and what to say of it.

    `masks` are the held-out pixels, and all pixels.
    """
    said = f"Started from {fresh.architecture.start}"
    prior = from_prior(fresh, missing=True) if config.start == "prior" else None
    if prior is None or arrays.linear is None:
        return fresh, plan, f"{said}."
    judged, valid = masks
    loss, linear = (score(d, d.state, arrays, judged, noise, plan) for d in (prior, fresh))
    hidden, other = "", None if instead is None else from_prior(instead)
    if other is not None:
        # Neither has learned a pixel of this movie: all of them judge, the held-out ones are few.
        whole, part = (score(d, d.state, arrays, valid, noise, plan) for d in (prior, other))
        gain = whole - part
        if gain > 0:
            loss, prior = loss - gain, other
        hidden = f" It hides '{prior.region}': showing what is beyond {other.region} of the frame gains {gain:.2g}."
    if not loss < linear:
        return fresh, plan, f"{said} (held-out loss {linear:.5g}; simulated scenes: {loss:.5g})."
    rate = PRIOR_RATE * plan.learning_rate
    steps = plan.steps if config.steps else int(PRIOR_STEPS * plan.steps) + 1
    said = "Started from a network that was trained on simulated scenes"
    found = f"held-out loss {loss:.5g}; best blind linear filter: {linear:.5g}"
    plan = replace(
        plan, steps=steps, learning_rate=rate, kept=SPREAD, fresh=(DILATED_LAYERS, 1 / PRIOR_RATE)
    )
    return prior, plan, f"{said} ({found}).{hidden}"


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


def _linear_error(denoiser: Denoiser, arrays: MovieArrays, noise: NoiseModel) -> float:
    """Standard deviation of the linear prediction's error, in the network's units."""
    assert arrays.linear is not None
    reach = arrays.weights.shape[2] // 2
    scaled = arrays.padded[reach:-reach]
    linear = arrays.linear[:, -1]
    mean = denoiser.measured(linear)
    own = noise.expected_variance(Moments(mean, jnp.zeros_like(mean))) / denoiser.spread**2
    error = jnp.sum(arrays.seen * ((scaled - linear) ** 2 - own)) / jnp.sum(arrays.seen)
    floor = HIDDEN_ERROR * jnp.mean(own) + 1e-8
    return float(jnp.sqrt(jnp.maximum(error, floor)))
