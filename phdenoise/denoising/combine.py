"""Prediction and measurement combined, and the result made into a judged `Estimate`.

A movie that was learned from as a whole is one block, whose prediction is known from its calibration. A larger movie has
its linear predictions fitted to all frames, and is predicted block by block.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from phdenoise.denoising.blocks import FittedDenoiser, blocks, fit_blocks, predict_blocks
from phdenoise.denoising.fit_denoiser import Calibrated
from phdenoise.denoising.memory import block_size
from phdenoise.denoising.plan import Plan
from phdenoise.denoising.preprocessing import Sample, Survey
from phdenoise.denoising.source import HeldOut, Part
from phdenoise.denoising.training_setup import Trained
from phdenoise.movie import Estimate, Movie
from phdenoise.networks.base import Denoiser, at_least, weights_of
from phdenoise.networks.context import Window
from phdenoise.networks.predict import predict_arrays, prepare
from phdenoise.noise.estimate import NoiseEstimate
from phdenoise.training.held_out import JUDGEABLE, interior
from phdenoise.training.loop import Run
from phdenoise.types import InputError, Moments, NoiseModel, Progress
from phdenoise.uncertainty.missing_frames import keep_repeated_frames
from phdenoise.uncertainty.predictive_variance import frame_errors
from phdenoise.uncertainty.trust_report import judged


class PredictedBlock(NamedTuple):
    """A block of a movie with its calibrated blind prediction.

    Attributes:
        window: frames, rows and columns of the movie.
        part: measured; outliers are neither good nor a lower bound.
        blind: mean and variance without the pixel's own measurement [t, y, x].
        repeated: frames that repeat the frame before, where all frames are in this block [t].
    """

    window: Window
    part: Part
    blind: Moments
    repeated: Bool[np.ndarray, " t"]


def predicted_blocks(
    survey: Survey,
    sample: Sample,
    plan: Plan,
    trained: Trained,
    calibrated: Calibrated,
    progress: Progress | None = None,
) -> Iterator[PredictedBlock]:
    """Every block of a movie once, with its calibrated blind prediction.

    Args:
        survey: the movie, and whether it is one block.
        sample: the stretches that were learned from.
        plan, trained, calibrated: of the denoiser.
        progress: called with (stage, step, steps, nan).

    Yields:
        The blocks.

    Raises:
        InputError: too little memory.
    """
    if survey.whole:
        (window,) = sample.windows
        part = _without(sample.read(*window), trained.odd)
        yield PredictedBlock(window, part, calibrated.moments, survey.repeated)
        return
    shape, denoiser = survey.source.header.shape, calibrated.denoiser
    frames, side, at_once = block_size(
        shape, survey.memory, denoiser.region, plan.width, denoiser.architecture
    )
    weights = denoiser.context_weights(sample.present)
    held_out = replace(plan.held_out, region=calibrated.region)
    coefficients, variance = None, calibrated.variance
    if denoiser.architecture.linear:
        step = None if progress is None else partial(_linear_prediction, progress)
        fit = fit_blocks(
            denoiser, sample.read, shape, weights, held_out, frames=frames, progress=step
        )
        coefficients = fit.coefficients
        if variance is not None:
            found = calibrated.noise.estimate
            rho = found.significant_autocorrelation().astype(np.float64)
            errors = frame_errors(
                denoiser, fit, weights, calibrated.noise.model, rho, found.temporal_correlation
            )
            variance = variance._replace(errors=errors)
    # The variance is scaled after the average over symmetries, as it is in the stretches.
    scale = jnp.float32(calibrated.scale)
    raw = replace(denoiser, variance_scale=denoiser.variance_scale / scale)
    missing, outliers = calibrated.missing, trained.outliers
    factors = np.ones(shape[0]) if missing is None else missing.factors(sample.present)
    chosen = blocks(shape, denoiser.region, denoiser.architecture, frames=frames, side=side)
    results = predict_blocks(
        FittedDenoiser(raw, shape, weights, coefficients, ~sample.present),
        sample.read,
        chosen,
        symmetries=plan.symmetries,
        at_once=at_once,
        variance=variance,
        find_outliers=None
        if outliers is None
        else lambda arrays, window: outliers(denoiser, arrays, calibrated.noise.model, window),
    )
    for k, (block, (mean, var), odd) in enumerate(results):
        factor = jnp.asarray(factors[block.kept], jnp.float32)[:, None, None]
        blind = Moments(mean, factor * var if variance else scale * factor * var)
        window = (block.kept, *block.tile.kept)
        none = np.zeros(block.kept.stop - block.kept.start, bool)
        yield PredictedBlock(window, _without(sample.read(*window), odd), blind, none)
        if progress is not None:
            progress("prediction", k + 1, len(chosen), np.nan)


def combine(block: PredictedBlock, plan: Plan, calibrated: Calibrated) -> tuple[Moments, list[str]]:
    """Blind prediction and measurement of each pixel of a block, combined by Bayes' rule.

    Args:
        block: of the movie.
        plan: its objective "counts" asks for the posterior of counts.
        calibrated: noise and its covariance with the prediction's error.

    Returns:
        Mean and variance [t, y, x], and what to say of repeated frames.
    """
    part = block.part
    noisy = np.where(part.good, part.values, np.nan).astype(np.float32)
    bound = np.where(part.saturated, part.values, -np.inf).astype(np.float32)
    result = combined(
        block.blind, noisy, bound, calibrated.noise.model,
        counts=plan.objective == "counts", error_noise_covariance=calibrated.error_noise_covariance,
    )  # fmt: skip
    result, count = keep_repeated_frames(result, block.repeated)
    said = f"{count} repeated frame(s) keep the values of the frame before, which errs less than a prediction."
    return result, [said] * (count > 0)


def passed_structure(sample: Sample, plan: Plan, trained: Trained, calibrated: Calibrated) -> float:
    """Share of the variance of what structured noise left in single frames that the denoiser lets pass.

    Such an error is drawn, added to the movie, and the movie predicted again.

    Args:
        sample: knows the structured noise.
        plan, trained, calibrated: of the denoiser.

    Returns:
        The share [1]; 1 where there is no structured noise.
    """
    if sample.structure is None:
        return 1.0
    movie, denoiser, arrays = sample.movie, calibrated.denoiser, trained.arrays
    added = sample.structure.draw_error(movie.shape, np.random.default_rng(plan.config.seed))
    if not added.any():
        return 1.0
    fitted = sample.good & ~plan.held_out(*sample.windows[0])
    louder = np.where(sample.seen, movie.frames, 0) + added
    moved = prepare(
        denoiser, louder, sample.seen, fitted, arrays.coefficients, np.asarray(arrays.weights)
    )
    mean = predict_arrays(denoiser, moved, movie.shape, symmetries=plan.symmetries).mean
    blind = calibrated.moments
    noise = np.asarray(calibrated.noise.model.variance(blind.mean))
    own = float(np.mean(np.asarray(blind.var) / (np.asarray(blind.var) + noise)))
    change = (1 - own) * np.asarray(mean - blind.mean, np.float64) + own * added
    return float(np.clip(np.mean(change**2) / np.mean(added**2), 0.0, 1.0))


def with_structure_error(
    result: Moments, sample: Sample, window: Window, passed: float = 1.0
) -> Moments:
    """The result with the variance that structured noise adds, which was subtracted with an error.

    Args:
        result: mean and variance of a block.
        sample: knows the structured noise.
        window: frames, rows and columns of the block.
        passed: see `passed_structure`.

    Returns:
        Mean and variance.
    """
    if sample.structure is None:
        return result
    error = sample.structure.error_variance(sample.movie.shape, passed)[window]
    return Moments(result.mean, result.var + jnp.asarray(error, jnp.float32))


@partial(jax.jit, static_argnames="counts")
def combined(
    blind: Moments,
    noisy: Array,
    bound: Array,
    noise: NoiseModel,
    counts: bool = False,
    error_noise_covariance: Array | float = 0.0,
) -> Moments:
    """Blind prediction and measurement, not below the lower bounds of saturated values.

    Args:
        blind: mean and variance without the pixel's own measurement [t, y, x].
        noisy: measurements, NaN where there is none [t, y, x].
        bound: lower bounds, −inf where there is none [t, y, x].
        noise: of the measurements.
        counts: whether the posterior is that of Poisson counts.
        error_noise_covariance: of the prediction's error with the pixel's own noise, over the noise's variance.

    Returns:
        Mean and variance [t, y, x].
    """
    after = noise.posterior(
        blind, noisy, conjugate=counts, error_noise_covariance=error_noise_covariance
    )
    return at_least(after, bound)


class Problem(NamedTuple):
    """A movie that is ready for training.

    Attributes:
        movie: measured, its defects masked.
        seen: where it is an input: learned pixels, and saturated ones [t, y, x].
        full: saturated, a lower bound [t, y, x].
        noise: its noise model, pixel by pixel.
        field: the same with its correlation in space, if it has any.
        seed, symmetries: of the training and of the prediction.
    """

    movie: Movie
    seen: np.ndarray
    full: np.ndarray
    noise: NoiseModel
    field: NoiseModel
    seed: int
    symmetries: int

    def bounded(self, moments: Moments) -> Moments:
        """The moments, nowhere below a saturated value."""
        return at_least(moments, jnp.where(self.full, self.movie.frames, -jnp.inf))


def assemble(
    movie: Movie,
    result: Moments,
    noise: NoiseModel,
    denoiser: Denoiser,
    run: Run,
    log: Sequence[str],
    settings: Mapping[str, Any],
    *,
    blind: Moments | None = None,
) -> Estimate:
    """The estimate of a movie, not yet judged.

    Args:
        movie: measured, its defects masked.
        result: mean and variance [t, y, x].
        noise: noise model used.
        denoiser: whose weights are kept.
        run: the course of its training.
        log: sentences for the reader.
        settings: needed to repeat the denoising.
        blind: prediction without the pixel's own measurement; None where the network used it.

    Returns:
        The estimate.

    Raises:
        InputError: the training diverged.
    """
    check_finite(result, movie.name, settings.get("learning_rate", float("nan")))
    mean, variance = np.asarray(result.mean), np.asarray(result.var)
    return Estimate(
        movie=movie,
        mean=mean,
        variance=variance,
        noise=noise,
        blind_mean=None if blind is None else np.asarray(blind.mean),
        blind_variance=None if blind is None else np.asarray(blind.var),
        log=tuple(log),
        history={
            "loss": list(run.losses),
            "judged_step": [float(k) for k, _ in run.scores],
            "judged_loss": [v for _, v in run.scores],
        },
        settings={
            **settings,
            "steps": run.steps,
            "phdenoise": version("phdenoise"),
            "jax": jax.__version__,
        },
        weights=weights_of(denoiser),
    )


def check_finite(result: Moments, name: str, learning_rate: float) -> None:
    """Refuse a result that is not finite.

    Args:
        result: mean and variance [t, y, x].
        name: of the movie.
        learning_rate: of the training.

    Raises:
        InputError: a value is not finite: the training diverged.
    """
    if not all(np.isfinite(np.asarray(a)).all() for a in result):
        raise InputError(
            f"Denoising {name} diverged: lower --learning-rate (now {learning_rate:g})."
        )


def judge(estimate: Estimate, found: NoiseEstimate, held_out: HeldOut, window: Window) -> Estimate:
    """The estimate with its trust report; coverage is counted on held-out pixels, where there are enough.

    Args:
        estimate: of the window.
        found: noise of the movie.
        held_out: pixels that training did not see as targets.
        window: frames, rows and columns of the movie.

    Returns:
        The estimate with `trust`, and the report's sentences at the end of its log.
    """
    test = held_out(*window) & estimate.movie.valid()
    test = interior(test, held_out.region, found.reach())
    return judged(estimate, found, test if test.sum() >= JUDGEABLE else None)


def _without(part: Part, outliers: Bool[np.ndarray, "t y x"] | None) -> Part:
    """The part with its outliers neither good nor saturated."""
    if outliers is None or not outliers.any():
        return part
    return part._replace(seen=part.seen & ~outliers, good=part.good & ~outliers)


def _linear_prediction(progress: Progress, step: int, steps: int) -> None:
    progress("linear prediction", step, steps, np.nan)
