"""Graphite under a microscope at work: colours -> phases, state of charge and fronts of particles. No files here.

    counts − dark -> light of the reference -> channels denoised together -> particles -> mixture of colours
      -> P(phase) of each pixel; areas of phases, state of charge, depth and speed of fronts of each particle

Everything behind the outlines is computed twice, from the frames as measured and from the denoised ones, so that what
denoising did can be judged. Both use the outlines and the colours found on the denoised frames.
"""

from dataclasses import replace
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from phdenoise.channels import Channels, ChannelsEstimate
from phdenoise.denoising.channels import denoise_channels
from phdenoise.modalities.drift import Drift, correct_drift, find_drift, inside
from phdenoise.modalities.optical.colours import Colours
from phdenoise.modalities.optical.config import OpticalConfig, check_config
from phdenoise.modalities.optical.illumination import correct_illumination, illumination
from phdenoise.modalities.optical.particle_charge import (
    Charge,
    better_charge,
    fronts,
    particle_charge,
)
from phdenoise.modalities.optical.particles import Particles, find_particles
from phdenoise.modalities.optical.phase_mixture import (
    GRAPHITE_PHASES,
    PhaseMaps,
    PhaseMixture,
    classify_colours,
    fit_phases,
)
from phdenoise.modalities.optical.result import OpticalResult, OpticalVersion
from phdenoise.modalities.optical.sentences import phase_warnings, sentences
from phdenoise.modalities.plausibility import Limits, impossible
from phdenoise.modalities.settings import box_mask
from phdenoise.movie import Movie
from phdenoise.types import Progress, stage, within
from phdenoise.uncertainty.error_correlation import INDEPENDENT, ErrorCorrelation

# Colours of the phases are known to some percent of their differences, which shifts the charge by as much.
_CHARGE = Limits("The state of charge of the particles", 0.0, 1.0, 0.1, why="is there graphite?")
# The share of a phase, 0 to 1, is out of range where it is further than this from 1/2; the share of all shares that may be
# out of range before a warning is given. Both chosen, only the warning depends on them.
_AREA_OUT_OF_RANGE, _SHARE_OUT_OF_RANGE = 0.6, 0.02


class Found(NamedTuple):
    """What both versions share.

    Attributes:
        labels: particles from 1 [t, y, x].
        mixture: colours of the phases.
        light_sd: relative sd of the light [c, t].
        movie: of a channel, with times and pixel size.
    """

    labels: np.ndarray
    mixture: PhaseMixture
    light_sd: np.ndarray
    movie: Movie


def analyse_graphite(
    channels: Channels,
    config: OpticalConfig | None = None,
    *,
    progress: Progress | None = None,
    estimate: ChannelsEstimate | None = None,
) -> OpticalResult:
    """The chain.

    Args:
        channels: counts of 2 channels or more.
        config: see `OpticalConfig`.
        progress: called with (stage, step, steps, value), for denoising and the search for particles.
        estimate: of the channels under the mean light, where they were denoised before.

    Returns:
        Phases, charge and fronts, as measured and denoised.

    Raises:
        InputError: settings that do not fit, no particles, or no colours beyond the noise.
    """
    config = OpticalConfig() if config is None else config
    check_config(channels, config)
    warnings: list[str] = []
    light, light_sd = illumination(channels, config, warnings)
    corrected = correct_illumination(channels, light, config.dark)
    if estimate is None:
        estimate = denoise_channels(corrected, config.denoise, progress=within(progress, "denoise"))
    measured, denoised = _colours(corrected, estimate)
    shape = corrected.movies[0].shape
    displacement, known = np.zeros((shape[0], 2)), np.ones(shape, bool)
    if config.register:
        drift = find_drift(estimate.mean.sum(axis=0).astype(float), light=False)
        displacement, known = drift.displacement, inside(shape, drift.displacement)
        measured, denoised = (_without_drift(c, drift) for c in (measured, denoised))
    where = box_mask(config.region or (0, shape[1], 0, shape[2]), shape[1:])
    if config.reference is not None:
        where &= ~box_mask(config.reference, shape[1:])
    particles = outlines(denoised.mean, where, config, progress)
    labels = np.where(known, particles.labels, 0)
    particles = particles._replace(labels=labels)
    mixture = _mixture(denoised, labels, config)
    phases = GRAPHITE_PHASES[: config.phases]
    warnings += phase_warnings(mixture, config, phases, denoised.variance, denoised.rho)
    found = Found(labels, mixture, light_sd, corrected.movies[0])
    raw = _version(measured, found, config)
    errors = ErrorCorrelation.known(estimate.estimates[0].error_autocorrelation)
    clean = _version(denoised, found, config, raw.charge, errors)
    off = np.nanmean(np.abs(clean.charge.area - 0.5) > _AREA_OUT_OF_RANGE)
    if off > _SHARE_OUT_OF_RANGE:
        warnings.append(
            f"In {100 * off:.0f} % of the cases a phase takes less than none or more than all of a particle: these colours "
            "are not mixtures of those of the phases, and may not be graphite."
        )
    result = OpticalResult(
        corrected, estimate, light, light_sd, displacement, particles, phases, mixture,
        raw, clean, tuple(warnings), (), impossible(raw.charge.soc, raw.charge.soc_sd, _CHARGE),
    )  # fmt: skip
    return replace(result, sentences=tuple(sentences(result, config)))


