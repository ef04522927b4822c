"""Phases, state of charge and fronts of whole particles from their mean colour, with error bars.

    ⟨I⟩ = Σ_k A_k M_k,  Σ A_k = 1   ->   A = L ⟨I⟩ + b,   SOC = Σ A_k x_k

The mean colour of a particle is linear in the areas A_k of its phases, whatever its pixels show, so areas and state of
charge follow without bias from noisy frames as from denoised ones: the generalised least squares solution of the line
above. Their variance has the share of the pixels, of the colours M_k, and of the drift of the light.

The front between two phases lies as deep under the rim as the area that has passed it reaches: with the distance of
each pixel from the pores, the quantile of that distance at 1 − A₁ − … This is exact for fronts that run in from the
rim, whatever the outline. Speeds are the slopes of straight lines through neighbouring frames, with errors widened by
how far the depths are from the line (Birge, Phys. Rev. 40, 207 (1932), doi:10.1103/PhysRev.40.207).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage

from phdenoise.modalities.optical.colours import Colours
from phdenoise.modalities.optical.phase_mixture import PhaseMixture
from phdenoise.uncertainty.error_correlation import INDEPENDENT, ErrorCorrelation, no_worse

# Share of a particle below which no front is given, or twice its error: the front is not there yet, or no more. 3 % of a
# disc is a rim of 1.5 % of its radius, less than a pixel for all radii below 60 px.
_FRONT_SHARE = 0.03
# How well an outline of pixels says where the rim is, sd [px]: that of a position known to within a pixel, 1/√12.
OUTLINE = 0.3
# Fewest depths that a speed is taken from: a straight line and two more to judge how far they are from it.
_SPEED_FRAMES = 4


class Charge(NamedTuple):
    """Of each particle over time.

    Attributes:
        area: share of each phase [particle, phase, t].
        soc: state of charge, x of Li_x C₆ [particle, t].
        area_sd, soc_sd: standard deviations.
        pixels: size [particle, t].
    """

    area: np.ndarray
    area_sd: np.ndarray
    soc: np.ndarray
    soc_sd: np.ndarray
    pixels: np.ndarray


class Fronts(NamedTuple):
    """Fronts of each particle over time; NaN where a front is not there.

    Attributes:
        depth, depth_sd: under the rim [particle, front, t] [length].
        speed, speed_sd: towards the middle [particle, front, t] [length/time].
    """

    depth: np.ndarray
    depth_sd: np.ndarray
    speed: np.ndarray
    speed_sd: np.ndarray


def particle_charge(
    colours: Colours,
    labels: Int[np.ndarray, "t y x"],
    mixture: PhaseMixture,
    light_sd: Float[np.ndarray, "c t"],
    *,
    composition_sd: float = 0.0,
    errors: ErrorCorrelation | None = INDEPENDENT,
) -> Charge:
    """Areas of phases and state of charge.

    Args:
        colours: under the mean light.
        labels: particles from 1.
        mixture: the colours of the phases.
        light_sd: relative standard deviation of the light's correction.
        composition_sd: how well the lithium fraction of a phase is known; common to all frames.
        errors: how those of pixels are correlated; None where it is not known, and errors may be common to a particle.

    Returns:
        Shares of the phases and state of charge, NaN where a particle is not seen.
    """
    number, count = int(labels.max()), len(labels)
    phases = len(mixture.colours)
    area, area_var = np.full((2, number, phases, count), np.nan)
    soc, soc_var = np.full((2, number, count), np.nan)
    pixels = np.zeros((number, count), int)
    x = mixture.fractions
    for t in range(count):
        frame = colours.frame(t)
        known = np.isfinite(frame.mean).all(axis=0)
        for p in range(number):
            particle = (labels[t] == p + 1) & known
            pixels[p, t] = particle.sum()
            if not particle.any():
                continue
            alike = 1.0 if errors is None else errors.of_mean(particle / pixels[p, t])[0]
            a, own, shared = _areas(frame, particle, mixture, light_sd[:, t], alike)
            area[p, :, t], soc[p, t] = a, x @ a
            area_var[p, :, t] = np.diag(own + shared)
            soc_var[p, t] = x @ (own + shared) @ x + np.sum((composition_sd * a) ** 2)
    return Charge(area, np.sqrt(area_var), soc, np.sqrt(soc_var), pixels)


def better_charge(measured: Charge, denoised: Charge) -> Charge:
    """The denoised charge of each particle where it is better known than the measured one, and the measured one elsewhere.

    Args:
        measured, denoised: of the same particles.

    Returns:
        Both the areas and the state of charge of a particle at a time are of one of them.
    """
    soc, soc_sd, better = no_worse(
        (measured.soc.T, measured.soc_sd.T), (denoised.soc.T, denoised.soc_sd.T)
    )
    taken = better.T[:, None]
    return Charge(
        np.where(taken, denoised.area, measured.area),
        np.where(taken, np.minimum(denoised.area_sd, measured.area_sd), measured.area_sd),
        soc.T,
        soc_sd.T,
        measured.pixels,
    )


def fronts(
    charge: Charge,
    labels: Int[np.ndarray, "t y x"],
    times: Float[np.ndarray, " t"],
    spacing: tuple[float, float],
    *,
    half: int = 3,
) -> Fronts:
    """Depth and speed of the fronts between consecutive phases.

    Args:
        charge: of these particles.
        labels: particles from 1.
        times: of the frames.
        spacing: (dy, dx) of a pixel [length].
        half: frames on either side that a speed is taken from.

    Returns:
        Depths [length] and speeds [length/time] of each front, NaN where it is not there.
    """
    number, phases, count = charge.area.shape
    depth, sd = np.full((2, number, phases - 1, count), np.nan)
    for p in range(number):
        reached: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}
        for t in range(count):
            mask = labels[t] == p + 1
            if not mask.any():
                continue
            key = np.packbits(mask).tobytes()
            if key not in reached:
                reached[key] = _area_within(mask, spacing)
            at, shares = reached[key]
            for k in range(phases - 1):
                # Area still in the phases up to k is ahead of the front.
                passed = 1 - charge.area[p, : k + 1, t].sum()
                wide = _front_sd(charge, p, k, t)
                least = max(_FRONT_SHARE, 2 * wide)
                if not least < passed < 1 - least:
                    continue
                bounds = np.clip([passed - wide, passed, passed + wide], 0, 1)
                low, mid, high = np.interp(bounds, shares, at)
                depth[p, k, t] = mid
                sd[p, k, t] = max(high - low, 1e-6 * spacing[0]) / 2
    speed, speed_sd = front_speed(depth, sd, times, half)
    # The outline is the same in all frames: it moves all depths together and no speed.
    return Fronts(depth, np.hypot(sd, OUTLINE * min(spacing)), speed, speed_sd)


def front_speed(
    depth: Float[np.ndarray, "... t"],
    sd: Float[np.ndarray, "... t"],
    times: Float[np.ndarray, " t"],
    half: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Speed and its standard deviation: weighted straight lines through up to 2 half + 1 neighbours, four at least.

    Args:
        depth, sd: of fronts, NaN where there is none [..., t].
        times: of the frames [t].
        half: frames on either side.

    Returns:
        Speed and sd [..., t] [length/time], NaN where there are too few depths.
    """
    speed, spread = np.full((2, *depth.shape), np.nan)
    for index in np.ndindex(depth.shape[:-1]):
        for t in range(times.size):
            near = slice(max(t - half, 0), t + half + 1)
            value, error, at = depth[index][near], sd[index][near], times[near]
            use = np.isfinite(value)
            if not np.isfinite(depth[index][t]) or use.sum() < _SPEED_FRAMES:
                continue
            w = 1 / error[use] ** 2
            centre = np.sum(w * at[use]) / w.sum()
            moment = np.sum(w * (at[use] - centre) ** 2)
            slope = np.sum(w * (at[use] - centre) * value[use]) / moment
            level = np.sum(w * value[use]) / w.sum()
            off = value[use] - level - slope * (at[use] - centre)
            # A front that jumps or bends follows no line: what it leaves widens the error.
            bend = max(1.0, float(np.sum(w * off**2)) / (use.sum() - 2))
            speed[index][t] = slope
            spread[index][t] = np.sqrt(bend / moment)
    return speed, spread


