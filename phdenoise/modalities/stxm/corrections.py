"""What is done to X-ray scans before lithium is read off them: beam, drift, background before the edge.

counts -> I₀ and flicker -> one place -> background
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from phdenoise.modalities.settings import box_mask
from phdenoise.modalities.stxm.config import Scans, StxmConfig
from phdenoise.modalities.stxm.counts import (
    Background,
    Beam,
    background,
    beam_given,
    beam_in_region,
    mean_incident,
    normalise_beam,
)
from phdenoise.modalities.stxm.drift import (
    align_scans,
    displacement_sd,
    displacements,
    refine_displacements,
)

# Displacement of the scans from which on a warning is given, rms [px]: interpolation to a third of a pixel shows at edges.
_NOTICED_DRIFT = 0.3
# Variance of the optical density of a pixel that was not seen, so large that it has no weight [1].
_UNSEEN_VARIANCE = 1e6


class Corrected(NamedTuple):
    """Scans at one beam and one place.

    Attributes:
        counts: at one I₀ for each energy, NaN where nothing was measured [e, t, y, x].
        variance: of the counts by counting, flicker, I₀ and interpolation [e, t, y, x] [counts²].
        displacement_variance: of the counts by what is left of the displacements [e, t, y, x] [counts²].
        beam: I₀ and flicker.
        displacement: taken out (dy, dx) [e, t, 2] [px].
    """

    counts: Float[np.ndarray, "e t y x"]
    variance: Float[np.ndarray, "e t y x"]
    displacement_variance: Float[np.ndarray, "e t y x"]
    beam: Beam
    displacement: Float[np.ndarray, "e t 2"]


def correct_scans(
    scans: Scans, config: StxmConfig, above: Bool[np.ndarray, " e"], warnings: list[str]
) -> Corrected:
    """Scans at one beam and, where that is asked for, at one place.

    Args:
        scans: what was measured.
        config: of the chain.
        above: True for the energies above the edge.
        warnings: a drift that is not taken out is added.

    Returns:
        Counts and their variance, and what was taken out.

    Raises:
        InputError: no beam.
    """
    counts = np.asarray(scans.counts, float)
    beam = _beam(scans, config)
    same, variance = normalise_beam(counts, beam, gain=config.gain)
    none = Corrected(same, variance, np.zeros_like(variance), beam, np.zeros((*same.shape[:2], 2)))
    if config.drift:
        return _without_drift(none, above, config)
    if counts.shape[1] > 1:
        found = displacements(np.nan_to_num(_density(same, beam)[0][above]))
        spread = float(np.sqrt(np.mean(found**2)))
        if spread > _NOTICED_DRIFT:
            warnings.append(f"The scans are displaced by {spread:.2g} px (rms): use --drift.")
    return none


def background_of(
    scans: Scans,
    corrected: Corrected,
    above: Bool[np.ndarray, " e"],
    config: StxmConfig,
    warnings: list[str],
) -> Background:
    """Background from the scans before the edge, in the movie or taken once; zero without any.

    Args:
        scans: what was measured.
        corrected: the same at one beam and place.
        above: True for the energies above the edge.
        config: of the chain.
        warnings: scans without a background are added.

    Returns:
        Optical density at the energies above the edge [e, y, x].
    """
    same, variance, beam = corrected.counts, corrected.variance, corrected.beam
    at = scans.energies[above]
    od, spread, energies = [], [], []
    if (~above).any():
        density, floor = _density(same, beam)
        od.append(density[~above].reshape(-1, *same.shape[2:]))
        spread.append((variance / floor**2)[~above].reshape(-1, *same.shape[2:]))
        energies.append(np.repeat(scans.energies[~above], same.shape[1]))
    if scans.before is not None and scans.before_energies is not None:
        once = np.asarray(scans.before, float)[:, None]
        own = _beam_before(once, scans, config)
        evened, var = normalise_beam(once, own, gain=config.gain)
        density, floor = _density(evened, own)
        od.append(density[:, 0])
        spread.append((var / floor**2)[:, 0])
        energies.append(scans.before_energies)
    if not od:
        warnings.append(
            "No scan before the edge: whatever else absorbs is taken for iron, and shifts the lithium fraction."
        )
        zero = np.zeros((len(at), *same.shape[2:]))
        return background(zero, zero + 1e-12, np.zeros(len(at)), at)
    values, var = np.concatenate(od), np.concatenate(spread)
    known = np.isfinite(values)
    return background(
        np.where(known, values, 0.0),
        np.where(known, var, _UNSEEN_VARIANCE),
        np.concatenate(energies),
        at,
    )


def thickness_weights(config: StxmConfig) -> np.ndarray:
    """Weights of the energies' optical densities in the thickness, by unweighted least squares on the end members [e]."""
    basis = np.stack([config.lithiated, config.delithiated], axis=1)
    weights: np.ndarray = np.linalg.pinv(basis).sum(axis=0)
    return weights


def _without_drift(corrected: Corrected, above: np.ndarray, config: StxmConfig) -> Corrected:
    """Scans at one place, with what is left of their displacements in the variance."""
    same, variance, _, beam, _ = corrected
    od, weights = np.nan_to_num(_density(same, beam)[0][above]), thickness_weights(config)
    found = refine_displacements(od, weights, displacements(od))
    where = np.zeros((*same.shape[:2], 2))
    where[above] = found
    # Before the edge the particle hardly shows: those scans are where the ones above it are at the same time.
    where[~above] = found.mean(axis=0)
    moved = align_scans(same, variance, where, beam.along)
    spread = moved.variance[above] / np.maximum(moved.counts[above], 1.0) ** 2
    left = displacement_sd(od, spread, weights, found)
    slope = np.gradient(moved.counts, axis=(2, 3))
    jitter = left**2 * (slope[0] ** 2 + slope[1] ** 2)
    counts = np.where(moved.seen, moved.counts, np.nan)
    return Corrected(counts, moved.variance, jitter, beam, where)


def _beam(scans: Scans, config: StxmConfig) -> Beam:
    if config.incident_region is not None:
        region = box_mask(config.incident_region, scans.counts.shape[2:])
        return beam_in_region(np.asarray(scans.counts, float), region, gain=config.gain)
    if scans.incident is not None:
        return beam_given(scans.counts, scans.incident)
    given = np.asarray(config.incident, float)
    return beam_given(scans.counts, given.reshape(()) if given.size == 1 else given)


def _beam_before(once: np.ndarray, scans: Scans, config: StxmConfig) -> Beam:
    """The beam of scans taken apart; what is known for the energies of the movie serves at the nearest."""
    if config.incident_region is not None:
        return _beam(replace(scans, counts=once), config)
    if scans.incident is not None:
        return beam_given(once, np.repeat(scans.incident[:1], len(once), axis=0))
    return beam_given(once, np.asarray(config.incident[0], float))


def _density(same: np.ndarray, beam: Beam) -> tuple[np.ndarray, np.ndarray]:
    """Optical density, and the counts it was taken of, not less than one."""
    floor = np.maximum(same, 1.0)
    return np.log(mean_incident(beam)[:, None, None, None] / floor), floor
