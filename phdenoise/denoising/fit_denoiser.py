"""Train a blind network on a movie, predict the movie with it, and calibrate the predicted variance.

Sample, Noise, Plan -> Trained -> Prediction -> Calibrated
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from phdenoise.denoising.config import settings_of
from phdenoise.denoising.plan import Plan
from phdenoise.denoising.preprocessing import Sample
from phdenoise.denoising.training_setup import Task, Trained, train_network
from phdenoise.networks.base import Denoiser
from phdenoise.networks.context import BlindRegion
from phdenoise.networks.predict import predict_arrays
from phdenoise.noise.estimate import estimate_noise
from phdenoise.training.held_out import interior
from phdenoise.types import Moments, Progress, stage
from phdenoise.uncertainty.calibrate import (
    calibrate_by_error,
    calibrate_by_likelihood,
    calibrate_linear,
)
from phdenoise.uncertainty.evidence import Evidence, Noise
from phdenoise.uncertainty.missing_frames import MissingFrames, calibrate_missing
from phdenoise.uncertainty.predictive_variance import PredictiveVariance

# Share of outliers from which on the noise is estimated again without them: fewer change its variance by less than its own
# standard error in the smallest movies.
OUTLIERS_TO_ESTIMATE_AGAIN = 1e-3


class Prediction(NamedTuple):
    """A blind prediction of the stretches that were learned from, its variance as the network states it.

    Attributes:
        denoiser: hides what is hidden at prediction.
        moments: mean and variance [t, y, x].
    """

    denoiser: Denoiser
    moments: Moments


@dataclass(frozen=True)
class Calibrated:
    """A trained denoiser whose variance is calibrated.

    Attributes:
        denoiser: its variance contains `scale`.
        noise: may have turned out to be quieter than estimated.
        moments: calibrated blind prediction of the stretches that were learned from [t, y, x].
        scale: factor of the variance that the network states.
        variance: what makes the variance instead of `scale`; None for networks without linear predictions.
        missing: factors for frames without a measurement; None where none are missing.
        region: hidden in training.
        error_noise_covariance: covariance of the prediction's error with the pixel's own noise, over the noise's variance.
        error_autocorrelation: of the result's errors, see `phdenoise.movie.Estimate`.
        log: how training went, and what was found.
        settings: what is needed to do it again.
    """

    denoiser: Denoiser
    noise: Noise
    moments: Moments
    scale: float
    variance: PredictiveVariance | None
    missing: MissingFrames | None
    region: BlindRegion
    error_noise_covariance: float
    error_autocorrelation: np.ndarray | None
    log: tuple[str, ...]
    settings: dict[str, Any]


def train(
    sample: Sample,
    noise: Noise,
    plan: Plan,
    checkpoint: str | Path | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Train a network on a movie.

    Args:
        sample: the stretches to learn from.
        noise: of the movie.
        plan: network, hidden region, objective.
        checkpoint: folder that keeps the training.
        progress: called with (stage, step, steps, score on held-out pixels).

    Returns:
        The trained network with the movie as its input, and the outliers that were not learned.
    """
    task = Task(
        sample.movie, sample.seen, _held_out_pixels(sample, plan) & sample.good, noise.model, plan.region,
        plan.architecture, plan.objective, noise.estimate, plan.alternative, len(sample.windows),
    )  # fmt: skip
    return train_network(
        task, plan.config, plan.pretrained, checkpoint, stage(progress, "training")
    )


def without_outliers(
    sample: Sample, noise: Noise, trained: Trained, plan: Plan
) -> tuple[Sample, Noise]:
    """The stretches and their noise without the outliers that training found.

    Args:
        sample, noise: with them.
        trained: has found them.
        plan: says which family of noise to fit.

    Returns:
        The stretches with outliers masked, and the noise, estimated again where there were many.
    """
    odd = trained.odd
    if not odd.any():
        return sample, noise
    good = sample.good & ~odd
    many = odd.sum() > OUTLIERS_TO_ESTIMATE_AGAIN * good.sum()
    if noise.estimated and len(sample.windows) == 1 and many:
        again = estimate_noise(sample.movie.frames, good, plan.config.noise).without_structure()
        noise = Noise.of(again.with_temporal_correlation(noise.estimate.temporal_correlation))
    said = (
        f"{int(odd.sum())} values ({100 * odd.sum() / odd.size:.2g} %) are far from what other frames predict, "
        "without their neighbours: outliers, predicted from the rest."
    )
    movie = replace(sample.movie, mask=good)
    return sample._replace(movie=movie, good=good, log=(*sample.log, said)), noise


