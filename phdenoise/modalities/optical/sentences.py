"""Sentences of the optical chain: warnings about the phases, and what was found."""

import numpy as np
from jaxtyping import Float

from phdenoise.modalities.optical.config import OpticalConfig
from phdenoise.modalities.optical.phase_mixture import (
    MOST_ITERATIONS,
    Phase,
    PhaseMixture,
    overlap,
)
from phdenoise.modalities.optical.result import OpticalResult

# Bhattacharyya coefficient of two colours from which on the phases are called one; 0.6 is a distance of two standard
# deviations, at which every sixth pixel is named wrongly.
_ALIKE = 0.6
# Share of pixels below which the colour of a phase is hardly known: a hundredth of the 4000 pixels that are used.
_HARDLY_THERE = 0.01


def phase_warnings(
    mixture: PhaseMixture,
    config: OpticalConfig,
    phases: tuple[Phase, ...],
    variance: Float[np.ndarray, "c t y x"],
    rho: Float[np.ndarray, "c c"],
) -> list[str]:
    """Warnings where a phase is hardly there or hardly different.

    Args:
        mixture: fitted to the movie.
        config: of the chain.
        phases: of the mixture.
        variance: of the denoised colours [counts²].
        rho: correlation of the channels' errors.

    Returns:
        A sentence for each warning.
    """
    warnings = []
    sd = np.sqrt(np.nanmedian(variance, axis=(1, 2, 3)))
    shared = overlap(mixture, rho * np.outer(sd, sd))
    for k, share in enumerate(mixture.shares):
        if share < _HARDLY_THERE:
            warnings.append(
                f"Phase {phases[k].name} covers {100 * share:.2g} % of the particles: its colour is hardly known; give "
                "--colours, or fewer --phases."
            )
    for k, same in enumerate(shared):
        if same > _ALIKE:
            warnings.append(
                f"The colours of {phases[k].name} and {phases[k + 1].name} overlap by {100 * same:.0f} % even when "
                "denoised: the phases named here may not be phases of graphite."
            )
    if config.colours is None and np.any(np.diff(mixture.colours.sum(axis=1)) <= 0):
        warnings.append(
            "The colours found do not grow brighter with lithium, as those of graphite do: the phases named here may not "
            "be phases of graphite; give --colours."
        )
    if mixture.iterations >= MOST_ITERATIONS:
        warnings.append(
            "The mixture of colours had not settled: its colours are less certain than said."
        )
    return warnings


def sentences(result: OpticalResult, config: OpticalConfig) -> list[str]:
    """What was found, for a reader.

    Args:
        result: of the chain.
        config: of the chain.

    Returns:
        A sentence for each finding.
    """
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
        f"gives it to {np.nanmedian(charge.soc_sd):.2g} (at most; as measured {np.nanmedian(result.raw.charge.soc_sd):.2g})."
    )
    for k in range(moved.speed.shape[1]):
        speed = moved.speed[:, k]
        if np.isfinite(speed).any():
            out.append(
                f"Front of {result.phases[k + 1].name}: {np.nanmedian(speed):.3g} {movie.length_unit}/{movie.time_unit} "
                f"(median over particles and frames, each known to {np.nanmedian(moved.speed_sd[:, k]):.2g})."
            )
    return out
