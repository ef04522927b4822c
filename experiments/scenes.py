"""Random scenes that change, and noise of many kinds: what a denoiser is trained on before it is given a movie.

    f̂(ω, k) ~ √S(k) e^{−(ω τ(k))²/4},   τ(k) = τ₀ (k ℓ)^{−z}        random fields, of one wavelength or of many
    scene = g(f),   g: identity, one or two steep walls (fronts, phases), a threshold (islands)

Fields are laid over each other, masked by particles that rest, drift, grow and fade; or the scene is spots, on a lattice
or at random, that walk and flicker. Lengths are 1.5 to 12 px, times 1 to 200 frames. No equation of motion is solved.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

# Period of the random fields over the side that is cut from them: above 1, so that opposite edges differ.
_TORUS = 4 / 3


class Exposure(NamedTuple):
    """A scene and its noisy measurement [t, y, x], of unit contrast; `correlated` noise is shared by neighbours."""

    clean: np.ndarray
    noisy: np.ndarray
    correlated: bool


def expose(rng: np.random.Generator, frames: int, side: int) -> Exposure:
    """A random scene with random noise: 0.1 to 8 times its contrast, half of it white, a third of it like counts.

    Args:
        rng: source of chance.
        frames: number of frames.
        side: of a frame [px].

    Returns:
        The scene and its noisy measurement [t, y, x].
    """
    clean = scene(rng, frames, side)
    sigma = _between(rng, 0.1, 8.0)
    white = rng.standard_normal(clean.shape)
    kind = rng.choice(["white", "box", "line", "blur"], p=[0.5, 0.18, 0.1, 0.22])
    if kind == "box":
        noise = ndimage.uniform_filter(white, (0, 3, 3), mode="wrap")
    elif kind == "line":
        sides = rng.permutation([1, int(rng.choice([3, 5, 9]))]).tolist()
        noise = ndimage.uniform_filter(white, (0, *sides), mode="wrap")
    elif kind == "blur":
        blur = rng.uniform(0.5, 1.5)
        noise = ndimage.gaussian_filter(white, (0, blur, blur), mode="wrap")
    else:
        noise = white
    variance = np.ones_like(clean)
    if rng.random() < 0.3:
        variance = np.maximum(clean - np.quantile(clean, 1e-3), 0) + 0.05
    sd = sigma * np.sqrt(variance / variance.mean()) / noise.std()
    return Exposure(clean, (clean + sd * noise).astype(np.float32), str(kind) != "white")


def scene(rng: np.random.Generator, frames: int, side: int) -> np.ndarray:
    """A scene that changes [t, y, x], of unit standard deviation.

    Args:
        rng: source of chance.
        frames: number of frames.
        side: of a frame [px].

    Returns:
        Clean frames [t, y, x].
    """
    if rng.random() < 0.12:
        out = _spots(rng, frames, side)
    else:
        out = _walls(rng, _field(rng, frames, side))
        if rng.random() < 0.4:
            still = rng.random() < 0.3
            out = out + rng.uniform(0.05, 0.6) * _walls(rng, _field(rng, frames, side, still))
        if rng.random() < 0.25:
            edge = _field(rng, frames, side, still=True)[:1] - 0.5 * rng.normal()
            out = (out + 2 * rng.normal()) / (1 + np.exp(-8 * edge))
    if rng.random() < 0.3:
        growth = rng.normal() * rng.choice([0.1, 1.0])
        out = out * np.exp(growth * _course(frames))
    return (out / max(float(out.std()), 1e-6)).astype(np.float32)


def jumping_discs(
    rng: np.random.Generator, frames: int, side: int, step: float = 3.0
) -> np.ndarray:
    """Textured discs over a dark ground that jump at random between frames; values 0 to 1.5.

    A model of cells, droplets or a nanoparticle over vacuum, where much of the frame is at rest.

    Args:
        rng: source of chance.
        frames: number of frames.
        side: of a frame [px].
        step: sd of the displacement between frames [px].

    Returns:
        Clean frames [t, y, x].
    """
    count, radius = max(1, side**2 // 2500), 11.0
    texture = ndimage.gaussian_filter(
        rng.standard_normal((count, 3 * side, 3 * side)), (0, 1.5, 1.5), mode="wrap"
    )
    places = rng.uniform(radius, side - radius, (count, 2))
    y, x = np.mgrid[:side, :side].astype(float)
    out = np.zeros((frames, side, side))
    for image in out:
        places = np.clip(places + step * rng.standard_normal(places.shape), 0, side)
        for (py, px), pattern in zip(places, texture / texture.std(), strict=True):
            inside = 1 / (1 + np.exp((np.hypot(y - py, x - px) - radius) / 0.8))
            seen = ndimage.map_coordinates(
                pattern, (y - py + side, x - px + side), order=1, mode="wrap"
            )
            np.maximum(image, inside * (0.7 + 0.2 * seen), out=image)
    return np.clip(out, 0.0, 1.5)


def _field(rng: np.random.Generator, frames: int, side: int, still: bool = False) -> np.ndarray:
    """A Gaussian random field of unit variance that changes, rests (`still`) or drifts."""
    box = (2 * frames, int(_TORUS * side), int(_TORUS * side))
    length, exponent = _between(rng, 1.5, 12.0), rng.uniform(0, 2)
    time = 1e3 if still else _between(rng, 1.0, 200.0)
    ky, kx = 2 * np.pi * np.fft.fftfreq(box[1])[:, None], 2 * np.pi * np.fft.rfftfreq(box[2])
    k = np.hypot(ky, kx)
    if rng.random() < 0.5:
        power = np.exp(-0.5 * ((k * length - 1) / 0.35) ** 2)
    else:
        power = (1 + (k * length) ** 2) ** (-0.5 * rng.uniform(2.5, 5.0)) * np.exp(
            -((0.14 * k) ** 2)
        )
    lasts = time * np.maximum(k * length, 0.3) ** -exponent
    omega = 2 * np.pi * np.fft.fftfreq(box[0])[:, None, None]
    amplitude = np.sqrt(power * lasts) * np.exp(-0.25 * (omega * lasts) ** 2)
    field = np.fft.irfftn(np.fft.rfftn(rng.standard_normal(box)) * amplitude, box, axes=(0, 1, 2))[
        :frames
    ]
    field = (field - field.mean()) / field.std()
    if not still and rng.random() < 0.3:
        vy, vx = rng.normal(size=2) * _between(rng, 0.02, 1.0)
        phase = np.arange(frames)[:, None, None] * (ky * vy + kx * vx)
        field = np.fft.irfft2(np.fft.rfft2(field) * np.exp(-1j * phase), box[1:], axes=(1, 2))
    cut: np.ndarray = field[:, :side, :side]
    return cut


def _walls(rng: np.random.Generator, field: np.ndarray) -> np.ndarray:
    """The field itself, or its phases, whose fronts may move as its level rises."""
    kind = rng.choice(["field", "islands", "three", "two"], p=[0.2, 0.1, 0.15, 0.55])
    if kind == "field":
        return field
    rise = rng.normal() * rng.choice([0.0, 0.5, 1.5]) * _course(len(field))
    above = field - 0.6 * rng.normal() - rise
    steep = _between(rng, 1.0, 12.0)
    if kind == "islands":
        out = np.maximum(above, 0)
    else:
        out = np.tanh(steep * above)
        if kind == "three":
            out = out + 0.5 * np.tanh(steep * (above - rng.uniform(0.5, 1.2)))
    shaped: np.ndarray = out / max(float(out.std()), 0.2)
    return shaped


def _spots(rng: np.random.Generator, frames: int, side: int) -> np.ndarray:
    """Gaussian spots that walk, some of them flickering."""
    width = rng.uniform(1.0, 3.0)
    if rng.random() < 0.5:
        places = rng.uniform(0, side, (rng.integers(20, 150), 2))
    else:
        line = np.arange(0, side, width * rng.uniform(3, 5))
        places = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    count = len(places)
    walk = np.cumsum(rng.normal(size=(frames, count, 2)), axis=0) * _between(rng, 0.01, 0.5)
    beat = np.outer(np.arange(frames), rng.uniform(0, 1, count)) + rng.uniform(0, 2 * np.pi, count)
    height = 1 + 0.5 * rng.integers(0, 2) * np.sin(beat)
    margin = 6
    out = np.zeros((frames, side + 2 * margin, side + 2 * margin))
    for image, at, weight in zip(out, places + walk + margin, height, strict=True):
        inside = ((at >= 0) & (at < side + 2 * margin - 1)).all(axis=1)
        low, share = np.floor(at[inside]).astype(int), at[inside] % 1
        for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
            part = np.abs(1 - dy - share[:, 0]) * np.abs(1 - dx - share[:, 1])
            np.add.at(image, (low[:, 0] + dy, low[:, 1] + dx), weight[inside] * part)
    blurred = ndimage.gaussian_filter(out, (0, width, width))
    return blurred[:, margin:-margin, margin:-margin] / max(float(blurred.std()), 1e-6)


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _course(frames: int) -> np.ndarray:
    """From −1/2 at the first frame to 1/2 at the last [t, 1, 1]."""
    return np.linspace(-0.5, 0.5, frames)[:, None, None]