def predict(
    trained: Trained, sample: Sample, plan: Plan, progress: Progress | None = None
) -> Prediction:
    """Blind prediction of the stretches that were learned from.

    Args:
        trained: network and its input.
        sample: the stretches.
        plan: what is hidden at prediction, and how many symmetries are averaged.
        progress: called with (stage, step, steps, nan).

    Returns:
        Mean and variance, not yet calibrated.
    """
    denoiser = trained.denoiser
    if denoiser.region == plan.region:
        denoiser = replace(denoiser, region=plan.shown_region)
    moments = predict_arrays(
        denoiser,
        trained.arrays,
        sample.movie.shape,
        symmetries=plan.symmetries,
        progress=stage(progress, "prediction"),
    )
    return Prediction(denoiser, moments)


def calibrate(
    trained: Trained,
    prediction: Prediction,
    sample: Sample,
    noise: Noise,
    plan: Plan,
    progress: Progress | None = None,
) -> Calibrated:
    """Calibrate the predicted variance, and how much wider it is in frames without a measurement.

    Args:
        trained, prediction: of the stretches.
        sample, noise: the stretches, without outliers.
        plan: of the denoising.
        progress: called with (stage, step, steps, nan).

    Returns:
        The denoiser with a calibrated variance, and the calibrated prediction.
    """
    denoiser, moments = prediction
    region, arrays, found = trained.denoiser.region, trained.arrays, noise.estimate
    frames, good = sample.movie.frames, sample.good
    test = _held_out_pixels(sample, plan) & good
    unlearned = interior(test, region, found.reach())
    evidence = Evidence(frames, good, sample.seen, test, unlearned, noise)
    key = jax.random.key(plan.config.seed + 1)
    if not denoiser.architecture.trains:
        found_error = calibrate_linear(denoiser, arrays, moments, evidence, key, progress=progress)
    elif denoiser.architecture.refines_linear:
        start = replace(trained.start, region=denoiser.region)
        found_error = calibrate_by_error(
            start, denoiser, arrays, moments, evidence, key, progress=progress
        )
    else:
        found_error = calibrate_by_likelihood(moments, frames, test, noise.model)
    scale, var = jnp.float32(found_error.scale), found_error.variance
    moments = Moments(moments.mean, scale * moments.var if var is None else var)
    denoiser = replace(denoiser, variance_scale=denoiser.variance_scale * scale)
    missing = calibrate_missing(
        denoiser, moments, evidence, sample.present, stretches=len(sample.windows),
        symmetries=plan.symmetries, progress=stage(progress, "hidden frames"),
    )  # fmt: skip
    log = [found_error.sentence]
    if missing is not None:
        measured = np.asarray(sample.seen.any(axis=(1, 2)))
        factors = jnp.asarray(missing.factors(measured))[:, None, None]
        moments = Moments(moments.mean, factors * moments.var)
        log.append(missing.sentence(sample.present))
    went = [trained.run.sentence] if trained.run.scores or plan.pretrained is not None else []
    if plan.config.seconds is not None and went:
        went.append(
            f"The training had {plan.config.seconds:g} s: how many steps fit in depends on the machine and its load."
        )
    settings = settings_of(plan.config, plan.architecture, plan.objective, region) | {
        "region": str(denoiser.region),
        "trained_region": str(region),
        "temporal_correlation": [float(rho) for rho in found.temporal_correlation],
        "error_noise_covariance": found_error.error_noise_covariance,
    }
    return Calibrated(
        denoiser=denoiser,
        noise=noise.scaled(found_error.noise),
        moments=moments,
        scale=found_error.scale,
        variance=found_error.predictive_variance,
        missing=missing,
        region=region,
        error_noise_covariance=found_error.error_noise_covariance,
        error_autocorrelation=found_error.error_autocorrelation,
        log=(trained.begun, *went, *log),
        settings=settings,
    )


def _held_out_pixels(sample: Sample, plan: Plan) -> np.ndarray:
    """The pixels that training does not see as targets."""
    return np.concatenate([plan.held_out(*window) for window in sample.windows])