def outlines(
    colour: np.ndarray, where: np.ndarray, config: OpticalConfig, progress: Progress | None = None
) -> Particles:
    """Particles by brightness, the sum of channels.

    Args:
        colour: above dark, under the mean light [c, t, y, x] [counts].
        where: True where particles may lie [y, x].
        config: of the chain.
        progress: called with (stage, frame, frames, particles).

    Returns:
        Outlines through the movie.
    """
    bright = np.nan_to_num(colour.sum(axis=0), nan=float(np.nanmedian(colour.sum(axis=0))))
    return find_particles(
        bright,
        valid=where,
        smallest=config.smallest,
        hold=config.hold,
        split=config.split,
        threshold=config.threshold,
        progress=stage(progress, "particles"),
    )


def _colours(channels: Channels, estimate: ChannelsEstimate) -> tuple[Colours, Colours]:
    """Colours as measured, with the variance of the noise at the denoised intensity, and denoised."""
    noise = np.stack([
        np.asarray(e.noise.variance(jnp.asarray(e.mean, jnp.float32)), float) for e in estimate.estimates
    ])  # fmt: skip
    rho = np.asarray(estimate.settings.get("noise_correlation", np.eye(len(channels))), float)
    frames = np.where(channels.valid(), channels.frames, np.nan)
    clean = Colours(estimate.mean, estimate.variance, np.asarray(estimate.correlation, float))
    return Colours(frames, noise, rho), clean


def _without_drift(colours: Colours, drift: Drift) -> Colours:
    still = [
        correct_drift(m, v, drift) for m, v in zip(colours.mean, colours.variance, strict=True)
    ]
    mean, variance = (np.stack([np.asarray(a[k]) for a in still]) for k in (0, 1))
    return Colours(mean, variance, colours.rho)


def _mixture(colours: Colours, labels: np.ndarray, config: OpticalConfig) -> PhaseMixture:
    start = None
    if config.colours is not None:
        start = np.asarray(config.colours, float).reshape(config.phases, -1)
    return fit_phases(
        *colours.pixels(labels > 0),
        config.phases,
        start=start,
        top=GRAPHITE_PHASES[config.phases - 1].fraction,
        seed=config.denoise.seed,
    )


def _version(
    colours: Colours,
    found: Found,
    config: OpticalConfig,
    measured: Charge | None = None,
    errors: ErrorCorrelation | None = None,
) -> OpticalVersion:
    """Phases, charge and fronts of one version; the denoised one is no less certain than the measured one."""
    labels, mixture = found.labels, found.mixture
    probability = np.full((len(mixture.colours), *labels.shape), np.nan, np.float32)
    fraction, sd = np.full((2, *labels.shape), np.nan, np.float32)
    for t in range(len(labels)):
        frame = colours.frame(t)
        particle = (labels[t] > 0) & np.isfinite(frame.mean).all(axis=0)
        if not particle.any():
            continue
        maps = classify_colours(mixture, *frame.pixels(particle))
        probability[:, t, particle] = maps.probability
        fraction[t, particle], sd[t, particle] = maps.fraction, maps.sd
    if measured is None:
        errors = INDEPENDENT
    charge = particle_charge(
        colours, labels, mixture, found.light_sd, composition_sd=config.composition_sd, errors=errors
    )  # fmt: skip
    if measured is not None:
        charge = better_charge(measured, charge)
    moved = fronts(
        charge, labels, found.movie.times, found.movie.pixel_size, half=config.speed_frames
    )
    return OpticalVersion(colours, PhaseMaps(probability, fraction, sd), charge, moved)
