"""Graphite under a microscope at work: colours -> phases, state of charge and fronts of particles. No files here.

    counts − dark -> light of the reference -> channels denoised together -> particles -> mixture of colours
      -> P(phase) of each pixel; areas of phases, state of charge, depth and speed of fronts of each particle

Everything behind the outlines is computed twice, from the frames as measured and from the denoised ones, so that what
denoising did can be judged. Both use the outlines and the colours found on the denoised frames.
"""

from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np

from phdenoise.chains.optical_config import OpticalConfig, box_mask, check_config
from phdenoise.channels import Channels, ChannelsEstimate
from phdenoise.modalities.drift import find_drift, inside, shifted_variance
from phdenoise.modalities.optical import GRAPHITE_PHASES, Phase
from phdenoise.modalities.particle_charge import (
    Charge,
    Fronts,
    fronts,
    particle_charge,
    pixel_covariance,
)
from phdenoise.modalities.particles import Particles, find_particles
from phdenoise.modalities.phase_mixture import (
    ROUNDS,
    PhaseMaps,
    PhaseMixture,
    classify_colours,
    fit_phases,
    overlap,
)
from phdenoise.modalities.registration import shift
from phdenoise.movie import Estimate
from phdenoise.training import denoise_channels
from phdenoise.types import InputError, Progress, stage, within

# More in common than this, and two phases are one.
ALIKE = 0.6


@dataclass(frozen=True)
class OpticalVersion:
    """What one version of the frames, measured or denoised, says.

    Attributes:
        colour, variance: above dark, of steady light, [c, t, y, x].
        rho: correlation of the channels' errors [c, c].
        maps: phases of pixels, NaN outside the particles; probability [phase, t, y, x], fraction and sd [t, y, x].
        charge: of particles.
        fronts: of particles.
    """

    colour: np.ndarray
    variance: np.ndarray
    rho: np.ndarray
    maps: PhaseMaps
    charge: Charge
    fronts: Fronts


