"""`denoise`: a noisy movie in, its posterior mean and variance out, without clean labels."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Array

from phdenoise.denoisers import (
    FRAME,
    PIXEL,
    Denoiser,
    MovieArrays,
    at_least,
    posterior,
)
from phdenoise.movie import Estimate, Movie
from phdenoise.noise import (
    Gaussian,
    NoiseEstimate,
    Poisson,
    PoissonGaussian,
    estimate_noise,
)
from phdenoise.noise.repeats import sentences
from phdenoise.training.assemble import Problem, assemble
from phdenoise.training.choice import Choice, choose
from phdenoise.training.config import (
    PRESETS,
    DenoiseConfig,
    check_config,
    design_of_config,
    settings_of,
)
from phdenoise.training.distil import distilled, teachers
from phdenoise.training.gaps import held
from phdenoise.training.held_out import JUDGEABLE, held_out, interior
from phdenoise.training.lasting import settled
from phdenoise.training.learn import learn
from phdenoise.training.measure import check_movie, find_defects, noise_model
from phdenoise.training.memory import parse_memory, whole_fits
from phdenoise.training.objectives import Goal
from phdenoise.training.seeing import lesson, see
from phdenoise.training.train import Run
from phdenoise.training.train_on import train_on
from phdenoise.trust import judged
from phdenoise.types import InputError, Moments, NoiseModel, Progress, stage, within


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
        progress: called with (stage, step, steps, score on held-out pixels).
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
    movie, copied = check_movie(movie, config)
    frames, valid = movie.frames, movie.valid()
    found = estimate_noise(frames, valid, config.noise)
    good, full, said = find_defects(frames, valid, found, config)
    if said:
        found = estimate_noise(frames, good, config.noise)
    found, lasts = settled(frames, good | full, good, found)
    noise, log = noise_model(movie, found, config)
    log += [*lasts, *sentences(copied), *said]
    # A saturated value tells the network about its surroundings, but it is no example of the scene's intensity.
    seen, valid = good | full, good
    measured = movie
    if said:
        movie = replace(movie, mask=good)
    choice = choose(
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
            config.symmetries or PRESETS[config.preset].symmetries,
        )
        teach = partial(denoise, measured)
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
    noise, found = learned.noise, learned.found
    if learned.odd.any():
        valid, full = valid & ~learned.odd, full & ~learned.odd
        movie = replace(movie, mask=valid)
    # Float32, whatever the caller's default precision is.
    with jax.enable_x64(False):
        noisy, bound = (
            np.where(mask, frames, other).astype(np.float32)
            for mask, other in ((valid, np.nan), (full, -np.inf))
        )
        counts = choice.objective == "counts"
        result = combined(learned.blind, noisy, bound, noise, counts=counts, told=learned.told)
        result, count = held(result, copied)
    if count:
        log.append(f"{count} copied frame(s) keep the frame before: nearer than any prediction.")
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
    test = interior(test, learned.region, found.reach())
    return judged(estimate, found, test if test.sum() >= JUDGEABLE else None)


@partial(jax.jit, static_argnames="counts")
def combined(
    blind: Moments,
    noisy: Array,
    bound: Array,
    noise: NoiseModel,
    counts: bool = False,
    told: Array | float = 0.0,
) -> Moments:
    """Blind prediction and measurement (NaN: none), not below its lower bounds (-inf: none)."""
    return at_least(posterior(blind, noisy, noise, counts=counts, told=told), bound)


def diverged(name: str, config: DenoiseConfig) -> str:
    """What to say where the result is not finite."""
    return f"Denoising {name} diverged: lower --learning-rate (now {config.learning_rate:g})."


def _seeing(
    problem: Problem,
    choice: Choice,
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
        teaching = progress

        def one(number: int, own: DenoiseConfig, folder: Path | None) -> Estimate:
            return teach(own, checkpoint=folder, progress=within(teaching, f"teacher {number}"))

        taught = teachers(one, config, count, checkpoint)
        goal, checkpoint = "distil", checkpoint and Path(checkpoint) / "student"
        progress = within(progress, "student")
    design = design_of_config(config, "unet")
    region = PIXEL if problem.field is problem.noise else FRAME
    settings = settings_of(config, design, goal, region) | {"region": "none"}

    def learn(
        movie: Movie,
        seen: np.ndarray,
        noise: NoiseModel,
        value: np.ndarray | None,
        variance: np.ndarray | None,
    ) -> tuple[Denoiser, MovieArrays, Run, np.ndarray]:
        test = held_out(movie.shape, config.seed, region, design) & movie.valid()
        out = train_on(
            movie, seen, test, 1, noise, region, config, pretrained, checkpoint,
            stage(progress, "training"),
            design=design, objective=goal, target=value, target_var=variance,
        )  # fmt: skip
        return out.denoiser, out.arrays, out.run, test

    with jax.enable_x64(False):
        if taught:
            return distilled(problem, taught, learn, log, settings, progress)
        learned = lesson(
            objective, problem.movie, problem.seen, problem.noise, target=target, clean=clean
        )
        return see(problem, learned, objective, learn, log, settings, progress)


def _field(found: NoiseEstimate, noise: NoiseModel) -> NoiseModel:
    """The noise with its correlation in space."""
    if not isinstance(noise, Gaussian | Poisson | PoissonGaussian):
        return noise
    return replace(found, model=noise).correlated()
