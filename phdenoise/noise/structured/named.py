"""Waves and lines as patterns: with a name, an amplitude, a spectrum, and the part that predictions from other frames leave.

What a pattern adds to all frames alike, or slowly, passes for the scene: a share ρ of its variance R, which the number of frames
tells. Where the scene has less power of that kind than ρ R, as its power next to a wave or at high frequencies says, it is taken
out as well: by w = ρ R/(ρ R + scene), with the error w·scene.
"""

import numpy as np
from jaxtyping import Bool, Float
from scipy import fft

from phdenoise.noise.structured.lines import LineSpectrum, row_means, smoothed
from phdenoise.noise.structured.pattern import Pattern
from phdenoise.noise.structured.waves import Wave, fitted_waves

# Share of the power at the highest frequencies [of all] at which rows alternate: half-frames, not single lines.
_INTERLACED_SHARE, _HIGHEST = 0.6, 0.1
# Distances of frequencies next to a wave, whose power is the scene's [1/side of the frame].
_NEXT = (-3, -2, 2, 3)
# Deviation from along an axis, and from two pixels' period, that the size of a frame does not resolve [1/side].
_UNRESOLVED = 0.5


def wave_pattern(
    wave: Wave,
    offset: Float[np.ndarray, "#t #y #x"],
    scene: Float[np.ndarray, "t y x"],
    good: Bool[np.ndarray, "t y x"],
    white: float,
    kept: Float[np.ndarray, " t"],
) -> Pattern:
    """A wave as a pattern.

    Args:
        wave: its frequencies.
        offset: what it adds, as far as other frames tell [intensity].
        scene: the movie less all patterns [intensity].
        good: where it may be used.
        white: variance of what no frame and no pattern predicts [intensity²].
        kept: share of the wave's variance in each frame that passes for the scene.

    Returns:
        The pattern.
    """
    ny, nx = offset.shape[1:]
    # Two numbers a frame were fitted.
    error = 2 * white / (ny * nx)
    power = max(float(np.mean(offset**2)) / max(1 - float(kept.mean()), 0.5) - error, 0.0)
    scene = scene - float(scene[good].mean())
    near = [wave._replace(fy=wave.fy + d / ny) for d in _NEXT]
    near += [wave._replace(fx=wave.fx + d / nx) for d in _NEXT]
    around = float(np.mean([np.mean(fitted_waves(scene, good, [w])[0] ** 2) for w in near]))
    weight = (kept * power / np.maximum(kept * power + around, np.finfo(float).tiny))[:, None, None]
    whole = offset + weight * fitted_waves(scene, good, [wave])[0]
    period = 1 / float(np.hypot(wave.fy, wave.fx))
    alternates = abs(abs(wave.fy) - 0.5) * ny < _UNRESOLVED and abs(wave.fx) * nx < _UNRESOLVED
    name = "interlacing" if alternates else "hum"
    kind = "Half-frames (interlacing): rows alternate" if alternates else "Hum: a wave"
    sentence = (
        f"{kind}, period {period:.4g} px {_direction(wave, ny, nx)}, amplitude {np.sqrt(2 * power):.3g} (sd {np.sqrt(power):.3g}), "
        f"a phase of its own in every frame; taken out with an error of sd {np.sqrt(error + np.mean(weight * around)):.2g}."
    )
    return Pattern(
        name, float(np.sqrt(power)), np.array([1 / period]), np.ones(1), whole,
        np.full((1, 1, 1), error), weight * around, sentence,
    )  # fmt: skip


def line_pattern(
    axis: int,
    offset: Float[np.ndarray, "#t #y #x"],
    found: tuple[LineSpectrum, Float[np.ndarray, " n"]],
    scene: Float[np.ndarray, "t n m"],
    good: Bool[np.ndarray, "t n m"],
    kept: Float[np.ndarray, " t"],
) -> Pattern:
    """Offsets of rows or columns as a pattern.

    Args:
        axis: 0 for rows, 1 for columns.
        offset: what they add, as far as other frames tell [intensity].
        found: their spectrum, and the variance of the error of each line's offset.
        scene: the movie less all patterns, its lines along the last axis [intensity].
        good: where it may be used.
        kept: share of the lines' variance in each frame that passes for the scene.

    Returns:
        The pattern.
    """
    spectrum, error = found
    power, _ = spectrum.offsets
    waves = fft.dct(row_means(scene, good), axis=1, norm="ortho")
    left = smoothed(np.mean(waves**2, axis=0))
    lost = kept.mean() * power
    weight = np.minimum(lost / np.maximum(left, np.finfo(float).tiny), 1.0)
    weight[0] = 0.0
    more = fft.idct(weight * waves, axis=1, norm="ortho")
    basis = fft.idct(np.eye(power.size), axis=1, norm="ortho")
    extra = ((1 - weight) * lost) @ basis**2
    whole = offset + np.expand_dims(more, 2 - axis)
    quick, slow = (np.expand_dims(v, (0, 2 - axis)) for v in (error, extra))
    total = float(power.mean())
    frequencies = np.arange(power.size) / (2 * power.size)
    high = int(np.ceil((1 - _HIGHEST) * power.size))
    alternating = power[high:].sum() > _INTERLACED_SHARE * power.sum()
    name = ("rows", "columns")[axis]
    kind = (
        "half-frames (interlacing)"
        if alternating
        else f"every {name[:-1]} of every frame has its own"
    )
    strongest = frequencies[int(np.argmax(power))]
    sentence = (
        f"Offsets of {name}: {kind}, sd {np.sqrt(total):.3g}, strongest at {strongest:.2g} cycles per {name[:-1]}; taken out with an "
        f"error of sd {np.sqrt(np.mean(quick + slow)):.2g}."
    )
    return Pattern(
        "interlacing" if alternating else name, float(np.sqrt(total)), frequencies,
        power / max(float(power.sum()), np.finfo(float).tiny), whole, quick, slow, sentence,
    )  # fmt: skip


def _direction(wave: Wave, ny: int, nx: int) -> str:
    """Along which direction a wave runs."""
    if abs(wave.fx) * nx < _UNRESOLVED:
        return "along y"
    if abs(wave.fy) * ny < _UNRESOLVED:
        return "along x"
    return f"at {np.degrees(np.arctan2(wave.fy, wave.fx)):.0f} degrees to x"