@dataclass(frozen=True)
class OpticalResult:
    """What the movie says.

    Attributes:
        channels: measured, above dark and of steady light.
        estimate: denoised.
        light, light_sd: intensity over that of the whole movie's mean [c, t].
        displacement: of each frame [t, 2] [px]; zero if not followed.
        particles: outlines.
        phases: names and fractions.
        mixture: colours of the phases.
        raw, denoised: see `OpticalVersion`.
        warnings, sentences: for a reader.
    """

    channels: Channels
    estimate: ChannelsEstimate
    light: np.ndarray
    light_sd: np.ndarray
    displacement: np.ndarray
    particles: Particles
    phases: tuple[Phase, ...]
    mixture: PhaseMixture
    raw: OpticalVersion
    denoised: OpticalVersion
    warnings: tuple[str, ...]
    sentences: tuple[str, ...]


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
        progress: of denoising and of the search for particles.
        estimate: of the channels with steady light, where they were denoised before.

    Raises:
        InputError: settings that do not fit, no particles, or no colours beyond the noise.
    """
    config = OpticalConfig() if config is None else config
    check_config(channels, config)
    warnings: list[str] = []
    light, light_sd = light_of(channels, config, warnings)
    even = steady(channels, light, config.dark)
    if estimate is None:
        estimate = denoise_channels(even, config.denoise, progress=within(progress, "denoise"))
    shape = even.movies[0].shape[1:]
    noise = np.stack([_noise(e) for e in estimate.estimates])
    rho = np.asarray(estimate.settings.get("noise_correlation", np.eye(len(even))), float)
    frames = np.where(even.valid(), even.frames, np.nan)
    versions = {
        "raw": (frames, noise, rho),
        "denoised": (estimate.mean, estimate.variance, np.asarray(estimate.correlation, float)),
    }
    displacement = np.zeros((len(frames[0]), 2))
    known = np.ones(frames.shape[1:], bool)
    if config.register:
        found = find_drift(estimate.mean.sum(axis=0).astype(float), light=False)
        displacement = found.displacement
        known = inside(known.shape, displacement)
        versions = {k: (*_moved(c, v, displacement), r) for k, (c, v, r) in versions.items()}
    where = box_mask(config.region or (0, shape[0], 0, shape[1]), shape)
    if config.reference is not None:
        where &= ~box_mask(config.reference, shape)
    particles = outlines(versions["denoised"][0], where, config, progress)
    labels = np.where(known, particles.labels, 0)
    particles = particles._replace(labels=labels)
    mixture = _mixture(versions["denoised"], labels, config)
    phases = _phases(mixture, config, versions["denoised"], warnings)
    raw = _version(versions["raw"], labels, mixture, light_sd, config)
    limits = (raw[1].area_sd ** 2, raw[1].soc_sd ** 2)
    clean = _version(versions["denoised"], labels, mixture, light_sd, config, limits)
    times, spacing = even.movies[0].times, even.movies[0].pixel_size
    results = []
    for name, (maps, charge) in (("raw", raw), ("denoised", clean)):
        moved = fronts(charge, labels, times, spacing, half=config.speed_frames)
        results.append(OpticalVersion(*versions[name], maps, charge, moved))
    off = np.nanmean(np.abs(results[1].charge.area - 0.5) > 0.6)
    if off > 0.02:
        warnings.append(
            f"In {100 * off:.0f} % of the cases a phase takes less than none or more than all of a particle: these colours "
            "are not mixtures of those of the phases, and may not be graphite."
        )
    result = OpticalResult(
        even, estimate, light, light_sd, displacement, particles, phases, mixture,
        results[0], results[1], tuple(warnings), (),
    )  # fmt: skip
    return replace(result, sentences=tuple(_sentences(result, config)))


def light_of(
    channels: Channels, config: OpticalConfig, warnings: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Light of each frame and channel over its mean, from the reference box, and its standard deviation [c, t].

    Raises:
        InputError: a reference that is no brighter than the dark level.
    """
    shape = (len(channels), len(channels.movies[0].times))
    if config.reference is None:
        warnings.append(
            "No --reference: the light and its white balance are taken as steady, and their drift shows as a change "
            "of phase."
        )
        return np.ones(shape), np.zeros(shape)
    box = box_mask(config.reference, channels.movies[0].shape[1:])
    values = (
        np.where(channels.valid(), channels.frames, np.nan)[:, :, box].astype(float) - config.dark
    )
    with np.errstate(invalid="ignore"):
        mean = np.nanmean(values, axis=2)
    if not np.all(mean > 0):
        raise InputError(
            f"--reference {' '.join(map(str, config.reference))} is not brighter than the dark level {config.dark:g} in "
            "every frame and channel: choose a bright box, or give --dark."
        )
    # What differs between neighbouring frames is noise; the pattern of the box is not.
    own = np.nanvar(np.diff(values, axis=1) - np.diff(mean, axis=1)[..., None], axis=(1, 2)) / 2
    seen = np.maximum(np.isfinite(values).sum(axis=2), 1)
    whole = mean.mean(axis=1, keepdims=True)
    light, sd = mean / whole, np.sqrt(own[:, None] / seen) / whole
    swing = float(np.ptp(light, axis=1).max())
    if swing > 0.5:
        warnings.append(
            f"The light of the reference changes by {100 * swing:.0f} %: check that its colour is constant."
        )
    return light, sd


def steady(channels: Channels, light: np.ndarray, dark: float) -> Channels:
    """Channels above their dark level, as under the mean light."""
    movies = [
        m.with_frames(((m.frames - dark) / g[:, None, None]).astype(np.float32), noise=None)
        for m, g in zip(channels.movies, light, strict=True)
    ]
    return Channels(tuple(movies), channels.names, channels.name)


def outlines(
    colour: np.ndarray, where: np.ndarray, config: OpticalConfig, progress: Progress | None = None
) -> Particles:
    """Particles by brightness, the sum of channels."""
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


def _noise(estimate: Estimate) -> np.ndarray:
    """Variance of the measured frames, at the denoised intensity."""
    return np.asarray(estimate.noise.variance(jnp.asarray(estimate.mean, jnp.float32)), float)


