"""The training of a network on a movie: what it is shown, where it begins, how long it goes on."""

import hashlib
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from phdenoise.denoisers import (
    PIXEL,
    SPREAD,
    BlindRegion,
    Denoiser,
    Design,
    MovieArrays,
    build,
    from_prior,
    from_weights,
    prepare,
)
from phdenoise.denoisers.centre_blind import LOOKS
from phdenoise.denoisers.core import noise_variance
from phdenoise.denoisers.outliers import Outliers
from phdenoise.movie import Estimate, Movie
from phdenoise.noise import NoiseEstimate
from phdenoise.training.checkpoint import Checkpoint
from phdenoise.training.config import (
    PRESETS,
    DenoiseConfig,
    width_of,
)
from phdenoise.training.held_out import interior
from phdenoise.training.lasting import nearest, sharing_of
from phdenoise.training.measure import MOST_DEFECTS
from phdenoise.training.objectives import Goal
from phdenoise.training.train import Plan, Run, score, start_run, train
from phdenoise.types import Moments, NoiseModel, Steps

# Of the learning rate and of the steps where training starts from the prior: it has less to learn, and something to lose.
FROM_PRIOR, FEWER = 1 / 15, 1 / 2
# Channels of the part that looks around the pixel, and the error of what other frames tell, over the noise's variance, from which on
# a network has it.
AROUND, ALONE = 16, 0.25


class Trained(NamedTuple):
    """What training comes to.

    Attributes:
        denoiser: with the best weights.
        arrays: the movie as it sees it.
        run: the training's record.
        begun: a sentence on where it began.
        start: a network there that never saw this movie.
        odd: outliers, which were not learned [t, y, x].
        outliers: how they are told; None where they are not looked for.
    """

    denoiser: Denoiser
    arrays: MovieArrays
    run: Run
    begun: str
    start: Denoiser
    odd: np.ndarray
    outliers: Outliers | None


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
    found: NoiseEstimate | None = None,
    instead: BlindRegion | None = None,
) -> Trained:
    """Train on a movie.

    Only valid pixels of the movie are learned, but for those of `test`; `seen` [t, y, x] are its inputs; `target`
    and its variance [t, y, x] are what seeing networks learn. `found` is what is known of the noise. `instead` is
    hidden in place of `region` where training then starts from a better prediction.
    """
    frames, valid = movie.frames, movie.valid()
    reach = (0, 0) if found is None else found.reach()
    values = frames[valid].astype(np.float64)
    # The middle of the intensities and their spread; a movie of mostly background has a tiny inner range.
    spread = max(float(np.std(values)), float(np.finfo(np.float32).tiny))
    make = partial(
        build,
        width=width_of(config, region, design),
        design=design,
        centre=float(np.mean(values)),
        spread=spread,
        seed=config.seed,
    )
    if found is not None and design.network == "blind" and not region.everywhen:
        make = partial(make, sharing=sharing_of(found, noise, spread))
    denoiser = make(region)
    # No context reaches from one stretch to another.
    present = np.split(np.any(seen, axis=(1, 2)), stretches)
    weights = np.concatenate([denoiser.context_weights(p) for p in present])
    arrays = prepare(denoiser, frames, seen, valid & ~test, weights=weights)
    odd, outliers, alone = np.zeros_like(valid), None, False
    if arrays.linear is not None:
        off = _doubt(denoiser, arrays, noise)
        # Where other frames tell little of one, what is around a pixel tells more, if its noise is its own.
        level = float(jnp.mean(noise.variance(jnp.asarray(values, jnp.float32)))) / spread**2
        alone = region == PIXEL and design.network == "blind" and off**2 > ALONE * level
        make = partial(make, doubt=off)
        denoiser = make(region)
        if found is not None and config.defects == "mask":
            t, ny, nx = (slice(0, n) for n in frames.shape)
            shown = (denoiser, arrays, noise, (t, ny, nx))
            outliers = Outliers(off * spread).calmed(*shown)
            # A saturated value that is alone was no scene either.
            odd = seen & outliers(*shown)
            # Where so many seem to be, the scene is made of such.
            if odd.sum() > MOST_DEFECTS * valid.sum():
                odd, outliers = np.zeros_like(valid), None
            valid, test = valid & ~odd, test & ~odd
    unseeing = denoiser
    if pretrained is not None:
        width = width_of(config, region, design)
        known = from_weights(dict(pretrained.weights), region, width=width, design=design)
        denoiser = replace(
            denoiser, state=known.state, graph=known.graph, variance_scale=known.variance_scale
        )
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
    if config.tune == "none" or denoiser.sharing.lasts:
        # Noise that lasts would be learned: other frames tell it.
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
        other = None if instead is None else make(instead)
        if found is not None and denoiser.sharing.lasts:
            denoiser, begun = nearest(denoiser, arrays, frames, seen, valid & ~test, noise, found)
        else:
            fresh = make(region, around=AROUND) if alone else denoiser
            denoiser, plan, begun = _begin(
                fresh, arrays, judged, judged + learned, noise, plan, config, other
            )
            if alone:
                begun += " Other frames tell little of one: a part of the network looks around the pixel."
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
    return Trained(denoiser, arrays, run, begun, unseeing, odd, outliers)


def _begin(
    fresh: Denoiser,
    arrays: MovieArrays,
    judged: jax.Array,
    valid: jax.Array,
    noise: NoiseModel,
    plan: Plan,
    config: DenoiseConfig,
    instead: Denoiser | None,
) -> tuple[Denoiser, Plan, str]:
    """Where training starts, what is hidden of the two, how it goes on from there, and what to say of it."""
    if arrays.linear is None:
        return fresh, plan, "Started from random weights."
    said = "Started from the best blind linear filter"
    prior = from_prior(fresh, missing=True) if config.start == "prior" else None
    if prior is None:
        return fresh, plan, f"{said}."
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
    rate = FROM_PRIOR * plan.learning_rate
    steps = plan.steps if config.steps else int(FEWER * plan.steps) + 1
    said = "Started from a network that has seen simulated scenes"
    found = f"held-out loss {loss:.5g}; best blind linear filter: {linear:.5g}"
    plan = replace(
        plan, steps=steps, learning_rate=rate, kept=SPREAD, fresh=(LOOKS, 1 / FROM_PRIOR)
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
