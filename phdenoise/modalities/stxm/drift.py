"""Scans of one particle brought to one place, with what interpolation does to their noise.

    s = min(OD, level)  is registered:  the outline stays while the phases inside move
    d = Σ_e w_e OD_e    stays as well:  the thickness, in which the phases cancel; what is left of it at gradients is drift
    var I(r − d) = var I · Π_axes [ (1−φ)² + φ² + 2φ(1−φ) ρ ],   φ the fraction of a pixel moved, ρ the noise's correlation

The last term matters where the beam flickers along a scan line: interpolation averages less of such noise away than of
independent noise. What is left of the displacement, some hundredths of a pixel, shows in the scatter of the thickness where it
has gradients. Registration: `phdenoise.modalities.registration`.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from phdenoise.modalities.drift import inside, shifted_variance
from phdenoise.modalities.registration import register, shift

# Rounds of registration and of the linear step: each follows the median image or slope of the round before.
_ITERATIONS = 2
# Rim of a frame where interpolation repeats its edge [px].
_EDGE = 2
# Level of the outline, as a share of the largest optical densities: below that of both phases, above the background.
_LEVEL = 0.35


class Aligned(NamedTuple):
    """Scans at one place.

    Attributes:
        counts, variance: moved [e, t, y, x].
        seen: False where a pixel came from outside its frame.
        displacement: (dy, dx) taken out of each scan [e, t, 2] [px].
    """

    counts: Float[np.ndarray, "e t y x"]
    variance: Float[np.ndarray, "e t y x"]
    seen: Bool[np.ndarray, "e t y x"]
    displacement: Float[np.ndarray, "e t 2"]


def displacements(od: Float[np.ndarray, "e t y x"]) -> Float[np.ndarray, "e t 2"]:
    """Displacement of every scan from their common outline (dy, dx) [px]; their mean is zero."""
    flat = od.reshape(-1, *od.shape[2:])
    top = np.quantile(od, 0.95, axis=(1, 2, 3))
    level = np.repeat(_LEVEL * top, od.shape[1])[:, None, None]
    # At one height for all energies.
    outline = np.clip(flat / level, -1, 1).astype(np.float32)
    found = np.zeros((len(flat), 2))
    for _ in range(_ITERATIONS):
        still = np.asarray(shift(jnp.asarray(outline), jnp.asarray(-found, jnp.float32)))
        found = np.asarray(register(outline, reference=np.median(still, axis=0)), float)
        found -= found.mean(0)
    return found.reshape(*od.shape[:2], 2)


def refine_displacements(
    od: Float[np.ndarray, "e t y x"],
    weights: Float[np.ndarray, " e"],
    displacement: Float[np.ndarray, "e t 2"],
) -> Float[np.ndarray, "e t 2"]:
    """Displacements that keep the thickness as it is: of the scans of one time together, and of one energy from another.

    Least squares to first order in what is left of the displacement, about the median thickness. How the scans of one time lie to
    each other is left as the outline has it, but for its mean: the thickness tells little of it.

    Args:
        od: optical density.
        weights: of the energies in the thickness.
        displacement: of `displacements`.

    Returns:
        Displacements whose mean is zero [px].
    """
    found, count = displacement.copy(), od.shape[0]
    for _ in range(_ITERATIONS):
        left, slope = _thickness_left(od, weights, found)
        together = slope.sum(axis=0)
        normal = np.einsum("tpa,tpb->tab", together, together) + 1e-12 * np.eye(2)
        step = -np.linalg.solve(normal, np.einsum("tpa,tp->ta", together, left)[..., None])[..., 0]
        left = left + np.einsum("tpa,ta->tp", together, step)
        # From the first energy; what all scans of a time share is taken by `step`.
        apart = slope[1:].transpose(1, 2, 0, 3).reshape(*left.shape, 2 * (count - 1))
        shared = np.linalg.solve(normal, np.einsum("tpa,tpb->tab", together, apart))
        apart = apart - np.einsum("tpa,tab->tpb", together, shared)
        square = np.einsum("tpa,tpb->ab", apart, apart) + 1e-12 * np.eye(2 * (count - 1))
        offset = -np.linalg.solve(square, np.einsum("tpa,tp->a", apart, left))
        found = found + step
        found[1:] += offset.reshape(count - 1, 1, 2)
        found -= found.mean((0, 1))
    return found


def displacement_sd(
    od: Float[np.ndarray, "e t y x"],
    variance: Float[np.ndarray, "e t y x"],
    weights: Float[np.ndarray, " e"],
    displacement: Float[np.ndarray, "e t 2"],
) -> float:
    """What is left of the displacements along an axis, and of interpolating, rms [px].

    The thickness scatters by more than its noise where optical densities have gradients: the excess is regressed on their square.

    Args:
        od: optical density, as measured.
        variance: of the optical density where it has been moved.
        weights, displacement: as in `refine_displacements`.

    Returns:
        sd along one axis [px].
    """
    left, slope = _thickness_left(od, weights, displacement)
    inside = np.s_[..., _EDGE:-_EDGE, _EDGE:-_EDGE]
    noise = np.tensordot(weights**2, variance[inside], 1).reshape(left.shape)
    steep = np.sum(slope**2, axis=(0, 3))
    excess = np.sum(steep * (left**2 - noise)) / max(float(np.sum(steep**2)), 1e-300)
    return float(np.sqrt(max(excess, 0.0)))


def _thickness_left(
    od: np.ndarray, weights: np.ndarray, displacement: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Thickness less its median over time [t, p], and its derivative by the displacements of the scans [e, t, p, 2]."""
    flat, back = od.reshape(-1, *od.shape[2:]), -displacement.reshape(-1, 2)
    still = np.asarray(shift(jnp.asarray(flat, jnp.float32), jnp.asarray(back, jnp.float32)), float)
    still = weights[:, None, None, None] * still.reshape(od.shape)
    thickness = still.sum(axis=0)
    slope = np.stack(np.gradient(still, axis=(2, 3)), axis=-1)[:, :, _EDGE:-_EDGE, _EDGE:-_EDGE]
    left = (thickness - np.median(thickness, axis=0))[:, _EDGE:-_EDGE, _EDGE:-_EDGE]
    return left.reshape(len(left), -1), slope.reshape(*slope.shape[:2], -1, 2)


def align_scans(
    counts: Float[np.ndarray, "e t y x"],
    variance: Float[np.ndarray, "e t y x"],
    displacement: Float[np.ndarray, "e t 2"],
    along: Float[np.ndarray, "2"] | None = None,
) -> Aligned:
    """Scans moved back, with the variance that is left.

    Args:
        counts, variance: as measured.
        displacement: of `displacements`.
        along: ρ, correlation of the noise with the next pixel along y and x; 0 where it is not known.

    Returns:
        Scans at one place.
    """
    shape = counts.shape
    back = -displacement.reshape(-1, 2)
    flat = counts.reshape(-1, *shape[2:])
    moved = np.asarray(shift(jnp.asarray(flat, jnp.float32), jnp.asarray(back, jnp.float32)), float)
    spread = np.asarray(shifted_variance(variance.reshape(flat.shape), back), float)
    rho = np.zeros(2) if along is None else np.clip(np.nan_to_num(along), 0, 1)
    part = back - np.floor(back)
    alone = (1 - part) ** 2 + part**2
    spread *= np.prod((alone + 2 * part * (1 - part) * rho) / alone, axis=1)[:, None, None]
    seen = inside(flat.shape, -back)
    return Aligned(
        moved.reshape(shape), spread.reshape(shape), seen.reshape(shape), displacement
    )  # fmt: skip
