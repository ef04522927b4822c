"""Why the network says what it says of a bin: its equivalent filter, and how far it looks.

    w_q = ∂ x̂_p / ∂ n_q,        r_90: the smallest disc about p that holds 90 % of Σ |w|

Locally the network is this linear filter of the counts: Σ w near one keeps intensities, (Σ w)²/Σ w² is how many bins it
averages. In a crystal the weights lie on the lattice, in vacuum on a wide disc; at a defect they withdraw from the lattice.
The mean of the frame, which is taken off before the network, counts as constant. Mohan et al., IEEE Trans. Comput. Imaging 8,
585 (2022), doi:10.1109/TCI.2022.3176536.
"""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phdenoise.modalities.tem.binning import bin_factor, bin_sums
from phdenoise.modalities.tem.denoiser import default_network, symmetric
from phdenoise.modalities.tem.network import TemUnet
from phdenoise.types import InputError

# Share of the absolute weights that the radius of the field of view holds.
_HELD = 0.9


class TemFilter(NamedTuple):
    """Equivalent filter of one bin.

    Attributes:
        pixel: row and column of the raw pixel asked for.
        bin: row and column of its bin.
        weights: of all bins [y, x], dimensionless.
        total: Σ w.
        effective: number of bins averaged, (Σ w)²/Σ w².
        radius: of the disc that holds 90 % of Σ |w| [angstrom].
    """

    pixel: tuple[int, int]
    bin: tuple[int, int]
    weights: Float[np.ndarray, "y x"]
    total: float
    effective: float
    radius: float


def tem_filters(
    counts: Float[np.ndarray, "y x"],
    pixels: Sequence[tuple[int, int]],
    *,
    pixel_size: float,
    network: TemUnet | None = None,
) -> list[TemFilter]:
    """Equivalent filters of the denoised image at some pixels, one reverse pass each.

    Args:
        counts: electrons of each detector pixel.
        pixels: row and column of each.
        pixel_size: of the detector pixels [angstrom].
        network: another network than the package's.

    Returns:
        One filter a pixel.

    Raises:
        InputError: a pixel outside the image.
    """
    for pixel in pixels:
        if not all(0 <= i < n for i, n in zip(pixel, counts.shape, strict=True)):
            raise InputError(f"Pixel {pixel} is outside the image of shape {counts.shape}.")
    network = default_network() if network is None else network
    factor = bin_factor(pixel_size)
    frame = np.asarray(counts, np.float64)
    bins = bin_sums(frame[None], factor, (0, 0), network.config.stride)[0]
    level = frame.mean() * factor**2
    z = jnp.asarray((bins - level) / np.sqrt(level), jnp.float32)
    out = []
    for pixel in pixels:
        place = pixel[0] // factor, pixel[1] // factor
        row = np.asarray(_row(network, z, jnp.asarray(place)), np.float64)
        out.append(_summary(pixel, place, row, factor * pixel_size))
    return out


@eqx.filter_jit
def _row(network: TemUnet, z: Array, place: Array) -> Array:
    return jax.grad(lambda shown: symmetric(network, shown)[0][place[0], place[1]])(z)


def _summary(
    pixel: tuple[int, int], place: tuple[int, int], weights: np.ndarray, size: float
) -> TemFilter:
    total, squares = float(weights.sum()), float((weights**2).sum())
    y, x = np.indices(weights.shape)
    distance = np.hypot(y - place[0], x - place[1]).ravel()
    order = np.argsort(distance)
    held = np.cumsum(np.abs(weights).ravel()[order])
    index = int(np.searchsorted(held, _HELD * held[-1])) if held[-1] > 0 else 0
    effective = total**2 / squares if squares > 0 else 0.0
    radius = float(distance[order][index]) * size
    return TemFilter(pixel, place, weights.astype(np.float32), total, effective, radius)
