"""`denoise` and `denoise_parts`, the one route of a movie: from a source of blocks to denoised blocks and a judged estimate.

    source -> survey -> noise -> plan -> train -> predict -> calibrate -> combine -> judge -> sink

Each stage takes named values and returns one. A movie in memory is the case of one block.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from threadpoolctl import threadpool_limits

from phdenoise.denoising.combine import (
    assemble,
    check_finite,
    combine,
    judge,
    passed_structure,
    predicted_blocks,
    with_structure_error,
)
from phdenoise.denoising.config import DenoiseConfig, check_config
from phdenoise.denoising.fit_denoiser import calibrate, predict, train, without_outliers
from phdenoise.denoising.memory import parse_memory
from phdenoise.denoising.plan import make_plan, with_network
from phdenoise.denoising.preprocessing import measure_noise, survey_movie
from phdenoise.denoising.source import Collector, Keep, MovieSource, Source, whole_window
from phdenoise.denoising.strategies import denoise_non_blind
from phdenoise.movie import Estimate, Movie
from phdenoise.networks.custom import Network
from phdenoise.types import Moments, Progress, within
from phdenoise.uncertainty.trust_report import judged


def denoise(
    movie: Movie,
    config: DenoiseConfig | None = None,
    *,
    pretrained: Estimate | None = None,
    checkpoint: str | Path | None = None,
    progress: Progress | None = None,
    target: Movie | None = None,
    clean: Movie | None = None,
    network: str | Network | None = None,
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
        network: replaces `config.network`: a word, a `phdenoise.networks.Architecture` such as `Unet(window=2)`, a
            `phdenoise.networks.CustomNetwork`, or a Flax NNX module of your own.

    Returns:
        Estimate of the same shape and unit: mean and variance, blind prediction (of blind networks), noise, log.

    Raises:
        InputError: no valid pixel, a constant movie, or an impossible setting.
    """
    config = with_network(DenoiseConfig() if config is None else config, network)
    whole = Collector(movie, whole_window(movie.shape))
    estimate = denoise_parts(
        MovieSource(movie), whole.add, config,
        pretrained=pretrained, checkpoint=checkpoint, progress=progress, target=target, clean=clean,
    )  # fmt: skip
    if estimate.movie.shape == movie.shape:
        return estimate
    assert whole.result is not None
    assert whole.blind is not None
    mean, variance, blind_mean, blind_variance = map(np.asarray, (*whole.result, *whole.blind))
    return replace(
        estimate,
        movie=whole.movie(),
        mean=mean,
        variance=variance,
        blind_mean=blind_mean,
        blind_variance=blind_variance,
    )


# Matrices here are small: threads of the linear algebra would wait for one another longer than they compute, on a busy
# machine 100 times as long.
@threadpool_limits.wrap(limits=1, user_api="blas")
def denoise_parts(
    source: Source,
    keep: Keep,
    config: DenoiseConfig | None = None,
    *,
    pretrained: Estimate | None = None,
    checkpoint: str | Path | None = None,
    progress: Progress | None = None,
    target: Movie | None = None,
    clean: Movie | None = None,
) -> Estimate:
    """Denoise a movie from a source of blocks.

    Args:
        source: the movie.
        keep: receives every block of the result once.
        config: see `DenoiseConfig`; `memory` decides whether the movie is one block.
        pretrained: an earlier result whose network is the start.
        checkpoint: folder that keeps the training.
        progress: called with (stage, step, steps, score on held-out pixels or nan).
        target: a second exposure of the same frames, with noise of its own.
        clean: the clean movie.

    Returns:
        Estimate of the stretch that was judged (of the whole movie where it is one block), with noise, log, weights and
        trust report.

    Raises:
        InputError: no valid pixel, a constant movie, an impossible setting, or too little memory.
    """
    config = DenoiseConfig() if config is None else config
    check_config(config)
    survey = survey_movie(source, config, parse_memory(config.memory), progress)
    sample, noise = measure_noise(survey, config)
    plan = make_plan(
        config, survey, sample, noise, pretrained=pretrained, target=target, clean=clean
    )
    learning = progress if survey.whole else within(progress, "learning")
    if not plan.blind:
        teach = partial(denoise_parts, survey.source, lambda *_: None)
        estimate = denoise_non_blind(
            sample, noise, plan, teach, checkpoint=checkpoint, progress=learning, target=target, clean=clean
        )  # fmt: skip
        result = with_structure_error(
            Moments(jnp.asarray(estimate.mean), jnp.asarray(estimate.variance)),
            sample,
            sample.windows[0],
        )
        estimate = replace(estimate, variance=np.asarray(result.var))
        keep(sample.windows[0], sample.part, None, result)
        return judged(estimate, noise.estimate)
    # Where the movie is larger than memory, one stretch of its result is judged.
    collector = Collector(source.header, sample.windows[len(sample.windows) // 2])
    # Float32 from here on, whatever the caller's default precision is.
    with jax.enable_x64(False):
        trained = train(sample, noise, plan, checkpoint, learning)
        sample, noise = without_outliers(sample, noise, trained, plan)
        log = [*sample.log, *plan.log]
        prediction = predict(trained, sample, plan, learning)
        calibrated = calibrate(trained, prediction, sample, noise, plan, learning)
        passed = passed_structure(sample, plan, trained, calibrated)
        for block in predicted_blocks(survey, sample, plan, trained, calibrated, progress):
            result, said = combine(block, plan, calibrated)
            result = with_structure_error(result, sample, block.window, passed)
            check_finite(result, source.header.name, config.learning_rate)
            keep(block.window, block.part, block.blind, result)
            collector.add(block.window, block.part, block.blind, result)
            log += said
    log += [*calibrated.log] if survey.whole else [*calibrated.log, collector.sentence]
    assert collector.result is not None
    estimate = assemble(
        collector.movie(), collector.result, calibrated.noise.model, calibrated.denoiser, trained.run, log,
        calibrated.settings, blind=collector.blind,
    )  # fmt: skip
    estimate = replace(estimate, error_autocorrelation=calibrated.error_autocorrelation)
    held_out = replace(plan.held_out, region=calibrated.region)
    return judge(estimate, calibrated.noise.estimate, held_out, collector.window)
