"""Structured noise of a movie: which patterns there are, and what each adds to every frame.

Patterns are found in differences of frames. Then each frame is compared with its prediction from the frames around it without
what the patterns are known to add; rounds of this reach what is fitted to all frames at once.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from phdenoise.noise.differences import Difference
from phdenoise.noise.structured.lines import LineSpectrum, at_rest, line_offsets, line_spectrum
from phdenoise.noise.structured.named import line_pattern, wave_pattern
from phdenoise.noise.structured.pattern import Pattern, Structure
from phdenoise.noise.structured.waves import Wave, find_waves, fitted_waves

# Frames that are needed to tell a pattern from the scene.
FEWEST_FRAMES = 6
# Frames around one that predict it: of these numbers, the one whose predictions err least.
NEIGHBOURS = (4, 8, 16, 32)
# Rounds, and the share of each correction that is made: with all of it, a pattern that alternates from frame to frame would swing.
ROUNDS, STEP = 8, 0.7
# Pixels by which the best number of neighbours is chosen, at most.
_CHOICE_PIXELS = 4096
# Frames whose median predicts the frame between them, where something leaps.
MEDIAN_FRAMES = 4
# Axes that are exchanged so that lines lie along x: rows do, columns do not.
_AXES = ((1, 1), (1, 2))


class Found(NamedTuple):
    """The patterns that differences of frames show.

    Attributes:
        waves: across the frame.
        rows, columns: spectra of line offsets; None where there are none.
    """

    waves: list[Wave]
    rows: LineSpectrum | None
    columns: LineSpectrum | None

    def __bool__(self) -> bool:
        return bool(self.waves or self.rows or self.columns)


def found_structure(difference: Difference, image: Float[np.ndarray, "y x"]) -> Found:
    """The patterns that differences of frames show.

    Args:
        difference: of the movie.
        image: mean of its frames.

    Returns:
        Those that are significant.
    """
    noise, usable = difference.noise, difference.usable
    waves = find_waves(noise, usable, image, difference.share)
    if waves:
        noise = noise - fitted_waves(noise, usable, waves).sum(axis=0)
    rows, columns = (
        line_spectrum(np.swapaxes(noise, *axes), np.swapaxes(usable, *axes), difference.share)
        for axes in _AXES
    )
    return Found(waves, *(s if s is not None and s.found else None for s in (rows, columns)))


def estimate_structure(
    data: Float[np.ndarray, "t y x"],
    good: Bool[np.ndarray, "t y x"],
    difference: Difference,
    lags: int,
) -> Structure | None:
    """The structured noise of a movie.

    Args:
        data: finite intensities.
        good: pixels that may be used.
        difference: of the movie.
        lags: largest lag of the autocovariance [px].

    Returns:
        Its patterns; None where there are none, or too few frames to tell.
    """
    if data.shape[0] < FEWEST_FRAMES:
        return None
    count = np.maximum(good.sum(axis=0), 1)
    image = np.where(good, data, 0.0).sum(axis=0) / count
    found = found_structure(difference, image)
    if not found:
        return None
    patterns = _fitted(np.where(good, data, image), good, found)
    lag = np.arange(-lags, lags + 1)
    covariance = sum(_autocovariance(p, w, lag) for p, w in patterns)
    kept = tuple(p for p, _ in patterns)
    return Structure(kept, np.asarray(covariance))


def _fitted(data: np.ndarray, good: np.ndarray, found: Found) -> list[tuple[Pattern, Wave | None]]:
    """Patterns with what they add, and the wave of those that are one."""
    predict, kept = _predictor(data)
    waves = np.zeros((len(found.waves), *data.shape))
    rows, columns = np.zeros((*data.shape[:2], 1)), np.zeros((len(data), 1, data.shape[2]))
    lines = {0: found.rows, 1: found.columns}
    spectra: dict[int, tuple[LineSpectrum, np.ndarray]] = {}
    for _ in range(ROUNDS):
        left = data - predict(data - waves.sum(axis=0) - rows - columns)
        if found.waves:
            new = fitted_waves(left - rows - columns, good, found.waves)
            waves += STEP * (new - waves)
        for axis, out, other in ((0, rows, columns), (1, columns, rows)):
            if lines[axis] is not None:
                offset, spectrum, error = _lines(left - waves.sum(axis=0) - other, good, axis)
                spectra[axis] = spectrum, error
                out += STEP * (np.expand_dims(offset, 2 - axis) - out)
    white = float(np.mean((left - waves.sum(axis=0) - rows - columns)[good] ** 2))
    patterns: list[tuple[Pattern, Wave | None]] = []
    scene = data - waves.sum(axis=0) - rows - columns
    for wave, offset in zip(found.waves, waves, strict=True):
        patterns.append((wave_pattern(wave, offset, scene, good, white, kept), wave))
    for axis, offset in ((0, rows), (1, columns)):
        if axis in spectra:
            turned, used = (np.swapaxes(a, *_AXES[axis]) for a in (scene, good))
            patterns.append((line_pattern(axis, offset, spectra[axis], turned, used, kept), None))
    return patterns


def _lines(
    left: np.ndarray, good: np.ndarray, axis: int
) -> tuple[np.ndarray, LineSpectrum, np.ndarray]:
    """Offsets of rows (axis 0) or columns (axis 1), their spectrum, and the variance of their error."""
    turned, used = np.swapaxes(left, *_AXES[axis]), np.swapaxes(good, *_AXES[axis])
    spectrum = line_spectrum(turned, at_rest(turned, used))
    assert spectrum is not None
    offset, error = line_offsets(turned, used, spectrum)
    return offset, spectrum, error


def _predictor(data: np.ndarray) -> tuple[Callable[[np.ndarray], np.ndarray], np.ndarray]:
    """Predicts every frame from the frames around it; and what the rounds leave to the scene of noise of each frame, a share of variance.

    Straight lines through as many frames as predict best; or the median of the nearest, where something leaps over a ground at rest.
    """
    frames = len(data)
    flat = data.reshape(frames, -1)
    some = flat[:, :: max(flat.shape[1] // _CHOICE_PIXELS, 1)]
    numbers = [n for n in NEIGHBOURS if n < frames] or [frames - 1]
    matrices = [_neighbour_weights(frames, n) for n in numbers]
    near = _nearest(frames, min(MEDIAN_FRAMES, frames - 1))

    def median(values: np.ndarray) -> np.ndarray:
        return np.stack([np.median(values[at], axis=0) for at in near])

    errors = [float(np.mean(np.abs(some - m @ some))) for m in matrices]
    best = matrices[int(np.argmin(errors))]
    leaps = float(np.mean(np.abs(some - median(some)))) < min(errors)
    mean = np.zeros((frames, frames))
    np.put_along_axis(mean, near, 1 / near.shape[1], axis=1)
    matrix = mean if leaps else best
    rest = np.linalg.matrix_power((1 - STEP) * np.eye(frames) + STEP * matrix, ROUNDS)
    kept = np.clip(np.sum(rest**2, axis=1), 0.0, 1.0)
    if leaps:
        return median, kept
    return lambda values: (best @ values.reshape(frames, -1)).reshape(values.shape), kept


def _nearest(frames: int, count: int) -> np.ndarray:
    """The nearest other frames of each [t, count]."""
    away = np.abs(np.subtract.outer(np.arange(frames), np.arange(frames)))
    np.fill_diagonal(away, frames)
    return np.argsort(away, axis=1, kind="stable")[:, :count]


def _neighbour_weights(frames: int, count: int) -> np.ndarray:
    """Weights [t, t] of a straight line through the nearest frames, without the frame itself, at every frame."""
    out = np.zeros((frames, frames))
    for t, near in enumerate(_nearest(frames, count)):
        design = np.stack([np.ones(count), near - t], axis=1)
        out[t, near] = np.linalg.pinv(design)[0]
    return out


def _autocovariance(pattern: Pattern, wave: Wave | None, lag: np.ndarray) -> np.ndarray:
    """Autocovariance of a pattern at lags (y, x)."""
    if wave is not None:
        phase = 2 * np.pi * (wave.fy * lag[:, None] + wave.fx * lag)
        return pattern.sd**2 * np.cos(phase)
    along = pattern.sd**2 * (pattern.power @ np.cos(2 * np.pi * np.outer(pattern.frequencies, lag)))
    rows = pattern.offset.shape[2] == 1
    both = np.broadcast_to(along[:, None] if rows else along[None], (lag.size, lag.size))
    return np.asarray(both)


def expanded(structure: Structure, present: Bool[np.ndarray, " t"]) -> Structure:
    """The structure of a movie some of whose frames are absent.

    Args:
        structure: of the frames that are present.
        present: which they are [t].

    Returns:
        The same for all frames; nothing is added to those that are absent.
    """
    if present.all():
        return structure

    def full(array: np.ndarray) -> np.ndarray:
        if len(array) == 1:
            return array
        out = np.zeros((present.size, *array.shape[1:]))
        out[present] = array
        return out

    patterns = tuple(
        replace(p, offset=full(p.offset), slow_variance=full(p.slow_variance))
        for p in structure.patterns
    )
    return replace(structure, patterns=patterns)
