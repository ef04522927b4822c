"""Denoising by a network that uses the measurement of the pixel it predicts: trained on a target, on a risk, or by teachers.

The network itself combines prediction and measurement; its result is not combined with the measurement again.
"""

from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from phdenoise.denoising.combine import Problem
from phdenoise.denoising.config import DenoiseConfig, settings_of
from phdenoise.denoising.distil import distilled, teachers
from phdenoise.denoising.non_blind import fit_non_blind, training_target
from phdenoise.denoising.plan import Plan
from phdenoise.denoising.preprocessing import Sample
from phdenoise.denoising.training_setup import Task, train_network
from phdenoise.movie import Estimate, Movie
from phdenoise.networks.base import Denoiser
from phdenoise.networks.context import MovieArrays
from phdenoise.training.held_out import held_out
from phdenoise.training.loop import Run
from phdenoise.training.objectives import Goal
from phdenoise.types import NoiseModel, Progress, stage, within
from phdenoise.uncertainty.evidence import Noise


def denoise_non_blind(
    sample: Sample,
    noise: Noise,
    plan: Plan,
    teach: Callable[..., Estimate],
    *,
    checkpoint: str | Path | None = None,
    progress: Progress | None = None,
    target: Movie | None = None,
    clean: Movie | None = None,
) -> Estimate:
    """The estimate of a network that uses the pixel it predicts.

    Args:
        sample: the whole movie.
        noise: of the movie.
        plan: its objective, or the number of teachers.
        teach: denoises the movie blindly with a configuration.
        checkpoint: folder that keeps the trainings.
        progress: called with (stage, step, steps, score on held-out pixels).
        target: a second exposure with noise of its own.
        clean: the clean movie.

    Returns:
        Estimate of the movie, not yet judged.
    """
    config = plan.config
    taught: list[Estimate] = []
    goal: Goal = plan.objective
    if plan.teachers:
        teaching = progress

        def one(number: int, own: DenoiseConfig, folder: Path | None) -> Estimate:
            return teach(own, checkpoint=folder, progress=within(teaching, f"teacher {number}"))

        taught = teachers(one, config, plan.teachers, checkpoint)
        goal, checkpoint = "distil", checkpoint and Path(checkpoint) / "student"
        progress = within(progress, "student")
    part = sample.part
    problem = Problem(
        sample.movie, part.seen, part.saturated, noise.model, noise.field, config.seed, plan.symmetries
    )  # fmt: skip
    settings = settings_of(config, plan.architecture, goal, plan.region) | {"region": "none"}

    def learn(
        movie: Movie,
        seen: np.ndarray,
        model: NoiseModel,
        value: np.ndarray | None,
        variance: np.ndarray | None,
    ) -> tuple[Denoiser, MovieArrays, Run, np.ndarray]:
        test = held_out(movie.shape, config.seed, plan.region, plan.architecture) & movie.valid()
        task = Task(
            movie, seen, test, model, plan.region, plan.architecture, goal,
            target=value, target_var=variance,
        )  # fmt: skip
        out = train_network(task, config, plan.pretrained, checkpoint, stage(progress, "training"))
        return out.denoiser, out.arrays, out.run, test

    log = [*sample.log, *plan.log]
    with jax.enable_x64(False):
        if taught:
            return distilled(problem, taught, learn, log, settings, progress)
        learned = training_target(
            plan.objective, sample.movie, part.seen, noise.model, target=target, clean=clean
        )
        return fit_non_blind(problem, learned, plan.objective, learn, log, settings, progress)
