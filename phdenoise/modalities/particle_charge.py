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

from phdenoise.modalities.phase_mixture import PhaseMixture

EDGE = 0.03
"""Share of a particle below which no front is given, or twice its error: it is not there yet, or no more."""
OUTLINE = 0.3
"""How well an outline of pixels says where the rim is [px]."""


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
    colour: Float[np.ndarray, "c t y x"],
    variance: Float[np.ndarray, "c t y x"],
    rho: Float[np.ndarray, "c c"],
    labels: Int[np.ndarray, "t y x"],
    mixture: PhaseMixture,
    light_sd: Float[np.ndarray, "c t"],
    *,
    composition_sd: float = 0.0,
    correlated: bool = False,
    most: tuple[np.ndarray, np.ndarray] | None = None,
) -> Charge:
    """Areas of phases and state of charge.

    Args:
        colour: without drift.
        variance: of each pixel.
        rho: correlation of the channels' errors at a pixel.
        labels: particles from 1.
        mixture: the colours of the phases.
        light_sd: relative standard deviation of the light's correction.
        composition_sd: how well the lithium fraction of a phase is known; common to all frames.
        correlated: errors of neighbouring pixels may be alike, as a denoiser's are: they then add up instead of
            averaging out, which is the most they can do.
        most: variances of area and soc that cannot be exceeded: a denoised mean is no worse than the plain one.
    """
    number, count = int(labels.max()), len(labels)
    phases, channels = mixture.colours.shape
    area, area_var = np.full((2, number, phases, count), np.nan)
    soc, soc_var = np.full((2, number, count), np.nan)
    pixels = np.zeros((number, count), int)
    x = mixture.fractions
    for t in range(count):
        for p in range(number):
            inside = (labels[t] == p + 1) & np.isfinite(colour[:, t]).all(axis=0)
            n = pixels[p, t] = int(inside.sum())
            if n == 0:
                continue
            mean = colour[:, t, inside].mean(axis=1)
            own = pixel_covariance(variance[:, t, inside], rho)
            if correlated:
                root = np.sqrt(own[:, range(channels), range(channels)]).mean(axis=0)
                noise = rho * np.outer(root, root)
            else:
                noise = own.mean(axis=0) / n
            from_mean, offset = _unmixing(mixture.colours, own.mean(axis=0) + mixture.scatter)
            a = from_mean @ mean + offset
            # The light's share is common to all pixels, and the colours' enter by the areas that carry them.
            shared = np.diag((mean * light_sd[:, t]) ** 2)
            shared = shared + np.einsum("k,kab->ab", a**2, mixture.covariance)
            total = from_mean @ noise @ from_mean.T
            more = from_mean @ shared @ from_mean.T
            area[p, :, t], soc[p, t] = a, x @ a
            limit_area, limit_soc = np.diag(total), x @ total @ x
            if most is not None:
                limit_area = np.minimum(limit_area, most[0][p, :, t])
                limit_soc = np.minimum(limit_soc, most[1][p, t])
            area_var[p, :, t] = limit_area + np.diag(more)
            soc_var[p, t] = limit_soc + x @ more @ x + np.sum((composition_sd * a) ** 2)
    return Charge(area, np.sqrt(area_var), soc, np.sqrt(soc_var), pixels)


def pixel_covariance(
    variance: Float[np.ndarray, "c n"], rho: Float[np.ndarray, "c c"]
) -> Float[np.ndarray, "n c c"]:
    """Covariance of the channels at each pixel."""
    sd = np.sqrt(variance.astype(float)).T
    return sd[:, :, None] * sd[:, None, :] * rho


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
                least = max(EDGE, 2 * wide)
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
        times: of the frames.
        half: frames on either side.
    """
    speed, spread = np.full((2, *depth.shape), np.nan)
    for index in np.ndindex(depth.shape[:-1]):
        for t in range(times.size):
            near = slice(max(t - half, 0), t + half + 1)
            value, error, at = depth[index][near], sd[index][near], times[near]
            use = np.isfinite(value)
            if not np.isfinite(depth[index][t]) or use.sum() < 4:
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
