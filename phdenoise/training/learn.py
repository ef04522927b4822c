"""From a movie to a trained and calibrated denoiser of it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from phdenoise.denoisers import (
    BlindRegion,
    Denoiser,
    predict_arrays,
)
from phdenoise.denoisers.doubt import Doubt
from phdenoise.denoisers.outliers import Outliers
from phdenoise.movie import Estimate, Movie
from phdenoise.noise import NoiseEstimate, estimate_noise
from phdenoise.training.assemble import course
from phdenoise.training.calibrate import Evidence, by_error, by_likelihood
from phdenoise.training.choice import choose, narrower, regions
from phdenoise.training.config import (
    PRESETS,
    DenoiseConfig,
    settings_of,
)
from phdenoise.training.gaps import Gaps, by_hiding
from phdenoise.training.held_out import held_out, interior
from phdenoise.training.train import Run
from phdenoise.training.train_on import train_on
from phdenoise.types import InputError, Moments, NoiseModel, Progress, stage

# Share of outliers from which on the noise is estimated without them.
MANY = 1e-3


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
        told: covariance of the prediction's error with the pixel's own noise, over the noise's variance.
        odd: outliers of the movie it learned from [t, y, x].
        outliers: how they are told; None where they are not looked for.
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
    told: float
    odd: np.ndarray
    outliers: Outliers | None


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
    frames, valid = movie.frames, movie.valid()
    config, design, objective, _, said = choose(config, found, noise, pretrained)
    network, log = design.network, list(said)
    if design.sees or (test is not None and network != "blind"):
        raise InputError(
            f"--network {network} does not work on a movie in parts: give more --memory, or --network blind."
        )
    region, shown, asked = regions(config, found, design, movie.name, valid)
    instead = narrower(config, found, region) if pretrained is None else None
    log += asked
    out = held_out(frames.shape, config.seed, region, design) if test is None else test(region)
    out = out & valid
    # Float32 from here on, whatever the caller's default precision is.
    with jax.enable_x64(False):
        trained = train_on(
            movie, seen, out, stretches, noise, region, config, pretrained, checkpoint,
            stage(progress, "training"), design=design, objective=objective, found=found, instead=instead,
        )  # fmt: skip
        denoiser, arrays, run, begun, start, odd, outliers = trained
        valid, out = valid & ~odd, out & ~odd
        if odd.any():
            if noise is found.model and stretches == 1 and odd.sum() > MANY * valid.sum():
                again = estimate_noise(frames, valid, config.noise)
                found = again.that_lasts(found.lasting)
                noise = found.model
            log.append(
                f"{int(odd.sum())} values ({100 * odd.sum() / odd.size:.2g} %) are far from what other frames predict, "
                "without their neighbours: outliers, predicted from the rest."
            )
        if denoiser.region == instead:
            region = shown = instead
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
                denoiser,
                arrays,
                blind_moments,
                Evidence(
                    frames, valid, seen, out, interior(out, region, found.reach()), noise, found
                ),
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
    went = [course(run)] if run.scores or pretrained is not None else []
    log += [begun, *went, calibration.sentence]
    settings = settings_of(config, design, objective, region) | {
        "region": str(shown),
        "trained_region": str(region),
        "lasting": [float(rho) for rho in found.lasting],
        "told": calibration.told,
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
        calibration.told,
        odd,
        outliers,
    )