def _moved(
    colour: np.ndarray, variance: np.ndarray, displacement: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    still = np.stack([np.asarray(shift(c, -displacement)) for c in colour])
    return still, np.stack([np.asarray(shifted_variance(v, -displacement)) for v in variance])


def _mixture(
    version: tuple[np.ndarray, np.ndarray, np.ndarray], labels: np.ndarray, config: OpticalConfig
) -> PhaseMixture:
    colour, variance, rho = version
    inside = labels > 0
    start = None
    if config.colours is not None:
        start = np.asarray(config.colours, float).reshape(config.phases, -1)
    return fit_phases(
        colour[:, inside].T.astype(float),
        pixel_covariance(variance[:, inside], rho),
        config.phases,
        start=start,
        top=GRAPHITE_PHASES[config.phases - 1].fraction,
        seed=config.denoise.seed,
    )


def _phases(
    mixture: PhaseMixture,
    config: OpticalConfig,
    version: tuple[np.ndarray, np.ndarray, np.ndarray],
    warnings: list[str],
) -> tuple[Phase, ...]:
    """Names, and warnings where a phase is hardly there or hardly different."""
    phases = GRAPHITE_PHASES[: config.phases]
    variance, rho = version[1], version[2]
    sd = np.sqrt(np.nanmedian(variance, axis=(1, 2, 3)))
    shared = overlap(mixture, rho * np.outer(sd, sd))
    for k, share in enumerate(mixture.shares):
        if share < 0.01:
            warnings.append(
                f"Phase {phases[k].name} covers {100 * share:.2g} % of the particles: its colour is hardly known; give "
                "--colours, or fewer --phases."
            )
    for k, same in enumerate(shared):
        if same > ALIKE:
            warnings.append(
                f"The colours of {phases[k].name} and {phases[k + 1].name} overlap by {100 * same:.0f} % even when "
                "denoised: the phases named here may not be phases of graphite."
            )
    if config.colours is None and np.any(np.diff(mixture.colours.sum(axis=1)) <= 0):
        warnings.append(
            "The colours found do not grow brighter with lithium, as those of graphite do: the phases named here may not "
            "be phases of graphite; give --colours."
        )
    if mixture.rounds >= ROUNDS:
        warnings.append(
            "The mixture of colours had not settled: its colours are less certain than said."
        )
    return phases


def _version(
    version: tuple[np.ndarray, np.ndarray, np.ndarray],
    labels: np.ndarray,
    mixture: PhaseMixture,
    light_sd: np.ndarray,
    config: OpticalConfig,
    limits: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[PhaseMaps, Charge]:
    colour, variance, rho = version
    count = len(mixture.colours)
    probability = np.full((count, *labels.shape), np.nan, np.float32)
    fraction, sd = np.full((2, *labels.shape), np.nan, np.float32)
    for t in range(len(labels)):
        inside = (labels[t] > 0) & np.isfinite(colour[:, t]).all(axis=0)
        if not inside.any():
            continue
        maps = classify_colours(
            mixture,
            colour[:, t, inside].T.astype(float),
            pixel_covariance(variance[:, t, inside], rho),
        )
        probability[:, t, inside] = maps.probability
        fraction[t, inside], sd[t, inside] = maps.fraction, maps.sd
    charge = particle_charge(
        colour,
        variance,
        rho,
        labels,
        mixture,
        light_sd,
        composition_sd=config.composition_sd,
        correlated=limits is not None,
        most=limits,
    )
    return PhaseMaps(probability, fraction, sd), charge


def _sentences(result: OpticalResult, config: OpticalConfig) -> list[str]:
    """What was found, for a reader."""
    movie = result.channels.movies[0]
    charge, moved = result.denoised.charge, result.denoised.fronts
    size = np.nanmedian(charge.pixels, axis=1) * np.prod(movie.pixel_size)
    out = [
        f"{len(size)} particles of {size.min():.4g} to {size.max():.4g} {movie.length_unit}² were followed.",
    ]
    if config.reference is not None:
        swing = 100 * np.ptp(result.light, axis=1)
        names = ", ".join(
            f"{n} {s:.1f} %" for n, s in zip(result.channels.names, swing, strict=True)
        )
        known = 100 * float(result.light_sd.max())
        out.append(f"The light changed by {names}, known to {known:.2g} %, and was taken out.")
    for phase, colour, cov in zip(
        result.phases, result.mixture.colours, result.mixture.covariance, strict=True
    ):
        sd = np.sqrt(np.diag(cov))
        text = ", ".join(f"{c:.4g} ± {s:.1g}" for c, s in zip(colour, sd, strict=True))
        out.append(
            f"Colour of {phase.name} (x = {phase.fraction:g}): {text} {movie.intensity_unit}."
        )
    first, last = charge.soc[:, 0], charge.soc[:, -1]
    out.append(
        f"State of charge of the particles from {np.nanmean(first):.3f} to {np.nanmean(last):.3f} on average; a frame "
        f"knows it to {np.nanmedian(charge.soc_sd):.2g} (at most; as measured {np.nanmedian(result.raw.charge.soc_sd):.2g})."
    )
    for k in range(moved.speed.shape[1]):
        speed = moved.speed[:, k]
        if np.isfinite(speed).any():
            out.append(
                f"Front of {result.phases[k + 1].name}: {np.nanmedian(speed):.3g} {movie.length_unit}/{movie.time_unit} "
                f"(median over particles and frames, each known to {np.nanmedian(moved.speed_sd[:, k]):.2g})."
            )
    return out
