"""Distillation: the average of several blind teachers is the target of one plain U-Net that uses the pixel itself.

    M = ⟨m_k⟩,     Σ_M = ⟨Σ_k⟩ − ⟨(m_k − M)²⟩            the error of an average is the mean error less the spread
    student: KL( N(M, Σ_M) ‖ N(f, Σ) )                    kept where its estimated risk is no higher than that of M

A teacher's posterior of variance Σ follows its own pixel by w = Σ / v, so that its risk is known without a probe:
(m − y)² − v + 2 w v. Teachers differ in their seeds, and in the region they hide at prediction if several are given.
Chen et al., AT-BSN, CVPR 2024, arXiv:2304.01627.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from phdenoise.denoising.combine import Problem, assemble
from phdenoise.denoising.non_blind import Train, risk_map, risk_over
from phdenoise.movie import Estimate
from phdenoise.networks.base import Denoiser, measurement_weight
from phdenoise.networks.context import MovieArrays
from phdenoise.networks.predict import predict_arrays
from phdenoise.types import Moments, NoiseModel, Progress, stage

# Averaging lowers the predicted variance at most by this factor: teachers that agree may share an error.
LEAST_AVERAGED_VARIANCE = 0.5


class TeacherAverage(NamedTuple):
    """The average of teachers, which is the student's target.

    Attributes:
        mean, var: average of their posterior means, and its variance [t, y, x].
        blind: average of their blind predictions.
        weight: how far the average follows the pixel's own measurement [t, y, x].
        spread: standard deviation between teachers, root mean square over the movie.
    """

    mean: np.ndarray
    var: np.ndarray
    blind: Moments
    weight: np.ndarray
    spread: float


class Choice(NamedTuple):
    """Whether the student is kept, and the sentence that says why."""

    student: bool
    sentence: str


def distilled(
    problem: Problem,
    taught: list[Estimate],
    train: Train,
    log: Sequence[str],
    settings: Mapping[str, Any],
    progress: Progress | None = None,
) -> Estimate:
    """The student of these teachers, or their average where that is better; not yet judged.

    Args:
        problem: the movie.
        taught: the teachers' estimates of it.
        train: the student's training.
        log, settings: for the estimate.
        progress: called with (stage, step, steps, nan).

    Returns:
        The estimate.
    """
    movie, valid = problem.movie, problem.movie.valid()
    said = _teacher_average(taught)
    denoiser, arrays, run, _ = train(movie, problem.seen, problem.noise, said.mean, said.var)
    averaged: dict[str, Any] = {"symmetries": problem.symmetries}
    step = stage(progress, "prediction")
    out = predict_arrays(denoiser, arrays, movie.shape, progress=step, **averaged)
    key = jax.random.key(problem.seed + 1)
    choice = choose(denoiser, arrays, said, movie.frames, valid, problem.field, key, **averaged)
    told = [s for e in taught for s in e.log if s.startswith(("Training", "Predicted variance"))]
    log = (*log, *told, f"Student: {run.sentence}", choice.sentence)
    if choice.student:
        out = problem.bounded(out)
        return assemble(movie, out, problem.noise, denoiser, run, log, settings)
    # An average of networks is no network: the first teacher's weights are kept.
    first = taught[0]
    return replace(
        first,
        mean=said.mean,
        variance=said.var,
        blind_mean=np.asarray(said.blind.mean),
        blind_variance=np.asarray(said.blind.var),
        log=log,
        settings={**first.settings, "distill": len(taught)},
    )


def teachers(
    teach: Callable[..., Estimate],
    config: Any,
    count: int,
    checkpoint: str | Path | None,
) -> list[Estimate]:
    """Estimates of `count` blind denoisers.

    Args:
        teach: makes one of (number, config, checkpoint).
        config: of the denoising; `blind_predict` may list a region for each teacher, separated by commas.
        count: how many.
        checkpoint: folder of the trainings, one folder in it each.

    Returns:
        One estimate a teacher.
    """
    shown = [None] if config.blind_predict is None else config.blind_predict.split(",")
    taught = []
    for k in range(count):
        own = replace(config, distill=0, seed=config.seed + k, blind_predict=shown[k % len(shown)])
        folder = None if checkpoint is None else Path(checkpoint) / f"teacher_{k}"
        taught.append(teach(k + 1, own, folder))
    return taught


def _teacher_average(taught: list[Estimate]) -> TeacherAverage:
    """The average of teachers."""
    means, variances = (np.stack([getattr(e, n) for e in taught]) for n in ("mean", "variance"))
    blind_means, blind_variances = (
        np.stack([np.asarray(getattr(e, n)) for e in taught])
        for n in ("blind_mean", "blind_variance")
    )
    weights = [
        np.asarray(
            measurement_weight(
                jnp.asarray(e.variance), Moments(jnp.asarray(m), jnp.asarray(v)), e.noise
            )
        )
        for e, m, v in zip(taught, blind_means, blind_variances, strict=True)
    ]
    mean, var, spread = _averaged(means, variances)
    blind = Moments(*(jnp.asarray(a) for a in _averaged(blind_means, blind_variances)[:2]))
    measured = taught[0].movie.valid()
    weight = np.where(measured, np.mean(weights, axis=0), 0.0).astype(np.float32)
    return TeacherAverage(mean, var, blind, weight, float(np.sqrt(spread.mean())))


def choose(
    denoiser: Denoiser,
    arrays: MovieArrays,
    taught: TeacherAverage,
    frames: np.ndarray,
    valid: np.ndarray,
    noise: NoiseModel,
    key: jax.Array,
    *,
    symmetries: int,
) -> Choice:
    """Student or teachers, by the estimated risk of both on the same pixels.

    Args:
        denoiser, arrays: the student, and the movie in its units.
        taught: the teachers' average.
        frames, valid: measured movie [t, y, x].
        noise: of the movie, correlated if it is.
        key: of the probe.
        symmetries: averaged by the student's prediction.

    Returns:
        Which is kept, and why.
    """
    own, window = risk_map(denoiser, arrays, frames.shape, noise, key, symmetries=symmetries)
    valid = valid[window]
    noisy = np.where(valid, frames[window], 0.0).astype(np.float32)
    variance = np.asarray(noise.estimated_variance(jnp.asarray(noisy)))
    mean, weight = taught.mean[window], taught.weight[window]
    theirs = (mean - noisy) ** 2 - variance + 2 * weight * variance
    ours, others = risk_over(own, valid), risk_over(theirs, valid)
    kept = bool(ours.value <= others.value)
    who = "The student is kept" if kept else "The teachers' average is kept"
    return Choice(
        kept,
        f"{who}: estimated risk {ours.value:.4g} of the student, {others.value:.4g} of the average "
        f"(each +- {others.sd:.2g}, of which most is common); teachers differ by {taught.spread:.3g}.",
    )


def _averaged(means: np.ndarray, variances: np.ndarray) -> tuple[np.ndarray, ...]:
    """Mean of several estimates, its variance, and their variance about it."""
    spread = means.var(axis=0)
    mean = variances.mean(axis=0)
    return means.mean(axis=0), np.maximum(mean - spread, LEAST_AVERAGED_VARIANCE * mean), spread