def _areas(
    frame: Colours,
    particle: np.ndarray,
    mixture: PhaseMixture,
    light_sd: np.ndarray,
    alike: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shares of the phases in a particle [phase]; their covariance by the pixels, and by light and colours.

    `alike`: variance of the particle's mean over that of a pixel.
    """
    values, covariance = frame.pixels(particle)
    mean, own = values.mean(axis=0), covariance.mean(axis=0)
    noise = alike * own
    from_mean, offset = _unmixing(mixture.colours, own + mixture.scatter)
    a = from_mean @ mean + offset
    # The light's share is common to all pixels, and the colours' enter by the areas that carry them.
    shared = np.diag((mean * light_sd) ** 2)
    shared = shared + np.einsum("k,kab->ab", a**2, mixture.covariance)
    return a, from_mean @ noise @ from_mean.T, from_mean @ shared @ from_mean.T


def _area_within(
    mask: Bool[np.ndarray, "y x"], spacing: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Depths under the rim [length], and the share of the particle that lies less deep.

    A pixel whose middle is at a depth is passed by a front within half a pixel on either side of it. The frame's edge
    is not the particle's.
    """
    far = ndimage.distance_transform_edt(np.pad(mask, 1, mode="edge"), sampling=spacing)
    depth, count = np.unique(far[1:-1, 1:-1][mask], return_counts=True)
    step = min(spacing)
    at = np.arange(0, depth[-1] + step, step / 4)
    share = np.clip((at[:, None] - depth) / step + 1, 0, 1) @ count / count.sum()
    return at, share


def _front_sd(charge: Charge, p: int, k: int, t: int) -> float:
    """Of the area passed: of 1 − A₀ or of A_last it is that of one area; of sums in between, their sum at most."""
    behind, ahead = charge.area_sd[p, k + 1 :, t], charge.area_sd[p, : k + 1, t]
    return float(min(behind.sum(), ahead.sum()))


def _unmixing(
    colours: np.ndarray, covariance: np.ndarray
) -> tuple[Float[np.ndarray, "phase c"], Float[np.ndarray, " phase"]]:
    """L and b of A = L I + b: least squares under Σ A = 1, the last area being what the others leave."""
    basis = (colours[:-1] - colours[-1]).T
    weight = np.linalg.inv(covariance)
    inner = np.linalg.pinv(basis.T @ weight @ basis) @ basis.T @ weight
    from_mean = np.vstack([inner, -inner.sum(axis=0)])
    offset = -from_mean @ colours[-1]
    offset[-1] += 1
    return from_mean, offset
