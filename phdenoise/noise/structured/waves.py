"""Waves across the frame with a phase of their own in every frame: mains hum, microphony, interference, half-frames.

    w_t(r) = a_t cos(2π f·r) + b_t sin(2π f·r)

A wave is a single line of the spatial spectrum of differences of frames, of one phase in all quarters of the frame. Motion has
broad lines, and differs from quarter to quarter; a lattice that moves has a line in the mean of all frames as well.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage, optimize, stats

from phdenoise.noise.correlation import MOTION_BANDWIDTH

# Waves that are looked for, at most: a fundamental and its harmonics. Lines of the spectrum that are examined for each.
MOST_WAVES, EXAMINED = 8, 4
# Lines of the spectrum expected to be taken for waves by chance, in a movie.
FALSE_WAVES = 1e-6
# Frequencies on each side of a line that tell the power around it.
AROUND = 5
# Share of the power of a line that all quarters of the frame have in common, at least [1].
SMALLEST_COHERENCE = 0.7
# Standard deviations of the common power, at least.
COHERENCE_DEVIATIONS = 6.0
# Periods of a wave within the frame, at least: of a longer wave, motion has as much.
FEWEST_PERIODS = 1.5
# Power of a wave [variance of all differences], at least: a smaller one stays below what a denoised movie errs by.
SMALLEST_POWER = 0.002
# The same of a wave as long as motion that differences leave: a pattern that coarsens has a few per cent.
SMALLEST_SLOW_POWER = 0.1
# A line of the mean image so many times stronger than that of the differences is a lattice's.
LATTICE_RATIO = 1.0
# Frames that are looked at, at most; the power of a line is then known to a tenth.
MOST_FRAMES = 64
# Smallest side of a frame in which waves are looked for [px].
SMALLEST_SIDE = 12
# Evaluations of the power by which a frequency is refined, and frames that it is refined in, at most.
_EVALUATIONS, _REFINING_FRAMES = 60, 24


class Wave(NamedTuple):
    """One wave: frequencies along y and x [cycles/px], and its mean square [intensity²]."""

    fy: float
    fx: float
    power: float


def find_waves(
    noise: Float[np.ndarray, "n y x"],
    usable: Bool[np.ndarray, "n y x"],
    image: Float[np.ndarray, "y x"],
    share: float,
) -> list[Wave]:
    """The waves in differences of frames.

    Args:
        noise: differences of frames.
        usable: where they may be used.
        image: mean of the frames.
        share: independent frames per frame.

    Returns:
        The waves, the strongest first.
    """
    if min(noise.shape[1:]) < SMALLEST_SIDE or len(noise) < 2:
        return []
    step = -(-len(noise) // MOST_FRAMES)
    values = np.where(usable, noise, 0.0)[::step]
    filled = usable[::step].mean(axis=0)
    if filled.mean() < 0.5:
        return []
    flat = np.where(filled > 0, image - image[filled > 0].mean(), 0.0)
    out: list[Wave] = []
    for _ in range(MOST_WAVES):
        wave = _strongest(values, flat, share)
        if wave is None:
            break
        out.append(wave)
        values = values - fitted_waves(values, np.ones(values.shape, bool), [wave])[0]
    return out


def fitted_waves(
    values: Float[np.ndarray, "t y x"], usable: Bool[np.ndarray, "t y x"], waves: list[Wave]
) -> Float[np.ndarray, "k t y x"]:
    """Each wave in every frame, by least squares.

    Args:
        values: frames less their prediction [intensity].
        usable: where they may be used.
        waves: their frequencies.

    Returns:
        What each wave adds [intensity]; zero in frames with too few usable pixels.
    """
    y, x = (np.arange(n) - (n - 1) / 2 for n in values.shape[1:])
    phases = [2 * np.pi * (w.fy * y[:, None] + w.fx * x) for w in waves]
    basis = np.stack([f(p) for p in phases for f in (np.cos, np.sin)]).reshape(2 * len(waves), -1)
    flat = np.where(usable, values, 0.0).reshape(len(values), -1)
    projected = flat @ basis.T
    whole = np.linalg.pinv(basis @ basis.T, rcond=1e-9, hermitian=True)
    found = projected @ whole
    for t in np.flatnonzero(~usable.all(axis=(1, 2))):
        ok = usable[t].ravel()
        enough = ok.sum() > 4 * len(basis)
        own = basis[:, ok] @ basis[:, ok].T if enough else np.zeros_like(whole)
        found[t] = np.linalg.pinv(own, rcond=1e-9, hermitian=True) @ projected[t]
    each = np.einsum(
        "tkc,kcp->ktp", found.reshape(-1, len(waves), 2), basis.reshape(len(waves), 2, -1)
    )
    return each.reshape(len(waves), *values.shape)


def _strongest(values: np.ndarray, image: np.ndarray, share: float) -> Wave | None:
    """The strongest line that is a wave; None where there is none."""
    ny, nx = values.shape[1:]
    window = np.outer(np.hanning(ny + 2)[1:-1], np.hanning(nx + 2)[1:-1])
    both = np.mean(np.abs(np.fft.fft2(values * window)) ** 2, axis=0) / np.sum(window**2)
    background = _background(both)[:, : nx // 2 + 1]
    power = both[:, : nx // 2 + 1]
    ratio = power / np.maximum(background, np.finfo(float).tiny)
    fy, fx = np.fft.fftfreq(ny)[:, None], np.arange(nx // 2 + 1) / nx
    ratio[np.hypot(fy * ny, fx * nx) < FEWEST_PERIODS] = 0.0
    frames = max(len(values) * share, 1.0)
    # A power averaged over frames has a gamma distribution; its median is a little below its mean.
    limit = stats.gamma.isf(FALSE_WAVES / ratio.size, frames) / stats.gamma.median(frames)
    total = float(np.mean(values**2))
    for place in np.argsort(ratio, axis=None)[::-1][:EXAMINED]:
        ky, kx = np.unravel_index(place, ratio.shape)
        if ratio[ky, kx] < limit:
            return None
        at, around = (float(fy[ky, 0]), float(fx[kx])), float(background[ky, kx])
        at = _refined(values[:: -(-len(values) // _REFINING_FRAMES)], *at)
        found = _common(values, *at, around, frames, SMALLEST_COHERENCE)
        slow = np.hypot(*at) < MOTION_BANDWIDTH
        if found is not None and found > (SMALLEST_SLOW_POWER if slow else SMALLEST_POWER) * total:
            wave = Wave(*at, found)
            if not _of_a_lattice(image, wave):
                return wave
    return None


def _background(power: np.ndarray) -> np.ndarray:
    """Power around each line: of its neighbourhood, or of the row or column of the spectrum that it lies in, if that is more."""
    square = [min(2 * AROUND + 1, (n // 2) | 1) for n in power.shape]
    # A line and its mirror image near the highest frequency lie close together.
    along = [min(4 * AROUND + 1, (n // 2) | 1) for n in power.shape]
    sizes = (tuple(square), (along[0], 1), (1, along[1]))
    return np.max([ndimage.median_filter(power, size=s, mode="wrap") for s in sizes], axis=0)


def _amplitudes(values: np.ndarray, fy: float, fx: float) -> np.ndarray:
    """Means of values times a wave, over the last two axes."""
    y, x = (np.arange(n) - (n - 1) / 2 for n in values.shape[-2:])
    along = np.exp(-2j * np.pi * fy * y) @ values
    return np.asarray(along @ np.exp(-2j * np.pi * fx * x) / (y.size * x.size))


def _refined(values: np.ndarray, fy: float, fx: float) -> tuple[float, float]:
    """The frequency between those of the discrete transform where the power is largest."""
    ny, nx = values.shape[1:]

    def less(at: np.ndarray) -> float:
        # Outside of one step of the transform is another line.
        if np.abs(at).max() > 1:
            return 0.0
        return -float(np.sum(np.abs(_amplitudes(values, fy + at[0] / ny, fx + at[1] / nx)) ** 2))

    start = np.array([[0.0, 0.0], [0.3, 0.0], [0.0, 0.3]])
    options = {"initial_simplex": start, "xatol": 1e-3, "fatol": 0.0, "maxfev": _EVALUATIONS}
    best = optimize.minimize(less, start[0], method="Nelder-Mead", options=options).x
    return float(fy + best[0] / ny), float(fx + best[1] / nx)


def _common(
    values: np.ndarray, fy: float, fx: float, background: float, frames: float, least: float
) -> float | None:
    """Mean square of a wave, if all quarters of the frame have its amplitude and phase in common."""
    ny, nx = values.shape[1:]
    halves = [(slice(0, n // 2), slice(n // 2, n)) for n in (ny, nx)]
    y, x = (np.arange(n) - (n - 1) / 2 for n in (ny, nx))
    turns = np.exp(-2j * np.pi * fy * y), np.exp(-2j * np.pi * fx * x)
    quarters = np.stack(
        [
            (turns[0][a] @ values[:, a, b]) @ turns[1][b] / (turns[0][a].size * turns[1][b].size)
            for a in halves[0]
            for b in halves[1]
        ]
    )
    error = background / (ny * nx / 4)
    pairs = [(a, b) for a in range(4) for b in range(a)]
    common = float(np.mean([(quarters[a] * quarters[b].conj()).real for a, b in pairs]))
    total = float(np.mean(np.abs(quarters) ** 2)) - error
    chance = COHERENCE_DEVIATIONS * error / np.sqrt(len(pairs) * frames)
    if common < max(least * total, chance):
        return None
    # A cosine of amplitude A has the mean A/2 exp(iφ) when it is turned, one of two pixels' period the mean A.
    alternates = all(min(abs(f), abs(abs(f) - 0.5)) < 1e-3 for f in (fy, fx))
    return common if alternates else 2 * common


def _of_a_lattice(image: np.ndarray, wave: Wave) -> bool:
    """Whether the mean image has a line of this frequency that is as strong, above what is around it."""
    ny, nx = image.shape
    window = np.outer(np.hanning(ny + 2)[1:-1], np.hanning(nx + 2)[1:-1])
    weighted = image * window / window.mean()

    def power(dy: float, dx: float) -> float:
        return float(2 * np.abs(_amplitudes(weighted, wave.fy + dy / ny, wave.fx + dx / nx)) ** 2)

    around = np.mean(
        [power(dy, dx) for dy in (-3.0, 0.0, 3.0) for dx in (-3.0, 0.0, 3.0) if dy or dx]
    )
    return bool(power(0.0, 0.0) > LATTICE_RATIO * wave.power + 4 * around)
