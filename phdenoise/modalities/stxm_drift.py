"""Scans of one particle brought to one place, with what interpolation does to their noise.

    s = min(OD, level)  is registered:  the outline stays while the phases inside move
    var I(r − d) = var I · Π_axes [ (1−φ)² + φ² + 2φ(1−φ) ρ ],   φ the fraction of a pixel moved, ρ the noise's correlation

The last term matters where the beam flickers along a scan line: interpolation averages less of such noise away than of
independent noise. What is left of the displacement, a tenth of a pixel or so, moves fronts and is not in the variance. Registration:
`phdenoise.modalities.registration`.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from phdenoise.modalities.drift import inside, shifted_variance
from phdenoise.modalities.registration import register, shift

_ROUNDS = 2
# Level of the outline, as a share of the largest optical densities.
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
    for _ in range(_ROUNDS):
        still = np.asarray(shift(jnp.asarray(outline), jnp.asarray(-found, jnp.float32)))
        found = np.asarray(register(outline, reference=np.median(still, axis=0)), float)
        found -= found.mean(0)
    return found.reshape(*od.shape[:2], 2)


def aligned(
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
