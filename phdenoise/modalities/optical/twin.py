"""A colour camera over a bed of graphite: lithium fraction -> colour -> counts, with drift of the light.

    r(x) = piecewise linear through the colours of dilute, stage 2 and stage 1
    E[n_c] = o + a F g_c(t) (B ∗ r_c),   n_c = o + a Poisson(·/a) + Normal(0, σ_r²)

F is the number of electrons of a white pixel, a the counts per electron, o the offset, σ_r the read noise in counts, B
the blur of the optics, and g_c(t) the illumination times the white balance, both slow random walks. A coexistence of
two phases within a pixel has the mean of their colours, which is what makes r linear between them. A strip of current
collector beside the bed keeps its colour. Colours after Guo et al., J. Phys. Chem. Lett. 7, 2151 (2016),
doi:10.1021/acs.jpclett.6b00625.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import ndimage

from phdenoise.types import InputError

# Linear reflectances (r, g, b) of what lies between particles, of copper, and of the phases of graphite under white light:
# chosen after the photographs of Guo et al. (2016), dark grey-blue, red and gold.
PORE = (0.06, 0.06, 0.07)
COLLECTOR = (0.72, 0.45, 0.36)
GRAPHITE_COLOURS = ((0.22, 0.24, 0.30), (0.55, 0.25, 0.18), (0.80, 0.62, 0.25))


@dataclass(frozen=True)
class CameraConfig:
    """The camera.

    Attributes:
        electrons: F, of a white pixel in a frame.
        gain: a [counts/electron].
        read_noise: σ_r [electrons].
        offset: o [counts].
        blur: standard deviation of the optics' blur [px].
        illumination, white_balance: relative spread of the drift over the movie, of all and of each channel.
        strip: rows of current collector above the bed [px].
    """

    electrons: float = 20.0
    gain: float = 4.0
    read_noise: float = 3.0
    offset: float = 100.0
    blur: float = 0.4
    illumination: float = 0.08
    white_balance: float = 0.05
    strip: int = 12


class Scene(NamedTuple):
    """What the camera sees of a bed.

    Attributes:
        clean: expected counts [c, t, y, x], drift included.
        fraction: lithium fraction x [t, y, x], NaN outside the particles.
        labels: particles from 1 [y, x].
        light: g_c(t) [c, t].
        strip: box of the collector: first row, last row, first column, last column (last excluded).
    """

    clean: np.ndarray
    fraction: np.ndarray
    labels: np.ndarray
    light: np.ndarray
    strip: tuple[int, int, int, int]


def graphite_colour(
    fraction: Float[np.ndarray, "..."],
    colours: Float[np.ndarray, "phase c"] | tuple[tuple[float, ...], ...] = GRAPHITE_COLOURS,
) -> Float[np.ndarray, "... c"]:
    """r(x) for phases evenly spaced in x from 0 to 1.

    Args:
        fraction: x, any shape.
        colours: reflectances of the phases [phase, c].

    Returns:
        Reflectances [..., c].
    """
    table = np.asarray(colours, float)
    knots = np.linspace(0, 1, len(table))
    return np.stack([np.interp(fraction, knots, column) for column in table.T], axis=-1)


def photograph(
    fraction: Float[np.ndarray, "t y x"],
    labels: Int[np.ndarray, "y x"],
    config: CameraConfig,
    random: np.random.Generator,
) -> Scene:
    """Expected counts of a bed, with the drift of the light.

    Args:
        fraction: x of Li_x C₆.
        labels: particles, 0 in the pores.
        config: the camera.
        random: of the drift.

    Returns:
        Expected counts and the truth.

    Raises:
        InputError: a camera without light.
    """
    if not (config.electrons > 0 and config.gain > 0 and config.read_noise >= 0):
        raise InputError("A camera needs positive electrons and gain, and no negative read noise.")
    count, _, nx = fraction.shape
    inside = labels > 0
    colour = np.where(inside[None, :, :, None], graphite_colour(fraction), np.asarray(PORE))
    above = np.broadcast_to(np.asarray(COLLECTOR), (count, config.strip, nx, 3))
    scene = np.moveaxis(np.concatenate([above, colour], axis=1), -1, 0)
    scene = ndimage.gaussian_filter(scene, (0, 0, config.blur, config.blur), mode="nearest")
    light = (1 + config.illumination * _walk(random, 1, count)) * (
        1 + config.white_balance * _walk(random, 3, count)
    )
    electrons = config.electrons * light[:, :, None, None] * scene
    pad = ((config.strip, 0), (0, 0))
    seen = np.where(inside, fraction, np.nan)
    return Scene(
        config.offset + config.gain * electrons,
        np.pad(seen, ((0, 0), *pad), constant_values=np.nan),
        np.pad(labels, pad),
        light,
        (0, config.strip, 0, nx),
    )


def exposed(
    clean: Float[np.ndarray, "c t y x"], config: CameraConfig, random: np.random.Generator
) -> Float[np.ndarray, "c t y x"]:
    """Counts with photon and read noise; not rounded and not clipped.

    Args:
        clean: expected counts [c, t, y, x].
        config: the camera.
        random: of the noise.

    Returns:
        Counts, float32.
    """
    electrons = random.poisson(np.maximum(clean - config.offset, 0) / config.gain)
    read = config.read_noise * random.standard_normal(clean.shape)
    return (config.offset + config.gain * (electrons + read)).astype(np.float32)


def _walk(random: np.random.Generator, channels: int, count: int) -> np.ndarray:
    """Random walks [channel, t] that begin at 0 and have unit standard deviation over the movie."""
    walk = np.cumsum(random.standard_normal((channels, count)), axis=1)
    walk = ndimage.gaussian_filter1d(walk, 1.0, axis=1, mode="nearest")
    walk = walk - walk.mean(axis=1, keepdims=True)
    spread = walk.std(axis=1, keepdims=True)
    walk = walk / np.where(spread > 0, spread, 1)
    return walk - walk[:, :1]
